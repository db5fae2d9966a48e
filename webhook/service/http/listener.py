"""A listening socket: accepts as many connections as are allowed, and closes them in the end."""

import asyncio
import errno
import socket
import ssl
import time
from typing import cast

import uvicorn.server
from uvicorn import Config

from webhook.service.http.connection import Connection
from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Listener"]

#: How long closing waits for open requests, and then for the peers' part of closing, in seconds.
CLOSE_TIMEOUT = 2.0

#: Large responses that open connections hold together, in bytes; of API servers' pods there are none or a few.
MAX_BUFFERED_RESPONSES = 16 << 20

#: The client need not ask: a draining server's response is the last in its connection.
CONNECTION_CLOSE = (b"connection", b"close")

#: accept(2): the process or the machine has no descriptor or memory left for another connection.
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """Serves an application on a socket, over TLS if there is a context.

    It accepts by itself rather than by ``loop.create_server`` so that connections count from the first byte
    of their handshake, and so that what the kernel has accepted for us is taken before the socket is closed.
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
        #: What uvicorn's connections share; ``default_headers`` is copied into every response.
        self._state = uvicorn.server.ServerState()
        #: Connections whose handshake is not over.
        self._handshaking: dict[Connection, asyncio.Task[None]] = {}
        self._deadline_task: asyncio.Task[None] | None = None
        #: The largest response of each connection that had a large one; the latest is last.
        self._large_responses: dict[Connection, int] = {}

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def open_count(self) -> int:
        """Return how many connections are open, handshakes included."""
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
        """Let every response from now on be its connection's last: a header says so, and uvicorn closes."""
        if CONNECTION_CLOSE not in self._state.default_headers:
            self._state.default_headers.append(CONNECTION_CLOSE)

    async def drain(self, time_limit: float, idle: float) -> None:
        """Serve on, each response being its connection's last, for ``most`` seconds.

        Return earlier once no connection has been open for ``quiet`` seconds: until the last API server knows that
        this server shuts down, new ones may still come.
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
        """Stop listening, answer open requests, close connections; wait ``grace`` seconds for each of these."""
        self.end_keep_alive()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        # the kernel has completed these connections for us; closing the socket would reset them
        self._accept()
        self._sock.close()
        if self._handshaking:
            await asyncio.wait(self._handshaking.values(), timeout=time_limit)
        # a turn of the loop reads what has arrived by now: who seems idle may have sent a request
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
        for task in [*self._handshaking.values(), *self._state.tasks]:
            task.cancel()
        for connection in list(self._connections):
            connection.transport.abort()

    def _accept(self) -> None:
        """Take the connections that the kernel has accepted."""
        # as many as may be open; those that come faster wait a turn of the loop
        for _ in range(self.settings.max_connections):
            try:
                accepted, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    self._pause()
                    return
                continue  # that client is gone already
            if self.open_count >= self.settings.max_connections and not self._close_longest_idle():
                self.metrics.count_exceeded_limit(Limit.CONNECTIONS)
                accepted.close()
                continue
            accepted.setblocking(False)
            connection = Connection(self._config, self._state, self)
            task = asyncio.get_running_loop().create_task(self._handshake(accepted, connection))
            self._handshaking[connection] = task

    def _pause(self) -> None:
        """Let the kernel keep new connections for a moment: asking it again at once would only spin."""
        self.metrics.count_exceeded_limit(Limit.CONNECTIONS)
        self._close_longest_idle()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.call_later(0.1, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _close_longest_idle(self) -> bool:
        """Close the connection that has been idle for longest; return whether there was one.

        So nobody can keep an API server out by holding connections that do nothing.
        """
        idle = [connection for connection in self._connections if connection.idle_since is not None]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: connection.idle_since or 0.0)
        self.metrics.count_exceeded_limit(Limit.IDLE)
        self._connections.discard(longest)
        longest.transport.abort()
        return True

    def handshake_done(self, connection: Connection) -> None:
        """Count a connection as open from here on."""
        self._handshaking.pop(connection, None)

    def response_buffered(self, connection: Connection, size: int) -> None:
        """Make room for a large response by closing the connection that has held one for longest.

        A connection holds a response until it is read, which may be never, and its TLS buffers stay as large as that
        response for as long as it is open. An API server's pods have small responses; whoever asks for large ones (by
        a ``uid`` of megabytes) gets them, but not on all connections at once.
        """
        self._large_responses[connection] = max(size, self._large_responses.pop(connection, 0))
        while len(self._large_responses) > 1 and sum(self._large_responses.values()) > MAX_BUFFERED_RESPONSES:
            # whoever is idle loses nothing that was read
            first = next(
                (each for each in self._large_responses if each.idle_since is not None),
                next(iter(self._large_responses)),
            )
            self.metrics.count_exceeded_limit(Limit.BUFFERED_RESPONSES)
            self.closed(first)
            first.transport.abort()

    def closed(self, connection: Connection) -> None:
        """Forget a connection's large response."""
        self._large_responses.pop(connection, None)

    async def _handshake(self, accepted: socket.socket, connection: Connection) -> None:
        """Shake hands."""
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
        """Close what is overdue, once a second."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connection in list(self._connections):
                connection.close_if_overdue(now)
