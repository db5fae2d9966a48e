"""The places that the sidecar reads: what it mounts, where it sees it, and which files there.

It has each at the application's own path, so that absolute symlinks hold, and below a folder of ours where two would
collide: at the same path, one inside the other, or over what the sidecar's image needs.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from webhook.injection.annotations import NotInjectable
from webhook.injection.names import is_dns_label
from webhook.injection.paths import (
    IMAGE_DIRECTORIES,
    SIDECAR_OWNED_DIRECTORIES,
    Components,
    components,
    remembered,
)
from webhook.injection.pod import EnvVar, VolumeMount
from webhook.injection.profile import RELOCATED, Profile
from webhook.injection.reasons import Finding, Reason

__all__ = ["ITSELF", "File", "Place", "assign_sidecar_paths", "too_many"]

#: More mounts than this in one container is a mistake; each costs the kubelet time at the pod's start.
MAX_PLACES = 128
#: All patterns together. They are arguments of the sidecar, or one variable of at most 128 KiB, and stored in etcd.
MAX_PATTERN_BYTES = 64 * 1024
#: Characters that would make a glob of a mount's path, or that a mount can't have.
_AWKWARD = frozenset("*?[]{}\\$:")

#: Files relative to a mount: folder, recursive, name. A name of "" is the mount itself, a file.
File = tuple[Components, bool, str]
ITSELF: File = ((), False, "")


class Place(Struct, gc=False):
    """What the sidecar mounts, and the files that it reads below it."""

    mount: VolumeMount
    new: bool
    #: The containers whose logs lie here, and where each of them sees it.
    seen_by: list[tuple[str, str]]
    files: list[File]
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


def too_many(what: str) -> NotInjectable:
    """Return the refusal of a pod whose logs lie in more places than can be mounted."""
    message = f"the logs lie in {what}, which is too many; name fewer directories or containers"
    return NotInjectable(Finding(Reason.TOO_MANY_PLACES, "logs", "", message))


def assign_sidecar_paths(places: Sequence[Place], profile: Profile) -> None:
    """Find each place a path in the sidecar, and with it its patterns."""
    if len(places) > MAX_PLACES:
        raise too_many(f"{len(places)} places")
    taken = profile.reserved.copy()
    folders: set[str] = set()
    root = profile.logs_mount_path
    size = 0
    for place in places:
        path = place.seen_by[0][1]
        if root is None and _suits_sidecar(path) and not taken.collide(path):
            # a mount inside another can't start, for ours are read-only; paths that contain each other collide too
            taken.add(path)
        elif root is not None and len(places) == 1 and ITSELF not in place.files:
            path = root
        else:
            path = _moved(place, root or RELOCATED, folders)
        place.path = path
        place.patterns = [_pattern(path, file) for file in place.files]
        size += sum(map(len, place.patterns))
    # a character is at most four bytes; almost no pod has so many that they must be counted
    if size * 4 > MAX_PATTERN_BYTES and _size_of(places) > MAX_PATTERN_BYTES:
        raise too_many(f"patterns of more than {MAX_PATTERN_BYTES} bytes")


def _pattern(path: str, file: File) -> str:
    """Return a file as the sidecar sees it that has its mount at the path."""
    folder, recursive, name = file
    if folder:
        path = "/".join((path, *folder))
    if recursive:
        path += "/**"
    return f"{path}/{name}" if name else path


def _size_of(places: Iterable[Place]) -> int:
    """Return the bytes of all patterns."""
    return sum(len(pattern.encode()) for place in places for pattern in place.patterns)


def _moved(place: Place, root: str, folders: set[str]) -> str:
    """Return a path for the place below the root, where nothing else is, in a folder of its own."""
    container, path = place.seen_by[0]
    # the API server looks at names after us: "" or "." would be the root itself, in which nothing finds a place then
    name = folder = container if is_dns_label(container) else "container"
    number = 1
    while folder in folders:
        number += 1
        folder = f"{name}-{number}"
    folders.add(folder)
    if ITSELF not in place.files:
        return f"{root}/{folder}"
    # a single file keeps its name, if that is no pattern itself, and a folder to itself
    name = components(path)[-1]
    return f"{root}/{folder}/{name if _AWKWARD.isdisjoint(name) else 'file'}"


@remembered
def _suits_sidecar(path: str) -> bool:
    """Return whether something can be mounted there in any sidecar."""
    return _AWKWARD.isdisjoint(path) and not IMAGE_DIRECTORIES.within(path) and not SIDECAR_OWNED_DIRECTORIES.hold(path)
