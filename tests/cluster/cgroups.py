"""A cgroup of its own for each node, so that one kubelet does not remove the other's pods."""

import os
import signal
from pathlib import Path

from .processes import wait_until

_SECONDS = 10.0


def create(name: str) -> None:
    """Make the group under every cgroup hierarchy; the kubelet wants to find its root there."""
    for root, kind in _hierarchies():
        if kind == "cgroup2":
            _pass_controllers_on(root)
        group = root / name
        group.mkdir(exist_ok=True)
        if kind == "cgroup" and (root / "cpuset.cpus").exists():
            # A new cpuset is empty, and nothing can run in it.
            for what in ("cpuset.cpus", "cpuset.mems"):
                (group / what).write_text((root / what).read_text())


def kill(name: str) -> None:
    """End every process in the group: the containers, which outlive kubelet and containerd."""

    def emptied() -> bool:
        left = members(name)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    wait_until(emptied, _SECONDS)


def remove(name: str) -> None:
    """Remove the group and all below; a group is busy until its last process is reaped."""

    def removed() -> bool:
        for root, _ in _hierarchies():
            for folder, _, _ in os.walk(root / name, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    continue
        return not exists(name)

    wait_until(removed, _SECONDS)


def exists(name: str) -> bool:
    """Return whether the group is still there in any hierarchy."""
    return any((root / name).exists() for root, _ in _hierarchies())


def folders(name: str) -> list[Path]:
    """Return the group's folder in each hierarchy."""
    return [root / name for root, _ in _hierarchies()]


def _hierarchies() -> list[tuple[Path, str]]:
    """Return each mounted hierarchy and its kind: `cgroup` (version 1, one a controller) or `cgroup2`."""
    lines = [line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [(Path(fields[1]), fields[2]) for fields in lines if fields[2] in ("cgroup", "cgroup2")]


def members(name: str) -> set[int]:
    """Return the ids of the processes in the group."""
    return {
        int(pid)
        for root, _ in _hierarchies()
        for folder, _, _ in os.walk(root / name)
        for pid in _lines(Path(folder) / "cgroup.procs")
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []  # the group went meanwhile, or is a threaded one


def _pass_controllers_on(root: Path) -> None:
    for controller in _lines(root / "cgroup.controllers"):
        try:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue  # the kubelet names the controllers that it lacks
