"""One HTTP/1.1 connection: uvicorn's protocol on httptools, with limits on what clients send and how slowly.

Everything that is used of uvicorn, and which test notices a change, is in docs/server-internals.md.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import uvicorn.server
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Connection", "ConnectionOwner"]

#: Requests that may wait for their responses. An API server never pipelines; each request costs two KiB.
MAX_PIPELINED = 8

#: The longest ``timeoutSeconds`` of a webhook entry: nobody waits longer for a response.
RESPONSE_TIMEOUT = 30.0

#: A response of more bytes is large; a pod of fifty containers gets less.
LARGE_RESPONSE = 64 * 1024

#: A body that is too large is read up to this multiple of the limit, so that the client gets to see the response.
MAX_DRAIN_FACTOR = 4


class ConnectionOwner(Protocol):
    """What a connection knows of the listener that accepted it."""

    settings: Settings
    metrics: Metrics

    def handshake_done(self, connection: "Connection") -> None:
        """Count the connection as open from here on."""

    def response_buffered(self, connection: "Connection", size: int) -> None:
        """Account for a large response of this size, which the connection is about to hold."""

    def closed(self, connection: "Connection") -> None:
        """Forget what was accounted for the connection."""


class CloseReason(NamedTuple):
    """Why a connection ends: the response's status (0: without a response), its text, and the limit that was hit."""

    status: int
    detail: str
    limit: Limit | None


HEAD_TOO_LARGE = CloseReason(431, "the request's head is too large", Limit.HEADER_SIZE)
BODY_TOO_LARGE = CloseReason(413, "the request's body is too large", Limit.BODY_SIZE)
HEAD_TOO_SLOW = CloseReason(408, "the request's head took too long", Limit.HEADER_TIME)
BODY_TOO_SLOW = CloseReason(408, "the request's body took too long", Limit.BODY_TIME)
READ_TOO_SLOWLY = CloseReason(0, "", Limit.RESPONSE_TIME)
PIPELINE_TOO_LONG = CloseReason(400, "too many requests at once in one connection", Limit.PIPELINE)
CLIENT_NOT_ALLOWED = CloseReason(403, "the client certificate has none of the allowed names", Limit.CLIENT_NAME)
IDLE = CloseReason(0, "", Limit.IDLE)
NOT_HTTP = CloseReason(400, "this is not HTTP/1.1", None)


class LimitExceededError(Exception):
    """Stops the parser; the connection holds the reason."""


class CoalescingTransport:
    """A transport that writes what comes within one turn of the loop at once.

    ASGI sends a response's head and its body one after the other: together they are one TLS record and one call of
    the cipher, which saves a sixth of what a review takes (docs/decisions/0011).
    """

    def __init__(self, transport: asyncio.Transport, on_write: Callable[[int], None]) -> None:
        self._transport = transport
        self._on_write = on_write
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.abort = transport.abort

    def write(self, data: bytes) -> None:
        """Write at the end of this turn of the loop."""
        if not self._parts:
            asyncio.get_running_loop().call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close once everything is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._parts.clear()
        # it may have been aborted since
        if data and not self._transport.is_closing():
            self._on_write(len(data))
            self._transport.write(data)


