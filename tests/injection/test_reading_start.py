"""Where reading begins in files from before the pod, and what the sidecar is told of it."""

import json
from typing import Any

import jsonpatch
import pytest

from tests.injection.reviews import admission_of
from webhook.configuration.loading import build
from webhook.errors import ConfigurationError
from webhook.injection.admission import Admission
from webhook.injection.annotations import RequestedOptions
from webhook.injection.reading_start import start_in_words
from webhook.injection.volume_types import SHARE_DRIVERS, WRITABLE_TYPES
from webhook.profiles import builtins


def run(source: dict[str, Any], start: str = "", of_profile: str = "", mount: str = "/logs") -> Admission:
    """Judge a pod whose logs lie in a volume of this source."""
    annotations = {"inject": "true", "logs": "/logs/*.log", **({"start": start} if start else {})}
    pod = {
        "metadata": {"name": "shop", "annotations": {f"pillion.dev/{key}": text for key, text in annotations.items()}},
        "spec": {
            "containers": [{"name": "shop", "image": "shop", "volumeMounts": [{"name": "data", "mountPath": mount}]}],
            "volumes": [{"name": "data", **source}],
        },
    }
    profile = {"base": "tail", **({"start": of_profile} if of_profile else {})}
    admission = admission_of(pod, build({"defaultProfile": "own", "profiles": {"own": profile}}, builtins()))
    assert admission.verdict.error is None
    assert admission.verdict.injected
    return admission


def variables(admission: Admission, pod: dict[str, Any] | None = None) -> dict[str, str]:
    """Return what the sidecar is told, by the variables' names."""
    patched = jsonpatch.apply_patch(
        pod or {"metadata": {"annotations": {}}, "spec": {}},
        [one for one in json.loads(admission.verdict.patch) if one["path"] == "/spec/initContainers"],
    )
    env = patched["spec"]["initContainers"][0]["env"]
    return {one["name"]: one["value"] for one in env if one["name"] in ("PILLION_START", "PILLION_PERSISTENT")}


@pytest.mark.parametrize("kind", sorted(WRITABLE_TYPES))
def test_a_volume_that_outlives_the_pod_is_named(kind: str) -> None:
    """All kinds but emptyDir, gitRepo, ephemeral and inline csi can have files from before the pod."""
    outlives = kind not in ("emptyDir", "gitRepo", "ephemeral", "csi")
    admission = run({kind: {"driver": "csi.example.com"}})
    assert variables(admission) == ({"PILLION_PERSISTENT": "/logs"} if outlives else {})


@pytest.mark.parametrize("driver", sorted(SHARE_DRIVERS))
def test_a_share_outlives_the_pod_that_mounts_it_itself(driver: str) -> None:
    """An inline volume is the pod's own for most drivers, but a bucket or a file server's share is not."""
    assert variables(run({"csi": {"driver": driver}})) == {"PILLION_PERSISTENT": "/logs"}


def test_the_folder_is_where_the_sidecar_has_the_volume() -> None:
    """It is not the folder of the log files."""
    admission = run({"persistentVolumeClaim": {"claimName": "data"}}, mount="/")
    assert admission.plan is not None
    (place,) = admission.plan.sources
    assert variables(admission) == {"PILLION_PERSISTENT": place.sidecar_path}
    assert place.sidecar_path != "/"


CLAIM = {"persistentVolumeClaim": {"claimName": "data"}}


@pytest.mark.parametrize(
    ("annotation", "of_profile", "source", "told", "words"),
    [
        pytest.param("beginning", "", CLAIM, "beginning", "the annotation start says so", id="annotation-beginning"),
        pytest.param("end", "", {"emptyDir": {}}, "end", "at the end of files that are there", id="annotation-end"),
        pytest.param("beginning", "end", CLAIM, "beginning", "the annotation start says so", id="annotation-wins"),
        pytest.param("", "end", CLAIM, "end", "the profile's start says so", id="profile-end"),
        pytest.param("", "beginning", CLAIM, "beginning", "the profile's start says so", id="profile-beginning"),
        pytest.param("", "", CLAIM, None, "files older than the pod", id="nothing-outlives-the-pod"),
        pytest.param("", "", {"emptyDir": {}}, None, "the volume ends with the pod", id="nothing-ends-with-the-pod"),
    ],
)
def test_where_reading_begins(
    annotation: str, of_profile: str, source: dict[str, Any], told: str | None, words: str
) -> None:
    """The annotation wins over the profile, and without either the volume decides."""
    admission = run(source, annotation, of_profile)
    assert variables(admission).get("PILLION_START") == told
    assert admission.plan is not None
    options = admission.facts.options or RequestedOptions()
    assert words in start_in_words(admission.plan.sources[0], admission.facts.profile, options)


def test_a_profile_that_does_not_take_it() -> None:
    """A key that would have no effect is a problem of the configuration."""
    with pytest.raises(ConfigurationError, match=r"profiles\.web\.start: has no effect: .* is <start>"):
        build({"profiles": {"web": {"start": "end"}}}, builtins())
