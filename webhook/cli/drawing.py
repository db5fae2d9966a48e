"""A pod before and after an injection, as what can be drawn: containers, volumes, and who mounts what where."""

from collections.abc import Mapping
from typing import Any

import jsonpatch
import msgspec

from webhook.json_values import as_list, as_mapping
from webhook.workloads.reports import Review

__all__ = ["drawing"]

#: What tells a volume's content best, by its type; of other types the type itself does.
_DETAILS = {
    "configMap": "name",
    "csi": "driver",
    "emptyDir": "sizeLimit",
    "hostPath": "path",
    "image": "reference",
    "nfs": "server",
    "persistentVolumeClaim": "claimName",
    "secret": "secretName",
}


def drawing(review: Review) -> dict[str, Any]:
    """Return the pod's containers and volumes, each with what the injection added.

    Containers are in the order in which they start. A manifest may hold anything: what is no text is left out.
    """
    before = review.workload.pod()
    operations = msgspec.json.decode(msgspec.json.encode(review.verdict.operations))
    after = as_mapping(jsonpatch.apply_patch(before, operations) if operations else before)
    old, new = as_mapping(before.get("spec")), as_mapping(after.get("spec"))
    containers = []
    for field in ("initContainers", "containers"):
        former = _by_name(old.get(field))
        for container in map(as_mapping, as_list(new.get(field))):
            containers.append(_container(container, field, former.get(_text(container, "name"))))
    volumes = _by_name(old.get("volumes"))
    return {
        "containers": containers,
        "volumes": [_volume(as_mapping(each), volumes) for each in as_list(new.get("volumes"))],
    }


def _by_name(items: Any) -> dict[str, dict[str, Any]]:
    return {_text(item, "name"): item for item in map(as_mapping, as_list(items))}


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def _container(container: dict[str, Any], field: str, former: dict[str, Any] | None) -> dict[str, Any]:
    """Return a container; ``former`` is it before the injection, None where it is new."""
    if field == "containers":
        kind = "container"
    else:
        kind = "native sidecar" if container.get("restartPolicy") == "Always" else "init container"
    mounts = [as_mapping(mount) for mount in as_list(container.get("volumeMounts"))]
    old_mounts = as_list(as_mapping(former).get("volumeMounts"))
    old_names = _by_name(as_mapping(former).get("env"))
    return {
        "name": _text(container, "name"),
        "image": _text(container, "image"),
        "kind": kind,
        "new": former is None,
        "mounts": [
            {
                "volume": _text(mount, "name"),
                "path": _text(mount, "mountPath"),
                "subPath": _text(mount, "subPath") or _text(mount, "subPathExpr"),
                "readOnly": mount.get("readOnly") is True,
                "new": mount not in old_mounts,
            }
            for mount in mounts
        ],
        "variables": []
        if former is None
        else [name for name in _by_name(container.get("env")) if name not in old_names],
    }


def _volume(volume: dict[str, Any], former: Mapping[str, Any]) -> dict[str, Any]:
    name = _text(volume, "name")
    type_ = next((key for key in volume if key != "name"), "emptyDir")
    detail = _text(as_mapping(volume.get(type_)), _DETAILS.get(type_, ""))
    return {"name": name, "type": type_, "detail": detail, "new": name not in former}
