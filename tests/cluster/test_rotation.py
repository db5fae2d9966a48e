"""Certificates rotate while pods are created all the time, under `failurePolicy: Fail`: no call may fail.

Lifetimes are seconds. `PILLION_ROTATIONS=20` is the long run: so many CAs and ten times as many leaves (eight
minutes on two cores); without it there are two.
"""

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Install, NewNamespace, RunningCluster
from .node import Node
from .processes import wait_until
from .provided import provided
from .rotations import HEAL_SECONDS, OPTIONS, Watched, ends, only_new_pods, watched

pytestmark = [pytest.mark.cluster, pytest.mark.minutes]

ROTATIONS = int(os.environ.get("PILLION_ROTATIONS", "2"))
LEAVES = 10 * ROTATIONS
KILLS = 5 if ROTATIONS >= 5 else 1


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
    return b"pillion.certs.keeper" in command and f"HOSTNAME={pod}".encode() in environment


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
