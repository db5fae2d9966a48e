"""Lines that are sent to a store: nothing is lost, whatever fails; what comes again is counted."""

import collections
import contextlib
import gzip
import itertools
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from certs.ca import CA

from .certificates import client
from .log_files import append
from .program import SOURCE
from .sidecar import Sidecar, until
from .store import Request, Response, Store, context

#: A batch has at most so many records.
BATCH = 5000


class Ship(Protocol):
    """Starts a sidecar that sends to the store; a second one has the checkpoint of the first."""

    def __call__(self, to: str = "elasticsearch", url: str | None = None, **settings: str) -> Sidecar:
        """Run it with these settings; capital ones are variables as they are."""


@pytest.fixture
def store() -> Iterator[Store]:
    """Return a store without faults."""
    one = Store()
    yield one
    one.stop()


@pytest.fixture
def ship(tmp_path: Path, logs: Path, shipping_program: Path, store: Store) -> Iterator[Ship]:
    """Start sidecars, and end them after the test."""
    started: list[Sidecar] = []

    def start(to: str = "elasticsearch", url: str | None = None, **settings: str) -> Sidecar:
        path = "logs/_bulk" if to == "elasticsearch" else "v1/logs"
        environment = {name if name.isupper() else f"PILLION_{name.upper()}": text for name, text in settings.items()}
        environment |= {"PILLION_TO": to, "PILLION_URL": url or f"http://127.0.0.1:{store.port}/{path}"}
        sidecar = Sidecar(tmp_path, shipping_program, [f"{logs}/*.log"], environment)
        started.append(sidecar)
        return sidecar

    yield start
    for sidecar in started:
        sidecar.kill()


def numbered(first: int, count: int) -> list[str]:
    """Return so many lines, each with its number."""
    return [f"line {number} {'x' * 80}" for number in range(first, first + count)]


def count(store: Store, lines: list[str]) -> tuple[int, int, int]:
    """Return how many of the lines are lost, repeated and, at their first coming, out of order in the store."""
    found = store.lines
    times = collections.Counter(found)
    first = list(dict.fromkeys(found))
    order = {line: number for number, line in enumerate(lines)}
    reordered = sum(order[one] > order[two] for one, two in itertools.pairwise(first))
    return sum(line not in times for line in lines), sum(times.values()) - len(times), reordered


