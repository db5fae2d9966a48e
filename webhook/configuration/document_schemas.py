"""The shapes of a configuration's documents: which keys there are, and what each may be."""

import re
from typing import Any

from webhook.injection.annotations import MAX_COMPONENT_BYTES
from webhook.injection.container_schema import (
    IMAGE,
    OBJECT_NAME,
    PULL_POLICY,
    QUANTITY,
    SIDECAR_FIELDS,
    check_container,
)
from webhook.injection.dns_labels import DNS_LABEL
from webhook.injection.paths import PATH_MAX, components, normalised_path
from webhook.json_values import Path
from webhook.schema import (
    ANYTHING,
    BOOL,
    STRING,
    ListOf,
    MapOf,
    Object,
    Report,
    Scalar,
    Schema,
    matching,
    number,
    one_of,
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
            instead = normalised_path(value[: value.rfind("/", 0, found.start()) + 1])
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
_ITEMS = ListOf(Object({"key": STRING, "path": _RELATIVE, "mode": _MODE}, ("key", "path")))
_SECRET_REFERENCE = Object({"name": OBJECT_NAME}, ("name",))
_FIELD = Object({"apiVersion": STRING, "fieldPath": STRING}, ("fieldPath",))
_RESOURCE = Object(
    {"containerName": STRING, "resource": STRING, "divisor": Scalar("a quantity", (str, int))},
    ("containerName", "resource"),
)
_DOWNWARD_ITEM = Object(
    {"path": _RELATIVE, "fieldRef": _FIELD, "resourceFieldRef": _RESOURCE, "mode": _MODE},
    ("path",),
    ("fieldRef", "resourceFieldRef"),
)
_DOWNWARD_ITEMS = ListOf(_DOWNWARD_ITEM)
_PROJECTED_OBJECT = Object({"name": OBJECT_NAME, "items": _ITEMS, "optional": BOOL}, ("name",))
_PROJECTED = {
    "secret": _PROJECTED_OBJECT,
    "configMap": _PROJECTED_OBJECT,
    "downwardAPI": Object({"items": _DOWNWARD_ITEMS}),
    "serviceAccountToken": Object(
        {"audience": STRING, "expirationSeconds": number(600, 2**32), "path": _RELATIVE}, ("path",)
    ),
    "clusterTrustBundle": Object(
        {"name": STRING, "signerName": STRING, "labelSelector": MapOf(ANYTHING), "optional": BOOL, "path": _RELATIVE},
        ("path",),
    ),
}
_CLAIM_SPEC = Object(
    {
        "accessModes": ListOf(
            one_of("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), min_items=1
        ),
        "resources": Object(
            {"requests": MapOf(QUANTITY), "limits": MapOf(QUANTITY)},
            ("requests",),
        ),
        **dict.fromkeys(("storageClassName", "volumeName", "volumeAttributesClassName"), STRING),
        "volumeMode": one_of("Filesystem"),
        "selector": Object({"matchLabels": MapOf(STRING)}),
    },
    ("accessModes", "resources"),
)
_CLAIM_METADATA = Object({"labels": MapOf(STRING), "annotations": MapOf(STRING)})
_DISK = {"fsType": STRING, "readOnly": BOOL}

#: Every kind of volume that a supported Kubernetes mounts.
VOLUME_SOURCES: dict[str, Schema] = {
    "emptyDir": Object(
        {
            "medium": matching(r"|Memory|HugePages(?:-[0-9]+[KMGT]i)?", "empty, Memory or HugePages"),
            "sizeLimit": QUANTITY,
        }
    ),
    "configMap": Object(
        {"name": OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": BOOL},
        ("name",),
    ),
    "secret": Object(
        {"secretName": OBJECT_NAME, "items": _ITEMS, "defaultMode": _MODE, "optional": BOOL}, ("secretName",)
    ),
    "downwardAPI": Object({"items": _DOWNWARD_ITEMS, "defaultMode": _MODE}),
    "projected": Object(
        {"sources": ListOf(Object(_PROJECTED, exactly_one_of=tuple(_PROJECTED))), "defaultMode": _MODE}, ("sources",)
    ),
    "persistentVolumeClaim": Object({"claimName": OBJECT_NAME, "readOnly": BOOL}, ("claimName",)),
    "ephemeral": Object(
        {"volumeClaimTemplate": Object({"metadata": _CLAIM_METADATA, "spec": _CLAIM_SPEC}, ("spec",))},
        ("volumeClaimTemplate",),
    ),
    "hostPath": Object(
        {
            "path": _HOST_PATH,
            "type": one_of(
                *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
            ),
        },
        ("path",),
    ),
    "nfs": Object({"server": STRING, "path": _EXPORT, "readOnly": BOOL}, ("server", "path")),
    "csi": Object(
        {**_DISK, "driver": OBJECT_NAME, "volumeAttributes": MapOf(STRING), "nodePublishSecretRef": _SECRET_REFERENCE},
        ("driver",),
    ),
    "image": Object(
        {"reference": STRING, "pullPolicy": PULL_POLICY},
        ("reference",),
    ),
    "iscsi": Object(
        {
            **_DISK,
            **dict.fromkeys(("targetPortal", "iqn", "iscsiInterface", "initiatorName"), STRING),
            **dict.fromkeys(("chapAuthDiscovery", "chapAuthSession"), BOOL),
            "lun": number(0, 255),
            "portals": ListOf(STRING),
            "secretRef": _SECRET_REFERENCE,
        },
        ("targetPortal", "iqn"),
    ),
    "fc": Object({**_DISK, "targetWWNs": ListOf(STRING), "lun": number(0, 255), "wwids": ListOf(STRING)}),
    "cephfs": Object(
        {
            **dict.fromkeys(("path", "user", "secretFile"), STRING),
            "monitors": ListOf(STRING, min_items=1),
            "secretRef": _SECRET_REFERENCE,
            "readOnly": BOOL,
        },
        ("monitors",),
    ),
    "rbd": Object(
        {
            **_DISK,
            **dict.fromkeys(("image", "pool", "user", "keyring"), STRING),
            "monitors": ListOf(STRING, min_items=1),
            "secretRef": _SECRET_REFERENCE,
        },
        ("monitors", "image"),
    ),
    "glusterfs": Object({"endpoints": STRING, "path": STRING, "readOnly": BOOL}, ("endpoints", "path")),
    "cinder": Object({**_DISK, "volumeID": STRING, "secretRef": _SECRET_REFERENCE}, ("volumeID",)),
    "azureDisk": Object(
        {
            **_DISK,
            "diskName": STRING,
            "diskURI": STRING,
            "kind": one_of("Shared", "Dedicated", "Managed"),
            "cachingMode": one_of("None", "ReadOnly", "ReadWrite"),
        },
        ("diskName", "diskURI"),
    ),
    "azureFile": Object(
        {"secretName": OBJECT_NAME, "shareName": STRING, "readOnly": BOOL}, ("secretName", "shareName")
    ),
    "awsElasticBlockStore": Object({**_DISK, "volumeID": STRING, "partition": number(0, 255)}, ("volumeID",)),
    "gcePersistentDisk": Object({**_DISK, "pdName": STRING, "partition": number(0, 255)}, ("pdName",)),
    "vsphereVolume": Object(
        dict.fromkeys(("volumePath", "fsType", "storagePolicyName", "storagePolicyID"), STRING), ("volumePath",)
    ),
    "portworxVolume": Object({**_DISK, "volumeID": STRING}, ("volumeID",)),
    "flexVolume": Object(
        {**_DISK, "driver": STRING, "secretRef": _SECRET_REFERENCE, "options": MapOf(STRING)}, ("driver",)
    ),
}


def _check_source(fields: dict[str, Any], path: Path, report: Report) -> None:
    """Report a second source; none at all is an emptyDir (core/v1 defaults)."""
    sources = [key for key in fields if key != "name"]
    if len(sources) > 1:
        report(path, f"has both {sources[0]} and {sources[1]}; remove one")


_VOLUME = Object({"name": STRING, **VOLUME_SOURCES}, check=_check_source)


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
    {"op": one_of(*_OPERATIONS), "path": _POINTER, "from": _POINTER, "value": ANYTHING},
    ("op", "path"),
    keeps_null=True,
    check=_check_operation,
)


# --- the documents ---------------------------------------------------------------------------------------------

SIDECAR = Object(SIDECAR_FIELDS, check=check_container)
_BOUND = Object({"min": QUANTITY, "max": QUANTITY})
PROFILE = Object(
    {
        "base": STRING,
        "description": STRING,
        "sidecar": SIDECAR,
        "native": BOOL,
        "guaranteedCpu": QUANTITY,
        "order": one_of("first", "last"),
        "logs": ListOf(STRING),
        "start": one_of("beginning", "end"),
        "injectAll": BOOL,
        "logsMountPath": _DIRECTORY,
        "reservedPaths": ListOf(_DIRECTORY),
        "volume": Object({"sizeLimit": QUANTITY, "medium": one_of("", "Memory")}),
        "volumes": ListOf(_VOLUME),
        "imagePullSecrets": ListOf(Object({"name": OBJECT_NAME}, ("name",))),
        "bounds": Object(dict.fromkeys(BOUNDED, _BOUND)),
        "allowRoot": BOOL,
        "serviceAccountToken": BOOL,
        "patch": ListOf(_OPERATION),
        "required": MapOf(STRING),
    }
)
CONFIGURATION = Object(
    {
        "defaultProfile": STRING,
        "strict": BOOL,
        "allowHostPath": BOOL,
        "openshift": BOOL,
        "image": IMAGE,
        "imagePullPolicy": PULL_POLICY,
        "shippingImage": IMAGE,
        "ignoredContainers": ListOf(matching(DNS_LABEL, "a container's name", 63)),
        "profiles": MapOf(ANYTHING),
    }
)
