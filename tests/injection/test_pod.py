"""The typed view of a pod: what it knows, and what it lets pass."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from webhook.injection.pod import Container, ExecAction, Pod, PodSpec, Probe, SecurityContext


def decoded(spec: Any) -> PodSpec:
    """Return what is seen of a spec."""
    return msgspec.json.decode(json.dumps(spec), type=PodSpec)


def test_only_what_a_decision_looks_at_is_decoded() -> None:
    """Unknown fields of any depth, and numbers of any size, cost nothing."""
    value = {"containers": [{"name": "app", "image": "i", "futureField": 10**30}], "nodeName": "n", "x": [[[{}]]]}
    assert decoded(value) == PodSpec(containers=[Container("app")])


def test_what_is_handed_on_stays_as_it_is() -> None:
    """A volume of a kind that is newer than we are, an option that nobody knows yet."""
    volumes, options = [{"name": "v", "futureKind": {"x": None}}], {"future": 1}
    seen = decoded({"volumes": volumes, "securityContext": {"seLinuxOptions": options}})
    assert seen == PodSpec(volumes=volumes, securityContext=SecurityContext(seLinuxOptions=options))


def test_every_list_and_object_may_be_null() -> None:
    """As a controller writes JSON."""
    names = PodSpec.__struct_fields__
    assert decoded(dict.fromkeys(names)) == PodSpec()


def test_the_program_of_a_probe_is_under_exec() -> None:
    """Which is no name for a field in Python."""
    seen = decoded({"containers": [{"name": "a", "livenessProbe": {"exec": {"command": ["x"]}}}]})
    assert seen == PodSpec(containers=[Container("a", livenessProbe=Probe(exec_action=ExecAction(["x"])))])


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{}]},
        {"containers": [{"name": 5}]},
        {"containers": [{"name": "a", "env": [{"value": "x"}]}]},
        {"containers": [{"name": "a", "volumeMounts": [{"name": "v"}]}]},
        {"hostNetwork": "true"},
        {"volumes": ["v"]},
    ],
    ids=str,
)
def test_what_no_pod_has_is_an_error_with_its_place(spec: Any) -> None:
    """The API server refuses it as well."""
    with pytest.raises(msgspec.ValidationError, match=r"\$\.|missing"):
        decoded(spec)


def test_the_spec_is_raw_until_somebody_asks() -> None:
    """Most pods are decided upon by their metadata."""
    pod = msgspec.json.decode(b'{"metadata": {"labels": {"a": "b"}}, "spec": ["no spec"]}', type=Pod)
    assert pod.metadata is not None
    assert pod.metadata.labels == {"a": "b"}
    assert bytes(pod.spec) == b'["no spec"]'
