"""The pair that all replicas share in a Secret, and the webhook entries that trust it: the only Kubernetes client.

``python -m certs.store`` runs before the server does: it makes what the Secret lacks, has the webhook configuration
trust it, and leaves the server's pair in a folder. The chart makes the Secret, empty, and takes it away: the rights
end at two objects by name.

=======  ==================  ===========================
part     lives               is made anew by a start that
=======  ==================  ===========================
CA       two years           finds it a year old
leaf     a year              finds it a month old
=======  ==================  ===========================

So a pod that starts has at least eleven months; each Kubernetes release is supported for fourteen.
"""

import argparse
import base64
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.verify import UnusablePairError, verify

__all__ = ["Api", "ApiError", "ClusterApi", "Place", "Shared", "ensure", "main", "trust", "write"]

AUTHORITY_LIFETIME, AUTHORITY_AGE = timedelta(days=730), timedelta(days=365)
LEAF_LIFETIME, LEAF_AGE = timedelta(days=365), timedelta(days=30)

#: Where the kubelet puts a pod's token, namespace, and the API server's authority.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Replicas that start together meet at one Secret; the second finds the first one's pair.
ATTEMPTS = 5
SECONDS = 10.0  # for one answer
PATIENCE = 60.0  # for an API server that is not reached yet; then the kubelet starts us again
OK, CONFLICT = 200, 409


class ApiError(RuntimeError):
    """The API server said no, or nothing; the text is one sentence for the pod's log."""


class UnreachableError(ApiError):
    """There was no answer; another attempt may get one."""


class Api(Protocol):
    """The part of an API server that is used."""

    def get(self, path: str) -> Any:
        """Return an object; raise :class:`ApiError` if there is none or no right to it."""

    def replace(self, path: str, document: Mapping[str, Any]) -> bool:
        """Write an object; return False if it has changed since ``resourceVersion``."""

    def apply(self, path: str, document: Mapping[str, Any]) -> None:
        """Write the given fields of an object and own them (server-side apply)."""


class Place(NamedTuple):
    """Where the pair is, and who must trust it."""

    namespace: str
    secret: str
    webhooks: str
    """The MutatingWebhookConfiguration's name."""
    names: tuple[str, ...]
    """What the API server calls the server."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the Secret holds."""

    authority: Authority
    leaf_pem: bytes
    key_pem: bytes

    @classmethod
    def create(cls, authority: Authority, names: tuple[str, ...], now: datetime) -> Self:
        """Return a new leaf of the authority."""
        leaf = authority.issue(names, now, lifetime=LEAF_LIFETIME)
        return cls(authority, leaf.certificate_pem, leaf.key_pem)

    def data(self) -> dict[str, str]:
        """Return the Secret's ``data``."""
        content = {
            "ca.crt": self.authority.certificate_pem,
            "ca.key": self.authority.key_pem,
            "tls.crt": self.leaf_pem,
            "tls.key": self.key_pem,
        }
        return {key: base64.b64encode(value).decode() for key, value in content.items()}


def ensure(api: Api, place: Place, now: datetime) -> Shared:
    """Return the pair in the Secret, after making what is missing, old, broken or for other names."""
    path = f"/api/v1/namespaces/{quote(place.namespace)}/secrets/{quote(place.secret)}"
    for _ in range(ATTEMPTS):
        secret = api.get(path)
        content = _content(secret)
        authority = _authority(content, now)
        if authority is not None and _leaf_is_good(content, authority, place.names, now):
            return Shared(authority, content["tls.crt"], content["tls.key"])
        shared = Shared.create(authority or Authority.create(now, lifetime=AUTHORITY_LIFETIME), place.names, now)
        # resourceVersion is in it: a write that came between is not overwritten, but read
        if api.replace(path, {**secret, "data": {**(secret.get("data") or {}), **shared.data()}}):
            return shared
    raise ApiError(f"Secret {place.namespace}/{place.secret} changes faster than it can be written")


def trust(api: Api, place: Place, authority: Authority, now: datetime) -> bool:
    """Have each entry of the webhook configuration trust the authority; return whether one did not before.

    Another authority that is there and has not ended stays: servers that started before still show its leaves.
    """
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{quote(place.webhooks)}"
    entries = api.get(path).get("webhooks") or []
    bundles = {entry["name"]: _decoded(entry["clientConfig"].get("caBundle")) for entry in entries}
    wanted = {name: _bundle(authority, bundle, now) for name, bundle in bundles.items()}
    if wanted == bundles:
        return False
    api.apply(
        path,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": place.webhooks},
            "webhooks": [
                {"name": name, "clientConfig": {"caBundle": base64.b64encode(bundle).decode()}}
                for name, bundle in wanted.items()
            ],
        },
    )
    return True


