"""Verifies a certificate chain and its key for given names and a time, and reports every fault."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, PublicKeyAlgorithmOID

from certs import pem

__all__ = [
    "Fault",
    "FaultKind",
    "SourceNames",
    "UnusablePairError",
    "VerifiedLeaf",
    "alternative_names",
    "display_name",
    "is_ca",
    "verify",
]


class FaultKind(StrEnum):
    """What can be wrong with a pair."""

    UNREADABLE = "unreadable"  # no PEM, no certificate, no key, an encrypted key; or the files can't be read or written
    KEY = "key"  # the key does not belong to the certificate
    ALGORITHM = "algorithm"  # a kind of key that no API server accepts
    TIME = "time"  # not valid yet, or expired
    NAME = "name"  # a host name that is not among the alternative names
    USAGE = "usage"  # the certificate is not for servers
    CHAIN = "chain"  # wrong or unknown issuer, path length exceeded, or a SHA-1 or MD5 signature


class Fault(NamedTuple):
    """One fault of a pair, with a message that names certificate and cause."""

    kind: FaultKind
    text: str


class UnusablePairError(ValueError):
    """There is no usable pair; ``faults`` lists every reason."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.text for fault in faults))

    @classmethod
    def unreadable(cls, message: str) -> Self:
        """Return the error for a pair that can't be read, written or loaded."""
        return cls([Fault(FaultKind.UNREADABLE, message)])


class SourceNames(NamedTuple):
    """The names of the inputs, for messages."""

    chain: str = "the certificate file"
    key: str = "the key file"
    roots: str = "the CA bundle"


DEFAULT_SOURCE_NAMES = SourceNames()


@dataclass(frozen=True, slots=True)
class VerifiedLeaf:
    """The leaf of a verified pair, and the period in which its whole chain is valid."""

    certificate: x509.Certificate
    not_before: datetime
    not_after: datetime

    @property
    def fingerprint(self) -> str:
        """Return the leaf's SHA-256 fingerprint in hexadecimal."""
        return self.certificate.fingerprint(SHA256()).hex()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the leaf's alternative names as text."""
        return tuple(alternative_names(self.certificate))


def verify(
    chain_pem: bytes,
    key_pem: bytes,
    *,
    now: datetime,
    names: tuple[str, ...] = (),
    roots_pem: bytes | None = None,
    sources: SourceNames = DEFAULT_SOURCE_NAMES,
) -> VerifiedLeaf:
    """Return the leaf of a valid pair, or raise :class:`UnusablePairError` with all the pair's faults.

    ``chain_pem`` has the leaf first, then each certificate's issuer. ``names`` are the host names by which clients call
    the server. ``roots_pem`` are the CAs that clients trust; None: not known. The rules are those of RFC 5280 as Go's
    crypto/x509 applies them, which the API server uses: the common name is ignored, and without an extended key usage
    every use is allowed.
    """
    try:
        chain = pem.certificates(chain_pem, sources.chain)
        roots = pem.certificates(roots_pem, sources.roots) if roots_pem is not None else None
        key = pem.private_key(key_pem, sources.key)
        key_faults = _key_faults(chain, key, pem.count_private_keys(key_pem))
    except pem.UnreadableError as error:
        raise UnusablePairError.unreadable(str(error)) from None
    leaf = chain[0]
    faults = [
        *key_faults,
        *_algorithm_faults(leaf, key),
        *_time_faults(chain, now),
        *_name_faults(leaf, names),
        *_usage_faults(leaf),
        *_chain_faults(chain),
        *(_root_faults(chain, roots, now) if roots is not None else ()),
    ]
    if faults:
        raise UnusablePairError(faults)
    # the chain is valid while each of its certificates is
    return VerifiedLeaf(
        leaf,
        max(certificate.not_valid_before_utc for certificate in chain),
        min(certificate.not_valid_after_utc for certificate in chain),
    )


def _key_faults(chain: list[x509.Certificate], key: PrivateKeyTypes, key_count: int) -> list[Fault]:
    matching = [each for each in chain if pem.public_key(each, "the chain") == key.public_key()]
    if chain[0] in matching:
        return []
    text = f"the key does not belong to the certificate {display_name(chain[0])}"
    if matching:
        text += f", but to {display_name(matching[0])} further down, which must come first"
    elif key_count > 1:
        text += f"; it is the first of {key_count} keys in its file, and the others are ignored"
    return [Fault(FaultKind.KEY, text)]


#: The curves that Go's crypto/tls, and so every API server, accepts from a server.
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def _algorithm_faults(leaf: x509.Certificate, key: PrivateKeyTypes) -> list[Fault]:
    match key:
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, _CURVES):
            return []
        case ec.EllipticCurvePrivateKey():
            algorithm = f"ECDSA on {key.curve.name}"
        case rsa.RSAPrivateKey() if leaf.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
            algorithm = "RSASSA-PSS"
        case rsa.RSAPrivateKey() | ed25519.Ed25519PrivateKey():
            return []
        case _:
            algorithm = type(key).__name__.removesuffix("PrivateKey").lstrip("_")
    text = f"the key is {algorithm}, which no API server accepts; use RSA, Ed25519, or ECDSA on P-256, P-384 or P-521"
    return [Fault(FaultKind.ALGORITHM, text)]


