"""The shapes of a configuration's documents: which keys there are, and what each may be."""

import re
from typing import Any

from webhook.injection.annotations import MAX_COMPONENT_BYTES
from webhook.injection.container_rules import IMAGE, OBJECT_NAME, PULL_POLICY, QUANTITY, SIDECAR_FIELDS, check_names
from webhook.injection.names import DNS_LABEL
from webhook.injection.paths import PATH_MAX, as_written, components
from webhook.shapes import (
    ANYTHING,
    FLAG,
    TEXT,
    ListOf,
    MapOf,
    Object,
    Path,
    Report,
    Scalar,
    Shape,
    choice,
    matching,
    number,
)

__all__ = ["BOUNDED", "CONFIGURATION", "PROFILE", "SIDECAR", "VOLUME_SOURCES"]

#: Annotations that a profile can bound.
BOUNDED = ("cpu-request", "cpu-limit", "memory-request", "memory-limit", "volume-size-limit")


#: What makes a pattern or a template of a path, or can't be mounted; and what is wrong with it.
_NO_PATH = (
    (re.compile(r"[*?[\]{}]"), "is a directory and no pattern: it has a"),
    (re.compile(r"\$"), "is a path in which nothing is filled in: it has a"),
    (re.compile(r":"), "can't be mounted: it has a"),
    (re.compile(r"\\"), "is a path of Linux: it has a"),
)


def _reject_no_directory(value: str) -> str:
    if not value.startswith("/") or not components(value) or len(value) >= PATH_MAX:
        return f"must be an absolute path of a directory, is {value[:60]!r}"
    if ".." in value.split("/"):
        return "must not have .."
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in value.split("/")):
        return f"has a part longer than {MAX_COMPONENT_BYTES} bytes"
    if value != value.strip() or not value.isprintable():
        return f"has a blank at its end, or a control character; write it without, is {value[:60]!r}"
    for pattern, wrong in _NO_PATH:
        if found := pattern.search(value):
            # what is in front of the part that is none
            instead = as_written(value[: value.rfind("/", 0, found.start()) + 1])
            write = f"write {instead[:60]}" if components(instead) else "write the whole path"
            return f"{wrong} {found[0]}; {write}"
    return ""


_DIRECTORY = Scalar("text", (str,), _reject_no_directory)
_EXPORT = Scalar("text", (str,), lambda value: "" if value.startswith("/") else "must be an absolute path")


# --- volumes ---------------------------------------------------------------------------------------------------


def _reject_parents(value: str) -> str:
    return "must not have .." if ".." in value.split("/") else ""


