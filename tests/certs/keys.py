"""What people put where a certificate or a private key belongs, and what is said of it."""

from __future__ import annotations

import base64
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from certs.ca import CA

__all__ = ["BAD", "CERTIFICATES", "GOOD", "KEYS", "LEAF", "NAME", "NOW", "PAIRS", "TEST_CA", "pem_of"]

NAME = "localhost"
NOW = datetime.now(UTC)
TEST_CA = CA.create(NOW)
LEAF = TEST_CA.issue((NAME, "127.0.0.1"), NOW)
OTHER = TEST_CA.issue((NAME,), NOW)


def pem_of(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    """Return a private key as PEM."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, form, encryption))


def signed(key: Any) -> bytes:
    """Return a certificate for the key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(TEST_CA.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
    )
    return builder.sign(TEST_CA.key, SHA256()).public_bytes(Encoding.PEM)


def _pair(key: Any) -> tuple[bytes, bytes]:
    return signed(key), pem_of(key)


with warnings.catch_warnings():
    # the library is about to forget them; files with them will be there for years
    warnings.simplefilter("ignore")
    _DSA, _SECP256K1 = _pair(dsa.generate_private_key(2048)), _pair(ec.generate_private_key(ec.SECP256K1()))
    _P224 = _pair(ec.generate_private_key(ec.SECP224R1()))

_REQUEST = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(LEAF.key, SHA256())
_P12 = pkcs12.serialize_key_and_certificates(b"x", LEAF.key, LEAF.certificate, None, NoEncryption())
_CUT = len(LEAF.key_pem) // 2
_GARBAGE = b"-----BEGIN %s-----\nAAAA\n-----END %s-----\n"
_BROKEN = _GARBAGE % (b"CERTIFICATE", b"CERTIFICATE")
_DER = LEAF.certificate.public_bytes(Encoding.DER)
#: A certificate of version 8.
_OF_THE_FUTURE = base64.encodebytes(_DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1))

#: In place of a certificate, with what is said of it.
CERTIFICATES = {
    "empty": (b"", "holds no certificate: it is empty"),
    "blank": (b"\n \n", "holds no certificate: it is empty"),
    "text": (b"hello\n", "holds no certificate: it is not PEM"),
    "cut off": (LEAF.certificate_pem[:300], "holds no certificate that can be read"),
    "garbage": (_BROKEN, "holds no certificate that can be read"),
    "good, then garbage": (LEAF.certificate_pem + _BROKEN, "holds no certificate that can be read"),
    "request": (_REQUEST.public_bytes(Encoding.PEM), "it holds a certificate request; use the certificate that"),
    "key": (LEAF.key_pem, "holds no certificate: it holds a private key"),
    "PKCS #12": (_P12, "it is binary, PKCS #12 or DER, and not PEM; convert it: openssl"),
    "DER": (
        _DER,
        "it is binary, PKCS #12 or DER, and not PEM; convert it: openssl pkcs12 -nodes, openssl x509 -inform der",
    ),
    "UTF-16": (LEAF.certificate_pem.decode().encode("utf-16"), "holds no certificate: it is not PEM"),
    "unknown label": (_GARBAGE % (b"SOMETHING", b"SOMETHING"), "holds no certificate: it holds SOMETHING"),
    "of the future": (
        b"-----BEGIN CERTIFICATE-----\n" + _OF_THE_FUTURE + b"-----END CERTIFICATE-----\n",
        "holds no certificate that can be read",
    ),
}

#: In place of a private key.
KEYS = {
    "empty": (b"", "holds no private key: it is empty"),
    "text": (b"hello\n", "holds no private key: it is not PEM, which has lines -----BEGIN …-----"),
    "cut off": (LEAF.key_pem[:_CUT], "holds no private key that can be read"),
    "garbage": (_GARBAGE % (b"PRIVATE KEY", b"PRIVATE KEY"), "holds no private key that can be read"),
    "encrypted": (pem_of(LEAF.key, password=b"x"), "holds an encrypted private key; write it without a password"),
    "encrypted, traditional": (
        pem_of(LEAF.key, PrivateFormat.TraditionalOpenSSL, b"x"),
        "holds an encrypted private key; write it without a password",
    ),
    "encrypted RSA": (
        pem_of(rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL, b"x"),
        "holds an encrypted private key",
    ),
    "certificate": (LEAF.certificate_pem, "holds no private key: it holds a certificate"),
    "request": (_REQUEST.public_bytes(Encoding.PEM), "holds no private key: it holds a certificate request"),
    "public key": (
        LEAF.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "holds no private key: it holds a public key",
    ),
    "OpenSSH": (pem_of(LEAF.key, PrivateFormat.OpenSSH), "a key in OpenSSH's format; convert it: ssh-keygen"),
    "PKCS #12": (_P12, "it is binary, PKCS #12 or DER, and not PEM"),
    "another's": (OTHER.key_pem, "the key does not belong to the certificate"),
    "two keys": (OTHER.key_pem + LEAF.key_pem, "it is the first of 2 keys in its file, and the others are ignored"),
}

#: Pairs of which each half is good by itself.
PAIRS = {
    "DSA": (*_DSA, "the key is DSA, which no API server accepts; use RSA"),
    "Ed448": (*_pair(ed448.Ed448PrivateKey.generate()), "the key is Ed448, which no API server accepts"),
    "P-224": (*_P224, "the key is ECDSA on secp224r1, which no API server accepts"),
    "secp256k1": (*_SECP256K1, "the key is ECDSA on secp256k1, which no API server accepts"),
    "chain in the wrong order": (
        TEST_CA.certificate_pem + LEAF.certificate_pem,
        LEAF.key_pem,
        "further down, which must come first",
    ),
    "a stranger in the chain": (
        LEAF.certificate_pem + CA.create(NOW).certificate_pem,
        LEAF.key_pem,
        "which follows it",
    ),
}

#: Pairs that are good.
GOOD = {
    "P-256": (LEAF.certificate_pem, LEAF.key_pem),
    "P-521": _pair(ec.generate_private_key(ec.SECP521R1())),
    "RSA": _pair(rsa.generate_private_key(65537, 2048)),
    "Ed25519": _pair(ed25519.Ed25519PrivateKey.generate()),
    "traditional": (LEAF.certificate_pem, pem_of(LEAF.key, PrivateFormat.TraditionalOpenSSL)),
    "curve before the key": (
        LEAF.certificate_pem,
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + pem_of(LEAF.key, PrivateFormat.TraditionalOpenSSL),
    ),
    "two keys, the right one first": (LEAF.certificate_pem, LEAF.key_pem + OTHER.key_pem),
    "both in each file": (LEAF.certificate_pem + LEAF.key_pem, LEAF.key_pem + LEAF.certificate_pem),
}

#: All that can't be used: a certificate, a key, and what is wrong with them.
BAD = {
    **{f"certificate: {kind}": (pem, LEAF.key_pem, says) for kind, (pem, says) in CERTIFICATES.items()},
    **{f"key: {kind}": (LEAF.certificate_pem, pem, says) for kind, (pem, says) in KEYS.items()},
    **PAIRS,
}
