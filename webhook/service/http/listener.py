"""A listening socket: accepts connections up to the limit, and closes them at shutdown."""

import asyncio
import errno
import socket
import ssl
import time
from contextlib import suppress
from typing import NamedTuple, cast

import uvicorn.server
from uvicorn import Config

from webhook.service.http.connection import Connection
from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Listener"]

#: Seconds that closing waits for handshakes, and again for responses; also the time limit for a TLS peer's close.
CLOSE_TIMEOUT = 2.0

#: Bytes of large responses that open connections may hold together; API servers cause none or a few.
MAX_BUFFERED_RESPONSES = 16 << 20

#: Sent with every response while the server drains.
CONNECTION_CLOSE = (b"connection", b"close")

#: Errors of accept(2) if the process or the machine has no file descriptor or memory for another connection.
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Handshake(NamedTuple):
    """A TLS handshake that is not finished."""

    sock: socket.socket
    task: asyncio.Task[None]


class Listener:
    """Serves an application on a socket, over TLS if there is a context.

    It does not use ``loop.create_server``, so that connections are counted from the beginning of their handshake, and
    that connections in the kernel's accept queue are answered before the socket is closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        config: Config,
        settings: Settings,
        metrics: Metrics,
        *,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self._sock = sock
        self._config = config
        self._context = context
        #: uvicorn's state, which all connections share; ``default_headers`` are copied into every response.
        self._state = uvicorn.server.ServerState()
        self._handshaking: dict[Connection, Handshake] = {}
        self._deadline_task: asyncio.Task[None] | None = None
        #: Bytes of the largest response by connection, least recent first; connections without a large one are missing.
        self._large_responses: dict[Connection, int] = {}

    @property
    def port(self) -> int:
        """Return the port that the socket is bound to."""
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def open_count(self) -> int:
        """Return the number of open connections, handshakes included."""
        return len(self._connections) + len(self._handshaking)

    @property
    def _connections(self) -> set[Connection]:
        return cast("set[Connection]", self._state.connections)  # all of them were made here

    def start(self) -> None:
        """Begin to accept connections, in the running loop."""
        if not self._config.loaded:
            self._config.load()
        self._sock.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._accept)
        self._deadline_task = loop.create_task(self._close_overdue())

    def end_keep_alive(self) -> None:
        """Send ``Connection: close`` with every response from now on, and close its connection after it."""
        if CONNECTION_CLOSE not in self._state.default_headers:
            self._state.default_headers.append(CONNECTION_CLOSE)

    async def drain(self, time_limit: float, idle: float) -> None:
        """Serve for at most ``time_limit`` seconds more, with one request per connection.

        Return earlier if no connection has been open for ``idle`` seconds. API servers open new connections until they
        learn that this server has left the Service's endpoints.
        """
        self.end_keep_alive()
        loop = asyncio.get_running_loop()
        end = loop.time() + time_limit
        last_seen = loop.time()
        while loop.time() < end and loop.time() - last_seen < idle:
            await asyncio.sleep(0.05)
            if self.open_count:
                last_seen = loop.time()

    async def close(self, time_limit: float = CLOSE_TIMEOUT) -> None:
        """Stop listening; wait up to ``time_limit`` seconds for handshakes and again for responses; close the rest."""
        self.end_keep_alive()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        # connections in the accept queue would be reset if the socket was closed
        self._accept()
        self._sock.close()
        if self._handshaking:
            await asyncio.wait([handshake.task for handshake in self._handshaking.values()], timeout=time_limit)
        # read what has arrived: a connection that seems idle may have sent a request
        await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.close_if_idle()
        end = loop.time() + time_limit
        while (self._connections or self._state.tasks) and loop.time() < end:  # noqa: ASYNC110 — uvicorn's sets
            await asyncio.sleep(0.01)
        self.abort()

    def abort(self) -> None:
        """Close everything at once."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
        if self._deadline_task is not None:
            self._deadline_task.cancel()
        for handshake in self._handshaking.values():
            handshake.task.cancel()
        for task in self._state.tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.transport.abort()

    def _accept(self) -> None:
        """Accept connections from the kernel's accept queue."""
        # as many as may be open; if more arrive, they wait for the next iteration of the event loop
        for _ in range(self.settings.max_connections):
            try:
                accepted, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    self._pause()
                    return
                continue  # the client has closed it already
            if self.open_count >= self.settings.max_connections and not self._make_room():
                self.metrics.count_exceeded_limit(Limit.CONNECTIONS)
                accepted.close()
                continue
            accepted.setblocking(False)
            connection = Connection(self._config, self._state, self)
            task = asyncio.get_running_loop().create_task(self._handshake(accepted, connection))
            self._handshaking[connection] = Handshake(accepted, task)

    def _pause(self) -> None:
        """Leave new connections in the accept queue for 0.1 s: accepting again at once would fail in a busy loop."""
        self.metrics.count_exceeded_limit(Limit.RESOURCES)
        self._make_room()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.call_later(0.1, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _make_room(self) -> bool:
        """Close a connection to make room for a new one; return whether there was one to close.

        The oldest without a response yet, because an API server's connection has its first within milliseconds; if
        there is none, the one that has been idle for longest. So stalled connections can't keep API servers out.
        """
        unserved = [connection for connection in (*self._handshaking, *self._connections) if not connection.served]
        idle = [connection for connection in self._connections if connection.idle_since is not None]
        if unserved:
            self.metrics.count_exceeded_limit(Limit.CONNECTIONS)
            self._drop(min(unserved, key=lambda connection: connection.accepted))
        elif idle:
            self.metrics.count_closed_idle_connection()
            self._drop(min(idle, key=lambda connection: connection.idle_since or 0.0))
        return bool(unserved or idle)

    def _drop(self, connection: Connection) -> None:
        """Close a connection at once; ``open_count`` no longer includes it."""
        handshake = self._handshaking.pop(connection, None)
        if handshake is not None:
            # Its task then ends as if the client had left. A task cancelled before its first step would not close it.
            with suppress(OSError):
                handshake.sock.shutdown(socket.SHUT_RDWR)
        else:
            self._connections.discard(connection)
            connection.transport.abort()

    def handshake_done(self, connection: Connection) -> None:
        """Take the connection off the list of handshakes; from now on uvicorn's set of connections has it."""
        self._handshaking.pop(connection, None)

    def response_buffered(self, connection: Connection, size: int) -> None:
        """Account for a large response; if all together exceed the limit, close connections that had one.

        A connection buffers a response until the client has read it, which may be never, and its TLS buffers stay that
        large until it is closed. Responses to API servers are small. A client that causes large ones (by a ``uid`` of
        megabytes) gets them, but not on all its connections at once.
        """
        self._large_responses[connection] = max(size, self._large_responses.pop(connection, 0))
        while len(self._large_responses) > 1 and sum(self._large_responses.values()) > MAX_BUFFERED_RESPONSES:
            # an idle connection loses no response
            first = next(
                (large for large in self._large_responses if large.idle_since is not None),
                next(iter(self._large_responses)),
            )
            self.metrics.count_exceeded_limit(Limit.BUFFERED_RESPONSES)
            self.forget_large_response(first)
            first.transport.abort()

    def forget_large_response(self, connection: Connection) -> None:
        """Remove the connection from the account of large responses."""
        self._large_responses.pop(connection, None)

    async def _handshake(self, accepted: socket.socket, connection: Connection) -> None:
        """Do the TLS handshake of an accepted connection, or without TLS only connect its protocol."""
        timeouts = (
            {"ssl_handshake_timeout": self.settings.handshake_timeout, "ssl_shutdown_timeout": CLOSE_TIMEOUT}
            if self._context is not None
            else {}
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._context, **timeouts
            )
        except OSError:  # TLS errors and timeouts are OSErrors as well
            self.metrics.count_handshake_failure()
        finally:
            self._handshaking.pop(connection, None)

    async def _close_overdue(self) -> None:
        """Close connections whose deadline is over, once a second."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connection in list(self._connections):
                connection.close_if_overdue(now)
