"""Compares a pod that has a sidecar with what it would be, were it created now.

A live pod has more than an injection wrote: the API server adds defaults and writes quantities in its own form. So
the pod is injected again without its sidecar, and what comes of it is compared with what is there:

=============  =====================================================================================
state          what differs
=============  =====================================================================================
foreign        it has no sidecar of this installation
declined       it would not be injected now; ``finding`` says why
current        nothing
status_only    the status annotation alone: another revision of a profile that makes the same sidecar
image_only     the sidecar's image, and with it perhaps the status annotation
other          anything else; ``differences`` says what
=============  =====================================================================================

What another webhook added to the sidecar is a difference, too: it can't be told from what a former version of Pillion
added.
"""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import jsonpatch
import msgspec

from webhook.injection.admission import Admission
from webhook.injection.annotations import STATUS
from webhook.injection.edit import encode_patch
from webhook.injection.ownership import VOLUME_DEFAULTS
from webhook.injection.profile import TOKEN_PATH, Configuration
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import Finding
from webhook.injection.removal import remove
from webhook.injection.review import creation_request
from webhook.injection.status import other_installation, parse_status
from webhook.json_values import Path, as_list, as_mapping, at

__all__ = ["ABSENT", "Comparison", "Difference", "State", "compare"]

#: Stands for a value that is not there.
ABSENT = object()
#: The API server's defaults in containers (k8s.io/kubernetes pkg/apis/core/v1/defaults.go); for those of volumes and
#: references see ``VOLUME_DEFAULTS``, for the rest ``_Walk``.
_DEFAULTS: dict[str, Any] = {
    "failureThreshold": 3,
    "periodSeconds": 10,
    "protocol": "TCP",
    "scheme": "HTTP",
    "successThreshold": 1,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "timeoutSeconds": 1,
}
_QUANTITIES = ("requests", "limits")
#: Lists whose items have a key that tells them apart; the order of some counts.
_KEYS = {
    "volumeMounts": "mountPath",
    **dict.fromkeys(("containers", "env", "imagePullSecrets", "initContainers", "volumes"), "name"),
}
_ORDERED = frozenset({"containers", "env", "initContainers"})
#: The annotation in which the LimitRanger admission plugin records the containers that it gave defaults.
_LIMIT_RANGER = "kubernetes.io/limit-ranger"
#: The prefix of the token volume's name, which the ServiceAccount admission plugin gives.
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105 — a name


class State(StrEnum):
    """What an upgrade would have to change; the module's table says which is which."""

    FOREIGN = "foreign"
    DECLINED = "declined"
    CURRENT = "current"
    STATUS_ONLY = "status_only"
    IMAGE_ONLY = "image_only"
    OTHER = "other"


class Difference(NamedTuple):
    """A value that differs, :data:`ABSENT` where there is none.

    Items of lists stand in the path by their names, mounts by their paths, and those without either by their indexes.
    """

    path: Path
    live: Any
    desired: Any


class Comparison(NamedTuple):
    """The result. For a foreign pod only ``state`` is set, for a declined one also ``live_status`` and ``finding``."""

    state: State
    #: ``containers`` or ``initContainers``, and the sidecar's name; both, and ``live_image``, are empty where the
    #: sidecar would have another name now.
    list_name: str = ""
    sidecar: str = ""
    #: The sidecar's images, the pod's and the present one.
    live_image: str = ""
    desired_image: str = ""
    #: The status annotation's values; None where there is none.
    live_status: str | None = None
    desired_status: str | None = None
    differences: tuple[Difference, ...] = ()
    finding: Finding | None = None


def compare(pod: Mapping[str, Any], configuration: Configuration, *, namespace_opted_in: bool) -> Comparison:
    """Return how a pod, as the API server has it, differs from what it would be, were it created now. Never raises."""
    live = {"metadata": as_mapping(pod.get("metadata")), "spec": _without_debuggers(as_mapping(pod.get("spec")))}
    key = f"{configuration.prefix}{STATUS}"
    live_status = as_mapping(live["metadata"].get("annotations")).get(key)
    removal = remove(live, configuration)
    if not removal.operations:
        return Comparison(State.FOREIGN)
    bare = jsonpatch.apply_patch(live, removal.operations)
    annotations, sidecars = as_mapping(live["metadata"].get("annotations")), _names(live) - _names(bare)
    if other_installation(annotations, configuration.prefix, sidecars) is not None:
        return Comparison(State.FOREIGN)
    request = creation_request(
        msgspec.Raw(json.dumps(bare).encode()), namespace_opted_in=namespace_opted_in, uid="comparison"
    )
    verdict = Admission(request, configuration).run()
    if not verdict.injected:
        return Comparison(State.DECLINED, live_status=live_status, finding=verdict.findings[0])
    desired = jsonpatch.apply_patch(bare, msgspec.json.decode(encode_patch(verdict.operations)))
    desired_status = as_mapping(desired["metadata"].get("annotations")).get(key)
    sidecar = configuration.profiles[verdict.profile_name].container_name
    walk = _Walk(sidecar, as_mapping(live["metadata"].get("annotations")))
    found = [one for one in walk.differences(live, desired) if one.path != ("metadata", "annotations", key)]
    place = next((one.path for one in found if one.path[1:] in _image_paths(sidecar)), None)
    more = tuple(one for one in found if one.path != place)
    changed = desired_status is not None and not _says_the_same(
        live["metadata"], desired["metadata"], configuration.prefix
    )
    state = State.OTHER if more else State.IMAGE_ONLY if place else State.STATUS_ONLY if changed else State.CURRENT
    list_name, image = _image_of(live, sidecar)
    return Comparison(
        state,
        list_name=list_name,
        sidecar=sidecar if list_name else "",
        live_image=image,
        desired_image=_image_of(desired, sidecar)[1],
        live_status=live_status,
        desired_status=desired_status,
        differences=more,
    )


