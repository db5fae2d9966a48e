"""Where a pod's logs probably are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from webhook.configuration import load
from webhook.injection.annotations import RequestedOptions, parse_logs
from webhook.injection.log_detection import has_log_location, probable_log_directory
from webhook.injection.pod import Container

TAIL = load(None).profiles["tail"]
EMPTY: dict[str, Any] = {"emptyDir": {}}


def mounting(path: str, source: dict[str, Any] | None = None, **mount: Any) -> tuple[list[Container], dict[str, Any]]:
    """Return a container that mounts a volume, and the pod's volumes."""
    container = {"name": "app", "volumeMounts": [{"name": "v", "mountPath": path, **mount}]}
    return [msgspec.convert(container, Container)], {"v": {"name": "v", **(EMPTY if source is None else source)}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(RequestedOptions(), False, id="nothing"),
        pytest.param(RequestedOptions(logs=parse_logs("/x/*.log")), True, id="logs"),
        pytest.param(RequestedOptions(profile="web"), True, id="profile"),
        pytest.param(RequestedOptions(containers=("app",)), True, id="containers"),
        pytest.param(
            RequestedOptions(add_variables=False, run_as_user=5, volume_size_limit="1Gi"), False, id="other keys"
        ),
    ],
)
def test_a_pod_says_it_by_its_annotations(options: RequestedOptions, *, expected: bool) -> None:
    """Only a key that chooses what is read counts."""
    assert has_log_location(options, TAIL, [], {}) is expected


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param(mounting("/var/log/app"), True, id="at"),
        pytest.param(mounting("/var/log"), True, id="above"),
        pytest.param(mounting("/var/log/app/today"), True, id="below"),
        pytest.param(mounting("/var/log/app2"), False, id="beside"),
        pytest.param(mounting("/var/log/app", {"persistentVolumeClaim": {"claimName": "c"}}), True, id="a claim"),
        pytest.param(mounting("/var/log", {"hostPath": {"path": "/var/log"}}), False, id="the node's"),
        pytest.param(mounting("/var/log/app", {"secret": {"secretName": "s"}}), False, id="a Secret"),
        pytest.param(mounting("/var/log/app", readOnly=True), False, id="read-only"),
        pytest.param(mounting("/var/log/app", {"nfs": {"readOnly": True}}), False, id="a read-only volume"),
    ],
)
def test_a_pod_says_it_by_its_mounts(containers: tuple[list[Container], dict[str, Any]], *, expected: bool) -> None:
    """A writable volume at, above or below the profile's folder counts; the node's own folders don't."""
    assert has_log_location(RequestedOptions(), TAIL, *containers) is expected


@pytest.mark.parametrize("change", [{"logs": ()}, {"inject_all": True}])
def test_a_profile_says_it(change: dict[str, Any]) -> None:
    """One that reads no logs, or that all pods are to have, needs no sign of logs."""
    assert has_log_location(RequestedOptions(), replace(TAIL, **change), [], {})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/log/web/", "/var/log/web"),
        ("/data/app-logs", "/data/app-logs"),
        ("/LOG", "/LOG"),
        ("/catalog", ""),
        ("/blog/posts", ""),
        ("/data", ""),
    ],
)
def test_a_folder_is_called_after_logs(path: str, expected: str) -> None:
    """By one word of one of its parts."""
    assert probable_log_directory(*mounting(path)) == expected
