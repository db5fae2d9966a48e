"""Tests of webhook.workloads.decoding: pods as the API server decodes them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from tests.strategies import broken
from webhook.injection.pod import ObjectMeta, PodSpec
from webhook.workloads.decoding import decoded
from webhook.workloads.objects import dotted


def pod(**spec: Any) -> dict[str, Any]:
    """Return a pod of one container, with more in its spec."""
    return {"metadata": {"name": "shop"}, "spec": {"containers": [{"name": "app"}], **spec}}


def mistakes(value: dict[str, Any], written: str = "") -> list[str]:
    """Return the mistakes in a pod, in words."""
    return [
        f"{dotted(mistake.path)} {mistake.found}; {mistake.instead}" for mistake in decoded(value, lambda _: written)[1]
    ]


def container(**fields: Any) -> dict[str, Any]:
    """Return a pod whose one container has these fields."""
    return pod(containers=[{"name": "app"} | fields])


@pytest.mark.parametrize(
    ("value", "written", "said"),
    [
        (
            container(env=[{"name": "DEBUG", "value": True}]),
            "yes",
            'spec.containers[0].env[0].value is the boolean true; write "yes", in quotes',
        ),
        (container(args=[80]), "0o120", 'spec.containers[0].args[0] is the number 80; write "0o120", in quotes'),
        (container(command=[1.5]), "1.50", 'spec.containers[0].command[0] is the number 1.5; write "1.50", in quotes'),
        (
            container(ports=[{"containerPort": "8080"}]),
            "",
            'spec.containers[0].ports[0].containerPort is the text "8080"; write 8080, without quotes',
        ),
        (
            container(ports=[{"containerPort": "http"}]),
            "",
            'spec.containers[0].ports[0].containerPort is the text "http"; write a whole number',
        ),
        (container(args="--verbose"), "", 'spec.containers[0].args is the text "--verbose"; write a list'),
        (container(env={"A": "b"}), "", "spec.containers[0].env is a mapping; write a list"),
        (
            container(resources={"limits": {"cpu": True}}),
            "true",
            "spec.containers[0].resources.limits.cpu is the boolean true; write a quantity, such as 100m or 64Mi",
        ),
        (pod(hostNetwork="true"), "", 'spec.hostNetwork is the text "true"; write true, without quotes'),
        (pod(hostNetwork="on"), "", 'spec.hostNetwork is the text "on"; write true or false'),
        (pod(containers=[{"image": "x"}]), "", "spec.containers[0] has no name; write its name"),
        (pod(containers=[{"name": None}]), "", "spec.containers[0] has no name; write its name"),
        (pod(containers=[None]), "", "spec.containers[0] has no name; write its name"),
        (pod(volumes=[{"emptyDir": {}}]), "", "spec.volumes[0] has no name; write its name"),
        (pod(volumes=[{"name": 1}]), "1", 'spec.volumes[0].name is the number 1; write "1", in quotes'),
        (pod(nodeSelector=["disk"]), "", "spec.nodeSelector is a list; write a mapping"),
        ({"metadata": {"labels": {"a/b": 1}}}, "1", 'metadata.labels["a/b"] is the number 1; write "1", in quotes'),
    ],
)
def test_mistakes_are_told_in_words(value: dict[str, Any], written: str, said: str) -> None:
    """Where it is, what it is, and what to write: no word of a decoder's."""
    assert mistakes(value, written) == [said]


def test_nulls_become_what_they_mean() -> None:
    """Texts are empty, quantities 0, lists keep their length, and what may be missing stays null."""
    value = container(
        args=["a", None],
        env=[{"name": "A", "value": None}, {"name": "B", "valueFrom": None}],
        resources={"limits": {"memory": None}, "requests": None},
        workingDir=None,
    )
    value["metadata"] = {"annotations": {"a": None}, "labels": None}
    value["spec"] |= {"nodeSelector": {"disk": None}, "os": {"name": None}, "imagePullSecrets": [None, {"name": None}]}
    result, found = decoded(value, lambda _: "")
    assert found == []
    assert result["metadata"] == {"annotations": {"a": ""}, "labels": None}
    assert result["spec"]["containers"][0]["args"] == ["a", ""]
    assert result["spec"]["containers"][0]["resources"]["limits"] == {"memory": "0"}
    assert result["spec"]["nodeSelector"] == {"disk": ""}
    assert result["spec"]["os"] == {"name": ""}
    assert result["spec"]["imagePullSecrets"] == [{}, {"name": ""}]


def test_null_spec_and_metadata() -> None:
    """They are objects without anything in them, which is no mistake."""
    value = {"metadata": None, "spec": None}
    assert decoded(value, lambda _: "") == (value, [])


@settings(deadline=None)
@given(broken())
def test_what_has_no_mistakes_can_be_read(value: dict[str, Any]) -> None:
    """A pod is read by the decisions' own decoder if and only if no mistake was found in it."""
    before = json.dumps(value)
    result, found = decoded(value, lambda _: "x")
    assert json.dumps(value) == before
    try:
        msgspec.json.decode(json.dumps(result["metadata"]), type=ObjectMeta | None)
        spec = msgspec.json.decode(json.dumps(result["spec"]), type=PodSpec | None) or PodSpec()
        readable = all(isinstance(volume.get("name"), str) for volume in spec.volumes or ())
    except msgspec.ValidationError:
        readable = False
    assert readable == (found == [])
