"""Describes the certificates and keys in PEM text, without secret parts, for display and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs import pem
from certs.verify import alternative_names, display_name, is_ca

__all__ = ["CertificateInfo", "InspectionProblem", "Item", "KeyInfo", "certificate_of", "inspect_pem"]


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """The properties of a certificate."""

    #: The subject; if it is empty, the alternative names.
    name: str
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    is_ca: bool
    #: SHA-256 of the whole certificate, in hexadecimal.
    fingerprint: str
    #: DER; a private key with the same public key belongs to this certificate.
    public_key: bytes


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """The public properties of a private key."""

    algorithm: str
    #: DER.
    public_key: bytes


@dataclass(frozen=True, slots=True)
class InspectionProblem:
    """Returned in place of a certificate or key: why there is none."""

    problem: str


Item = CertificateInfo | KeyInfo | InspectionProblem


def inspect_pem(text: bytes) -> list[Item]:
    """Return what PEM text holds, in its order; a single :class:`InspectionProblem` if it holds nothing."""
    items = [_inspect_block(label, block) for label, block in pem.blocks(text)]
    return items or [InspectionProblem(pem.describe(text))]


def certificate_of(key: KeyInfo, certificates: Iterable[CertificateInfo]) -> CertificateInfo | None:
    """Return the certificate that a private key belongs to; None if it is not among these."""
    return next((each for each in certificates if each.public_key == key.public_key), None)


def _inspect_block(label: str, block: bytes) -> Item:
    try:
        if label == "CERTIFICATE":
            return _certificate(pem.certificates(block, "a block")[0])
        if label.endswith("PRIVATE KEY"):
            return _key(pem.private_key(block, "a block"))
    except pem.UnreadableError as error:
        return InspectionProblem(str(error))
    except Exception:  # noqa: BLE001 — the library has no common class for unreadable input
        return InspectionProblem(f"a block with the label {label} can't be decoded")
    return InspectionProblem(f"a block with the label {label} is neither a certificate nor a private key")


def _certificate(certificate: x509.Certificate) -> CertificateInfo:
    return CertificateInfo(
        name=display_name(certificate).strip('"'),
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
