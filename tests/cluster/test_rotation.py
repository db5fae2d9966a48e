"""Certificates rotate while pods are created all the time, under `failurePolicy: Fail`: no call may fail.

Lifetimes are seconds. `PILLION_ROTATIONS=20` is the long run: so many CAs and ten times as many leaves (eight
minutes on two cores); without it there are two.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .api import Api, proxied
from .conftest import Install, NewNamespace, RunningCluster
from .image import REPOSITORY
from .node import Node
from .processes import wait_until
from .release import Release, annotated_pod, sidecars
from .test_release import provided

pytestmark = [pytest.mark.cluster, pytest.mark.minutes]

ROTATIONS = int(os.environ.get("PILLION_ROTATIONS", "2"))
LEAVES = 10 * ROTATIONS
KILLS = 5 if ROTATIONS >= 5 else 1
#: A CA lives for three minutes, a leaf for one; a rotation takes what caPropagationDelay and caOverlap take.
LIFETIMES = {"caLifetime": "180s", "leafLifetime": "60s", "caPropagationDelay": "2s", "caOverlap": "8s"}
OPTIONS = (
    "--set=replicas=3",
    "--set=webhook.failurePolicy=Fail",
    "--set=webhook.timeoutSeconds=20",  # a slow machine is not what is looked for
    f"--set-json=certificates={json.dumps(LIFETIMES)}",
    "--set-json=server.env=" + json.dumps([{"name": "PILLION_RELOAD_INTERVAL", "value": "200ms"}]),
)
HEAL_SECONDS = 150.0


@dataclass
class Watched:
    """What happened while the certificates rotated."""

    release: Release
    api: Api
    created: int = 0
    failed: list[str] = field(default_factory=list)
    handshakes: int = 0
    refused: list[str] = field(default_factory=list)
    leaves: set[str] = field(default_factory=set)
    cas: set[str] = field(default_factory=set)
    broken: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def secret_path(self) -> str:
        """Return the Secret's path."""
        return f"/api/v1/namespaces/{self.release.namespace}/secrets/{self.release.deployment}-certificate"

    def secret(self) -> dict[str, Any]:
        """Return the Secret, empty where there is none."""
        status, document, _ = self.api.ask("GET", self.secret_path)
        return document if status == 200 else {}

    def content(self) -> dict[str, str]:
        """Return what is in it."""
        return dict(self.secret().get("data") or {})

    def create(self, namespace: str) -> None:
        """Create a pod by dry run, which must be injected."""
        pod = annotated_pod(self.release.annotations(logs="/logs/app.log"))
        status, made, _ = self.api.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        self.created += 1
        if status != 201:
            self.failed.append(str(made.get("message")))
        elif not sidecars(made):
            self.failed.append("created without a sidecar")

    def remember(self) -> None:
        """Note which CA and which leaf there are."""
        content = self.content()
        for key, known in (("ca.crt", self.cas), ("tls.crt", self.leaves)):
            if content.get(key):
                known.add(content[key])

    def shake(self, helper: "subprocess.Popen[str]") -> None:
        """Have a client that trusts what an API server is told to trust shake hands with each ready server."""
        assert helper.stdin is not None
        assert helper.stdout is not None
        hooks = self.api.ask(
            "GET", f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{self.release.webhooks}"
        ).document
        selector = f"labelSelector=kubernetes.io/service-name={self.release.deployment}"
        slices = self.api.ask(
            "GET", f"/apis/discovery.k8s.io/v1/namespaces/{self.release.namespace}/endpointslices?{selector}"
        ).document
        addresses = [
            (address, port["port"])
            for each in slices["items"]
            for port in each["ports"] or []
            if port["name"] == "webhook"
            for endpoint in each["endpoints"] or []
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
        ]
        for entry in hooks["webhooks"]:
            bundle = base64.b64decode(entry["clientConfig"]["caBundle"]).decode()
            name = f"{self.release.deployment}.{self.release.namespace}.svc"
            helper.stdin.write(json.dumps({"bundle": bundle, "name": name, "addresses": addresses}) + "\n")
            helper.stdin.flush()
            answers = json.loads(helper.stdout.readline())
            self.handshakes += len(answers)
            self.refused += [answer for answer in answers if answer]


