"""Requests to an API server that answers, refuses, stalls, and breaks off."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certs.api import ApiConnection, ApiError, ApiServer, StatusError, UnreachableError
from certs.ca import CA

NOW = datetime.now(UTC)
TEST_CA = CA.create(NOW)
LEAF = TEST_CA.issue(("127.0.0.1",), NOW)
DATE = b"Date: Sun, 17 May 2026 12:30:00 GMT\r\n"

#: What a peer does with one connection after its handshake.
Script = Callable[[ssl.SSLSocket], None]


def answer(status: str, body: bytes, *headers: bytes) -> bytes:
    """Return a whole HTTP answer."""
    return b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        DATE,
        b"".join(headers),
        len(body),
        body,
    )


def request(peer: ssl.SSLSocket) -> bytes:
    """Read one request of which the body, if any, comes with the head or right after."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = peer.recv(65536)
        if not part:
            return b""
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


class Peer:
    """A listener whose script plays the API server's part."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        (folder / "ca.crt").write_bytes(TEST_CA.certificate_pem)
        (folder / "token").write_text("a-token\n")
        (folder / "pair").write_bytes(LEAF.certificate_pem + LEAF.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "pair")
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.stack = stack

    def plays(self, script: Script, *, tls: bool = True, seconds: float = 20.0) -> ApiServer:
        """Return the API server as which the peer answers one connection."""

        def play() -> None:
            try:
                raw, _ = self.listener.accept()
                with raw, self.context.wrap_socket(raw, server_side=True) if tls else raw as peer:
                    script(peer)  # type: ignore[arg-type]
            except OSError:
                pass  # the client left

        thread = threading.Thread(target=play)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(self.listener.close)
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.listener.getsockname()[1]),
        }
        here = ApiServer.in_cluster(environment, self.folder)
        return replace(here, time_limit=seconds)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Yield a listener."""
    with ExitStack() as stack:
        yield Peer(tmp_path, stack)


def asked(server: ApiServer, do: Callable[[ApiConnection], object] = lambda connection: connection.get("/x")) -> object:
    """Return what came of a request over a connection of its own."""
    with server.connect() as connection:
        return do(connection)


def test_an_answer_has_a_document_and_a_time(peer: Peer) -> None:
    """The pod's own token says who asks, and only that."""
    seen: list[bytes] = []

    def script(wire: ssl.SSLSocket) -> None:
        seen.append(request(wire))
        wire.sendall(answer("200 OK", b'{"a": 1}'))

    assert asked(peer.plays(script)) == ({"a": 1}, datetime(2026, 5, 17, 12, 30, tzinfo=UTC))
    assert seen[0].startswith(b"GET /x HTTP/1.1\r\n")
    assert b"Authorization: Bearer a-token\r\n" in seen[0]


def test_one_connection_serves_several_requests(peer: Peer) -> None:
    """A look is four requests and one handshake."""

    def script(wire: ssl.SSLSocket) -> None:
        while request(wire):
            wire.sendall(answer("201 Created", b"{}"))

    def do(connection: ApiConnection) -> None:
        connection.get("/x")
        connection.apply("/x", {"kind": "X"})
        connection.merge("/x", {"a": None})

    asked(peer.plays(script), do)


@pytest.mark.parametrize(
    ("do", "line", "media_type"),
    [
        (
            lambda c: c.apply("/x", {"a": 1}),
            b"PATCH /x?fieldManager=pillion&force=true ",
            b"Content-Type: application/apply-patch+yaml\r\n",
        ),
        (
            lambda c: c.merge("/x", {"a": 1}),
            b"PATCH /x?fieldManager=pillion ",
            b"Content-Type: application/merge-patch+json\r\n",
        ),
    ],
)
def test_writes_name_their_manager(
    peer: Peer, do: Callable[[ApiConnection], object], line: bytes, media_type: bytes
) -> None:
    """What we own is ours by that name, whoever else writes."""
    seen: list[bytes] = []

    def script(wire: ssl.SSLSocket) -> None:
        seen.append(request(wire))
        wire.sendall(answer("200 OK", b"{}"))

    asked(peer.plays(script), do)
    assert seen[0].startswith(line)
    assert media_type in seen[0]
    assert json.loads(seen[0].partition(b"\r\n\r\n")[2]) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "missing", "conflict"), [(404, True, False), (409, False, True), (403, False, False)]
)
def test_a_refusal_says_what_the_api_server_said(peer: Peer, status: int, missing: bool, conflict: bool) -> None:
    """With its time: the clocks are compared also where there is no Secret."""

    def script(wire: ssl.SSLSocket) -> None:
        request(wire)
        wire.sendall(answer(f"{status} No", b'{"message": "not for you"}'))

    with pytest.raises(StatusError, match=f"^GET /x: {status}: not for you$") as raised:
        asked(peer.plays(script))
    error = raised.value
    assert (error.not_found, error.conflict, error.api_server_time.year) == (missing, conflict, 2026)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        answer("200 OK", b'{"metadata": {"name": "x"}}')[:-9],
        answer("200 OK", b'{"metadata": {"na'),
        answer("200 OK", b"<html>busy</html>"),
        b"220 mail.example.org ESMTP\r\n",
        answer("200 OK", b"{}").replace(DATE, b""),
        answer("200 OK", b"{}").replace(DATE, b"Date: yesterday\r\n"),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["nothing", "head", "body", "document", "html", "mail", "no date", "odd date", "many headers"],
)
def test_half_an_answer_is_none(peer: Peer, said: bytes) -> None:
    """Nothing of it is believed."""

    def script(wire: ssl.SSLSocket) -> None:
        request(wire)
        wire.sendall(said)

    with pytest.raises(UnreachableError, match=r"^GET /x: no response from the API server: ."):
        asked(peer.plays(script))


