"""What a pod's namespace or node must have so that a pod with a profile's sidecar starts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from webhook.injection.profile import NAME_PREFIX
from webhook.json_values import Path

__all__ = ["prerequisites"]

_REFERENCES = {
    **dict.fromkeys(("secret", "secretRef", "secretKeyRef"), "Secret"),
    **dict.fromkeys(("configMap", "configMapRef", "configMapKeyRef"), "ConfigMap"),
}

_IN_NAMESPACE = "in the namespace of each pod, which does not start without it"
_NO_USER = (
    "without runAsUser the cluster must choose the user, as OpenShift does: "
    "elsewhere an image that runs as root does not start under runAsNonRoot"
)


def prerequisites(sidecar: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Path, str]]:
    """Yield what a container and its volumes need: where in the profile, and a sentence for people.

    They may be there, so none of it is a mistake.
    """
    for path, where, named, reference in _references(sidecar, volumes):
        if not reference.get("optional"):
            yield path, f"{where} needs {named} {_IN_NAMESPACE}; optional: true lets it start"
    for number, volume in enumerate(volumes):
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"].get("claimName")
            yield ("volumes", number), f"volume {_name(volume)} needs the claim {claim} {_IN_NAMESPACE}"
    context = sidecar.get("securityContext", {})
    for key in ("seccompProfile", "appArmorProfile"):
        if (context.get(key) or {}).get("type") == "Localhost":
            profile = context[key].get("localhostProfile")
            yield ("sidecar", "securityContext", key), f"sidecar.securityContext.{key} needs {profile} on every node"
    if context.get("runAsUser", 0) is None and context.get("runAsNonRoot", True):
        yield ("sidecar", "securityContext", "runAsUser"), _NO_USER


def _references(
    sidecar: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Path, str, str, Mapping[str, Any]]]:
    """Find all Secrets and ConfigMaps: where, twice, what, and the reference, which may say that it is optional."""
    places: list[tuple[Path, str, Mapping[str, Any]]] = [
        (("sidecar", "env", number), f"sidecar.env {variable.get('name')}", variable.get("valueFrom", {}))
        for number, variable in enumerate(sidecar.get("env", ()))
    ]
    places += [
        (("sidecar", "envFrom", number), f"sidecar.envFrom[{number}]", item)
        for number, item in enumerate(sidecar.get("envFrom", ()))
    ]
    for number, volume in enumerate(volumes):
        sources = (volume, *volume.get("projected", {}).get("sources", ()))
        places += [(("volumes", number), f"volume {_name(volume)}", one) for one in sources]
    for path, where, holder in places:
        for key, kind in _REFERENCES.items():
            if key in holder:
                reference = holder[key]
                yield path, where, f"the {kind} {reference.get('name', reference.get('secretName'))}", reference


def _name(volume: Mapping[str, Any]) -> str:
    name: str = volume["name"]
    return name.removeprefix(NAME_PREFIX)
