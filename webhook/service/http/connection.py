"""An HTTP/1.1 connection: uvicorn's httptools protocol with limits on the size and the duration of requests.

docs/server-internals.md lists what is used of uvicorn, and the tests that detect a change.
"""

import asyncio
import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import uvicorn.server
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.service.http.asgi import error_body
from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Connection", "ConnectionOwner"]

#: Requests of one connection that may wait for a response. API servers never pipeline; a request takes two KiB.
MAX_PIPELINED = 8

#: Seconds to wait for a response, and until it is read: the largest ``timeoutSeconds`` of a webhook entry.
RESPONSE_TIMEOUT = 30.0

#: Bytes from which a response counts as large; the response for a pod of fifty containers is smaller.
LARGE_RESPONSE = 64 * 1024

#: A body that is too large is read up to this multiple of the limit, so that the client sees the response.
MAX_DRAIN_FACTOR = 4


class ConnectionOwner(Protocol):
    """The listener that accepted a connection, as the connection uses it."""

    settings: Settings
    metrics: Metrics

    def handshake_done(self, connection: "Connection") -> None:
        """Take the connection off the list of handshakes; from now on uvicorn's set of connections has it."""

    def response_buffered(self, connection: "Connection", size: int) -> None:
        """Account for a large response, which the connection is about to write."""

    def forget_large_response(self, connection: "Connection") -> None:
        """Remove the connection from the account of large responses."""


class CloseReason(NamedTuple):
    """Why a connection is closed, and the response that is sent before."""

    #: None: no response is sent.
    status: int | None
    detail: str
    #: The limit that was exceeded, if any.
    limit: Limit | None


HEAD_TOO_LARGE = CloseReason(431, "the request's head is too large", Limit.HEADER_SIZE)
BODY_TOO_LARGE = CloseReason(413, "the request's body is too large", Limit.BODY_SIZE)
HEAD_TOO_SLOW = CloseReason(408, "the request's head took too long", Limit.HEADER_TIME)
BODY_TOO_SLOW = CloseReason(408, "the request's body took too long", Limit.BODY_TIME)
RESPONSE_TOO_SLOW = CloseReason(None, "", Limit.RESPONSE_TIME)
PIPELINE_TOO_LONG = CloseReason(400, "too many requests at once in one connection", Limit.PIPELINE)
CLIENT_NOT_ALLOWED = CloseReason(403, "the client certificate has none of the allowed names", Limit.CLIENT_NAME)
IDLE = CloseReason(None, "", None)
UPGRADE = CloseReason(400, "upgrades are not supported; leave the Upgrade header out", None)
NOT_HTTP = CloseReason(400, "this is not HTTP/1.1", None)


class ParsingAborted(Exception):  # noqa: N818 — not an error
    """Raised in a callback to stop the parser; ``Connection._close_reason`` says why."""


