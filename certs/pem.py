"""Reads certificates and private keys from PEM text; errors say what is there instead, and what to do."""

import re
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = [
    "EncryptedError",
    "UnreadableError",
    "blocks",
    "certificates",
    "count_private_keys",
    "describe",
    "private_key",
    "public_key",
    "readable_certificates",
]

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
#: A block without another one inside: if an END line is missing, the next block is found all the same.
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)

#: What a file holds in place of a certificate or a key, by its PEM label, and what to do about it.
_DESCRIPTIONS = {
    "CERTIFICATE": "it holds a certificate",
    "CERTIFICATE REQUEST": "it holds a certificate request; use the certificate that the CA issues for it",
    "NEW CERTIFICATE REQUEST": "it holds a certificate request; use the certificate that the CA issues for it",
    "PKCS7": "it holds PKCS #7; convert it: openssl pkcs7 -print_certs -in OLD -out NEW",
    "PUBLIC KEY": "it holds a public key",
    "RSA PUBLIC KEY": "it holds a public key",
    "OPENSSH PRIVATE KEY": "it holds a key in OpenSSH's format; convert it: ssh-keygen -p -m PEM -f FILE",
}
_PRIVATE_KEY_SUFFIX = "PRIVATE KEY"
_OPENSSH = "OPENSSH PRIVATE KEY"
#: The header of a traditional key that is encrypted (RFC 1421); PKCS #8 has a label of its own.
_ENCRYPTED_HEADER = b"Proc-Type: 4,ENCRYPTED"
#: How DER, and so PKCS #12, begins: a SEQUENCE.
_DER = b"\x30"


class UnreadableError(ValueError):
    """The bytes hold no readable certificate or key. The message is a sentence and never quotes them."""


class EncryptedError(UnreadableError):
    """The private key is encrypted with a password."""


def certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    """Return all certificates in their order; raise :class:`UnreadableError` if there are none or one can't be read.

    ``where`` names the source in messages: ``the certificate file``, or a path.
    """
    if "CERTIFICATE" not in _labels(pem):
        raise UnreadableError(f"{where} holds no certificate: {describe(pem)}")
    try:
        return x509.load_pem_x509_certificates(pem)
    except Exception as error:  # noqa: BLE001 — the library has no common class for unreadable input
        raise UnreadableError(f"{where} holds no certificate that can be read: {_first_line(error)}") from None


def readable_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the distinct certificates that can be read, in their order; blocks that can't be read are left out."""
    found: dict[x509.Certificate, None] = {}
    for label, block in blocks(pem):
        if label == "CERTIFICATE":
            with suppress(UnreadableError):
                found[certificates(block, "")[0]] = None
    return tuple(found)


def blocks(pem: bytes) -> list[tuple[str, bytes]]:
    """Return each PEM block with its label (RFC 7468), in their order."""
    return [(block[1].decode(), block[0]) for block in _BLOCK.finditer(pem)]


def private_key(pem: bytes, where: str) -> PrivateKeyTypes:
    """Return the first private key; raise :class:`UnreadableError` if there is none or it can't be read."""
    labels = [label for label in _labels(pem) if label.endswith(_PRIVATE_KEY_SUFFIX)]
    if not labels or labels[0] == _OPENSSH:
        raise UnreadableError(f"{where} holds no private key: {describe(pem)}")
    try:
        return load_pem_private_key(pem, password=None)
    except Exception as error:  # noqa: BLE001 — as above
        if isinstance(error, TypeError) or labels[0].startswith("ENCRYPTED") or _ENCRYPTED_HEADER in pem:
            what = "holds an encrypted private key; write it without a password: openssl pkey -in OLD -out NEW"
            raise EncryptedError(f"{where} {what}") from None
        raise UnreadableError(f"{where} holds no private key that can be read: {_first_line(error)}") from None


def public_key(certificate: x509.Certificate, where: str) -> CertificatePublicKeyTypes:
    """Return a certificate's public key; raise :class:`UnreadableError` if its kind is unknown."""
    try:
        return certificate.public_key()
    except Exception as error:  # noqa: BLE001 — as above
        raise UnreadableError(f"a public key in {where} can't be read: {_first_line(error)}") from None


def count_private_keys(pem: bytes) -> int:
    """Return the number of private keys, readable or not."""
    return sum(label.endswith(_PRIVATE_KEY_SUFFIX) for label in _labels(pem))


def describe(pem: bytes) -> str:
    """Describe the content, for the message that it holds no certificate or key."""
    labels = _labels(pem)
    if labels:
        if not blocks(pem):
            return "it is cut off: there is a line -----BEGIN …----- without its line -----END …-----"
        known = [_DESCRIPTIONS[label] for label in labels if label in _DESCRIPTIONS]
        if known:
            return known[0]
        return (
            "it holds a private key"
            if any(label.endswith(_PRIVATE_KEY_SUFFIX) for label in labels)
            else f"it holds {labels[0]}"
        )
    if not pem.strip():
        return "it is empty"
    if pem.startswith(_DER):
        return (
            "it is binary, PKCS #12 or DER, and not PEM; convert it: openssl pkcs12 -nodes, openssl x509 -inform der "
            "or openssl pkey -inform der, each with -in OLD -out NEW"
        )
    return "it is not PEM, which has lines -----BEGIN …----- and -----END …-----"


def _labels(pem: bytes) -> list[str]:
    return [label.decode() for label in _LABEL.findall(pem)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unknown format"])[0][:100]
