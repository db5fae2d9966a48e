"""What holds for every pod, however it looks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.injection.reviews import CONFIGURATION, admission_of, all_containers, patched, verdict_on
from tests.strategies import many, pods, ragged
from webhook.injection.paths import Directories, components, literal_components
from webhook.injection.pod import ObjectMeta, PodSpec
from webhook.injection.reasons import MAX_WARNING_LENGTH, Reason


def view(spec: bytes) -> Any:
    """Return what decisions see of a spec."""
    return json.loads(msgspec.json.encode(msgspec.json.decode(spec, type=PodSpec)))


@many
@given(pods().flatmap(ragged))
def test_no_pod_makes_it_raise(pod: Any) -> None:
    """A pod never meets a bug of ours."""
    verdict = verdict_on(pod)
    assert verdict.error is None, verdict.error
    assert verdict.reason is not Reason.INTERNAL_ERROR
    assert verdict.allowed
    assert all(len(warning) <= MAX_WARNING_LENGTH for warning in verdict.warnings)


@many
@given(pods().flatmap(ragged))
def test_the_patch_gives_the_working_copy(pod: Any) -> None:
    """The recorded operations, applied to the original by jsonpatch, give what the editor has."""
    admission = admission_of(pod)
    verdict, editor = admission.verdict, admission.editor
    if editor is None:
        assert verdict.patch == b""
        return
    result = patched(pod, verdict)
    assert view(json.dumps(result["spec"]).encode()) == view(msgspec.json.encode(editor.spec))
    assert msgspec.convert(result["metadata"], ObjectMeta) == editor.metadata


@many
@given(pods().flatmap(ragged))
def test_injecting_twice_is_injecting_once(pod: Any) -> None:
    """inject(inject(pod)) == inject(pod)."""
    first = verdict_on(pod)
    if not first.injected:
        return
    again = verdict_on(patched(pod, first))
    assert again.reason is Reason.ALREADY_INJECTED
    assert again.patch == b""


def _survives(before: Any, after: Any, path: str) -> None:
    """Assert that all of ``before`` is in ``after``, lists in their order."""
    if isinstance(before, dict):
        for key, value in before.items():
            # a null list is a missing one: something may be put there
            if value is not None:
                assert key in after, f"{path}.{key} is gone"
                if not (
                    path == ".metadata.annotations" and key.startswith(("pillion.dev/status", "cluster-autoscaler"))
                ):
                    _survives(value, after[key], f"{path}.{key}")
    elif isinstance(before, list):
        position = 0
        for item in before:
            while position < len(after) and not _contains(item, after[position]):
                position += 1
            assert position < len(after), f"{path}: an item is gone or out of order"
            position += 1
    else:
        assert before == after, path


def _contains(before: Any, after: Any) -> bool:
    try:
        _survives(before, after, "")
    except AssertionError:
        return False
    return True


@many
@given(pods().flatmap(ragged))
def test_nothing_of_the_pod_is_lost(pod: Any) -> None:
    """Everything that was in the pod is in it afterwards, unknown fields and large numbers too."""
    verdict = verdict_on(pod)
    _survives(pod, patched(pod, verdict), "")


@many
@given(pods().flatmap(ragged))
def test_no_name_or_path_is_there_twice(pod: Any) -> None:
    """No container, volume, variable of ours or mount path appears a second time."""
    verdict = verdict_on(pod)
    if not verdict.injected:
        return
    result = patched(pod, verdict)
    for found in (
        [container["name"] for container in all_containers(result)],
        [volume["name"] for volume in result["spec"]["volumes"]],
        [secret["name"] for secret in result["spec"].get("imagePullSecrets") or []],
    ):
        assert len(found) == len(set(found))
        assert all(len(name) <= 63 for name in found)
    own = {container["name"]: container for container in all_containers(pod)}
    for container in all_containers(result):
        written = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
        # a volume at /var has a /var/run of its own, which is no link to /run
        parse = literal_components if ("var",) in map(components, written) else components
        paths = [parse(path) for path in written]
        before = [parse(m["mountPath"]) for m in own.get(container["name"], {}).get("volumeMounts") or []]
        # a user's own /run/x beside /var/run/x is the user's
        assert len(paths) - len(set(paths)) == len(before) - len(set(before)), container["name"]
        variables = [variable["name"] for variable in container.get("env") or []]
        assert len(variables) == len(set(variables)), container["name"]


@many
@given(pods())
def test_no_mount_of_the_sidecar_lies_inside_another(pod: Any) -> None:
    """A mount inside a read-only one can't start, so none of the sidecar's contains another."""
    verdict = verdict_on(pod)
    if not verdict.injected:
        return
    result = patched(pod, verdict)
    sidecar = next(c for c in all_containers(result) if c["name"].startswith("pillion-"))
    paths = sorted(components(mount["mountPath"]) for mount in sidecar["volumeMounts"])
    for one, other in pairwise(paths):
        assert other[: len(one)] != one
    names = {volume["name"] for volume in result["spec"]["volumes"]}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} <= names


@many
@given(pods())
def test_no_secret_is_mounted_into_the_sidecar(pod: Any) -> None:
    """What is a Secret, a ConfigMap, a projection or the downward API is never the sidecar's to read."""
    verdict = verdict_on(pod)
    if not verdict.injected:
        return
    result = patched(pod, verdict)
    volumes = {volume["name"]: set(volume) for volume in result["spec"]["volumes"]}
    sidecar = next(c for c in all_containers(result) if c["name"].startswith("pillion-"))
    for mount in sidecar["volumeMounts"]:
        assert not volumes[mount["name"]] & {"secret", "configMap", "projected", "downwardAPI", "image"}
    for variable in sidecar["env"]:
        assert "secretKeyRef" not in variable.get("valueFrom", {})