@contextmanager
def watched(release: Release, namespace: str, node: object) -> Iterator[Watched]:
    """Create pods, shake hands and note what rotates, all the time."""
    with proxied(release.kubectl) as api:
        watch = Watched(release, api)
        tasks: list[Callable[[], None]] = [lambda: watch.create(namespace), watch.remember]
        helper = None
        if isinstance(node, Node):  # elsewhere the servers' addresses are out of reach
            command = [*node.network.enter, sys.executable, "-m", "tests.cluster.handshakes"]
            helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
            tasks.append(lambda: watch.shake(helper))

        def again_and_again(task: Callable[[], None]) -> None:
            try:
                while not watch.stop.wait(0.02):
                    task()
            except BaseException as error:  # noqa: BLE001 — told by the test's own thread
                watch.broken.append(error)

        threads = [threading.Thread(target=again_and_again, args=(task,)) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            yield watch
        finally:
            watch.stop.set()
            for thread in threads:
                thread.join()
            if helper is not None:
                helper.communicate()


def merge(watch: Watched, patch: object) -> None:
    """Change the Secret."""
    answer = watch.api.ask("PATCH", watch.secret_path, patch, media_type="application/merge-patch+json")
    assert answer.status == 200


def ask(watch: Watched, what: str) -> None:
    """Ask for a rotation, and return when the request is answered."""
    patch = {"metadata": {"annotations": {"pillion.dev/rotate": what}}}
    merge(watch, patch)

    def answered() -> bool:
        secret = watch.secret()
        return bool(secret) and "pillion.dev/rotate" not in (secret["metadata"].get("annotations") or {})

    assert wait_until(answered, HEAL_SECONDS, poll=0.05), f"{what} was not answered"


def calm(watch: Watched) -> bool:
    """Return whether no rotation is going on."""
    content = watch.content()
    return {"ca.key", "tls.key"} <= content.keys() and not {"next-ca.crt", "retired-ca.crt"} & content.keys()


def ends(watch: Watched) -> None:
    """Return when the rotation is over."""
    assert wait_until(lambda: calm(watch), HEAL_SECONDS, poll=0.1), f"no end of the rotation: {sorted(watch.content())}"


def kill_leader(watch: Watched, node: object) -> None:
    """Kill the process that holds the Lease, as the kernel does when memory is short."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{watch.release.namespace}/leases"
    lease = watch.api.ask("GET", f"{leases}/{watch.release.deployment}-certificate").document
    holder = lease["spec"]["holderIdentity"].partition("_")[0]
    if not isinstance(node, Node):
        watch.release.kubectl("delete", "pod", holder, "-n", watch.release.namespace, "--wait=false")
        return
    found = [process for process in Path("/proc").glob("[0-9]*") if is_keeper(process, holder)]
    assert len(found) == 1, found
    os.kill(int(found[0].name), signal.SIGKILL)


def is_keeper(process: Path, pod: str) -> bool:
    """Return whether a process of this machine is a pod's keeper."""
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"certs.keeper" in command and f"HOSTNAME={pod}".encode() in environment


def delete(watch: Watched) -> None:
    """Delete the Secret, and return when there is a whole one."""
    watch.api.ask("DELETE", watch.secret_path)
    ends(watch)


def garble(watch: Watched) -> None:
    """Break one part of the Secret after the other."""
    for key in ("tls.key", "ca.key", "ca.crt"):
        before = watch.content()[key]
        merge(watch, {"data": {key: base64.b64encode(b"junk").decode()}})
        assert wait_until(lambda key=key, before=before: watch.content().get(key) not in (None, before), HEAL_SECONDS)  # type: ignore[misc]
        ends(watch)


def test_no_call_fails_while_certificates_rotate(
    install: Install, new_namespace: NewNamespace, node: object, record_property: Callable[[str, object], None]
) -> None:
    """CAs and leaves one after the other, the leader killed, Secret lost and garbled, upgrade, restart."""
    namespace = new_namespace()
    release = install("rotating", *OPTIONS)
    deployment = (f"deployment/{release.deployment}", "-n", release.namespace)
    incidents: list[Callable[[Watched], object]] = [
        lambda _: release.upgrade("--reuse-values", "--set=podAnnotations.upgraded=yes"),
        delete,
        garble,
        lambda _: (
            release.kubectl("rollout", "restart", *deployment) + release.kubectl("rollout", "status", *deployment)
        ),
    ]
    begin = time.monotonic()
    with watched(release, namespace, node) as watch:
        for rotation in range(ROTATIONS):
            for _ in range(LEAVES // ROTATIONS):
                ask(watch, "leaf")
            ask(watch, "CA")
            if rotation < KILLS:
                kill_leader(watch, node)
            # in the middle of a rotation, all of them, from the first to the last one
            while incidents and len(incidents) * ROTATIONS > (ROTATIONS - rotation - 1) * 4:
                incidents.pop(0)(watch)
            ends(watch)
            assert not watch.broken, watch.broken
    seconds = time.monotonic() - begin
    figures = {
        "seconds": round(seconds),
        "pods": watch.created,
        "failed": len(watch.failed),
        "handshakes": watch.handshakes,
        "refused": len(watch.refused),
        "cas": len(watch.cas) - 1,
        "leaves": len(watch.leaves) - 1,
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)  # noqa: T201 — the figures of a long run
    assert not watch.failed, (figures, watch.failed[:5])
    assert not watch.refused, (figures, watch.refused[:5])
    assert not watch.broken, watch.broken
    assert watch.created >= 20 * ROTATIONS
    assert len(watch.cas) > ROTATIONS
    assert len(watch.leaves) > LEAVES


def test_switching_to_self_managed_and_back_fails_no_call(
    install: Install, new_namespace: NewNamespace, node: RunningCluster, pillion_image: tuple[str, ...], tmp_path: Path
) -> None:
    """By the upgrades in docs/upgrading.md."""
    where, namespace = new_namespace("restricted"), new_namespace()
    secret, ca = provided("switching-pillion", where, tmp_path)
    kubectl = node.kubectl
    kubectl("create", "-f", "-", stdin=secret)
    pair = ("--set=certificates.mode=provided", "--set=certificates.secretName=pair")
    release = install("switching", *OPTIONS, *pair, f"--set-file=certificates.caBundle={ca}", namespace=where)
    # a former CA must be trusted until the last server that shows its leaf has left: as long as a rollout takes
    times = {"caLifetime": "720s", "leafLifetime": "240s", "caPropagationDelay": "2s", "caOverlap": "75s"}
    longer = f"--set-json=certificates={json.dumps(times)}"
    common = ("--set=prefix=switching.example.org/", *pillion_image, *OPTIONS, longer, "--timeout=300s")

    def trusted() -> list[bytes]:
        entries = kubectl("get", "mutatingwebhookconfiguration", release.webhooks, "-o", "json")["webhooks"]
        return [base64.b64decode(entry["clientConfig"]["caBundle"]) for entry in entries]

    with watched(release, namespace, node) as watch:
        release.upgrade(*common, f"--set-file=certificates.caBundle={ca}")
        release.upgrade(*common)
        ends(watch)
        own = base64.b64decode(watch.content()["ca.crt"])
        assert wait_until(lambda: trusted() == [own] * 2, HEAL_SECONDS, poll=0.1)
        both = tmp_path / "both.pem"
        both.write_bytes(own + ca.read_bytes())
        provided_now = (*common, *pair, "--force-conflicts")
        release.upgrade(*provided_now, f"--set-file=certificates.caBundle={both}")
        assert wait_until(lambda: only_new_pods(release), HEAL_SECONDS, poll=0.5)
        release.upgrade(*provided_now, f"--set-file=certificates.caBundle={ca}")
        assert trusted() == [ca.read_bytes()] * 2
        created = watch.created
        assert wait_until(lambda: watch.created > created + 20, HEAL_SECONDS, poll=0.1)
    assert not watch.failed, (watch.created, watch.failed[:5])
    assert not watch.refused, (watch.handshakes, watch.refused[:5])
    assert not watch.broken, watch.broken


def only_new_pods(release: Release) -> bool:
    """Return whether the servers of before have left."""
    words = ("-n", release.namespace, "-l", f"app.kubernetes.io/instance={release.name}", "-o", "json")
    pods = release.kubectl("get", "pods", *words)["items"]
    return len(pods) == 3 and not any("deletionTimestamp" in pod["metadata"] for pod in pods)
