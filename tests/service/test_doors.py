"""Requests that are answered at once, without ASGI: the same answers, and nothing is left behind."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http import httptools_impl

from tests.service.serving import Running, eventually, make_review
from tests.service.test_limits import BODY, HEAD, REQUEST, exceeded, read_all, read_response
from webhook.service.app import Answers, Reviews

MIB = 1 << 20


def parts(body: bytes, size: int = 1000) -> Any:
    """Yield the body in parts: sent in chunks, without a length."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def without_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send every request the way of ASGI."""
    monkeypatch.setattr(Reviews, "enter", lambda *_: False)


def without_asgi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break ASGI."""

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("ASGI was asked")

    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", broken)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mutate", BODY),
        ("/mutate/opted-in", BODY),
        ("/mutate?timeout=0s", BODY),
        ("/mutate?timeout=10s", b"{}"),
        ("/mutate", b""),
        ("/mutate", json.dumps({**make_review(), "kind": "Status"}).encode()),
        ("/mutate", json.dumps(make_review(uid="u" * MIB)).encode()),
    ],
    ids=["review", "opted in", "late", "no review", "nothing", "another kind", "large"],
)
def test_a_door_answers_as_asgi_does(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, path: str, body: bytes
) -> None:
    """The same status, headers and body, and the same line in the log but for its times."""
    server = serve()

    def answer() -> tuple[int, dict[str, str], bytes, list[dict[str, Any]]]:
        before = len(server.log())
        response = server.post(body, path)
        eventually(lambda: len(server.log()) > before)
        lines = [{k: v for k, v in line.items() if k not in {"time", "milliseconds"}} for line in server.log()[before:]]
        return response.status_code, dict(response.headers), response.content, lines

    with monkeypatch.context() as patch:
        without_asgi(patch)
        at_once = answer()
    without_doors(monkeypatch)
    assert answer() == at_once


@pytest.mark.parametrize(
    ("headers", "chunked"),
    [
        ({}, True),
        ({"Content-Type": "application/json; charset=utf-8"}, False),
        ({"Content-Encoding": "identity"}, False),
        ({"Expect": "100-continue"}, False),
    ],
    ids=["chunked", "charset", "identity", "expect"],
)
def test_what_no_api_server_sends_goes_the_way_of_asgi(
    server: Running, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], chunked: bool
) -> None:
    """It is answered as ever, and not by the door."""
    monkeypatch.setattr(Reviews, "hold", lambda *_: pytest.fail("the door was used"))
    with server.client() as client:
        response = client.post(
            "/mutate", content=parts(BODY) if chunked else BODY, headers={"Content-Type": "application/json", **headers}
        )
    assert response.json()["response"]["patchType"] == "JSONPatch"


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST.replace(b"Content-Type: application/json\r\n", b""),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        REQUEST.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n"),
        REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close"),
        REQUEST.replace(b"/mutate ", b"/mutate?timeout=0s#fragment "),
    ],
    ids=["no content type", "HTTP/1.0", "HTTP/1.0 keep-alive", "close", "fragment"],
)
def test_what_seldom_comes_is_answered_alike(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    """A door that lets it in answers byte for byte what ASGI does, and keeps the connection or ends it as ASGI does."""
    server = serve(keep_alive=1.0)

    def answer() -> bytes:
        with server.connect() as sock:
            sock.sendall(request_)
            return read_all(sock)

    at_once = answer()
    without_doors(monkeypatch)
    assert answer() == at_once


@pytest.mark.parametrize("sent", [len(HEAD) + 2, len(REQUEST) - 1], ids=["head", "all but a byte"])
def test_who_leaves_halfway_leaves_nothing_behind(server: Running, sent: int) -> None:
    """What is held of a body is let go with its connection."""
    with server.connect() as sock:
        sock.sendall(REQUEST[:sent])
        eventually(lambda: server.sample("pillion_requests_in_flight") == 1)
        held = sent - len(HEAD) - 2
        eventually(lambda: server.sample("pillion_request_buffered_bytes") == held)
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)
    assert server.sample("pillion_request_buffered_bytes") == 0


def test_a_body_that_no_longer_fits_is_handed_over(serve: Callable[..., Running]) -> None:
    """Others have filled the memory that all bodies may take: 429, as by ASGI, and what was held is let go."""
    server = serve(max_buffered=2 * MIB)
    head = HEAD.replace(b"%d" % len(BODY), b"%d" % (3 * MIB)) + b"\r\n"
    with server.connect() as first, server.connect() as second:
        first.sendall(head + b" " * MIB)
        eventually(lambda: server.sample("pillion_request_buffered_bytes") == MIB)
        second.sendall(head + b" " * 3 * MIB)
        assert read_response(second).startswith(b"HTTP/1.1 429 ")
        assert server.sample("pillion_request_buffered_bytes") == MIB
        assert server.sample("pillion_requests_in_flight") == 1
    assert exceeded(server, "bodies") == 1
    eventually(lambda: server.sample("pillion_request_buffered_bytes") == 0)


def test_requests_one_behind_the_other_are_answered_in_order(server: Running) -> None:
    """Whichever way each of them takes."""
    by_asgi = REQUEST.replace(b"Host: x", b"Host: x\r\nContent-Encoding: identity")
    numbered = [
        request.replace(b'"uid": "', b'"uid": "%d' % number, 1)
        for number, request in enumerate([REQUEST, by_asgi, REQUEST, REQUEST, by_asgi])
    ]
    numbered = [re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (len(BODY) + 1), each) for each in numbered]
    with server.connect() as sock:
        sock.sendall(b"".join(numbered))
        uids = [json.loads(read_response(sock).partition(b"\r\n\r\n")[2])["response"]["uid"] for _ in numbered]
    assert [uid[0] for uid in uids] == ["0", "1", "2", "3", "4"]


def test_many_requests_at_once_end_the_connection(server: Running) -> None:
    """One client's thousand requests must not keep all others waiting."""
    before = exceeded(server, "pipeline")
    with server.connect() as sock:
        sock.sendall(REQUEST * 20)
        received = read_all(sock)
    assert received.count(b"HTTP/1.1 200 ") == 8
    assert received.count(b"HTTP/1.1 400 ") == 1
    assert exceeded(server, "pipeline") == before + 1