class Connection(HttpToolsProtocol):
    """uvicorn's connection with deadlines and caps.

    A deadline is a number that the listener compares once a second (:meth:`close_if_overdue`): a timer for each request
    would cost more. ``scope["state"]["head_complete_at"]`` tells the application when the request's head was complete,
    in seconds of ``time.monotonic``.
    """

    def __init__(self, config: Config, state: uvicorn.server.ServerState, owner: ConnectionOwner) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._owner = owner
        self._close_reason: CloseReason | None = None
        #: Until when, on the monotonic clock, the connection waits, and what it means if that was in vain.
        self._deadline, self._overdue = math.inf, IDLE
        #: Where the request that is being received is; whether it has begun, and whether its head is complete.
        self._receiving = self._in_head = False
        #: Requests, the one that is being received included, whose responses are not complete.
        self._unanswered = 0
        self._header_bytes = self._header_count = 0
        self._bytes_after_first_chunk = 0

    @property
    def idle_since(self) -> float | None:
        """Return when the last response was complete, or None while a request is on its way."""
        return self._deadline - self._owner.settings.keep_alive if self._overdue is IDLE else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's head; refuse clients that are not allowed."""
        super().connection_made(CoalescingTransport(transport, self._response_buffered))  # type: ignore[arg-type]
        # uvloop's own limit for TLS is 512 KiB, for each of the connections
        transport.set_write_buffer_limits(high=LARGE_RESPONSE)
        self._owner.handshake_done(self)
        self._set_deadline(self._owner.settings.header_timeout, HEAD_TOO_SLOW)
        allowed = self._owner.settings.client_names
        # the health port has no TLS and asks for no certificate
        if allowed is not None and transport.get_extra_info("sslcontext") is not None:
            names = _names(transport.get_extra_info("peercert"))
            if names.isdisjoint(allowed):
                self._close_with(CLIENT_NOT_ALLOWED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener."""
        self._owner.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and keep account of what it holds back: it has no limits of its own."""
        if self._close_reason is not None or self.transport.is_closing():
            return
        self._bytes_after_first_chunk += len(data)
        super().data_received(data)
        if self._close_reason is not None:
            return
        if self._in_head and self._bytes_after_first_chunk > self._owner.settings.max_header_size:
            self._close_with(HEAD_TOO_LARGE)
        elif self._bytes_after_first_chunk > self._owner.settings.max_body_size * MAX_DRAIN_FACTOR:
            self._close_with(BODY_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start a request."""
        if self._unanswered >= MAX_PIPELINED:
            self._abort_parsing(PIPELINE_TOO_LONG)
        super().on_message_begin()
        self._unanswered += 1
        self._receiving = self._in_head = True
        self._header_bytes = self._header_count = 0
        self._bytes_after_first_chunk = 0
        self._set_deadline(self._owner.settings.header_timeout, HEAD_TOO_SLOW)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._account_head(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after a chunked body."""
        self._account_head(len(name) + len(value), 1)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the application begin."""
        self._in_head = False
        self._set_deadline(self._owner.settings.body_timeout, BODY_TOO_SLOW)
        # not the loop's time: that stands still while the loop is busy
        self.scope["state"]["head_complete_at"] = time.monotonic()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that all of the request is here."""
        self._receiving = False
        super().on_message_complete()
        if self._unanswered:
            self._set_deadline(RESPONSE_TIMEOUT, READ_TOO_SLOWLY)
        else:
            self._set_deadline(self._owner.settings.keep_alive, IDLE)

    def on_response_complete(self) -> None:
        """Begin to be idle, unless another request waits."""
        super().on_response_complete()
        self._unanswered -= 1
        if self._close_reason is not None:
            self._send_and_close()
        elif not self._unanswered and not self._receiving:
            self._set_deadline(self._owner.settings.keep_alive, IDLE)

    def close_if_overdue(self, now: float) -> None:
        """End the connection if what it waits for is overdue."""
        if now < self._deadline:
            return
        if self.transport.is_closing():
            # it has had its time to take what was still to be sent
            self.transport.abort()
        else:
            self._close_with(self._overdue)

    def close_if_idle(self) -> None:
        """End the connection unless a request is on its way, or the first is still to come."""
        if self.idle_since is not None:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 — the parser's words are for its developers
        """Answer what the parser could not read, or was told not to."""
        self._close_with(self._close_reason or NOT_HTTP)

    def _account_head(self, size: int, headers: int) -> None:
        self._header_bytes += size
        self._header_count += headers
        settings = self._owner.settings
        if self._header_bytes > settings.max_header_size or self._header_count > settings.max_header_count:
            self._abort_parsing(HEAD_TOO_LARGE)

    def _response_buffered(self, size: int) -> None:
        if size > LARGE_RESPONSE:
            self._owner.response_buffered(self, size)

    def _set_deadline(self, seconds: float, reason: CloseReason) -> None:
        self._deadline, self._overdue = time.monotonic() + seconds, reason

    def _abort_parsing(self, reason: CloseReason) -> None:
        """Make the parser stop; uvicorn then asks for a response with status 400."""
        self._close_reason = reason
        raise LimitExceededError

    def _close_with(self, reason: CloseReason) -> None:
        """End the connection, once requests that came before have their responses."""
        if self.transport.is_closing():
            return
        self._close_reason = reason
        if reason.limit is None:
            self._owner.metrics.count_bad_request(reason.status)
        else:
            self._owner.metrics.count_exceeded_limit(reason.limit)
        self._send_and_close()

    def _send_and_close(self) -> None:
        """Send the refusal and close; wait where a response is expected before it."""
        reason = self._close_reason
        if reason is None or self.transport.is_closing():
            return
        if reason.status:
            before = self._unanswered - self._receiving
            if before > 0:
                self._set_deadline(RESPONSE_TIMEOUT, READ_TOO_SLOWLY)
                return
            # what is being received may have been answered before it was complete; who does not read, reads nothing
            if before == 0 and not self.transport.get_write_buffer_size():
                self.transport.write(_response(reason))
        self._deadline = time.monotonic() + RESPONSE_TIMEOUT
        self.transport.close()


def _response(reason: CloseReason) -> bytes:
    status = HTTPStatus(reason.status)
    body = json.dumps({"detail": reason.detail}).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


def _names(certificate: dict[str, Any] | None) -> set[str]:
    """Return the common and alternative names in what ``SSLSocket.getpeercert`` says."""
    certificate = certificate or {}
    common = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return common | {value for _, value in certificate.get("subjectAltName", ())}
