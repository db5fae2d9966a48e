"""The judgement on a pair: good, or exactly what is wrong with it."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.ca import CA, CA_LIFETIME, LEAF_LIFETIME
from certs.verify import FaultKind, UnusablePairError, verify

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
TEST_CA = CA.create(NOW)
OTHER = CA.create(NOW)
LEAF = TEST_CA.issue(("pillion.pillion-system.svc", "*.example.com", "10.0.0.1"), NOW)
NAME = ("pillion.pillion-system.svc",)


def faults(
    chain: bytes = LEAF.certificate_pem,
    key: bytes = LEAF.key_pem,
    names: tuple[str, ...] = NAME,
    now: datetime = NOW,
    roots: bytes | None = TEST_CA.certificate_pem,
) -> list[FaultKind]:
    """Return the kinds of the faults, none for a good pair."""
    try:
        verify(chain, key, now=now, names=names, roots_pem=roots)
    except UnusablePairError as error:
        return [fault.kind for fault in error.faults]
    return []


def odd_leaf(*extensions: x509.ExtensionType, ca: CA = TEST_CA) -> tuple[bytes, bytes]:
    """Return certificate and key of a leaf with these extensions only."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME[0])]))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(ca.key, SHA256()).public_bytes(Encoding.PEM)
    return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


NAMES = x509.SubjectAlternativeName([x509.DNSName(NAME[0])])


def test_a_good_pair_is_described() -> None:
    """What one wants to know of it: names, times, a fingerprint."""
    leaf = verify(LEAF.certificate_pem, LEAF.key_pem, now=NOW, names=NAME)
    assert leaf.names == ("pillion.pillion-system.svc", "*.example.com", "10.0.0.1")
    assert leaf.not_after == NOW + LEAF_LIFETIME
    assert leaf.fingerprint == LEAF.certificate.fingerprint(SHA256()).hex()


def test_a_chain_ends_with_its_first_part() -> None:
    """A leaf with its CA behind it is good until the first of both ends."""
    late = TEST_CA.issue(NAME, NOW + timedelta(days=1))
    chain = late.certificate_pem + TEST_CA.certificate_pem
    leaf = verify(chain, late.key_pem, now=NOW + timedelta(days=1))
    assert leaf.not_after == late.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("pillion.pillion-system.svc", True),
        ("PILLION.pillion-system.svc.", True),
        ("a.example.com", True),
        ("10.0.0.1", True),
        ("example.com", False),
        ("a.b.example.com", False),
        ("pillion", False),
        ("pillion.pillion-system", False),
        ("10.0.0.2", False),
    ],
)
def test_names_are_compared_as_clients_do(name: str, good: bool) -> None:
    """Exactly, without regard to case; a star is one label; addresses are addresses."""
    assert faults(names=(name,)) == ([] if good else [FaultKind.NAME])


def test_a_missing_name_is_named() -> None:
    """The sentence has the name that is missing, and those that are there."""
    with pytest.raises(UnusablePairError, match=r"not for webhook\.other\.svc.*\*\.example\.com"):
        verify(LEAF.certificate_pem, LEAF.key_pem, now=NOW, names=("webhook.other.svc",))


def test_a_common_name_counts_for_nothing() -> None:
    """Kubernetes has not read it since 1.19."""
    certificate, key = odd_leaf()
    with pytest.raises(UnusablePairError, match="the common name is ignored"):
        verify(certificate, key, now=NOW, names=NAME)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (NOW - timedelta(hours=1), []),
        (NOW - timedelta(hours=1, seconds=1), [FaultKind.TIME]),
        (NOW + LEAF_LIFETIME, []),
        (NOW + LEAF_LIFETIME + timedelta(seconds=1), [FaultKind.TIME]),
    ],
)
def test_time_counts_to_the_second(when: datetime, expected: list[FaultKind]) -> None:
    """Both ends belong to the lifetime."""
    assert faults(now=when, roots=None) == expected


def test_an_expired_issuer_in_the_chain_is_found() -> None:
    """A chain is as good as its worst part."""
    chain = LEAF.certificate_pem + TEST_CA.certificate_pem
    later = NOW + CA_LIFETIME + timedelta(days=1)
    assert faults(chain, now=later) == [FaultKind.TIME, FaultKind.TIME]


