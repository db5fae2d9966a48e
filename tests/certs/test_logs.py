"""The log's lines."""

import json
import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs import logs
from certs.logs import LINE_LENGTH, QUEUE_LENGTH, Log, LogFormat, LogLevel, traceback_fields

NOW = datetime(2026, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Return a function that hands a log to another and returns what was written."""

    def write(act: Callable[[Log], None], form: LogFormat = LogFormat.JSON) -> str:
        descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            with Log(descriptor, form, clock=lambda: NOW) as log:
                act(log)
        finally:
            os.close(descriptor)
        return (tmp_path / "log").read_text()

    return write


def test_json_has_time_level_event_and_fields(written: Callable[..., str]) -> None:
    """One object a line."""
    line = written(lambda log: log.info("review", uid="a", milliseconds=0.5, profile=""))
    assert json.loads(line) == {
        "time": "2026-05-17T12:30:15.123Z",
        "level": "info",
        "event": "review",
        "uid": "a",
        "milliseconds": 0.5,
        "profile": "",
    }


def test_text_has_the_same_for_people(written: Callable[..., str]) -> None:
    """Plain words stay bare; anything else is quoted."""
    line = written(
        lambda log: log.warning("review", uid="a-b", pod="my pod", profile="", n=1, odd='a="b"'), LogFormat.TEXT
    )
    assert line == ('2026-05-17T12:30:15.123Z warning review uid=a-b pod="my pod" profile="" n=1 odd="a=\\"b\\""\n')


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\r\nb",
        "a\x1b[31mb",
        "a\u2028b",
        "a\u202eb",
        "a\x00b",
        "a\u200bb",
        "\ud800",
        "x" * 100_000,
        "\U0001f600" * 5000,
    ],
    ids=["newline", "crlf", "escape", "line separator", "direction", "nul", "invisible", "surrogate", "long", "wide"],
)
def test_no_text_forges_or_floods_a_line(written: Callable[..., str], form: LogFormat, text: str) -> None:
    """Whatever a field holds, one event is one printable line of bounded length."""
    output = written(lambda log: log.info("review", uid=text, namespace=text, pod=text, profile=text), form)
    assert output.count("\n") == 1
    assert output.endswith("\n")
    assert output[:-1].isprintable()
    assert len(output.encode()) <= LINE_LENGTH
    if form is LogFormat.JSON:
        assert len(json.loads(output)["pod"]) <= 256


def test_a_name_as_long_as_kubernetes_allows_is_whole(written: Callable[..., str]) -> None:
    """253 characters."""
    assert json.loads(written(lambda log: log.info("review", pod="p" * 253)))["pod"] == "p" * 253


def test_a_stalled_reader_stalls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines wait, then they are dropped and counted; nobody waits for the reader, at the end neither."""
    monkeypatch.setattr(logs, "CLOSE_TIMEOUT", 0.1)
    reader, writer = os.pipe()
    dropped: list[None] = []
    with os.fdopen(reader) as file:
        with Log(writer, LogFormat.JSON, on_drop=lambda: dropped.append(None)) as log:
            for number in range(3 * QUEUE_LENGTH):
                log.info("review", number=number, pod="p" * 200)
        stalled = len(dropped)
        assert 0 < stalled < 3 * QUEUE_LENGTH
        numbers = [json.loads(file.readline())["number"] for _ in range(3 * QUEUE_LENGTH - stalled)]
    os.close(writer)
    assert numbers == sorted(numbers)
    assert len(dropped) == stalled


def test_lines_that_wait_are_written_together() -> None:
    """In order, none cut, in few writes."""
    # of which each read returns what one write wrote
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reader, writer:
        log = Log(writer.fileno(), LogFormat.JSON)
        for number in range(150):
            log.info("review", number=number, pod="p" * 120)
        with log:
            pass
        writer.close()
        writes = list(iter(lambda: reader.recv(1 << 20), b""))
    assert [json.loads(line)["number"] for line in b"".join(writes).splitlines()] == list(range(150))
    assert len(writes) == 1


def test_a_reader_that_is_gone_is_no_error() -> None:
    """A closed pipe loses lines, and counts each of them."""
    reader, writer = os.pipe()
    os.close(reader)
    dropped: list[None] = []
    with Log(writer, LogFormat.JSON, on_drop=lambda: dropped.append(None)) as log:
        for _ in range(40):
            log.info("review")
    os.close(writer)
    assert len(dropped) == 40


def test_a_librarys_record_becomes_a_line(written: Callable[..., str]) -> None:
    """Uvicorn and asyncio log by the standard library; their exceptions keep their place, not their message."""
    failed: list[None] = []

    def act(log: Log) -> None:
        handler = log.library_handler(on_exception=lambda: failed.append(None))
        logger = logging.getLogger("test_logs")
        logger.addHandler(handler)
        try:
            int("SECRET=hunter2")
        except ValueError:
            logger.exception("went %s", "wrong")
            logger.warning("no exception")
        finally:
            logger.removeHandler(handler)

    line, _ = map(json.loads, written(act).splitlines())
    assert len(failed) == 1
    assert line["level"] == "error"
    assert line["message"] == "went wrong"
    assert line["exception"] == "ValueError"
    assert "test_logs.py:" in line["trace"]
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    ("level", "events"),
    [
        (LogLevel.INFO, ["a", "b", "library", "c", "library"]),
        (LogLevel.WARNING, ["b", "library", "c", "library"]),
        (LogLevel.ERROR, ["c", "library"]),
    ],
)
def test_a_level_leaves_out_what_is_less_severe(tmp_path: Path, level: LogLevel, events: list[str]) -> None:
    """Of libraries' records, too."""
    logger = logging.getLogger("test_levels")
    with (tmp_path / "log").open("w") as file, Log(file.fileno(), LogFormat.JSON, level=level) as log:
        handler = log.library_handler()
        logger.addHandler(handler)
        log.info("a")
        log.warning("b")
        logger.warning("of a library")
        log.error("c")
        logger.error("of a library")
        logger.removeHandler(handler)
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == events


def test_traceback_fields_say_which_lines_an_exception_came_through() -> None:
    """Outermost first."""

    def inner() -> None:
        raise KeyError("x")

    try:
        inner()
    except KeyError as error:
        found = traceback_fields(type(error), error.__traceback__)
    assert found["exception"] == "KeyError"
    assert str(found["trace"]).count("test_logs.py:") == 2


def test_a_line_from_within_another_stops_nobody() -> None:
    """A garbage collection begins anywhere, and asyncio logs what it finds: here, while a line is being dropped."""
    dropped: list[None] = []

    def drop() -> None:
        dropped.append(None)
        if len(dropped) == 1:
            log.warning("library", message="Task was destroyed but it is pending!")

    log = Log(0, LogFormat.JSON, on_drop=drop)
    for _ in range(QUEUE_LENGTH + 1):
        log.info("review")
    assert len(dropped) == 2
