"""Log files, as an application writes them."""

from pathlib import Path

__all__ = ["append"]


def append(path: Path, *lines: str) -> None:
    """Write whole lines to the end of a file."""
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
