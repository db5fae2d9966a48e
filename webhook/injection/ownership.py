"""Which containers, volumes and variables of a pod are ours: the proofs.

A name alone is not a proof: anybody may choose it. The status annotation is the pod author's text, so it never makes
anything ours that does not have our form.

A pod is left as it is if :func:`is_sidecar` recognises one of its containers: a second sidecar must never be added, not
even beside one that was changed. To remove a container takes more, as what is removed must be ours: see the table of
:mod:`webhook.injection.removal`.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from webhook.injection.pod import Container
from webhook.injection.profile import LOG_VOLUME_STEM, NAME_PREFIX, TOKEN_MASK_VOLUME_NAME, Configuration
from webhook.injection.variables import SIDECAR_VARIABLES
from webhook.json_values import as_mapping

__all__ = [
    "VOLUME_DEFAULTS",
    "has_our_form",
    "has_sidecar_variables",
    "is_given_name",
    "is_known_to_configuration",
    "is_log_volume_name",
    "is_our_variable",
    "is_sidecar",
]

_LOG_VOLUME_NAME = re.compile(rf"{NAME_PREFIX}{LOG_VOLUME_STEM}-[0-9]+")
#: As in the pod's JSON.
_SIDECAR_VARIABLES = [msgspec.to_builtins(one) for one in SIDECAR_VARIABLES]
_EMPTY_DIR_FIELDS = {"medium", "sizeLimit"}
#: The API server's defaults in volumes, by the key of the mapping that has them.
VOLUME_DEFAULTS: dict[str, dict[str, Any]] = {
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


def is_sidecar(container: Container, configuration: Configuration) -> bool:
    """Return whether a container is a sidecar of ours, of any profile and revision: our name, and one more proof.

    That is a mount of a volume with one of our names, or the sidecar's variables: a sidecar of ours may mount only the
    pod's own volumes.
    """
    if not container.name.startswith(NAME_PREFIX):
        return False
    ours = any(is_given_name(mount.name, configuration) for mount in container.volumeMounts or ())
    return ours or has_sidecar_variables(msgspec.to_builtins(container.env or ()))


def is_log_volume_name(name: str) -> bool:
    """Return whether a new log volume may have this name."""
    return _LOG_VOLUME_NAME.fullmatch(name) is not None


def is_given_name(name: str, configuration: Configuration) -> bool:
    """Return whether we give a volume this name, whatever the volume's content is."""
    return name.startswith(NAME_PREFIX) and (
        name == TOKEN_MASK_VOLUME_NAME
        or is_log_volume_name(name)
        or any(volume["name"] == name for profile in configuration.profiles.values() for volume in profile.volumes)
    )


def has_our_form(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether a volume, in JSON, has a name that begins with ``pillion-``, and our form.

    That is a plain emptyDir, whichever revision added it, or what a profile defines now. The name need not be one that
    we give today.
    """
    name = volume["name"]
    if not name.startswith(NAME_PREFIX):
        return False
    if name == TOKEN_MASK_VOLUME_NAME:
        return volume == {"name": name, "emptyDir": {}}
    source = volume.get("emptyDir")
    if volume.keys() == {"name", "emptyDir"} and isinstance(source, dict) and source.keys() <= _EMPTY_DIR_FIELDS:
        return True
    return not is_log_volume_name(name) and _is_profile_volume(volume, configuration)


def is_known_to_configuration(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether the name is a log volume's or the token mask's, or a profile defines this volume.

    Looks at the form only of a profile's volume, which may have the API server's defaults.
    """
    name = volume["name"]
    return is_log_volume_name(name) or name == TOKEN_MASK_VOLUME_NAME or _is_profile_volume(volume, configuration)


def _is_profile_volume(volume: dict[str, Any], configuration: Configuration) -> bool:
    """Return whether a profile defines the volume for its sidecar."""
    return any(
        one["name"] == volume["name"] and _equals_but_for_defaults(volume, one)
        for profile in configuration.profiles.values()
        for one in profile.volumes
    )


def has_sidecar_variables(variables: Iterable[Any]) -> bool:
    """Return whether variables, in JSON, include all of ``SIDECAR_VARIABLES``."""
    present = list(variables)
    return all(any(is_our_variable(variable, ours) for variable in present) for ours in _SIDECAR_VARIABLES)


def is_our_variable(variable: Any, ours: dict[str, Any]) -> bool:
    """Return whether a variable equals ours, with or without the API server's defaults.

    ``variables._definition`` does the same to typed variables.
    """
    if not isinstance(variable, dict) or variable.keys() != {"name", "valueFrom"}:
        return False
    reference = as_mapping(as_mapping(variable["valueFrom"]).get("fieldRef"))
    if reference.get("apiVersion") == "v1":
        reference = {key: value for key, value in reference.items() if key != "apiVersion"}
        variable = variable | {"valueFrom": variable["valueFrom"] | {"fieldRef": reference}}
    return bool(variable == ours)


def _equals_but_for_defaults(found: Any, written: Any, key: str = "") -> bool:
    """Return whether a value equals the written one, with or without the API server's defaults.

    ``key`` is the key of the mapping that has the value.
    """
    if isinstance(found, dict) and isinstance(written, dict):
        defaults = VOLUME_DEFAULTS.get(key, {})
        return found.keys() >= written.keys() and all(
            _equals_but_for_defaults(value, written[name], name)
            if name in written
            else name in defaults and value == defaults[name]
            for name, value in found.items()
        )
    if isinstance(found, list) and isinstance(written, list):
        return len(found) == len(written) and all(map(_equals_but_for_defaults, found, written))
    return bool(found == written)
