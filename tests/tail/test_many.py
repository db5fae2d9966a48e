"""Thousands of files, folders and bytes of one line: cost is linear, and memory is bounded."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.promtool import REQUIRED

from .conftest import Start
from .log_files import append, rotate
from .sidecar import Sidecar, until


def cpu_seconds(sidecar: Sidecar) -> float:
    """Return the processor time that it took so far."""
    return int(Path(f"/proc/{sidecar.process.pid}/schedstat").read_text().split()[0]) / 1e9


def peak_kib(sidecar: Sidecar) -> int:
    """Return the most memory that it ever had."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path(f"/proc/{sidecar.process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def tree(logs: Path, folders: int, files: int) -> list[str]:
    """Write as many files into as many folders, with one line each; return the lines."""
    for number in range(files):
        folder = logs / f"{number % folders}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.log").write_text(f"line {number}\n")
    return [f"line {number}" for number in range(files)]


@pytest.mark.parametrize("descriptors", [1024, 20_000])
def test_ten_thousand_files_in_a_tree(start: Start, logs: Path, descriptors: int) -> None:
    """All are printed, whether they fit into the descriptors or not, and what is written then comes, too."""
    lines = tree(logs, 100, 10_000)
    sidecar = start("**/*.log", descriptors=descriptors)
    until(lambda: sidecar.printed.count(b"\n") >= 10_000, "all lines", 60)
    assert sorted(sidecar.lines) == sorted(lines)
    # a bound that a cost per pair of files would break by far
    assert cpu_seconds(sidecar) < 10
    append(logs / "7/7.log", "more")
    append(logs / "99/new.log", "new")
    until(lambda: sidecar.printed.count(b"\n") >= 10_002, "two more lines", 60)
    assert sorted(sidecar.end(60).decode().splitlines()) == sorted([*lines, "more", "new"])
    assert not sidecar.errors


def test_files_that_live_for_a_moment(start: Start, logs: Path) -> None:
    """What was removed makes room for what is there."""
    append(logs / "app.log", "first")
    sidecar = start("*.log", descriptors=40)
    lines = ["first"]
    for number in range(100):
        append(logs / f"job-{number}.log", f"job {number}")
        lines.append(f"job {number}")
        until(lambda: len(sidecar.lines) == len(lines), f"the line of job {number}")
        (logs / f"job-{number}.log").unlink()
    append(logs / "app.log", "last")
    sidecar.prints([*lines, "last"])
    assert not sidecar.errors


def test_sigterm_is_heard_among_many_files(start: Start, logs: Path) -> None:
    """While they are being read for the first time."""
    lines = tree(logs, 1, 3000)
    sidecar = start("**/*.log", native="true", descriptors=200)
    assert sorted(sidecar.end().decode().splitlines()) == sorted(lines)


def test_renames_while_it_looks_around(start: Start, logs: Path) -> None:
    """Folders and files that move while they are listed lose no line, and print none twice."""
    lines = tree(logs, 20, 400)
    sidecar = start("**/*.log", poll="0.001")
    stop = threading.Event()

    def move() -> None:
        number = 0
        while not stop.is_set():
            folder, other = logs / f"{number % 20}", logs / f"moved-{number % 20}"
            for _ in range(2):
                folder.rename(other)
                folder, other = other, folder
            name = logs / f"{number % 20}/{number % 20}.log"
            name.rename(name.with_suffix(".tmp.log"))
            name.with_suffix(".tmp.log").rename(name)
            number += 1

    mover = threading.Thread(target=move)
    mover.start()
    try:
        until(lambda: len(sidecar.lines) >= 400, "all lines", 60)
        for number in range(400):
            with contextlib.suppress(FileNotFoundError), (logs / f"{number % 20}/{number}.log").open("r+") as file:
                file.seek(0, os.SEEK_END)
                file.write(f"more {number}\n")
                lines.append(f"more {number}")
    finally:
        stop.set()
        mover.join()
    assert sorted(sidecar.end().decode().splitlines()) == sorted(lines)


