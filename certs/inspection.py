"""What PEM text holds, as facts for people and programs: certificates, and keys without what is secret of them."""

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

__all__ = ["CertificateInfo", "InspectionProblem", "Item", "KeyInfo", "certificate_of", "inspect_pem"]

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CertificateInfo:
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
class KeyInfo:
    """A private key's facts."""

    algorithm: str
    public_key: bytes
    """DER."""


@dataclass(frozen=True, slots=True)
class InspectionProblem:
    """A part that is neither."""

    problem: str


Item = CertificateInfo | KeyInfo | InspectionProblem


def inspect_pem(pem: bytes) -> list[Item]:
    """Return what the text holds, in its order; one :class:`InspectionProblem` where it holds nothing at all."""
    items = [_item(block[1].decode(), block[0]) for block in _BLOCK.finditer(pem)]
    return items or [
        InspectionProblem("no PEM: it has no lines -----BEGIN …----- and -----END …-----" if pem else "empty")
    ]


def certificate_of(key: KeyInfo, certificates: Iterable[CertificateInfo]) -> CertificateInfo | None:
    """Return the certificate that a private key belongs to."""
    return next((each for each in certificates if each.public_key == key.public_key), None)


def _item(label: str, block: bytes) -> Item:
    try:
        if label == "CERTIFICATE":
            return _certificate(x509.load_pem_x509_certificate(block))
        if label.endswith("PRIVATE KEY"):
            return _key(load_pem_private_key(block, password=None))
    except TypeError:
        return InspectionProblem("a private key that is encrypted; write it without a password")
    except Exception:  # noqa: BLE001 — the library has no common class for what it can't read
        return InspectionProblem(f"a part that says {label} and can't be decoded")
    return InspectionProblem(f"a part that says {label}: neither a certificate nor a private key")


def _certificate(certificate: x509.Certificate) -> CertificateInfo:
    return CertificateInfo(
        name=display_name(certificate).strip(chr(34)),
        names=tuple(alternative_names(certificate)),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_ca=is_ca(certificate),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        public_key=certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def _key(key: PrivateKeyTypes) -> KeyInfo:
    match key:
        case ec.EllipticCurvePrivateKey():
            algorithm = f"EC {key.curve.name}"
        case rsa.RSAPrivateKey():
            algorithm = f"RSA {key.key_size}"
        case _:
            algorithm = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
    return KeyInfo(algorithm, key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
