"""What a client may send, how slowly, and how many may come: each limit, and that it is no more than that."""

import json
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from tests.service.raw import BODY, HEAD, REQUEST, exceeded, read_all, read_response
from tests.service.serving import Running, eventually, make_review
from webhook.service.http import connection, listener
from webhook.service.settings import Settings


def test_a_head_that_comes_slowly_is_ended(serve: Callable[..., Running]) -> None:
    """Slowloris: a header line now and then keeps nobody waiting beyond the deadline for the whole head."""
    server = serve(header_timeout=1.0)
    with server.connect() as sock:
        sock.settimeout(0.1)
        sock.sendall(b"POST /mutate HTTP/1.1\r\n")
        received = b""
        for number in range(200):
            with suppress(OSError):
                sock.sendall(b"X-%d: y\r\n" % (number % 60))
            try:
                received += sock.recv(65536)
            except TimeoutError:
                continue
            break
    assert received.startswith(b"HTTP/1.1 408 ")
    assert exceeded(server, "header_time") == 1


def test_a_body_that_comes_slowly_is_ended(serve: Callable[..., Running]) -> None:
    """The same for a body of which a byte comes now and then."""
    server = serve(body_timeout=1.0)
    with server.connect() as sock:
        sock.settimeout(0.1)
        sock.sendall(HEAD + b"\r\n")
        received = b""
        for byte in BODY:
            with suppress(OSError):
                sock.sendall(bytes([byte]))
            try:
                received += sock.recv(65536)
            except TimeoutError:
                continue
            break
    assert received.startswith(b"HTTP/1.1 408 ")
    assert exceeded(server, "body_time") == 1
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)


def test_a_connection_without_a_request_is_ended(serve: Callable[..., Running]) -> None:
    """Who shakes hands and says nothing is sent away as well."""
    server = serve(header_timeout=0.5)
    with server.connect() as sock:
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_a_handshake_that_does_not_end_is_ended(serve: Callable[..., Running]) -> None:
    """A connection counts from its first byte, and has a deadline before TLS is there."""
    server = serve(handshake_timeout=0.5)
    with socket.create_connection(("127.0.0.1", server.server.review_listener.port), timeout=30) as sock:
        eventually(lambda: server.sample("pillion_connections", listener="reviews") == 1)
        assert read_all(sock) == b""
    eventually(lambda: server.sample("pillion_connections", listener="reviews") == 0)
    assert server.sample("pillion_tls_handshake_failures_total") == 1


def test_an_idle_connection_is_kept_and_then_ended(serve: Callable[..., Running]) -> None:
    """After an answer a connection may wait for as long as the setting says, and is closed without a word."""
    server = serve(keep_alive=1.0, header_timeout=0.2)
    with server.connect() as sock:
        for _ in range(2):
            sock.sendall(REQUEST)
            assert read_response(sock).startswith(b"HTTP/1.1 200 ")
        assert read_all(sock) == b""


