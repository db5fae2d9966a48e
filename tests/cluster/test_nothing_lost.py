"""No admission fails while servers come and go, certificates and configurations change; SIGKILL costs what it hits.

A minute's worth in every run; `PILLION_NOTHING_LOST=full` asks for 100,000 pods, or as many as fit in ten minutes.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from certs.ca import CA
from tests.promtool import series_values

from .api import direct
from .conftest import Install, NewNamespace, RunningCluster
from .creations import Creations
from .node import Node, socket
from .processes import wait_until
from .programs import Say
from .release import Release, annotated_pod

pytestmark = [pytest.mark.cluster, pytest.mark.minutes]

SECONDS = 120.0
#: Until the kubelet has seen that a container is gone and every node has stopped sending to it.
KILLED_SECONDS = 10.0


class Extent(NamedTuple):
    """How much of everything, and how long each of eight clients rests between two pods."""

    rollouts: int
    scales: int
    kills: int
    reloads: int
    pods: int
    seconds: float
    rest: float


EXTENTS = {
    "short": Extent(rollouts=2, scales=1, kills=1, reloads=1, pods=0, seconds=0, rest=0.1),
    "full": Extent(rollouts=10, scales=2, kills=3, reloads=3, pods=100_000, seconds=600, rest=0),
}


@dataclass
class Disturbances:
    """What happens to a release while it is asked."""

    release: Release
    node: Node
    ca: CA
    #: When servers were killed, from and to.
    kills: list[tuple[float, float]] = field(default_factory=list)
    changes: int = 0

    def roll_out(self) -> None:
        """Replace every server by another, one after the other."""
        for verb in ("restart", "status"):
            self._kubectl("rollout", verb, f"deployment/{self.release.deployment}")

    def scale(self) -> None:
        """Take servers in and send them away again."""
        self.release.scale(5)
        self.release.scale(2)

    def kill(self) -> None:
        """End a server as the kernel does when memory is short; return when it is back."""
        # one that was not killed before: the kubelet takes its time to start the same one again and again
        pod = min(self._pods(), key=restarts)
        name, before = pod["metadata"]["name"], restarts(pod)
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        begin = time.monotonic()
        command = ["ctr", "-a", str(socket(self.node.run)), "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", container]
        subprocess.run(command, check=True, capture_output=True)
        self.kills.append((begin, begin + KILLED_SECONDS))

        def is_back() -> bool:
            now = self._get("pod", name)
            return restarts(now) > before and bool(now["status"]["containerStatuses"][0]["ready"])

        assert wait_until(is_back, SECONDS, poll=0.3)

    def reload_configuration(self) -> None:
        """Give every server a good configuration, a bad one, and a good one again."""
        name = self.release.deployment
        before = self._get("configmap", name)["data"]["configuration.yaml"]
        self.changes += 1
        for text, result in (
            (f"{before}\n# {self.changes}\n", "success"),
            (f"{before}\nnonsense: {self.changes}\n", "failure"),
            (before, "success"),
        ):
            counted = self._reloads("configuration", result)
            self._merge("configmap", name, {"data": {"configuration.yaml": text}})
            self._await_reload("configuration", result, counted)

    def rotate_certificate(self) -> None:
        """Give every server a new certificate of the same CA."""
        counted = self._reloads("certificate", "success")
        self._merge("secret", "pair", {"data": pair(self.ca, self.release)})
        self._await_reload("certificate", "success", counted)

    def _await_reload(self, what: str, result: str, counted: dict[str, float]) -> None:
        """Return when each server has read its files anew; the kubelet looks at once where a pod changes."""
        self.changes += 1
        pods = [pod["metadata"]["name"] for pod in self._pods()]
        self._kubectl("annotate", "pods", *pods, f"example.org/change={self.changes}", "--overwrite")

        def everywhere() -> bool:
            now = self._reloads(what, result)
            return all(now.get(pod, 0.0) > counted.get(pod, 0.0) for pod in pods)

        assert wait_until(everywhere, SECONDS, poll=0.5), (what, result, counted, self._reloads(what, result))

    def _reloads(self, what: str, result: str) -> dict[str, float]:
        """Return how often each server has read such files with this result."""
        found = {}
        for pod in self._pods():
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{self.release.namespace}/pods/{name}:8080/proxy/metrics"
            page = self.release.kubectl("get", "--raw", path)
            found[name] = series_values(page, f"pillion_{what}_reloads_total", result=result)
        return found

    def _pods(self) -> list[dict[str, Any]]:
        """Return the servers that are there to stay."""
        selector = f"app.kubernetes.io/instance={self.release.name}"
        pods = self._kubectl("get", "pods", "-l", selector, "-o", "json")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _get(self, kind: str, name: str) -> Any:
        return self._kubectl("get", kind, name, "-o", "json")

    def _merge(self, kind: str, name: str, document: Any) -> None:
        self._kubectl("patch", kind, name, "--type=merge", f"-p={json.dumps(document)}")

    def _kubectl(self, *words: str) -> Any:
        return self.release.kubectl(*words, "-n", self.release.namespace)


def restarts(pod: Any) -> int:
    """Return how often a pod's server was started again."""
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count


