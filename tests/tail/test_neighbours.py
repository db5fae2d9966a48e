"""Files that nobody asked for, and files that can't be read."""

import gzip
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import Sidecar, until


def write_after(path: Path, other: Path) -> None:
    """Append lines until it was written later than the other file."""
    for number in itertools.count():
        append(path, f"unasked {number}")
        if path.stat().st_mtime_ns > other.stat().st_mtime_ns:
            return


NEIGHBOURS = (
    *("app.log.audit", "app-2.log", "app.log.pid", "app.log.lock", "app.log.old", "app.log.bak", "app.log~"),
    *("app.log.tmp", "app-error.log", "app2.log", "app.logs", "app_old.log", "app.1.log", "app.log.d"),
)


class TestNeighbours:
    """Only what a rotation makes is printed, if the file that it comes from was there."""

    @pytest.mark.parametrize("when", ["at the start", "before it", "after it", "with it"])
    @pytest.mark.parametrize("name", NEIGHBOURS)
    def test_names(self, start: Start, logs: Path, name: str, when: str) -> None:
        """Whenever they come up."""
        if when == "at the start":
            append(logs / name, "unasked")
        sidecar = start("app.log")
        sidecar.looks(1)
        if when == "before it":
            append(logs / name, "unasked")
            sidecar.looks(3)
        if when == "with it":
            append(logs / name, "unasked")
        append(logs / "app.log", "one")
        sidecar.prints(["one"])
        if when == "after it":
            append(logs / name, "unasked")
            sidecar.looks(3)
        append(logs / name, "unasked")
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])
        assert sidecar.end() == b"one\ntwo\n"

    def test_a_name_without_an_ending(self, start: Start, logs: Path) -> None:
        """`access` has neighbours, too."""
        sidecar = start("access")
        sidecar.looks()
        for name in ("access.db", "access-2", "access_log", "access.log"):
            append(logs / name, "unasked")
        sidecar.looks()
        append(logs / "access", "one")
        sidecar.prints(["one"])
        (logs / "access").rename(logs / "access.1")
        append(logs / "access.1", "two")
        append(logs / "access", "three")
        sidecar.prints(["one", "two", "three"])

    @pytest.mark.parametrize("name", ["app.log.audit", "app.log.pid", "app-error.log"])
    def test_in_the_moment_of_a_rotation(self, start: Start, logs: Path, name: str) -> None:
        """Then their names tell."""
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / name, "unasked")
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])
        assert sidecar.end() == b"one\ntwo\n"

    @pytest.mark.parametrize("name", ["app-2.log", "app.log.old", "app_old.log"])
    @pytest.mark.parametrize("when", ["at the start", "later"])
    def test_written_while_another_is_truncated(self, start: Start, logs: Path, name: str, when: str) -> None:
        """What is written between copy and truncation is no copy of what came after the copy."""
        append(logs / "app.log", "one")
        if when == "at the start":
            append(logs / name, "unasked")
        sidecar = start("app.log", poll="0.3")
        sidecar.prints(["one"])
        append(logs / name, "unasked")
        sidecar.looks(3)
        expected = ["one"]
        for number in range(2):
            append(logs / "app.log", f"late {number}")
            shutil.copy(logs / "app.log", logs / "app.log.1")
            write_after(logs / name, logs / "app.log.1")
            os.truncate(logs / "app.log", 0)
            append(logs / "app.log", f"next {number}")
            expected += [f"late {number}", f"next {number}"]
            sidecar.prints(expected)
            sidecar.looks(1)
        assert sidecar.settled().decode().splitlines() == expected

    @pytest.mark.parametrize("name", ["app-2.log", "app.log.old"])
    def test_written_while_an_empty_one_is_opened_anew(self, start: Start, logs: Path, name: str) -> None:
        """Nothing was lost that could be in it."""
        (logs / "app.log").touch()
        append(logs / name, "unasked")
        sidecar = start("app.log")
        sidecar.looks()
        write_after(logs / name, logs / "app.log")
        created = (logs / "app.log").stat().st_mtime_ns
        until(lambda: (logs / "app.log").write_text("") or (logs / "app.log").stat().st_mtime_ns > created, "a tick")
        sidecar.looks(3)
        append(logs / "app.log", "one")
        sidecar.prints(["one"])
        assert sidecar.end() == b"one\n"

    def test_compressed_files_in_between(self, start: Start, logs: Path) -> None:
        """Rotated files are told from what they became."""
        append(logs / "app.log", "one")
        (logs / "app.log.2.gz").write_bytes(gzip.compress(b"older\n"))
        sidecar = start("app.log")
        sidecar.prints(["one"])
        sidecar.looks()
        (logs / "app.log.2.gz").rename(logs / "app.log.3.gz")
        append(logs / "app.log", "two")
        (logs / "app.log").rename(logs / "app.log.2")
        (logs / "app.log.2.gz").write_bytes(gzip.compress((logs / "app.log.2").read_bytes()))
        append(logs / "app.log", "three")
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "four")
        sidecar.prints(["one", "two", "three", "four"])
        (logs / "app.log.2").unlink()
        assert sidecar.end() == b"one\ntwo\nthree\nfour\n"

    def test_a_file_that_was_rotated_before_anybody_saw_it(self, start: Start, logs: Path) -> None:
        """A name that only rotations make is enough."""
        sidecar = start("*.log")
        sidecar.looks(1)
        append(logs / "app.log", "one")
        (logs / "app.log").rename(logs / "app.log.1")
        sidecar.prints(["one"])
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])