def test_keep_alive_outlasts_an_api_servers() -> None:
    """Go keeps an idle connection for 90 s; who closes first while the other sends, resets."""
    assert Settings().keep_alive > 90 + Settings().reload_interval


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: " + b"y" * 40_000 + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(70)),
        b"X-" + b"y" * 40_000 + b": z\r\n",
    ],
    ids=["long", "many", "long name"],
)
def test_a_large_head_is_refused(server: Running, head: bytes) -> None:
    """Too many bytes or too many headers: 431."""
    with server.connect() as sock:
        sock.sendall(HEAD + head + b"\r\n" + BODY)
        response = read_all(sock)
    assert response.startswith(b"HTTP/1.1 431 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2]) == {"detail": "the request's head is too large"}


def test_a_header_without_end_is_refused(server: Running) -> None:
    """What the parser holds back is counted, too."""
    with server.connect() as sock:
        sock.sendall(HEAD + b"X-Long: ")
        with suppress(OSError):  # it may close while we send
            for _ in range(64):
                sock.sendall(b"y" * 16384)
        with suppress(ConnectionResetError):
            assert read_all(sock).startswith(b"HTTP/1.1 431 ")
    assert exceeded(server, "header_size") >= 1


def test_a_long_target_is_refused(server: Running) -> None:
    """The request line is part of the head."""
    with server.connect() as sock:
        sock.sendall(b"POST /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 431 ")


def test_trailers_are_headers(server: Running) -> None:
    """A chunked body may be followed by headers; they count like those before it."""
    with server.connect() as sock:
        head = HEAD.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head + b"1\r\nx\r\n0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100)) + b"\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 431 ")


def test_a_trailer_without_end_is_refused(server: Running) -> None:
    """The parser holds it back until it is complete: of all that a client sends, this alone would count as nothing."""
    before = exceeded(server, "header_size")
    head = HEAD.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(head + b"1\r\nx\r\n0\r\nX: ")
        with suppress(OSError):
            for _ in range(100):
                sock.sendall(b"x" * 10_000)
        with suppress(OSError):
            read_all(sock)
    assert exceeded(server, "header_size") == before + 1


def test_a_body_without_end_is_ended(serve: Callable[..., Running]) -> None:
    """What is too large is read for a while, so that the client sees why, but not for ever."""
    server = serve(max_body_size=100_000)
    head = HEAD.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n"
    deadline = time.monotonic() + 30
    with server.connect() as sock, suppress(OSError):
        sock.sendall(head)
        while time.monotonic() < deadline:
            sock.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
    assert time.monotonic() < deadline
    assert exceeded(server, "body_size") >= 1


def test_who_asks_before_sending_is_told_at_once(server: Running) -> None:
    """``Expect: 100-continue`` with a length beyond the limit: 413 without a byte of the body."""
    with server.connect() as sock:
        head = HEAD.partition(b"Content-Length")[0]
        sock.sendall(head + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert read_response(sock).startswith(b"HTTP/1.1 413 ")


def test_all_bodies_together_are_bounded(serve: Callable[..., Running]) -> None:
    """Many large bodies at once can't take all memory; the ones beyond are told so, ordinary ones pass meanwhile."""
    server = serve(max_buffered_bodies_size=2_000_000, max_connections=8)
    large = b" " * 999_990  # the half, but for ten bytes
    head = HEAD.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % (len(large) + 1)
    with server.connect() as first, server.connect() as second:
        first.sendall(head + large)
        eventually(lambda: server.sample("pillion_request_buffered_bytes") == len(large))
        assert server.post(BODY).status_code == 200
        second.sendall(head + large + b" ")
        assert read_response(second).startswith(b"HTTP/1.1 429 ")
        assert server.sample("pillion_request_buffered_bytes") == len(large)
        first.sendall(b" ")
        assert read_response(first).startswith(b"HTTP/1.1 400 ")
    assert exceeded(server, "buffered_bodies") == 1
    assert server.sample("pillion_request_buffered_bytes") == 0
    assert server.post(BODY).status_code == 200


def test_a_long_pipeline_is_refused(server: Running) -> None:
    """No API server sends several requests without waiting; a few are answered, hundreds are not queued."""
    with server.connect() as sock:
        sock.sendall(REQUEST * 300)
        with suppress(ConnectionResetError):
            read_all(sock)
    assert exceeded(server, "pipeline") == 1


def test_a_short_pipeline_is_answered_in_order(server: Running) -> None:
    """HTTP/1.1 allows it."""
    with server.connect() as sock:
        bodies = [json.dumps(make_review(uid=f"pipelined-{number}")).encode() for number in range(4)]
        for body in bodies:
            sock.sendall(HEAD.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        received = b""
        while received.count(b'"uid"') < 4:
            received += sock.recv(65536)
    positions = [received.index(b"pipelined-%d" % number) for number in range(4)]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    "raw",
    [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"POST /mutate HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
     b"POST /mutate HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     b"POST /mutate HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
     b"POST /mutate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     HEAD.replace(b"Host: x", b"Connection: close").replace(
         b"-Length: ", b"-Length: " + b"0" * 5000) + b"\r\n" + BODY],
    ids=["text", "version", "nul", "http/2", "two lengths", "no length", "smuggling", "bad chunk", "zeros"],
)  # fmt: skip
def test_what_is_not_http_is_refused(server: Running, raw: bytes) -> None:
    """400 or nothing, and the connection ends."""
    with server.connect() as sock:
        sock.sendall(raw)
        response = read_all(sock)
    assert response.split(b" ")[1] in {b"400", b"415"}
    assert b"Traceback" not in response
    assert server.post(BODY).status_code == 200


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_an_upgrade_is_refused(server: Running, protocol: bytes) -> None:
    """And nothing behind its head is read: the parser takes the body for the other protocol, or for a request."""
    with server.connect() as sock:
        head = HEAD.replace(b"\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: %s\r\n" % protocol, 1) + b"\r\n"
        sock.sendall(head + REQUEST)
        response = read_all(sock)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["detail"].endswith("leave the Upgrade header out")
    assert server.post(BODY).status_code == 200


def test_connections_are_capped_by_ending_the_longest_idle(serve: Callable[..., Running]) -> None:
    """Holding idle connections keeps no API server out: the one that idles longest makes room."""
    server = serve(max_connections=4)
    with ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(4)]
        for sock in held:
            sock.sendall(REQUEST)
            read_response(sock)
        eventually(lambda: server.sample("pillion_connections", listener="reviews") == 4)
        assert server.post(BODY).status_code == 200
        assert held[0].recv(1) == b""
        held[3].sendall(REQUEST)
        assert read_response(held[3]).startswith(b"HTTP/1.1 200 ")
    assert server.sample("pillion_idle_connections_closed_total") == 1