def pair(ca: CA, release: Release | str) -> dict[str, str]:
    """Return a Secret's data: a new leaf for a release's Service."""
    name = release if isinstance(release, str) else f"{release.deployment}.{release.namespace}.svc"
    leaf = ca.issue((name,), datetime.now(UTC))
    made = {"tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem}
    return {key: base64.b64encode(value).decode() for key, value in made.items()}


@pytest.fixture
def disturbances(node: RunningCluster, install: Install, new_namespace: NewNamespace, tmp_path: Path) -> Disturbances:
    """Return what can happen to a release of two servers with a provided pair, without which no pod is created."""
    if not isinstance(node, Node):
        pytest.skip("processes of a cluster of one's own can't be killed from here")
    namespace = new_namespace("restricted")
    ca = CA.create(datetime.now(UTC))
    data = pair(ca, f"lossless-pillion.{namespace}.svc")
    metadata = {"name": "pair", "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}
    node.kubectl("create", "-f", "-", stdin=secret)
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(ca.certificate_pem)
    release = install(
        "lossless",
        "--set=replicas=2",
        "--set=webhook.failurePolicy=Fail",
        "--set=webhook.timeoutSeconds=10",  # a machine of tests may be busy with others
        "--set=certificates.mode=provided",
        "--set=certificates.secretName=pair",
        f"--set-file=certificates.caBundle={bundle}",
        namespace=namespace,
    )
    return Disturbances(release, node, ca)


@contextmanager
def timed(lines: list[str], what: str) -> Iterator[None]:
    """Note how long something took."""
    begin = time.monotonic()
    yield
    lines.append(f"{what} {time.monotonic() - begin:.0f} s")


def test_no_admission_fails(disturbances: Disturbances, node: RunningCluster, namespace: str, say: Say) -> None:
    """All pods are created and injected, but for those whose server is killed at that moment."""
    extent = EXTENTS[os.environ.get("PILLION_NOTHING_LOST", "short")]
    release = disturbances.release
    pod = annotated_pod(release.annotations(logs="/logs/app.log"), name="app")
    pod["metadata"]["namespace"] = namespace
    steps: list[tuple[str, int, Callable[[], None]]] = [
        ("rollout", extent.rollouts, disturbances.roll_out),
        ("2 to 5 and back", extent.scales, disturbances.scale),
        ("configuration", extent.reloads, disturbances.reload_configuration),
        ("certificate", extent.reloads, disturbances.rotate_certificate),
        ("kill", extent.kills, disturbances.kill),
    ]
    took: list[str] = []
    begin = time.monotonic()
    with direct(node.kubeconfig) as api:
        creations = Creations(api, namespace, pod, "pillion-tail", pause=extent.rest)
        try:
            with creations:
                for what, times, act in steps:
                    for _ in range(times):
                        with timed(took, what):
                            act()
                while len(creations.successes) < extent.pods and time.monotonic() - begin < extent.seconds:
                    time.sleep(1)
        finally:
            say(f"{time.monotonic() - begin:.0f} s: {creations.summary()}\n  {', '.join(took)}")
    assert len(creations.successes) > 500
    others = [failure for failure in creations.failures if not any(a <= failure.at <= b for a, b in disturbances.kills)]
    assert [failure.message for failure in others] == []
    # what was on its way, and what came until the kubelet knew
    assert {failure.kind for failure in creations.failures} <= {"cut", "refused"}
