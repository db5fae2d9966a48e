"""One HTTP/1.1 connection: uvicorn's protocol on httptools, with limits on what clients send and how slowly."""

import asyncio
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Connection", "Door", "Gate", "Headers", "Reply"]

Headers = Sequence[tuple[bytes, bytes]]

#: An API server never pipelines; each request in the queue costs two KiB.
PIPELINED = 8

#: The longest ``timeoutSeconds`` of a webhook entry: nobody waits longer for an answer.
RESPONSE_TIMEOUT = 30.0

#: An answer of more bytes is large; a pod of fifty containers gets less.
LARGE = 64 * 1024

#: What is read of a body that is too large, in multiples of the limit, so that the client gets to see why.
PATIENCE = 4


class Reply(Protocol):
    """An answer to a request; what else it has is the door's."""

    @property
    def status(self) -> int:
        """Return the HTTP status."""

    @property
    def body(self) -> bytes:
        """Return the body, JSON."""


R = TypeVar("R", bound=Reply)


class Door(Protocol[R]):
    """Answers whole requests at once.

    ASGI hands a request over in parts, to a task that may wait: that takes several times what a review takes. A
    review waits for nothing. What a door does not let in goes the way of ASGI, with the same answers.
    """

    def enter(self, headers: Headers) -> bool:
        """Say whether this POST request is let in; if so :meth:`leave` is called once in the end."""

    def hold(self, size: int) -> bool:
        """Hear that a part of the body is held; say whether there is room for it."""

    def leave(self, size: int) -> None:
        """Hear that the request is over, and that ``size`` bytes are no longer held."""

    def answer(self, body: bytes, query: bytes, arrived: float) -> R:
        """Return the answer to a request that arrived, on the monotonic clock, at that time."""

    def record(self, reply: R, arrived: float) -> None:
        """Hear that the answer is on its way."""


class Gate(Protocol):
    """What a connection knows of the listener that let it in."""

    settings: Settings
    metrics: Metrics
    doors: Mapping[bytes, Door[Any]]
    draining: bool

    def welcome(self, connection: "Connection") -> None:
        """Hear that the connection's handshake is over."""

    def grown(self, connection: "Connection", size: int) -> None:
        """Hear that the connection is about to hold a large answer of this size."""

    def forget(self, connection: "Connection") -> None:
        """Hear that the connection has ended."""


class Refusal(NamedTuple):
    """Why a connection ends before a request could be answered."""

    status: int
    sentence: str
    limit: Limit | None


HEAD_TOO_LARGE = Refusal(431, "the request's head is too large", Limit.HEADER_SIZE)
BODY_TOO_LARGE = Refusal(413, "the request's body is too large", Limit.BODY_SIZE)
HEAD_TOO_SLOW = Refusal(408, "the request's head took too long", Limit.HEADER_TIME)
BODY_TOO_SLOW = Refusal(408, "the request's body took too long", Limit.BODY_TIME)
READ_TOO_SLOWLY = Refusal(408, "the response was not read", Limit.RESPONSE_TIME)
PIPELINE_TOO_LONG = Refusal(400, "too many requests at once in one connection", Limit.PIPELINE)
NOT_LET_IN = Refusal(403, "the client certificate's name is not among those that are let in", Limit.CLIENT_NAME)
IDLE = Refusal(0, "", Limit.IDLE)
NOT_HTTP = Refusal(400, "this is not HTTP/1.1", None)
BROKEN = Refusal(500, "an error of the webhook's own; its log says where", None)

_log = logging.getLogger(__name__)


class LimitExceededError(Exception):
    """Stops the parser; the refusal is the connection's."""


class _Response:
    """What uvicorn writes a response to: its head waits for the body, as one TLS record and one system call.

    uvicorn writes the head for itself, and a body always follows but for HEAD.
    """

    __slots__ = ("_cycle", "_head", "_transport", "_write")

    def __init__(self, connection: "Connection") -> None:
        self._transport = connection.transport
        self._write = connection.write
        self._cycle = connection.cycle
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write; what comes first once the response has started is its head."""
        if self._head is None and self._cycle.response_started and self._cycle.scope["method"] != "HEAD":
            self._head = data
        elif self._head:
            self._write(self._head + data)
            self._head = b""
        else:
            self._write(data)

    def is_closing(self) -> bool:
        """Say whether the connection ends."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close when all is written; a head is, too, whose body will not come."""
        if self._head:
            self._write(self._head)
        self._transport.close()


