"""The profiles `filebeat` and `otel` in real pods, with real stores: what of numbered lines arrives there."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from ruamel.yaml import YAML

from . import elasticsearch, front, images, programs
from .client import Client
from .conftest import Install, NewNamespace, RunningCluster
from .node import Node
from .processes import command_lines, wait_until
from .release import RESTRICTED
from .shipping import (
    API_KEY,
    BEARER,
    BUSYBOX,
    PASSWORD,
    USER,
    Arrived,
    ElasticsearchByFilebeat,
    VictoriaLogsByOtel,
    injected,
    writer,
)

pytestmark = [pytest.mark.cluster, pytest.mark.minutes, pytest.mark.xdist_group("stores")]

Shipping = ElasticsearchByFilebeat | VictoriaLogsByOtel
WriteSecret = Callable[[dict[str, str]], None]
BOTH = ("filebeat", "otel")
ALL = "PILLION_SHIPPING_ALL" in os.environ
LONG = pytest.mark.skipif(not ALL, reason="part of make test-shipping")
PODS = 3
#: Each pod writes so many lines, in so many seconds, and rotates its file so often.
LINES, SECONDS, ROTATIONS = (333_000, 180, 9) if ALL else (10_000, 12, 4)
BLOCKS = 333 if ALL else 100
AWAY_SECONDS = 60 if ALL else 6
PATTERN = Path(__file__).parent.parent / "patterns/002-web-deployment/by-hand.yaml"
#: Nothing has come for so long: nothing will. Both profiles try again after ten seconds at most.
QUIET_SECONDS = 30.0
#: With the rotated files, as the documents advise for the collector; the profile `filebeat` adds them by itself.
LOGS = {"filebeat": "/var/log/app/*.log", "otel": "/var/log/app/*.log*"}
READY = 120.0
READ_ONLY = RESTRICTED | {"readOnlyRootFilesystem": True}


@pytest.fixture(scope="module")
def shipping(
    request: pytest.FixtureRequest, node: RunningCluster, say: programs.Say, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shipping]:
    """Return a profile with its store, of which the test's parameter names one."""
    if not isinstance(node, Node):
        pytest.skip("the store listens where only a node of this machine reaches it")
    lacks = front.missing() + (elasticsearch.missing() if request.param == "filebeat" else [])
    if lacks:
        pytest.skip(f"this machine can't run a store; it lacks: {'; '.join(lacks)}")
    folder = tmp_path_factory.mktemp(request.param)
    made: Shipping
    if request.param == "filebeat":
        node.import_image(images.filebeat(say))
        made = ElasticsearchByFilebeat(folder, node.webhook_host, say)
    else:
        node.import_image(images.collector(say))
        made = VictoriaLogsByOtel(folder, node.webhook_host, say)
    yield made
    made.stop()


