"""The real server, over TLS, under mutated reviews and raw bytes: no 5xx, no hang, no growth."""

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from tests.fuzz.mutations import SEEDS, changed_bytes, mutated
from tests.service.process import Process

__all__ = ["Onslaught", "attack", "resident"]

#: A client that waits longer has met a hang: all deadlines of the server together are shorter.
PATIENCE = 30.0
SERVER_ERROR = 500
OK = 200
#: As much as an hour of hostile traffic may leave behind.
GROWTH = 32 << 20

HEADS = (
    b"POST /mutate?timeout=10s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
    (
        b"POST /mutate/opted-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        b"\r\n\r\n"
    ),
    b"GET /mutate HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PUT //%2e%2e/metrics HTTP/1.1\r\nHost: \xff\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
)


def resident(process: Process) -> int:
    """Return how many bytes of memory a process has resident."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Onslaught:
    """Clients that send what nobody should, each on its own; ``trouble`` is what must not happen."""

    def __init__(self, process: Process, seed: int, clients: int = 6) -> None:
        """Prepare clients of a process; the seed decides what they send, not in which order it arrives."""
        self._process = process
        self._trust = process.trust()
        self._enough = threading.Event()
        self.counts: Counter[str] = Counter()
        self.trouble: list[str] = []
        self._threads = [
            threading.Thread(
                target=self._client, args=(self._reviews if number % 2 else self._raw, Random(seed + number))
            )
            for number in range(clients)
        ]

    def run(self, seconds: float) -> None:
        """Send for so long, then return when all is answered."""
        for thread in self._threads:
            thread.start()
        self._enough.wait(seconds)
        self._enough.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self.trouble.append("a client waits still")

    def _client(self, act: Callable[[Random], None], random: Random) -> None:
        """Act again and again; an exception of ours must not pass for silence."""
        while not self._enough.is_set():
            try:
                act(random)
            except Exception as error:  # noqa: BLE001
                self._report(repr(error), b"")
                return

    def _reviews(self, random: Random) -> None:
        """Post mutated reviews over one connection, which the server has no reason to end."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._process.port, context=self._trust, timeout=PATIENCE)
        with closing(connection):
            for _ in range(200):
                body = mutated(random.choice(SEEDS), random)
                path = random.choice(("/mutate", "/mutate/opted-in?timeout=2s", "/lint", "/lint/opted-in"))
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                self.counts[f"review {answer.status}"] += 1
                if answer.status >= SERVER_ERROR:
                    self._report(f"{answer.status} {said[:200]!r}", body)
                elif b'"reason":"internal_error"' in said:
                    self._report("a bug", body)
                if self._enough.is_set():
                    return

    def _raw(self, random: Random) -> None:
        """Send bytes that are nearly HTTP, sometimes nearly TLS, and read until the server ends it."""
        body = mutated(random.choice(SEEDS), random)
        head = random.choice(HEADS)
        request = head.replace(b"%d", b"%d" % len(body)) + body
        sent = changed_bytes(request, random) if random.random() < 0.8 else request * random.randrange(1, 4)
        with socket.create_connection(("127.0.0.1", self._process.port), timeout=PATIENCE) as sock:
            if random.random() < 0.1:
                self.counts["no TLS"] += 1
                _converse(sock, sent)
                return
            try:
                with self._trust.wrap_socket(sock, server_hostname="localhost") as secure:
                    said = _converse(secure, sent)
            except TimeoutError:
                self._report("a hang", sent)
                return
        status = said[9:12].decode("ascii", "replace") if said.startswith(b"HTTP/1.1 ") else "none"
        self.counts[f"raw {status}"] += 1
        if status.startswith("5"):
            self._report(f"{said[:200]!r}", sent)

    def _report(self, what: str, sent: bytes) -> None:
        file = self._process.folder / f"finding-{len(self.trouble)}"
        file.write_bytes(sent)
        self.trouble.append(f"{what}: {file}")


def _converse(sock: socket.socket, sent: bytes) -> bytes:
    """Send, and return what comes until the server ends the connection; a reset while we send is an end, too."""
    received = b""
    try:
        sock.sendall(sent)
        while part := sock.recv(65536):
            received += part
            if len(received) > len(sent) + (1 << 20):
                break
    except TimeoutError:
        raise
    except OSError:
        pass
    return received


def attack(process: Process, seconds: float, seed: int) -> str:
    """Send for so long; return the figures, AssertionError with what went wrong."""
    Onslaught(process, seed).run(min(5.0, seconds / 5))  # caches are filled, every path was gone
    before = resident(process)
    onslaught = Onslaught(process, seed + 1000)
    onslaught.run(seconds)
    grown = resident(process) - before
    counts = dict(sorted(onslaught.counts.items()))
    figures = f"{sum(counts.values())} requests {counts}, grown by {grown >> 10} KiB"
    assert onslaught.trouble == [], f"{onslaught.trouble}; {figures}"
    assert process.ready() == OK, figures
    assert grown <= GROWTH, figures
    return figures