class Connection(HttpToolsProtocol):
    """uvicorn's connection with deadlines and caps.

    A deadline is a number that the listener looks at once a second (:meth:`expire`): a timer for each request
    would cost more.
    """

    def __init__(self, config: Config, state: ServerState, gate: Gate) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._gate = gate
        self._refusal: Refusal | None = None
        #: Until when, on the monotonic clock, the connection waits, and what it means if that was in vain.
        self._deadline, self._overdue = math.inf, IDLE
        self._in_head = False
        self._room = 0
        self._message_size = 0
        self._arrived = 0.0
        #: Who answers the request that is being received, and what is here of its body; None: the application.
        self._door: Door[Any] | None = None
        self._parts: list[bytes] = []
        self._held = 0
        #: Requests that were answered at once since the client last sent something.
        self._answered = 0

    @property
    def idle_since(self) -> float | None:
        """Return when the last response was complete, or None while a request is on its way."""
        return self._deadline - self._gate.settings.keep_alive if self._overdue is IDLE else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's head; send strangers away."""
        super().connection_made(transport)
        # uvloop's own limit for TLS is 512 KiB, for each of the connections
        transport.set_write_buffer_limits(high=LARGE)
        self._gate.welcome(self)
        self._wait(self._gate.settings.header_timeout, HEAD_TOO_SLOW)
        allowed = self._gate.settings.client_names
        if self.scheme == "https" and allowed is not None:
            names = _names(transport.get_extra_info("peercert"))
            if names.isdisjoint(allowed):
                self._refuse(NOT_LET_IN)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a request that will not be complete."""
        self._leave()
        self._gate.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and keep account of what it holds back: it has no limits of its own."""
        if self.transport.is_closing():
            return
        self._message_size += len(data)
        self._answered = 0
        super().data_received(data)
        if self._in_head and self._message_size > self._gate.settings.max_header:
            self._refuse(HEAD_TOO_LARGE)
        elif self._message_size > self._gate.settings.max_body * PATIENCE:
            self._refuse(BODY_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start a request."""
        if self.transport.is_closing():
            # an answer was the last, and the parser has more: nobody would hear what we say to that
            self._stop(IDLE)
        if len(self.pipeline) >= PIPELINED or self._answered >= PIPELINED:
            self._stop(PIPELINE_TOO_LONG)
        # what ASGI wants to know is made when it is asked: _hand_over
        self.url = b""
        self.headers = []
        self._in_head = True
        self._room = self._gate.settings.max_header
        self._message_size = 0
        self._wait(self._gate.settings.header_timeout, HEAD_TOO_SLOW)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._room -= len(url)
        if self._room < 0:
            self._stop(HEAD_TOO_LARGE)
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after a chunked body."""
        self._room -= len(name) + len(value)
        if self._room < 0 or len(self.headers) >= self._gate.settings.max_headers:
            self._stop(HEAD_TOO_LARGE)
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Find who answers the request."""
        self._in_head = False
        self._wait(self._gate.settings.body_timeout, BODY_TOO_SLOW)
        # not the loop's time: that stands still while the loop is busy
        self._arrived = time.monotonic()
        path, _, self._query = self.url.partition(b"?")
        door = self._gate.doors.get(path)
        if door is not None and self._is_next() and self.parser.get_method() == b"POST" and door.enter(self.headers):
            self._door = door
        else:
            self._hand_over()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._door is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._held += len(body)
        if not self._door.hold(len(body)):
            self._hand_over()

    def on_message_complete(self) -> None:
        """Answer, or note that all of the request is here."""
        if self._door is not None:
            self._answer(self._door)
            return
        if self.cycle.response_complete:
            self._wait(self._gate.settings.keep_alive, IDLE)
        else:
            self._wait(RESPONSE_TIMEOUT, READ_TOO_SLOWLY)
        super().on_message_complete()

    def _is_next(self) -> bool:
        """Say whether the request may be answered at once: none before it waits, and the client reads our answers."""
        return not self.flow.write_paused and (self.cycle is None or self.cycle.response_complete)

    def _answer(self, door: Door[Any]) -> None:
        """Answer the request that the door let in."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._answered += 1
        try:
            reply = door.answer(body, self._query, self._arrived)
        except Exception:  # noqa: BLE001 — as uvicorn does around an application
            _log.exception("a request was not answered")
            self._refuse(BROKEN)
            return
        finally:
            self._leave()
        # as uvicorn has it: a client of HTTP/1.0 reads to the end, if we don't say what we keep
        keep = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0" and not self._gate.draining
        head = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n" % (
            STATUS_LINE[reply.status],
            len(reply.body),
            b"" if keep else b"connection: close\r\n",
        )
        # one TLS record, one system call
        self.write(head + reply.body)
        if keep:
            self._wait(self._gate.settings.keep_alive, IDLE)
        else:
            self.transport.close()
        try:
            door.record(reply, self._arrived)
        except Exception:  # noqa: BLE001
            # the parser, whose callback this is, would have us say that the request was no HTTP
            _log.exception("an answer was not recorded")

    def write(self, data: bytes) -> None:
        """Write an answer, or a part of one."""
        if len(data) > LARGE:
            self._gate.grown(self, len(data))
        self.transport.write(data)

    def _leave(self) -> None:
        """Forget the request that is at a door, if there is one."""
        if self._door is not None:
            self._door.leave(self._held)
            self._door, self._parts, self._held = None, [], 0

    def _hand_over(self) -> None:
        """Let the application answer the request, by ASGI."""
        url, headers, parts = self.url, self.headers, self._parts
        self._leave()
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        self.scope["state"]["arrived"] = self._arrived
        super().on_headers_complete()
        self.cycle.transport = _Response(self)  # type: ignore[assignment]
        if self._gate.draining:
            self.cycle.keep_alive = False
        for part in parts:
            super().on_body(part)

    def on_response_complete(self) -> None:
        """Begin to be idle, unless another request waits."""
        super().on_response_complete()
        if self._overdue is READ_TOO_SLOWLY and not self.pipeline:
            self._wait(self._gate.settings.keep_alive, IDLE)

    def expire(self, now: float) -> None:
        """End the connection if what it waits for is overdue."""
        if now >= self._deadline:
            self._refuse(self._overdue)

    def drain(self) -> None:
        """Let the answer to a request that is being served be the last."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def leave(self) -> None:
        """End the connection if it is idle; if a request is on its way, or the first still to come, answer that."""
        if self.idle_since is not None:
            self.transport.close()
        else:
            self.drain()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 — the parser's words are for its developers
        """Answer what the parser could not read, or was told not to."""
        self._refuse(self._refusal or NOT_HTTP)

    def _wait(self, seconds: float, refusal: Refusal) -> None:
        self._deadline, self._overdue = time.monotonic() + seconds, refusal

    def _stop(self, refusal: Refusal) -> None:
        """Make the parser stop; uvicorn then asks for a response with status 400."""
        self._refusal = refusal
        raise LimitExceededError

    def _refuse(self, refusal: Refusal) -> None:
        if self.transport.is_closing():
            return
        if refusal.limit is None:
            self._gate.metrics.bad_request(refusal.status)
        else:
            self._gate.metrics.exceeded(refusal.limit)
        # a response that has begun can't be followed by another; an idle connection was not asked for one
        begun = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if refusal.status and not begun:
            body = json.dumps({"detail": refusal.sentence}).encode()
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[refusal.status] + head + body)
        self.transport.close()


def _names(certificate: dict[str, Any] | None) -> set[str]:
    """Return the common and alternative names in what ``SSLSocket.getpeercert`` says."""
    certificate = certificate or {}
    common = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return common | {value for _, value in certificate.get("subjectAltName", ())}
