"""Certificates that rotate, and what is watched meanwhile: pods that are created, hands that are shaken."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .api import Api, proxied
from .image import REPOSITORY
from .node import Node
from .processes import wait_until
from .release import Release, annotated_pod, sidecars

__all__ = ["HEAL_SECONDS", "LIFETIMES", "OPTIONS", "Watched", "ends", "only_new_pods", "watched"]

#: A CA lives for three minutes, a leaf for one; a rotation takes what caPropagationDelay and caOverlap take.
LIFETIMES = {"caLifetime": "180s", "leafLifetime": "60s", "caPropagationDelay": "2s", "caOverlap": "8s"}
OPTIONS = (
    "--set=replicas=3",
    "--set=webhook.failurePolicy=Fail",
    "--set=webhook.timeoutSeconds=20",  # a slow machine is not what is looked for
    f"--set-json=certificates={json.dumps(LIFETIMES)}",
    "--set=server.settings.reloadInterval=200ms",
)
HEAL_SECONDS = 150.0
#: Between two looks at what is in the Secret, which may be there for half a second.
LOOK_SECONDS = 0.1
#: Between two calls, and two handshakes: without a rest they would take a core from the tests that run beside this one.
CALL_SECONDS = 0.25


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
        tasks: list[tuple[Callable[[], None], float]] = [
            (lambda: watch.create(namespace), CALL_SECONDS),
            (watch.remember, LOOK_SECONDS),
        ]
        helper = None
        if isinstance(node, Node):  # elsewhere the servers' addresses are out of reach
            command = [*node.network.enter, sys.executable, "-m", "tests.cluster.handshakes"]
            helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
            tasks.append((lambda: watch.shake(helper), CALL_SECONDS))

        def again_and_again(task: Callable[[], None], rest: float) -> None:
            try:
                while not watch.stop.wait(rest):
                    task()
            except BaseException as error:  # noqa: BLE001 — told by the test's own thread
                watch.broken.append(error)

        threads = [threading.Thread(target=again_and_again, args=task) for task in tasks]
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


def calm(watch: Watched) -> bool:
    """Return whether no rotation is going on."""
    content = watch.content()
    return {"ca.key", "tls.key"} <= content.keys() and not {"next-ca.crt", "retired-ca.crt"} & content.keys()


def ends(watch: Watched) -> None:
    """Return when the rotation is over."""
    assert wait_until(lambda: calm(watch), HEAL_SECONDS, poll=0.1), f"no end of the rotation: {sorted(watch.content())}"


def only_new_pods(release: Release) -> bool:
    """Return whether the servers of before have left."""
    words = ("-n", release.namespace, "-l", f"app.kubernetes.io/instance={release.name}", "-o", "json")
    pods = release.kubectl("get", "pods", *words)["items"]
    return len(pods) == 3 and not any("deletionTimestamp" in pod["metadata"] for pod in pods)
