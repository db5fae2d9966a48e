"""The Secret, the webhook configurations and the Lease of a release: read from the API server, and written.

Every write names the ``resourceVersion`` that it replaces, so it fails where somebody else has written meanwhile. The
exception is the creation of an empty object, which changes nothing where the object exists.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from certs.api import ApiConnection, ApiError, ApiResponse, StatusError
from certs.rotation import (
    ApplyBundles,
    CreateSecret,
    Observed,
    SecretSnapshot,
    Step,
    Wait,
    WebhookConfiguration,
    WriteSecret,
)

__all__ = ["CERTIFICATE_ANNOTATION", "ROTATE_ANNOTATION", "LeaseState", "ObjectNames", "Store", "decode_base64"]

#: The annotation of the Secret that requests a rotation: ``leaf`` for a leaf, any other value for a CA and a leaf.
ROTATE_ANNOTATION = "pillion.dev/rotate"
#: The annotation of a webhook configuration that names the Secret with the servers' certificate. If it names another
#: Secret than ours, the release was switched to another certificate mode, and its bundles are no longer ours to write.
CERTIFICATE_ANNOTATION = "pillion.dev/certificate"

_ADMISSION = "admissionregistration.k8s.io/v1"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The names of a release's objects; ValueError for a configuration of an unknown kind."""

    namespace: str
    secret: str
    lease: str
    configurations: tuple[str, ...]
    """``RESOURCE/NAME`` each, as ``mutatingwebhookconfigurations/pillion.pillion-system``."""
    release: str = ""
    """The Helm release that Secret and Lease belong to; empty where they belong to none."""

    @property
    def helm_metadata(self) -> dict[str, dict[str, str]]:
        """Return the labels and annotations by which Helm recognizes the release's objects.

        Helm refuses to install where an object exists that has other ones.
        """
        if not self.release:
            return {}
        annotations = {"meta.helm.sh/release-name": self.release, "meta.helm.sh/release-namespace": self.namespace}
        return {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": annotations}

    def __post_init__(self) -> None:
        for each in self.configurations:
            resource, _, name = each.partition("/")
            if resource not in _KINDS or not name:
                raise ValueError(f"{each!r} is no webhook configuration; write mutatingwebhookconfigurations/NAME")


class LeaseState(NamedTuple):
    """The Lease as it was read."""

    version: str
    """Its ``resourceVersion``."""
    holder: str
    """Empty where nobody holds it."""
    renewed: str
    """``renewTime`` as its holder wrote it: only compared with itself, because the holder's clock may be wrong."""
    server_time: datetime
    """The API server's clock."""


class Store:
    """Reads and writes the objects of one release, over one connection."""

    def __init__(
        self,
        connection: ApiConnection,
        objects: ObjectNames,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._objects = objects
        self._clock = clock
        self._monotonic = monotonic
        within = f"namespaces/{quote(objects.namespace)}"
        self._secret = f"/api/v1/{within}/secrets/{quote(objects.secret)}"
        self._lease = f"/apis/coordination.k8s.io/v1/{within}/leases/{quote(objects.lease)}"

    def observe(self, *, include_configurations: bool = True) -> Observed:
        """Return the state of the Secret and, unless left out, of the webhook configurations.

        A keeper that does not rotate needs the Secret only. The configurations are read first: see :class:`Observed`.
        """
        names = self._objects.configurations if include_configurations else ()
        configurations = {name: self._configuration(name) for name in names}
        secret, server_time = self._read_secret()
        return Observed(self._clock(), server_time, timedelta(seconds=self._monotonic()), secret, configurations)

    def perform(self, step: Step, observed: Observed) -> None:
        """Take a step that was decided from ``observed``; raises :class:`ApiError`."""
        match step:
            case CreateSecret():
                self._create_empty(self._secret, "v1", "Secret", self._objects.secret, type="Opaque")
            case WriteSecret():
                self._write(step, observed)
            case ApplyBundles():
                self._apply(step)
            case Wait():
                pass

    def lease(self) -> LeaseState:
        """Return the Lease; create it if it does not exist."""
        try:
            response = self._connection.get(self._lease)
        except StatusError as error:
            if not error.not_found:
                raise
            response = self._create_empty(self._lease, "coordination.k8s.io/v1", "Lease", self._objects.lease)
        return _lease_state(response)

    def write_holder(self, lease: LeaseState, holder: str, duration: timedelta) -> LeaseState:
        """Make ``holder`` the Lease's holder, or free the Lease if that is empty; return the Lease as it is now."""
        now = f"{self._clock():%Y-%m-%dT%H:%M:%S.%fZ}"
        spec: dict[str, Any] = {
            "holderIdentity": holder or None,
            "renewTime": now,
            "leaseDurationSeconds": max(1, round(duration.total_seconds())),
        }
        if holder != lease.holder:
            spec["acquireTime"] = now
        metadata = {"resourceVersion": lease.version}
        return _lease_state(self._connection.merge(self._lease, {"metadata": metadata, "spec": spec}))

    def _create_empty(self, path: str, version: str, kind: str, name: str, **fields: str) -> ApiResponse:
        """Create an object without content; one that exists stays as it is.

        By server-side apply: an RBAC rule with ``resourceNames`` can allow it for one name, which it can't for a plain
        create. With Helm's metadata: a keeper of a release that is being upgraded may create the object once more, and
        Helm must be able to take it over.
        """
        metadata = {"name": name, **self._objects.helm_metadata}
        return self._connection.apply(path, {"apiVersion": version, "kind": kind, "metadata": metadata, **fields})

    def _read_secret(self) -> tuple[SecretSnapshot | None, datetime]:
        try:
            response = self._connection.get(self._secret)
        except StatusError as error:
            if error.not_found:
                return None, error.time
            raise
        document = response.document
        content = {key: decode_base64(value) for key, value in (document.get("data") or {}).items()}
        rotation_requested = (document["metadata"].get("annotations") or {}).get(ROTATE_ANNOTATION, "")
        return SecretSnapshot(_resource_version(document), content, rotation_requested), response.time

    def _write(self, step: WriteSecret, observed: Observed) -> None:
        before = observed.secret.content if observed.secret is not None else {}
        data: dict[str, str | None] = dict.fromkeys(before)  # a key that is not written again is deleted
        data |= {key: base64.b64encode(value).decode() for key, value in step.content.items()}
        metadata: dict[str, Any] = {"resourceVersion": step.version}
        if step.clears_request:
            metadata["annotations"] = {ROTATE_ANNOTATION: None}
        self._connection.merge(self._secret, {"metadata": metadata, "data": data})

    def _configuration(self, name: str) -> WebhookConfiguration | None:
        try:
            document = self._connection.get(_configuration_path(name)).document
        except StatusError as error:
            if error.not_found:
                return None
            raise
        if (document["metadata"].get("annotations") or {}).get(
            CERTIFICATE_ANNOTATION, self._objects.secret
        ) != self._objects.secret:
            return None
        entries = document.get("webhooks") or []
        bundles = {entry["name"]: decode_base64(entry["clientConfig"].get("caBundle")) for entry in entries}
        return WebhookConfiguration(_resource_version(document), bundles)

    def _apply(self, step: ApplyBundles) -> None:
        """Write the bundle into every target, also after one has failed; raise the first failure at the end."""
        bundle = base64.b64encode(step.bundle).decode()
        failure: ApiError | None = None
        for target in step.targets:
            resource, _, name = target.name.partition("/")
            document = {
                "apiVersion": _ADMISSION,
                "kind": _KINDS[resource],
                "metadata": {"name": name, "resourceVersion": target.version},
                "webhooks": [{"name": entry, "clientConfig": {"caBundle": bundle}} for entry in target.entries],
            }
            try:
                self._connection.apply(_configuration_path(target.name), document)
            except ApiError as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _lease_state(response: ApiResponse) -> LeaseState:
    spec = response.document.get("spec") or {}
    return LeaseState(
        _resource_version(response.document),
        spec.get("holderIdentity") or "",
        spec.get("renewTime") or "",
        response.time,
    )


def _configuration_path(name: str) -> str:
    resource, _, own = name.partition("/")
    return f"/apis/{_ADMISSION}/{resource}/{quote(own)}"


def _resource_version(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["resourceVersion"])


def decode_base64(text: str | None) -> bytes:
    """Decode a base64 field of an object; one that is missing or malformed gives empty bytes."""
    try:
        return base64.b64decode(text or "", validate=True)
    except binascii.Error:
        return b""
