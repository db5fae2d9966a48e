"""The chart's mode cert-manager, with the real controllers and cainjector: issued, rotated, renewed, re-made.

Pods are created and hands are shaken all the time, under `failurePolicy: Fail`, while whatever can happen to a
certificate happens. The kubelet brings a changed Secret within a minute and a half, or when it is reminded of a pod.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from certs.verify import verify

from . import programs
from .cert_manager import cert_manager
from .client import Client
from .conftest import Install, NewNamespace, RunningCluster
from .processes import wait_until
from .provided import provided
from .release import Release
from .rotations import HEAL_SECONDS, OPTIONS, Watched, ends, only_new_pods, watched

pytestmark = [pytest.mark.cluster, pytest.mark.minutes, pytest.mark.xdist_group("cert-manager")]

ISSUE_SECONDS = 30.0  # cert-manager takes one
#: The kubelet looks at a pod once a minute and a half at the latest, and takes what its watch showed it by then.
SERVE_SECONDS = 180.0
MODE = "--set=certificates.mode=cert-manager"


@pytest.fixture(scope="module", autouse=True)
def controllers(node: RunningCluster, say: programs.Say) -> Iterator[None]:
    """Run cert-manager beside the node."""
    lacks = programs.missing(whole=False, also=["cert-manager"])
    if lacks:
        pytest.skip(f"this machine can't run cert-manager; it lacks: {'; '.join(lacks)}")
    with cert_manager(node.kubeconfig, node.kubectl, say):
        yield


@dataclass(frozen=True)
class Issued:
    """What cert-manager keeps for a release."""

    release: Release

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that the servers get."""
        return x509.load_pem_x509_certificate(self.secret("tls")["tls.crt"])

    @property
    def ca(self) -> x509.Certificate:
        """The CA that cert-manager signs with."""
        return x509.load_pem_x509_certificate(self.secret("ca")["tls.crt"])

    @property
    def trusted(self) -> list[list[x509.Certificate]]:
        """What each entry of the webhook configurations trusts."""
        kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration"
        found = self.kubectl("get", kinds, self.release.webhooks, "-o", "json")["items"]
        entries = [entry for each in found for entry in each["webhooks"]]
        bundles = [base64.b64decode(entry["clientConfig"].get("caBundle", "")) for entry in entries]
        return [x509.load_pem_x509_certificates(bundle) if bundle else [] for bundle in bundles]

    @property
    def kubectl(self) -> Client:
        """The release's."""
        return self.release.kubectl

    def secret(self, suffix: str) -> dict[str, bytes]:
        """Return a Secret's content."""
        words = ("get", "secret", f"{self.release.deployment}-{suffix}", "-n", self.release.namespace, "-o", "json")
        data = self.kubectl(*words)["data"]
        return {key: base64.b64decode(value) for key, value in data.items()}

    def delete_secret(self, suffix: str) -> None:
        """Delete a Secret and return when cert-manager has made it again."""
        before = self.secret(suffix)
        self.kubectl("delete", "secret", f"{self.release.deployment}-{suffix}", "-n", self.release.namespace)
        self._wait_for_another(suffix, before)

    def renew(self, suffix: str) -> None:
        """Have a certificate renewed before its time, as `cmctl renew` does, and return when it is."""
        before = self.secret(suffix)
        name = self.release.deployment if suffix == "tls" else f"{self.release.deployment}-{suffix}"
        certificate = self.kubectl("get", "certificate", name, "-n", self.release.namespace, "-o", "json")
        asked = {
            "type": "Issuing",
            "status": "True",
            "reason": "ManuallyTriggered",
            "message": "a test asks for it",
            "lastTransitionTime": f"{datetime.now(UTC):%FT%TZ}",
            "observedGeneration": certificate["metadata"]["generation"],
        }
        conditions = [*certificate["status"]["conditions"], asked]
        patch = json.dumps({"status": {"conditions": conditions}})
        words = ("--subresource=status", "--type=merge", f"--patch={patch}")
        self.kubectl("patch", "certificate", name, "-n", self.release.namespace, *words)
        self._wait_for_another(suffix, before)

    def _wait_for_another(self, suffix: str, before: dict[str, bytes]) -> None:
        words = ("get", "secret", f"{self.release.deployment}-{suffix}", "-n", self.release.namespace, "-o", "json")

        def is_another() -> bool:
            answer = self.kubectl.attempt(*words)
            data = json.loads(answer.stdout).get("data", {}) if answer.returncode == 0 else {}
            found = base64.b64decode(data.get("tls.crt", ""))
            return bool(found) and found != before["tls.crt"]

        assert wait_until(is_another, ISSUE_SECONDS, poll=0.1)

    def remind(self) -> bool:
        """Have the kubelet look at each pod now, as when a pod changes; say whether every server has the leaf."""
        self.release.remind()
        return self.is_served()

    def is_served(self) -> bool:
        """Return whether every server has taken the leaf over."""
        fingerprint = self.leaf.fingerprint(SHA256()).hex()
        pods = self.kubectl("get", "pods", "-n", self.release.namespace, "-o", "name").split()
        logs = [self.kubectl("logs", "-n", self.release.namespace, pod, "-c", "webhook", "--tail=-1") for pod in pods]
        return all(fingerprint in log for log in logs)

    def is_trusted(self) -> bool:
        """Return whether every entry trusts what cert-manager put beside the leaf."""
        (ca,) = x509.load_pem_x509_certificates(self.secret("tls")["ca.crt"])
        return all(ca in trusted for trusted in self.trusted)

    def restart(self) -> None:
        """Have all servers started anew: whoever starts is called over new connections."""
        what = (f"deployment/{self.release.deployment}", "-n", self.release.namespace)
        self.kubectl("rollout", "restart", *what)
        self.kubectl("rollout", "status", *what)
        assert wait_until(lambda: only_new_pods(self.release), HEAL_SECONDS, poll=0.5)


