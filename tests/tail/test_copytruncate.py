"""Rotation that copies the file and truncates it: what was missed is read from the copy."""

import os
import shutil
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import Sidecar, until


def copy_and_truncate(path: Path, copy: str = "app.log.1") -> None:
    """Rotate as logrotate's copytruncate does, older copies first."""
    for number in range(8, 0, -1):
        old = path.with_name(f"{path.name}.{number}")
        if old.exists() and copy == f"{path.name}.1":
            old.rename(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copy(path, path.with_name(copy))
    os.truncate(path, 0)


def assert_rotations_are_printed_once(sidecar: Sidecar, logs: Path, times: int) -> None:
    """Rotate, right behind a line, the app.log of which "one" was printed: each line comes once, in order."""
    expected = ["one"]
    for number in range(times):
        append(logs / "app.log", f"late {number}")
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", f"next {number}")
        expected += [f"late {number}", f"next {number}"]
        sidecar.prints(expected)
        sidecar.looks()
    assert sidecar.settled().decode().splitlines() == expected


@pytest.mark.parametrize("pattern", ["app.log", "*.log", "app*", "*", "**/*"])
class TestRecovery:
    """Whatever the pattern, also where it means the copy itself."""

    def test_lines_that_were_not_looked_at(self, start: Start, logs: Path, pattern: str) -> None:
        """They are printed from the copy, in order, and nothing comes again."""
        append(logs / "app.log", "one")
        sidecar = start(pattern)
        sidecar.prints(["one"])
        assert_rotations_are_printed_once(sidecar, logs, 5)

    def test_always_the_same_copy(self, start: Start, logs: Path, pattern: str) -> None:
        """Each copy may be written into the same file."""
        append(logs / "app.log", "one")
        sidecar = start(pattern)
        sidecar.prints(["one"])
        expected = ["one"]
        for number in range(5):
            append(logs / "app.log", f"late {number}")
            shutil.copy(logs / "app.log", logs / "app.log.1")
            os.truncate(logs / "app.log", 0)
            append(logs / "app.log", f"next {number}")
            expected += [f"late {number}", f"next {number}"]
            sidecar.prints(expected)
            if number % 2:
                sidecar.looks()
        assert sidecar.settled().decode().splitlines() == expected

    def test_twice_between_two_looks(self, start: Start, logs: Path, pattern: str) -> None:
        """Both copies are read, the older one first."""
        append(logs / "app.log", "one")
        sidecar = start(pattern, poll="0.3")
        sidecar.prints(["one"])
        sidecar.looks()
        append(logs / "app.log", "two")
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", "three")
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", "four")
        sidecar.prints(["one", "two", "three", "four"])
        assert sidecar.settled() == b"one\ntwo\nthree\nfour\n"

    def test_a_large_backlog(self, start: Start, logs: Path, pattern: str) -> None:
        """While nobody reads, everything that was not printed is in the copy."""
        first = [f"first {number} {'x' * 100}" for number in range(20_000)]
        append(logs / "app.log", *first)
        sidecar = start(pattern, stalled=True)
        sidecar.looks_while_stalled()
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", "second")
        sidecar.looks_while_stalled()
        sidecar.valve.set()
        sidecar.prints([*first, "second"])
        assert sidecar.settled().decode().splitlines() == [*first, "second"]

    def test_while_it_was_down(self, start: Start, logs: Path, pattern: str) -> None:
        """The next sidecar finds the copy, too."""
        append(logs / "app.log", "one")
        start(pattern).kill_after(["one"])
        append(logs / "app.log", "two")
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", "three")
        second = start(pattern)
        second.prints(["two", "three"])
        assert second.settled() == b"two\nthree\n"

    def test_a_line_that_was_being_written(self, start: Start, logs: Path, pattern: str) -> None:
        """Its end is in the copy."""
        (logs / "app.log").write_text("one\nbegin")
        sidecar = start(pattern)
        sidecar.prints(["one"])
        sidecar.looks()
        with (logs / "app.log").open("a") as file:
            file.write(" and end\n")
        copy_and_truncate(logs / "app.log")
        append(logs / "app.log", "two")
        sidecar.prints(["one", "begin and end", "two"])


@pytest.mark.parametrize("copy", ["app.log.1", "app.log-20260101", "app.log.2026-01-01", "app-1.log", "app.log.bak"])
def test_names_of_copies(start: Start, logs: Path, copy: str) -> None:
    """As rotations name them."""
    append(logs / "app.log", "one")
    sidecar = start("app.log")
    sidecar.prints(["one"])
    append(logs / "app.log", "two")
    copy_and_truncate(logs / "app.log", copy)
    append(logs / "app.log", "three")
    sidecar.prints(["one", "two", "three"])
    assert sidecar.settled() == b"one\ntwo\nthree\n"


def test_a_copy_in_a_subfolder(start: Start, logs: Path) -> None:
    """It is a file like any other."""
    (logs / "old").mkdir()
    append(logs / "app.log", "one")
    sidecar = start("**/*")
    sidecar.prints(["one"])
    shutil.copy(logs / "app.log", logs / "old/app.log.1")
    os.truncate(logs / "app.log", 0)
    append(logs / "app.log", "two")
    until(lambda: len(sidecar.lines) == 3, "three lines")
    assert sorted(sidecar.end().decode().splitlines()) == ["one", "one", "two"]


def test_a_copy_that_takes_long(start: Start, logs: Path) -> None:
    """It is seen while it is being made, and again when the file is truncated."""
    lines = [f"line {number}" for number in range(1000)]
    append(logs / "app.log", *lines)
    sidecar = start("*")
    sidecar.prints(lines)
    sidecar.looks()
    content = (logs / "app.log").read_bytes()
    with (logs / "app.log.1").open("wb", buffering=0) as copy:
        sidecar.looks()
        copy.write(content[:3000])
        sidecar.looks()
        copy.write(content[3000:])
        sidecar.looks()
        append(logs / "app.log", "late")
        copy.write(b"late\n")
        os.truncate(logs / "app.log", 0)
    append(logs / "app.log", "next")
    sidecar.prints([*lines, "late", "next"])
    assert sidecar.settled().decode().splitlines() == [*lines, "late", "next"]


@pytest.mark.parametrize("pattern", ["app.log", "*.log", "*"])
class TestCopiesWithoutTruncation:
    """Rotation that copies the file and removes it: the copy has nothing new."""

    LINES = tuple(f"{number} {'x' * 100}" for number in range(10))

    @pytest.mark.parametrize("copy", ["app.log.1", "app.log-20260101", "app-20260101.log"])
    def test_copied_and_removed(self, start: Start, logs: Path, pattern: str, copy: str) -> None:
        """Before the application makes its file again."""
        append(logs / "app.log", *self.LINES)
        sidecar = start(pattern)
        sidecar.prints(self.LINES)
        append(logs / "app.log", "late")
        shutil.copy(logs / "app.log", logs / copy)
        (logs / "app.log").unlink()
        sidecar.looks()
        append(logs / "app.log", "next")
        sidecar.prints([*self.LINES, "late", "next"])
        assert sidecar.end() == sidecar.printed

    def test_renamed_copied_and_removed(self, start: Start, logs: Path, pattern: str) -> None:
        """As logrotate's renamecopy does: a new file is in place when the copy of the old one is made."""
        append(logs / "app.log", *self.LINES)
        sidecar = start(pattern)
        sidecar.prints(self.LINES)
        (logs / "app.log").rename(logs / "app.log.tmp")
        append(logs / "app.log", "next")
        sidecar.looks()
        shutil.copy(logs / "app.log.tmp", logs / "app.log.1")
        (logs / "app.log.tmp").unlink()
        sidecar.looks()
        assert sidecar.end() == "".join(f"{line}\n" for line in [*self.LINES, "next"]).encode()


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_links_to_the_file(start: Start, logs: Path, when: str) -> None:
    """The copy is known by the file's own name, whichever of its names is listed first."""
    links = [logs / f"{letter}-latest.log" for letter in "abyz"]
    append(logs / "app.log", "one")
    if when == "at the start":
        for link in links:
            link.symlink_to("app.log")
    sidecar = start("*")
    sidecar.prints(["one"])
    if when == "later":
        for link in links:
            link.symlink_to("app.log")
    sidecar.looks(3)
    assert_rotations_are_printed_once(sidecar, logs, 3)


def test_a_copy_of_a_file_that_has_no_descriptor(start: Start, logs: Path) -> None:
    """It is known as a copy, too."""
    lines = [f"{number} {'x' * 300}" for number in range(30)]
    for number, line in enumerate(lines):
        append(logs / f"{number:02}.log", line)
    sidecar = start("*", descriptors=20)
    until(lambda: len(sidecar.lines) == 30, "all files")
    for number in range(30):
        shutil.copy(logs / f"{number:02}.log", logs / f"{number:02}.log.1")
    sidecar.looks(3)
    for number in range(30):
        os.truncate(logs / f"{number:02}.log", 0)
    assert sorted(sidecar.end().decode().splitlines()) == sorted(lines)


def test_a_backup_is_no_rotation(start: Start, logs: Path) -> None:
    """Without a truncation a copy has nothing new."""
    append(logs / "app.log", "one")
    sidecar = start("*")
    sidecar.prints(["one"])
    shutil.copy(logs / "app.log", logs / "app.log.bak")
    sidecar.looks()
    append(logs / "app.log", "two")
    sidecar.prints(["one", "two"])
    assert sidecar.settled() == b"one\ntwo\n"


@pytest.mark.parametrize("pattern", ["app.log", "*"])
@pytest.mark.parametrize("late", [[], ["late"]], ids=["all printed", "a line left"])
@pytest.mark.parametrize("backups", [["app.log.bak"], ["app.log-20260101", "app.log-20260102"]], ids=["one", "two"])
def test_a_backup_before_a_rotation(
    start: Start, logs: Path, pattern: str, late: list[str], backups: list[str]
) -> None:
    """It has a part of what the rotation's copy has: nothing comes again."""
    lines = [f"{number} {'x' * 100}" for number in range(10)]
    append(logs / "app.log", *lines)
    sidecar = start(pattern, poll="0.1")
    sidecar.prints(lines)
    for backup in backups:
        shutil.copy(logs / "app.log", logs / backup)
        sidecar.looks()
    append(logs / "app.log", *late)
    copy_and_truncate(logs / "app.log")
    append(logs / "app.log", "next")
    sidecar.prints([*lines, *late, "next"])
    assert sidecar.settled().decode().splitlines() == [*lines, *late, "next"]


def test_a_file_that_only_has_such_a_name(start: Start, logs: Path) -> None:
    """With other content it is one of its own, if the pattern means it."""
    append(logs / "app.log", "one")
    sidecar = start("*")
    sidecar.prints(["one"])
    append(logs / "app.log.1", "another")
    sidecar.prints(["one", "another"])
    append(logs / "app.log.1", "more")
    sidecar.prints(["one", "another", "more"])


class TestNuls:
    """What is no text."""

    def test_a_writer_that_does_not_append(self, start: Start, logs: Path) -> None:
        """After a truncation it writes where it was: the hole before that is skipped."""
        with (logs / "app.log").open("wb", buffering=0) as file:
            lines = [f"first {number} {'x' * 100}" for number in range(5000)]
            file.write("".join(f"{line}\n" for line in lines).encode())
            sidecar = start("app.log")
            sidecar.prints(lines)
            for number in range(3):
                sidecar.looks()
                copy_and_truncate(logs / "app.log")
                file.write(f"next {number}\n".encode())
                lines.append(f"next {number}")
                sidecar.prints(lines)
        assert b"\0" not in sidecar.settled()

    @pytest.mark.parametrize("hole", [20, 5000, 300_000, 5_000_000])
    def test_a_hole_that_was_there_before(self, start: Start, logs: Path, hole: int) -> None:
        """It is skipped in a file that is new to us, too."""
        with (logs / "app.log").open("wb") as file:
            file.truncate(hole)
            file.seek(hole)
            file.write(b"one\n")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])
        sidecar.looks()
        sidecar.kill()
        append(logs / "app.log", "three")
        start("app.log").prints(["three"])

    @pytest.mark.parametrize("size", [10_000, 32 << 20])
    def test_a_file_that_was_made_large_beforehand(self, start: Start, logs: Path, size: int) -> None:
        """Its lines come out as they replace the NULs, through a mapping as well."""
        import mmap  # noqa: PLC0415 — one test's own

        with (logs / "app.log").open("w+b") as file:
            file.truncate(size)
            sidecar = start("app.log")
            sidecar.looks()
            with mmap.mmap(file.fileno(), size) as text:
                at = 0
                for number in range(30):
                    line = f"line {number} {'x' * 200}\n".encode()
                    text[at : at + len(line) // 2] = line[: len(line) // 2]
                    if number % 10 == 0:
                        sidecar.looks()
                    text[at + len(line) // 2 : at + len(line)] = line[len(line) // 2 :]
                    at += len(line)
                    if number % 10 == 5:
                        sidecar.prints(text[:at])
                sidecar.prints(text[:at])
                text[at : at + 4] = b"last"
                at += 4
                sidecar.looks()
                assert sidecar.end() == text[:at]

    @pytest.mark.parametrize("size", [10_000, 32 << 20])
    @pytest.mark.parametrize("lines", [3, 300])
    @pytest.mark.parametrize("rest", ["", "half a line"])
    def test_what_is_left_of_that_is_cut_off(self, start: Start, logs: Path, size: int, lines: int, rest: str) -> None:
        """Who closes such a file gives its space back: nothing comes again, and it goes on."""
        text = "".join(f"line {number}\n" for number in range(lines)) + rest
        with (logs / "app.log").open("w+b", buffering=0) as file:
            file.truncate(size)
            sidecar = start("app.log")
            sidecar.looks()
            file.write(text.encode())
            sidecar.prints(text.removesuffix(rest))
            sidecar.looks()
            file.truncate(len(text))
            sidecar.looks()
            file.write(b" goes on\n")
        sidecar.prints(f"{text} goes on\n")

    def test_it_is_cut_off_before_all_is_printed(self, start: Start, logs: Path) -> None:
        """The bytes before the position tell that it is still the same file."""
        lines = [f"{number} {'x' * 100}" for number in range(10_000)]
        sidecar = start("app.log", stalled=True)
        with (logs / "app.log").open("w+b", buffering=0) as file:
            file.truncate(32 << 20)
            file.write("".join(f"{line}\n" for line in lines).encode())
            until(lambda: str(logs / "app.log") in sidecar.open_files, "the file is open")
            sidecar.looks_while_stalled()
            file.truncate(file.tell())
        sidecar.looks_while_stalled()
        sidecar.valve.set()
        sidecar.prints(lines)

    def test_an_unfinished_line_is_cut_off(self, start: Start, logs: Path) -> None:
        """As a writer does whose disk was full: the lines before it do not come again."""
        lines = [f"{number} {'x' * 100}" for number in range(10)]
        append(logs / "app.log", *lines)
        sidecar = start("app.log")
        sidecar.prints(lines)
        size = (logs / "app.log").stat().st_size
        with (logs / "app.log").open("a") as file:
            file.write("half a line")
        sidecar.looks()
        os.truncate(logs / "app.log", size)
        sidecar.looks()
        append(logs / "app.log", "next")
        sidecar.prints([*lines, "next"])

    def test_nuls_between_lines_are_content(self, start: Start, logs: Path) -> None:
        """As soon as something follows."""
        content = b"one\n" + bytes(100_000) + b"two\n" + bytes(3) + b"\nthree\n"
        (logs / "app.log").write_bytes(content[:50_000])
        sidecar = start("app.log")
        sidecar.prints(b"one\n")
        with (logs / "app.log").open("ab") as file:
            file.write(content[50_000:])
        sidecar.prints(content)


def test_truncated_while_it_was_read(start: Start, logs: Path) -> None:
    """Again and again, while nobody reads for a while: each line once or never, and in order."""
    sidecar = start("app.log")
    sidecar.looks(1)
    expected: list[str] = []
    for round_ in range(10):
        lines = [f"{round_} {number} {'y' * 50}" for number in range(2000)]
        append(logs / "app.log", *lines)
        expected += lines
        if round_ % 3 == 1:
            sidecar.valve.clear()
        copy_and_truncate(logs / "app.log")
        sidecar.valve.set()
        until(lambda: len(sidecar.lines) == 2000 * (round_ + 1), "all lines")  # noqa: B023 — called in this round
    assert sidecar.settled().decode().splitlines() == expected


def test_written_longer_before_anything_is_printed(start: Start, logs: Path) -> None:
    """Nothing tells then that it has another content: what was in it before is lost."""
    filler = [f"{number} {'x' * 100}" for number in range(20_000)]
    append(logs / "filler.log", *filler)
    sidecar = start("filler.log", "app.log", stalled=True, poll="1")
    sidecar.looks_while_stalled()
    append(logs / "app.log", "one")
    sidecar.looks_while_stalled()
    copy_and_truncate(logs / "app.log")
    append(logs / "app.log", "two, which is longer")
    sidecar.looks_while_stalled()
    sidecar.valve.set()
    until(lambda: sidecar.printed.count(b"\n") > len(filler), "all lines are out")
    assert set(sidecar.settled().decode().splitlines()) - {*filler} == {"two, which is longer"}