class TestLongLine:
    """A line of any length is printed whole, in memory that does not depend on it."""

    @pytest.mark.parametrize("megabytes", [100, 1000])
    def test_it_streams(self, start: Start, logs: Path, megabytes: int) -> None:
        """Other files' lines come before or after it."""
        block = b"x" * 1_000_000
        with (logs / "long.log").open("wb") as file:
            for _ in range(megabytes):
                file.write(block)
            file.write(b"\nshort\n")
        append(logs / "other.log", *(f"other {number}" for number in range(100)))
        sidecar = start("*.log")
        size = megabytes * len(block) + 7 + sum(len(f"other {number}\n") for number in range(100))
        until(lambda: len(sidecar.printed) >= size, "everything", 120)
        assert peak_kib(sidecar) < 4096
        printed = sidecar.end().split(b"\n")
        assert [len(line) for line in printed if line[:1] == b"x"] == [megabytes * len(block)]
        assert len(printed) == 103

    def test_it_waits_for_its_end(self, start: Start, logs: Path) -> None:
        """Meanwhile others are printed; how it grows costs no more than its length."""
        sidecar = start("*.log")
        with (logs / "long.log").open("ab", buffering=0) as file:
            for number in range(50):
                file.write(b"x" * 500_000)
                append(logs / "other.log", f"other {number}")
                until(lambda number=number: len(sidecar.lines) > number, "the other line")  # type: ignore[misc]
            read = int(re.findall(r"rchar: (\d+)", Path(f"/proc/{sidecar.process.pid}/io").read_text())[0])
            assert read < 200_000_000
            file.write(b"\n")
        until(lambda: len(sidecar.printed) > 25_000_000, "the long line")
        assert max(map(len, sidecar.end().split())) == 25_000_000

    @pytest.mark.parametrize("setting", ["prefix", "format"])
    def test_in_other_formats(self, start: Start, logs: Path, setting: str) -> None:
        """One prefix, one object."""
        (logs / "long.log").write_text("ü" * 3_000_000 + "\nshort\n")
        sidecar = start("*.log", prefix="true") if setting == "prefix" else start("*.log", format="json")
        until(lambda: sidecar.printed.count(b"\n") == 2, "both lines")
        assert sidecar.printed.decode().count("ü") == 3_000_000
        assert sidecar.printed.decode().count("long.log") == 2
        assert peak_kib(sidecar) < 4096


def write_and_rotate(log: Path, number: int, *, keep: int) -> list[str]:
    """Append twenty lines of this number and rotate; return the lines."""
    lines = [f"{number} {part} {'y' * 50}" for part in range(20)]
    append(log, *lines)
    rotate(log, keep)
    return lines


class TestStalledReader:
    """Nobody reads for long, and files are rotated meanwhile."""

    def test_many_rotations(self, start: Start, logs: Path) -> None:
        """Every line comes out afterwards, in order, and memory stays small."""
        sidecar = start("app.log", poll="0.005", stalled=True)
        expected = [f"first {number} {'x' * 100}" for number in range(2000)]
        append(logs / "app.log", *expected)
        sidecar.looks_while_stalled()
        for number in range(300):
            expected += write_and_rotate(logs / "app.log", number, keep=3)
            sidecar.looks_while_stalled(1)
        sidecar.valve.set()
        sidecar.prints(expected)
        assert peak_kib(sidecar) < 2048
        assert not sidecar.errors

    def test_rotations_after_an_empty_file(self, start: Start, logs: Path) -> None:
        """Its time changes while it is empty, as when its first line is written: what comes later is no copy of it."""
        expected = [f"first {number} {'x' * 100}" for number in range(2000)]
        append(logs / "app.log", *expected)
        sidecar = start("app.log", stalled=True)
        sidecar.looks_while_stalled()
        (logs / "app.log").rename(logs / "app.log.1")
        for at in (1, 2):
            (logs / "app.log").touch()
            os.utime(logs / "app.log", (at, at))
            sidecar.looks_while_stalled()
        for number in range(3):
            expected += write_and_rotate(logs / "app.log", number, keep=4)
            sidecar.looks_while_stalled()
        sidecar.valve.set()
        sidecar.prints(expected)

    def test_it_is_killed_meanwhile(self, start: Start, logs: Path) -> None:
        """What it had not printed comes from its successor."""
        lines = [f"{number} {'x' * 100}" for number in range(5000)]
        append(logs / "app.log", *lines)
        sidecar = start("app.log", stalled=True)
        sidecar.looks_while_stalled()
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "next")
        sidecar.looks_while_stalled()
        first = sidecar.kill().decode().split("\n")
        rest = start("app.log").end().decode().splitlines()
        assert set(lines) - {*first[:-1], *rest} == set()
        assert rest[-1] == "next"