def assert_nothing_failed(watch: Watched) -> None:
    """Assert that pods were created and hands were shaken, each time."""
    assert not watch.failed, (watch.created, watch.failed[:5])
    assert not watch.refused, (watch.handshakes, watch.refused[:5])
    assert not watch.broken, watch.broken
    assert watch.created > 100
    print({"pods": watch.created, "handshakes": watch.handshakes})  # noqa: T201 — the figures of a run


@pytest.fixture
def issued(install: Install) -> Issued:
    """Install a release in this mode."""
    return Issued(install("cm", *OPTIONS, MODE))


def test_it_is_issued_trusted_and_served(issued: Issued) -> None:
    """The leaf has no subject and critical names, every entry trusts its CA, and a pod is injected."""
    assert not issued.leaf.subject
    assert issued.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    content, server = issued.secret("tls"), f"{issued.release.deployment}.{issued.release.namespace}.svc"
    halves = content["tls.crt"], content["tls.key"]
    pair = verify(*halves, now=datetime.now(UTC), names=(server,), roots_pem=content["ca.crt"])
    assert pair.names == (server, f"{server}.cluster.local")
    assert issued.is_trusted()
    assert issued.release.injects()


def test_no_call_fails_whatever_becomes_of_the_certificates(
    issued: Issued, new_namespace: NewNamespace, node: RunningCluster
) -> None:
    """The leaf's Secret is deleted; leaf and CA are renewed; the CA's Secret, and its key, are lost."""
    first = issued.ca
    with watched(issued.release, new_namespace(), node) as watch:
        issued.delete_secret("tls")
        assert wait_until(issued.remind, SERVE_SECONDS, poll=2)

        issued.renew("ca")
        assert issued.ca.serial_number != first.serial_number
        assert issued.ca.public_key() == first.public_key()
        issued.renew("tls")
        assert wait_until(issued.is_trusted, ISSUE_SECONDS, poll=0.2)
        assert issued.secret("ca")["tls.crt"] == issued.secret("tls")["ca.crt"]
        assert wait_until(issued.remind, SERVE_SECONDS, poll=2)

        issued.delete_secret("ca")
        assert issued.ca.public_key() != first.public_key()
        issued.renew("tls")
        assert wait_until(issued.is_trusted, ISSUE_SECONDS, poll=0.2)
        # in its own time: servers show a leaf of the former CA for as long as they ever do
        assert wait_until(issued.is_served, SERVE_SECONDS, poll=1)
        issued.restart()
    assert_nothing_failed(watch)


