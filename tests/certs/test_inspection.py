"""What is said of PEM text: facts of certificates, of keys only what is public."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certs.ca import CA, CA_LIFETIME
from certs.inspection import CertificateInfo, InspectionProblem, KeyInfo, certificate_of, inspect_pem

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
TEST_CA = CA.create(NOW)
LEAF = TEST_CA.issue(("a.svc", "10.0.0.1"), NOW)


def test_a_leaf_and_its_authority_are_told_apart() -> None:
    """In the text's order; the leaf has no subject, so its names stand for it."""
    leaf, ca = inspect_pem(b"some words\n" + LEAF.certificate_pem + TEST_CA.certificate_pem)
    assert isinstance(leaf, CertificateInfo)
    assert isinstance(ca, CertificateInfo)
    assert (leaf.is_ca, leaf.name, leaf.names) == (False, "a.svc, 10.0.0.1", ("a.svc", "10.0.0.1"))
    assert (ca.is_ca, ca.issuer) == (True, ca.name)
    assert ca.not_after == NOW + CA_LIFETIME


def test_a_key_is_known_by_its_public_half() -> None:
    """It belongs to its certificate and no other; nothing of the private half is kept."""
    leaf, key = inspect_pem(LEAF.certificate_pem + LEAF.key_pem)
    (ca,) = inspect_pem(TEST_CA.certificate_pem)
    assert isinstance(leaf, CertificateInfo)
    assert isinstance(ca, CertificateInfo)
    assert isinstance(key, KeyInfo)
    assert certificate_of(key, [ca, leaf]) is leaf
    assert certificate_of(key, [ca]) is None
    secret = LEAF.key.private_numbers().private_value.to_bytes(32, "big")
    assert secret not in key.public_key


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (LEAF.key, "EC secp256r1"),
    ],
    ids=["rsa", "ed25519", "ec"],
)
def test_each_kind_of_key_has_a_name(key: PrivateKeyTypes, algorithm: str) -> None:
    """As people call it."""
    (found,) = inspect_pem(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert isinstance(found, KeyInfo)
    assert found.algorithm == algorithm


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (b"", "empty"),
        (b"hello", "no PEM"),
        (LEAF.certificate_pem[:200], "no PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be decoded"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "can't be decoded"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither a certificate nor"),
        (
            LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "without a password",
        ),
    ],
    ids=["empty", "text", "cut off", "bad certificate", "bad key", "public key", "encrypted"],
)
def test_what_can_not_be_read_is_said(pem: bytes, problem: str) -> None:
    """A sentence, not an exception: the rest is still shown."""
    (found,) = inspect_pem(pem)
    assert isinstance(found, InspectionProblem)
    assert problem in found.problem
