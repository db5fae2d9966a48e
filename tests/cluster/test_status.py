"""`pillion status` and `pillion explain KIND/NAME` against a real API server, and against a node."""

import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from tests.chart.rendering import objects
from tests.cli import pods
from webhook.configuration import parse

from .api import direct
from .client import Client
from .conftest import Cluster, NewNamespace, RunningCluster
from .control_plane import ApiServer
from .image import REPOSITORY
from .local_webhook import LocalWebhook, local_webhook
from .processes import sidecar_process, wait_until
from .programs import Say
from .release import EFFECT_SECONDS, Release, annotated_pod, asking, sidecars

pytestmark = pytest.mark.cluster

#: Runs the command and says its greatest memory on standard error, of this process alone (ru_maxrss has the parent's).
PROGRAM = """
import re, sys
from webhook.cli import main
code = main()
print(re.search(r"VmHWM:.*", open("/proc/self/status").read())[0], file=sys.stderr)
sys.exit(code)
"""
#: So many pods, each with so many bytes beside what every pod has.
PODS, BALLAST = 3_000, 10_000
#: What the memory may grow by, in KiB, while lists of more than 30 MiB are read: a page and its objects.
GROWTH = 30 * 1024
SECONDS = 60.0


class Answer(NamedTuple):
    """What the command did."""

    code: int
    out: str
    err: str
    memory: int
    """In KiB."""


def ran(cluster: Cluster, *words: str, kubeconfig: Path | None = None) -> Answer:
    """Run the command, with the cluster's own kubectl on PATH."""
    command = [sys.executable, "-c", PROGRAM, *words, f"--kubeconfig={kubeconfig or cluster.kubeconfig}"]
    path = f"{cluster.kubectl.program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **cluster.kubectl.environment, "PATH": path}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)
    err, _, memory = answer.stderr.rpartition("VmHWM:")
    return Answer(answer.returncode, answer.stdout, err, int(memory.split()[0]))


def standings(cluster: Cluster, *words: str) -> dict[str, str]:
    """Return how each pod stands, by name."""
    answer = ran(cluster, "status", "-o", "json", *words)
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    return {pod["name"]: pod["standing"] for workload in found["workloads"] for pod in workload["pods"]}


def as_sent(document: Any, namespace: str) -> Any:
    """Return one of the unit tests' pods as somebody sends it."""
    metadata = {key: value for key, value in document["metadata"].items() if key not in ("uid", "creationTimestamp")}
    return {**document, "metadata": metadata | {"namespace": namespace}, "status": {}}


# --- many pods ---------------------------------------------------------------------------------------------------


def create(apiserver: ApiServer, namespace: str, documents: Iterable[Any]) -> None:
    """Create pods, as fast as four clients can."""
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    refused: list[Any] = []
    for document in documents:
        waiting.put(json.dumps(document))
    with direct(apiserver.kubeconfig) as api:

        def work() -> None:
            while (text := waiting.get()) is not None:
                answer = api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", text)
                if answer.status != http.client.CREATED:
                    refused.append(answer.document)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            waiting.put(None)
            thread.start()
        for thread in threads:
            thread.join()
    assert refused[:1] == []


@pytest.fixture(scope="module")
def crowd(apiserver: Cluster) -> Iterator[str]:
    """Return a namespace with very many pods: of ten, five are injected, two were missed, one is declined."""
    if not isinstance(apiserver, ApiServer):
        pytest.skip("so many pods are for an API server that runs none")
    namespace = "crowd"
    apiserver.kubectl("create", "namespace", namespace)
    apiserver.prepare_namespace(namespace)
    owner = pods.owned("ReplicaSet", "web-5c9d8", pod_template_hash="5c9d8")
    asks = pods.pod("a", pods.ASKING, **owner)
    declined = pods.pod("a", {**pods.ASKING, "pillion.dev/logs": "x.log"}, **owner)
    kinds = [*[pods.injected(asks)] * 5, *[asks] * 2, declined, *[pods.pod("a", **owner)] * 2]

    def made() -> Iterator[Any]:
        for number in range(PODS):
            document = as_sent(kinds[number % 10], namespace)
            metadata = document["metadata"]
            ballast = {"example.org/ballast": "x" * BALLAST}
            yield document | {
                "metadata": metadata | {"name": f"web-{number}", "annotations": metadata["annotations"] | ballast}
            }

    create(apiserver, namespace, made())
    yield namespace
    with direct(apiserver.kubeconfig) as api:
        # all in one request
        api.ask("DELETE", f"/api/v1/namespaces/{namespace}/pods", {"gracePeriodSeconds": 0})


