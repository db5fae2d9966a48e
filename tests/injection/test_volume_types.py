"""Kinds of volumes, and which of them hold logs."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.injection.pod import VolumeMount
from webhook.injection.volume_types import (
    WRITABLE_TYPES,
    describe_type,
    is_mount_read_only,
    is_volume_read_only,
    type_of,
)

MOUNT = VolumeMount("data", "/data")


def volumes(**source: Any) -> dict[str, dict[str, Any]]:
    """Return a pod's volumes: one, with this source."""
    return {"data": {"name": "data", **source}}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        pytest.param({"emptyDir": {}}, "emptyDir", id="emptyDir"),
        pytest.param({}, "emptyDir", id="no kind"),
        pytest.param({"secret": None}, "emptyDir", id="a null"),
        pytest.param({"secret": None, "nfs": {}}, "nfs", id="a null before the kind"),
        pytest.param({"futureKind": {}}, "futureKind", id="a kind that nobody knows yet"),
        pytest.param({"csi": {"driver": "csi.example.com"}}, "csi", id="csi"),
        pytest.param({"csi": {"driver": "csi.example.com", "readOnly": True}}, "unusableCsi", id="csi, read-only"),
        pytest.param({"csi": {"driver": "csi.example.com", "readOnly": False}}, "csi", id="csi, writable"),
        pytest.param({"csi": {"driver": "secrets-store.csi.k8s.io"}}, "unusableCsi", id="csi of secrets"),
        pytest.param({"csi": {"driver": 5}}, "unusableCsi", id="csi without a driver's name"),
        pytest.param({"csi": []}, "unusableCsi", id="csi that is no object"),
        pytest.param({"hostPath": {"path": "/dev/log", "type": "Socket"}}, "nodeDevice", id="a socket"),
        pytest.param({"hostPath": {"path": "/dev/x", "type": "CharDevice"}}, "nodeDevice", id="a device"),
        pytest.param({"hostPath": {"path": "/x", "type": "FileOrCreate"}}, "hostPath", id="a file of the node"),
        pytest.param({"hostPath": {"path": "/x", "type": []}}, "hostPath", id="hostPath with a type that is no text"),
        pytest.param({"emptyDir": {"medium": "HugePages-2Mi"}}, "hugePages", id="huge pages"),
        pytest.param({"emptyDir": {"medium": "Memory"}}, "emptyDir", id="memory"),
        pytest.param({"emptyDir": []}, "emptyDir", id="emptyDir that is no object"),
    ],
)
def test_a_volume_has_a_kind(source: dict[str, Any], kind: str) -> None:
    """The key beside its name, or why no log can be in it."""
    assert type_of(volumes(**source), MOUNT) == kind


def test_a_mount_of_no_volume_has_a_kind_too() -> None:
    """The API server refuses such a pod; a manifest may be of that kind."""
    assert type_of({}, MOUNT) == "missing"


@pytest.mark.parametrize("kind", ["secret", "configMap", "projected", "downwardAPI", "image"])
def test_what_may_hold_secrets_is_no_place_for_logs(kind: str) -> None:
    """Nor is it writable at all, whatever its mounts say."""
    assert kind not in WRITABLE_TYPES
    assert is_volume_read_only({"name": "data", kind: {}})


@pytest.mark.parametrize("kind", ["missing", "unusableCsi", "hugePages", "futureKind"])
def test_what_is_no_kind_of_kubernetes_is_no_place_for_logs(kind: str) -> None:
    """A sidecar would print what it must not see."""
    assert kind not in WRITABLE_TYPES


@pytest.mark.parametrize(
    ("source", "read_only", "expected"),
    [
        pytest.param({"emptyDir": {}}, None, False, id="nothing"),
        pytest.param({"emptyDir": {}}, True, True, id="the mount"),
        pytest.param({"nfs": {"readOnly": True}}, None, True, id="the volume"),
        pytest.param({"nfs": {"readOnly": True}}, False, True, id="the volume alone"),
        pytest.param({"nfs": {"readOnly": "yes"}}, None, False, id="no flag"),
        pytest.param({"nfs": True}, None, False, id="no object"),
    ],
)
def test_a_mount_is_read_only(source: dict[str, Any], *, read_only: bool | None, expected: bool) -> None:
    """By what the mount says, or by what its volume says."""
    assert is_mount_read_only(volumes(**source), VolumeMount("data", "/data", readOnly=read_only)) is expected


def test_a_mount_of_no_volume_is_read_only_by_itself() -> None:
    """There is nothing else to ask."""
    assert not is_mount_read_only({}, MOUNT)
    assert is_mount_read_only({}, VolumeMount("data", "/data", readOnly=True))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"emptyDir": {}}, False),
        ({"nfs": {"readOnly": True}}, True),
        ({"nfs": {"readOnly": False}}, False),
        ({"secret": None, "emptyDir": {}}, False),
    ],
)
def test_a_volume_is_read_only_whatever_its_mounts_say(source: dict[str, Any], *, expected: bool) -> None:
    """Because the kubelet mounts it so."""
    assert is_volume_read_only(volumes(**source)["data"]) is expected


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("secret", "a Secret"),
        ("missing", "a volume that the pod does not define"),
        ("nfs", "a volume of type nfs"),
        ("k\n" + "x" * 40, "a volume of type k\ufffdxxxxxxxxxxxxxxxxxxxxx…"),
    ],
)
def test_a_kind_has_words_for_people(kind: str, words: str) -> None:
    """A tenant can write anything as one."""
    assert describe_type(kind) == words
