"""What a hostile client does that costs memory, each kind again and again: python -m tests.fuzz.hostility SECONDS."""

import json
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

from tests.fuzz.server import GROWTH, OK, PATIENCE, resident
from tests.service.process import Process, launch
from tests.service.serving import eventually, make_review

__all__ = ["besiege"]

HEAD = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
#: The largest body that is taken (Settings.max_body_size).
LARGEST = 7 << 20
#: So long after its last request the server may take to look at its memory, in seconds: twice the default interval.
REST = 10


def _connect(process: Process) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE)
    return process.trust().wrap_socket(sock, server_hostname="localhost")


def _post(process: Process, body: bytes) -> None:
    with _connect(process) as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        while sock.recv(65536):
            pass


def slow_heads(process: Process, random: Random) -> None:
    """Open many connections and send a byte on each until they are ended."""
    with ExitStack() as stack:
        held = [stack.enter_context(_connect(process)) for _ in range(30)]
        for _ in range(3):
            for sock in held:
                sock.sendall(b"POST /mutate HTTP/1.1\r\nX-Slow: " if random.random() < 0.3 else b"y" * 8000)


def half_handshakes(process: Process, random: Random) -> None:
    """Open many connections that never say anything, or nothing that is TLS."""
    with ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE))
            sock.sendall(random.randbytes(random.randrange(0, 400)))


def largest_bodies(process: Process, random: Random) -> None:
    """Post a review of the largest size, whose pod is real."""
    document = make_review(uid=f"large-{random.random()}")
    document["request"]["object"]["metadata"]["labels"] = {"padding": "x" * (LARGEST - 2000)}
    _post(process, json.dumps(document).encode())


def deep_bodies(process: Process, random: Random) -> None:
    """Post a review of the largest size that consists of brackets, or of small numbers."""
    text = random.choice(
        (b"[" * (LARGEST // 2 - 500) + b"]" * (LARGEST // 2 - 500), b"[" + b"1," * (LARGEST // 2 - 900) + b"1]")
    )
    body = json.dumps(make_review("@@")).encode().replace(b'"@@"', text)
    _post(process, body)


def endless_bodies(process: Process, _: Random) -> None:
    """Send chunks until the server has enough."""
    with _connect(process) as sock:
        sock.sendall(CHUNKED)
        while True:
            sock.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def half_bodies(process: Process, random: Random) -> None:
    """Announce a large body, send half of it, and leave."""
    with _connect(process) as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST + b" " * random.randrange(LARGEST))


def unread_answers(process: Process, _: Random) -> None:
    """Ask for large answers, one after the other, and read none."""
    body = json.dumps(make_review(uid="u" * 1_000_000)).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with _connect(process) as sock:
        sock.settimeout(2)
        for _turn in range(8):
            sock.sendall(request)


def long_pipelines(process: Process, _: Random) -> None:
    """Send hundreds of requests without waiting."""
    body = json.dumps(make_review()).encode()
    with _connect(process) as sock:
        sock.sendall((HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 300)


def new_names(process: Process, random: Random) -> None:
    """Post reviews in which everything that could be remembered is new."""
    for _ in range(20):
        name = f"n{random.getrandbits(64)}"
        document = make_review(uid=name, namespace=name)
        metadata = document["request"]["object"]["metadata"]
        metadata["annotations"] |= {"pillion.dev/profile": name, f"pillion.dev/{name}": name}
        _post(process, json.dumps(document).encode())


def new_paths(process: Process, random: Random) -> None:
    """Ask for pages that nobody asked for before."""
    with _connect(process) as sock:
        for _ in range(50):
            sock.sendall(
                b"GET /%d HTTP/1.1\r\nHost: x\r\nX-%d: y\r\n\r\n" % (random.getrandbits(64), random.getrandbits(64))
            )
            sock.recv(65536)


KINDS: tuple[Callable[[Process, Random], None], ...] = (
    *(slow_heads, half_handshakes, largest_bodies, deep_bodies, endless_bodies, half_bodies, unread_answers),
    *(long_pipelines, new_names, new_paths),
)


def besiege(process: Process, seconds: float, seed: int, clients: int = 8) -> str:
    """Do all of it for so long, by several clients at once; return the figures.

    AssertionError where more memory is held afterwards than may be, or nobody is answered any more.
    """
    before = resident(process)
    enough = threading.Event()
    counts: Counter[str] = Counter()

    def client(random: Random) -> None:
        while not enough.is_set():
            kind = random.choice(KINDS)
            with suppress(OSError):  # to be sent away is what it deserves
                kind(process, random)
            counts[kind.__name__] += 1

    threads = [threading.Thread(target=client, args=(Random(seed + number),)) for number in range(clients)]
    for thread in threads:
        thread.start()
    highest = before
    while not enough.wait(0.2):
        highest = max(highest, resident(process))
        seconds -= 0.2
        if seconds <= 0:
            enough.set()
    for thread in threads:
        thread.join(4 * PATIENCE)
    eventually(lambda: 'pillion_connections{listener="reviews"} 0.0' in process.metrics(), 60)
    end = time.monotonic() + REST
    while (grown := resident(process) - before) > GROWTH and time.monotonic() < end:
        time.sleep(0.2)
    figures = (
        f"{before >> 10} KiB at the start, {highest >> 10} KiB at most, {grown >> 10:+} KiB afterwards; "
        f"{sum(counts.values())} acts {dict(sorted(counts.items()))}"
    )
    assert process.ready() == OK, figures
    assert grown <= GROWTH, figures
    return figures


def main() -> int:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        process = launch(Path(folder), stack)
        print(besiege(process, float(sys.argv[1]), seed=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
