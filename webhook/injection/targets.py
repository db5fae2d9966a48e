"""Which log directories are meant in which containers, and what each container mounts around them."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from webhook.injection.annotations import LogFiles
from webhook.injection.participants import Mounts, Participant
from webhook.injection.paths import Components, components
from webhook.injection.places import too_many

__all__ = ["Target", "are_mounts", "nearest_mount", "targets"]

#: Containers times directories: beyond, planning alone would take the time of a thousand other pods.
MAX_TARGETS = 2048
_RUN: Components = ("run",)


class Target(Struct, gc=False):
    """A log directory of a container, and the entries that mean files in it."""

    participant: Participant
    directory: Components
    entries: Sequence[LogFiles]
    #: The path of the nearest mount that the directory lies in, and the mounts inside it.
    nearest_mount: Components | None
    below: Mounts


def targets(participants: Sequence[Participant], entries: Sequence[LogFiles]) -> list[Target]:
    """Return each log directory in each container that it is meant in."""
    directories: dict[Components, list[LogFiles]] = {}
    prefixed: set[Components] = set()
    for entry in entries:
        directories.setdefault(entry.parts, []).append(entry)
        if entry.container:
            prefixed.add(entry.parts)
    if len(directories) * len(participants) > MAX_TARGETS:
        raise too_many(f"{len(directories)} directories in {len(participants)} containers")
    found = []
    for directory, inside in directories.items():
        for one in participants:
            matching = (
                inside if one.matches_unprefixed and directory not in prefixed else _matching_entries(one, inside)
            )
            for path, files in _directories_of(one, directory, matching):
                found.append(Target(one, path, files, nearest_mount(path, one.own), _mounts_below(path, one.own)))
    return found


def _directories_of(
    participant: Participant, directory: Components, entries: Sequence[LogFiles]
) -> Iterable[tuple[Components, Sequence[LogFiles]]]:
    """Return the directory and its entries; two directories where /var/run and /run are not the same."""
    if participant.resolve is components or directory[:1] != _RUN:
        return ((directory, entries),) if entries else ()
    paths: dict[Components, list[LogFiles]] = {}
    for entry in entries:
        paths.setdefault(participant.resolve(entry.directory), []).append(entry)
    return paths.items()


def are_mounts(target: Target) -> bool:
    """Return whether every file that is meant is a mount itself."""
    return all(not entry.is_glob and (*target.directory, entry.name) in target.below for entry in target.entries)


def _matching_entries(participant: Participant, entries: Sequence[LogFiles]) -> list[LogFiles]:
    meant = []
    for entry in entries:
        if entry.container == participant.container.name or (participant.matches_unprefixed and not entry.container):
            meant.append(entry)
    return meant


def nearest_mount(path: Components, mounts: Mounts) -> Components | None:
    """Return the path of the nearest mount that a path lies in."""
    nearest: Components | None = None
    for own in mounts:
        if path[: len(own)] == own and (nearest is None or len(own) > len(nearest)):
            nearest = own
    return nearest


def _mounts_below(directory: Components, mounts: Mounts) -> Mounts:
    depth = len(directory)
    return {path: mount for path, mount in mounts.items() if len(path) > depth and path[:depth] == directory}
