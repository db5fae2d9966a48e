"""Who is compared: how each is started on an app's files, as its documentation advises, and what it gives out."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.bench.tail.cases import Case
from tests.cluster.programs import COLLECTOR, FILEBEAT, BuildError, build
from tests.tail.program import program

__all__ = ["EVERYONE", "FILEBEAT", "OURS", "Contestant", "MissingError", "Running", "contestants", "version"]

#: The kubelet's default; a sidecar that does not heed SIGTERM is killed after it.
GRACE_SECONDS = 30.0
#: Who gave out nothing for as long has nothing more to give: all of them look once a second or more often.
QUIET_SECONDS = 3.0
#: Whoever is not done by then never will be.
MAX_SECONDS = 240.0
_BODY = re.compile(rb'"body":\{"stringValue":"((?:[^"\\]|\\.)*)"')


class MissingError(RuntimeError):
    """A contestant can't be had here; the text says what to install."""


@dataclass(frozen=True)
class Contestant:
    """A program under comparison."""

    name: str
    version: str
    words: Callable[[Case, Path, Path], Sequence[str | Path]]
    """Its command for a case, a log folder, and a scratch folder of its own that survives a restart."""
    lines: Callable[[bytes], list[bytes]] = bytes.splitlines
    """The app's lines in its output."""


@dataclass
class Running:
    """A contestant at work until the end of a `with`; its standard output is a pipe, as in a container."""

    contestant: Contestant
    case: Case
    logs: Path
    scratch: Path
    prefix: Sequence[str | Path] = ()
    """What starts it, if not we ourselves."""
    outputs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.start()

    def __enter__(self) -> Self:
        """Return itself, at work already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever happened."""
        self.kill()

    def start(self) -> None:
        """Start it, again after a kill; each run has an output of its own, as the runs of a container have."""
        self.outputs.append(self.scratch / f"output-{len(self.outputs)}")
        words = [*self.prefix, *self.contestant.words(self.case, self.logs, self.scratch)]
        environment = {**os.environ, "PILLION_STATE": str(self.scratch), "PILLION_NATIVE": "true"}
        with self.outputs[-1].open("wb") as output, (self.scratch / "errors").open("ab") as errors:
            reader, writer = os.pipe()
            self._cat = subprocess.Popen(["cat"], stdin=reader, stdout=output)
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=writer, stderr=errors, env=environment, start_new_session=True
            )
            os.close(reader)
            os.close(writer)

    @property
    def size(self) -> int:
        """How many bytes it has given out since it was started last."""
        return self.outputs[-1].stat().st_size

    def lines(self) -> Iterator[bytes]:
        """Yield the app's lines in its outputs.

        A line that a kill cut off is none: it can't be helped, and has to come whole in the next run or is lost.
        """
        for output in self.outputs[:-1]:
            content = output.read_bytes()
            yield from self.contestant.lines(content[: content.rfind(b"\n") + 1])
        yield from self.contestant.lines(self.outputs[-1].read_bytes())

    def settle(self, seconds: float = MAX_SECONDS) -> None:
        """Return when its output does not grow any more."""
        begin = changed = time.monotonic()
        before = -1
        while time.monotonic() < min(begin + seconds, changed + QUIET_SECONDS):
            if self.size != before:
                before, changed = self.size, time.monotonic()
            time.sleep(0.1)

    def end(self) -> float:
        """End it as the kubelet does; return after how many seconds it was gone.

        PID 1 of a container has no default for SIGTERM: what does not catch it runs on until it is killed.
        """
        begin = time.monotonic()
        if self._catches_sigterm():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            else:
                self._cat.wait()
                return time.monotonic() - begin
        else:
            self.settle(GRACE_SECONDS)
        self.kill()
        return GRACE_SECONDS

    def kill(self) -> None:
        """Kill it and its children, as the kernel does when memory ends."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself, and its score says so
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._cat.wait()

    def _catches_sigterm(self) -> bool:
        if self.process.poll() is not None:
            return False
        caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def version(program: str | Path, *words: str) -> str:
    """Return the version that a program tells."""
    answer = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    found = re.search(r"\bv?(\d+\.[.\d]*\d)", answer.stdout + answer.stderr)
    return found[1] if found else "?"


def pillion_tail(scratch: Path) -> Contestant:
    """Return our own: the program."""
    own = scratch / "pillion-tail"
    if not own.exists():
        shutil.copy(program(), own)
    return Contestant(
        "pillion-tail",
        version(own, "--version"),
        lambda case, logs, _: [own, logs / case.pattern],
    )


def _names(case: Case, logs: Path) -> list[Path]:
    """Return what tails are told, which know no patterns: every name that will ever be there."""
    return [logs / name for name in case.names]


def busybox_tail(scratch: Path) -> Contestant:
    """Return busybox's tail."""
    program = shutil.which("busybox")
    if program is None:
        raise MissingError("there is no busybox; on Debian or Ubuntu: apt-get install busybox-static")
    own = scratch / "busybox"
    if not own.exists():
        # a copy: what shares no memory with other programs of this machine, as in the only container of an image
        shutil.copy(program, own)
    return Contestant(
        "busybox tail -F",
        version(own),
        lambda case, logs, _: [own, "tail", "-q", "-n", "+1", "-F", *_names(case, logs)],
    )


