"""A release of the chart, for as long as a test needs it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .client import Client
from .image import CHART
from .processes import wait_until

#: A minute is promised, and a test of the first release says so; the others' machine may be busy.
READY_SECONDS = 150.0
TIMEOUT = f"--timeout={READY_SECONDS:.0f}s"
#: Until API servers have seen a new webhook configuration, and kube-proxy a new server: under one.
EFFECT_SECONDS = 15.0
PROBE_NAMESPACE = "default"


@dataclass(frozen=True)
class Release:
    """What is installed."""

    name: str
    namespace: str
    prefix: str
    helm: Client
    kubectl: Client
    seconds: float
    """From `helm install` to its end, when all servers were ready."""

    @property
    def webhooks(self) -> str:
        """The name of the webhook configuration, and of the keepers' cluster role."""
        return f"{self.deployment}.{self.namespace}.pillion.dev"

    @property
    def deployment(self) -> str:
        """The Deployment's name, which is also the Service's."""
        return self.name if "pillion" in self.name else f"{self.name}-pillion"

    def annotations(self, **options: str) -> dict[str, str]:
        """Return annotations, with the release's prefix and `-` for `_`; they ask for injection."""
        return asking(self.prefix, **options)

    def upgrade(self, *options: str) -> None:
        """Run `helm upgrade` and wait."""
        self.helm(*("upgrade", self.name, str(CHART), "-n", self.namespace, "--wait", TIMEOUT), *options)

    def injects(self) -> bool:
        """Return whether an annotated pod would be injected now."""
        judged = self.kubectl(
            *("create", "--dry-run=server", "-n", PROBE_NAMESPACE, "-o", "json", "-f", "-"),
            stdin=annotated_pod(self.annotations(logs="/logs/app.log"), name="probe"),
        )
        return bool(sidecars(judged))

    def servers(self) -> dict[str, bool]:
        """Return whether each server is ready, by its pod's name, without those that leave."""
        words = ("get", "pods", "-n", self.namespace, "-l", f"app.kubernetes.io/instance={self.name}", "-o", "json")
        pods = [pod for pod in self.kubectl(*words)["items"] if "deletionTimestamp" not in pod["metadata"]]
        ready = {"type": "Ready", "status": "True"}
        return {
            pod["metadata"]["name"]: any(ready.items() <= each.items() for each in pod["status"].get("conditions", []))
            for pod in pods
        }

    def remind(self) -> None:
        """Have the kubelet look at each server's volumes now, as when a pod changes."""
        pods = ("pods", "-l", f"app.kubernetes.io/instance={self.name}", "-n", self.namespace)
        self.kubectl("annotate", *pods, "--overwrite", f"reminded={time.monotonic()}")

    def scale(self, replicas: int) -> None:
        """Return when there are so many servers."""
        self.kubectl("scale", f"deployment/{self.deployment}", "-n", self.namespace, f"--replicas={replicas}")
        self.kubectl("rollout", "status", f"deployment/{self.deployment}", "-n", self.namespace)
        pods = ("get", "pods", "-n", self.namespace, "-l", f"app.kubernetes.io/instance={self.name}", "-o", "name")
        assert wait_until(lambda: len(self.kubectl(*pods).split()) == replicas, READY_SECONDS, poll=0.2)

    def reviews(self) -> list[dict[str, Any]]:
        """Return the lines of all servers' logs that are about a review."""
        selector = f"app.kubernetes.io/instance={self.name}"
        words = ("logs", "-n", self.namespace, "-l", selector, "-c", "webhook", "--tail=-1", "--prefix=false")
        lines = [json.loads(line) for line in self.kubectl(*words).splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "review"]


@contextmanager
def installed(
    helm: Client,
    kubectl: Client,
    *options: str,
    name: str = "pillion",
    namespace: str = "pillion-system",
    prefix: str = "pillion.dev/",
    stays: bool = False,
) -> Iterator[Release]:
    """Install the chart into a new, restricted namespace and yield the release that works; remove both after.

    A release that stays ends with its cluster.
    """
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    ours = kubectl.attempt("create", "-f", "-", stdin=manifest).returncode == 0  # else the test made it, for a Secret
    try:
        begin = time.monotonic()
        helm("install", name, str(CHART), "-n", namespace, "--wait", TIMEOUT, *options)
        release = Release(name, namespace, prefix, helm, kubectl, time.monotonic() - begin)
        assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)
        yield release
        if not stays:
            helm.attempt("uninstall", name, "-n", namespace, "--wait")
    finally:
        # where the test failed, too: a webhook that stays would be asked about every other test's pods
        words = ("-l", f"app.kubernetes.io/instance={name}", "--ignore-not-found")
        kubectl(
            "delete",
            "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings",
            *words,
        )
        if ours:
            kubectl("delete", "namespace", namespace, "--wait=false")


@contextmanager
def applied(
    helm: Client, kubectl: Client, items: list[dict[str, Any]], *, name: str, namespace: str, prefix: str
) -> Iterator[Release]:
    """Apply a release's objects without Helm and yield it when it works; remove them after."""
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    try:
        kubectl("apply", "--server-side", "--field-manager=applied", "-f", "-", stdin=listed)
        release = Release(name, namespace, prefix, helm, kubectl, 0)
        kubectl("rollout", "status", f"deployment/{release.deployment}", "-n", namespace, TIMEOUT)
        assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)
        yield release
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=listed)


def image_values(options: Sequence[str]) -> dict[str, Any]:
    """Return as values what the fixture `pillion_image` gives as helm's options."""
    given = dict(option.removeprefix("--set=image.").split("=", 1) for option in options)
    return {"image": given} if given else {}


def asking(prefix: str = "pillion.dev/", **options: str) -> dict[str, str]:
    """Return annotations with the prefix, and `-` for `_`; they ask for injection."""
    return {f"{prefix}{key.replace('_', '-')}": value for key, value in {"inject": "true", **options}.items()}


#: A container's, as Pod Security's level `restricted` demands it.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def annotated_pod(
    annotations: dict[str, str], *containers: dict[str, Any], name: str = "app", **spec: Any
) -> dict[str, Any]:
    """Return a pod that writes a line into /logs/app.log, or has these containers; it ends quickly when it is told."""
    writer = {
        "name": "app",
        "image": "docker.io/library/busybox:1.36",
        "command": ["sh", "-c", "echo a line > /logs/app.log; exec sleep 600"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers) or [writer], **spec},
    }


def sidecars(pod: Any) -> list[str]:
    """Return the names of a pod's containers that Pillion added."""
    spec = pod["spec"]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    return [container["name"] for container in containers if container["name"].startswith("pillion-")]


def printed(kubectl: Client, namespace: str, pod: str, container: str = "pillion-tail") -> list[str]:
    """Return the lines of a container's output so far."""
    lines: list[str] = kubectl("logs", "-n", namespace, pod, "-c", container).splitlines()
    return lines


def prints(kubectl: Client, namespace: str, pod: str, lines: Sequence[str], seconds: float = 30.0) -> bool:
    """Wait until the sidecar's output begins with these lines; return whether it ever did."""
    return wait_until(lambda: printed(kubectl, namespace, pod)[: len(lines)] == list(lines), seconds, poll=0.3)
