"""The log sources: which volumes or subPaths the sidecar mounts, at which paths, and which files it reads there.

A source is mounted at the application's own path, so that absolute symlinks work, unless the profile fixes a path
(``logs_mount_path``). Where the application's path is taken, inside or above another mount, or needed by the sidecar's
image, the source is mounted below a directory of ours.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from webhook.injection.dns_labels import is_dns_label
from webhook.injection.paths import (
    SIDECAR_IMAGE_DIRECTORIES,
    SIDECAR_RELOCATED_DIRECTORIES,
    Components,
    components,
    memoised_by_path,
)
from webhook.injection.pod import EnvVar, VolumeMount
from webhook.injection.profile import RELOCATION_ROOT, Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason

__all__ = ["MOUNT_ITSELF", "ContainerMount", "FilePattern", "LogSource", "assign_sidecar_paths", "too_many_logs"]

#: More mounts than this in one container is a mistake; each costs the kubelet time at the pod's start.
MAX_LOG_SOURCES = 128
#: All patterns together. They are arguments of the sidecar, or one variable of at most 128 KiB, and stored in etcd.
MAX_PATTERN_BYTES = 64 * 1024
#: Characters that mean something in a glob or in a shipper's configuration (``${…}``), or that no mount's path has.
_UNMOUNTABLE_CHARACTERS = frozenset("*?[]{}\\$:")


class FilePattern(NamedTuple):
    """The files that match ``file_glob`` in ``directory``, a path relative to the mount.

    With ``recursive`` those in all directories below it, too.
    """

    directory: Components
    recursive: bool
    file_glob: str


#: The mount is a single file.
MOUNT_ITSELF = FilePattern((), recursive=False, file_glob="")


class ContainerMount(NamedTuple):
    """A container, and the path at which it mounts a log source."""

    container: str
    path: str


class LogSource(Struct, gc=False):
    """A volume, or a subPath of one, that the sidecar reads."""

    mount: VolumeMount
    #: Whether the volume is added by this injection.
    new: bool
    #: The candidates that mount it, and where; never empty.
    seen_by: list[ContainerMount]
    patterns: list[FilePattern]
    variables: tuple[EnvVar, ...] = ()
    #: Whether the volume outlives the pod, and may have files from before it.
    persistent: bool = False
    #: The path at which the sidecar mounts it; the application's is ``application_path``.
    sidecar_path: str = ""
    #: The files as the sidecar sees them: a path, a glob, or ``DIR/**/NAME`` each.
    sidecar_patterns: list[str] = []

    @property
    def relocated(self) -> bool:
        """Return whether the sidecar mounts it at another path than the application."""
        return self.sidecar_path != self.application_path

    @property
    def application_path(self) -> str:
        """Return the path at which the first container mounts it."""
        return self.seen_by[0].path


def too_many_logs(problem: str) -> NotInjectable:
    """Return the exception for a pod with too many log directories, log sources or patterns."""
    message = f"{problem}; name fewer directories or containers"
    return NotInjectable(Finding(Reason.TOO_MANY_LOG_SOURCES, message, annotation="logs"))


def assign_sidecar_paths(sources: Sequence[LogSource], profile: Profile) -> None:
    """Set ``sidecar_path`` and ``sidecar_patterns`` of each source.

    Raises :class:`NotInjectable` for too many sources, or too many bytes of patterns.
    """
    if len(sources) > MAX_LOG_SOURCES:
        raise too_many_logs(f"the logs are in {len(sources)} volumes or subPaths, which is too many")
    taken = profile.reserved_directories.copy()
    taken_names: set[str] = set()
    root = profile.logs_mount_path
    size = 0
    for source in sources:
        path = source.application_path
        suits = _suits_sidecar(path) and not profile.directories_in_use.any_at_or_below(path)
        if root is None and suits and not taken.any_overlapping(path):
            # the runtime can't create a mount point inside one of our read-only mounts
            taken.add(path)
        elif root is not None and len(sources) == 1 and MOUNT_ITSELF not in source.patterns:
            path = root
        else:
            path = _relocated_path(source, root or RELOCATION_ROOT, taken_names)
        source.sidecar_path = path
        source.sidecar_patterns = [_sidecar_pattern(path, pattern) for pattern in source.patterns]
        size += sum(map(len, source.sidecar_patterns))
    # a character is at most four bytes; almost no pod has so many that they must be counted
    if size * 4 > MAX_PATTERN_BYTES and _size_of(sources) > MAX_PATTERN_BYTES:
        raise too_many_logs(f"the log files' patterns take more than {MAX_PATTERN_BYTES} bytes")


def _sidecar_pattern(path: str, pattern: FilePattern) -> str:
    """Return the pattern as the sidecar sees it, which has the mount at the path."""
    directory, recursive, file_glob = pattern
    if directory:
        path = "/".join((path, *directory))
    if recursive:
        path += "/**"
    return f"{path}/{file_glob}" if file_glob else path


def _size_of(sources: Iterable[LogSource]) -> int:
    """Return the bytes of all patterns."""
    return sum(len(pattern.encode()) for source in sources for pattern in source.sidecar_patterns)


def _relocated_path(source: LogSource, root: str, taken_names: set[str]) -> str:
    """Return a path for the source in a new directory below the root; add the directory's name to ``taken_names``."""
    container, path = source.seen_by[0]
    # the API server validates names after this webhook; "" or "." would collide with the root
    name = directory = container if is_dns_label(container) else "container"
    number = 1
    while directory in taken_names:
        number += 1
        directory = f"{name}-{number}"
    taken_names.add(directory)
    if MOUNT_ITSELF not in source.patterns:
        return f"{root}/{directory}"
    # a single file keeps its name, unless the name would be a glob
    name = components(path)[-1]
    return f"{root}/{directory}/{name if _UNMOUNTABLE_CHARACTERS.isdisjoint(name) else 'file'}"


@memoised_by_path
def _suits_sidecar(path: str) -> bool:
    """Return whether a log source may be mounted at the path in any sidecar."""
    return (
        _UNMOUNTABLE_CHARACTERS.isdisjoint(path)
        and not SIDECAR_IMAGE_DIRECTORIES.any_at_or_below(path)
        and not SIDECAR_RELOCATED_DIRECTORIES.any_at_or_above(path)
    )