@many
@given(
    st.text(max_size=80),
    st.sampled_from(["logs", "containers", "profile", "cpu-limit", "inject", "env", "run-as-user"]),
)
def test_no_annotation_text_becomes_structure(text: str, key: str) -> None:
    """Whatever a tenant writes: it is refused or taken as it is, and no ``$(NAME)`` of it reaches a container."""
    annotations = {"pillion.dev/inject": "true", f"pillion.dev/{key}": text}
    pod = {
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "i"}]},
    }
    try:
        json.dumps(pod).encode()
        text.encode()
    except UnicodeEncodeError:
        return
    verdict = verdict_on(pod)
    assert verdict.error is None
    if verdict.injected:
        result = patched(pod, verdict)
        sidecar = result["spec"]["initContainers"][0]
        profile = CONFIGURATION.profiles[verdict.profile_name]
        assert sidecar["image"] == profile.container["image"]
        assert sidecar["command"] == list(profile.command)
        assert all(argument.startswith("/") and "$(" not in argument.replace("$$", "") for argument in sidecar["args"])


@pytest.mark.parametrize("value", ["true", "yes", "1", "TRUE", ""])
def test_inject_is_true_or_nothing(value: str) -> None:
    """Only the word true asks for an injection."""
    pod = {
        "metadata": {"annotations": {"pillion.dev/inject": value}},
        "spec": {"containers": [{"name": "a", "image": "i"}]},
    }
    assert verdict_on(pod).injected == (value == "true")


@many
@given(pods().flatmap(ragged))
def test_no_mount_of_the_sidecar_is_inside_a_read_only_one(pod: Any) -> None:
    """The runtime can't make a mount point there; nor where another webhook or the API server mounts a token later."""
    verdict = verdict_on(pod)
    if not verdict.injected:
        return
    sidecar = next(item for item in all_containers(patched(pod, verdict)) if item["name"].startswith("pillion-"))
    mounts = [(mount["mountPath"], mount.get("readOnly", False)) for mount in sidecar["volumeMounts"]]
    paths = [path for path, _ in mounts] + ["/var/run/secrets/eks.amazonaws.com/serviceaccount"]
    for outer, read_only in mounts:
        if read_only and not outer.startswith("/var/run/secrets/"):
            inside = [path for path in paths if path != outer and Directories(path).any_at_or_below(outer)]
            assert inside == [], outer
