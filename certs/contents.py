"""Lists the certificates and private keys in PEM text, for people and programs; nothing secret of a key is kept."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from certs.verify import alternative_names, display_name, is_ca

__all__ = ["Certificate", "Item", "Key", "Unreadable", "belongs", "contents"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate's facts."""

    name: str
    """The subject, or where it is empty the alternative names."""
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    is_ca: bool
    fingerprint: str
    """SHA-256 of the whole, in hexadecimal."""
    public_key: bytes
    """DER; equal to that of the private key that belongs to it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A private key's facts."""

    algorithm: str
    public_key: bytes
    """DER."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part that is neither a certificate nor a private key."""

    problem: str


Item = Certificate | Key | Unreadable


def contents(pem: bytes) -> list[Item]:
    """Return what the text holds, in its order; one :class:`Unreadable` where it holds nothing at all."""
    items = [_item(block[1].decode(), block[0]) for block in _BLOCK.finditer(pem)]
    return items or [Unreadable("no PEM: it has no lines -----BEGIN …----- and -----END …-----" if pem else "empty")]


def belongs(key: Key, certificates: Iterable[Certificate]) -> Certificate | None:
    """Return the certificate that a private key belongs to."""
    return next((each for each in certificates if each.public_key == key.public_key), None)


def _item(label: str, block: bytes) -> Item:
    try:
        if label == "CERTIFICATE":
            return _certificate(x509.load_pem_x509_certificate(block))
        if label.endswith("PRIVATE KEY"):
            return _key(load_pem_private_key(block, password=None))
    except TypeError:
        return Unreadable("a private key that is encrypted; write it without a password")
    except Exception:  # noqa: BLE001 — the library has no common class for what it can't read
        return Unreadable(f"a part that says {label} and can't be decoded")
    return Unreadable(f"a part that says {label}: neither a certificate nor a private key")


def _certificate(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        name=display_name(certificate).strip(chr(34)),
        names=tuple(alternative_names(certificate)),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_ca=is_ca(certificate),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        public_key=certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def _key(key: PrivateKeyTypes) -> Key:
    match key:
        case ec.EllipticCurvePrivateKey():
            algorithm = f"EC {key.curve.name}"
        case rsa.RSAPrivateKey():
            algorithm = f"RSA {key.key_size}"
        case _:
            algorithm = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
    return Key(algorithm, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