HEADERS = ("id,name,amount\n", "# Logfile created on 2026-01-01 00:00:00 +0000\n", "a banner " * 100 + "\n")


@pytest.mark.parametrize("header", HEADERS, ids=["short", "a line", "long"])
class TestBeginningsThatAreAlike:
    """Files that begin with the same header are no copies of each other, whatever their names look like."""

    @pytest.mark.parametrize("name", ["app-1.log", "app.1.log", "app-20260101.log", "app-old.log"])
    def test_header_first(self, start: Start, logs: Path, header: str, name: str) -> None:
        """As long as it has nothing else it may become a copy; then it is printed whole."""
        (logs / "app.log").write_text(f"{header}one\n")
        sidecar = start("*.log")
        sidecar.prints(f"{header}one\n")
        (logs / name).write_text(header)
        sidecar.looks(5)
        append(logs / name, "two", "three")
        sidecar.prints(f"{header}one\n{header}two\nthree\n")

    def test_at_the_end(self, start: Start, logs: Path, header: str) -> None:
        """What was written just before it is printed, too."""
        (logs / "app.log").write_text(f"{header}one\n")
        sidecar = start("*.log")
        sidecar.prints(f"{header}one\n")
        (logs / "app-1.log").write_text(header)
        sidecar.looks(5)
        append(logs / "app-1.log", "two")
        assert sidecar.end().decode() == f"{header}one\n{header}two\n"

    def test_nothing_else(self, start: Start, logs: Path, header: str) -> None:
        """It can't be told from a copy, and is not printed."""
        (logs / "app.log").write_text(f"{header}one\n")
        sidecar = start("*.log")
        sidecar.prints(f"{header}one\n")
        (logs / "app-1.log").write_text(header)
        sidecar.looks()
        assert sidecar.end().decode() == f"{header}one\n"

    def test_the_first_has_nothing_else(self, start: Start, logs: Path, header: str) -> None:
        """A copy is not longer than what it is a copy of."""
        (logs / "app.log").write_text(header)
        sidecar = start("*.log")
        sidecar.prints(header)
        (logs / "app-1.log").write_text(f"{header}two\n")
        sidecar.prints(f"{header}{header}two\n")


class TestUnreadable:
    """A folder that can't be read is named, and read as soon as it can be."""

    @pytest.mark.parametrize(
        ("mode", "pattern"),
        [(0o000, "in/*.log"), (0o700, "in/*.log"), (0o700, "in/app.log"), (0o700, "in/er/*.log"), (0o700, "**/*.log")],
    )
    def test_a_folder(self, program: Path, mode: int, pattern: str) -> None:
        """Owner, mode, and who we are; once."""
        user = 65532 if os.geteuid() == 0 else os.geteuid()  # root reads everything
        with tempfile.TemporaryDirectory() as scratch:  # pytest's own folder is closed to others
            folder = Path(scratch)
            folder.chmod(0o755)
            own = Path(shutil.copy(program, folder / "pillion-tail"))
            closed = folder / "in"
            (closed / "er").mkdir(parents=True)
            place = closed / "er" if "er/" in pattern else closed
            append(place / "app.log", "line")
            closed.chmod(mode)
            sidecar = Sidecar(folder, own, [f"{folder}/{pattern}"], {}, user=user)
            try:
                line = sidecar.complains("can't read")
                assert f"can't read {closed}: owner {os.geteuid()}:" in line
                assert f"mode {mode:o}, we are {user}:" in line
                sidecar.looks(3)
                closed.chmod(0o755)
                sidecar.prints(["line"])
                assert len(sidecar.errors) == 1
            finally:
                closed.chmod(0o755)
                sidecar.kill()

    def test_a_folder_that_can_only_be_entered(self, program: Path) -> None:
        """Who names the file gets it."""
        user = 65532 if os.geteuid() == 0 else os.geteuid()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            folder.chmod(0o755)
            own = Path(shutil.copy(program, folder / "pillion-tail"))
            (folder / "in").mkdir()
            append(folder / "in/app.log", "line")
            (folder / "in").chmod(0o711 if user == 65532 else 0o311)
            sidecar = Sidecar(folder, own, [f"{folder}/in/app.log"], {}, user=user)
            try:
                sidecar.prints(["line"])
                assert "can't read" in sidecar.complains(f"{folder}/in")
            finally:
                sidecar.kill()


class TestNotice:
    """Nobody has to wonder why nothing is printed."""

    def test_no_file_for_long(self, start: Start, logs: Path) -> None:
        """It is said once, and once when the first file comes."""
        sidecar = start("app/*.log", "**/x.log", notice_after="0.2")
        line = sidecar.complains("no file matches")
        assert line.endswith(f"no file matches {logs}/app/*.log, {logs}/**/x.log")
        sidecar.looks(3)
        (logs / "app").mkdir()
        append(logs / "app/a.log", "one")
        sidecar.prints(["one"])
        assert str(logs / "app/a.log") in sidecar.complains("first file")
        append(logs / "app/b.log", "two")
        sidecar.prints(["one", "two"])
        assert len(sidecar.errors) == 2

    def test_a_file_in_time(self, start: Start, logs: Path) -> None:
        """Nothing is said."""
        append(logs / "app.log", "one")
        sidecar = start("app.log", notice_after="0.1")
        sidecar.prints(["one"])
        (logs / "app.log").unlink()
        sidecar.looks(10)
        assert not sidecar.errors