def test_an_error_that_is_no_status_is_still_a_refusal(peer: Peer) -> None:
    """A proxy's own page in JSON, say."""

    def script(wire: ssl.SSLSocket) -> None:
        request(wire)
        wire.sendall(answer("503 Service Unavailable", b"[]"))

    with pytest.raises(StatusError, match=r"^GET /x: 503: Service Unavailable$"):
        asked(peer.plays(script))


def trickle(part: bytes) -> Script:
    """Return a peer that sends an answer so slowly that no single read takes long, until the client leaves."""

    def script(wire: ssl.SSLSocket) -> None:
        while True:
            wire.sendall(part)
            time.sleep(0.05)

    return script


@pytest.mark.parametrize(
    ("script", "tls"),
    [
        (lambda wire: request(wire) and wire.recv(1), True),
        (trickle(b"HTTP/1.1 100 Continue\r\n\r\n"), True),
        (trickle(b"x"), True),
        (lambda raw: raw.recv(65536) and raw.recv(1), False),
    ],
    ids=["silent", "continues", "a byte at a time", "silent in the handshake"],
)
def test_every_wait_has_an_end(peer: Peer, script: Script, tls: bool) -> None:
    """Whatever is waited for, and however often a byte comes: the end is that of the whole connection."""
    with pytest.raises(UnreachableError):
        asked(peer.plays(script, tls=tls, seconds=0.5))


def test_a_certificate_without_key_identifier_is_trusted(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older clusters have such; Python refuses them by default from 3.13 on."""
    lenient = ssl.create_default_context

    def strict(**settings: str) -> ssl.SSLContext:
        context = lenient(**settings)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    certificate = LEAF.certificate
    builder = x509.CertificateBuilder(
        certificate.issuer,
        certificate.subject,
        certificate.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    older = builder.add_extension(names.value, critical=True).sign(TEST_CA.key, hashes.SHA256())
    (peer.folder / "pair").write_bytes(older.public_bytes(Encoding.PEM) + LEAF.key_pem)
    peer.context.load_cert_chain(peer.folder / "pair")

    def script(wire: ssl.SSLSocket) -> None:
        request(wire)
        wire.sendall(answer("200 OK", b"{}"))

    assert asked(peer.plays(script))


def test_a_server_that_we_do_not_trust_is_told_nothing(peer: Peer, tmp_path: Path) -> None:
    """The token is sent after the handshake."""
    seen: list[bytes] = []
    server = peer.plays(lambda wire: seen.append(request(wire)))
    (tmp_path / "ca.crt").write_bytes(CA.create(NOW).certificate_pem)
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        asked(server)
    assert seen == []


@pytest.mark.parametrize("lost", ["ca.crt", "token"])
def test_an_account_that_can_not_be_read_is_an_error_with_its_file(peer: Peer, tmp_path: Path, lost: str) -> None:
    """A volume may be away for a moment: the next look reads again."""
    server = peer.plays(lambda _: None)
    (tmp_path / lost).unlink()
    with pytest.raises(UnreachableError, match="can't be read"):
        asked(server)
    socket.create_connection((server.host, server.port)).close()  # lets the peer end


def test_no_error_and_no_repr_shows_the_token(peer: Peer) -> None:
    """They are logged."""

    def script(wire: ssl.SSLSocket) -> None:
        request(wire)
        wire.sendall(answer("401 Unauthorized", b"{}"))

    server = peer.plays(script)
    with pytest.raises(ApiError) as raised:
        asked(server, lambda connection: connection.apply("/x", {"data": "SECRET"}))
    assert "a-token" not in f"{raised.value!r} {server!r}"
    assert "SECRET" not in f"{raised.value!r}"
