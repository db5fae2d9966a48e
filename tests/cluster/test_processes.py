"""A program's start, its failure in words, and its end."""

import signal
from pathlib import Path

import pytest

from . import processes

pytestmark = pytest.mark.cluster


def started(script: str, folder: Path) -> processes.Daemon:
    """Return a shell that runs the script as a daemon."""
    return processes.start("shell", ["sh", "-c", script], folder / "shell.log")


def test_a_program_that_ends_at_start_says_its_last_lines(tmp_path: Path) -> None:
    """The error has the program's name, its status, what it wrote, and where."""
    daemon = started("echo no such port; exit 3", tmp_path)
    with pytest.raises(processes.StartError, match=r"(?s)shell ended with status 3.*shell\.log.*no such port"):
        processes.wait_ready(daemon, lambda: False, seconds=10)


def test_a_program_that_is_never_ready_says_so(tmp_path: Path) -> None:
    """The error tells the two failures apart."""
    daemon = started("exec sleep 60", tmp_path)
    with pytest.raises(processes.StartError, match=r"(?s)not ready after 0 s.*it wrote nothing"):
        processes.wait_ready(daemon, lambda: False, seconds=0.2)
    stop(daemon)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param("exec sleep 60", -signal.SIGTERM, id="asked"),
        pytest.param("trap '' TERM; while :; do sleep 1; done", -signal.SIGKILL, id="made to"),
    ],
)
def test_a_program_ends_with_or_without_its_consent(tmp_path: Path, script: str, status: int) -> None:
    """SIGTERM first, SIGKILL for one that stays."""
    daemon = started(f"echo up; {script}", tmp_path)
    processes.wait_ready(daemon, lambda: "up" in daemon.log.read_text(), seconds=10)
    stop(daemon)
    assert daemon.process.returncode == status


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    """Nobody else's process is ever ended for having an old id of ours."""
    daemon = started("exec sleep 60", tmp_path)
    real = processes.identity(daemon.process.pid)
    assert real is not None
    earlier = processes.Identity(real.pid, real.started - 1)
    processes.end([earlier])
    assert not processes.alive(earlier)
    assert processes.alive(real)
    stop(daemon)


def stop(daemon: processes.Daemon) -> None:
    """End the daemon and reap it."""
    who = processes.identity(daemon.process.pid)
    assert who is not None
    processes.end([who], grace=0.5)
    daemon.process.wait(5)
