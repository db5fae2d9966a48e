"""The objects in the cluster: the Secret, the webhook configurations and the Lease, read and written.

Every write names the version that it replaces, but those that make an empty object where there is none.
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

#: The annotation of the Secret that asks for a rotation: ``leaf``, or anything else for the CA too.
ROTATE_ANNOTATION = "pillion.dev/rotate"
#: The annotation of a webhook configuration that names the Secret with the servers' pair. Where it is another one, the
#: bundles are for somebody else to keep: the release has come to another mode, and our servers are about to leave.
CERTIFICATE_ANNOTATION = "pillion.dev/certificate"

_ADMISSION = "admissionregistration.k8s.io/v1"
_KINDS = {
    "mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
}


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """Where a release's objects are; ValueError for a configuration of a kind that is not known."""

    namespace: str
    secret: str
    lease: str
    configurations: tuple[str, ...]
    """``RESOURCE/NAME`` each, as ``mutatingwebhookconfigurations/pillion.pillion-system``."""
    release: str = ""
    """The Helm release that Secret and Lease belong to, if there is one."""

    @property
    def helm_metadata(self) -> dict[str, dict[str, str]]:
        """Return the metadata by which Helm knows what is the release's: it takes over nothing else."""
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
    holder: str
    renewed: str
    """As its holder wrote it: it is compared, never understood."""
    server_time: datetime


class Store:
    """The objects of one release, over one connection."""

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

    def observe(self, *, include_configurations: bool = True) -> Observed:
        """Return what there is, the configurations first; without them, what a server needs to know."""
        configurations = {
            name: self._configuration(name) for name in self._names.configurations * include_configurations
        }
        secret, server_time = self._read_secret()
        return Observed(self._clock(), server_time, timedelta(seconds=self._monotonic()), secret, configurations)

    def perform(self, step: Step, observed: Observed) -> None:
        """Take the step that follows from what was observed; raises :class:`ApiError`."""
        match step:
            case CreateSecret():
                self._create_empty(self._secret, "v1", "Secret", self._names.secret, type="Opaque")
            case WriteSecret():
                self._write(step, observed)
            case ApplyBundles():
                self._apply(step)
            case Wait():
                pass

    def lease(self) -> LeaseState:
        """Return the Lease, made if there is none."""
        try:
            answer = self._connection.get(self._lease)
        except StatusError as error:
            if not error.not_found:
                raise
            answer = self._create_empty(self._lease, "coordination.k8s.io/v1", "Lease", self._names.lease)
        return _lease_state(answer)

    def write_holder(self, lease: LeaseState, holder: str, duration: timedelta) -> LeaseState:
        """Write who holds the Lease from now on, nobody if ``holder`` is empty."""
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
        """Make an empty object; one that is there stays as it is.

        By server-side apply, as a rule with ``resourceNames`` allows it: a plain create can't be limited by name.
        Made by servers that are about to leave, it would be in the way of the release's next installation or mode.
        """
        metadata = {"name": name, **self._names.helm_metadata}
        return self._connection.apply(path, {"apiVersion": version, "kind": kind, "metadata": metadata, **fields})

    def _read_secret(self) -> tuple[SecretSnapshot | None, datetime]:
        try:
            answer = self._connection.get(self._secret)
        except StatusError as error:
            if error.not_found:
                return None, error.time
            raise
        document = answer.document
        content = {key: decode_base64(value) for key, value in (document.get("data") or {}).items()}
        rotation_requested = (document["metadata"].get("annotations") or {}).get(ROTATE_ANNOTATION, "")
        return SecretSnapshot(_resource_version(document), content, rotation_requested), answer.time

    def _write(self, step: WriteSecret, observed: Observed) -> None:
        before = observed.secret.content if observed.secret is not None else {}
        data: dict[str, str | None] = dict.fromkeys(before)  # what is not written again is taken away
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
            CERTIFICATE_ANNOTATION, self._names.secret
        ) != self._names.secret:
            return None
        entries = document.get("webhooks") or []
        bundles = {entry["name"]: decode_base64(entry["clientConfig"].get("caBundle")) for entry in entries}
        return WebhookConfiguration(_resource_version(document), bundles)

    def _apply(self, step: ApplyBundles) -> None:
        """Apply to every target; the first failure is raised at the end."""
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


def _lease_state(answer: ApiResponse) -> LeaseState:
    spec = answer.document.get("spec") or {}
    return LeaseState(
        _resource_version(answer.document), spec.get("holderIdentity") or "", spec.get("renewTime") or "", answer.time
    )


def _configuration_path(name: str) -> str:
    resource, _, own = name.partition("/")
    return f"/apis/{_ADMISSION}/{resource}/{quote(own)}"


def _resource_version(document: Mapping[str, Any]) -> str:
    return str(document["metadata"]["resourceVersion"])


def decode_base64(text: str | None) -> bytes:
    """Return the bytes of a field of an object, nothing where it has none or what is there is no base64."""
    try:
        return base64.b64decode(text or "", validate=True)
    except binascii.Error:
        return b""