def _without_debuggers(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a spec without ephemeral containers, which no created pod has: they may mount volumes of ours."""
    return {key: value for key, value in spec.items() if key != "ephemeralContainers"}


def _names(pod: Mapping[str, Any]) -> set[str]:
    """Return the names of the containers that an injection may have added."""
    return {
        container["name"] for name in ("initContainers", "containers") for container in as_list(at(pod, ("spec", name)))
    }


def _says_the_same(live: Mapping[str, Any], desired: Mapping[str, Any], prefix: str) -> bool:
    """Return whether two statuses say the same; a manifest's status also lists former values."""
    one, other = (parse_status(as_mapping(metadata.get("annotations")), prefix) for metadata in (live, desired))
    if one is not None and other is not None:
        one.former_values, one.null_spellings = other.former_values, other.null_spellings
    return one == other


def _image_paths(sidecar: str) -> tuple[Path, ...]:
    return ("initContainers", sidecar, "image"), ("containers", sidecar, "image")


def _image_of(pod: Mapping[str, Any], sidecar: str) -> tuple[str, str]:
    """Return the list that has the sidecar, and its image; two empty texts where there is none."""
    for list_name in ("initContainers", "containers"):
        for container in as_list(at(pod, ("spec", list_name))):
            if container["name"] == sidecar:
                return list_name, container["image"]
    return "", ""


class _Walk:
    """Compares a live pod with the desired one, value by value."""

    def __init__(self, sidecar: str, annotations: Mapping[str, Any]) -> None:
        limited = annotations.get(_LIMIT_RANGER)
        self.limit_ranger_added = isinstance(limited, str) and f"container {sidecar}" in limited

    def differences(self, live: Any, desired: Any, path: Path = ()) -> Iterator[Difference]:
        """Yield what differs, in the order of the live values."""
        if live == desired:
            return
        if isinstance(live, dict) and isinstance(desired, dict):
            yield from self._in_mappings(live, desired, path)
        elif isinstance(live, list) and isinstance(desired, list) and path[-1] in _KEYS:
            yield from self._in_keyed_lists(live, desired, path)
        elif isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
            for number, (one, other) in enumerate(zip(live, desired, strict=True)):
                yield from self.differences(one, other, (*path, number))
        elif not _is_same_quantity(live, desired, path):
            yield Difference(path, live, desired)

    def _in_mappings(self, live: dict[str, Any], desired: dict[str, Any], path: Path) -> Iterator[Difference]:
        if path[-1:] == ("resources",):
            live = self._without_added_quantities(live, desired)
        for key in dict.fromkeys([*live, *desired]):
            where = (*path, key)
            if key in live and key in desired:
                yield from self.differences(live[key], desired[key], where)
            elif key == "imagePullPolicy" and key in live:
                policy = _default_pull_policy(desired["image"])
                # the admission plugin AlwaysPullImages sets Always
                if live[key] not in ("Always", policy):
                    yield Difference(where, live[key], policy)
            elif key in live and not _is_default(key, live[key], path):
                yield Difference(where, live[key], ABSENT)
            elif key in desired and desired[key] not in (None, False, 0, "", [], {}):
                # the API server stores no empty values
                yield Difference(where, ABSENT, desired[key])

    def _in_keyed_lists(self, live: list[Any], desired: list[Any], path: Path) -> Iterator[Difference]:
        key = _KEYS[str(path[-1])]
        here, there = ({item[key]: item for item in items} for items in (live, desired))
        for name in dict.fromkeys([*here, *there]):
            one, other = here.get(name, ABSENT), there.get(name, ABSENT)
            if one is not ABSENT and other is not ABSENT:
                yield from self.differences(one, other, (*path, name))
            elif not _is_token_mount(one):
                yield Difference((*path, name), one, other)
        orders = [name for name in here if name in there], [name for name in there if name in here]
        if path[-1] in _ORDERED and orders[0] != orders[1]:
            yield Difference(path, *orders)

    def _without_added_quantities(self, live: dict[str, Any], desired: dict[str, Any]) -> dict[str, Any]:
        """Return the live resources without those that the API server or a LimitRange added."""
        limits = as_mapping(live.get("limits"))
        kept = {}
        for kind, quantities in live.items():
            written = as_mapping(desired.get(kind))
            kept[kind] = (
                quantities
                if kind not in _QUANTITIES
                else {
                    name: quantity
                    for name, quantity in quantities.items()
                    # the API server sets a request that is not written to its limit
                    if name in written
                    or not (self.limit_ranger_added or (kind == "requests" and quantity == limits.get(name)))
                }
            )
        return kept


def _is_default(key: str, value: Any, path: Path) -> bool:
    """Return whether the API server adds this value to the mapping at a path."""
    if value in (None, {}, []):
        return True
    defaults = VOLUME_DEFAULTS.get(str(path[-1]), _DEFAULTS) if path else _DEFAULTS
    return key in defaults and bool(value == defaults[key])


def _is_token_mount(live: Any) -> bool:
    return as_mapping(live).get("mountPath") == TOKEN_PATH and live["name"].startswith(_TOKEN_VOLUME)


def _is_same_quantity(live: Any, desired: Any, path: Path) -> bool:
    if path[-2] not in _QUANTITIES and path[-1] not in ("divisor", "sizeLimit"):
        return False
    quantity = parse_quantity(live)
    return quantity is not None and quantity == parse_quantity(desired)


def _default_pull_policy(image: str) -> str:
    """Return the pull policy that the API server gives an image."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2] or ("" if digest else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"
