"""The log: one line an event, JSON or text; no tenant's text can forge one, no stalled reader can block the caller."""

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

__all__ = ["Field", "Log", "LogFormat", "traceback_fields"]

#: A name in Kubernetes has at most 253 characters; anything longer was not written by an API server.
FIELD_LENGTH = 256

#: The longest line, in bytes: POSIX' least PIPE_BUF times eight, and what Linux writes to a pipe as one.
LINE_LENGTH = 4096

#: Lines that wait to be written, 4 MiB at most; a second of a large cluster's reviews.
QUEUE_LENGTH = 1024

#: How long lines are gathered before they are written, in seconds: waking the thread for each line would cost a fifth
#: of what a review takes.
GATHER_TIME = 0.02

#: How long closing waits for lines to be written, in seconds: their reader may have stalled.
CLOSE_TIMEOUT = 2.0

_encode = msgspec.json.Encoder().encode

Field = str | int | float | bool | None


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class Log:
    """Writes events to a file descriptor, in a thread of its own while the log is open (a context manager).

    What reads our output may stall. Then lines wait in a queue, and are dropped when it is full: ``dropped`` is called
    for each, from any thread.
    """

    def __init__(
        self,
        descriptor: int,
        log_format: LogFormat,
        *,
        field_length: int = FIELD_LENGTH,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._encode = _json_line if log_format is LogFormat.JSON else _text_line
        self._field_length = field_length
        self._clock = clock
        # puts from any thread, also from within another put: a garbage collection begins anywhere, and asyncio logs
        # what it finds
        queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._handler = _Handler(queue, self, on_drop)
        self._listener = _Listener(queue, descriptor, on_drop)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        # a reader that has stalled stalls the listener's thread, which ends with the process
        stop = Thread(target=self._listener.stop, daemon=True)
        stop.start()
        stop.join(CLOSE_TIMEOUT)

    def library_handler(self, *, on_exception: Callable[[], None] = lambda: None) -> logging.Handler:
        """Return the handler for records of libraries (uvicorn, asyncio); calls ``on_exception`` for each exception."""
        self._handler.on_exception = on_exception
        return self._handler

    def info(self, event: str, **fields: Field) -> None:
        """Log what happened as it should."""
        self._handler.enqueue(self.line("info", event, fields))

    def warning(self, event: str, **fields: Field) -> None:
        """Log what somebody should look at one day."""
        self._handler.enqueue(self.line("warning", event, fields))

    def error(self, event: str, **fields: Field) -> None:
        """Log what somebody should look at now."""
        self._handler.enqueue(self.line("error", event, fields))

    def line(self, level: str, event: str, fields: dict[str, Field]) -> bytes:
        """Return an event's line. It is made at once: what waits is bounded."""
        time = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": time, "level": level, "event": event, **fields}
        line = self._encode(record, self._field_length)
        if len(line) > LINE_LENGTH:
            # now it is short enough: a dozen fields, each character at most six bytes
            line = self._encode(record, self._field_length // 8)
        return line


class _Handler(QueueHandler):
    """Puts lines into the queue, those of libraries' records included; drops them when it is full."""

    def __init__(self, queue: "SimpleQueue[bytes | None]", log: Log, on_drop: Callable[[], None]) -> None:
        super().__init__(queue)
        self._lines = queue
        self._log = log
        self._on_drop = on_drop
        self.on_exception: Callable[[], None] = lambda: None

    def prepare(self, record: logging.LogRecord) -> bytes:
        """Return a line with the record's message, and where an exception came from."""
        fields: dict[str, Field] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields |= traceback_fields(record.exc_info[0], record.exc_info[2])
            self.on_exception()
        return self._log.line("error" if record.levelno >= logging.ERROR else "warning", "library", fields)

    def enqueue(self, record: Any) -> None:
        """Put a line into the queue."""
        # SimpleQueue has no bound of its own; a line too many now and then does no harm
        if self._lines.qsize() < QUEUE_LENGTH:
            self._lines.put_nowait(record)
        else:
            self._on_drop()


class _Listener(QueueListener):
    """Writes the queue's lines, many at once."""

    def __init__(self, queue: "SimpleQueue[bytes | None]", descriptor: int, on_drop: Callable[[], None]) -> None:
        super().__init__(queue)
        self._descriptor = descriptor
        self._on_drop = on_drop
        self._closing = Event()

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        self._closing.set()
        super().stop()

    def handle(self, record: Any) -> None:
        """Write a line, and those that follow within a moment."""
        self._closing.wait(GATHER_TIME)
        lines = [record]
        with suppress(Empty):
            while len(lines) < QUEUE_LENGTH:
                following: Any = self.dequeue(block=False)
                if following is None:  # nothing else follows: it is for our caller
                    self.enqueue_sentinel()
                    break
                lines.append(following)
        try:
            self._write(b"".join(lines))
        except OSError:
            # nobody reads any more; there is nowhere to say so but the counter
            for _ in lines:
                self._on_drop()

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


def traceback_fields(kind: type[BaseException], trace: TracebackType | None) -> dict[str, Field]:
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
