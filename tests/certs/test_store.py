"""Unit tests of certs.store, over a connection to objects in memory."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from certs.api import ApiConnection, ApiError, ApiResponse, StatusError
from certs.rotation import ApplyBundles, BundleTarget, CreateSecret, Observed, SecretSnapshot, Wait, WriteSecret
from certs.store import LeaseState, ObjectNames, Store, decode_base64

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
WEBHOOKS = "mutatingwebhookconfigurations/pillion.pillion-system"
OBJECTS = ObjectNames("pillion-system", "pair", "lease", (WEBHOOKS,), "release")
SECRET = "/api/v1/namespaces/pillion-system/secrets/pair"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/pillion-system/leases/lease"
CONFIGURATION = f"/apis/admissionregistration.k8s.io/v1/{WEBHOOKS}"


class Objects:
    """A connection to objects by path; writes are recorded and merged into nothing."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.errors: dict[str, int] = {}
        self.reads: list[str] = []
        self.writes: list[tuple[str, str, Any]] = []

    def get(self, path: str) -> ApiResponse:
        """Return a document, or refuse as an API server does."""
        self.reads.append(path)
        self._refuse(path)
        if path not in self.documents:
            raise StatusError(404, "not found", NOW)
        return ApiResponse(self.documents[path], NOW)

    def apply(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Record a server-side apply."""
        return self._write("apply", path, document)

    def merge(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Record a merge patch."""
        return self._write("merge", path, document)

    def _write(self, how: str, path: str, document: Mapping[str, Any]) -> ApiResponse:
        self.writes.append((how, path, document))
        self._refuse(path)
        merged = {**document, "metadata": {**document["metadata"], "resourceVersion": "2"}}
        return ApiResponse(merged, NOW)

    def _refuse(self, path: str) -> None:
        if path in self.errors:
            raise StatusError(self.errors[path], f"{path}: refused", NOW)


@pytest.fixture
def objects() -> Objects:
    """Return a cluster without any of the objects."""
    return Objects()


@pytest.fixture
def store(objects: Objects) -> Store:
    """Return a store of those objects, whose clocks stand still."""
    connection = cast("ApiConnection", objects)
    return Store(connection, OBJECTS, clock=lambda: NOW, monotonic=lambda: 7.0)


def configuration(bundle: str | None, **annotations: str) -> dict[str, Any]:
    """Return a webhook configuration with one entry."""
    entry = {"name": "entry", "clientConfig": {"caBundle": bundle} if bundle else {}}
    return {"metadata": {"resourceVersion": "5", "annotations": annotations}, "webhooks": [entry]}


def test_nothing_is_observed_where_nothing_is(store: Store) -> None:
    """No Secret, no configuration; the times are there all the same."""
    assert store.observe() == Observed(NOW, NOW, timedelta(seconds=7), None, {WEBHOOKS: None})


def test_what_is_there_is_observed(store: Store, objects: Objects) -> None:
    """Content and bundles decoded, with their versions; the configurations are read first."""
    metadata = {"resourceVersion": "4", "annotations": {"pillion.dev/rotate": "leaf"}}
    objects.documents[SECRET] = {"metadata": metadata, "data": {"tls.crt": base64.b64encode(b"a").decode(), "b": "%"}}
    objects.documents[CONFIGURATION] = configuration(base64.b64encode(b"ca").decode())
    observed = store.observe()
    assert observed.secret == SecretSnapshot("4", {"tls.crt": b"a", "b": b""}, "leaf")
    found = observed.webhook_configurations[WEBHOOKS]
    assert found is not None
    assert (found.version, found.bundles) == ("5", {"entry": b"ca"})
    assert objects.reads == [CONFIGURATION, SECRET]


def test_who_does_not_rotate_reads_the_secret_only(store: Store, objects: Objects) -> None:
    """Fewer requests, and no right to more is needed."""
    assert store.observe(include_webhook_configurations=False).webhook_configurations == {}
    assert objects.reads == [SECRET]


@pytest.mark.parametrize(("secret", "ours"), [("pair", True), ("another", False)])
def test_a_configuration_of_another_secret_is_passed_over(
    store: Store, objects: Objects, secret: str, ours: bool
) -> None:
    """The release was switched to another certificate mode."""
    objects.documents[CONFIGURATION] = configuration(None, **{"pillion.dev/certificate": secret})
    assert (store.observe().webhook_configurations[WEBHOOKS] is not None) == ours


@pytest.mark.parametrize("path", [SECRET, CONFIGURATION, LEASE])
def test_a_refusal_is_no_absence(store: Store, objects: Objects, path: str) -> None:
    """Only 404 says that there is no object."""
    objects.errors[path] = 403
    with pytest.raises(StatusError, match="refused"):
        store.read_or_create_lease() if path == LEASE else store.observe()
    assert objects.writes == []


def test_an_empty_secret_is_created_as_helm_wants_it(store: Store, objects: Objects) -> None:
    """By server-side apply, without data."""
    store.perform(CreateSecret("there is none"), store.observe())
    ((how, path, document),) = objects.writes
    assert (how, path) == ("apply", SECRET)
    assert "data" not in document
    assert document["metadata"] == {
        "name": "pair",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": "release",
            "meta.helm.sh/release-namespace": "pillion-system",
        },
    }


