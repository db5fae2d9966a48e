"""Log files, as an application writes them."""

from pathlib import Path

__all__ = ["append", "rotate"]


def append(path: Path, *lines: str) -> None:
    """Write whole lines to the end of a file."""
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def rotate(path: Path, keep: int) -> None:
    """Rename a file and the rotated ones to the next number, as logrotate does; only ``keep`` of them stay."""
    for number in range(keep - 1, 0, -1):
        old = path.with_name(f"{path.name}.{number}")
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))