def test_switching_to_cert_manager_and_back_fails_no_call(
    install: Install, new_namespace: NewNamespace, node: RunningCluster, pillion_image: tuple[str, ...]
) -> None:
    """One `helm upgrade` each way: cainjector adds to what is trusted, the keepers adopt it."""
    # a former CA must be trusted until the last server that shows its leaf has left: as long as a rollout takes
    times = {"caLifetime": "720s", "leafLifetime": "240s", "caPropagationDelay": "2s", "caOverlap": "75s"}
    common = (
        "--set=prefix=swapping.example.org/",
        *pillion_image,
        *OPTIONS,
        f"--set-json=certificates={json.dumps(times)}",
    )
    release = install("swapping", *common)
    issued = Issued(release)
    with watched(release, new_namespace(), node) as watch:
        release.upgrade(*common, MODE)
        assert wait_until(lambda: only_new_pods(release), HEAL_SECONDS, poll=0.5)
        assert issued.is_trusted()
        created = watch.created
        assert wait_until(lambda: watch.created > created + 20, HEAL_SECONDS, poll=0.1)
        release.upgrade(*common)
        assert wait_until(lambda: only_new_pods(release), HEAL_SECONDS, poll=0.5)
        ends(watch)
    assert_nothing_failed(watch)


def test_switching_from_provided_and_back_fails_no_call(
    install: Install, new_namespace: NewNamespace, node: RunningCluster, pillion_image: tuple[str, ...], tmp_path: Path
) -> None:
    """By the upgrades in docs/upgrading.md: what is trusted stays so until the last server of before has left."""
    where = new_namespace("restricted")
    secret, ca = provided("brought-pillion", where, tmp_path)
    node.kubectl("create", "-f", "-", stdin=secret)
    pair = ("--set=certificates.mode=provided", "--set=certificates.secretName=pair")
    common = ("--set=prefix=brought.example.org/", *pillion_image, *OPTIONS)
    release = install("brought", *OPTIONS, *pair, f"--set-file=certificates.caBundle={ca}", namespace=where)
    issued = Issued(release)
    with watched(release, new_namespace(), node) as watch:
        release.upgrade(*common, MODE, f"--set-file=certificates.caBundle={ca}")
        assert wait_until(lambda: only_new_pods(release) and issued.is_trusted(), HEAL_SECONDS, poll=0.5)
        release.upgrade(*common, MODE)
        assert wait_until(issued.is_trusted, HEAL_SECONDS, poll=0.5)
        both = tmp_path / "both.pem"
        both.write_bytes(issued.secret("tls")["ca.crt"] + ca.read_bytes())
        back = (*common, *pair, "--force-conflicts")
        release.upgrade(*back, f"--set-file=certificates.caBundle={both}")
        assert wait_until(lambda: only_new_pods(release), HEAL_SECONDS, poll=0.5)
        release.upgrade(*back, f"--set-file=certificates.caBundle={ca}")
        created = watch.created
        assert wait_until(lambda: watch.created > created + 20, HEAL_SECONDS, poll=0.1)
    assert_nothing_failed(watch)
    assert issued.trusted == [x509.load_pem_x509_certificates(ca.read_bytes())] * 4
