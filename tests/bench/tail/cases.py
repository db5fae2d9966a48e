"""What apps do with their log files: each case writes so many numbered lines, in streams that have an order."""

import gzip
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.tail.score import line

BLOCK = 1000
#: A steady app writes for so long, whatever the number of lines, and rotates its file as often.
STEADY_SECONDS = 10.0
ROTATIONS = 6
#: The rotated files that are kept: nobody can read what came and went between two polls.
KEPT = 3
#: From here on the sidecar of a case with `down` is killed, and started again.
DOWN = (4.5, 5.5)

Write = Callable[[Path, int], dict[str, int]]
"""Writes so many lines below a folder; returns how many of them are in each stream."""


@dataclass(frozen=True)
class Case:
    """Something that apps do."""

    name: str
    write: Write
    pattern: str = "*.log"
    """What the user says about its files, relative to the log folder."""
    names: tuple[str, ...] = ("app.log",)
    """The files that the app writes to, for those who know no patterns."""
    ends_after: float | None = None
    """SIGTERM comes so many seconds after the last line, as from the kubelet when a Job's app has ended."""
    down: bool = False
    """The sidecar is killed in the middle, and started again after a second."""
    copytruncate: bool = False
    """Rotation copies the file and truncates it."""


def blocks(stream: str, first: int, last: int) -> Iterator[bytes]:
    """Yield the lines from first up to, not including, last, a thousand at a time."""
    for start in range(first, last, BLOCK):
        yield b"".join(line(stream, number) for number in range(start, min(start + BLOCK, last)))


def append(path: Path, stream: str, first: int, last: int) -> None:
    """Append these lines at once."""
    with path.open("ab") as file:
        file.writelines(blocks(stream, first, last))


def steadily(count: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of thousands of lines, each when its time has come."""
    begin = time.monotonic()
    for first in range(0, count, BLOCK):
        time.sleep(max(0.0, begin + first / count * STEADY_SECONDS - time.monotonic()))
        yield first, min(first + BLOCK, count)


def rotating(rotate: Callable[[Path, int], None]) -> Write:
    """Return an app that writes steadily and now and then rotates its file; it opens it for each thousand lines."""

    def write(folder: Path, count: int) -> dict[str, int]:
        path = folder / "app.log"
        turns = {round(count * turn / ROTATIONS / BLOCK) * BLOCK: turn for turn in range(1, ROTATIONS)}
        for first, last in steadily(count):
            if first in turns:
                rotate(path, turns[first])
            append(path, "a", first, last)
        return {"a": count}

    return write


def shift(path: Path, _: int) -> None:
    """Rename it and its predecessors."""
    for number in range(KEPT, 0, -1):
        old = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if old.exists():
            old.rename(path.with_name(f"{path.name}.{number}"))


def compress(path: Path, turn: int) -> None:
    """Rename it, compress it, and remove what was compressed."""
    old = path.rename(path.with_name(f"{path.name}.1"))
    with old.open("rb") as source, gzip.open(path.with_name(f"{path.name}.{turn + 1}.gz"), "wb", 1) as target:
        shutil.copyfileobj(source, target)
    old.unlink()


def remove(path: Path, _: int) -> None:
    """Remove it."""
    path.unlink()


def copy_and_truncate(path: Path, _: int) -> None:
    """Copy it and empty it; the app, of one thread, writes nothing meanwhile."""
    shutil.copy(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)


def burst(folder: Path, count: int) -> dict[str, int]:
    """Write everything at once."""
    append(folder / "app.log", "a", 0, count)
    return {"a": count}


def rename_twice(folder: Path, count: int) -> dict[str, int]:
    """Write two bursts, each to a file of its own, and rename both without a pause between."""
    path = folder / "app.log"
    bounds = [round(count * part / ROTATIONS / 2) for part in range(2 * ROTATIONS + 1)]
    for part, (first, last) in enumerate(itertools.pairwise(bounds)):
        append(path, "a", first, last)
        shift(path, part)
        path.touch()
        if part % 2:
            time.sleep(STEADY_SECONDS / ROTATIONS)
    return {"a": count}


def rewrite(folder: Path, count: int) -> dict[str, int]:
    """Empty the file, write a burst, shorter or longer than the one before, and let it stand."""
    lengths = [3, 2, 1] * (ROTATIONS // 3)
    bounds = [0, *(round(count * part / sum(lengths)) for part in itertools.accumulate(lengths))]
    for first, last in itertools.pairwise(bounds):
        with (folder / "app.log").open("wb") as file:
            file.writelines(blocks("a", first, last))
        time.sleep(STEADY_SECONDS / len(lengths))
    return {"a": count}


def late(folder: Path, count: int) -> dict[str, int]:
    """Make the folder when everything else has long been there."""
    time.sleep(1)
    (folder / "late").mkdir()
    append(folder / "late" / "app.log", "a", 0, count)
    return {"a": count}


def many(names: tuple[str, ...], seconds: float) -> Write:
    """Return an app that writes to many files in turn, by buffers of 4 KiB, which seldom end where a line does."""

    def write(folder: Path, count: int) -> dict[str, int]:
        each = count // len(names)
        streams = [b"".join(blocks(f"f{index}", 0, each)) for index in range(len(names))]
        files = [(folder / name).open("ab", buffering=0) for name in names]
        size, begin = max(map(len, streams)), time.monotonic()
        for position in range(0, size, 4096):
            time.sleep(max(0.0, begin + position / size * seconds - time.monotonic()))
            for file, stream in zip(files, streams, strict=True):
                file.write(stream[position : position + 4096])
        for file in files:
            file.close()
        return {f"f{index}": each for index in range(len(names))}

    return write


HUNDRED = tuple(f"{number}.log" for number in range(100))
THREE = ("a.log", "b.log", "c.log")
CASES = (
    Case("burst, and the end at once", burst, ends_after=0),
    # the kubelet looks once a second whether a container has ended
    Case("burst, and the end a second later", burst, ends_after=1),
    Case("rename", rotating(shift)),
    Case("rename, twice between two polls", rename_twice),
    Case("rename and compress", rotating(compress)),
    Case("remove and create", rotating(remove)),
    Case("truncate and rewrite", rewrite),
    Case("late directory, late file", late, pattern="late/*.log", names=("late/app.log",)),
    Case("3 slow files, half lines", many(THREE, STEADY_SECONDS), names=THREE),
    Case("100 fast files, half lines", many(HUNDRED, 0), names=HUNDRED),
    Case("killed and started again", rotating(lambda *_: None), down=True),
    Case("killed, and renamed meanwhile", rotating(shift), down=True),
    Case("copytruncate", rotating(copy_and_truncate), copytruncate=True),
)
