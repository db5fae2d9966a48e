"""A listening socket: lets connections in, as many as are allowed, and lets them all out again."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState

from webhook.service.connection import Connection, Door
from webhook.service.metrics import Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["Listener"]

#: A peer that does not answer our goodbye within this time, in seconds, is not waited for.
GOODBYE = 2.0

#: Large answers that open connections hold together, in bytes; of API servers' pods there are none or a few.
LARGE_TOGETHER = 16 << 20

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
        doors: Mapping[bytes, Door[Any]] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        #: Paths at which a request is answered without ASGI.
        self.doors = doors or {}
        self.draining = False
        self._sock = sock
        self._config = config
        self._context = context
        self._state = ServerState()
        #: Connections whose handshake goes on.
        self._greeted: dict[Connection, asyncio.Task[None]] = {}
        self._sweep: asyncio.Task[None] | None = None
        #: The largest answer of those that had a large one; who had one last is last.
        self._grown: dict[Connection, int] = {}

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        port: int = self._sock.getsockname()[1]
        return port

    @property
    def open(self) -> int:
        """Return how many connections are open, handshakes included."""
        return len(self._connections) + len(self._greeted)

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
        self._sweep = loop.create_task(self._expire())

    async def drain(self, most: float, quiet: float) -> None:
        """Serve on, each answer being its connection's last, for ``most`` seconds.

        Return earlier once no connection has been open for ``quiet`` seconds: until the last API server has
        heard that we are leaving, new ones may still come.
        """
        self.draining = True
        for connection in self._connections:
            connection.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + most
        last_seen = loop.time()
        while loop.time() < end and loop.time() - last_seen < quiet:
            await asyncio.sleep(0.05)
            if self.open:
                last_seen = loop.time()

    async def close(self, grace: float = GOODBYE) -> None:
        """Stop listening, answer what is being served, say goodbye; wait ``grace`` seconds for each of these."""
        self.draining = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        # the kernel has completed these connections for us; closing the socket would reset them
        self._accept()
        self._sock.close()
        if self._greeted:
            await asyncio.wait(self._greeted.values(), timeout=grace)
        # a turn of the loop reads what has arrived by now: who seems idle may have sent a request
        await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.leave()
        end = loop.time() + grace
        while (self._connections or self._state.tasks) and loop.time() < end:  # noqa: ASYNC110 — uvicorn's sets
            await asyncio.sleep(0.01)
        self.abort()

    def abort(self) -> None:
        """Leave at once."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for task in [*self._greeted.values(), *self._state.tasks]:
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
            if self.open >= self.settings.max_connections and not self._make_room():
                self.metrics.exceeded(Limit.CONNECTIONS)
                accepted.close()
                continue
            accepted.setblocking(False)
            connection = Connection(self._config, self._state, self)
            task = asyncio.get_running_loop().create_task(self._greet(accepted, connection))
            self._greeted[connection] = task

    def _pause(self) -> None:
        """Let the kernel keep new connections for a moment: asking it again at once would only spin."""
        self.metrics.exceeded(Limit.CONNECTIONS)
        self._make_room()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.call_later(0.1, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest, and return whether there was one.

        So nobody can keep an API server out by holding connections that do nothing.
        """
        idle = [connection for connection in self._connections if connection.idle_since is not None]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: connection.idle_since or 0.0)
        self.metrics.exceeded(Limit.IDLE)
        self._connections.discard(longest)
        longest.transport.abort()
        return True

    def welcome(self, connection: Connection) -> None:
        """Count a connection as open from here on: its handshake is over."""
        self._greeted.pop(connection, None)

    def grown(self, connection: Connection, size: int) -> None:
        """Make room for a large answer, by ending who has had one for longest.

        A connection holds an answer until it is read, which may be never, and its TLS buffers stay as large as that
        answer for as long as it is open. An API server's pods have small answers; whoever asks for large ones (by a
        ``uid`` of megabytes) gets them, but not from all connections at once.
        """
        self._grown[connection] = max(size, self._grown.pop(connection, 0))
        while len(self._grown) > 1 and sum(self._grown.values()) > LARGE_TOGETHER:
            # whoever is idle loses nothing that was read
            first = next((each for each in self._grown if each.idle_since is not None), next(iter(self._grown)))
            self.metrics.exceeded(Limit.ANSWERS)
            self.forget(first)
            first.transport.abort()

    def forget(self, connection: Connection) -> None:
        """Take a connection's large answer for gone."""
        self._grown.pop(connection, None)

    async def _greet(self, accepted: socket.socket, connection: Connection) -> None:
        """Shake hands."""
        timeouts = (
            {"ssl_handshake_timeout": self.settings.handshake_timeout, "ssl_shutdown_timeout": GOODBYE}
            if self._context is not None
            else {}
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._context, **timeouts
            )
        except OSError:  # TLS errors and timeouts are OSErrors as well
            self.metrics.handshake_failed()
        finally:
            self._greeted.pop(connection, None)

    async def _expire(self) -> None:
        """Once a second, end what is overdue."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for connection in list(self._connections):
                connection.expire(now)
