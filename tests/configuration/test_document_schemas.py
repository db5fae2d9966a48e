"""The shapes of a configuration's documents."""

from typing import Any

import pytest

from webhook.configuration.document_schemas import BOUNDED, CONFIGURATION, PROFILE, VOLUME_SOURCES
from webhook.injection.annotations import KEYS
from webhook.injection.volume_types import WRITABLE_TYPES
from webhook.json_values import Path
from webhook.schema import Schema


def wrong(schema: Schema, value: Any) -> list[str]:
    """Return what does not fit, each with its path."""
    told: list[str] = []

    def report(path: Path, message: str) -> None:
        told.append(f"{'.'.join(map(str, path))} {message}".strip())

    schema.read(value, (), report)
    return told


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
#: A volume of each kind, with what it must have and no more.
SOURCES: dict[str, dict[str, Any]] = {
    "emptyDir": {},
    "configMap": {"name": "x"},
    "secret": {"secretName": "x"},
    "downwardAPI": {},
    "projected": {"sources": [{"secret": {"name": "x"}}]},
    "persistentVolumeClaim": {"claimName": "x"},
    "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM}},
    "hostPath": {"path": "/x"},
    "nfs": {"server": "x", "path": "/x"},
    "csi": {"driver": "x"},
    "image": {"reference": "x"},
    "iscsi": {"targetPortal": "x", "iqn": "x"},
    "fc": {},
    "cephfs": {"monitors": ["x"]},
    "rbd": {"monitors": ["x"], "image": "x"},
    "glusterfs": {"endpoints": "x", "path": "x"},
    "cinder": {"volumeID": "x"},
    "azureDisk": {"diskName": "x", "diskURI": "x"},
    "azureFile": {"secretName": "x", "shareName": "x"},
    "awsElasticBlockStore": {"volumeID": "x"},
    "gcePersistentDisk": {"pdName": "x"},
    "vsphereVolume": {"volumePath": "x"},
    "portworxVolume": {"volumeID": "x"},
    "flexVolume": {"driver": "x"},
}


def test_every_kind_of_volume_has_a_case() -> None:
    """And there is a shape for each kind that logs can be written to, but for those that are gone from Kubernetes."""
    assert SOURCES.keys() == VOLUME_SOURCES.keys()
    gone = {"flocker", "gitRepo", "photonPersistentDisk", "quobyte", "scaleIO", "storageos"}
    assert WRITABLE_TYPES - VOLUME_SOURCES.keys() == gone


@pytest.mark.parametrize("kind", SOURCES)
def test_a_volume_needs_what_its_kind_needs(kind: str) -> None:
    """That is enough; each key of it must be there, and none is there that nobody knows."""
    source = SOURCES[kind]
    shape = VOLUME_SOURCES[kind]
    assert wrong(shape, source) == []
    for key in source:
        assert wrong(shape, {name: value for name, value in source.items() if name != key}) == [f"has no {key}; add it"]
    assert wrong(shape, {**source, "nosuch": 1})[0].startswith("nosuch is unknown; ")
    assert wrong(shape, "x") == ["must be a mapping, is text"]


