"""The server's TLS context, which presents the newest verified certificate in each handshake."""

import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding

from certs import pem
from certs.files import Content, ReadFailure
from certs.verify import SourceNames, UnusablePairError, VerifiedLeaf, verify

__all__ = ["CertificatePaths", "ServingCertificate", "ServingContext", "load_serving_certificate"]


class CertificatePaths(NamedTuple):
    """The files of the certificate, its key and the CAs of clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def files(self) -> tuple[Path, ...]:
        """Return the distinct files."""
        paths = (self.certificate, self.key, self.client_ca)
        return tuple(dict.fromkeys(path for path in paths if path is not None))


class ServingCertificate(NamedTuple):
    """A verified certificate, and a TLS context that presents it."""

    leaf: VerifiedLeaf
    context: ssl.SSLContext


class ServingContext:
    """Holds the listener's TLS context, and the certificate that it presents.

    ``load_cert_chain`` on a context in use could leave it with the certificate of one pair and the key of another. So
    the listener's context has no certificate: OpenSSL's callback for server names, which it also calls for a
    ClientHello without a name, switches each handshake to the context of the newest certificate.
    """

    def __init__(self, *, verify_clients: bool) -> None:
        self._certificate: ServingCertificate | None = None
        self.listener_context = _base_context(verify_clients=verify_clients)
        self.listener_context.sni_callback = self._select_certificate

    @property
    def certificate(self) -> ServingCertificate | None:
        """Return the certificate of new connections; None if there is none yet, so that handshakes fail."""
        return self._certificate

    def swap(self, certificate: ServingCertificate) -> None:
        """Present another certificate from the next handshake on; open connections are not affected."""
        self._certificate = certificate

    def _select_certificate(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._certificate is not None:
            handshake.context = self._certificate.context


def load_serving_certificate(
    paths: CertificatePaths, files: Mapping[Path, Content], *, now: datetime, names: tuple[str, ...] = ()
) -> ServingCertificate:
    """Return the certificate in ``paths``, whose content is in ``files``.

    Raises :class:`certs.verify.UnusablePairError` if it is invalid for ``names`` or at ``now``, or can't be read; the
    message names a file that can't be read or that OpenSSL rejects.
    """
    chain, key = _content(files, paths.certificate), _content(files, paths.key)
    leaf = verify(chain, key, now=now, names=names, sources=SourceNames(str(paths.certificate), str(paths.key)))
    context = _base_context(verify_clients=paths.client_ca is not None)
    try:
        context.load_cert_chain(paths.certificate, paths.key)
        if paths.client_ca is not None:
            context.load_verify_locations(cadata=_client_cas(files, paths.client_ca))
        _self_test_handshake(context, leaf)
    except ssl.SSLError as error:
        # for example "EE_KEY_TOO_SMALL"; str(error) also has the line of OpenSSL's source
        reason = error.reason.replace("_", " ").lower() if error.reason else str(error)
        raise UnusablePairError.unreadable(f"OpenSSL rejects the content of {paths.certificate}: {reason}") from None
    except OSError as error:
        raise UnusablePairError.unreadable(f"{paths.certificate} can't be read: {error.strerror}") from None
    return ServingCertificate(leaf, context)


def _content(files: Mapping[Path, Content], path: Path) -> bytes:
    content = files[path]
    if isinstance(content, ReadFailure):
        raise UnusablePairError.unreadable(f"{path} can't be read: {content.reason}")
    return content


def _client_cas(files: Mapping[Path, Content], path: Path) -> bytes:
    """Return the CAs of clients, as DER."""
    try:
        cas = pem.certificates(_content(files, path), str(path))
    except pem.UnreadableError as error:
        raise UnusablePairError.unreadable(str(error)) from None
    return b"".join(ca.public_bytes(Encoding.DER) for ca in cas)


def _base_context(*, verify_clients: bool) -> ssl.SSLContext:
    """Return a context for TLS 1.2 and 1.3 without certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # only AEAD with forward secrecy, as all cipher suites of TLS 1.3 are
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    # Session tickets are of no use, as API servers keep their connections, and would admit a client whose certificate
    # has expired since.
    context.options |= ssl.OP_NO_TICKET
    # The client's order of ciphers: it knows which one its hardware accelerates, and all of them are secure.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if verify_clients else ssl.CERT_NONE
    return context


def _self_test_handshake(context: ssl.SSLContext, leaf: VerifiedLeaf) -> None:
    """Do a handshake in memory: OpenSSL must accept the pair, and present the certificate that was verified.

    The files may have changed after they were verified and before OpenSSL read them. Raises ssl.SSLError or
    UnusablePairError.
    """
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE  # the pair was verified; here the leaf is only compared
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
    presented = client.getpeercert(binary_form=True)
    if presented != leaf.certificate.public_bytes(Encoding.DER):
        raise UnusablePairError.unreadable("the certificate files changed while they were read")
