"""Start programs, know when they are ready, and end exactly those that were started."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL; etcd and containerd need well under one
LAST_LINES = 15
_REST = 3  # a poll rests so many times as long as the look took: a kubectl costs more than what it looks at
_LATER = 1 / 20  # and for this share of the time so far: what takes a minute may be seen three seconds later


class StartError(RuntimeError):
    """A program did not come up; the text names it, shows its last lines and says where its log is."""


@dataclass(frozen=True)
class Identity:
    """One process for good: a process id is used again, but never with the same start time."""

    pid: int
    started: int
    """Clock ticks since boot, as in `/proc/PID/stat`."""


@dataclass(frozen=True)
class Daemon:
    """A program that was started here, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        """Return the end of its log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


def identity(pid: int) -> Identity | None:
    """Return the process's identity, or None if there is no such process or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the second field is the command in brackets and may itself hold brackets and spaces.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else Identity(pid, started)


def sidecar_process(uid: str) -> int:
    """Return the process of the `tail` sidecar in the pod of this uid, on this machine."""
    (found,) = (
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if _text(folder / "cmdline").startswith("/usr/bin/pillion-tail\0") and uid in _text(folder / "cgroup")
    )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended
        return ""


def alive(process: Identity) -> bool:
    """Return whether this very process still runs."""
    return identity(process.pid) == process


def start(name: str, command: Sequence[str | Path], log: Path, cwd: Path | None = None) -> Daemon:
    """Start a program in a session of its own, so that Ctrl-C in a test run leaves its end to us."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )
    return Daemon(name, process, log)


def wait_until(true: Callable[[], bool], seconds: float, poll: float = POLL_SECONDS) -> bool:
    """Poll until `true()` or until the time is over; say which."""
    start = time.monotonic()
    while True:
        begin = time.monotonic()
        if true():
            return True
        end = time.monotonic()
        if end > start + seconds:
            return False
        time.sleep(max(poll, _REST * (end - begin), _LATER * (end - start)))


def wait_ready(daemon: Daemon, ready: Callable[[], bool], seconds: float) -> None:
    """Return when the program is ready; raise StartError if it ends first or takes too long."""
    if wait_until(lambda: daemon.process.poll() is not None or ready(), seconds):
        status = daemon.process.poll()
        if status is None:
            return
        happened = f"ended with status {status}"
    else:
        happened = f"is not ready after {seconds:.0f} s"
    raise StartError(f"{daemon.name} {happened}. Its last lines (log: {daemon.log}):\n{daemon.last_lines()}")


def end(running: Sequence[Identity], grace: float = GRACE_SECONDS) -> None:
    """End each process, one after the other: SIGTERM, and SIGKILL for one that stays."""
    for process in running:
        gone = partial(_gone, process)
        _signal(process, signal.SIGTERM)
        if not wait_until(gone, grace):
            _signal(process, signal.SIGKILL)
            wait_until(gone, grace)


def _gone(process: Identity) -> bool:
    return not alive(process)


def _signal(process: Identity, number: signal.Signals) -> None:
    if alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def command_lines() -> list[tuple[Identity, str]]:
    """Return every process of the machine with its command line, words separated by spaces."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        who = identity(int(entry.name))
        if who is not None:
            found.append((who, b" ".join(words).decode(errors="replace")))
    return found