def test_many_pods_are_read_in_bounded_memory(
    apiserver: ApiServer, crowd: str, new_namespace: NewNamespace, say: Say
) -> None:
    """As much as for no pods, and a page; the figures are said."""
    least = ran(apiserver, "status", "-n", new_namespace())
    begin = time.monotonic()
    most = ran(apiserver, "status", "-n", crowd, "--config", os.devnull)
    seconds = time.monotonic() - begin
    listed = len(apiserver.kubectl("get", "--raw", f"/api/v1/namespaces/{crowd}/pods"))
    say(f"{PODS} pods, {listed / 2**20:.0f} MiB: {seconds:.1f} s, {least.memory} KiB -> {most.memory} KiB")
    assert listed > 30 * 2**20
    assert most.memory - least.memory < GROWTH
    tenth = PODS // 10
    assert f"{8 * tenth} pods in 1 workload: {5 * tenth} injected; {tenth} without, declined; " in most.err
    assert f"; {2 * tenth} without, would be injected now; " in most.err


# --- how pods stand ----------------------------------------------------------------------------------------------


class World(NamedTuple):
    """A release's ConfigMap, three namespaces with pods of every kind, and a user with few rights."""

    release: str
    plain: str
    opted_in: str
    late: str
    """It opted in when its pod was there."""
    user: Path


@pytest.fixture
def webhook(apiserver: Cluster, tmp_path: Path) -> Iterator[LocalWebhook]:
    """Return what starts to answer for the API server when it is asked for."""
    if not isinstance(apiserver, ApiServer):
        pytest.skip("a cluster of one's own may not reach this machine")
    with local_webhook(apiserver.kubectl, tmp_path) as found:
        yield found


@pytest.fixture
def world(apiserver: Cluster, new_namespace: NewNamespace, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Return the world; the webhook answers when half of its pods are there."""
    kubectl = apiserver.kubectl
    release, plain = new_namespace(), new_namespace()
    opted_in = new_namespace(labels={"pillion.dev/inject": "true"})

    def make(namespace: str, name: str, annotations: dict[str, str], **spec: Any) -> Any:
        document = annotated_pod(annotations, name=name, **spec)
        return kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=document)

    make(plain, "missed", asking(logs="/logs/app.log"))
    removed = as_sent(pods.injected(pods.pod("removed", pods.ASKING)), plain)
    removed["spec"]["initContainers"].clear()
    kubectl("create", "-f", "-", stdin=removed)
    late = new_namespace()
    make(late, "late", {"pillion.dev/logs": "/logs/app.log"})

    reader = {"kind": "ServiceAccount", "name": "default", "namespace": plain}
    chart = {
        each["kind"]: each
        for each in objects({"status": {"readers": [reader]}}, namespace=release)
        if each["metadata"]["name"] in ("pillion", "pillion-status")
    }
    for kind in ("ConfigMap", "Role", "RoleBinding"):
        kubectl("create", "-f", "-", stdin=chart[kind])
    # what a controller makes the ClusterRole view of
    view = "--clusterrole=system:aggregate-to-view"
    kubectl("create", "rolebinding", "view", view, f"--serviceaccount={plain}:default", "-n", plain)

    webhook: LocalWebhook = request.getfixturevalue("webhook")
    probe = annotated_pod(asking(logs="/logs/app.log"), name="probe")
    words = ("create", "--dry-run=server", "-n", plain, "-o", "json", "-f", "-")
    assert wait_until(lambda: bool(sidecars(kubectl(*words, stdin=probe))), EFFECT_SECONDS, poll=0.1)
    webhook.configure(parse(b"profiles: {tail: {sidecar: {resources: {limits: {memory: 99Mi}}}}}", "old"))
    make(plain, "old", asking(logs="/logs/app.log"))
    webhook.configure(parse(chart["ConfigMap"]["data"]["configuration.yaml"].encode(), "new"))
    make(plain, "current", asking(logs="/logs/app.log"))
    make(plain, "declined", asking(logs="app.log"))
    make(opted_in, "by-namespace", {"pillion.dev/logs": "/logs/app.log"})
    make(opted_in, "quiet", {})
    make(opted_in, "refuses", {"pillion.dev/inject": "false"})
    kubectl("label", "namespace", late, "pillion.dev/inject=true")
    return World(f"{release}/pillion", plain, opted_in, late, _user(apiserver, plain, tmp_path))


def _user(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """Return the kubeconfig of the namespace's service account."""
    config = YAML(typ="safe", pure=True).load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "default", "-n", namespace).strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "user"
    path.write_text(json.dumps(config))
    return path


