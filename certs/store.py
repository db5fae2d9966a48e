"""Reads and writes a release's objects in the cluster: the Secret, the webhook configurations and the Lease.

Every write names the version that it replaces; only the creation of an empty object has none to name.
"""

import base64
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

# Not the prefix of pods' annotations, which is configurable.
#: The annotation of the Secret that requests a rotation: ``leaf``, or anything else for a new CA and a leaf.
ROTATE_ANNOTATION = "pillion.dev/rotate"
#: The annotation of a webhook configuration that names the Secret that its caBundles belong to. If it names another
#: Secret, the release was upgraded to another certificate mode, and this keeper must not touch the bundles.
CERTIFICATE_ANNOTATION = "pillion.dev/certificate"

_ADMISSION = "admissionregistration.k8s.io/v1"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """The names of a release's objects; ValueError for a webhook configuration of an unknown kind."""

    namespace: str
    secret: str
    lease: str
    #: Each as ``RESOURCE/NAME``, for example ``mutatingwebhookconfigurations/pillion.pillion-system``.
    webhook_configurations: tuple[str, ...]
    #: The Helm release that the Secret and the Lease belong to; empty if there is none.
    helm_release: str = ""

    @property
    def helm_metadata(self) -> dict[str, dict[str, str]]:
        """Return the metadata that marks an object as the Helm release's; Helm adopts no object without it."""
        if not self.helm_release:
            return {}
        annotations = {"meta.helm.sh/release-name": self.helm_release, "meta.helm.sh/release-namespace": self.namespace}
        return {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": annotations}

    def __post_init__(self) -> None:
        for each in self.webhook_configurations:
            resource, _, name = each.partition("/")
            if resource not in _KINDS or not name:
                raise ValueError(f"{each!r} is not a webhook configuration; write mutatingwebhookconfigurations/NAME")


class LeaseState(NamedTuple):
    """The Lease as it was read."""

    version: str
    holder: str
    #: The time of renewal as its holder wrote it; it is only compared, never parsed.
    renewed: str
    #: The API server's clock.
    api_server_time: datetime


class Store:
    """Reads and writes the objects of one release over one connection."""

    def __init__(
        self,
        connection: ApiConnection,
        names: ObjectNames,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._names = names
        self._clock = clock
        self._monotonic = monotonic
        within = f"namespaces/{quote(names.namespace)}"
        self._secret = f"/api/v1/{within}/secrets/{quote(names.secret)}"
        self._lease = f"/apis/coordination.k8s.io/v1/{within}/leases/{quote(names.lease)}"

    def observe(self, *, include_webhook_configurations: bool = True) -> Observed:
        """Read the webhook configurations if they are to be included, then the Secret."""
        names = self._names.webhook_configurations if include_webhook_configurations else ()
        configurations = {name: self._webhook_configuration(name) for name in names}
        secret, api_server_time = self._read_secret()
        return Observed(self._clock(), api_server_time, timedelta(seconds=self._monotonic()), secret, configurations)

    def perform(self, step: Step, observed: Observed) -> None:
        """Take a step that was computed from ``observed``; raises :class:`ApiError`."""
        match step:
            case CreateSecret():
                self._create_empty(self._secret, "v1", "Secret", self._names.secret, type="Opaque")
            case WriteSecret():
                self._write_secret(step, observed)
            case ApplyBundles():
                self._apply_bundles(step)
            case Wait():
                pass

    def read_or_create_lease(self) -> LeaseState:
        """Return the Lease; create it if it does not exist."""
        try:
            response = self._connection.get(self._lease)
        except StatusError as error:
            if not error.not_found:
                raise
            response = self._create_empty(self._lease, "coordination.k8s.io/v1", "Lease", self._names.lease)
        return _lease_state(response)

    def write_holder(self, lease: LeaseState, holder: str, duration: timedelta) -> LeaseState:
        """Write that ``holder`` acquired or renewed the Lease, or that nobody holds it (empty). Return its state."""
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
        """Create an empty object, or return the one that exists unchanged.

        By server-side apply, because an RBAC rule with ``resourceNames`` allows it: a create can't be limited by name.
        It is labelled as the Helm release's, so that a Secret made by pods of an old revision does not block the next
        installation.
        """
        metadata = {"name": name, **self._names.helm_metadata}
        return self._connection.apply(path, {"apiVersion": version, "kind": kind, "metadata": metadata, **fields})

    def _read_secret(self) -> tuple[SecretSnapshot | None, datetime]:
        try:
            response = self._connection.get(self._secret)
        except StatusError as error:
            if error.not_found:
                return None, error.api_server_time
            raise
        document = response.document
        data = {key: decode_base64(value) for key, value in (document.get("data") or {}).items()}
        requested_rotation = (document["metadata"].get("annotations") or {}).get(ROTATE_ANNOTATION, "")
        return SecretSnapshot(_resource_version(document), data, requested_rotation), response.api_server_time

    def _write_secret(self, step: WriteSecret, observed: Observed) -> None:
        present = observed.secret.data if observed.secret is not None else {}
        encoded: dict[str, str | None] = dict.fromkeys(present)  # data keys that are not overwritten are deleted
        encoded |= {key: base64.b64encode(value).decode() for key, value in step.data.items()}
        metadata: dict[str, Any] = {"resourceVersion": step.version}
        if step.clears_request:
            metadata["annotations"] = {ROTATE_ANNOTATION: None}
        self._connection.merge(self._secret, {"metadata": metadata, "data": encoded})

    def _webhook_configuration(self, name: str) -> WebhookConfiguration | None:
        try:
            document = self._connection.get(_configuration_path(name)).document
        except StatusError as error:
            if error.not_found:
                return None
            raise
        annotations = document["metadata"].get("annotations") or {}
        if annotations.get(CERTIFICATE_ANNOTATION, self._names.secret) != self._names.secret:
            return None
        entries = document.get("webhooks") or []
        bundles = {entry["name"]: decode_base64(entry["clientConfig"].get("caBundle")) for entry in entries}
        return WebhookConfiguration(_resource_version(document), bundles)

    def _apply_bundles(self, step: ApplyBundles) -> None:
        """Apply the bundle to every target; raise the first failure at the end."""
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
    holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
    return LeaseState(_resource_version(response.document), holder, renewed, response.api_server_time)


def _configuration_path(name: str) -> str:
    resource, _, rest = name.partition("/")
    return f"/apis/{_ADMISSION}/{resource}/{quote(rest)}"


def _resource_version(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["resourceVersion"])


def decode_base64(text: str | None) -> bytes:
    """Return the bytes of a base64 field; empty if the field is missing or not base64."""
    try:
        return base64.b64decode(text or "", validate=True)
    except (TypeError, ValueError):
        return b""
