"""The targets: each log directory in each container that it applies to, and the container's mounts around it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from webhook.injection.annotations import LogEntry
from webhook.injection.candidates import Candidate, MountsByPath
from webhook.injection.log_sources import too_many_logs
from webhook.injection.paths import Components, components

__all__ = ["Target", "enclosing_mount_path", "files_are_mounts", "find_targets"]

#: Containers times directories. Planning more would take as long as a thousand ordinary pods.
MAX_TARGETS = 2048
_RUN: Components = ("run",)


class Target(Struct, gc=False):
    """A log directory in one container, and the entries that match files in it."""

    candidate: Candidate
    directory: Components
    entries: Sequence[LogEntry]
    #: The path of the deepest mount at the directory or above it.
    enclosing_mount_path: Components | None
    #: The mounts below the directory.
    below: MountsByPath


def find_targets(candidates: Sequence[Candidate], entries: Sequence[LogEntry]) -> list[Target]:
    """Return each log directory in each candidate that its entries apply to."""
    directories: dict[Components, list[LogEntry]] = {}
    # where no entry names a container, all entries match: no filtering is needed
    named: set[Components] = set()
    for entry in entries:
        directories.setdefault(entry.directory_parts, []).append(entry)
        if entry.container:
            named.add(entry.directory_parts)
    if len(directories) * len(candidates) > MAX_TARGETS:
        problem = f"the logs are in {len(directories)} directories in {len(candidates)} containers, which is too many"
        raise too_many_logs(problem)
    found = []
    for directory, entries_here in directories.items():
        for candidate in candidates:
            all_match = candidate.takes_general_entries and directory not in named
            matching = entries_here if all_match else _matching_entries(candidate, entries_here)
            for path, path_entries in _directories_of(candidate, directory, matching):
                found.append(
                    Target(
                        candidate,
                        path,
                        path_entries,
                        enclosing_mount_path(path, candidate.own_mounts),
                        _mounts_below(path, candidate.own_mounts),
                    )
                )
    return found


def _directories_of(
    candidate: Candidate, directory: Components, entries: Sequence[LogEntry]
) -> Iterable[tuple[Components, Sequence[LogEntry]]]:
    """Return the directory with its entries.

    ``directory`` has /run for /var/run. In a container with a volume at /var the two differ, so entries are grouped
    again by the path as written.
    """
    if candidate.parse_path is components or directory[:1] != _RUN:
        return ((directory, entries),) if entries else ()
    paths: dict[Components, list[LogEntry]] = {}
    for entry in entries:
        paths.setdefault(candidate.parse_path(entry.directory_path), []).append(entry)
    return paths.items()


def files_are_mounts(target: Target) -> bool:
    """Return whether every log file of the target is a mount itself."""
    return all(not entry.is_glob and (*target.directory, entry.file_glob) in target.below for entry in target.entries)


def _matching_entries(candidate: Candidate, entries: Sequence[LogEntry]) -> list[LogEntry]:
    matching = []
    for entry in entries:
        if entry.container == candidate.container.name or (candidate.takes_general_entries and not entry.container):
            matching.append(entry)
    return matching


def enclosing_mount_path(path: Components, mounts: MountsByPath) -> Components | None:
    """Return the path of the deepest mount at the path or above it, None if there is none."""
    nearest: Components | None = None
    for mount_path in mounts:
        if path[: len(mount_path)] == mount_path and (nearest is None or len(mount_path) > len(nearest)):
            nearest = mount_path
    return nearest


def _mounts_below(directory: Components, mounts: MountsByPath) -> MountsByPath:
    depth = len(directory)
    return {path: mount for path, mount in mounts.items() if len(path) > depth and path[:depth] == directory}