class Pods:
    """Pods of one namespace, with the sidecar of a profile."""

    def __init__(self, kubectl: Client, namespace: str, shipping: Shipping, folder: Path) -> None:
        self.namespace = namespace
        self._kubectl, self._shipping, self._folder = kubectl, shipping, folder
        self.names: list[str] = []

    @property
    def container(self) -> str:
        """The sidecar's name."""
        return f"pillion-{self._shipping.profile}"

    def start(
        self,
        name: str,
        script: str,
        *,
        credentials: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
        grace_seconds: int = 30,
    ) -> None:
        """Start a pod whose container runs a script.

        With credentials the sidecar uses TLS and the namespace's Secret; `more` is of its container in the profile.
        """
        variables = [
            {"name": key, "value": value}
            for key, value in self._shipping.variables(self.namespace, credentials).items()
        ]
        profile: dict[str, Any] = {"sidecar": {"env": variables, **more}}
        annotations = {"inject": "true", "profile": self._shipping.profile, "logs": LOGS[self._shipping.profile]}
        app = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", script], "securityContext": READ_ONLY}
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "annotations": {f"pillion.dev/{key}": value for key, value in annotations.items()},
            },
            "spec": {
                "containers": [app],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": grace_seconds,
            },
        }
        made = injected(manifest, {self._shipping.profile: profile}, self._folder)
        (sidecar,) = made["spec"]["initContainers"]
        assert sidecar["securityContext"]["readOnlyRootFilesystem"] is True
        self._kubectl("create", "-n", self.namespace, "-f", "-", stdin=made)
        self.names.append(name)

    def wait(self, what: str, name: str) -> None:
        """Return when a pod is Ready, or has Succeeded."""
        conditions = {"Ready": "condition=Ready", "Succeeded": "jsonpath={.status.phase}=Succeeded"}
        self._kubectl(
            "wait", "-n", self.namespace, f"--for={conditions[what]}", f"pod/{name}", f"--timeout={READY:.0f}s"
        )

    def kill(self, name: str) -> None:
        """Kill a pod's sidecar, as the kernel does when memory ends; the kubelet starts it again."""
        uid = self._kubectl("get", "pod", name, "-n", self.namespace, "-o", "jsonpath={.metadata.uid}")
        before = self.restarts(name)
        for identity, line in command_lines():
            if _of(identity.pid, uid) and ("filebeat" in line or "otelcol" in line):
                with contextlib.suppress(ProcessLookupError):  # it has ended with the container's first process
                    os.kill(identity.pid, signal.SIGKILL)
        assert wait_until(lambda: self.restarts(name) > before, READY, poll=0.2)

    def restarts(self, name: str) -> int:
        """Return how often a pod's sidecar was started again and runs."""
        pod = self._kubectl("get", "pod", name, "-n", self.namespace, "-o", "json")
        (status,) = pod["status"]["initContainerStatuses"]
        return int(status["restartCount"]) if "running" in status["state"] else -1

    def cost(self, name: str) -> str:
        """Return what a pod's sidecar has used: memory at most, and processor time."""
        uid = self._kubectl("get", "pod", name, "-n", self.namespace, "-o", "jsonpath={.metadata.uid}")
        (process,) = (
            Path(f"/proc/{identity.pid}")
            for identity, line in command_lines()
            if line.startswith(("filebeat ", "/otelcol-contrib ")) and _of(identity.pid, uid)
        )
        (peak,) = (line.split()[1] for line in (process / "status").read_text().splitlines() if "VmHWM" in line)
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return f"{int(peak) / 1024:.0f} MiB at most, {seconds:.1f} s of a processor"

    def says(self, name: str) -> str:
        """Return what a pod's sidecar has said."""
        said: str = self._kubectl("logs", "-n", self.namespace, name, "-c", self.container)
        return said

    def arrived(self, lines: int) -> dict[str, Arrived]:
        """Return what the store has of each pod."""
        records = self._shipping.records(self.namespace)
        return {name: Arrived.of(records, name, lines) for name in self.names}

    def all_arrived(self, lines: int, seconds: float) -> dict[str, Arrived]:
        """Return what the store has when it has all, or when nothing has come for so long."""
        found, since = self.arrived(lines), time.monotonic()
        while any(each.lost for each in found.values()) and time.monotonic() - since < seconds:
            time.sleep(1)
            before, found = found, self.arrived(lines)
            if sum(each.lost for each in found.values()) < sum(each.lost for each in before.values()):
                since = time.monotonic()
        return found


def _of(process: int, uid: str) -> bool:
    try:
        return uid in Path(f"/proc/{process}/cgroup").read_text()
    except OSError:
        return False


@pytest.fixture
def pods(kubectl: Client, new_namespace: NewNamespace, shipping: Shipping, tmp_path: Path) -> Pods:
    """Return what starts pods in a new, restricted namespace."""
    return Pods(kubectl, new_namespace("restricted"), shipping, tmp_path)


