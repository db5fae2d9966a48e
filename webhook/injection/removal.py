"""Removes from a pod what an injection added, and nothing that could be the user's.

A container needs two proofs; a volume and its mounts need our names and our form. Variables, image pull secrets and
the default container are removed only with the status annotation. The pod's author can write that annotation, so it is
only a hint.

Rows 3 and later apply only if a container or volume of ours is removed. Then the status is removed, too.

=========================  ==================================================================================
what                       is removed if
=========================  ==================================================================================
container ``pillion-…``    two of these hold: it mounts a volume of ours, it has the sidecar's variables, the
                           status names it; and the pod has another ordinary container
volume ``pillion-…``       it has our form, and the status does not list it as reused; a sidecar of ours mounts
                           it, or the status lists it and the configuration knows it; and every other mount of it
                           has our form; the mounts are removed, too
variables                  the status says that this container got them, and they are at the front of its list
                           in our form
image pull secrets         the status lists them, and a profile names them
default-container          an ordinary container of ours is removed, and the status has its value
safe-to-evict list         a volume of ours is removed: its name is taken out of the list
=========================  ==================================================================================
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from webhook.injection.annotations import STATUS
from webhook.injection.former_values import NULL_SPELLING_MEMBER, YAML_NULLS
from webhook.injection.ownership import (
    has_our_form,
    has_sidecar_variables,
    is_known_to_configuration,
    is_log_volume_name,
    is_our_variable,
)
from webhook.injection.pod_annotations import (
    DEFAULT_CONTAINER,
    SAFE_TO_EVICT,
    add_to_evict_list,
    remove_from_evict_list,
)
from webhook.injection.profile import NAME_PREFIX, Configuration
from webhook.injection.reasons import quote_untrusted
from webhook.injection.status import parse_status
from webhook.injection.variables import POD_VARIABLES
from webhook.json_values import Path, as_list, as_mapping, at, json_pointer

__all__ = ["Kept", "Removal", "remove"]

#: As in the pod's JSON.
_POD_VARIABLES: dict[str, dict[str, Any]] = {one.name: msgspec.to_builtins(one) for one in POD_VARIABLES}
_CONTAINER_LISTS = ("initContainers", "containers")
#: Stands for a value that the status does not list, unlike None, which means a null.
_ABSENT = object()


class Kept(NamedTuple):
    """Something that looks like ours, but is kept: its path in the pod, and why."""

    path: Path
    reason: str


class Removal(NamedTuple):
    """RFC 6902 operations on the pod, ``remove`` and ``replace``, to be applied in order; and what is kept."""

    operations: list[dict[str, Any]]
    kept: list[Kept]


def remove(pod: Any, configuration: Configuration) -> Removal:
    """Return the operations that remove an injection from a pod or pod template; none if it has no injection.

    ``pod`` may be any JSON and is not changed. Never raises.
    """
    remover = _Remover(as_mapping(pod), configuration)
    remover.run()
    return Removal(remover.operations, remover.kept)


class _Container(NamedTuple):
    list_name: str
    number: int
    name: str
    value: dict[str, Any]

    @property
    def path(self) -> Path:
        return ("spec", self.list_name, self.number)


class _Mount(NamedTuple):
    container: _Container
    number: int
    value: dict[str, Any]


class _Remover:
    """A pod from which values are removed, from back to front so that the indexes before them stay."""

    def __init__(self, pod: Mapping[str, Any], configuration: Configuration) -> None:
        self.pod = copy.deepcopy({key: pod[key] for key in ("metadata", "spec") if key in pod})
        self.configuration = configuration
        self.operations: list[dict[str, Any]] = []
        self.kept: list[Kept] = []
        #: The indexes of the removed sidecars, ascending, by the list that they were in.
        self.removed_indexes: dict[str, list[int]] = {}
        self.annotations = as_mapping(at(self.pod, ("metadata", "annotations")))
        self.status = parse_status(self.annotations, configuration.prefix)
        named_volumes = [
            (index, volume)
            for index, volume in enumerate(as_list(at(self.pod, ("spec", "volumes"))))
            if isinstance(volume, dict) and isinstance(volume.get("name"), str)
        ]
        self.volumes: dict[str, dict[str, Any]] = {volume["name"]: volume for _, volume in named_volumes}
        #: The volumes' indexes in the pod.
        self.volume_indexes: dict[str, int] = {volume["name"]: index for index, volume in named_volumes}
        #: The names that renamed containers had when they were injected, by their present names.
        self.former_names: dict[str, str] = {}

    def containers(self) -> list[_Container]:
        """Return the containers that have a name, of every kind."""
        return [
            _Container(list_name, index, container["name"], container)
            for list_name in (*_CONTAINER_LISTS, "ephemeralContainers")
            for index, container in enumerate(as_list(at(self.pod, ("spec", list_name))))
            if isinstance(container, dict) and isinstance(container.get("name"), str)
        ]

    def run(self) -> None:
        """Remove what is ours."""
        status_key = f"{self.configuration.prefix}{STATUS}"
        sidecars = self.find_sidecars()
        for list_name in _CONTAINER_LISTS:
            # sidecars first, so that the indexes of the others are those of the pod before the injection
            self.removed_indexes[list_name] = [one.number for one in sidecars if one.list_name == list_name]
            self.remove_items(("spec", list_name), self.removed_indexes[list_name])
        others = self.containers()
        volumes, mounts = self.find_added_volumes(sidecars, others)
        if not sidecars and not volumes:
            if status_key in self.annotations:
                self.report_kept(
                    ("metadata", "annotations", status_key),
                    f"{status_key} stays: the pod has nothing else that Pillion adds",
                )
            return
        self.find_former_names(others, mounts)
        to_remove: dict[Path, set[int]] = {}
        for mount in mounts:
            to_remove.setdefault((*mount.container.path, "volumeMounts"), set()).add(mount.number)
        for container in others:
            found = self.find_our_variables(container)
            if found:
                to_remove[(*container.path, "env")] = found
        to_remove[("spec", "imagePullSecrets")] = self.find_added_pull_secrets()
        to_remove[("spec", "volumes")] = {
            index
            for index, volume in enumerate(as_list(at(self.pod, ("spec", "volumes"))))
            if isinstance(volume, dict) and volume.get("name") in volumes
        }
        for path, indexes in to_remove.items():
            self.remove_items(path, indexes)
        self.remove_annotations(status_key, sidecars, volumes)

    def report_kept(self, path: Path, reason: str) -> None:
        """Report something that is kept, with its path in the original pod."""
        if len(path) > 2 and isinstance(path[2], int):  # noqa: PLR2004 — spec, the list, the item's index
            index = path[2]
            for gone in self.removed_indexes.get(str(path[1]), ()):
                if gone <= index:
                    index += 1
            path = (*path[:2], index, *path[3:])
        self.kept.append(Kept(path, reason))

    # --- what is ours ----------------------------------------------------------------------------------------------

    def find_sidecars(self) -> list[_Container]:
        """Return our containers."""
        found = []
        for container in self.containers():
            if container.list_name not in _CONTAINER_LISTS or not container.name.startswith(NAME_PREFIX):
                continue
            evidence = (
                any(
                    self.volume_has_our_form(mount["name"]) and self.is_known_volume(mount["name"])
                    for mount in _mounts(container.value)
                ),
                has_sidecar_variables(as_list(container.value.get("env"))),
                self.status is not None and self.status.sidecar == container.name,
            )
            if sum(evidence) >= 2:  # noqa: PLR2004 — two agree, as the table says
                found.append(container)
            else:
                self.report_kept(
                    container.path,
                    f"container {quote_untrusted(container.name)} stays: it does not look like Pillion's sidecar",
                )
        ordinary = as_list(at(self.pod, ("spec", "containers")))
        ordinary_sidecars = [sidecar for sidecar in found if sidecar.list_name == "containers"]
        if ordinary_sidecars and len(ordinary_sidecars) == len(ordinary):
            for container in ordinary_sidecars:
                self.report_kept(
                    container.path,
                    f"container {quote_untrusted(container.name)} stays: it is the pod's only ordinary container",
                )
            found = [sidecar for sidecar in found if sidecar.list_name != "containers"]
        return found

    def volume_has_our_form(self, name: str) -> bool:
        """Return whether the pod has a volume of this name that has our form, and that the status does not disown."""
        if name not in self.volumes or (self.status is not None and name in self.status.reused_volumes):
            return False
        return has_our_form(self.volumes[name], self.configuration)

    def is_known_volume(self, name: str) -> bool:
        """Return whether the present configuration knows this volume; a former profile may have had others."""
        return is_known_to_configuration(self.volumes[name], self.configuration)

    def find_added_volumes(
        self, sidecars: Sequence[_Container], others: Sequence[_Container]
    ) -> tuple[list[str], list[_Mount]]:
        """Return the names of our volumes, and the other containers' mounts of them."""
        mounted = {mount["name"] for sidecar in sidecars for mount in _mounts(sidecar.value)}
        listed = set(self.status.volumes) if self.status is not None else set()
        names: list[str] = []
        found: list[_Mount] = []
        for name, index in self.volume_indexes.items():
            if not name.startswith(NAME_PREFIX):
                continue
            path = ("spec", "volumes", index)
            known = name in mounted or (name in listed and self.is_known_volume(name))
            if not self.volume_has_our_form(name) or not known:
                if sidecars:
                    self.report_kept(path, f"volume {quote_untrusted(name)} stays: nothing says that it was added")
                continue
            mounts = [
                _Mount(container, number, mount)
                for container in others
                for number, mount in enumerate(as_list(container.value.get("volumeMounts")))
                if isinstance(mount, dict) and mount.get("name") == name
            ]
            strange = next((mount for mount in mounts if not self.is_our_mount(mount)), None)
            if strange is None:
                names.append(name)
                found += mounts
            else:
                container = quote_untrusted(strange.container.name)
                self.report_kept(
                    path, f"volume {quote_untrusted(name)} stays: container {container} mounts it differently"
                )
        return names, found

    def is_our_mount(self, mount: _Mount) -> bool:
        """Return whether a mount of a log volume has our form: the subPath is the container's name.

        A container that was renamed since the injection keeps the subPath.
        """
        value, names = mount.value, {mount.container.name}
        if self.status is not None:
            names.update(self.status.containers)
        return (
            is_log_volume_name(value["name"])
            and value.keys() == {"name", "mountPath", "subPath"}
            and isinstance(value["subPath"], str)
            and value["subPath"] in names
            and mount.container.list_name in _CONTAINER_LISTS
        )

    def find_former_names(self, containers: Sequence[_Container], mounts: Sequence[_Mount]) -> None:
        """Find the former names of renamed containers, which are their mounts' subPaths."""
        present = {container.name for container in containers}
        for mount in mounts:
            directory = mount.value["subPath"]
            if directory not in present:
                self.former_names[mount.container.name] = directory

    def find_our_variables(self, container: _Container) -> set[int]:
        """Return the indexes of our variables in a container's list."""
        if container.list_name not in _CONTAINER_LISTS:
            return set()
        name = self.former_names.get(container.name, container.name)
        taking_part = self.status is not None and name in self.status.containers
        expected: Collection[str] = _POD_VARIABLES
        if self.status is not None:
            expected = self.status.variables.get(name, expected) if taking_part else ()
        variables = as_list(container.value.get("env"))
        front = 0
        for variable, ours in _POD_VARIABLES.items():
            if variable in expected and front < len(variables) and is_our_variable(variables[front], ours):
                front += 1
        if taking_part or not front:
            return set(range(front))
        names = " and ".join(as_mapping(variable).get("name", "") for variable in variables[:front])
        self.report_kept(
            (*container.path, "env", 0), f"container {quote_untrusted(container.name)} keeps {names}: it could be yours"
        )
        return set()

    def find_added_pull_secrets(self) -> set[int]:
        """Return the indexes of the image pull secrets that we added."""
        found: set[int] = set()
        allowed = {name for profile in self.configuration.profiles.values() for name in profile.image_pull_secrets}
        present = as_list(at(self.pod, ("spec", "imagePullSecrets")))
        for name in self.status.pull_secrets if self.status is not None else ():
            indexes = [index for index, reference in enumerate(present) if reference == {"name": name}]
            if indexes and name in allowed:
                found.add(indexes[-1])
            elif indexes:
                path = ("spec", "imagePullSecrets", indexes[-1])
                self.report_kept(path, f"image pull secret {quote_untrusted(name)} stays: no profile has it")
        return found

    # --- how it is removed -----------------------------------------------------------------------------------------

    def remove_items(self, path: Path, indexes: Collection[int]) -> None:
        """Remove items of a list, and an empty list unless it was empty before the injection."""
        items = as_list(at(self.pod, path))
        if indexes and len(indexes) == len(items) and self.former_value(path) != []:
            self.remove_value(path)
            return
        # one by one even if no item remains, so that the text keeps its brackets
        for index in sorted(indexes, reverse=True):
            del items[index]
            self.operations.append({"op": "remove", "path": json_pointer((*path, index))})

    def remove_value(self, path: Path) -> None:
        """Remove a collection, or set it to null if it was null before the injection."""
        parent = at(self.pod, path[:-1])
        if self.former_value(path) is None:
            parent[path[-1]] = None
            self.set_null(path)
        else:
            del parent[path[-1]]
            self.operations.append({"op": "remove", "path": json_pointer(path)})

    def set_null(self, path: Path) -> None:
        """Set a value to null, in its former spelling."""
        word = self.status.null_spellings.get(json_pointer(path), "") if self.status is not None else ""
        hint = {NULL_SPELLING_MEMBER: word} if word in YAML_NULLS else {}
        self.operations.append({"op": "replace", "path": json_pointer(path), "value": None} | hint)

    def former_value(self, path: Path) -> Any:
        """Return the former value that the status lists for the path; ``_ABSENT`` if it lists none."""
        return self.status.former_values.get(json_pointer(path), _ABSENT) if self.status is not None else _ABSENT

    def remove_annotations(self, status_key: str, sidecars: Sequence[_Container], volumes: Sequence[str]) -> None:
        """Remove our annotations, and mappings that become empty."""
        changed: dict[str, str | None] = {}
        listed = self.annotations.get(SAFE_TO_EVICT)
        if volumes and isinstance(listed, str):
            changed[SAFE_TO_EVICT] = self.former_volume_list(listed, volumes)
        default = self.annotations.get(DEFAULT_CONTAINER)
        if default is not None and any(one.list_name == "containers" for one in sidecars):
            if self.status is not None and self.status.default_container == default:
                changed[DEFAULT_CONTAINER] = None
            elif self.status is None or default in [one.name for one in sidecars]:
                self.report_kept(
                    ("metadata", "annotations", DEFAULT_CONTAINER), f"{DEFAULT_CONTAINER} stays: it could be yours"
                )
        if status_key in self.annotations:
            former_status = self.former_value(("metadata", "annotations", status_key))
            changed[status_key] = former_status if isinstance(former_status, str) else None
        path: Path = ("metadata", "annotations")
        remaining = [
            key
            for key in self.annotations
            if changed.get(key, "") is not None or self.former_value((*path, key)) is None
        ]
        if remaining or not changed or self.former_value(path) == {}:
            for key, value in changed.items():
                self.change_annotation(key, value)
            return
        if len(self.pod["metadata"]) == 1 and self.former_value(path) is _ABSENT and self.former_value(path[:-1]) != {}:
            path = path[:-1]
        self.remove_value(path)

    def change_annotation(self, key: str, value: str | None) -> None:
        """Give an annotation its former value; None: remove it, or set it to null if it was null."""
        path = ("metadata", "annotations", key)
        where = json_pointer(path)
        if value is None and self.former_value(path) is None:
            self.set_null(path)
        elif value is None:
            self.operations.append({"op": "remove", "path": where})
        elif value != self.annotations[key]:
            self.operations.append({"op": "replace", "path": where, "value": value})

    def former_volume_list(self, listed: str, volumes: Sequence[str]) -> str | None:
        """Return the autoscaler's list as it was before the injection, None if there was none."""
        before = self.former_value(("metadata", "annotations", SAFE_TO_EVICT))
        if (
            self.status is not None
            and isinstance(before, str)
            and add_to_evict_list(before, self.status.volumes) == listed
        ):
            return before
        found: str | None = remove_from_evict_list(listed, volumes)
        if found != listed:
            return found
        # the list was changed after the injection
        names = listed.split(",")
        rest = [name for name in names if name.strip() not in volumes]
        return ",".join(rest) if rest else None


def _mounts(container: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        mount
        for mount in as_list(container.get("volumeMounts"))
        if isinstance(mount, dict) and isinstance(mount.get("name"), str)
    ]
