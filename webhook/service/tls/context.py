"""The server's TLS context, which gives each handshake the newest verified certificate."""

import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from certs import pem
from certs.files import Content, ReadFailure
from certs.verify import Fault, FaultKind, Pair, SourceNames, UnusablePairError, verify

__all__ = ["CertificatePaths", "ReloadingContext", "ServingCertificate", "load_serving_certificate"]


class CertificatePaths(NamedTuple):
    """The files of the server's certificate, its key and the CAs of clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def files(self) -> tuple[Path, ...]:
        """Return the distinct files."""
        paths = (self.certificate, self.key, self.client_ca)
        return tuple(dict.fromkeys(path for path in paths if path is not None))


class ServingCertificate(NamedTuple):
    """A certificate that was verified, and a context that serves it."""

    pair: Pair
    context: ssl.SSLContext


class ReloadingContext:
    """Holds the context of the listener, and swaps the certificate that it serves.

    ``load_cert_chain`` on a context in use may leave it with one pair's certificate and another's key, for good.
    So the context in use has no certificate at all: each handshake is handed to the newest context, which nobody
    changes again. OpenSSL asks at every ClientHello, also without a server name.
    """

    def __init__(self, identity: ServingCertificate | None, *, verify_clients: bool) -> None:
        self._identity = identity
        self.listener_context = _base_context(verify_clients=verify_clients)
        self.listener_context.sni_callback = self._select_certificate

    @property
    def identity(self) -> ServingCertificate | None:
        """Return what new connections get; None before there is a certificate, when no handshake succeeds."""
        return self._identity

    def swap(self, identity: ServingCertificate) -> None:
        """Serve another certificate from the next handshake on; open connections stay as they are."""
        self._identity = identity

    def _select_certificate(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._identity is not None:
            handshake.context = self._identity.context


def load_serving_certificate(
    paths: CertificatePaths, files: Mapping[Path, Content], *, now: datetime, names: tuple[str, ...] = ()
) -> ServingCertificate:
    """Return the identity in these files, of which ``files`` has the content.

    Raises :class:`certs.verify.UnusablePairError` where it is not good for ``names`` at ``now``, or can't be used at
    all; the text names the file.
    """
    chain, key = _content(files, paths.certificate), _content(files, paths.key)
    pair = verify(chain, key, now=now, names=names, sources=SourceNames(str(paths.certificate), str(paths.key)))
    context = _base_context(verify_clients=paths.client_ca is not None)
    try:
        context.load_cert_chain(paths.certificate, paths.key)
        if paths.client_ca is not None:
            context.load_verify_locations(cadata=_client_cas(files, paths.client_ca))
        _self_test_handshake(context, pair)
    except ssl.SSLError as error:
        # as "EE_KEY_TOO_SMALL"; the text has the line of OpenSSL's source besides
        reason = error.reason.replace("_", " ").lower() if error.reason else str(error)
        raise _unusable(f"OpenSSL refuses what is in {paths.certificate}: {reason}") from None
    except OSError as error:
        raise _unusable(f"{paths.certificate} can't be read: {error.strerror}") from None
    return ServingCertificate(pair, context)


def _content(files: Mapping[Path, Content], path: Path) -> bytes:
    content = files[path]
    if isinstance(content, ReadFailure):
        raise _unusable(f"{path} can't be read: {content.reason}")
    return content


def _client_cas(files: Mapping[Path, Content], path: Path) -> bytes:
    """Return the CAs of clients, as DER."""
    try:
        cas = pem.certificates(_content(files, path), str(path))
    except pem.UnreadableError as error:
        raise _unusable(str(error)) from None
    return b"".join(ca.public_bytes(Encoding.DER) for ca in cas)


def _unusable(sentence: str) -> UnusablePairError:
    return UnusablePairError([Fault(FaultKind.UNREADABLE, sentence)])


def _base_context(*, verify_clients: bool) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and 1.3 without certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # AEAD with forward secrecy only; what TLS 1.3 has is so already
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    # An API server keeps its connections. Tickets would be two more messages for each, and would let a client in
    # whose certificate has ended since.
    context.options |= ssl.OP_NO_TICKET
    # The client's order of ciphers: it knows what its processor is quick at, and each of ours is good.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if verify_clients else ssl.CERT_NONE
    return context


def _self_test_handshake(context: ssl.SSLContext, pair: Pair) -> None:
    """Do a handshake in memory: OpenSSL must accept the pair, and serve the certificate that was verified.

    The files may have changed between our reading and OpenSSL's. Raises ssl.SSLError, or UnusablePairError.
    """
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE  # the pair was verified; here it is only compared
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            try:
                server.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert(binary_form=True)
    if shown != pair.leaf.public_bytes(Encoding.DER):
        raise _unusable("the certificate files changed while they were read")
