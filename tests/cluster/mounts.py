"""Mounts below a run's folder: which there are, and how they go."""

import re
import subprocess
from pathlib import Path

from .programs import on_path

_PASSES = 5  # a mount may be stacked on another at the same place


def below(folder: Path) -> list[Path]:
    """Return the mount points at or below the folder, the newest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(_unescape(line.split(" ")[4])) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def unmount_below(folder: Path) -> None:
    """Unmount all of them; what is still in use is detached and goes with its last user."""
    for _ in range(_PASSES):
        points = below(folder)
        if not points:
            return
        for point in points:
            command = [on_path("umount") or "umount", "--lazy", str(point)]
            subprocess.run(command, check=False, capture_output=True)


def share(folder: Path) -> None:
    """Make the folder a shared mount of its own.

    Mount propagation (a volume mount's HostToContainer) needs one, and in a container / is mostly private.
    """
    mount = on_path("mount") or "mount"
    subprocess.run([mount, "--bind", str(folder), str(folder)], check=True, capture_output=True)
    subprocess.run([mount, "--make-rshared", str(folder)], check=True, capture_output=True)


def _unescape(field: str) -> str:
    # proc(5): space, tab, newline and backslash are written as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), field)
