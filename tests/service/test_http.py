"""HTTP/1.1 as seldom clients speak it, and what the server does with several requests in one connection."""

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from tests.service.raw import BODY, HEAD, REQUEST, exceeded, read_all, read_response
from tests.service.serving import Running, eventually
from webhook.service.reviews import ReviewService

MIB = 1 << 20


def parts(body: bytes, size: int = 1000) -> Iterator[bytes]:
    """Yield the body in parts: sent in chunks, without a length."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize(
    ("headers", "chunked"),
    [
        ({}, True),
        ({"Content-Type": "application/json; charset=utf-8"}, False),
        ({"Content-Type": "Application/JSON"}, False),
        ({"Content-Encoding": "identity"}, False),
        ({"Expect": "100-continue"}, False),
    ],
    ids=["chunked", "charset", "case", "identity", "expect"],
)
def test_what_no_api_server_sends_is_reviewed_all_the_same(
    server: Running, headers: dict[str, str], chunked: bool
) -> None:
    """As long as it is HTTP and JSON."""
    with server.client() as client:
        response = client.post(
            "/mutate", content=parts(BODY) if chunked else BODY, headers={"Content-Type": "application/json", **headers}
        )
    assert response.json()["response"]["patchType"] == "JSONPatch"


@pytest.mark.parametrize(
    ("request_", "status", "kept"),
    [
        (REQUEST, 200, True),
        (REQUEST.replace(b"Content-Type: application/json\r\n", b""), 415, True),
        (REQUEST.replace(b"POST", b"PUT"), 405, True),
        (REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), 200, False),
        (REQUEST.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\nConnection: keep-alive\r\n"), 200, False),
        (REQUEST.replace(b"Host: x", b"Host: x\r\nConnection: close"), 200, False),
        (REQUEST.replace(b"/mutate ", b"/mutate#fragment "), 200, True),
        (REQUEST.replace(b"/mutate ", b"http://x/mutate "), 200, True),
        (REQUEST.replace(b"/mutate ", b"/mutat%65 "), 200, True),
        (REQUEST.replace(b"/mutate ", b"/mutate/ "), 307, True),
        (REQUEST.replace(b"/mutate ", b"/elsewhere "), 404, True),
    ],
    ids=[
        *("review", "no content type", "PUT", "HTTP/1.0", "HTTP/1.0 keep-alive", "close", "fragment", "absolute"),
        *("escaped", "slash", "elsewhere"),
    ],
)
def test_requests_have_their_status_and_keep_the_connection_or_not(
    serve: Callable[..., Running], request_: bytes, status: int, kept: bool
) -> None:
    """A client of HTTP/1.0 reads to the end, whatever it asks for; everybody else may send the next request."""
    server = serve(keep_alive=5.0)
    with server.connect() as sock:
        sock.sendall(request_)
        response = read_response(sock)
        assert response.startswith(b"HTTP/1.1 %d " % status)
        if kept:
            assert b"\r\nconnection: close\r\n" not in response
            sock.sendall(REQUEST)
            assert read_response(sock).startswith(b"HTTP/1.1 200 ")
        else:
            assert read_all(sock) == b""


def test_a_fragment_is_not_part_of_the_query(server: Running) -> None:
    """What stands behind it counts for nothing."""
    with server.connect() as sock:
        sock.sendall(REQUEST.replace(b"/mutate ", b"/mutate?timeout=0s#&timeout=10s "))
        answer = json.loads(read_response(sock).partition(b"\r\n\r\n")[2])["response"]
    assert answer["auditAnnotations"]["reason"] == "deadline"


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


def test_a_body_that_no_longer_fits_is_refused(serve: Callable[..., Running]) -> None:
    """Others have filled the memory that all bodies may take: 429, and what was held is let go."""
    server = serve(max_buffered_bodies_size=4 * MIB)
    head = HEAD.replace(b"%d" % len(BODY), b"%d" % (3 * MIB)) + b"\r\n"
    with server.connect() as first, server.connect() as second:
        first.sendall(head + b" " * MIB)
        eventually(lambda: server.sample("pillion_request_buffered_bytes") == MIB)
        second.sendall(head + b" " * 3 * MIB)
        assert read_response(second).startswith(b"HTTP/1.1 429 ")
        assert server.sample("pillion_request_buffered_bytes") == MIB
        assert server.sample("pillion_requests_in_flight") == 1
    assert exceeded(server, "buffered_bodies") == 1
    eventually(lambda: server.sample("pillion_request_buffered_bytes") == 0)


def test_requests_one_behind_the_other_are_answered_in_order(server: Running) -> None:
    """HTTP/1.1 allows a pipeline."""
    numbered = [REQUEST.replace(b'"uid": "', b'"uid": "%d' % number, 1) for number in range(5)]
    numbered = [re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (len(BODY) + 1), each) for each in numbered]
    with server.connect() as sock:
        sock.sendall(b"".join(numbered))
        uids = [json.loads(read_response(sock).partition(b"\r\n\r\n")[2])["response"]["uid"] for _ in numbered]
    assert [uid[0] for uid in uids] == ["0", "1", "2", "3", "4"]


def test_many_requests_at_once_end_the_connection(server: Running) -> None:
    """Those within the limit are answered first: a client takes responses for requests by their order."""
    before = exceeded(server, "pipeline")
    with server.connect() as sock:
        sock.sendall(REQUEST * 20)
        received = read_all(sock)
    statuses = re.findall(rb"HTTP/1\.1 (\d+) ", received)
    assert statuses == [b"200"] * 8 + [b"400"]
    assert exceeded(server, "pipeline") == before + 1


def test_what_is_not_http_behind_a_request_does_not_hide_its_response(server: Running) -> None:
    """The error comes behind it."""
    with server.connect() as sock:
        sock.sendall(REQUEST + b"hello\r\n\r\n")
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", read_all(sock))
    assert statuses == [b"200", b"400"]


def test_a_body_that_goes_on_behind_its_response_gets_no_second_one(serve: Callable[..., Running]) -> None:
    """A page that does not exist is answered at once; what is too slow or too large then only ends the connection."""
    server = serve(body_timeout=0.5)
    with server.connect() as sock:
        sock.sendall(HEAD.replace(b"/mutate", b"/elsewhere") + b"\r\n{")
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", read_all(sock))
    assert statuses == [b"404"]
    assert exceeded(server, "body_time") == 1


def test_a_request_that_is_on_its_way_is_answered_last(serve: Callable[..., Running]) -> None:
    """While the server drains a response ends its connection, also where the request began before."""
    server = serve()
    with server.connect() as sock:
        sock.sendall(HEAD)
        eventually(lambda: server.sample("pillion_connections", listener="reviews") == 1)
        server.call(server.server.review_listener.end_keep_alive)
        sock.sendall(b"\r\n" + BODY)
        received = read_all(sock)
    assert b"\r\nconnection: close\r\n" in received
    assert received.endswith(b"}")


def test_nothing_behind_the_last_answer_is_reviewed(serve: Callable[..., Running]) -> None:
    """Nobody would hear the answer; the client asks another server, and there it counts."""
    server = serve()
    server.call(server.server.review_listener.end_keep_alive)
    with server.connect() as sock:
        sock.sendall(REQUEST * 3)
        assert read_all(sock).count(b"HTTP/1.1 ") == 1
    eventually(lambda: server.sample("pillion_connections", listener="reviews") == 0)
    assert len([line for line in server.log() if line["event"] == "review"]) == 1
    assert server.sample("pillion_requests_in_flight") == 0


@pytest.mark.parametrize(("step", "status"), [("check_size", 500), ("record", 200)])
def test_a_bug_beside_the_review_is_told(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, status: int
) -> None:
    """An exception that nobody expected is a 500, or comes after the answer; it never passes for the client's fault."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(ReviewService, step, broken)
    with caplog.at_level(logging.ERROR, "uvicorn.error"):
        assert server.post(BODY).status_code == status
        eventually(lambda: caplog.records)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)
