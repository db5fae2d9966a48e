"""Certificates that change again and again, some of them torn, under a real server that is under load.

``PILLION_RELOADS=1000`` is what releases are tried with; fewer show the same every day.
"""

import http.client
import os
import shutil
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.ca import CA, LeafPair
from tests.service.process import Process, ask
from tests.service.serving import eventually

RELOADS = int(os.environ.get("PILLION_RELOADS", "100"))
TORN_EACH = 10
"""Every so many-th pair is torn."""
NEW_CONNECTIONS, OPEN_CONNECTIONS = 3, 1


class Mount:
    """A mounted Secret, as the kubelet writes it: a folder that a symlink leads to, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(f"..data/{name}")

    def write(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Replace both files at once."""
        self._count += 1
        new, link = self.folder / f"..{self._count}", self.folder / "..data_tmp"
        new.mkdir()
        (new / "tls.crt").write_bytes(certificate_pem)
        (new / "tls.key").write_bytes(key_pem)
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        shutil.rmtree(self.folder / f"..{self._count - 1}", ignore_errors=True)


@dataclass
class Load:
    """What clients met."""

    shown: set[bytes] = field(default_factory=set)
    handshakes: int = 0
    requests: int = 0
    failures: list[Exception] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, connection: http.client.HTTPSConnection, *, new: bool) -> None:
        """Count an answered request, and what its connection was shown."""
        assert isinstance(connection.sock, ssl.SSLSocket)
        leaf = connection.sock.getpeercert(binary_form=True) or b""
        with self.lock:
            self.shown.add(leaf)
            self.requests += 1
            self.handshakes += new


@contextmanager
def load_on(process: Process, trust: ssl.SSLContext) -> Iterator[Load]:
    """Have clients call all the time: some over a new connection each time, some over one that stays open."""
    load, stop = Load(), threading.Event()

    def call(*, new: bool) -> None:
        while not stop.is_set():
            connection = http.client.HTTPSConnection("localhost", process.port, context=trust, timeout=20)
            try:
                ask(connection)
                load.count(connection, new=True)
                while not new and not stop.is_set():
                    ask(connection)
                    load.count(connection, new=False)
            except Exception as error:  # noqa: BLE001 — whatever it is, the test fails
                load.failures.append(error)
                return
            finally:
                connection.close()

    kinds = [True] * NEW_CONNECTIONS + [False] * OPEN_CONNECTIONS
    threads = [threading.Thread(target=call, kwargs={"new": new}) for new in kinds]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def ca() -> CA:
    """Return the one that clients trust."""
    return CA.create(datetime.now(UTC))


@pytest.fixture
def mount(tmp_path: Path, ca: CA) -> Mount:
    """Return a mounted Secret with a first pair."""
    folder = tmp_path / "mount"
    folder.mkdir()
    mount = Mount(folder)
    leaf = issue(ca)
    mount.write(leaf.certificate_pem, leaf.key_pem)
    return mount


@pytest.fixture
def process(launch: Callable[..., Process], mount: Mount) -> Process:
    """Return a ``pillion serve`` with the mounted pair."""
    files = (f"--tls-cert={mount.folder}/tls.crt", f"--tls-key={mount.folder}/tls.key")
    return launch(*files, "--tls-names=localhost", "--reload-interval=20ms")


def issue(ca: CA) -> LeafPair:
    """Return a new leaf."""
    return ca.issue(("localhost",), datetime.now(UTC))


def reloads(process: Process, result: str) -> int:
    """Return what the server's own metric says."""
    name = f'pillion_certificate_reloads_total{{result="{result}"}} '
    (value,) = [line.removeprefix(name) for line in process.metrics().splitlines() if line.startswith(name)]
    return int(float(value))


def test_no_handshake_and_no_request_fails(process: Process, mount: Mount, ca: CA) -> None:
    """Each good pair is taken over, each torn one is not; log and metric say which; no client notices."""
    trust = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    good = torn = 0
    current = issue(ca)
    whole: set[bytes] = set()
    with load_on(process, trust) as load:
        for number in range(1, RELOADS + 1):
            before, new = current, issue(ca)
            if number % TORN_EACH == 0:
                mount.write(new.certificate_pem, before.key_pem)
                torn += 1
                eventually(lambda: load.failures or reloads(process, "failure") >= torn)  # noqa: B023 — called at once
            else:
                mount.write(new.certificate_pem, new.key_pem)
                good += 1
                current = new
                whole.add(new.certificate.public_bytes(Encoding.DER))
                eventually(lambda: load.failures or reloads(process, "success") >= good)  # noqa: B023 — called at once
    assert load.failures == []
    # a look in the middle of a swap may take one pair over twice, or find it torn first
    counts = reloads(process, "success"), reloads(process, "failure")
    assert counts[0] >= good
    assert counts[1] >= torn

    def logged(event: str) -> int:
        return [line["event"] for line in process.output].count(event)

    # a line is written a little after it is counted
    eventually(lambda: (logged("certificate reloaded"), logged("certificate reload failed")) == counts)
    assert all(
        "key does not belong" in line["message"]
        for line in process.output
        if line["event"] == "certificate reload failed"
    )
    # the load was there: about a handshake for each pair, and more requests than that
    assert load.requests > load.handshakes >= RELOADS
    assert len(load.shown & whole) >= good // 2
    assert len(load.shown - whole) <= 1, "besides the first, a certificate without its key was shown"
    report = (
        f"{good} reloads, {torn} torn; {load.handshakes} handshakes, {load.requests} requests, {len(load.shown)} leaves"
    )
    sys.stderr.write(f"\n{report}\n")
