"""The TLS that is spoken, to whom, and a certificate that changes under a running server."""

import shutil
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import files
from certs.ca import BACKDATING, CA
from certs.verify import FaultKind, UnusablePairError
from tests.pages import run
from tests.service.serving import Running, eventually, make_review, write_pair
from webhook.service.tls import context as tls


def contents(paths: tls.CertificatePaths) -> dict[Path, files.Content]:
    """Return what is in the files."""
    return {path: files.read(path) for path in paths.files()}


def shown_by(server: Running, trust: ssl.SSLContext | None = None, name: str | None = "localhost") -> bytes:
    """Return the certificate that a new connection is shown, verified."""
    with (
        socket.create_connection(("127.0.0.1", server.server.review_listener.port), timeout=20) as sock,
        (trust or server.trust).wrap_socket(sock, server_hostname=name) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def trusting(ca: CA) -> ssl.SSLContext:
    """Return a client's context."""
    return ssl.create_default_context(cadata=ca.certificate_pem.decode())


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_current_versions_are_spoken(server: Running, version: str) -> None:
    """TLS 1.2, and 1.3 with those who can; ALPN settles on HTTP/1.1."""
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(shown_by(server)))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", server.server.review_listener.port), timeout=20) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as connection,
    ):
        assert connection.version() == version.replace("_", ".")
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_older_versions_are_not_spoken(server: Running) -> None:
    """TLS 1.1 is over."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        shown_by(server, context)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_names_and_addresses_are_shown_the_certificate(server: Running, name: str) -> None:
    """A client that calls by address sends no server name; it is shown the same."""
    assert shown_by(server, name=name)


def test_another_cas_client_leaves(server: Running) -> None:
    """Who does not trust us finds out, and so do we."""
    before = server.sample("pillion_tls_handshake_failures_total")
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_by(server, trusting(CA.create(datetime.now(UTC))))
    eventually(lambda: server.sample("pillion_tls_handshake_failures_total") == before + 1)


def test_a_new_certificate_is_shown_to_new_connections(serve: Callable[..., Running], ca: CA, tmp_path: Path) -> None:
    """Open connections go on; new ones are shown what lies on disk now; metric and log say so."""
    server = serve()
    first = shown_by(server)
    with server.client() as client:
        assert client.get("/mutate").status_code == 405
        write_pair(tmp_path, ca)
        eventually(lambda: shown_by(server) != first)
        assert client.get("/mutate").status_code == 405
    assert server.sample("pillion_certificate_reloads_total", result="success") >= 1
    assert any(line["event"] == "certificate reloaded" for line in server.log())


def test_handshakes_go_on_while_certificates_change(serve: Callable[..., Running], ca: CA, tmp_path: Path) -> None:
    """Certificates swapped in again and again, of one CA and another: no handshake ever fails."""
    other = CA.create(datetime.now(UTC))
    trust = trusting(ca)
    trust.load_verify_locations(cadata=other.certificate_pem.decode())
    server = serve(reload_interval=0.01)
    failures: list[Exception] = []
    shown: set[bytes] = set()
    stop = threading.Event()

    def shake() -> None:
        while not stop.is_set():
            try:
                shown.add(shown_by(server, trust))
            except Exception as error:  # noqa: BLE001 — whatever it is, the test fails
                failures.append(error)

    threads = [threading.Thread(target=shake) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(12):
            count = len(shown)
            write_pair(tmp_path, (ca, other)[number % 2])
            eventually(lambda: len(shown) > count or failures)  # noqa: B023 — called at once
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(shown) >= 12


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder, _: (folder / "tls.key").write_bytes(b""),
        lambda folder, _: (folder / "tls.crt").write_bytes(b"hello"),
        lambda folder, _: (folder / "tls.crt").unlink(),
        lambda folder, ca: (folder / "tls.key").write_bytes(ca.key_pem),
        lambda folder, ca: write_pair(folder, ca, "other.svc"),
        lambda folder, ca: write_pair(folder, ca, now=datetime.now(UTC) - timedelta(days=60)),
    ],
    ids=["no key", "no certificate", "gone", "another key", "another name", "ended"],
)
def test_a_bad_pair_keeps_the_old_one(
    serve: Callable[..., Running],
    ca: CA,
    tmp_path: Path,
    spoil: Callable[[Path, CA], object],
) -> None:
    """Whatever is wrong with the new files: the old certificate is shown on, log and metric say why, once."""
    server = serve(tls_names=("localhost",))
    first = shown_by(server)
    spoil(tmp_path, ca)
    eventually(lambda: server.sample("pillion_certificate_reloads_total", result="failure") >= 1)
    assert server.sample("pillion_certificate_last_reload_successful") == 0
    assert shown_by(server) == first
    assert server.get("/readyz").status_code == 200
    kept = [line for line in server.log() if line["event"] == "certificate reload failed"]
    assert kept[0]["message"]
    write_pair(tmp_path, ca)
    eventually(lambda: shown_by(server) != first)


def test_a_pair_whose_time_comes_is_taken_over_without_a_change(
    serve: Callable[..., Running], ca: CA, tmp_path: Path
) -> None:
    """An issuer whose clock is ahead of ours, and who does not backdate, makes such pairs; once they are told."""
    server = serve()
    first = shown_by(server)
    soon = datetime.now(UTC) + BACKDATING + timedelta(seconds=3)
    write_pair(tmp_path, ca, now=soon)
    eventually(lambda: any("is not valid before" in str(line.get("message")) for line in server.log()))
    assert shown_by(server) == first
    eventually(lambda: shown_by(server) != first)
    told = [line for line in server.log() if "is not valid before" in str(line.get("message"))]
    assert len(told) <= 2  # the two files are replaced one after the other


def intermediate(ca: CA) -> tuple[bytes, bytes]:
    """Return the CA's certificate as a root of its own signed it, and that root's."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])

    def sign(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> bytes:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(key, SHA256())
            .public_bytes(Encoding.PEM)
        )

    return sign(ca.certificate.subject, ca.key.public_key()), sign(root, key.public_key())


