"""The recorded operations, and the patch document that they make."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import msgspec
import pytest

from webhook.injection.edit import ContainerRef, Operation, PodEditor, encode_patch
from webhook.injection.pod import EnvVar, ObjectMeta, PodSpec, VolumeMount


def editor(pod: dict[str, Any]) -> PodEditor:
    """Return an editor for the pod."""
    metadata = pod.get("metadata")
    return PodEditor(
        None if metadata is None else msgspec.convert(metadata, ObjectMeta), msgspec.convert(pod["spec"], PodSpec)
    )


def patched(pod: dict[str, Any], edited: PodEditor) -> Any:
    """Return the pod after the recorded operations."""
    return jsonpatch.apply_patch(pod, json.loads(msgspec.json.encode(edited.operations)))


@pytest.mark.parametrize("present", [{}, {"volumes": None}, {"volumes": []}, {"volumes": [{"name": "a"}]}])
def test_a_volume_is_appended_to_whatever_is_there(present: dict[str, Any]) -> None:
    """A list that is missing, null or empty is made first; one with items keeps them."""
    pod = {"spec": {"containers": [], **present}}
    edited = editor(pod)
    edited.add_volumes([{"name": "b"}, {"name": "c"}])
    result = patched(pod, edited)["spec"]["volumes"]
    assert [volume["name"] for volume in result] == [*(v["name"] for v in present.get("volumes") or []), "b", "c"]
    assert result == edited.spec.volumes


@pytest.mark.parametrize("present", [{}, {"env": None}, {"env": []}, {"env": [{"name": "B", "value": "1"}]}])
def test_variables_come_first_in_their_order(present: dict[str, Any]) -> None:
    """New variables stand before the container's own, and lists that are missing, null or empty are made."""
    pod = {"spec": {"containers": [{"name": "app", **present}]}}
    edited = editor(pod)
    container = (edited.spec.containers or [])[0]
    edited.prepend_variables(ContainerRef(container, "/spec/containers/0"), [EnvVar("X", "1"), EnvVar("Y", "2")])
    names = [variable["name"] for variable in patched(pod, edited)["spec"]["containers"][0]["env"]]
    assert names == ["X", "Y", *(["B"] if present.get("env") else [])]
    assert names == [variable.name for variable in container.env or ()]


def test_no_variables_are_no_operation() -> None:
    """A container that gets no variables is left alone."""
    pod = {"spec": {"containers": [{"name": "app"}]}}
    edited = editor(pod)
    edited.prepend_variables(ContainerRef((edited.spec.containers or [])[0], "/spec/containers/0"), [])
    assert edited.operations == []


@pytest.mark.parametrize("present", [{}, {"volumeMounts": None}, {"volumeMounts": []}])
def test_a_mount_is_appended(present: dict[str, Any]) -> None:
    """A container without mounts gets its first one."""
    pod = {"spec": {"containers": [{"name": "app", **present}]}}
    edited = editor(pod)
    container = (edited.spec.containers or [])[0]
    edited.add_mount(ContainerRef(container, "/spec/containers/0"), VolumeMount("a", "/a"))
    assert patched(pod, edited)["spec"]["containers"][0]["volumeMounts"] == [{"name": "a", "mountPath": "/a"}]


def test_a_pull_secret_is_named_once() -> None:
    """A secret that the pod names already is no operation."""
    pod = {"spec": {"containers": [], "imagePullSecrets": [{"name": "a"}]}}
    edited = editor(pod)
    edited.add_pull_secrets(["a", "b", "b"])
    assert patched(pod, edited)["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("present", "position", "expected"),
    [
        (None, None, ["s"]),
        (None, 0, ["s"]),
        ([], 0, ["s"]),
        (["a", "b"], 0, ["s", "a", "b"]),
        (["a", "b"], 1, ["a", "s", "b"]),
        (["a", "b"], 2, ["a", "b", "s"]),
        (["a", "b"], None, ["a", "b", "s"]),
    ],
)
def test_an_init_container_stands_where_it_should(
    present: list[str] | None, position: int | None, expected: list[str]
) -> None:
    """It is inserted before the one at the position, or appended."""
    containers = None if present is None else [{"name": name} for name in present]
    pod = {"spec": {"containers": [], "initContainers": containers}}
    edited = editor(pod)
    edited.add_init_container({"name": "s"}, position)
    result = patched(pod, edited)["spec"]["initContainers"]
    assert [container["name"] for container in result] == expected
    assert edited.spec.initContainers is not None
    names = [item["name"] if isinstance(item, dict) else item.name for item in edited.spec.initContainers]
    assert names == expected


def test_an_ordinary_container_is_the_last_one() -> None:
    """The first one is the application's, which kubectl goes to."""
    pod = {"spec": {"containers": [{"name": "app"}]}}
    edited = editor(pod)
    edited.add_container({"name": "s"})
    assert [container["name"] for container in patched(pod, edited)["spec"]["containers"]] == ["app", "s"]


@pytest.mark.parametrize(
    "metadata", [None, {}, {"annotations": None}, {"annotations": {}}, {"annotations": {"a": "0"}}]
)
def test_annotations_are_set_wherever_they_belong(metadata: dict[str, Any] | None) -> None:
    """ObjectMeta and annotations are made where they are missing; a slash in a key is escaped in the pointer."""
    pod: dict[str, Any] = {"metadata": metadata, "spec": {"containers": []}}
    edited = editor(pod)
    edited.add_annotations({"x/y~z": "1", "b": "2"})
    result = patched(pod, edited)["metadata"]["annotations"]
    assert result == {**((metadata or {}).get("annotations") or {}), "x/y~z": "1", "b": "2"}
    assert edited.metadata is not None
    assert edited.metadata.annotations == result


def test_the_metadata_that_was_sent_stays_as_it_was() -> None:
    """An edit makes a copy: rules may be asked again about the request."""
    metadata = ObjectMeta(annotations={"a": "0"})
    PodEditor(metadata, PodSpec()).add_annotations({"b": "1"})
    assert metadata.annotations == {"a": "0"}


def test_the_patch_is_the_operations_as_json() -> None:
    """In their order, whatever is in their values."""
    operations = [Operation("add", "/a", {"b": "\0\u00e9"}), Operation("add", "/c", ["x"])]
    assert json.loads(encode_patch(operations)) == [
        {"op": "add", "path": "/a", "value": {"b": "\0\u00e9"}},
        {"op": "add", "path": "/c", "value": ["x"]},
    ]