def test_without_a_release_helm_is_not_named() -> None:
    """Objects of manifests that no Helm installed."""
    assert ObjectNames("a", "b", "c", ()).helm_metadata == {}


@pytest.mark.parametrize("clears", [True, False])
def test_a_secret_is_written_by_its_version(store: Store, objects: Objects, clears: bool) -> None:
    """A key that is not written again is deleted; a request is removed with the write that answers it."""
    observed = Observed(NOW, NOW, timedelta(), SecretSnapshot("4", {"old": b"x", "kept": b"y"}), {})
    store.perform(WriteSecret({"kept": b"y", "new": b"z"}, "4", clears, "because"), observed)
    ((how, path, document),) = objects.writes
    assert (how, path) == ("merge", SECRET)
    assert document["data"] == {"old": None, "kept": "eQ==", "new": "eg=="}
    removed = {"annotations": {"pillion.dev/rotate": None}} if clears else {}
    assert document["metadata"] == {"resourceVersion": "4", **removed}


def test_a_bundle_is_written_to_every_target(store: Store, objects: Objects) -> None:
    """Also after one has failed; the first failure is raised."""
    kinds = ("mutating", "validating", "validating")
    names = [f"{kind}webhookconfigurations/{name}" for kind, name in zip(kinds, "abc", strict=True)]
    for name in names[:2]:
        objects.errors[f"/apis/admissionregistration.k8s.io/v1/{name}"] = 409
    targets = tuple(BundleTarget(name, "5", ("entry",)) for name in names)
    with pytest.raises(ApiError, match="/a: refused"):
        store.perform(ApplyBundles(b"ca", targets, "because"), store.observe())
    assert [path.rpartition("/")[2] for _, path, _ in objects.writes] == ["a", "b", "c"]
    document = objects.writes[-1][2]
    assert document["kind"] == "ValidatingWebhookConfiguration"
    assert document["metadata"] == {"name": "c", "resourceVersion": "5"}
    assert document["webhooks"] == [{"name": "entry", "clientConfig": {"caBundle": "Y2E="}}]


def test_a_wait_writes_nothing(store: Store, objects: Objects) -> None:
    """It is a step, too."""
    store.perform(Wait(timedelta(), "because"), store.observe())
    assert objects.writes == []


def test_a_lease_is_created_where_there_is_none(store: Store, objects: Objects) -> None:
    """Nobody holds it then."""
    assert store.read_or_create_lease() == LeaseState("2", "", "", NOW)
    assert [(how, path) for how, path, _ in objects.writes] == [("apply", LEASE)]


@pytest.mark.parametrize(("holder", "acquired"), [("me", False), ("other", True), ("", True)])
def test_a_lease_is_held_by_its_version(store: Store, objects: Objects, holder: str, acquired: bool) -> None:
    """With when it was renewed, and with when it was acquired only if its holder changes."""
    store.write_holder(LeaseState("3", "me", "before", NOW), holder, timedelta(seconds=0.2))
    ((how, path, document),) = objects.writes
    assert (how, path, document["metadata"]) == ("merge", LEASE, {"resourceVersion": "3"})
    spec = document["spec"]
    assert spec["holderIdentity"] == (holder or None)
    assert spec["renewTime"] == "2026-05-17T12:30:00.000000Z"
    assert spec["leaseDurationSeconds"] == 1
    assert ("acquireTime" in spec) == acquired


@pytest.mark.parametrize("name", ["pods/a", "mutatingwebhookconfigurations", "mutatingwebhookconfigurations/"])
def test_a_configuration_of_another_kind_is_refused(name: str) -> None:
    """With how to write one."""
    with pytest.raises(ValueError, match="write mutatingwebhookconfigurations/NAME"):
        ObjectNames("a", "b", "c", (name,))


@pytest.mark.parametrize(("text", "decoded"), [("YQ==", b"a"), (None, b""), ("", b""), ("%", b""), ("YQ", b"")])
def test_base64_is_decoded_strictly(text: str | None, decoded: bytes) -> None:
    """What is malformed counts as empty."""
    assert decode_base64(text) == decoded