def test_another_key_is_found() -> None:
    """A certificate with somebody else's key would fail at every handshake."""
    assert faults(key=TEST_CA.issue(NAME, NOW).key_pem) == [FaultKind.KEY]


def test_a_key_of_another_kind_is_found() -> None:
    """An RSA key does not belong to an EC certificate."""
    pem = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert faults(key=pem) == [FaultKind.KEY]


def test_everything_wrong_is_said_at_once() -> None:
    """Nobody mends a certificate one fault at a time."""
    expected = [FaultKind.KEY, FaultKind.TIME, FaultKind.NAME, FaultKind.CHAIN]
    late = NOW + LEAF_LIFETIME * 2
    assert faults(key=OTHER.key_pem, now=late, names=("x",), roots=OTHER.certificate_pem) == expected


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])
def test_a_certificate_for_something_else_is_found(usage: x509.ObjectIdentifier) -> None:
    """A client's certificate is no server's."""
    certificate, key = odd_leaf(NAMES, x509.ExtendedKeyUsage([usage]))
    assert faults(certificate, key) == [FaultKind.USAGE]


def test_a_key_that_may_not_sign_is_found() -> None:
    """TLS signs with it."""
    bits = dict.fromkeys(
        (
            *("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
            *("encipher_only", "decipher_only", "digital_signature"),
        ),
        False,
    )
    certificate, key = odd_leaf(NAMES, x509.KeyUsage(key_encipherment=True, **bits))
    assert faults(certificate, key) == [FaultKind.USAGE]


def test_without_usage_extensions_every_use_is_allowed() -> None:
    """As Go has it: what is not restricted is allowed."""
    assert faults(*odd_leaf(NAMES)) == []


def test_an_untrusted_issuer_is_found() -> None:
    """A leaf of a CA that nobody trusts."""
    assert faults(roots=OTHER.certificate_pem) == [FaultKind.CHAIN]


def test_several_roots_may_be_trusted() -> None:
    """During a rotation the bundle holds the old and the new CA."""
    assert faults(roots=OTHER.certificate_pem + TEST_CA.certificate_pem) == []


def test_a_chain_in_the_wrong_order_is_found() -> None:
    """The leaf comes first."""
    assert FaultKind.KEY in faults(TEST_CA.certificate_pem + LEAF.certificate_pem)


def test_a_chain_with_a_stranger_in_it_is_found() -> None:
    """Each certificate is signed by the one that follows."""
    assert faults(LEAF.certificate_pem + OTHER.certificate_pem, roots=None) == [FaultKind.CHAIN]


def test_a_leaf_signs_nothing() -> None:
    """A certificate that is no CA can't be an issuer, whatever it signed."""
    fake = CA(LEAF.certificate, LEAF.key)
    certificate, key = odd_leaf(NAMES, ca=fake)
    assert faults(certificate + LEAF.certificate_pem, key, roots=None) == [FaultKind.CHAIN]


def test_without_roots_a_chain_need_not_be_trusted() -> None:
    """A server does not always know what its clients trust."""
    assert faults(roots=None) == []


@pytest.mark.parametrize(
    ("chain", "key", "says"),
    [
        (b"", LEAF.key_pem, "no certificate"),
        (b"hello", LEAF.key_pem, "no certificate"),
        (LEAF.certificate_pem[:200], LEAF.key_pem, "no certificate"),
        (LEAF.key_pem, LEAF.key_pem, "no certificate"),
        (LEAF.certificate_pem, b"", "no private key"),
        (LEAF.certificate_pem, LEAF.certificate_pem, "no private key"),
        (
            LEAF.certificate_pem,
            LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            "without a password",
        ),
    ],
    ids=["empty", "text", "cut off", "key for certificate", "no key", "certificate for key", "encrypted"],
)
def test_what_can_not_be_read_is_said(chain: bytes, key: bytes, says: str) -> None:
    """Unreadable halves are told apart."""
    with pytest.raises(UnusablePairError, match=says) as raised:
        verify(chain, key, now=NOW)
    assert [fault.kind for fault in raised.value.faults] == [FaultKind.UNREADABLE]


def test_both_halves_may_lie_in_one_file() -> None:
    """A file with certificate and key serves as both."""
    both = LEAF.certificate_pem + LEAF.key_pem
    assert faults(both, both) == []


def ca(
    days: int,
    *,
    key: ec.EllipticCurvePrivateKey = TEST_CA.key,
    signer: CA = TEST_CA,
    name: str = "",
    path_length: int | None = None,
) -> CA:
    """Return a CA that ends after so many days; without a name it is TEST_CA, renewed with the same key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if name else TEST_CA.certificate.subject
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(8)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .sign(signer.key, SHA256())
    )
    return CA(certificate, key)


def test_a_trusted_ca_that_has_ended_is_found() -> None:
    """Go compares the times of what is trusted, too: an old bundle is a fault, though the leaf is good."""
    roots, later = ca(days=1).certificate_pem, NOW + timedelta(days=2)
    with pytest.raises(UnusablePairError, match=r"Pillion CA .* expired at 2026-05-18") as raised:
        verify(LEAF.certificate_pem, LEAF.key_pem, now=later, names=NAME, roots_pem=roots)
    assert [fault.kind for fault in raised.value.faults] == [FaultKind.TIME]


def test_a_ca_that_was_renewed_with_its_key_vouches_for_older_leaves() -> None:
    """That is why such a renewal costs nothing; and one good CA of several is enough."""
    later = NOW + timedelta(days=2)
    renewed = ca(days=1000).certificate_pem
    assert faults(now=later, roots=renewed) == []
    assert faults(now=later, roots=ca(days=1).certificate_pem + renewed) == []


def test_too_long_a_chain_is_found() -> None:
    """A CA may allow none below it, as ours do."""
    between = ca(10, key=OTHER.key, name="between")
    certificate, key = odd_leaf(NAMES, ca=between)
    chain = certificate + between.certificate_pem
    assert faults(chain, key, roots=ca(10).certificate_pem) == []
    assert faults(chain, key, roots=ca(10, path_length=0).certificate_pem) == [FaultKind.CHAIN]
    whole = chain + ca(10, path_length=0).certificate_pem
    assert faults(whole, key, roots=None) == [FaultKind.CHAIN]


def test_a_leaf_that_is_itself_trusted_is_good() -> None:
    """A self-signed certificate can be its own bundle."""
    assert faults(roots=LEAF.certificate_pem) == []


def test_sha1_is_found() -> None:
    """OpenSSL may still take it; Go, and with it every API server, does not."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    # cryptography signs nothing with SHA-1 any more: the hash is exchanged in the finished bytes
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(NAMES, critical=True)
        .sign(key, SHA256())
    )
    sha256, sha1 = bytes.fromhex("06092a864886f70d01010b"), bytes.fromhex("06092a864886f70d010105")
    old = x509.load_der_x509_certificate(certificate.public_bytes(Encoding.DER).replace(sha256, sha1))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(UnusablePairError, match="SHA-1") as raised:
        verify(old.public_bytes(Encoding.PEM), pem, now=NOW, names=NAME)
    assert [fault.kind for fault in raised.value.faults] == [FaultKind.CHAIN]