def _content(secret: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: _decoded(value) for key, value in (secret.get("data") or {}).items()}


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "")
    except ValueError:
        return b""


def _authority(content: Mapping[str, bytes], now: datetime) -> Authority | None:
    """Return the Secret's authority, or None where there is none that is young enough."""
    try:
        authority = Authority.load(content.get("ca.crt", b""), content.get("ca.key", b""))
    except (ValueError, TypeError):
        return None
    start = authority.certificate.not_valid_before_utc
    return authority if start <= now < start + AUTHORITY_AGE else None


def _leaf_is_good(content: Mapping[str, bytes], authority: Authority, names: tuple[str, ...], now: datetime) -> bool:
    chain, key = content.get("tls.crt", b""), content.get("tls.key", b"")
    try:
        pair = verify(chain, key, now=now, names=names, roots_pem=authority.certificate_pem)
    except UnusablePairError:
        return False
    return now < pair.not_before + LEAF_AGE


def _bundle(authority: Authority, before: bytes, now: datetime) -> bytes:
    """Return the authority's certificate, and after it one other of ``before`` that is still good."""
    try:
        others = x509.load_pem_x509_certificates(before)
    except ValueError:
        others = []
    others = [other for other in others if other != authority.certificate and other.not_valid_after_utc > now]
    return b"".join([authority.certificate_pem, *(other.public_bytes(Encoding.PEM) for other in others[:1])])


class ClusterApi:
    """The API server of the cluster that this pod runs in, called with the pod's own token."""

    def __init__(self, host: str, port: int, account: Path = ACCOUNT) -> None:
        self._address = (host, port)
        self._token = account / "token"
        self._context = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def get(self, path: str) -> Any:
        """Return an object; raise :class:`ApiError` if there is none or no right to it."""
        return self._request("GET", path)[1]

    def replace(self, path: str, document: Mapping[str, Any]) -> bool:
        """Write an object; return False if it has changed since ``resourceVersion``."""
        return self._request("PUT", path, document, also=CONFLICT)[0] != CONFLICT

    def apply(self, path: str, document: Mapping[str, Any]) -> None:
        """Write the given fields of an object and own them (server-side apply)."""
        query = "?fieldManager=pillion&force=true"
        self._request("PATCH", path + query, document, "application/apply-patch+yaml")

    def _request(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        *,
        also: int = OK,
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": content_type}
        body = None if document is None else json.dumps(document)
        connection = http.client.HTTPSConnection(*self._address, timeout=SECONDS, context=self._context)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"the API server at {self._address[0]} can't be reached: {error}") from None
        finally:
            connection.close()
        try:
            result = json.loads(content)
        except ValueError:
            result = {}
        if answer.status not in {OK, also}:
            raise ApiError(f"{method} {path.partition('?')[0]}: {result.get('message') or answer.reason}")
        return answer.status, result


def main(words: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Leave the pair in a folder for the server to read; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m certs.store", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--secret", required=True, help="the Secret that holds the pair; it must be there")
    parser.add_argument("--webhooks", required=True, help="the MutatingWebhookConfiguration whose entries trust it")
    parser.add_argument("--names", required=True, help="what the API server calls the server, comma separated")
    parser.add_argument("--folder", required=True, type=Path, help="where tls.crt and tls.key go")
    given = parser.parse_args(words)
    place = Place(given.namespace, given.secret, given.webhooks, tuple(given.names.split(",")))
    try:
        api = ClusterApi(environment["KUBERNETES_SERVICE_HOST"], int(environment["KUBERNETES_SERVICE_PORT"]))
        shared, new = _patiently(api, place)
        write(shared, given.folder)
    except KeyError as error:
        _say(f"{error.args[0]} is not set: this runs in a cluster")
        return 1
    except (ApiError, OSError) as error:
        _say(f"{error}")
        return 1
    end = x509.load_pem_x509_certificate(shared.leaf_pem).not_valid_after_utc
    trusted = "now trust" if new else "trust"
    _say(f"good until {end:%F}; the entries of {place.webhooks} {trusted} it")
    return 0


def write(shared: Shared, folder: Path) -> None:
    """Write the pair for its owner's eyes only."""
    for name, content in (("tls.crt", shared.leaf_pem), ("tls.key", shared.key_pem)):
        path = folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)


def _say(sentence: str) -> None:
    sys.stderr.write(f"pillion certificates: {sentence}\n")


def _patiently(api: Api, place: Place) -> tuple[Shared, bool]:
    """Return the pair and whether its trust is new; wait for an API server that can't be reached yet."""
    end = time.monotonic() + PATIENCE
    while True:
        now = datetime.now(UTC)
        try:
            shared = ensure(api, place, now)
            return shared, trust(api, place, shared.authority, now)
        except UnreachableError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
