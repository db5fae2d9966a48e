"""Which containers, volumes and variables of a pod are ours: the proofs, and which use needs which of them.

A name alone is not a proof: anybody may choose it. The status annotation is the pod author's text, so it never makes
anything ours that does not have our form.

=============================  ==============================================================================
to …                           a container with our name is ours if
=============================  ==============================================================================
leave a pod that is injected   it mounts a volume with one of our names, or has the sidecar's variables: a
already as it is               second sidecar must never be added, not even beside one that was changed
remove an injection            two of these hold: it mounts a volume of ours in our form, it has the
                               sidecar's variables, the status names it: what is removed must be ours
=============================  ==============================================================================
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from webhook.injection.profile import LOG_VOLUME, NAME_PREFIX, TOKEN_MASK_VOLUME, Configuration
from webhook.injection.variables import SIDECAR_VARIABLES
from webhook.json_values import as_mapping

__all__ = [
    "has_sidecar_variables",
    "is_log_volume_name",
    "is_own_variable",
    "is_own_volume",
    "is_own_volume_name",
    "is_present_volume",
]

_LOG_VOLUME = re.compile(rf"{NAME_PREFIX}{LOG_VOLUME}-[0-9]+")
#: As in the pod's JSON.
_SIDECAR_VARIABLES = [msgspec.to_builtins(one) for one in SIDECAR_VARIABLES]
_EMPTY_DIR_FIELDS = {"medium", "sizeLimit"}
#: The API server's defaults in volumes, by the key of the mapping that has them.
_VOLUME_DEFAULTS: dict[str, dict[str, Any]] = {
    **{kind: {"defaultMode": 0o644} for kind in ("configMap", "secret", "downwardAPI", "projected")},
    "hostPath": {"type": ""},
    "fieldRef": {"apiVersion": "v1"},
    "resourceFieldRef": {"divisor": "0"},
    "serviceAccountToken": {"expirationSeconds": 3600},
    "spec": {"volumeMode": "Filesystem"},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
}


def is_log_volume_name(name: str) -> bool:
    """Return whether a new log volume may have this name."""
    return _LOG_VOLUME.fullmatch(name) is not None


def is_own_volume_name(name: str, configuration: Configuration) -> bool:
    """Return whether we give a volume this name, whatever the volume's content is."""
    return name.startswith(NAME_PREFIX) and (
        name == TOKEN_MASK_VOLUME
        or is_log_volume_name(name)
        or any(volume["name"] == name for profile in configuration.profiles.values() for volume in profile.volumes)
    )


def is_own_volume(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether a volume, in JSON, has our name and our form, of any revision."""
    name = volume["name"]
    if not name.startswith(NAME_PREFIX):
        return False
    if name == TOKEN_MASK_VOLUME:
        return volume == {"name": name, "emptyDir": {}}
    source = volume.get("emptyDir")
    if volume.keys() == {"name", "emptyDir"} and isinstance(source, dict) and source.keys() <= _EMPTY_DIR_FIELDS:
        return True
    return not is_log_volume_name(name) and _is_of_a_profile(volume, configuration)


def is_present_volume(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether we would give a volume this name with the present profiles."""
    name = volume["name"]
    return is_log_volume_name(name) or name == TOKEN_MASK_VOLUME or _is_of_a_profile(volume, configuration)


def _is_of_a_profile(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether a present profile defines the volume for its sidecar."""
    return any(
        one["name"] == volume["name"] and _is_completed(volume, one)
        for profile in configuration.profiles.values()
        for one in profile.volumes
    )


def has_sidecar_variables(variables: Iterable[Any]) -> bool:
    """Return whether variables, in JSON, include all of ``SIDECAR_VARIABLES``."""
    present = list(variables)
    return all(any(is_own_variable(variable, ours) for variable in present) for ours in _SIDECAR_VARIABLES)


def is_own_variable(variable: Any, ours: dict[str, Any]) -> bool:
    """Return whether a variable equals ours, with or without the API server's defaults."""
    if not isinstance(variable, dict) or variable.keys() != {"name", "valueFrom"}:
        return False
    reference = as_mapping(as_mapping(variable["valueFrom"]).get("fieldRef"))
    if reference.get("apiVersion") == "v1":
        reference = {key: value for key, value in reference.items() if key != "apiVersion"}
        variable = variable | {"valueFrom": variable["valueFrom"] | {"fieldRef": reference}}
    return bool(variable == ours)


def _is_completed(found: Any, written: Any, kind: str = "") -> bool:
    """Return whether a value equals the written one, with or without the API server's defaults."""
    if isinstance(found, dict) and isinstance(written, dict):
        defaults = _VOLUME_DEFAULTS.get(kind, {})
        return found.keys() >= written.keys() and all(
            _is_completed(value, written[key], key) if key in written else key in defaults and value == defaults[key]
            for key, value in found.items()
        )
    if isinstance(found, list) and isinstance(written, list):
        return len(found) == len(written) and all(map(_is_completed, found, written))
    return bool(found == written)
