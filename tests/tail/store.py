"""A store that takes records by `_bulk` and by OTLP, and fails as it is told."""

import contextlib
import gzip
import http.server
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

__all__ = ["Request", "Response", "Store"]

Record = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    records: list[Record]
    """The documents of `_bulk`, with an `_id` if they have one, or OTLP's records, with their attributes."""
    at: float
    """When it came."""
    client: Any = None
    """The client's certificate."""


@dataclass
class Response:
    """What is answered instead of success."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    stores: Callable[[int, Record], bool] = lambda _number, _record: False
    """Which records are stored all the same."""
    cut: bool = False
    """The connection ends without an answer."""
    seconds: float = 0.0
    """It takes so long."""
    endless: bytes = b""
    """What follows the body again and again, until the client has had enough."""
    pause: float = 0.0
    """Between two of them."""
    raw: bytes = b""
    """This is answered, whatever protocol it is, and the connection ends."""


class Store:
    """A server on a port of its own, which it keeps when it stops and starts again."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.records: list[Record] = []
        self.decide: Callable[[Request], Response | None] = lambda _request: None
        self._next: list[Response] = []
        self._tls = tls
        self._lock = threading.Lock()
        self._server: http.server.ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Be there."""
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                store._answer(self)

            def log_message(self, *_words: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_words: object) -> None:
                pass  # clients are killed

            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                if store._tls is not None:
                    connection = store._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                with store._lock:
                    connections.append(connection)
                return connection, address

        connections: list[socket.socket] = []
        self._connections = connections
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be away: nobody listens, and no connection lives on."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def answers(self, *responses: Response) -> None:
        """Answer the next requests like this."""
        with self._lock:
            self._next += responses

    @property
    def connections(self) -> int:
        """How many there were since it started."""
        with self._lock:
            return len(self._connections)

    @property
    def lines(self) -> list[str]:
        """The text of each record, in the order in which they came."""
        with self._lock:
            return [
                record["message"] if "message" in record else record["body"]["stringValue"] for record in self.records
            ]

    def _answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        bulk = "_bulk" in handler.path
        records = _of_bulk(body) if bulk else _of_otlp(body)
        peer = handler.connection.getpeercert() if isinstance(handler.connection, ssl.SSLSocket) else None
        request = Request(handler.path, headers, records, time.monotonic(), peer)
        with self._lock:
            self.requests.append(request)
            response = self._next.pop(0) if self._next else self.decide(request)
            if response is None:
                self.records += records
                response = Response(body={"errors": False, "items": []} if bulk else {})
            else:
                self.records += [one for number, one in enumerate(records) if response.stores(number, one)]
        if response.seconds:
            time.sleep(response.seconds)
        if response.cut or response.raw:
            handler.wfile.write(response.raw)
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        text = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        handler.send_response(response.status, HTTPStatus(response.status).phrase)
        length = {"content-length": str(1 << 40 if response.endless else len(text))}
        for name, value in {**length, **response.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)
        while response.endless:
            handler.wfile.write(response.endless)  # which fails when the client is gone
            time.sleep(response.pause)


def _of_bulk(body: bytes) -> list[Record]:
    lines = [json.loads(line) for line in body.splitlines()]
    return [{**action["create"], **document} for action, document in zip(lines[::2], lines[1::2], strict=True)]


def _of_otlp(body: bytes) -> list[Record]:
    records = []
    for resource in json.loads(body)["resourceLogs"]:
        of_all = _attributes(resource["resource"]["attributes"])
        for scope in resource["scopeLogs"]:
            records += [{**one, "attributes": _attributes(one["attributes"]) | of_all} for one in scope["logRecords"]]
    return records


def _attributes(pairs: list[Any]) -> dict[str, str]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in pairs}


def context(folder: Path, certificate: bytes, key: bytes, clients: bytes | None = None) -> ssl.SSLContext:
    """Return a server's TLS settings; with `clients` it wants certificates of this CA."""
    (folder / "server.pem").write_bytes(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    if clients is not None:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(cadata=clients.decode())
    return tls