class CoalescingTransport:
    """A transport that coalesces all writes of one iteration of the event loop.

    An ASGI application sends a response's head and body separately. Written together they are one TLS record, which
    saves a sixth of a review's CPU time (docs/decisions/0011). ``on_write`` is called with the size before each write.
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
        """Write at the end of this iteration of the event loop."""
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
        # the transport may have been aborted meanwhile
        if data and not self._transport.is_closing():
            self._on_write(len(data))
            self._transport.write(data)


class Connection(HttpToolsProtocol):
    """uvicorn's connection with deadlines and limits.

    A deadline is a number that the listener compares once a second (:meth:`close_if_overdue`): a timer for each request
    would cost more. ``scope["state"]["head_complete_at"]`` tells the application when the request's head was complete,
    in seconds of ``time.monotonic``.
    """

    def __init__(self, config: Config, state: uvicorn.server.ServerState, owner: ConnectionOwner) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        #: When it was accepted, on the monotonic clock; whether it has had a response.
        self.accepted, self.served = time.monotonic(), False
        self._owner = owner
        self._close_reason: CloseReason | None = None
        #: When the last response was complete, on the monotonic clock; None before the first request, and while one is
        #: being received or answered.
        self.idle_since: float | None = None
        #: When the connection will be closed, on the monotonic clock, and why.
        self._deadline, self._deadline_reason = math.inf, IDLE
        #: Whether a request is being received.
        self._receiving = False
        #: Requests without a complete response, including the one that is being received.
        self._unanswered = 0
        self._header_bytes = self._header_count = 0
        #: Bytes of the request after the chunk in which it begins; ``_account_head`` counts the head in that chunk.
        self._bytes_after_first_chunk = 0
        #: Bytes after the chunk of the parser's last callback: the beginning of a header or trailer, which it buffers.
        self._held_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set the deadline for the first request's head; close connections of clients that are not allowed."""
        super().connection_made(CoalescingTransport(transport, self._response_buffered))  # type: ignore[arg-type]
        # uvloop's default for TLS is 512 KiB per connection
        transport.set_write_buffer_limits(high=LARGE_RESPONSE)
        self._owner.handshake_done(self)
        self._set_deadline(self._owner.settings.header_timeout, HEAD_TOO_SLOW)
        allowed = self._owner.settings.client_names
        # connections to the health listener have no TLS
        if allowed is not None and transport.get_extra_info("sslcontext") is not None:
            names = _names(transport.get_extra_info("peercert"))
            if names.isdisjoint(allowed):
                self._close_with(CLIENT_NOT_ALLOWED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener that the connection is closed."""
        self._owner.forget_large_response(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass data to the parser, and count it: the parser buffers incomplete headers without a limit."""
        if self._close_reason is not None or self.transport.is_closing():
            return
        self._bytes_after_first_chunk += len(data)
        self._held_bytes += len(data)
        super().data_received(data)
        if self._close_reason is not None:
            return
        if self._held_bytes > self._owner.settings.max_header_size:
            self._close_with(HEAD_TOO_LARGE)
        elif self._bytes_after_first_chunk > self._owner.settings.max_body_size * MAX_DRAIN_FACTOR:
            self._close_with(BODY_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin to receive a request."""
        if self._unanswered >= MAX_PIPELINED:
            self._abort_parsing(PIPELINE_TOO_LONG)
        super().on_message_begin()
        self._unanswered += 1
        self._receiving = True
        self._header_bytes = self._header_count = 0
        self._bytes_after_first_chunk = self._held_bytes = 0
        self._set_deadline(self._owner.settings.header_timeout, HEAD_TOO_SLOW)

    def on_url(self, url: bytes) -> None:
        """Receive a part of the request's target."""
        self._account_head(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header, or a trailer after a chunked body."""
        self._account_head(len(name) + len(value), 1)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application."""
        if self.parser.should_upgrade():
            # the parser would leave the body unread, and parse it as the next request
            self._abort_parsing(UPGRADE)
        self._held_bytes = 0
        self._set_deadline(self._owner.settings.body_timeout, BODY_TOO_SLOW)
        # not the loop's time, which stands still while the loop is busy
        self.scope["state"]["head_complete_at"] = time.monotonic()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Receive a part of the body."""
        self._held_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the response, or the next request, from now on."""
        self._receiving = False
        self._held_bytes = 0
        super().on_message_complete()
        if self._unanswered:
            self._set_deadline(RESPONSE_TIMEOUT, RESPONSE_TOO_SLOW)
        else:
            self._set_deadline(self._owner.settings.keep_alive, IDLE)

    def on_response_complete(self) -> None:
        """Become idle, unless another request is being received or answered."""
        super().on_response_complete()
        self.served = True
        self._unanswered -= 1
        if self._close_reason is not None:
            self._send_and_close()
        elif not self._unanswered and not self._receiving:
            self._set_deadline(self._owner.settings.keep_alive, IDLE)

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if its deadline is over."""
        if now < self._deadline:
            return
        if self.transport.is_closing():
            # the client had time to read what was still to be sent
            self.transport.abort()
        else:
            self._close_with(self._deadline_reason)

    def close_if_idle(self) -> None:
        """Close the connection if it is idle; one that has not yet sent its first request is not."""
        if self.idle_since is not None:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 — the parser's message means nothing to clients
        """Close the connection: the parser failed, or ``_abort_parsing`` stopped it."""
        self._close_with(self._close_reason or NOT_HTTP)

    def _account_head(self, size: int, headers: int) -> None:
        self._held_bytes = 0
        self._header_bytes += size
        self._header_count += headers
        settings = self._owner.settings
        if self._header_bytes > settings.max_header_size or self._header_count > settings.max_header_count:
            self._abort_parsing(HEAD_TOO_LARGE)

    def _response_buffered(self, size: int) -> None:
        if size > LARGE_RESPONSE:
            self._owner.response_buffered(self, size)

    def _set_deadline(self, seconds: float, reason: CloseReason) -> None:
        now = time.monotonic()
        self._deadline, self._deadline_reason = now + seconds, reason
        self.idle_since = now if reason is IDLE else None

    def _abort_parsing(self, reason: CloseReason) -> None:
        """Stop the parser; uvicorn then calls :meth:`send_400_response`."""
        self._close_reason = reason
        raise ParsingAborted

    def _close_with(self, reason: CloseReason) -> None:
        """Count the reason, and close the connection once earlier requests have their responses."""
        if self.transport.is_closing():
            return
        self._close_reason = reason
        if reason.limit is not None:
            self._owner.metrics.count_exceeded_limit(reason.limit)
        elif reason.status is not None:
            self._owner.metrics.count_bad_request(reason.status)
        else:
            self._owner.metrics.count_closed_idle_connection()
        self._send_and_close()

    def _send_and_close(self) -> None:
        """Send the reason's response and close; wait if earlier requests are still being answered."""
        reason = self._close_reason
        if reason is None or self.transport.is_closing():
            return
        if reason.status is not None:
            earlier = self._unanswered - self._receiving
            if earlier > 0:
                self._set_deadline(RESPONSE_TIMEOUT, RESPONSE_TOO_SLOW)
                return
            # It is -1 if the request that is being received has already been answered. A client that does not read its
            # responses gets none.
            if earlier == 0 and not self.transport.get_write_buffer_size():
                self.transport.write(_response(reason.status, reason.detail))
        self._deadline = time.monotonic() + RESPONSE_TIMEOUT
        self.transport.close()


def _response(status: int, detail: str) -> bytes:
    body = error_body(detail)
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


def _names(certificate: dict[str, Any] | None) -> set[str]:
    """Return the common and alternative names in the result of ``SSLSocket.getpeercert``."""
    certificate = certificate or {}
    common = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return common | {value for _, value in certificate.get("subjectAltName", ())}