_HOST_PATH = Scalar("text", (str,), _reject_parents)
_MODE = number(0, 0o777)
_RELATIVE = matching(r"(?!/)(?!(?:.*/)?\.\.(?:/|$)).+", "a relative path without ..", PATH_MAX)
_ITEMS = ListOf(Object({"key": TEXT, "path": _RELATIVE, "mode": _MODE}, ("key", "path")))
_SECRET_REFERENCE = Object({"name": OBJECT_NAME}, ("name",))
_FIELD = Object({"apiVersion": TEXT, "fieldPath": TEXT}, ("fieldPath",))
_RESOURCE = Object(
    {"containerName": TEXT, "resource": TEXT, "divisor": Scalar("a quantity", (str, int))},
    ("containerName", "resource"),
)
_DOWNWARD_ITEM = Object(
    {"path": _RELATIVE, "fieldRef": _FIELD, "resourceFieldRef": _RESOURCE, "mode": _MODE},
    ("path",),
    ("fieldRef", "resourceFieldRef"),
)
_DOWNWARD_ITEMS = ListOf(_DOWNWARD_ITEM)
_PROJECTED_OBJECT = Object({"name": OBJECT_NAME, "items": _ITEMS, "optional": FLAG}, ("name",))
_PROJECTED = {
    "secret": _PROJECTED_OBJECT,
    "configMap": _PROJECTED_OBJECT,
    "downwardAPI": Object({"items": _DOWNWARD_ITEMS}),
    "serviceAccountToken": Object(
        {"audience": TEXT, "expirationSeconds": number(600, 2**32), "path": _RELATIVE}, ("path",)
    ),
    "clusterTrustBundle": Object(
        {"name": TEXT, "signerName": TEXT, "labelSelector": MapOf(ANYTHING), "optional": FLAG, "path": _RELATIVE},
        ("path",),
    ),
}
_CLAIM_SPEC = Object(
    {
        "accessModes": ListOf(choice("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), least=1),
        "resources": Object(
            {"requests": MapOf(QUANTITY), "limits": MapOf(QUANTITY)},
            ("requests",),
        ),
        **dict.fromkeys(("storageClassName", "volumeName", "volumeAttributesClassName"), TEXT),
        "volumeMode": choice("Filesystem"),
        "selector": Object({"matchLabels": MapOf(TEXT)}),
    },
    ("accessModes", "resources"),
)
_CLAIM_METADATA = Object({"labels": MapOf(TEXT), "annotations": MapOf(TEXT)})
_DISK = {"fsType": TEXT, "readOnly": FLAG}

#: Every kind of volume that a supported Kubernetes mounts.
VOLUME_SOURCES: dict[str, Shape] = {
    "emptyDir": Object(
        {
            "medium": matching(r"|Memory|HugePages(?:-[0-9]+[KMGT]i)?", "empty, Memory or HugePages"),
            "sizeLimit": QUANTITY,
        }
    ),
    "configMap": Object(
        {"name": OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": FLAG},
        ("name",),
    ),
    "secret": Object(
        {"secretName": OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": FLAG}, ("secretName",)
    ),
    "downwardAPI": Object({"items": _DOWNWARD_ITEMS, "defaultMode": _MODE}),
    "projected": Object(
        {"sources": ListOf(Object(_PROJECTED, one_of=tuple(_PROJECTED))), "defaultMode": _MODE}, ("sources",)
    ),
    "persistentVolumeClaim": Object({"claimName": OBJECT_NAME, "readOnly": FLAG}, ("claimName",)),
    "ephemeral": Object(
        {"volumeClaimTemplate": Object({"metadata": _CLAIM_METADATA, "spec": _CLAIM_SPEC}, ("spec",))},
        ("volumeClaimTemplate",),
    ),
    "hostPath": Object(
        {
            "path": _HOST_PATH,
            "type": choice(
                *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
            ),
        },
        ("path",),
    ),
    "nfs": Object({"server": TEXT, "path": _EXPORT, "readOnly": FLAG}, ("server", "path")),
    "csi": Object(
        {**_DISK, "driver": OBJECT_NAME, "volumeAttributes": MapOf(TEXT), "nodePublishSecretRef": _SECRET_REFERENCE},
        ("driver",),
    ),
    "image": Object(
        {"reference": TEXT, "pullPolicy": PULL_POLICY},
        ("reference",),
    ),
    "iscsi": Object(
        {
            **_DISK,
            **dict.fromkeys(("targetPortal", "iqn", "iscsiInterface", "initiatorName"), TEXT),
            **dict.fromkeys(("chapAuthDiscovery", "chapAuthSession"), FLAG),
            "lun": number(0, 255),
            "portals": ListOf(TEXT),
            "secretRef": _SECRET_REFERENCE,
        },
        ("targetPortal", "iqn"),
    ),
    "fc": Object({**_DISK, "targetWWNs": ListOf(TEXT), "lun": number(0, 255), "wwids": ListOf(TEXT)}),
    "cephfs": Object(
        {
            **dict.fromkeys(("path", "user", "secretFile"), TEXT),
            "monitors": ListOf(TEXT, least=1),
            "secretRef": _SECRET_REFERENCE,
            "readOnly": FLAG,
        },
        ("monitors",),
    ),
    "rbd": Object(
        {
            **_DISK,
            **dict.fromkeys(("image", "pool", "user", "keyring"), TEXT),
            "monitors": ListOf(TEXT, least=1),
            "secretRef": _SECRET_REFERENCE,
        },
        ("monitors", "image"),
    ),
    "glusterfs": Object({"endpoints": TEXT, "path": TEXT, "readOnly": FLAG}, ("endpoints", "path")),
    "cinder": Object({**_DISK, "volumeID": TEXT, "secretRef": _SECRET_REFERENCE}, ("volumeID",)),
    "azureDisk": Object(
        {
            **_DISK,
            "diskName": TEXT,
            "diskURI": TEXT,
            "kind": choice("Shared", "Dedicated", "Managed"),
            "cachingMode": choice("None", "ReadOnly", "ReadWrite"),
        },
        ("diskName", "diskURI"),
    ),
    "azureFile": Object({"secretName": OBJECT_NAME, "shareName": TEXT, "readOnly": FLAG}, ("secretName", "shareName")),
    "awsElasticBlockStore": Object({**_DISK, "volumeID": TEXT, "partition": number(0, 255)}, ("volumeID",)),
    "gcePersistentDisk": Object({**_DISK, "pdName": TEXT, "partition": number(0, 255)}, ("pdName",)),
    "vsphereVolume": Object(
        dict.fromkeys(("volumePath", "fsType", "storagePolicyName", "storagePolicyID"), TEXT), ("volumePath",)
    ),
    "portworxVolume": Object({**_DISK, "volumeID": TEXT}, ("volumeID",)),
    "flexVolume": Object(
        {**_DISK, "driver": TEXT, "secretRef": _SECRET_REFERENCE, "options": MapOf(TEXT)}, ("driver",)
    ),
}


def _check_source(fields: dict[str, Any], path: Path, report: Report) -> None:
    """Report a second source; none at all is an emptyDir (core/v1 defaults)."""
    sources = [key for key in fields if key != "name"]
    if len(sources) > 1:
        report(path, f"has both {sources[0]} and {sources[1]}; remove one")


_VOLUME = Object({"name": TEXT, **VOLUME_SOURCES}, rule=_check_source)


# --- patch -----------------------------------------------------------------------------------------------------

#: RFC 6901.
_POINTER = matching(r"(?:/(?:[^~/]|~[01])*)*", "a JSON pointer such as /env/0/value", 4096)
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
#: What tells our sidecar from others, and makes it a native one.
_FIXED = ("name", "restartPolicy")


def _check_operation(fields: dict[str, Any], path: Path, report: Report) -> None:
    operation = fields.get("op")
    if operation in ("add", "replace", "test") and "value" not in fields:
        report(path, f"{operation} has no value; add it (value: null is one)")
    if operation in ("move", "copy") and fields.get("from") is None:
        report(path, f"{operation} has no from; add it")
    changed = {"path"} if operation != "test" else set()
    if operation == "move":
        changed.add("from")
    for key in ("path", "from"):
        pointer = fields.get(key)
        if pointer == "":
            report((*path, key), "must name a key of the container, such as /image")
        elif pointer is not None and key in changed and pointer.split("/")[1] in _FIXED:
            report((*path, key), f"{pointer} can't be changed")


_OPERATION = Object(
    {"op": choice(*_OPERATIONS), "path": _POINTER, "from": _POINTER, "value": ANYTHING},
    ("op", "path"),
    keeps_null=True,
    rule=_check_operation,
)


# --- the documents ---------------------------------------------------------------------------------------------

SIDECAR = Object(SIDECAR_FIELDS, rule=check_names)
_BOUND = Object({"min": QUANTITY, "max": QUANTITY})
PROFILE = Object(
    {
        "base": TEXT,
        "description": TEXT,
        "sidecar": SIDECAR,
        "native": FLAG,
        "guaranteedCpu": QUANTITY,
        "order": choice("first", "last"),
        "logs": ListOf(TEXT),
        "start": choice("beginning", "end"),
        "injectAll": FLAG,
        "logsMountPath": _DIRECTORY,
        "reservedPaths": ListOf(_DIRECTORY),
        "volume": Object({"sizeLimit": QUANTITY, "medium": choice("", "Memory")}),
        "volumes": ListOf(_VOLUME),
        "imagePullSecrets": ListOf(Object({"name": OBJECT_NAME}, ("name",))),
        "bounds": Object(dict.fromkeys(BOUNDED, _BOUND)),
        "allowRoot": FLAG,
        "serviceAccountToken": FLAG,
        "patch": ListOf(_OPERATION),
        "required": MapOf(TEXT),
    }
)
CONFIGURATION = Object(
    {
        "defaultProfile": TEXT,
        "strict": FLAG,
        "allowHostPath": FLAG,
        "image": IMAGE,
        "imagePullPolicy": PULL_POLICY,
        "ignoredContainers": ListOf(matching(DNS_LABEL, "a container's name", 63)),
        "profiles": MapOf(ANYTHING),
    }
)