def test_a_chain_is_shown_whole(serve: Callable[..., Running], ca: CA, tmp_path: Path) -> None:
    """A client that trusts the root alone is shown what stands between it and the leaf."""
    between, root = intermediate(ca)
    server = serve()
    certificate, _ = write_pair(tmp_path, ca)
    certificate.write_bytes(certificate.read_bytes() + between)
    eventually(lambda: server.sample("pillion_certificate_reloads_total", result="success") >= 1)
    trust = ssl.create_default_context(cadata=root.decode())
    eventually(lambda: succeeds(server, trust))


def succeeds(server: Running, trust: ssl.SSLContext) -> bool:
    """Return whether a client that trusts this can connect."""
    try:
        return bool(shown_by(server, trust))
    except ssl.SSLCertVerificationError:
        return False


def client_context(folder: Path, trust: CA, signer: CA, *usages: x509.ObjectIdentifier) -> ssl.SSLContext:
    """Return the context of a client called ``kube-apiserver``, whose certificate ``signer`` signed."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        .sign(signer.key, SHA256())
    )
    pair = folder / "client.pem"
    pair.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = trusting(trust)
    context.load_cert_chain(pair)
    return context


@pytest.fixture
def client_ca(tmp_path: Path) -> tuple[CA, Path]:
    """Return a CA for clients, and the file with its certificate."""
    clients = CA.create(datetime.now(UTC), name="clients")
    path = tmp_path / "clients.pem"
    path.write_bytes(clients.certificate_pem)
    return clients, path


def asked(server: Running, context: ssl.SSLContext) -> int:
    """Return the status of a review that is posted with this context."""
    with server.client(verify=context) as client:
        return client.post("/mutate", json=make_review()).status_code


def test_only_clients_with_a_certificate_are_let_in(
    serve: Callable[..., Running], ca: CA, tmp_path: Path, client_ca: tuple[CA, Path]
) -> None:
    """With a client CA set: its clients, and nobody else."""
    clients, path = client_ca
    server = serve(client_ca=path)
    assert asked(server, client_context(tmp_path, ca, clients, ExtendedKeyUsageOID.CLIENT_AUTH)) == 200
    strangers = (
        server.trust,
        client_context(tmp_path, ca, ca, ExtendedKeyUsageOID.CLIENT_AUTH),
        client_context(tmp_path, ca, clients, ExtendedKeyUsageOID.SERVER_AUTH),
    )
    for stranger in strangers:
        with pytest.raises(httpx2.TransportError):
            asked(server, stranger)
    assert asked(server, client_context(tmp_path, ca, clients, ExtendedKeyUsageOID.CLIENT_AUTH)) == 200


@pytest.mark.parametrize(
    ("names", "status"), [(("kube-apiserver",), 200), (("x", "kube-apiserver"), 200), (("x",), 403)]
)
def test_only_clients_of_these_names_are_let_in(
    serve: Callable[..., Running],
    ca: CA,
    client_ca: tuple[CA, Path],
    names: tuple[str, ...],
    status: int,
) -> None:
    """A cluster's CA signs every node's certificate, too; only the API server's name is let in."""
    clients, path = client_ca
    server = serve(client_ca=path, client_names=names)
    assert asked(server, client_context(path.parent, ca, clients, ExtendedKeyUsageOID.CLIENT_AUTH)) == status
    # probes and scrapes come without a certificate
    assert server.get("/readyz").status_code == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_the_pages_client_certificate_is_let_in(serve: Callable[..., Running], tmp_path: Path) -> None:
    """What the commands of docs/security.md make is one that a server with this client CA accepts."""
    said = run("security.md#who-can-call-the-webhook 1", tmp_path, tmp_path)
    server = serve(client_ca=tmp_path / "clients-ca.pem", client_names=("kube-apiserver",))
    context = server.trust
    context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    assert asked(server, context) == 200, said