@pytest.fixture
def secret(kubectl: Client, pods: Pods, shipping: Shipping) -> WriteSecret:
    """Return what writes the Secret of the pods' namespace, which has the CA's certificate already."""
    authority = {"ca.crt": shipping.front.ca.certificate_pem.decode()}
    metadata = {"name": "pillion-shipping", "namespace": pods.namespace}
    kubectl(
        "create", "-f", "-", stdin={"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": authority}
    )

    def write(content: dict[str, str]) -> None:
        named = {"name": "pillion-shipping", "namespace": pods.namespace}
        kubectl(
            "apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": content}
        )

    return write


def told(found: dict[str, Arrived]) -> str:
    """Return the sum of several pods' figures, in words."""
    return str(Arrived(*(sum(column) for column in zip(*found.values(), strict=True))))


@pytest.mark.parametrize("shipping", BOTH, indirect=True)
def test_numbered_lines(pods: Pods, shipping: Shipping, say: programs.Say) -> None:
    """With rotations, a sidecar that is killed, a store that starts again, and one that is away for a while."""
    block = LINES // BLOCKS
    script = writer(LINES, block=block, rotation=LINES // ROTATIONS // block * block, seconds=SECONDS, stays=True)
    for number in range(PODS):
        pods.start(f"shop-{number}", script)
    for name in pods.names:
        pods.wait("Ready", name)
    time.sleep(SECONDS / 8)
    pods.kill(pods.names[0])
    shipping.store.stop()
    shipping.store.start()
    shipping.front.stop()
    pods.kill(pods.names[1])
    time.sleep(AWAY_SECONDS)
    shipping.front.start()
    found = pods.all_arrived(LINES, QUIET_SECONDS)
    for name, each in found.items():
        say(f"{shipping.profile}, {name}: {LINES:,} lines: {each}")
    say(f"{shipping.profile}, {pods.names[-1]}'s sidecar: {pods.cost(pods.names[-1])}")
    assert sum(each.lost for each in found.values()) == 0, told(found)


#: What the documents advise for the collector, from Kubernetes 1.30 on.
WAIT = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}


@pytest.mark.parametrize(
    ("shipping", "more"),
    [("filebeat", {}), pytest.param("otel", {}, marks=LONG), ("otel", WAIT)],
    indirect=["shipping"],
    ids=["filebeat", "otel", "otel that waits"],
)
def test_the_end_of_a_pod(pods: Pods, shipping: Shipping, more: dict[str, Any], say: programs.Say) -> None:
    """It writes a burst and ends at once."""
    lines = 20_000
    script = writer(lines, block=lines, rotation=lines + 1, seconds=0, stays=False)
    # what filebeat has not sent by then is lost, and a busy machine gives a pod that asks for little hardly any time
    pods.start("burst", script, more=more, grace_seconds=120)
    begin = time.monotonic()
    pods.wait("Succeeded", "burst")
    took = time.monotonic() - begin
    (each,) = pods.all_arrived(lines, 5).values()
    say(f"{shipping.profile} {json.dumps(more)}: a pod writes {lines:,} lines and ends, in {took:.0f} s: {each}")
    if shipping.profile == "filebeat" or more:
        assert each.lost == 0


