"""The sources that the sidecar reads: what it mounts, where it sees it, and which files there.

It has each at the application's own path, so that absolute symlinks hold, and below a directory of ours where two would
collide: at the same path, one inside the other, or over what the sidecar's image needs.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from webhook.injection.names import is_dns_label
from webhook.injection.paths import (
    IMAGE_DIRECTORIES,
    SIDECAR_OWNED_DIRECTORIES,
    Components,
    components,
    memoised_by_path,
)
from webhook.injection.pod import EnvVar, VolumeMount
from webhook.injection.profile import RELOCATION_ROOT, Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason

__all__ = ["MOUNT_ITSELF", "FilePattern", "LogSource", "assign_sidecar_paths", "too_many_sources"]

#: More mounts than this in one container is a mistake; each costs the kubelet time at the pod's start.
MAX_LOG_SOURCES = 128
#: All patterns together. They are arguments of the sidecar, or one variable of at most 128 KiB, and stored in etcd.
MAX_PATTERN_BYTES = 64 * 1024
#: Characters that would make a glob of a mount's path, or that a mount can't have.
_UNMOUNTABLE_CHARACTERS = frozenset("*?[]{}\\$:")

#: Files relative to a mount: directory, recursive, name. A name of "" is the mount itself, a file.
FilePattern = tuple[Components, bool, str]
MOUNT_ITSELF: FilePattern = ((), False, "")


class LogSource(Struct, gc=False):
    """What the sidecar mounts, and the files that it reads below it."""

    mount: VolumeMount
    new: bool
    #: The containers whose logs lie here, and where each of them sees it.
    seen_by: list[tuple[str, str]]
    files: list[FilePattern]
    variables: tuple[EnvVar, ...] = ()
    #: Whether the volume outlives the pod, and may have files from before it.
    persistent: bool = False
    #: Where the sidecar mounts it, and the files as it sees them: a path, a glob, or ``DIR/**/NAME`` each.
    path: str = ""
    patterns: list[str] = []

    @property
    def relocated(self) -> bool:
        """Return whether the sidecar sees it elsewhere than the app does."""
        return self.path != self.seen_by[0][1]


def too_many_sources(what: str) -> NotInjectable:
    """Return the refusal of a pod whose logs lie in more sources than can be mounted."""
    message = f"the logs lie in {what}, which is too many; name fewer directories or containers"
    return NotInjectable(Finding(Reason.TOO_MANY_LOG_SOURCES, message, annotation="logs"))


def assign_sidecar_paths(sources: Sequence[LogSource], profile: Profile) -> None:
    """Find each source a path in the sidecar, and with it its patterns."""
    if len(sources) > MAX_LOG_SOURCES:
        raise too_many_sources(f"{len(sources)} sources")
    taken = profile.reserved_directories.copy()
    directories: set[str] = set()
    root = profile.logs_mount_path
    size = 0
    for source in sources:
        path = source.seen_by[0][1]
        if root is None and _suits_sidecar(path) and not taken.any_overlapping(path):
            # a mount inside another can't start, for ours are read-only; paths that contain each other collide too
            taken.add(path)
        elif root is not None and len(sources) == 1 and MOUNT_ITSELF not in source.files:
            path = root
        else:
            path = _relocated_path(source, root or RELOCATION_ROOT, directories)
        source.path = path
        source.patterns = [_pattern(path, file) for file in source.files]
        size += sum(map(len, source.patterns))
    # a character is at most four bytes; almost no pod has so many that they must be counted
    if size * 4 > MAX_PATTERN_BYTES and _size_of(sources) > MAX_PATTERN_BYTES:
        raise too_many_sources(f"patterns of more than {MAX_PATTERN_BYTES} bytes")


def _pattern(path: str, file: FilePattern) -> str:
    """Return a file as the sidecar sees it that has its mount at the path."""
    directory, recursive, name = file
    if directory:
        path = "/".join((path, *directory))
    if recursive:
        path += "/**"
    return f"{path}/{name}" if name else path


def _size_of(sources: Iterable[LogSource]) -> int:
    """Return the bytes of all patterns."""
    return sum(len(pattern.encode()) for source in sources for pattern in source.patterns)


def _relocated_path(source: LogSource, root: str, directories: set[str]) -> str:
    """Return a path for the source below the root, where nothing else is, in a directory of its own."""
    container, path = source.seen_by[0]
    # the API server looks at names after us: "" or "." would be the root itself, in which nothing finds a source then
    name = directory = container if is_dns_label(container) else "container"
    number = 1
    while directory in directories:
        number += 1
        directory = f"{name}-{number}"
    directories.add(directory)
    if MOUNT_ITSELF not in source.files:
        return f"{root}/{directory}"
    # a single file keeps its name, if that is no pattern itself, and a directory to itself
    name = components(path)[-1]
    return f"{root}/{directory}/{name if _UNMOUNTABLE_CHARACTERS.isdisjoint(name) else 'file'}"


@memoised_by_path
def _suits_sidecar(path: str) -> bool:
    """Return whether something can be mounted there in any sidecar."""
    return (
        _UNMOUNTABLE_CHARACTERS.isdisjoint(path)
        and not IMAGE_DIRECTORIES.any_at_or_below(path)
        and not SIDECAR_OWNED_DIRECTORIES.any_at_or_above(path)
    )
