"""A machine that gives it no time for a while, as a cpu limit does."""

import os
import signal
import time
from pathlib import Path

from .conftest import Start
from .log_files import append
from .sidecar import until


class TestNoTime:
    """Nothing is printed twice, and nothing is complained of."""

    def test_stopped_at_any_moment(self, start: Start, logs: Path) -> None:
        """For longer than a look takes."""
        sidecar = start()
        expected = []
        for number in range(60):
            append(logs / "app.log", f"line {number}")
            expected.append(f"line {number}")
            time.sleep(number % 20 / 1000)  # wherever it may be then
            os.kill(sidecar.process.pid, signal.SIGSTOP)
            time.sleep(0.05)  # more than a look takes
            os.kill(sidecar.process.pid, signal.SIGCONT)
        sidecar.prints(expected)
        assert sidecar.end() == sidecar.printed
        assert not sidecar.errors

    def test_signals_while_it_prints(self, start: Start, logs: Path) -> None:
        """No line is lost because a signal comes in the same moment."""
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
