"""Creates CAs and the leaf certificates that they sign; the caller passes the time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs import pem

__all__ = [
    "BACKDATING",
    "CA",
    "CA_LIFETIME",
    "LEAF_LIFETIME",
    "LeafPair",
    "UnsupportedKeyError",
    "renewal_time",
]

#: Long enough that a new CA reaches every CA bundle before the old one expires.
CA_LIFETIME = timedelta(days=365)
#: Short: a stolen key is usable for a month at most, and renewal is exercised often.
LEAF_LIFETIME = timedelta(days=30)
#: How long before its creation a certificate's notBefore lies: clients whose clocks are slow accept it at once.
BACKDATING = timedelta(hours=1)
#: The share of a lifetime after which a certificate is due for renewal: a third is left to repair what prevents it.
RENEWAL_AT = 2 / 3

ECKey = ec.EllipticCurvePrivateKey


class UnsupportedKeyError(ValueError):
    """The CA's key is encrypted or not an elliptic-curve key."""


@dataclass(frozen=True, slots=True)
class LeafPair:
    """A leaf, which is a server's certificate, and its private key."""

    certificate: x509.Certificate
    key: ECKey

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM: the whole chain, as no intermediate CA is between it and the root."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Return the private key as PEM, PKCS #8, not encrypted: file permissions protect it."""
        return _pem(self.key)


@dataclass(frozen=True, slots=True)
class CA:
    """A CA's certificate and its private key; :meth:`create` makes one, :meth:`load` reads one."""

    certificate: x509.Certificate
    key: ECKey

    @classmethod
    def create(
        cls,
        now: datetime,
        *,
        name: str = "Pillion",
        lifetime: timedelta = CA_LIFETIME,
        key: ECKey | None = None,
    ) -> Self:
        """Return a new CA, valid from an hour before ``now`` (timezone-aware) to ``now + lifetime``."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        # Each CA has a unique subject. Verifiers look up the issuer by its subject: if two CAs of the same name were
        # trusted, as during a rotation, they might try the wrong one.
        serial = x509.random_serial_number()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} CA {serial:040x}"[:64])])
        builder = (
            _builder(subject, subject, key, now, lifetime)
            .serial_number(serial)
            # path length 0: it signs leaves, and no intermediate CAs
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        return cls(builder.sign(key, SHA256()), key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Self:
        """Return the CA in a PEM certificate and a PEM key.

        Raises :class:`UnsupportedKeyError` for a key of a kind that Pillion does not generate, ValueError for anything
        else that is not a CA's pair; the message is a sentence.
        """
        try:
            key = pem.private_key(key_pem, "the CA")
        except pem.EncryptedError as error:
            raise UnsupportedKeyError(str(error)) from None
        if not isinstance(key, ECKey):
            raise UnsupportedKeyError("the CA's key is not an elliptic-curve key; use a CA with one")
        certificate = pem.certificates(certificate_pem, "the CA")[0]
        if pem.public_key(certificate, "the CA") != key.public_key():
            raise ValueError("the CA's key does not belong to its certificate")
        return cls(certificate, key)

    def issue(
        self,
        names: tuple[str, ...],
        now: datetime,
        *,
        lifetime: timedelta = LEAF_LIFETIME,
        key: ECKey | None = None,
    ) -> LeafPair:
        """Return a leaf and its key, for a server that clients call by ``names``: DNS names, and IP addresses as text.

        It never outlives the CA: clients would reject the chain although the leaf itself has not expired.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        lifetime = min(lifetime, self.certificate.not_valid_after_utc - _to_whole_seconds(now))
        # The subject is empty: Kubernetes reads the alternative names only, and a common name's 64 characters are too
        # few for SERVICE.NAMESPACE.svc. If the subject is empty, RFC 5280 4.2.1.6 wants the extension to be critical.
        builder = (
            _builder(x509.Name([]), self.certificate.subject, key, now, lifetime)
            .serial_number(x509.random_serial_number())
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return LeafPair(builder.sign(self.key, SHA256()), key)

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM, which clients must trust: a webhook entry's ``caBundle``."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Return the private key as PEM, PKCS #8, not encrypted: file permissions protect it."""
        return _pem(self.key)


def renewal_time(certificate: x509.Certificate, lifetime: timedelta = timedelta.max) -> datetime:
    """Return when a certificate is due: after two thirds of its lifetime, or of ``lifetime`` if that is shorter.

    The lifetime is counted without the hour of backdating, which exceeds lifetimes of seconds, as tests have them.
    """
    end = certificate.not_valid_after_utc
    # somebody else's certificate may be valid for less than an hour
    issued = min(certificate.not_valid_before_utc + BACKDATING, end)
    return issued + min(end - issued, lifetime) * RENEWAL_AT


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ECKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    """Return a builder with the fields that the certificates of CAs and leaves have in common."""
    now = _to_whole_seconds(now)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _to_whole_seconds(now: datetime) -> datetime:
    """Return the time in UTC without fractions of a second, which X.509 does not have."""
    return now.astimezone(UTC).replace(microsecond=0)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return the key usage of a CA or a leaf: with an EC key, TLS 1.2 and 1.3 only sign."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ECKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