@pytest.mark.parametrize("shipping", ["filebeat"], indirect=True)
class TestFilebeatsCredentials:
    """TLS with an authority of one's own, and a Secret that may be missing."""

    def test_a_secret_that_comes_late(self, pods: Pods, secret: WriteSecret, say: programs.Say) -> None:
        """The application runs without it and with a wrong key; with the right one all its lines come, once."""
        lines = 1000
        pods.start("shop", writer(lines, block=100, rotation=500, seconds=1, stays=True), credentials="api-key")
        pods.wait("Ready", "shop")
        missing = f"ELASTICSEARCH_API_KEY is empty: the namespace {pods.namespace} lacks the Secret"
        assert wait_until(lambda: missing in pods.says("shop"), READY, poll=0.5)
        secret({"api-key": "pillion:d3Jvbmc="})
        pods.kill("shop")
        assert wait_until(lambda: "401 Unauthorized" in pods.says("shop"), READY, poll=0.5)
        assert pods.arrived(lines)["shop"].lost == lines
        secret({"api-key": API_KEY})
        pods.kill("shop")
        found = pods.all_arrived(lines, QUIET_SECONDS)
        say(f"filebeat: no Secret, a wrong key, the right one: {told(found)}")
        assert (found["shop"].lost, found["shop"].repeated) == (0, 0)

    @LONG
    def test_a_user_and_a_password(self, pods: Pods, secret: WriteSecret) -> None:
        """Whatever characters the password has."""
        secret({"username": USER, "password": PASSWORD})
        lines = 100
        pods.start("shop", writer(lines, block=100, rotation=101, seconds=0, stays=True), credentials="basic")
        assert pods.all_arrived(lines, QUIET_SECONDS) == {"shop": Arrived(0, 0, 0)}, pods.says("shop")


@pytest.mark.parametrize("shipping", ["otel"], indirect=True)
def test_the_collectors_credentials(pods: Pods, secret: WriteSecret, say: programs.Say) -> None:
    """The application runs without the Secret; what the collector reads until it is there is lost, and it says so."""
    lines = 1000
    pods.start("early", writer(lines, block=100, rotation=1001, seconds=1, stays=True), credentials="authorization")
    pods.wait("Ready", "early")
    assert wait_until(lambda: "Dropping data" in pods.says("early"), READY, poll=0.5)
    assert "OTEL_EXPORTER_OTLP_AUTHORIZATION" in pods.says("early")
    secret({"authorization": BEARER})
    pods.start("late", writer(lines, block=100, rotation=1001, seconds=1, stays=True), credentials="authorization")
    found = pods.all_arrived(lines, 10)
    say(f"otel: without the Secret: {found['early']}; with it, over TLS: {found['late']}")
    assert found["late"] == Arrived(0, 0, 0)


@pytest.mark.parametrize("shipping", ["filebeat"], indirect=True)
@pytest.mark.usefixtures("web_images")
def test_pattern_002(
    shipping: ElasticsearchByFilebeat,
    install: Install,
    kubectl: Client,
    new_namespace: NewNamespace,
    say: programs.Say,
) -> None:
    """Filebeat beside the service: the service's access log is in Elasticsearch, with the pod's name on each line."""
    namespace = new_namespace()
    variables = [{"name": key, "value": value} for key, value in shipping.variables(namespace).items()]
    profiles = {"filebeat": {"sidecar": {"env": variables}}}
    release = install("stores", "--set-json", f"profiles={json.dumps(profiles)}")
    deployment, service = YAML(typ="safe", pure=True).load_all(PATTERN)
    annotations = release.annotations(profile="filebeat", logs="/var/log/nginx/access.log", containers="nginx")
    deployment["spec"]["template"]["metadata"]["annotations"] = annotations
    for document in (deployment, service):
        kubectl("create", "-n", namespace, "-f", "-", stdin=document)
    kubectl("rollout", "status", "deployment/bulletin", "-n", namespace, f"--timeout={READY:.0f}s")
    (pod,) = kubectl("get", "pods", "-n", namespace, "-o", "json")["items"]
    name = pod["metadata"]["name"]
    asked = [f"/index.html?{number}" for number in range(5)]
    for path in asked:
        # the page may not be written yet; the line is
        kubectl.attempt("exec", "-n", namespace, name, "-c", "author", "--", "wget", "-qO-", f"http://127.0.0.1{path}")
    assert wait_until(lambda: len(shipping.records(namespace)) >= len(asked), READY, poll=0.5)
    records = shipping.records(namespace)
    assert [record.line.split()[6] for record in records] == asked
    assert {record.pod for record in records} == {name}
    (first, *_) = shipping.store.records(namespace)
    say(json.dumps(first, indent=1))
