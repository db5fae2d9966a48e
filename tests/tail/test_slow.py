"""A machine that gives it no time for a while, as a cpu limit does, and children that are killed."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from .conftest import Start
from .sidecar import Sidecar, until
from .test_files import append


def children(process: int) -> list[int]:
    """Return a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return []


def printers(sidecar: Sidecar) -> list[int]:
    """Return the processes that copy log files to standard output."""
    return [grandchild for child in children(sidecar.process.pid) for grandchild in children(child)]


class TestNoTime:
    """Nothing is printed twice, and nothing is complained of."""

    @pytest.mark.parametrize("group", [False, True], ids=["itself", "all its processes"])
    def test_stopped_at_any_moment(self, start: Start, logs: Path, group: bool) -> None:
        """Whatever is stopped for longer than a look takes."""
        stop = os.killpg if group else os.kill
        sidecar = start()
        expected = []
        for number in range(60):
            append(logs / "app.log", f"line {number}")
            expected.append(f"line {number}")
            time.sleep(number % 20 / 1000)  # wherever it may be then
            stop(sidecar.process.pid, signal.SIGSTOP)
            time.sleep(0.05)  # more than a look takes
            stop(sidecar.process.pid, signal.SIGCONT)
        sidecar.prints(expected)
        assert sidecar.end() == sidecar.printed
        assert not sidecar.errors

    def test_signals_while_it_prints(self, start: Start, logs: Path) -> None:
        """The end of a child is not lost because a signal comes in the same moment."""
        sidecar = start(native="false")
        expected = []
        for number in range(40):
            append(logs / "app.log", f"line {number}")
            expected.append(f"line {number}")
            until(lambda number=number: len(sidecar.lines) > number, "a line")  # type: ignore[misc]
            if sidecar.process.poll() is None:
                sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.process.wait(5) == 0
        assert sidecar.kill().decode().splitlines() == expected
        assert not sidecar.errors


class TestKilled:
    """A child that the kernel kills for its memory costs no line."""

    def test_while_nobody_reads(self, start: Start, logs: Path) -> None:
        """It says so and prints again."""
        lines = [f"{number} {'x' * 100}" for number in range(10_000)]
        append(logs / "app.log", *lines)
        sidecar = start()
        sidecar.valve.clear()
        sidecar.looks_while_stalled()
        until(lambda: printers(sidecar), "who prints")
        for process in printers(sidecar):
            os.kill(process, signal.SIGKILL)
        sidecar.valve.set()
        sidecar.complains("can't write to standard output")
        until(lambda: sidecar.lines[-1:] == lines[-1:], "the last line")
        assert set(lines) <= set(sidecar.lines)

    def test_at_any_moment(self, start: Start, logs: Path) -> None:
        """Whatever it was doing since it began, it goes on."""
        sidecar = start()
        sidecar.looks(1)
        for number in range(200):
            append(logs / f"{number % 3}.log", f"line {number}")
            for child in (*children(sidecar.process.pid), *printers(sidecar)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        until(lambda: set(sidecar.lines) >= {f"line {number}" for number in range(200)}, "every line")
        assert sidecar.process.poll() is None
