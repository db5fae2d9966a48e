"""Mounts with which a container can't start: two at one path, one inside a read-only one, one over a program."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from webhook.injection.paths import PROGRAM_DIRECTORIES, Components, Directories, mount_points
from webhook.json_values import Path
from webhook.schema import Report

__all__ = ["TERMINATION_LOG", "MountPlace", "check_hiding_mounts", "check_mounts", "mount_places", "programs"]

#: Where the kubelet mounts a file for a container that says nothing else.
TERMINATION_LOG = "/dev/termination-log"


class MountPlace(NamedTuple):
    """A mount: where the document has it (None: the runtime makes it), its path, and whether it is read-only."""

    document_path: Path | None
    path: str
    read_only: bool = False


#: What the runtime mounts in every container: inside a read-only mount it finds no place for them.
_RUNTIME_MOUNTS = tuple(
    MountPlace(None, path)
    for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/dev/pts")  # noqa: S108
)


def programs(container: Mapping[str, Any]) -> Iterator[str]:
    """Yield the programs that a container names: its own, and those of its probes and hooks."""
    handlers = [container.get(f"{probe}Probe", {}) for probe in ("startup", "liveness", "readiness")]
    handlers += container.get("lifecycle", {}).values()
    for runs in (container, *(handler.get("exec", {}) for handler in handlers)):
        yield from runs.get("command", ())[:1]


def check_hiding_mounts(
    container: Mapping[str, Any], path: Path, report: Report, *, with_content: Collection[str]
) -> None:
    """Report mounts that hide what no program can do without, or a program that the container names.

    ``with_content`` are volumes that come with files of their own, the program among them, perhaps.
    """
    named = [program for program in programs(container) if program.startswith("/")]
    for index, mount in enumerate(container.get("volumeMounts", ())):
        where, mount_path = (*path, "volumeMounts", index, "mountPath"), mount.get("mountPath")
        if not isinstance(mount_path, str):
            continue
        hidden = next((program for program in named if Directories(mount_path).any_at_or_above(program)), None)
        if PROGRAM_DIRECTORIES.any_at_or_below(mount_path):
            report(where, f"{mount_path[:60]} hides what the image needs to start; choose another directory")
        elif hidden is not None and mount.get("name") not in with_content:
            report(where, f"{mount_path[:60]} hides {hidden[:60]}, which the container runs; choose another directory")


def mount_places(items: Sequence[Mapping[str, Any]], path: Path, read_only: Collection[str] = ()) -> list[MountPlace]:
    """Return a container's mounts that have a path; ``read_only`` are volumes that nothing can be made in."""
    return [
        MountPlace(
            (*path, number, "mountPath"), item["mountPath"], bool(item.get("readOnly")) or item.get("name") in read_only
        )
        for number, item in enumerate(items)
        if isinstance(item.get("mountPath"), str)
    ]


def check_mounts(mounts: Sequence[MountPlace], others: Sequence[MountPlace], report: Report) -> None:
    """Report mounts at one path, and mounts inside a read-only one: the runtime can't make their directory there.

    ``others`` are mounted, too; collisions between two of them are not reported.
    """
    everything = [*mounts, *others, *_RUNTIME_MOUNTS]
    found: dict[tuple[Path, str], None] = {}
    by_point: dict[Components, MountPlace] = {}
    for mount in everything:
        for point in mount_points(mount.path):
            twin = by_point.setdefault(point, mount)
            where = mount.document_path or twin.document_path
            if twin is not mount and where is not None and mount not in _RUNTIME_MOUNTS:
                found[where, f"{mount.path[:60]} is mounted twice"] = None
    for inner in everything:
        for point in mount_points(inner.path):
            for depth in range(len(point)):
                outer = by_point.get(point[:depth])
                where = inner.document_path or (outer.document_path if outer is not None else None)
                if outer is not None and outer.read_only and where is not None:
                    message = f"{inner.path[:60]} can't be mounted inside {outer.path[:60]}, which is read-only"
                    found[where, message] = None
    for where, message in found:
        report(where, message)
