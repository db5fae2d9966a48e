"""One HTTP/1.1 connection: uvicorn's protocol on httptools, with limits on what clients send and how slowly."""

import asyncio
import json
import math
import time
from typing import Any, NamedTuple, Protocol

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Connection", "Gate"]

#: An API server never pipelines; each request in the queue costs two KiB.
PIPELINED = 8

#: The longest ``timeoutSeconds`` of a webhook entry: nobody waits longer for an answer.
RESPONSE_TIMEOUT = 30.0

#: What is read of a body that is too large, in multiples of the limit, so that the client gets to see why.
PATIENCE = 4


class Gate(Protocol):
    """What a connection knows of the listener that let it in."""

    settings: Settings
    metrics: Metrics
    draining: bool

    def welcome(self, connection: "Connection") -> None:
        """Hear that the connection's handshake is over."""


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


class LimitExceededError(Exception):
    """Stops the parser; the refusal is the connection's."""


class _Response:
    """What uvicorn writes a response to: its head waits for the body, as one TLS record and one system call.

    uvicorn writes the head for itself, and a body always follows but for HEAD.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write; what comes first once the response has started is its head."""
        if self._head is None and self._cycle.response_started and self._cycle.scope["method"] != "HEAD":
            self._head = data
        elif self._head:
            self._transport.write(self._head + data)
            self._head = b""
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Say whether the connection ends."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close when all is written; a head is, too, whose body will not come."""
        if self._head:
            self._transport.write(self._head)
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

    @property
    def idle_since(self) -> float | None:
        """Return when the last response was complete, or None while a request is on its way."""
        return self._deadline - self._gate.settings.keep_alive if self._overdue is IDLE else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's head; send strangers away."""
        super().connection_made(transport)
        self._gate.welcome(self)
        self._wait(self._gate.settings.header_timeout, HEAD_TOO_SLOW)
        allowed = self._gate.settings.client_names
        if self.scheme == "https" and allowed is not None:
            names = _names(transport.get_extra_info("peercert"))
            if names.isdisjoint(allowed):
                self._refuse(NOT_LET_IN)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and keep account of what it holds back: it has no limits of its own."""
        if self.transport.is_closing():
            return
        self._message_size += len(data)
        super().data_received(data)
        if self._in_head and self._message_size > self._gate.settings.max_header:
            self._refuse(HEAD_TOO_LARGE)
        elif self._message_size > self._gate.settings.max_body * PATIENCE:
            self._refuse(BODY_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start a request."""
        if len(self.pipeline) >= PIPELINED:
            self._stop(PIPELINE_TOO_LONG)
        super().on_message_begin()
        self._in_head = True
        self._room = self._gate.settings.max_header
        self._message_size = 0
        self._wait(self._gate.settings.header_timeout, HEAD_TOO_SLOW)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after a chunked body."""
        self._take(len(name) + len(value))
        if len(self.headers) >= self._gate.settings.max_headers:
            self._stop(HEAD_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application; while the listener drains, its answer ends the connection."""
        self._in_head = False
        self._wait(self._gate.settings.body_timeout, BODY_TOO_SLOW)
        # not the loop's time: that stands still while the loop is busy
        self.scope["state"]["arrived"] = time.monotonic()
        super().on_headers_complete()
        self.cycle.transport = _Response(self.transport, self.cycle)  # type: ignore[assignment]
        if self._gate.draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that all of the request is here."""
        if self.cycle.response_complete:
            self._wait(self._gate.settings.keep_alive, IDLE)
        else:
            self._wait(RESPONSE_TIMEOUT, READ_TOO_SLOWLY)
        super().on_message_complete()

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

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._stop(HEAD_TOO_LARGE)

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