def test_a_new_client_ca_is_taken_over(
    serve: Callable[..., Running], ca: CA, tmp_path: Path, client_ca: tuple[CA, Path]
) -> None:
    """It rotates as well; who was let in before is not any more."""
    clients, path = client_ca
    server = serve(client_ca=path)
    other = CA.create(datetime.now(UTC))
    path.write_bytes(other.certificate_pem)
    eventually(lambda: server.sample("pillion_certificate_reloads_total", result="success") == 1)
    with pytest.raises(httpx2.TransportError):
        asked(server, client_context(tmp_path, ca, clients, ExtendedKeyUsageOID.CLIENT_AUTH))
    assert asked(server, client_context(tmp_path, ca, other, ExtendedKeyUsageOID.CLIENT_AUTH)) == 200


def test_load_says_what_is_wrong(ca: CA, tmp_path: Path) -> None:
    """Names and times are checked before anything is shown."""
    paths = tls.CertificatePaths(*write_pair(tmp_path, ca))
    with pytest.raises(UnusablePairError) as raised:
        tls.load_serving_certificate(
            paths, contents(paths), now=datetime.now(UTC) + timedelta(days=100), names=("other.svc",)
        )
    assert [fault.kind for fault in raised.value.faults] == [FaultKind.TIME, FaultKind.NAME]


def test_files_that_change_while_they_are_read_are_noticed(
    ca: CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What OpenSSL loaded must be what was verified: the files are read twice, and may change in between."""
    paths = tls.CertificatePaths(*write_pair(tmp_path, ca))

    def verify_then_change(*arguments: Any, **options: Any) -> object:
        leaf = verify(*arguments, **options)
        write_pair(tmp_path, ca)
        return leaf

    verify = tls.verify  # type: ignore[attr-defined] # it is replaced where it is used
    monkeypatch.setattr(tls, "verify", verify_then_change)
    with pytest.raises(UnusablePairError, match="changed while"):
        tls.load_serving_certificate(paths, contents(paths), now=datetime.now(UTC))
