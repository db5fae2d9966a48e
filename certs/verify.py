"""Whether a certificate and its key are good for these names at this time, and if not, exactly why."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from typing import NamedTuple

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
    "Pair",
    "SourceNames",
    "UnusablePairError",
    "alternative_names",
    "display_name",
    "is_ca",
    "verify",
]


class FaultKind(StrEnum):
    """What can be wrong with a pair."""

    UNREADABLE = "unreadable"  # no PEM, no certificate, no key, an encrypted key
    KEY = "key"  # the key is another certificate's
    ALGORITHM = "algorithm"  # the key is of a kind that no API server accepts
    TIME = "time"  # not yet, or no longer
    NAME = "name"  # the server is called by a name that is not among the alternative names
    USAGE = "usage"  # the certificate is not for servers
    CHAIN = "chain"  # a certificate is not signed by the next, or by no trusted one, or not in a way that counts


class Fault(NamedTuple):
    """One thing that is wrong, with a sentence for people."""

    kind: FaultKind
    text: str


class UnusablePairError(ValueError):
    """The pair can't be used; ``faults`` holds everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.text for fault in faults))


class SourceNames(NamedTuple):
    """What messages call the places that the bytes came from."""

    chain: str = "the certificate file"
    key: str = "the key file"
    roots: str = "the trusted bundle"


DEFAULT_NAMES = SourceNames()


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair that is good, and what one wants to know of it."""

    leaf: x509.Certificate
    not_before: datetime
    not_after: datetime

    @property
    def fingerprint(self) -> str:
        """Return the leaf's SHA-256 fingerprint in hexadecimal."""
        return self.leaf.fingerprint(SHA256()).hex()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the alternative names as text."""
        return tuple(alternative_names(self.leaf))


def verify(
    chain_pem: bytes,
    key_pem: bytes,
    *,
    now: datetime,
    names: tuple[str, ...] = (),
    roots_pem: bytes | None = None,
    sources: SourceNames = DEFAULT_NAMES,
) -> Pair:
    """Return the pair in these bytes, or raise :class:`UnusablePairError` with all its faults.

    ``chain_pem`` holds the leaf first, then each certificate's issuer; ``names`` are those that clients call
    the server by; ``roots_pem`` what clients trust, where that is known. Rules: RFC 5280, and what Go's
    crypto/x509, which the API server uses, makes of it: the common name counts for nothing, a missing
    extended key usage allows every use.
    """
    try:
        chain = pem.certificates(chain_pem, sources.chain)
        roots = pem.certificates(roots_pem, sources.roots) if roots_pem is not None else None
        key = pem.private_key(key_pem, sources.key)
        key_faults = _key_faults(chain, key, pem.count_private_keys(key_pem))
    except pem.UnreadableError as error:
        raise UnusablePairError([Fault(FaultKind.UNREADABLE, str(error))]) from None
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
    # the chain is good for as long as each part of it is
    return Pair(
        leaf,
        max(certificate.not_valid_before_utc for certificate in chain),
        min(certificate.not_valid_after_utc for certificate in chain),
    )


def _key_faults(chain: list[x509.Certificate], key: PrivateKeyTypes, keys: int) -> list[Fault]:
    mine = [each for each in chain if pem.public_key(each, "the chain") == key.public_key()]
    if chain[0] in mine:
        return []
    text = f"the key does not belong to the certificate {display_name(chain[0])}"
    if mine:
        text += f", but to {display_name(mine[0])} further down, which must come first"
    elif keys > 1:
        text += f"; it is the first of {keys} keys in its file, and only the first counts"
    return [Fault(FaultKind.KEY, text)]


#: What Go's crypto/tls, and with it every API server, takes of a server.
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
            faults.append(Fault(FaultKind.TIME, f"{display_name(certificate)} ended {end:%FT%TZ}"))
    return faults


def _name_faults(leaf: x509.Certificate, names: tuple[str, ...]) -> list[Fault]:
    has = _general_names(leaf)
    listed = ", ".join(map(str, has)) or "none (a common name counts for nothing)"
    return [
        Fault(FaultKind.NAME, f"the certificate is not for {name}; its alternative names: {listed}")
        for name in names
        if not any(_matches(pattern, name) for pattern in has)
    ]


def _usage_faults(leaf: x509.Certificate) -> list[Fault]:
    faults = []
    extended = _extension(leaf, ExtensionOID.EXTENDED_KEY_USAGE)
    if isinstance(extended, x509.ExtendedKeyUsage):
        servers = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        if servers.isdisjoint(extended):
            faults.append(Fault(FaultKind.USAGE, "the certificate's extended key usage does not include server auth"))
    usage = _extension(leaf, ExtensionOID.KEY_USAGE)
    # OpenSSL and Go both sign the handshake with it; a key that may only encipher belongs to RSA of long ago
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
            # since Go 1.18; what nobody signed but itself is not asked
            Fault(
                FaultKind.CHAIN, f"{display_name(certificate)} is signed with SHA-1 or MD5, which no API server accepts"
            )
            for certificate in chain
            if isinstance(certificate.signature_hash_algorithm, SHA1 | MD5)
            and not _is_signed_by(certificate, certificate)
        ),
    ]


def _root_faults(chain: list[x509.Certificate], roots: list[x509.Certificate], now: datetime) -> list[Fault]:
    """Return why no trusted certificate vouches for the chain; one that does is enough."""
    last = chain[-1]
    signers = [root for root in roots if root == last or _is_signed_by(last, root)]
    if not signers:
        return [Fault(FaultKind.CHAIN, f"{display_name(last)} is not signed by any of the trusted certificates")]
    if last in signers:
        return []
    good = [root for root in signers if not _time_faults([root], now) and _path_length_allows(root, len(chain) - 1)]
    if good:
        return []
    return _time_faults(signers, now) or [
        Fault(FaultKind.CHAIN, f"{display_name(signers[0])} allows fewer CAs below it than there are")
    ]


def _path_length_allows(issuer: x509.Certificate, below: int) -> bool:
    """Return whether so many CAs may stand between an issuer and the leaf (RFC 5280, 4.2.1.9)."""
    constraints = _extension(issuer, ExtensionOID.BASIC_CONSTRAINTS)
    most = constraints.path_length if isinstance(constraints, x509.BasicConstraints) else None
    return most is None or below <= most


def _is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether ``issuer`` may sign certificates and signed this one."""
    if not is_ca(issuer):
        return False
    try:
        child.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_ca(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others."""
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
    """Return whether an alternative name covers ``name``; ``*`` is exactly the first label (RFC 6125).

    An address is covered by an address only, not by a DNS name that looks like one.
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
    """Return a name that a person finds the certificate by."""
    try:
        name = certificate.subject.rfc4514_string() or ", ".join(alternative_names(certificate))
    except ValueError:  # text in an encoding that it is not
        name = ""
    return f'"{name[:80]}"' if name else f"number {certificate.serial_number:x}"
