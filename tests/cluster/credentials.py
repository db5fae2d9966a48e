"""The certificates, keys and kubeconfigs of one cluster that lives for one test run."""

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=30)  # a node made by hand may stand for weeks
BACKDATE = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Pair:
    """Two PEM files: a certificate and its key."""

    certificate: Path
    key: Path


class CA:
    """The cluster's one CA: it signs serving and client certificates alike."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pillion-tests")])
        ca = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = self._write("ca", ca, self._key)

    def serving(self, name: str, addresses: Sequence[str]) -> Pair:
        """Return a new server certificate for DNS names and IP addresses."""
        return self._leaf(name, [], ExtendedKeyUsageOID.SERVER_AUTH, addresses)

    def client(self, name: str, user: str, groups: Sequence[str] = ()) -> Pair:
        """Return a new client certificate: the API server reads the user from CN, the groups from O."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        return self._leaf(name, attributes, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def signing_key(self, name: str) -> Path:
        """Return a new bare key (for service-account tokens)."""
        return self._write_key(name, ec.generate_private_key(ec.SECP256R1()))

    def kubeconfig(self, path: Path, server: str, pair: Pair) -> Path:
        """Write a kubeconfig that speaks to `server` (a URL) with this client certificate."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "pillion-tests",
            "contexts": [{"name": "pillion-tests", "context": {"cluster": "pillion-tests", "user": "user"}}],
            "clusters": [
                {
                    "name": "pillion-tests",
                    "cluster": {"server": server, "certificate-authority": str(self.pair.certificate)},
                }
            ],
            "users": [
                {
                    "name": "user",
                    "user": {"client-certificate": str(pair.certificate), "client-key": str(pair.key)},
                }
            ],
        }
        _write_private(path, json.dumps(config, indent=1).encode())  # JSON is YAML
        return path

    def _leaf(
        self,
        name: str,
        subject: Sequence[x509.NameAttribute[str]],
        usage: x509.ObjectIdentifier,
        addresses: Sequence[str],
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = subject or [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        builder = _builder(x509.Name(subject), self._name, key.public_key()).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if addresses:
            names = x509.SubjectAlternativeName([_general_name(address) for address in addresses])
            builder = builder.add_extension(names, critical=False)
        return self._write(name, builder.sign(self._key, hashes.SHA256()), key)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
        path = self._folder / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return Pair(path, self._write_key(name, key))

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self._folder / f"{name}.key"
        encoded = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        _write_private(path, encoded)
        return path


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LIFETIME)
    )


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