CALLS = "open,openat,write,rename,renameat,ftruncate,unlink,unlinkat,pread64,ppoll,close"


needs_strace = pytest.mark.skipif(
    not (shutil.which("strace") or os.environ.get(REQUIRED)), reason="there is no strace; apt-get install strace"
)


@needs_strace
class TestKilledAtAnySystemCall:
    """Whatever it was doing: the next one goes on, nothing is lost, and little comes again."""

    @pytest.mark.parametrize("offset", range(5))
    def test_kill(self, logs: Path, tmp_path: Path, program: Path, offset: int) -> None:
        """At each of its first calls in turn, until one run gets through."""
        state = tmp_path / "state"
        state.mkdir()
        time.sleep(0.05)  # a tick of the kernel's clock: the app begins after the pod was made
        environment = {"PILLION_STATE": str(state), "PILLION_POLL": "0.002", "PILLION_NATIVE": "true"}
        printed: list[str] = []
        wanted: list[str] = []
        for number in range(offset + 1, 70, 5):
            lines = [f"{number} {part}" for part in range(3)]
            wanted += lines
            append(logs / "app.log", *lines)
            if number % 3 == 0:
                (logs / "app.log").rename(logs / f"app.log.{number}")
            inject = f"--inject={CALLS}:signal=KILL:when={number}"
            words = ["strace", "-o", "/dev/null", f"--trace={CALLS}", inject, program, logs / "app.log"]
            with subprocess.Popen(
                [str(word) for word in words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            ) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)  # it polls often, so it soon gets to that call
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                out, errors = process.communicate()
            printed += out.decode().split("\n")[:-1]
            assert b"checkpoint" not in errors
            wanted_again = len(printed) - len(set(printed))
            assert wanted_again <= number
        with subprocess.Popen([program, logs / "app.log"], stdout=subprocess.PIPE, env=environment) as last:
            until(lambda: caught(last.pid), "a handler for SIGTERM")
            last.terminate()
            printed += last.communicate()[0].decode().splitlines()
        assert set(printed) == set(wanted)


@needs_strace
def test_a_descriptor_that_its_file_server_has_forgotten(logs: Path, tmp_path: Path, program: Path) -> None:
    """The file is opened again by its name, and goes on."""
    (tmp_path / "state").mkdir()
    environment = {"PILLION_STATE": str(tmp_path / "state"), "PILLION_POLL": "0.02"}
    inject = "--inject=fstat:error=ESTALE:when=10+"
    words = ["strace", "-o", "/dev/null", "--trace=fstat", inject, program, logs / "app.log"]
    printed = bytearray()
    with subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

        def has(line: str) -> bool:
            printed.extend(process.stdout.read() or b"")  # type: ignore[union-attr]
            return printed.endswith(f"{line}\n".encode())

        try:
            for number in range(30):
                append(logs / "app.log", f"line {number}")
                until(lambda number=number: has(f"line {number}"), "the line", 5)  # type: ignore[misc]
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert printed.decode().splitlines() == [f"line {number}" for number in range(30)]


def caught(pid: int) -> bool:
    """Say whether a process catches SIGTERM."""
    found = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)
