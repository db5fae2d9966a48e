"""A file is known again by device, inode, birth time and the bytes before the position: inodes are used again."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import Sidecar, until


def make_with_inode(path: Path, content: str, inode: int) -> None:
    """Create a file that has this inode, as file systems like ext4 do of themselves."""
    for number in range(200):
        other = path.with_name(f"hold-{number}.tmp")
        other.write_text(content)
        if other.stat().st_ino == inode:
            other.rename(path)
            return
    pytest.skip("this file system does not use inodes again")


@pytest.mark.parametrize("content", ["one\ntwo\n", "one\n", "xxx\nyyy\n", ""])
class TestUsedAgain:
    """Another file in the same inode is printed from its beginning, even if it begins alike."""

    def test_across_a_restart(self, start: Start, logs: Path, content: str) -> None:
        """The checkpoint has the birth time."""
        append(logs / "app.log", "one")
        start("app.log").kill_after(["one"])
        inode = (logs / "app.log").stat().st_ino
        (logs / "app.log").unlink()
        make_with_inode(logs / "app.log", content, inode)
        second = start("app.log")
        second.prints(content)
        append(logs / "app.log", "end")
        second.prints(f"{content}end\n")

    def test_while_it_was_closed(self, start: Start, logs: Path, content: str) -> None:
        """An idle file that was closed to save its descriptor doesn't keep its inode from others."""
        for number in range(40):
            append(logs / f"{number:02}.log", "one")
        sidecar = start("*.log", descriptors=20, poll="0.1")
        until(lambda: len(sidecar.lines) == 40, "all files")
        sidecar.looks()
        held = sidecar.open_files
        closed = next(path for path in sorted(logs.glob("*.log")) if str(path) not in held)
        inode = closed.stat().st_ino
        closed.unlink()
        make_with_inode(closed, content, inode)
        append(closed, "end")
        sidecar.prints("one\n" * 40 + f"{content}end\n")
        assert sidecar.end() == sidecar.printed


@pytest.fixture
def without_birth_times(start: Start, logs: Path, tmp_path: Path) -> Iterator[Start]:
    """Keep log files where times are whole seconds and no birth times; return what starts sidecars."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    for command in (f"mkfs.ext2 -q -I 128 {image}".split(), f"mount -o loop {image} {logs}".split()):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this machine can't make and mount such a file system")
    started: list[Sidecar] = []

    def start_one(*patterns: str, **settings: Any) -> Sidecar:
        started.append(start(*patterns, **settings))
        return started[-1]

    yield start_one
    for sidecar in started:
        sidecar.kill()
    subprocess.run(["umount", str(logs)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
class TestWithoutBirthTimes:
    """There a number alone does not tell a file from the next one."""

    def test_in_the_number_of_a_copy(self, without_birth_times: Start, logs: Path) -> None:
        """A new file is printed although a copy had its number that was removed."""
        sidecar = without_birth_times("*")
        expected: list[str] = []
        for number in range(4):
            append(logs / "app.log", f"line {number}")
            sidecar.prints([*expected, f"line {number}"], seconds=5)
            sidecar.looks()
            shutil.copy(logs / "app.log", logs / "app.log.1")
            os.truncate(logs / "app.log", 0)
            sidecar.looks()
            (logs / "app.log.1").unlink()
            append(logs / f"new-{number}.txt", f"new {number}")
            expected += [f"line {number}", f"new {number}"]
            sidecar.prints(expected, seconds=5)

    @pytest.mark.parametrize("first", [["one"], []], ids=["a line", "nothing"])
    @pytest.mark.parametrize("length", [1, 100])
    def test_in_the_number_of_a_removed_file(
        self, without_birth_times: Start, logs: Path, first: list[str], length: int
    ) -> None:
        """After a restart a file that nobody asked for is not printed in its place."""
        append(logs / "app.log", *first)
        without_birth_times("app.log").kill_after(first)
        inode = (logs / "app.log").stat().st_ino
        (logs / "app.log").unlink()
        append(logs / "other.db", *["unasked"] * length)
        assert (logs / "other.db").stat().st_ino == inode
        append(logs / "app.log", "two")
        assert without_birth_times("app.log").end() == b"two\n"

    def test_renamed(self, without_birth_times: Start, logs: Path) -> None:
        """What was renamed meanwhile goes on."""
        append(logs / "app.log", "one")
        without_birth_times("app.log").kill_after(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log").rename(logs / "moved")
        append(logs / "app.log", "three")
        without_birth_times("app.log").prints(["two", "three"])


def test_a_file_that_comes_back(start: Start, logs: Path, tmp_path: Path) -> None:
    """Moved away and back it goes on where it was."""
    append(logs / "app.log", "one")
    sidecar = start("app.log")
    sidecar.prints(["one"])
    (logs / "app.log").rename(tmp_path / "elsewhere")
    sidecar.looks()
    append(tmp_path / "elsewhere", "two")
    (tmp_path / "elsewhere").rename(logs / "app.log")
    append(logs / "app.log", "three")
    sidecar.prints(["one", "two", "three"])


class TestClock:
    """Time stamps may be anything."""

    @pytest.mark.parametrize("jump", [-(10**9), 10**9])
    def test_jumps(self, start: Start, logs: Path, jump: int) -> None:
        """Files written in the past or the future are printed like any other."""
        sidecar = start("app.log")
        expected = []
        for number in range(6):
            append(logs / "app.log", f"line {number}")
            expected.append(f"line {number}")
            os.utime(logs / "app.log", (0, 1_700_000_000 + jump * (number % 2)))
            if number % 2:
                (logs / "app.log").rename(logs / "app.log.1")
            sidecar.prints(expected)
        assert sidecar.end() == sidecar.printed

    def test_a_time_that_stands_still(self, start: Start, logs: Path) -> None:
        """Growth is enough."""
        sidecar = start("app.log")
        for number in range(5):
            append(logs / "app.log", f"line {number}")
            os.utime(logs / "app.log", (0, 0))
            sidecar.prints([f"line {n}" for n in range(number + 1)])