def _time_faults(chain: list[x509.Certificate], now: datetime) -> list[Fault]:
    faults = []
    for certificate in chain:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now < start:
            faults.append(Fault(FaultKind.TIME, f"{display_name(certificate)} is not valid before {start:%FT%TZ}"))
        if now > end:
            faults.append(Fault(FaultKind.TIME, f"{display_name(certificate)} expired at {end:%FT%TZ}"))
    return faults


def _name_faults(leaf: x509.Certificate, names: tuple[str, ...]) -> list[Fault]:
    alternatives = _general_names(leaf)
    listed = ", ".join(map(str, alternatives)) or "none (the common name is ignored)"
    return [
        Fault(FaultKind.NAME, f"the certificate is not for {name}; its alternative names: {listed}")
        for name in names
        if not any(_matches(pattern, name) for pattern in alternatives)
    ]


def _usage_faults(leaf: x509.Certificate) -> list[Fault]:
    faults = []
    extended = _extension(leaf, ExtensionOID.EXTENDED_KEY_USAGE)
    if isinstance(extended, x509.ExtendedKeyUsage):
        servers = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        if servers.isdisjoint(extended):
            faults.append(Fault(FaultKind.USAGE, "the certificate's extended key usage does not include server auth"))
    usage = _extension(leaf, ExtensionOID.KEY_USAGE)
    # The server signs the handshake. keyEncipherment alone is for RSA key exchange, which TLS 1.3 does not have.
    if isinstance(usage, x509.KeyUsage) and not usage.digital_signature:
        faults.append(Fault(FaultKind.USAGE, "the certificate's key usage does not include digital signature"))
    return faults


def _chain_faults(chain: list[x509.Certificate]) -> list[Fault]:
    return [
        *(
            Fault(FaultKind.CHAIN, f"{display_name(child)} is not signed by {display_name(issuer)}, which follows it")
            for child, issuer in pairwise(chain)
            if not _is_signed_by(child, issuer)
        ),
        *(
            Fault(FaultKind.CHAIN, f"{display_name(issuer)} allows fewer CAs below it than there are")
            for below, issuer in enumerate(chain[1:])
            if not _path_length_allows(issuer, below)
        ),
        *(
            # Go rejects these since 1.18, except on self-signed certificates
            Fault(
                FaultKind.CHAIN, f"{display_name(certificate)} is signed with SHA-1 or MD5, which no API server accepts"
            )
            for certificate in chain
            if isinstance(certificate.signature_hash_algorithm, SHA1 | MD5)
            and not _is_signed_by(certificate, certificate)
        ),
    ]


def _root_faults(chain: list[x509.Certificate], roots: list[x509.Certificate], now: datetime) -> list[Fault]:
    """Return why no trusted CA is a valid issuer of the chain; one valid issuer is enough."""
    last = chain[-1]
    signers = [root for root in roots if root == last or _is_signed_by(last, root)]
    if not signers:
        return [Fault(FaultKind.CHAIN, f"{display_name(last)} is not signed by any of the trusted CAs")]
    if last in signers:
        return []
    if any(not _time_faults([root], now) and _path_length_allows(root, len(chain) - 1) for root in signers):
        return []
    return _time_faults(signers, now) or [
        Fault(FaultKind.CHAIN, f"{display_name(signers[0])} allows fewer CAs below it than there are")
    ]


def _path_length_allows(issuer: x509.Certificate, below: int) -> bool:
    """Return whether an issuer allows ``below`` CAs between itself and the leaf (RFC 5280, 4.2.1.9)."""
    constraints = _extension(issuer, ExtensionOID.BASIC_CONSTRAINTS)
    path_length = constraints.path_length if isinstance(constraints, x509.BasicConstraints) else None
    return path_length is None or below <= path_length


def _is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether ``issuer`` is a CA and signed this certificate."""
    if not is_ca(issuer):
        return False
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign other certificates."""
    constraints = _extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    usage = _extension(certificate, ExtensionOID.KEY_USAGE)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        return False
    return not isinstance(usage, x509.KeyUsage) or usage.key_cert_sign


def alternative_names(leaf: x509.Certificate) -> list[str]:
    """Return the DNS names and IP addresses as text."""
    return list(map(str, _general_names(leaf)))


def _general_names(leaf: x509.Certificate) -> list[str | IPv4Address | IPv6Address]:
    names = _extension(leaf, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    if not isinstance(names, x509.SubjectAlternativeName):
        return []
    values = [name.value for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    return [value for value in values if isinstance(value, str | IPv4Address | IPv6Address)]


def _matches(pattern: str | IPv4Address | IPv6Address, name: str) -> bool:
    """Return whether an alternative name matches ``name``; ``*`` stands for the whole first label (RFC 6125).

    An IP address matches only an IP address, not a DNS name that looks like one.
    """
    try:
        return ip_address(name) == pattern
    except ValueError:
        pass
    if not isinstance(pattern, str):
        return False
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if pattern.startswith("*."):
        first, _, rest = name.partition(".")
        return bool(first) and rest == pattern[2:]
    return pattern == name


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> x509.ExtensionType | None:
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except Exception:  # noqa: BLE001 — the library has no common class for extensions that it can't read
        return None


def display_name(certificate: x509.Certificate) -> str:
    """Return a name by which people recognise the certificate: its subject, alternative names or serial number."""
    try:
        name = certificate.subject.rfc4514_string() or ", ".join(alternative_names(certificate))
    except ValueError:  # text that is not in its declared encoding
        name = ""
    return f'"{name[:80]}"' if name else f"serial number {certificate.serial_number:x}"
