"""Releases in a cluster, as far as certificates go: their Secret, and what their webhook entries trust."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from certs.store import CERTIFICATE_ANNOTATION, ROTATE_ANNOTATION, decode_base64
from webhook.cli.kubectl import Kubectl
from webhook.cli.terminal import visible
from webhook.errors import ClusterError
from webhook.json_values import as_list, as_mapping, at

__all__ = ["CERTIFICATE_ANNOTATION", "Entry", "Release", "find_releases", "request_rotation"]

#: The annotation by which cert-manager says which Certificate a Secret belongs to.
_CERT_MANAGER_ANNOTATION = "cert-manager.io/certificate-name"
_CONFIGURATIONS = ",".join(
    f"{kind}webhookconfigurations.v1.admissionregistration.k8s.io" for kind in ("mutating", "validating")
)


class Entry(NamedTuple):
    """A webhook entry whose server is a Service."""

    name: str
    service: str
    namespace: str
    bundle: bytes
    """What the API server trusts, PEM; empty where the entry has no ``caBundle``."""

    @property
    def server(self) -> str:
        """Return what the API server calls the server."""
        return f"{self.service}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class Release:
    """Webhook configurations of Pillion's that have one name, and the Secret that they name."""

    configuration: str
    namespace: str
    secret: str
    entries: tuple[Entry, ...]
    content: Mapping[str, bytes] | None
    """The Secret's; None where there is no Secret."""
    issuer: str
    """cert-manager's Certificate that the Secret belongs to; empty where it belongs to none."""

    @property
    def name(self) -> str:
        """Return what messages call the Secret."""
        return visible(f"Secret {self.namespace}/{self.secret}")

    @property
    def self_managed(self) -> bool:
        """Return whether Pillion itself renews what is in the Secret; it makes a lost Secret again, too."""
        return self.content is None or "ca.key" in self.content


def find_releases(kubectl: Kubectl, namespace: str | None) -> list[Release]:
    """Return the releases of a namespace, or of all namespaces."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    documents = at(kubectl.get(_CONFIGURATIONS), ("items",))
    if not isinstance(documents, list):
        raise ClusterError("kubectl printed no list of webhook configurations")
    for document in map(as_mapping, documents):
        metadata = as_mapping(document.get("metadata"))
        secret = as_mapping(metadata.get("annotations")).get(CERTIFICATE_ANNOTATION)
        for entry in _entries(document):
            if secret and namespace in {None, entry.namespace}:
                found.setdefault((str(metadata.get("name")), entry.namespace, str(secret)), []).append(entry)
    return [_release(kubectl, *key, tuple(entries)) for key, entries in found.items()]


def request_rotation(kubectl: Kubectl, release: Release, what: str) -> None:
    """Annotate a release's Secret so that its keeper makes a new leaf (``leaf``), or a new CA and a leaf (``ca``)."""
    patch = json.dumps({"metadata": {"annotations": {ROTATE_ANNOTATION: what}}})
    kubectl.run("patch", "secret", release.secret, namespace=release.namespace, type="merge", patch=patch)


def _release(kubectl: Kubectl, name: str, namespace: str, secret: str, entries: tuple[Entry, ...]) -> Release:
    document = kubectl.get("secret", secret, namespace=namespace, ignore_not_found="true")
    if document is None:
        return Release(name, namespace, secret, entries, None, "")
    content = {key: decode_base64(value) for key, value in as_mapping(at(document, ("data",))).items()}
    issuer = at(document, ("metadata", "annotations", _CERT_MANAGER_ANNOTATION))
    return Release(name, namespace, secret, entries, content, str(issuer or ""))


def _entries(document: Mapping[str, Any]) -> Iterator[Entry]:
    for each in map(as_mapping, as_list(document.get("webhooks"))):
        client = as_mapping(each.get("clientConfig"))
        service = as_mapping(client.get("service"))
        if service:
            bundle = decode_base64(client.get("caBundle"))
            yield Entry(str(each.get("name")), str(service.get("name")), str(service.get("namespace")), bundle)