VOLUMES = {
    "two kinds": ({"name": "v", "emptyDir": {}, "nfs": SOURCES["nfs"]}, " has both emptyDir and nfs; remove one"),
    "a kind that is unknown": ({"name": "v", "emptydir": {}}, ".emptydir is unknown; did you mean emptyDir?"),
    "huge pages of a size": ({"emptyDir": {"medium": "HugePages-2M"}}, ".emptyDir.medium must be empty, Memory"),
    "a folder above": ({"hostPath": {"path": "/a/../b"}}, ".hostPath.path must not have .."),
    "a hostPath's type": ({"hostPath": {"path": "/a", "type": "Folder"}}, ".hostPath.type must be empty or Directory"),
    "a mode in decimal": ({"secret": {"secretName": "x", "defaultMode": 777}}, ".secret.defaultMode must be a whole"),
    "an absolute item": (
        {"configMap": {"name": "x", "items": [{"key": "a", "path": "/a"}]}},
        ".configMap.items.0.path must be a relative path without ..",
    ),
    "an item above": (
        {"configMap": {"name": "x", "items": [{"key": "a", "path": "b/../a"}]}},
        ".configMap.items.0.path must be a relative path without ..",
    ),
    "an item of the downward API without a source": (
        {"downwardAPI": {"items": [{"path": "a"}]}},
        ".downwardAPI.items.0 must have one of fieldRef, resourceFieldRef",
    ),
    "two projected sources in one": (
        {"projected": {"sources": [{"secret": {"name": "x"}, "configMap": {"name": "x"}}]}},
        ".projected.sources.0 has both secret and configMap; remove one",
    ),
    "a token for a minute": (
        {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}]}},
        ".projected.sources.0.serviceAccountToken.expirationSeconds must be a whole number from 600 to",
    ),
    "a claim as a device": (
        {"ephemeral": {"volumeClaimTemplate": {"spec": {**CLAIM, "volumeMode": "Block"}}}},
        ".ephemeral.volumeClaimTemplate.spec.volumeMode must be Filesystem",
    ),
    "a claim without a mode": (
        {"ephemeral": {"volumeClaimTemplate": {"spec": {**CLAIM, "accessModes": []}}}},
        ".ephemeral.volumeClaimTemplate.spec.accessModes must not be empty",
    ),
    "a relative export": ({"nfs": {"server": "x", "path": "x"}}, ".nfs.path must be an absolute path"),
    "an object's name": ({"configMap": {"name": "A"}}, ".configMap.name must be the name of an object"),
    "a lun": ({"fc": {"lun": 256}}, ".fc.lun must be a whole number from 0 to 255"),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_a_volume_that_the_api_server_refuses_is_a_problem(case: str) -> None:
    """By its place in the profile."""
    volume, expected = VOLUMES[case]
    assert [one[: len(f"volumes.0{expected}")] for one in wrong(PROFILE, {"volumes": [volume]})] == [
        f"volumes.0{expected}"
    ]


def test_a_volume_without_a_kind_is_an_empty_one() -> None:
    """As in Kubernetes."""
    assert wrong(PROFILE, {"volumes": [{"name": "v"}]}) == []


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/env/-", "value": None}, []),
        ({"op": "remove", "path": "/env/0"}, []),
        ({"op": "test", "path": "/name", "value": "x"}, []),
        ({"op": "copy", "from": "/name", "path": "/env/0/value"}, []),
        ({"op": "replace", "path": "/env/0"}, ["has no value; add it (value: null is one)"]),
        ({"op": "move", "path": "/env/0"}, ["has no from; add it"]),
        ({"op": "copy", "path": "/env/0", "from": None}, ["has no from; add it"]),
        ({"op": "move", "from": "/restartPolicy", "path": "/env/0"}, [".from /restartPolicy can't be changed"]),
        ({"op": "replace", "path": "/name/x", "value": 1}, [".path /name/x can't be changed"]),
        ({"op": "remove", "path": ""}, [".path must name a key of the container, such as /image"]),
        ({"op": "copy", "from": "", "path": "/a"}, [".from must name a key of the container, such as /image"]),
        ({"op": "remove", "path": "/a~2"}, [".path must be a JSON pointer such as /env/0/value"]),
        ({"path": "/a"}, ["has no op; add it"]),
    ],
    ids=str,
)
def test_an_operation_of_a_patch(operation: dict[str, Any], expected: list[str]) -> None:
    """RFC 6902, but that our sidecar stays one that is known as ours."""
    found = wrong(PROFILE, {"patch": [operation]})
    assert len(found) == len(expected)
    for one, text in zip(found, expected, strict=True):
        assert one.startswith("patch.0")
        assert text in one


def test_what_can_be_bounded_is_an_annotation() -> None:
    """Each of them takes a quantity."""
    assert set(BOUNDED) <= set(KEYS)
    assert wrong(PROFILE, {"bounds": {key: {"min": 1, "max": "2"} for key in BOUNDED}}) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, []),
        ({"defaultProfile": "x", "strict": True, "allowHostPath": False, "ignoredContainers": ["a-b"]}, []),
        ({"ignoredContainers": ["A"]}, ["ignoredContainers.0 must be a container's name, is 'A'"]),
        ({"profiles": []}, ["profiles must be a mapping, is a list"]),
        ({"profiles": {5: {}}}, ["profiles.5 must be text, is a number"]),
        ({"strict": None, "profiles": {"a": None}}, []),
    ],
    ids=str,
)
def test_the_document(value: Any, expected: list[str]) -> None:
    """Profiles are looked at one by one, once each is on top of its base."""
    assert wrong(CONFIGURATION, value) == expected
