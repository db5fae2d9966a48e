"""The log: a line per event, as JSON or text. Untrusted text can't forge lines; a stalled reader blocks no caller."""

import logging
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import QueueHandler, QueueListener
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import msgspec

__all__ = ["Field", "Log", "LogFormat", "LogLevel", "traceback_fields"]

#: Characters of a field: a name in Kubernetes has at most 253.
FIELD_LENGTH = 256

#: The longest line, in bytes: with ``QUEUE_LENGTH`` it bounds the queue's memory.
LINE_LENGTH = 4096

#: Lines that wait to be written: at most 4 MiB, or about a second of a large cluster's reviews.
QUEUE_LENGTH = 1024

#: How long lines are gathered before they are written, in seconds: waking the thread for each line would cost a fifth
#: of a review's CPU time.
GATHER_TIME = 0.02

#: How long closing waits until all lines are written, in seconds: their reader may have stalled.
CLOSE_TIMEOUT = 2.0

_encode = msgspec.json.Encoder().encode

Field = str | int | float | bool | None


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The level of a line, the least severe first."""

    INFO = "info"  # normal operation
    WARNING = "warning"  # a problem that needs no immediate action
    ERROR = "error"  # a problem that needs immediate action


class Log:
    """Writes events to a file descriptor, in a separate thread while the log is open (it is a context manager).

    If the reader of the output stalls, lines wait in a queue. If the queue is full, they are dropped, and ``on_drop``
    is called for each, from any thread.
    """

    def __init__(
        self,
        descriptor: int,
        log_format: LogFormat,
        *,
        level: LogLevel = LogLevel.INFO,
        field_length: int = FIELD_LENGTH,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._encode = _json_line if log_format is LogFormat.JSON else _text_line
        levels = list(LogLevel)
        self._written_levels = frozenset(levels[levels.index(level) :])
        self._field_length = field_length
        self._clock = clock
        # SimpleQueue, because a put may interrupt a put: garbage collection may run anywhere, and asyncio logs in it
        queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._handler = _Handler(queue, self, on_drop)
        self._handler.setLevel(level.upper())
        self._listener = _Listener(queue, descriptor, on_drop)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        # stopped in a daemon thread: if the reader has stalled, stop() does not return before the process ends
        stop = Thread(target=self._listener.stop, daemon=True)
        stop.start()
        stop.join(CLOSE_TIMEOUT)

    def library_handler(self, *, on_exception: Callable[[], None] = lambda: None) -> logging.Handler:
        """Return the handler for records of libraries (uvicorn, asyncio); calls ``on_exception`` for each exception."""
        self._handler.on_exception = on_exception
        return self._handler

    def info(self, event: str, **fields: Field) -> None:
        """Log an event of normal operation."""
        self._log(LogLevel.INFO, event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Log a problem that needs no immediate action."""
        self._log(LogLevel.WARNING, event, fields)

    def error(self, event: str, **fields: Field) -> None:
        """Log a problem that needs immediate action."""
        self._log(LogLevel.ERROR, event, fields)

    def _log(self, level: LogLevel, event: str, fields: dict[str, Field]) -> None:
        if level in self._written_levels:
            self._handler.enqueue(self.line(level, event, fields))

    def line(self, level: LogLevel, event: str, fields: dict[str, Field]) -> bytes:
        """Return an event's line. It is encoded before it is queued, so that the queue's memory is bounded."""
        time = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": time, "level": level, "event": event, **fields}
        line = self._encode(record, self._field_length)
        if len(line) > LINE_LENGTH:
            # Shorter fields now. With at most 12 of them (4 long ones in the keeper) of at most six bytes per character
            # the line is within LINE_LENGTH; no caller logs more.
            line = self._encode(record, self._field_length // 8)
        return line


class _Handler(QueueHandler):
    """Puts lines, also those of libraries' log records, into the queue; drops them if it is full."""

    def __init__(self, queue: "SimpleQueue[bytes | None]", log: Log, on_drop: Callable[[], None]) -> None:
        super().__init__(queue)
        self._lines = queue
        self._log = log
        self._on_drop = on_drop
        self.on_exception: Callable[[], None] = lambda: None

    def prepare(self, record: logging.LogRecord) -> bytes:
        """Return a line with a record's message, and the traceback of its exception if it has one."""
        fields: dict[str, Field] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields |= traceback_fields(record.exc_info[0], record.exc_info[2])
            self.on_exception()
        level = LogLevel.ERROR if record.levelno >= logging.ERROR else LogLevel.WARNING
        return self._log.line(level, "library", fields)

    def enqueue(self, line: Any) -> None:
        """Put a line into the queue."""
        # SimpleQueue has no maximum size; if two threads pass this check at once, one more line does no harm
        if self._lines.qsize() < QUEUE_LENGTH:
            self._lines.put_nowait(line)
        else:
            self._on_drop()


class _Listener(QueueListener):
    """Writes the queue's lines, many in one system call."""

    def __init__(self, queue: "SimpleQueue[bytes | None]", descriptor: int, on_drop: Callable[[], None]) -> None:
        super().__init__(queue)
        self._lines = queue
        self._descriptor = descriptor
        self._on_drop = on_drop
        self._closing = Event()

    def stop(self) -> None:
        """Write the lines that wait, and end the thread."""
        self._closing.set()
        super().stop()

    def handle(self, record: Any) -> None:
        """Write a line, together with those that are queued within ``GATHER_TIME``."""
        self._closing.wait(GATHER_TIME)
        lines = [record]
        with suppress(Empty):
            while len(lines) < QUEUE_LENGTH:
                line: Any = self._lines.get_nowait()
                if line is None:  # the sentinel: put it back, because it ends QueueListener's loop
                    self.enqueue_sentinel()
                    break
                lines.append(line)
        try:
            self._write(b"".join(lines))
        except OSError:
            # the reader is gone; only the counter can tell
            for _ in lines:
                self._on_drop()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def traceback_fields(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Field]:
    """Return an exception's type and the lines of code in its traceback.

    Its message is left out: it may quote a pod's environment variables, or a key.
    """
    frames = traceback.extract_tb(trace)[-8:]
    return {
        "exception": kind.__qualname__,
        "trace": " > ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in frames),  # noqa: PTH119
    }


def _json_line(record: dict[str, Field], length: int) -> bytes:
    text = "".join([value for value in record.values() if isinstance(value, str)])
    # usually even all texts together are within the limit of one, and all characters are printable
    if len(text) > length or not text.isprintable():
        record = {key: _clean(value, length) for key, value in record.items()}
    return _encode(record) + b"\n"


def _text_line(record: dict[str, Field], length: int) -> bytes:
    """Return ``time level event key=value …``; a value with spaces or special characters is a JSON string."""
    head = [str(record[key]) for key in ("time", "level", "event")]
    rest = [f"{key}={_quoted(_clean(value, length))}" for key, value in list(record.items())[3:]]
    return (" ".join(head + rest) + "\n").encode()


def _quoted(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    bare = text[1:-1]
    return bare if isinstance(value, str) and bare == value and bare and not set(bare) & set(' ="') else text


def _clean(value: Field, length: int) -> Field:
    """Return text without control characters, which could forge output on a terminal, cut to ``length``."""
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
