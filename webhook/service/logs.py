"""The log: one line an event, JSON or text; no tenant's text can forge one, no stalled reader can block us."""

import logging
import os
import select
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import Any

import msgspec

from webhook.service.settings import LogFormat

__all__ = ["Field", "Log", "LogHandler", "where"]

#: A name in Kubernetes has at most 253 characters; anything longer was not written by an API server.
FIELD_LENGTH = 256

#: So much a pipe that polls as writable takes whole, without blocking (POSIX: PIPE_BUF; Linux: 4096 bytes).
LINE_LENGTH = 4096

_encode = msgspec.json.Encoder().encode

Field = str | int | float | bool | None


class Log:
    """Writes events to a file descriptor.

    What reads our output may stall. Admission may not: then lines are dropped, ``dropped`` called for each.
    """

    def __init__(
        self,
        descriptor: int,
        form: LogFormat,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._descriptor = descriptor
        self._encode = _json_line if form is LogFormat.JSON else _text_line
        self._clock = clock
        self._dropped = dropped
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._soon: Callable[[Callable[[], None]], object] | None = None
        # libraries log from threads of their own, too
        self._lock = Lock()

    def gather(self, soon: Callable[[Callable[[], None]], object] | None) -> None:
        """Let what happens all the time wait until ``soon`` (as ``loop.call_soon``) calls: one write for many lines."""
        self._soon = soon
        self.flush()

    def often(self, event: str, **fields: Field) -> None:
        """Write what happens all the time, as it should; from the loop's thread."""
        self._waiting.append(self._line("info", event, fields))
        if self._soon is None:
            self.flush()
        elif len(self._waiting) == 1:
            self._soon(self.flush)

    def info(self, event: str, **fields: Field) -> None:
        """Write what happened as it should."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Write what somebody should look at one day."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Field) -> None:
        """Write what somebody should look at now."""
        self._write("error", event, fields)

    def flush(self) -> None:
        """Write the lines that wait."""
        waiting = self._waiting
        # nobody waits for the lock: who has it looks again when it is free. It may be ourselves: a garbage collection
        # begins anywhere, and asyncio logs what it finds
        while waiting and self._lock.acquire(blocking=False):
            try:
                while waiting:
                    lines, number = waiting.popleft(), 1
                    while waiting and len(lines) + len(waiting[0]) <= LINE_LENGTH:
                        lines += waiting.popleft()
                        number += 1
                    self._put(lines, number)
            finally:
                self._lock.release()

    def _write(self, level: str, event: str, fields: dict[str, Field]) -> None:
        self._waiting.append(self._line(level, event, fields))
        self.flush()

    def _line(self, level: str, event: str, fields: dict[str, Field]) -> bytes:
        time = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": time, "level": level, "event": event, **fields}
        line = self._encode(record, FIELD_LENGTH)
        if len(line) > LINE_LENGTH:
            # now it is short enough: a dozen fields, each character at most six bytes
            line = self._encode(record, FIELD_LENGTH // 8)
        return line

    def _put(self, lines: bytes, number: int) -> None:
        try:
            writable = self._poll.poll(0)
            if writable and writable[0][1] & select.POLLOUT:
                os.write(self._descriptor, lines)
                return
        except OSError:
            pass  # nobody reads any more; there is nowhere to say so but the counter
        for _ in range(number):
            self._dropped()


class LogHandler(logging.Handler):
    """Hands the records of libraries (uvicorn, asyncio) to the log; ``failed`` is called for each exception."""

    def __init__(self, log: Log, level: int = logging.WARNING, *, failed: Callable[[], None] = lambda: None) -> None:
        super().__init__(level)
        self._log = log
        self._failed = failed

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's message, and where an exception came from, on one line."""
        fields: dict[str, Field] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields |= where(record.exc_info[0], record.exc_info[2])
            self._failed()
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write("library", **fields)


def where(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Field]:
    """Return an exception's type and the lines of code it came through.

    Without its message: that may quote the pod, and a pod's variables are nobody's business.
    """
    frames = traceback.extract_tb(trace)[-8:]
    return {
        "exception": kind.__qualname__,
        "trace": " > ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames),  # noqa: PTH119
    }


def _json_line(record: dict[str, Field], length: int) -> bytes:
    text = "".join([value for value in record.values() if isinstance(value, str)])
    # almost always all of them together are no longer than one may be, and nothing is odd
    if len(text) > length or not text.isprintable():
        record = {key: _clean(value, length) for key, value in record.items()}
    return _encode(record) + b"\n"


def _text_line(record: dict[str, Field], length: int) -> bytes:
    """Return ``time level event key=value …``; a value with anything odd in it is a JSON string."""
    head = [str(record[key]) for key in ("time", "level", "event")]
    rest = [f"{key}={_quoted(_clean(value, length))}" for key, value in list(record.items())[3:]]
    return (" ".join(head + rest) + "\n").encode()


def _quoted(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    bare = text[1:-1]
    return bare if isinstance(value, str) and bare == value and bare and not set(bare) & set(' ="') else text


def _clean(value: Field, length: int) -> Field:
    """Return text without what could hide or forge something on a terminal, and not too long."""
    if not isinstance(value, str):
        return value
    text = (
        value
        if value.isprintable()
        else "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value[:length]
        )
    )
    return text if len(text) <= length else text[: length - 1] + "…"