def gnu_tail(_: Path) -> Contestant:
    """Return the tail of GNU coreutils."""
    program = shutil.which("tail")
    told = subprocess.run([program or "false", "--version"], capture_output=True, text=True, check=False).stdout
    if program is None or "GNU" not in told:
        raise MissingError("tail is not that of GNU coreutils")
    # its manual: after so many looks without growth (5 by default) it sees whether the file has been renamed
    often = ["--sleep-interval=0.5", "--max-unchanged-stats=1"]
    return Contestant(
        "GNU tail -F",
        version(program, "--version"),
        lambda case, logs, _: [program, "-q", "-n", "+1", "-F", *often, *_names(case, logs)],
    )


def filebeat(_: Path) -> Contestant:
    """Return filebeat, with its newer file input, filestream."""
    program = build(FILEBEAT)

    def words(case: Case, logs: Path, scratch: Path) -> Sequence[str | Path]:
        source: dict[str, Any] = {
            "type": "filestream",
            "id": "app",
            # "make sure the paths configuration includes both the active file and all rotated files"
            "paths": [f"{logs}/{case.pattern}*"],
            "prospector.scanner.exclude_files": [r"\.gz$"],
            # "specify 1s to scan the directory as frequently as possible"; backoff.max may not be longer
            "prospector.scanner.check_interval": "1s",
            "backoff": {"init": "1s", "max": "1s"},
            # "if files are not completely read because they are removed too early, disable this option";
            # then clean_removed "must" be disabled, too
            "close.on_state_change.removed": False,
            "clean_removed": False,
        }
        if case.copytruncate:
            source["rotation.external.strategy.copytruncate"] = {"suffix_regex": r"\.\d$"}
        configuration = {
            "filebeat.inputs": [source],
            "output.console": {"codec.format": {"string": "%{[message]}"}},
            "setup.ilm.enabled": False,
            "setup.template.enabled": False,
            "logging.to_stderr": True,
        }
        file = scratch / "filebeat.yml"
        file.write_text(json.dumps(configuration))
        return [program, "-c", file, "--path.home", scratch, "--path.data", scratch / "data", "--strict.perms=false"]

    def lines(output: bytes) -> list[bytes]:
        """Leave out what a library of filebeat's prints besides where cgroups of both versions are mounted."""
        return [text for text in output.splitlines() if not text.startswith(b"fetching V2 controller")]

    return Contestant("filebeat", FILEBEAT.version.removeprefix("v"), words, lines=lines)


def otelcol(_: Path) -> Contestant:
    """Return the OpenTelemetry collector, with its filelog receiver."""
    program = build(COLLECTOR)

    def words(case: Case, logs: Path, scratch: Path) -> Sequence[str | Path]:
        (scratch / "storage").mkdir(exist_ok=True)
        configuration = {
            "extensions": {"file_storage": {"directory": str(scratch / "storage")}},
            "receivers": {
                "filelog": {
                    "include": [f"{logs}/{case.pattern}*"],
                    "exclude": [f"{logs}/*.gz"],
                    "start_at": "beginning",
                    "storage": "file_storage",
                    "retry_on_failure": {"enabled": True},
                }
            },
            "exporters": {"file": {"path": "/dev/stdout", "flush_interval": "100ms"}},
            "service": {
                "extensions": ["file_storage"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["filelog"], "exporters": ["file"]}},
            },
        }
        file = scratch / "otelcol.yaml"
        file.write_text(json.dumps(configuration))
        return [program, "--config", file]

    return Contestant("otelcol filelog", COLLECTOR.version.removeprefix("v"), words, lines=_BODY.findall)


OURS = "pillion-tail"
EVERYONE: Mapping[str, Callable[[Path], Contestant]] = {
    OURS: pillion_tail,
    "busybox": busybox_tail,
    "gnu": gnu_tail,
    "filebeat": filebeat,
    "otelcol": otelcol,
}


def contestants(names: Sequence[str], scratch: Path, say: Callable[[str], None]) -> dict[str, Contestant]:
    """Return those of these names that can be had here; say who can't, and what they lack."""
    found = {}
    for name in names:
        try:
            found[name] = EVERYONE[name](scratch)
        except (BuildError, MissingError) as error:
            say(f"left out: {name}: {error}")
    return found
