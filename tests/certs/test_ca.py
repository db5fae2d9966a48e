"""A CA and its leaves: what X.509 says of them, and that a real handshake takes them."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.ca import BACKDATING, CA, CA_LIFETIME, LEAF_LIFETIME, renewal_time
from certs.verify import verify

NOW = datetime(2026, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)


def test_a_ca_may_sign_leaves_and_nothing_else() -> None:
    """The CA bit is set, its path length is zero, and the key may sign certificates and revocations only."""
    extensions = CA.create(NOW).certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


def test_a_ca_lives_a_year_and_is_backdated() -> None:
    """A verifier whose clock is an hour behind takes it."""
    certificate = CA.create(NOW).certificate
    assert certificate.not_valid_before_utc == WHOLE - BACKDATING
    assert certificate.not_valid_after_utc == WHOLE + CA_LIFETIME


def test_two_cas_differ_in_subject() -> None:
    """Verifiers look issuers up by subject; during a rotation both are trusted."""
    subjects = {CA.create(NOW).certificate.subject for _ in range(2)}
    assert len(subjects) == 2


def test_a_leaf_is_for_servers_only() -> None:
    """No CA bit, digital signature, server auth."""
    extensions = CA.create(NOW).issue(("a.b.svc",), NOW).certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_leaf_has_names_and_addresses() -> None:
    """IP addresses are alternative names of their own type: as DNS names no client would take them."""
    leaf = CA.create(NOW).issue(("pillion.x.svc", "127.0.0.1", "::1"), NOW)
    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["pillion.x.svc"]
    assert names.value.get_values_for_type(x509.IPAddress) == [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    assert names.critical
    assert not leaf.certificate.subject.rdns


def test_a_leaf_never_outlives_its_ca() -> None:
    """Near the CA's end a leaf is shorter."""
    ca = CA.create(NOW)
    later = NOW + CA_LIFETIME - timedelta(days=3)
    leaf = ca.issue(("a",), later)
    assert leaf.certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc


def test_keys_are_p256() -> None:
    """The curve that every TLS client has, and the cheapest to sign with."""
    ca = CA.create(NOW)
    for key in (ca.key, ca.issue(("a",), NOW).key):
        assert isinstance(key.curve, ec.SECP256R1)


def test_a_given_key_is_used() -> None:
    """A renewal may keep its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    assert CA.create(NOW, key=key).issue(("a",), NOW, key=key).key is key


def test_a_ca_comes_back_from_its_bytes() -> None:
    """What was written can be loaded, and signs as before."""
    ca = CA.create(NOW)
    again = CA.load(ca.certificate_pem, ca.key_pem)
    assert again.certificate == ca.certificate
    again.issue(("a",), NOW).certificate.verify_directly_issued_by(ca.certificate)


def test_another_cas_key_is_refused() -> None:
    """A mixed-up pair is noticed when it is loaded."""
    with pytest.raises(ValueError, match="does not belong"):
        CA.load(CA.create(NOW).certificate_pem, CA.create(NOW).key_pem)


def test_a_key_of_another_kind_is_refused() -> None:
    """Only elliptic curves are ours."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="elliptic"):
        CA.load(CA.create(NOW).certificate_pem, pem)


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (0.6, False), (0.67, True), (1.0, True), (1.5, True)])
def test_renewal_is_due_after_two_thirds(share: float, expected: bool) -> None:
    """A third of the lifetime is left for what goes wrong."""
    leaf = CA.create(NOW).issue(("a",), NOW)
    assert (NOW + LEAF_LIFETIME * share >= renewal_time(leaf.certificate)) is expected


def test_a_certificate_that_is_valid_for_less_than_the_backdating_is_due_at_its_end() -> None:
    """Somebody else's: ours are valid for the backdating and their lifetime."""
    ca = CA.create(NOW, lifetime=-BACKDATING / 2)
    assert renewal_time(ca.certificate) == ca.certificate.not_valid_after_utc


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["pillion.x.svc", "127.0.0.1"])
def test_a_real_handshake_takes_the_leaf(tmp_path: Path, version: ssl.TLSVersion, name: str) -> None:
    """A client that trusts the CA alone connects by DNS name and by address."""
    now = datetime.now(UTC)
    ca = CA.create(now)
    leaf = ca.issue(("pillion.x.svc", "127.0.0.1"), now)
    pair = tmp_path / "pair.pem"
    pair.write_bytes(leaf.certificate_pem + leaf.key_pem)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(pair)
    client_context = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    client_context.maximum_version = client_context.minimum_version = version
    inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(inbound, outbound, server_hostname=name)
    server = server_context.wrap_bio(outbound, inbound, server_side=True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == version.name.replace("_", ".")


def test_the_longest_names_make_a_certificate() -> None:
    """Service and namespace have up to 63 characters each; there is no common name that they must fit into."""
    name = f"{'s' * 63}.{'n' * 63}.svc"
    leaf = CA.create(NOW).issue((name,), NOW)
    assert verify(leaf.certificate_pem, leaf.key_pem, now=NOW, names=(name,)).names == (name,)