def test_the_last_answer_says_so(serve: Callable[..., Running]) -> None:
    """While the server drains, and where the client wants it, an answer ends the connection."""
    server = serve()
    with server.connect() as sock:
        sock.sendall(REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        assert b"\r\nconnection: close\r\n" in read_all(sock).partition(b"\r\n\r\n")[0] + b"\r\n"
    with server.connect() as sock:
        sock.sendall(HEAD)
        eventually(lambda: server.sample("pillion_connections", port="tls") == 1)
        server.call(setattr, server.server.reviews, "draining", True)
        sock.sendall(b"\r\n" + BODY)
        received = read_all(sock)
    assert b"connection: close\r\n" in received
    assert received.endswith(b"}")


def test_nothing_behind_the_last_answer_is_reviewed(serve: Callable[..., Running]) -> None:
    """Nobody would hear the answer; the client asks another server, and there it counts."""
    server = serve()
    server.call(setattr, server.server.reviews, "draining", True)
    with server.connect() as sock:
        sock.sendall(REQUEST * 3)
        assert read_all(sock).count(b"HTTP/1.1 ") == 1
    eventually(lambda: server.sample("pillion_connections", port="tls") == 0)
    assert len([line for line in server.log() if line["event"] == "review"]) == 1
    assert server.sample("pillion_requests_in_flight") == 0


@pytest.mark.parametrize(("step", "status"), [("reply", 500), ("record", 200)])
def test_a_bug_at_the_door_is_told(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, status: int
) -> None:
    """An exception that nobody expected is a 500, or comes after the answer; it never passes for the client's fault."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Answers, step, broken)
    with caplog.at_level(logging.ERROR, "webhook.service.connection"):
        assert server.post(BODY).status_code == status
        eventually(lambda: caplog.records)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)