@pytest.mark.parametrize(
    "sent", [None, b"", HEAD, HEAD + b"\r\n"], ids=["no handshake", "nothing", "a head", "no body"]
)
def test_connections_that_stall_keep_nobody_out(serve: Callable[..., Running], sent: bytes | None) -> None:
    """Of those that had no response yet the oldest makes room, before any that had one."""
    server = serve(max_connections=4)
    with ExitStack() as stack:
        served = stack.enter_context(server.connect())
        served.sendall(REQUEST)
        read_response(served)
        for _ in range(5):
            if sent is None:
                stack.enter_context(socket.create_connection(("127.0.0.1", server.server.review_listener.port)))
            else:
                stack.enter_context(server.connect()).sendall(sent)
        eventually(lambda: exceeded(server, "connections") == 2)
        assert server.post(BODY).status_code == 200
        served.sendall(REQUEST)
        assert read_response(served).startswith(b"HTTP/1.1 200 ")
        assert server.sample("pillion_idle_connections_closed_total") == 0
    eventually(lambda: server.sample("pillion_connections", listener="reviews") == 0)


def test_connections_beyond_the_cap_are_refused(serve: Callable[..., Running]) -> None:
    """Where all have had a response and are busy with the next, another is closed at once."""
    server = serve(max_connections=3)
    with ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(server.connect())
            sock.sendall(REQUEST)
            read_response(sock)
            sock.sendall(HEAD)
        eventually(lambda: not any(each.idle_since for each in server.server.review_listener._connections))
        with pytest.raises((ssl.SSLError, OSError)):
            server.connect()
        assert exceeded(server, "connections") == 1
        assert server.get("/livez").status_code == 200
    eventually(lambda: server.sample("pillion_connections", listener="reviews") == 0)
    assert server.post(BODY).status_code == 200


def test_without_descriptors_it_waits_a_moment(serve: Callable[..., Running]) -> None:
    """Where the system has no room for another connection, the next one comes in a little later."""
    server = serve()
    server.call(server.server.review_listener._pause)
    assert server.post(BODY).status_code == 200
    assert exceeded(server, "resources") == 1


def test_a_response_that_nobody_reads_holds_nothing_for_ever(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends and never reads is sent away."""
    monkeypatch.setattr(connection, "RESPONSE_TIMEOUT", 1.0)
    server = serve(body_timeout=1.0)
    body = json.dumps(make_review(uid="u" * 2_000_000)).encode()
    request = HEAD.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with server.connect() as sock:
        sock.settimeout(0.2)
        with suppress(OSError):
            for _ in range(8):
                sock.sendall(request)
        eventually(lambda: server.sample("pillion_connections", listener="reviews") == 0)
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)


def more_lines(server: Running, count: int) -> bool:
    """Return whether the log has more lines than that."""
    return len(server.log()) > count


def test_large_answers_are_bounded_together(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    """Read or not: a connection that had one makes room for the next one's, who had it first goes first."""
    monkeypatch.setattr(listener, "MAX_BUFFERED_RESPONSES", 5_000_000)
    server = serve()
    body = json.dumps(make_review(uid="u" * 2_000_000)).encode()
    request = HEAD.partition(b"Content-Length")[0] + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with ExitStack() as stack:
        first, second, small, third = [stack.enter_context(server.connect()) for _ in range(4)]
        small.sendall(REQUEST)
        read_response(small)
        for sock in (first, second, third):
            before = len(server.log())
            sock.sendall(request)
            eventually(partial(more_lines, server, before))
        eventually(lambda: exceeded(server, "buffered_responses") == 1)
        with suppress(ConnectionResetError, ssl.SSLEOFError):
            read_all(first)
        for sock in (second, third):
            assert len(read_response(sock)) > 2_000_000
        small.sendall(REQUEST)
        assert read_response(small).startswith(b"HTTP/1.1 200 ")


def test_little_is_written_ahead(server: Running) -> None:
    """What waits to be sent to a client that does not read is 64 KiB and an answer, not uvloop's 512 KiB."""
    with server.connect() as sock:
        sock.sendall(REQUEST)
        read_response(sock)
        connections = server.call(lambda: list(server.server.review_listener._connections))
        limits = [server.call(each.transport._transport.get_write_buffer_limits) for each in connections]
    assert {high for _, high in limits} == {connection.LARGE_RESPONSE}


def test_the_largest_body_is_taken(server: Running) -> None:
    """One of exactly 7 MiB is reviewed as any other; one byte more is refused."""
    document = make_review()
    document["request"]["object"]["metadata"]["labels"] = {"padding": ""}
    padding = Settings().max_body_size - len(json.dumps(document))
    for more, status in ((0, 200), (1, 413)):
        document["request"]["object"]["metadata"]["labels"]["padding"] = "x" * (padding + more)
        assert server.post(json.dumps(document).encode()).status_code == status


def test_a_body_that_comes_after_the_callers_deadline_is_not_looked_at(server: Running) -> None:
    """Whoever waits has given up or is about to: allowed, with a warning, at once."""
    head = HEAD.replace(b"/mutate ", b"/mutate?timeout=100ms ")
    with server.connect() as sock:
        sock.sendall(head + b"\r\n")
        eventually(lambda: server.sample("pillion_requests_in_flight") == 1)
        begin = time.monotonic()
        eventually(lambda: time.monotonic() - begin > 0.1)
        sock.sendall(BODY)
        answer = json.loads(read_response(sock).partition(b"\r\n\r\n")[2])["response"]
    assert answer["allowed"] is True
    assert answer["auditAnnotations"]["reason"] == "deadline"
    assert "patch" not in answer
