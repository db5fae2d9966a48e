"""The API server for programs: JSON over connections that are kept, as the administrator."""

import http.client
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .client import Client

__all__ = ["Answer", "Api", "direct", "proxied"]

SECONDS = 60.0


class Answer(NamedTuple):
    """What the API server said."""

    status: int
    document: Any
    warnings: tuple[str, ...]


class Api:
    """An API server, asked by any number of threads, each over a connection of its own."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection], *, again: bool = False) -> None:
        """Open connections by ``connect``; ``again`` asks once more where a kept one turns out to be closed."""
        self._connect = connect
        self._again = again
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        media_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """Return the answer; the document is one that becomes JSON, or a text that is JSON.

        Raises OSError or HTTPException where there is none; the next request opens the connection again.
        """
        body = document if document is None or isinstance(document, str) else json.dumps(document)
        connection = self._connection()
        kept = connection.sock is not None
        try:
            connection.request(method, path, body, {"Content-Type": media_type, "Accept": accept})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if kept and self._again:
                return self.ask(method, path, body, media_type=media_type, accept=accept)
            raise
        return Answer(answer.status, json.loads(said), tuple(answer.headers.get_all("warning", ())))

    def close(self) -> None:
        """End all threads' connections."""
        for connection in self._connections:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._connections.append(connection)
        return connection


@contextmanager
def direct(kubeconfig: Path) -> Iterator[Api]:
    """Yield the API server of a kubeconfig that names files, as those of the clusters that are made here do."""
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    server = urlsplit(cluster["server"])
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    connect = partial(http.client.HTTPSConnection, server.hostname or "", server.port, context=context, timeout=SECONDS)
    with closing(Api(connect)) as api:
        yield api


@contextmanager
def proxied(kubectl: Client) -> Iterator[Api]:
    """Yield any cluster's API server: ``kubectl proxy`` knows every way to log in."""
    command = [str(kubectl.program), "proxy", "--port=0", f"--kubeconfig={kubectl.kubeconfig}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            line = proxy.stdout.readline()
            port = re.search(r":(\d+)\s*$", line)
            assert port, line
            connect = partial(http.client.HTTPConnection, "127.0.0.1", int(port[1]), timeout=SECONDS)
            with closing(Api(connect, again=True)) as api:
                yield api
        finally:
            proxy.terminate()
