"""Releases in a cluster, as far as certificates go: their Secret, and what their webhook entries trust."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from certs.api import ApiConnection, ApiError, StatusError
from certs.kubeconfig import KubeconfigError, load
from certs.store import CERTIFICATE_ANNOTATION, ROTATE_ANNOTATION, decode_base64
from webhook.errors import CertificateError

__all__ = ["CERTIFICATE_ANNOTATION", "Cluster", "Entry", "Release", "connect"]

#: The annotation of a Secret that cert-manager keeps.
_CERT_MANAGERS = "cert-manager.io/certificate-name"
_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class Entry(NamedTuple):
    """A webhook entry."""

    name: str
    server: str
    """What the API server calls the server."""
    bundle: bytes
    """What it trusts, PEM; empty for nothing."""


@dataclass(frozen=True, slots=True)
class Release:
    """A webhook configuration of ours and the Secret that it names."""

    configuration: str
    namespace: str
    secret: str
    entries: tuple[Entry, ...]
    content: Mapping[str, bytes] | None
    """The Secret's; None where there is none."""
    issuer: str
    """The Certificate of cert-manager's that the Secret belongs to; empty for none."""

    @property
    def name(self) -> str:
        """The Secret's, for people."""
        return f"Secret {self.namespace}/{self.secret}"

    @property
    def self_managed(self) -> bool:
        """Whether Pillion itself renews what is in the Secret; a Secret that is lost is made again."""
        return self.content is None or "ca.key" in self.content


class Cluster(NamedTuple):
    """A cluster that is connected to."""

    connection: ApiConnection
    root: str

    def releases(self, namespace: str | None) -> list[Release]:
        """Return the releases of a namespace, or all."""
        found = []
        for document in self.connection.get(f"{self.root}{_CONFIGURATIONS}").document["items"]:
            metadata = document["metadata"]
            secret = (metadata.get("annotations") or {}).get(CERTIFICATE_ANNOTATION)
            entries = tuple(_entries(document))
            if secret and entries:
                where = document["webhooks"][0]["clientConfig"]["service"]["namespace"]
                if namespace in {None, where}:
                    found.append(self._release(metadata["name"], where, secret, entries))
        return found

    def ask(self, release: Release, what: str) -> None:
        """Ask for a rotation: ``leaf`` or ``ca``."""
        self.connection.merge(
            self._path(release.namespace, release.secret), {"metadata": {"annotations": {ROTATE_ANNOTATION: what}}}
        )

    def _release(self, name: str, namespace: str, secret: str, entries: tuple[Entry, ...]) -> Release:
        try:
            document = self.connection.get(self._path(namespace, secret)).document
        except StatusError as error:
            if not error.not_found:
                raise
            return Release(name, namespace, secret, entries, None, "")
        content = {key: decode_base64(value) for key, value in (document.get("data") or {}).items()}
        issuer = (document["metadata"].get("annotations") or {}).get(_CERT_MANAGERS, "")
        return Release(name, namespace, secret, entries, content, issuer)

    def _path(self, namespace: str, secret: str) -> str:
        return f"{self.root}/api/v1/namespaces/{quote(namespace)}/secrets/{quote(secret)}"


@contextmanager
def connect(kubeconfig: Path | None, context: str | None) -> Iterator[Cluster]:
    """Yield the kubeconfig's cluster; :class:`CertificateError` for whatever is in the way, then and later."""
    try:
        access = load(kubeconfig, context, os.environ)
        with access.server.connect() as connection:
            yield Cluster(connection, access.root)
    except (ApiError, KubeconfigError) as error:
        raise CertificateError(f"{error}") from None


def _entries(document: Mapping[str, Any]) -> Iterator[Entry]:
    for each in document.get("webhooks") or ():
        service = each["clientConfig"].get("service")
        if service:
            server = f"{service['name']}.{service['namespace']}.svc"
            yield Entry(each["name"], server, decode_base64(each["clientConfig"].get("caBundle")))