def test_an_address_is_no_dns_name() -> None:
    """A DNS name that looks like an address covers nothing, as Go has it."""
    odd = x509.SubjectAlternativeName([x509.DNSName("10.0.0.1"), x509.DNSName(NAME[0])])
    certificate, key = odd_leaf(odd)
    assert faults(certificate, key) == []
    assert faults(certificate, key, names=("10.0.0.1",)) == [FaultKind.NAME]


def test_the_place_of_the_keys_certificate_is_said() -> None:
    """Who put the chain in the wrong order reads what to do."""
    chain = TEST_CA.certificate_pem + LEAF.certificate_pem
    with pytest.raises(UnusablePairError, match="further down, which must come first"):
        verify(chain, LEAF.key_pem, now=NOW)


def test_a_public_key_of_an_unknown_kind_is_said() -> None:
    """A curve that nobody knows is a fault of the pair, not of ours."""
    der = LEAF.certificate.public_bytes(Encoding.DER)
    p256, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    odd = x509.load_der_x509_certificate(der.replace(p256, unknown)).public_bytes(Encoding.PEM)
    with pytest.raises(UnusablePairError, match="public key") as raised:
        verify(odd, LEAF.key_pem, now=NOW)
    assert raised.value.faults[0].kind is FaultKind.UNREADABLE
