"""The process of the playground: one listener on this machine's own address."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence

import uvicorn

from webhook.errors import StartError
from webhook.playground.app import playground_app
from webhook.playground.worker import Worker

__all__ = ["run"]

ADDRESS = "127.0.0.1"
#: How long an answer may take, in seconds, whatever else the machine has to do.
TIME_LIMIT = 60.0


def run(port: int, command: Sequence[str], setup: bytes, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``announce`` is called with the page's address when it can be opened.

    ``command`` is the program that answers questions, ``setup`` the JSON that the page begins with. Raises
    :class:`StartError` where the port can't be had.
    """
    try:
        listener = socket.create_server((ADDRESS, port), backlog=64)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"can't listen on {ADDRESS}:{port}: {reason}; --port 0 takes a free port") from None
    with listener:
        port = listener.getsockname()[1]
        names = (ADDRESS, "localhost")
        hosts = tuple(f"{name}:{port}" for name in names) + (names if port == 80 else ())  # noqa: PLR2004 — HTTP's own
        asyncio.run(_serve(listener, command, setup, hosts, lambda: announce(f"http://{ADDRESS}:{port}/")))


async def _serve(
    listener: socket.socket, command: Sequence[str], setup: bytes, hosts: tuple[str, ...], announce: Callable[[], None]
) -> None:
    # so that this function ends with either: uvicorn raises the signal again when it has shut down
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    worker = Worker(command, TIME_LIMIT)
    config = uvicorn.Config(
        playground_app(worker, setup, hosts),
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    try:
        # the socket listens already: a browser that is faster than the server waits for it
        announce()
        await server.serve(sockets=[listener])
    finally:
        await worker.close()