def status(program: Path, sidecar: Sidecar) -> str:
    """Return the last line of what `pillion-tail status` says."""
    words = [str(program), "status", "--state", str(sidecar.state)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()[-1]


both = pytest.mark.parametrize("to", ["elasticsearch", "otlp"])
GZIP = {"content-encoding": "gzip"}


class TestRecords:
    """What each record has."""

    POD = {"POD_NAME": "shop-1", "POD_UID": "u-1", "POD_NAMESPACE": "shop", "NODE_NAME": "n1", "CONTAINER_NAME": "app"}  # noqa: RUF012

    def test_bulk(self, ship: Ship, store: Store, logs: Path) -> None:
        """The names of ECS, in a request that Elasticsearch takes."""
        append(logs / "app.log", "one", "two")
        ship(label="team=a,tier.name=b", **self.POD).end()
        (request,) = store.requests
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["content-encoding"] == "gzip"
        assert request.path.startswith("/logs/_bulk?filter_path=errors,")
        one, two = request.records
        assert datetime.fromisoformat(one.pop("@timestamp")[:26]).replace(tzinfo=UTC) <= datetime.now(UTC)
        assert one == {
            "message": "one",
            "log.file.path": str(logs / "app.log"),
            "log.offset": 0,
            "kubernetes.pod.name": "shop-1",
            "kubernetes.pod.uid": "u-1",
            "kubernetes.namespace": "shop",
            "kubernetes.node.name": "n1",
            "container.name": "app",
            "labels.team": "a",
            "labels.tier_name": "b",
        }
        assert (two["message"], two["log.offset"]) == ("two", 4)

    def test_otlp(self, ship: Ship, store: Store, logs: Path) -> None:
        """The names of OpenTelemetry's conventions."""
        append(logs / "app.log", '{"time": "2020-01-01T00:00:00Z"}')
        ship("otlp", label="team=a", own_time="true", **self.POD).end()
        (request,) = store.requests
        assert request.headers["content-type"] == "application/json"
        (record,) = request.records
        assert record["timeUnixNano"] == str(1577836800 * 10**9)
        assert record["attributes"] == {
            "log.file.path": str(logs / "app.log"),
            "log.file.record_offset": "0",
            "k8s.pod.name": "shop-1",
            "k8s.pod.uid": "u-1",
            "k8s.namespace.name": "shop",
            "k8s.node.name": "n1",
            "k8s.container.name": "app",
            "team": "a",
        }

    @both
    def test_any_bytes(self, ship: Ship, store: Store, logs: Path, to: str) -> None:
        """What is no text is replaced, and a line longer than 64 KiB comes in parts."""
        (logs / "app.log").write_bytes(b'caf\xe9 "\\\x01\n\n' + b"y" * 200_000 + b"\nno newline")
        ship(to).end()
        assert store.lines[:2] == ['caf\N{REPLACEMENT CHARACTER} "\\\x01', ""]
        assert store.lines[-1] == "no newline"
        assert "".join(store.lines[2:-1]) == "y" * 200_000
        assert max(map(len, store.lines)) <= 65536

    def test_one_stream(self, ship: Ship, store: Store, logs: Path) -> None:
        """A line that comes while nothing else does is there within seconds, in one request."""
        sidecar = ship()
        append(logs / "app.log", "one", "two")
        until(lambda: store.lines == ["one", "two"], "both lines")
        append(logs / "app.log", "three")
        until(lambda: store.lines == ["one", "two", "three"], "the third")
        assert len(store.requests) == 2
        assert sidecar.printed == b""

    @both
    def test_one_connection(self, ship: Ship, store: Store, logs: Path, to: str) -> None:
        """It is used again and again: each new one would have a handshake."""
        ship(to)
        for number in range(3):
            append(logs / "app.log", f"{number}")
            until(lambda number=number: len(store.lines) > number, "the line")  # type: ignore[misc]
        assert store.connections == 1


class TestLines:
    """`--record-start`: records of several lines."""

    TRACE = ("1 error", "  at a", "  at b", "2 fine", "3 error", "  at c")
    JOINED = ("1 error\n  at a\n  at b", "2 fine", "3 error\n  at c")

    @both
    def test_joined(self, ship: Ship, store: Store, logs: Path, to: str) -> None:
        """What does not match belongs to what is before it, also when it comes later."""
        sidecar = ship(to, record_start="^[0-9]")
        for line in self.TRACE:
            append(logs / "app.log", line)
            sidecar.looks(1)
        until(lambda: store.lines == list(self.JOINED), "the last, after a second")
        sidecar.end()
        assert store.lines == list(self.JOINED)

    def test_half_a_record_is_read_again(self, ship: Ship, store: Store, logs: Path) -> None:
        """It is in no checkpoint: a sidecar that is killed leaves it to the next one."""
        append(logs / "app.log", *self.TRACE[:5])
        sidecar = ship(record_start="^[0-9]")
        sidecar.looks()
        sidecar.kill()
        append(logs / "app.log", *self.TRACE[5:])
        ship(record_start="^[0-9]").end()
        assert list(dict.fromkeys(store.lines)) == list(self.JOINED)

    def test_truncated_while_it_may_go_on(self, ship: Ship, store: Store, logs: Path) -> None:
        """What was seen of it is not lost, though no copy is there."""
        append(logs / "app.log", *self.TRACE[:3])
        sidecar = ship(record_start="^[0-9]")
        sidecar.looks()
        (logs / "app.log").write_text("9 new\n")
        sidecar.end()
        assert store.lines == [self.JOINED[0], "9 new"]

    def test_one_that_never_ends(self, ship: Ship, store: Store, logs: Path) -> None:
        """Its lines come faster than it would be whole: it is not waited for longer than for ten seconds."""
        ship(record_start="^never")
        for _ in range(200):
            if store.lines:
                break
            append(logs / "app.log", "more")
            time.sleep(0.1)
        assert store.lines

    def test_printed_as_json(self, shipping_program: Path, logs: Path, tmp_path: Path) -> None:
        """And on standard output."""
        append(logs / "app.log", *self.TRACE)
        settings = {"PILLION_FORMAT": "json", "PILLION_RECORD_START": "^[0-9]"}
        sidecar = Sidecar(tmp_path, shipping_program, [f"{logs}/app.log"], settings)
        text = sidecar.end().decode()
        assert re.findall(r'"line":"(.*)"', text) == [one.replace("\n", "\\n") for one in self.JOINED]

    def test_bounds(self, ship: Ship, store: Store, logs: Path) -> None:
        """A pattern that never matches joins 500 lines at most, and 64 KiB at most."""
        append(logs / "app.log", *(str(number) for number in range(1200)))
        append(logs / "wide.log", *("w" * 1000 for _ in range(100)))
        ship(record_start="^never").end()
        found = sorted(len(one.splitlines()) for one in store.lines if one[0] != "w")
        assert found == [200, 500, 500]
        assert sum(one.count("w") for one in store.lines) == 100_000
        assert max(map(len, store.lines)) <= 65536


class TestFailures:
    """429, 5xx, cut connections, an answer that is none: sent again, and said once."""

    @both
    @pytest.mark.parametrize(
        ("response", "told"),
        [
            (Response(429, {"Retry-After": "0"}), "429"),
            (Response(503, body=b"<b>away\n</b>"), "503 Service Unavailable: <b>away?</b>"),
            (Response(502), "502"),
            (Response(504), "504"),
            (Response(500, body=b"broken"), "500 Internal Server Error: broken"),
            (Response(401), "401"),
            (Response(302, {"Location": "http://127.0.0.1:1/"}), "302"),
            (Response(cut=True), "can't send"),
            (Response(body=b"<html>"), "can't be read"),
            (Response(headers={"content-length": "500"}, body=b"{", cut=False), "can't"),
            (Response(307, {"Location": "/elsewhere"}), "307"),
            (Response(503, GZIP, body=gzip.compress(b"away")), "503 Service Unavailable: away"),
            (Response(503, GZIP, body=b"away"), "503"),
            (Response(raw=b"\x16\x03\x01\x00garbage\r\n\r\n"), "can't send"),
            (Response(raw=b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000), "can't send"),
            (Response(body=b'{"a": [', endless=b"1,", pause=0.1), "can't be read"),
            (Response(503, body=b"away", endless=b"."), "503 Service Unavailable: away"),
        ],
        ids=[
            *("429", "503", "502", "504", "500", "401", "302", "cut", "no-json", "cut-answer"),
            *("307", "gzip", "no-gzip", "no-http", "many-headers", "slow-and-endless", "endless-error"),
        ],
    )
    def test_it_is_sent_again(  # noqa: PLR0917 - fixtures and parameters
        self, ship: Ship, store: Store, logs: Path, to: str, response: Response, told: str
    ) -> None:
        """Once, after a pause, in order, and standard error says why and when it was over."""
        store.answers(response)
        append(logs / "app.log", *numbered(0, 10))
        sidecar = ship(to, timeout="2")
        sidecar.complains("takes records again")
        assert told in sidecar.complains("can't send to")
        sidecar.end()
        assert count(store, numbered(0, 10)) == (0, 0, 0)
        assert len(sidecar.errors) == 2

    def test_retry_after(self, ship: Ship, store: Store, logs: Path) -> None:
        """The store says when."""
        store.answers(Response(429, {"Retry-After": "3"}))
        append(logs / "app.log", "one")
        sidecar = ship()
        sidecar.complains("takes records again")
        first, second = store.requests
        assert second.at - first.at >= 3

    @both
    def test_a_compressed_answer(self, ship: Ship, store: Store, logs: Path, to: str) -> None:
        """Proxies compress what they like."""
        body = gzip.compress(b'{"errors": false}')
        store.answers(Response(headers=GZIP, body=body, stores=lambda _number, _record: True))
        append(logs / "app.log", "one")
        sidecar = ship(to)
        sidecar.end()
        assert (len(store.requests), store.lines, sidecar.errors) == (1, ["one"], [])

    @both
    @pytest.mark.parametrize(
        ("body", "endless"),
        [
            (b'{"errors": true, "items": [', b'{"create": {"status": 429}},' * 1000),
            (b'{"errors": true, "items": [{"create": {"status": 429, "error": {"type": "', b"x" * 65536),
            (b'{"partialSuccess": {"errorMessage": "', b"x" * 65536),
        ],
        ids=["items", "a reason", "a message"],
    )
    def test_an_answer_without_end(  # noqa: PLR0917 - fixtures and parameters
        self, ship: Ship, store: Store, logs: Path, to: str, body: bytes, endless: bytes
    ) -> None:
        """It is read to a limit, and takes a part of the memory that the profile allows."""
        store.answers(Response(body=body, endless=endless))
        append(logs / "app.log", *numbered(0, 10))
        sidecar = ship(to)
        until(lambda: store.lines, "the lines")
        assert sidecar.peak() < 32 << 10
        sidecar.end()
        assert count(store, numbered(0, 10)) == (0, 0, 0)

    def test_a_node_that_is_gone(self, ship: Ship, logs: Path) -> None:
        """It takes no connection and refuses none: that is said long before a request would have taken too long."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as busy, contextlib.ExitStack() as stack:
            for _ in range(4):  # what fills the queue of connections that nobody takes
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(busy.getsockname())
            append(logs / "app.log", "one")
            sidecar = ship("elasticsearch", f"http://127.0.0.1:{busy.getsockname()[1]}/_bulk", timeout="3600")
            assert "timeout" in sidecar.complains("can't send to")

    def test_slow(self, ship: Ship, store: Store, logs: Path) -> None:
        """A request that takes too long has failed; what was stored all the same comes again."""
        store.answers(Response(seconds=3, body={"errors": False}, stores=lambda _number, _record: True))
        append(logs / "app.log", *numbered(0, 10))
        sidecar = ship(timeout="1")
        sidecar.complains("takes records again")
        sidecar.end()
        assert count(store, numbered(0, 10)) == (0, 10, 0)

    @pytest.mark.parametrize(("ids", "stored"), [("false", 20), ("true", 10)])
    def test_ids(self, ship: Ship, store: Store, logs: Path, ids: str, stored: int) -> None:
        """An acknowledgement that is lost repeats a batch; with ids it has those of the first time."""
        store.answers(Response(cut=True, stores=lambda _number, _record: True))
        append(logs / "app.log", *numbered(0, 10))
        ship(ids=ids, POD_UID="u").end()
        assert len({record.get("_id", number) for number, record in enumerate(store.records)}) == stored

    def test_it_keeps_the_lines_of_removed_files(self, ship: Ship, store: Store, logs: Path) -> None:
        """While the store is away files are looked at all the same, and held."""
        store.stop()
        sidecar = ship()
        lines = numbered(0, 300)
        for number in range(3):
            append(logs / "app.log", *lines[number * 100 : number * 100 + 100])
            until(lambda: str(logs / "app.log") in sidecar.open_files, "the file")
            (logs / "app.log").unlink()
        store.start()
        sidecar.end()
        assert count(store, lines) == (0, 0, 0)

    def test_files_that_come_and_go(self, ship: Ship, store: Store, logs: Path) -> None:
        """While the store is away they leave nothing behind in memory, and the checkpoint is right when it is back."""
        store.stop()
        append(logs / "app.log", "one")
        sidecar = ship()
        sidecar.complains("can't send to")
        for round_ in range(20):
            names = [logs / f"app.log.{round_}{number:03}" for number in range(500)]
            for name in names:
                name.touch()
            sidecar.looks(1)
            for name in names:
                name.unlink()
            sidecar.looks()
        assert sidecar.heap() < 3 << 10
        store.start()
        until(lambda: store.lines, "the line")
        sidecar.looks()
        sidecar.kill()
        append(logs / "app.log", "two")
        ship().end()
        assert store.lines == ["one", "two"]


class TestRejected:
    """A record that the store does not want is counted, shown and said once a reason; the others arrive."""

    @staticmethod
    def items(request: Request) -> Response | None:
        """Reject each tenth record, and be too busy for each seventh the first time."""
        if not any(re.search(r"line \d*[07] ", record["message"]) for record in request.records):
            return None
        busy = len(request.records) == 100
        statuses = []
        for record in request.records:
            number = int(record["message"].split()[1])
            statuses.append(400 if number % 10 == 0 else 429 if busy and number % 10 == 7 else 201)
        errors = {400: {"type": "mapper_parsing_exception", "reason": "no\x1b way"}, 429: {"type": "busy"}}
        body = {
            "errors": True,
            "items": [
                {"create": {"status": code, **({"error": errors[code]} if code in errors else {})}} for code in statuses
            ],
        }
        return Response(body=body, stores=lambda number, _record: statuses[number] == 201)

    def test_items(self, ship: Ship, store: Store, logs: Path, shipping_program: Path) -> None:
        """Of a batch only what the store was too busy for is sent again."""
        store.decide = self.items
        lines = numbered(0, 100)
        append(logs / "app.log", *lines)
        sidecar = ship()
        until(lambda: len(store.lines) == 90, "what is not rejected")
        sidecar.end()
        wanted = [line for line in lines if int(line.split()[1]) % 10]
        assert sorted(store.lines) == sorted(wanted)
        assert [len(request.records) for request in store.requests] == [100, 10]
        assert "400: mapper_parsing_exception: no? way" in sidecar.complains("rejected")
        assert status(shipping_program, sidecar).endswith(
            "0 bytes behind, 0 bytes dropped, 10 records rejected by the store"
        )

    @pytest.mark.parametrize("items", [0, 1, 100_000])
    def test_an_answer_for_other_records(self, ship: Ship, store: Store, logs: Path, items: int) -> None:
        """Nobody knows which are stored: all are sent again."""
        store.answers(Response(body={"errors": True, "items": [{"create": {"status": 201}}] * items}))
        append(logs / "app.log", *numbered(0, 10))
        sidecar = ship()
        assert f"it answered for {items} of 10 records" in sidecar.complains("can't send to")
        sidecar.end()
        assert count(store, numbered(0, 10)) == (0, 0, 0)

    def test_the_count_survives(self, ship: Ship, store: Store, logs: Path, shipping_program: Path) -> None:
        """A restart goes on counting."""
        for _ in range(2):
            store.answers(Response(body={"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old"}}))
            append(logs / "app.log", "one")
            sidecar = ship("otlp")
            sidecar.end()
        assert status(shipping_program, sidecar).endswith(", 2 records rejected by the store")
        assert "(too old)" in sidecar.errors[0]
        assert len(store.requests) == 2

    @both
    @pytest.mark.parametrize("code", [400, 413])
    @pytest.mark.parametrize("accepted", [["first"], []], ids=["later", "at once"])
    def test_a_request(  # noqa: PLR0917 - fixtures and parameters
        self, ship: Ship, store: Store, logs: Path, to: str, code: int, accepted: list[str]
    ) -> None:
        """A request that is refused is halved until the record to blame is alone, also if none was accepted before."""
        bad = numbered(0, 100)[42]

        def decide(request: Request) -> Response | None:
            texts = [record.get("message") or record["body"]["stringValue"] for record in request.records]
            return Response(code, body=b"bad") if bad in texts else None

        store.decide = decide
        append(logs / "app.log", *accepted)
        sidecar = ship(to)
        until(lambda: store.lines == accepted, "the first")
        append(logs / "app.log", *numbered(0, 100))
        sidecar.end()
        assert sorted(store.lines) == sorted([*accepted, *(line for line in numbered(0, 100) if line != bad)])
        assert f"{code}" in sidecar.complains("rejected")

    def test_many_in_a_row(self, ship: Ship, store: Store, logs: Path, shipping_program: Path) -> None:
        """They don't keep others of the same batch: as these are accepted, it is not the wrong store."""
        bad, good = numbered(0, 30), numbered(30, 70)
        store.decide = lambda request: (
            Response(400) if any(record["message"] in bad for record in request.records) else None
        )
        append(logs / "app.log", *bad, *good)
        sidecar = ship()
        sidecar.end()
        assert count(store, good)[:2] == (0, 0)
        assert status(shipping_program, sidecar).endswith(", 30 records rejected by the store")

    def test_what_a_collector_gets_rid_of_nowhere(self, ship: Ship, store: Store, logs: Path) -> None:
        """It answers 500, as for a store that is broken: smaller ones are tried, and no record is rejected."""
        store.decide = lambda request: Response(500, body=b"too large") if len(request.records) > 30 else None
        lines = numbered(0, 100)
        append(logs / "app.log", *lines)
        sidecar = ship("otlp")
        until(lambda: len(store.lines) == 100, "all lines")
        sidecar.end()
        assert count(store, lines)[:2] == (0, 0)
        assert not [line for line in sidecar.errors if "rejected" in line]

    @both
    @pytest.mark.parametrize("code", [400, 413])
    @pytest.mark.parametrize("accepted", [False, True])
    def test_all_requests(  # noqa: PLR0917 - fixtures and parameters
        self, ship: Ship, store: Store, logs: Path, to: str, code: int, accepted: bool
    ) -> None:
        """A store that refuses everything is the wrong one: the lines wait, but for ten after it took some."""
        lines = numbered(0, 100)
        append(logs / "app.log", "first")
        store.decide = lambda _request: None if accepted and not store.records else Response(code, body=b"not here")
        sidecar = ship(to)
        if accepted:
            until(lambda: store.lines, "the first")
        append(logs / "app.log", *lines)
        assert f"{code}" in sidecar.complains("can't send")
        store.decide = lambda _request: None
        sidecar.end()
        assert sorted(store.lines) == sorted(["first", *(lines[10:] if accepted else lines)])


class TestCredentials:
    """From variables or files; what is missing is named, and waited for."""

    def header(self, store: Store) -> str:
        """Return what the last request said."""
        return store.requests[-1].headers.get("authorization", "")

    @pytest.mark.parametrize(
        ("settings", "header"),
        [
            ({"credentials": "basic", "username": "u", "password": "p"}, "Basic dTpw"),
            ({"credentials": "bearer", "token": "t"}, "Bearer t"),
            ({"credentials": "api-key", "api_key": "k"}, "ApiKey k"),
            ({}, ""),
        ],
        ids=["basic", "bearer", "api-key", "none"],
    )
    def test_variables(self, ship: Ship, store: Store, logs: Path, settings: dict[str, str], header: str) -> None:
        """Each scheme."""
        append(logs / "app.log", "one")
        ship("elasticsearch", None, **settings).end()
        assert self.header(store) == header

    @pytest.mark.parametrize("credentials", ["bearer", "api-key"])
    def test_without_a_variable(self, ship: Ship, store: Store, logs: Path, credentials: str) -> None:
        """It is named; the sidecar waits, and sends nothing."""
        append(logs / "app.log", "one")
        sidecar = ship(credentials=credentials)
        name = "PILLION_TOKEN" if credentials == "bearer" else "PILLION_API_KEY"
        assert f"neither {name} nor {name}_FILE is set" in sidecar.complains("no credentials")
        sidecar.looks()
        assert not store.requests

    def test_in_the_address(self, ship: Ship, store: Store, logs: Path) -> None:
        """They are sent, and said nowhere."""
        store.stop()
        append(logs / "app.log", "one")
        sidecar = ship(url=f"http://shop:sesame@127.0.0.1:{store.port}/_bulk?key=sesame")
        sidecar.complains("can't send to")
        store.start()
        sidecar.end()
        assert self.header(store) == "Basic c2hvcDpzZXNhbWU="
        assert "sesame" not in "".join(sidecar.errors)

    def test_a_file_that_comes_and_changes(self, ship: Ship, store: Store, logs: Path, tmp_path: Path) -> None:
        """It is read for each request: a token may be renewed."""
        secret = tmp_path / "token"
        append(logs / "app.log", "one")
        sidecar = ship(credentials="bearer", token_file=str(secret))
        assert str(secret) in sidecar.complains("can't read")
        for token in ("first", "second"):
            (tmp_path / "new").write_text(f"{token}\n")
            (tmp_path / "new").rename(secret)
            append(logs / "app.log", token)
            until(lambda token=token: token in store.lines, "the line")  # type: ignore[misc]
            assert self.header(store) == f"Bearer {token}"
        assert store.lines == ["one", "first", "second"]

    def test_wrong_ones(self, ship: Ship, store: Store, logs: Path, tmp_path: Path) -> None:
        """The store's answer is said, and the lines wait in their files until they are right."""
        secret = tmp_path / "key"
        secret.write_text("wrong")
        right = "ApiKey right"
        store.decide = lambda request: None if request.headers["authorization"] == right else Response(401, body=b"no")
        append(logs / "app.log", *numbered(0, 10))
        sidecar = ship(credentials="api-key", api_key_file=str(secret))
        assert "401 Unauthorized: no" in sidecar.complains("can't send")
        secret.write_text("right")
        sidecar.complains("takes records again")
        assert count(store, numbered(0, 10)) == (0, 0, 0)


class TestTls:
    """An authority of one's own, and a client's certificate."""

    @pytest.fixture
    def authority(self) -> CA:
        """Return a CA."""
        return CA.create(datetime.now(UTC))

    @pytest.fixture
    def files(self, tmp_path: Path, authority: CA) -> dict[str, str]:
        """Its certificate in a file, as a setting."""
        (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
        return {"ca": str(tmp_path / "ca.pem")}

    def store(
        self,
        tmp_path: Path,
        authority: CA,
        clients: CA | None = None,
        name: str = "localhost",
        age: timedelta = timedelta(),
    ) -> Store:
        """Return a store with a certificate of this age."""
        leaf = authority.issue((name,), datetime.now(UTC) - age)
        wanted = clients.certificate_pem if clients else None
        return Store(context(tmp_path, leaf.certificate_pem, leaf.key_pem, wanted))

    def test_our_ca(self, ship: Ship, logs: Path, tmp_path: Path, authority: CA, files: dict[str, str]) -> None:
        """Trusted by its file."""
        store = self.store(tmp_path, authority)
        append(logs / "app.log", "one")
        ship("elasticsearch", f"https://localhost:{store.port}/_bulk", **files).end()
        assert store.lines == ["one"]
        store.stop()

    @pytest.mark.parametrize("fault", ["another CA", "another name", "expired", "no CA", "an empty file", "garbage"])
    def test_whom_it_does_not_trust(  # noqa: PLR0917 - fixtures and parameters
        self, ship: Ship, logs: Path, tmp_path: Path, authority: CA, files: dict[str, str], fault: str
    ) -> None:
        """Nothing is sent, and it says so; when the file is right, it is read again."""
        ca = Path(files["ca"])
        right = ca.read_bytes()
        name = "elsewhere" if fault == "another name" else "localhost"
        store = self.store(tmp_path, authority, name=name, age=timedelta(days=1000 * (fault == "expired")))
        if fault == "another CA":
            ca.write_bytes(CA.create(datetime.now(UTC)).certificate_pem)
        elif fault == "no CA":
            ca.unlink()
        elif fault == "an empty file":
            ca.write_bytes(b"")
        elif fault == "garbage":
            ca.write_bytes(b"\xff\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        append(logs / "app.log", "one")
        sidecar = ship("elasticsearch", f"https://localhost:{store.port}/_bulk", **files)
        sidecar.complains("can't send to")
        assert store.lines == []
        if fault not in {"another name", "expired"}:
            ca.write_bytes(right)
            until(lambda: store.lines == ["one"], "the line")
        store.stop()

    def test_a_client_certificate_without_its_key(
        self, ship: Ship, logs: Path, tmp_path: Path, authority: CA, files: dict[str, str]
    ) -> None:
        """Nothing is sent, and it says so."""
        store = self.store(tmp_path, authority)
        (tmp_path / "client.pem").write_bytes(client(authority)[0])
        append(logs / "app.log", "one")
        url = f"https://localhost:{store.port}/_bulk"
        sidecar = ship("elasticsearch", url, **files, client_certificate=str(tmp_path / "client.pem"))
        sidecar.complains("needs a key")
        assert store.lines == []
        store.stop()

    def test_a_client_certificate(
        self, ship: Ship, logs: Path, tmp_path: Path, authority: CA, files: dict[str, str]
    ) -> None:
        """Without one the store refuses us; a key that is another's is said and does not end the sidecar."""
        store = self.store(tmp_path, authority, clients=authority)
        certificate, key = client(authority)
        paths = {"client_certificate": tmp_path / "client.pem", "client_key": tmp_path / "client.key"}
        paths["client_certificate"].write_bytes(certificate)
        paths["client_key"].write_bytes(client(authority)[1])
        append(logs / "app.log", "one")
        sidecar = ship(
            "elasticsearch",
            f"https://localhost:{store.port}/_bulk",
            **files,
            **{name: str(path) for name, path in paths.items()},
        )
        sidecar.complains("are no pair")
        paths["client_key"].write_bytes(key)
        until(lambda: store.lines == ["one"], "the line")
        assert store.requests[0].client["subject"][0][0] == ("commonName", "shop")
        store.stop()


class TestCrashes:
    """Nothing is lost, whenever it is killed: the checkpoint is written after the acknowledgement."""

    @both
    def test_killed_before_the_answer(self, ship: Ship, store: Store, logs: Path, to: str) -> None:
        """What was sent and not acknowledged is sent again."""
        store.answers(Response(503, seconds=1.5))
        lines = numbered(0, 100)
        append(logs / "app.log", *lines)
        sidecar = ship(to)
        until(lambda: store.requests, "a request")
        sidecar.looks()
        sidecar.kill()
        ship(to).end()
        assert count(store, lines) == (0, 0, 0)

    def test_killed_again_and_again(self, ship: Ship, store: Store, logs: Path) -> None:
        """In the middle of batches: each time at most the one that is on its way comes again."""
        kills, lines = 6, numbered(0, 30_000)
        append(logs / "app.log", *lines)
        for number in range(kills):
            sidecar = ship()
            until(lambda number=number: len(store.requests) > number + 1, "a request")  # type: ignore[misc]
            sidecar.kill()
        ship().end()
        lost, repeated, reordered = count(store, lines)
        assert (lost, reordered) == (0, 0)
        assert repeated <= kills * BATCH

    def test_rotated_while_it_was_down(self, ship: Ship, store: Store, logs: Path) -> None:
        """As for the plain program."""
        append(logs / "app.log", *numbered(0, 100))
        sidecar = ship()
        until(lambda: len(store.lines) == 100, "the first lines")
        sidecar.looks()
        sidecar.kill()
        append(logs / "app.log", *numbered(100, 100))
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", *numbered(200, 100))
        ship().end()
        assert count(store, numbered(0, 300)) == (0, 0, 0)


class TestEnd:
    """SIGTERM: what is there is sent, however long the store is away, until the kubelet kills it."""

    @pytest.mark.parametrize("native", ["true", "false"])
    def test_a_backlog(self, ship: Ship, store: Store, logs: Path, native: str) -> None:
        """All of it, and then it ends."""
        lines = numbered(0, 20_000)
        append(logs / "app.log", *lines)
        ship(native=native).end()
        assert count(store, lines) == (0, 0, 0)

    def test_the_store_is_away_and_comes_back(self, ship: Ship, store: Store, logs: Path) -> None:
        """It is found within a second, however long the pauses were before."""
        store.stop()
        lines = numbered(0, 20_000)
        append(logs / "app.log", *lines)
        sidecar = ship(native="true")
        sidecar.complains("can't send to")
        sidecar.process.send_signal(signal.SIGTERM)
        time.sleep(2)  # away for some of the grace period
        assert sidecar.process.poll() is None
        store.start()
        assert sidecar.process.wait(20) == 0
        assert count(store, lines) == (0, 0, 0)

    def test_a_request_that_hangs(self, ship: Ship, store: Store, logs: Path) -> None:
        """The store's node is gone, which no connection says: another one is tried, long before it has failed."""
        store.answers(Response(seconds=600))
        append(logs / "app.log", "one")
        sidecar = ship(timeout="3600")
        until(lambda: store.requests, "a request")
        sidecar.end()
        assert store.lines == ["one"]

    @pytest.mark.parametrize("asked", ["300", "18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_in_the_middle_of_a_long_pause(self, ship: Ship, store: Store, logs: Path, asked: str) -> None:
        """Whatever the store asked for before."""
        store.answers(Response(503, {"Retry-After": asked}))
        append(logs / "app.log", "one")
        sidecar = ship()
        sidecar.complains("503")
        sidecar.end(5)
        assert store.lines == ["one"]

    def test_while_the_application_goes_on(self, ship: Ship, store: Store, logs: Path) -> None:
        """A native sidecar that is replaced: its successor goes on where it ended."""
        stop = threading.Event()
        written: list[str] = []

        def write() -> None:
            with (logs / "app.log").open("a", buffering=1) as file:
                while not stop.wait(0.001):
                    written.append(f"line {len(written)}")
                    file.write(written[-1] + "\n")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(2):
                sidecar = ship(native="true")
                seen = len(store.lines)
                until(lambda seen=seen: len(store.lines) > seen, "lines")  # type: ignore[misc]
                sidecar.end()
        finally:
            stop.set()
            writer.join()
        ship(native="true").end()
        assert count(store, written) == (0, 0, 0)


def test_memory(ship: Ship, store: Store, logs: Path) -> None:
    """A backlog of 200,000 lines over a store that fails each third time takes less than 6 MiB."""
    tries = iter(range(10**6))
    store.decide = lambda _request: Response(503) if next(tries) % 20 == 3 else None
    append(logs / "app.log", *numbered(0, 200_000))
    sidecar = ship()
    until(lambda: len(store.lines) == 200_000, "all lines", 120)
    assert sidecar.peak() < 6 << 10
    sidecar.end()
    assert count(store, numbered(0, 200_000)) == (0, 0, 0)


class TestOptions:
    """Its settings."""

    def test_the_readme(self, shipping_program: Path) -> None:
        """Its tables have every option of --help, with the same default and words."""
        told = subprocess.run([shipping_program, "--help"], capture_output=True, text=True, check=True).stdout
        rows = (SOURCE / "README.md").read_text()
        options: list[Any] = re.findall(r"^  (--\S+)(?: (\S+))? {2,}(.*) \(default: (.*)\)$", told, re.MULTILINE)
        assert len(options) == 23
        for name, value, what, default in options:
            option = f"{name} {value}".strip().replace("|", "\\|")
            assert f"| `{option}` | {default} | {what} |" in rows

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"to": "elastic"}, 'PILLION_TO can\'t be "elastic"'),
            ({"record_start": "("}, "PILLION_RECORD_START can't be"),
            ({"label": "team"}, "PILLION_LABEL can't be"),
            ({"label": "team=a,=b"}, "PILLION_LABEL can't be"),
            ({"record_start": "(?:a{99}){99}"}, "PILLION_RECORD_START can't be"),
        ],
    )
    def test_what_cant_be_used(self, ship: Ship, settings: dict[str, str], told: str) -> None:
        """It is said, and does not end it."""
        words = {"to": "elasticsearch", **settings}
        sidecar = ship(**words)
        sidecar.complains(told)
        sidecar.looks()

    def test_without_an_address(self, ship: Ship, logs: Path) -> None:
        """Lines wait."""
        append(logs / "app.log", "one")
        ship(url="es:9200").complains("PILLION_URL has to begin with")

    def test_a_program_without_stores(self, program: Path, logs: Path, tmp_path: Path) -> None:
        """It says that it can't, and prints."""
        append(logs / "app.log", "one")
        sidecar = Sidecar(tmp_path, program, [f"{logs}/app.log"], {"PILLION_TO": "otlp"})
        sidecar.complains("built without stores: PILLION_TO has no effect")
        sidecar.prints(["one"])
        sidecar.kill()
