"""The `tail` sidecar as a process, as the kubelet would start it."""

import contextlib
import os
import re
import resource
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

#: What waits longer than this has failed: a look takes 0.5 s, and machines are busy.
SECONDS = 20.0
#: Between two looks of the tests' sidecars: less than the profile's, so that tests are quick.
POLL = 0.02


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Return as soon as the condition holds; fail if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


class Sidecar:
    """One run of it. What it prints is read all the time, unless the test closes the valve."""

    def __init__(
        self,
        folder: Path,
        program: Path,
        patterns: Sequence[str],
        settings: dict[str, str],
        *,
        descriptors: int = 1024,
        user: int | None = None,
        stalled: bool = False,
    ) -> None:
        self._errors = folder / "stderr"
        state = folder / "state"
        state.mkdir(exist_ok=True)
        if user is not None:
            os.chown(state, user, user)
        environment = {"PILLION_STATE": str(state), "PILLION_POLL": str(POLL), **settings}
        self.state = state
        self.printed = bytearray()
        self.valve = threading.Event()
        if not stalled:
            self.valve.set()
        self._closing = threading.Event()
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(program), *patterns],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),  # noqa: PLW1509
            )
        until(self._catches_sigterm, "a trap for SIGTERM")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        output = self.process.stdout.fileno()
        while not self._closing.is_set():
            if self.valve.wait(POLL) and select.select([output], [], [], POLL)[0]:
                got = os.read(output, 65536)
                if not got:
                    return
                self.printed += got

    @property
    def lines(self) -> list[str]:
        """The lines so far, also a last one that has no end."""
        return self.printed.decode().splitlines()

    @property
    def errors(self) -> list[str]:
        """The lines on standard error so far."""
        return self._errors.read_text().splitlines()

    def prints(self, expected: bytes | str | Sequence[str], seconds: float = SECONDS) -> None:
        """Return when exactly this was printed in all (text, or lines)."""
        wanted = _bytes(expected)
        deadline = time.monotonic() + seconds
        while len(self.printed) < len(wanted) and time.monotonic() < deadline:
            self._alive()
            time.sleep(0.005)
        assert bytes(self.printed) == wanted, self.errors

    def complains(self, about: str) -> str:
        """Return the one line on standard error that has this text, as soon as it is there."""

        def found() -> Iterator[str]:
            return (line for line in self.errors if about in line)

        until(lambda: any(found()), f"{about!r} on standard error")
        (line,) = found()
        return line

    def looks(self, times: int = 2) -> None:
        """Return when it has looked around as many times, done what there was to do, and pauses."""
        for _ in range(times):
            until(self._pauses, "a pause")
            before = self._switches()
            until(lambda before=before: self._switches() != before and self._pauses(), "a look")  # type: ignore[misc]

    def settled(self) -> bytes:
        """Return what is printed once nothing is left to do."""
        self.looks()
        return bytes(self.printed)

    def looks_while_stalled(self, times: int = 3) -> None:
        """Return when it has looked around as many times while its output waits for a reader."""
        seen: set[str] = set()

        def looked() -> bool:
            if self._pauses(waiting_for=2):
                seen.add(self._switches())
            return len(seen) > times

        until(looked, "a look")

    @property
    def open_files(self) -> list[str]:
        """The paths of its descriptors."""
        paths = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                paths.append(str(link.readlink()))
        return paths

    def heap(self) -> int:
        """Return the size of its own data in KiB."""
        return self._size("VmData")

    def peak(self) -> int:
        """Return the most memory that it ever had, in KiB."""
        return self._size("VmHWM")

    def _size(self, name: str) -> int:
        size = re.search(rf"^{name}:\s*(\d+) kB$", self._status(), re.MULTILINE)
        assert size is not None
        return int(size[1])

    def close_output(self) -> None:
        """Close the reading end of its standard output."""
        self._closing.set()
        self._rest()

    def _pauses(self, waiting_for: int = 1) -> bool:
        """Say whether it waits: for time and signals, or, with 2, for its output, too."""
        self._alive()
        switches = self._switches()
        call = Path(f"/proc/{self.process.pid}/syscall").read_text().split()  # its number, and its arguments
        waits = self._stat()[0] == "S" and len(call) > 2 and int(call[2], 16) == waiting_for  # poll(2)'s nfds
        return waits and self._switches() == switches  # all at one moment

    def _switches(self) -> str:
        return "".join(re.findall(r"^voluntary_ctxt_switches:.*$", self._status(), re.MULTILINE))

    def _stat(self) -> list[str]:
        """Return the fields of proc(5)'s stat from the third on."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()

    def _catches_sigterm(self) -> bool:
        caught = re.search(r"^SigCgt:\s*(\w+)$", self._status(), re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    def _status(self) -> str:
        return Path(f"/proc/{self.process.pid}/status").read_text()

    def _alive(self) -> None:
        assert self.process.poll() is None, f"it exited with {self.process.returncode}: {self.errors}"

    def end(self, seconds: float = SECONDS) -> bytes:
        """Send SIGTERM; return all that was printed."""
        self._alive()
        self.process.send_signal(signal.SIGTERM)
        self.valve.set()
        assert self.process.wait(seconds) == 0, self.errors
        return self._rest()

    def kill_after(self, expected: Sequence[str]) -> None:
        """Kill it once it has printed exactly these lines in all, and its checkpoint has them."""
        self.prints(expected)
        self.looks()
        self.kill()

    def kill(self) -> bytes:
        """Kill all its processes, as the kernel does when memory ends; return what was printed."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.valve.set()
        return self._rest()

    def _rest(self) -> bytes:
        self._reader.join(SECONDS)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()
        return bytes(self.printed)


def _bytes(expected: bytes | str | Sequence[str]) -> bytes:
    if isinstance(expected, bytes):
        return expected
    if isinstance(expected, str):
        return expected.encode()
    return "".join(f"{line}\n" for line in expected).encode()