def test_each_pod_stands(apiserver: ApiServer, world: World, say: Say) -> None:
    """By the release's configuration, by a dry run, and by nothing; --check fails; what came later is named."""
    release = ("--release", world.release)
    expected = {"missed": "missed", "removed": "removed", "old": "old", "current": "current", "declined": "declined"}
    assert standings(apiserver, "-n", world.plain, *release) == expected
    assert standings(apiserver, "-n", world.opted_in, *release) == {"by-namespace": "current", "quiet": "unneeded"}
    # by dry runs; other tests' releases, of other prefixes, may be there
    assert standings(apiserver, "-n", world.plain, "--prefix", "pillion.dev/") == expected
    assert ran(apiserver, "status", "-n", world.plain, "--check", *release).code == 1
    assert ran(apiserver, "status", "-n", world.opted_in, "--check", *release).code == 0
    assert ran(apiserver, "status", "-A", "-l", "app=nobody", *release).err.startswith("pillion status: no pod in this")
    shown = ran(apiserver, "status", "-n", world.plain, *release)
    say(f"{shown.out}{shown.err}")
    for name, says in (
        ("old", "is not the current one: now "),
        ("missed", "nothing here tells why: no server answered"),
        ("removed", "another webhook removed it after the injection"),
        ("declined", "must begin with /"),
    ):
        told = ran(apiserver, "explain", f"pod/{name}", "-n", world.plain, *release)
        assert (told.code, says in told.out) == (0, True), told
    told = ran(apiserver, "explain", "pod/late", "-n", world.late, *release)
    assert "the namespace opted in later: its label pillion.dev/inject was written at 20" in told.out
    say(told.out)


def test_a_user_with_few_rights(apiserver: ApiServer, world: World) -> None:
    """ClusterRole view in one namespace, and the chart's Role: enough for that namespace."""
    answer = ran(apiserver, "status", "-n", world.plain, "--release", world.release, kubeconfig=world.user)
    assert (answer.code, "pod/missed" in answer.out) == (0, True), answer.err
    assert f"judged by ConfigMap {world.release}\n" in answer.err
    note = "note: which namespaces are excluded is unknown: mutatingwebhookconfigurations.admissionregistration.k8s.io"
    assert note in answer.err
    everywhere = ran(apiserver, "status", "-A", "--release", world.release, kubeconfig=world.user)
    assert (everywhere.code, everywhere.out) == (2, "")
    assert 'cannot list resource "pods" in API group "" at the cluster scope' in everywhere.err
    without = ran(apiserver, "status", "-n", world.plain, kubeconfig=world.user)
    assert "note: the release's configuration can't be read: configmaps" in without.err
    assert "note: pods can't be sent as dry runs: " in without.err


# --- no API server -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("status", "-A"), ("explain", "pod/a")])
def test_an_api_server_that_hangs_is_one_sentence(
    apiserver: Cluster, kubectl: Client, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "hanging"
        address = f"--server=http://127.0.0.1:{server.getsockname()[1]}"
        kubectl("config", "set-cluster", "a", address, f"--kubeconfig={path}")
        kubectl("config", "set-context", "a", "--cluster=a", f"--kubeconfig={path}")
        kubectl("config", "use-context", "a", f"--kubeconfig={path}")
        answer = ran(apiserver, *words, "--request-timeout=1s", kubeconfig=path)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1), answer.err
    assert answer.err.startswith("pillion: `kubectl get ")


# --- a node ------------------------------------------------------------------------------------------------------


def test_restarts_and_readiness(pillion: Release, node: RunningCluster, namespace: str, say: Say) -> None:
    """As the kubelet reports them of the sidecar, after it was killed once; found by the workload and by the pod."""
    kubectl, release = node.kubectl, ("--release", f"{pillion.namespace}/{pillion.deployment}")
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    metadata = {"annotations": pod["metadata"]["annotations"], "labels": {"app": "web"}}
    template = {"metadata": metadata, "spec": pod["spec"]}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    kubectl("create", "-n", namespace, "-f", "-", stdin=document)
    kubectl("rollout", "status", "deployment/web", "-n", namespace, f"--timeout={SECONDS:.0f}s")
    (pod,) = kubectl("get", "pods", "-n", namespace, "-o", "json")["items"]
    os.kill(sidecar_process(pod["metadata"]["uid"]), signal.SIGKILL)

    def seen() -> Any:
        answer = ran(node, "status", "-n", namespace, "-o", "json", *release)
        return json.loads(answer.out)["workloads"]

    def is_back() -> bool:
        ((one,),) = (workload["pods"] for workload in seen())
        return (one["sidecarRestarts"], one["sidecarReady"]) == (1, True)

    assert wait_until(is_back, SECONDS, poll=0.5)
    (workload,) = seen()
    assert (workload["kind"], workload["name"], workload["pods"][0]["standing"]) == ("Deployment", "web", "current")
    for words in (("status",), ("explain", f"pod/{pod['metadata']['name']}"), ("explain", "deployment/web")):
        shown = ran(node, *words, "-n", namespace, *release)
        say(f"{shown.out}{shown.err}")
        assert shown.code == 0
    told = ran(node, "explain", f"pod/{pod['metadata']['name']}", "-n", namespace, *release).out
    assert "\n  sidecar pillion-tail: running, ready, 1 restart\n" in told
    assert told.endswith("What is different\n  nothing\n")
