"""`pillion upgrade` on a real API server and a real kubelet: what is replaced, and that nothing else is touched."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.goldens import CASES
from tests.injection.reviews import all_containers, patched
from webhook.cli.in_place import FIRST_KUBELET
from webhook.cli.kubectl import Kubectl
from webhook.errors import ClusterError
from webhook.injection.comparison import State, compare
from webhook.profiles import RELEASED_IMAGE

from . import images
from .client import Client
from .conftest import Cluster, RunningCluster
from .image import REPOSITORY
from .judge import UNREVIEWED, judge
from .node import Node
from .node_logs import NodeLogs
from .processes import wait_until
from .registry import ABSENT, registry

pytestmark = pytest.mark.cluster

BUSYBOX = "docker.io/library/busybox:1.36"
SIDECAR = "pillion-tail"
FORMER = "registry.example.com/pillion:former"
NEXT = "registry.example.com/pillion:next-tail"
#: So many pods in Deployments of five are upgraded; ``make test-cluster`` takes fewer, in Deployments of two.
PODS = int(os.environ.get("PILLION_UPGRADED", "4"))
SECONDS = 120.0
#: How long the slow registry takes for each of the image's two parts.
SLOW_SECONDS = 2.0
STATUS = "pillion.dev/status"
#: It numbers its lines, answers requests, and writes one more line when it is told to end: not in the trap, which may
#: run between the counting of a line and its writing.
WRITER = """
trap 'ends=yes' TERM
echo served >/tmp/index.html; httpd -p 8080 -h /tmp
while [ -z "$ends" ]; do i=$((i + 1)); echo "line $i"; usleep 20000; done >>/var/log/app/app.log
echo "last $((i + 1))" >>/var/log/app/app.log
"""
#: It asks without end, over a new connection each time, and counts from the first answer on.
CLIENT = """
import signal, sys, time, urllib.request
counts, end = {True: 0, False: 0}, []
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
while not end:
    try:
        good = urllib.request.urlopen(sys.argv[1], timeout=10).status == 200
    except OSError:
        good = False
    if good and not counts[True]:
        print("answered", flush=True)
    counts[good] += good or counts[True] > 0
    time.sleep(0.02)
print(counts[True], counts[False])
"""
PROGRAM = "import sys; from webhook.cli import main; sys.exit(main())"


def pillion(
    cluster: Cluster, *words: str, kubeconfig: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of Pillion's, with the cluster's own kubectl on PATH."""
    path = f"{cluster.kubectl.program.parent}{os.pathsep}{os.environ['PATH']}"
    chosen = {"KUBECONFIG": str(kubeconfig or cluster.kubeconfig), "PATH": path}
    environment = {**os.environ, **cluster.kubectl.environment, **chosen}
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment, input=stdin
    )


def injected(cluster: Cluster, manifest: Mapping[str, Any], file: str = "") -> dict[str, Any]:
    """Return the manifest as `pillion inject` prints it, by a configuration file or the built-in one."""
    answer = pillion(cluster, "inject", "-f", "-", *(["--config", file] if file else []), stdin=json.dumps(manifest))
    assert SIDECAR in answer.stdout, answer.stderr
    made: dict[str, Any] = json.loads(answer.stdout)
    return made


def configuration(folder: Path, image: str, **profile: object) -> str:
    """Return the name of a configuration file with this image for sidecars."""
    file = folder / f"{abs(hash((image, str(profile))))}.yaml"
    file.write_text(json.dumps({"image": image, "profiles": {"tail": profile}}))
    return str(file)


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """Return a Deployment that asks for the sidecar."""
    app = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", WRITER], "securityContext": {"runAsUser": 1000}}
    labels = {"app": name}
    template = {
        "metadata": {"annotations": {"pillion.dev/inject": "true"}, "labels": labels},
        "spec": {"containers": [app]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


#: What Kubernetes' own roles view and edit are made of; an API server alone does not put them together.
VIEW, EDIT = "system:aggregate-to-view", "system:aggregate-to-edit"


def kubeconfig_of(kubectl: Client, namespace: str, folder: Path, *roles: str) -> Path:
    """Return a kubeconfig of somebody who has these roles in a namespace, and nothing else."""
    kubectl("create", "serviceaccount", "somebody", "-n", namespace)
    for number, role in enumerate(roles):
        words = (f"--clusterrole={role}", f"--serviceaccount={namespace}:somebody", "-n", namespace)
        kubectl("create", "rolebinding", f"somebody-{number}", *words)
    config = kubectl("config", "view", "--raw", "-o", "json")
    for user in config["users"]:
        user["user"] = {"token": kubectl("create", "token", "somebody", "-n", namespace).strip()}
    file = folder / "somebody.kubeconfig"
    file.write_text(json.dumps(config))
    return file


@dataclass(frozen=True)
class Shop:
    """Deployments that write numbered lines, injected with the released image, in a namespace of a node."""

    node: Node
    namespace: str
    logs: NodeLogs
    folder: Path

    def create(self, *deployments: dict[str, Any]) -> None:
        """Return when all of them are ready, and have written."""
        self.start(*deployments)
        self.have_written(50)

    def start(self, *deployments: dict[str, Any]) -> None:
        """Return when all of them are ready."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(deployments)}
        self.node.kubectl("create", "-n", self.namespace, "-f", "-", stdin=injected(self.node, listed))
        for each in deployments:
            name = each["metadata"]["name"]
            self.node.kubectl("rollout", "status", "-n", self.namespace, f"deployment/{name}")

    def have_written(self, count: int) -> None:
        """Return when each pod's sidecar has printed so many more lines."""
        wanted = {name: len(self.logs.lines(name)) + count for name in self.pods()}
        assert wait_until(lambda: all(len(self.logs.lines(name)) >= least for name, least in wanted.items()), SECONDS)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return the pods, by name."""
        found = self.node.kubectl("get", "pods", "-n", self.namespace, "-o", "json")["items"]
        return {pod["metadata"]["name"]: pod for pod in found}

    def upgrade(self, image: str, *words: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Upgrade to an image, show what is said, and return it."""
        file = configuration(self.folder, image)
        answer = pillion(self.node, "upgrade", "-n", self.namespace, "--config", file, *words, kubeconfig=kubeconfig)
        sys.stdout.write(f"\n$ pillion upgrade {' '.join(words)}\n{answer.stdout}{answer.stderr}")
        return answer

    def go_back(self, answer: subprocess.CompletedProcess[str]) -> None:
        """Run the command that is shown, and return when all pods are ready again."""
        (back,) = [line for line in answer.stdout.splitlines() if "to go back: " in line]
        self.node.kubectl(*shlex.split(back.partition(": ")[2])[1:])
        words = ("wait", "-n", self.namespace, "--for=condition=Ready", "pods", "--all", "--timeout=60s")
        self.node.kubectl(*words)
        assert wait_until(lambda: all(statuses(pod)[1]["started"] for pod in self.pods().values()), SECONDS)

    @contextmanager
    def asked(self, name: str) -> Iterator[list[int]]:
        """Ask a Deployment's Service all the time; the list has how often it answered and failed, afterwards."""
        words = ("-n", self.namespace, f"deployment/{name}", "--port=80", "--target-port=8080")
        self.node.kubectl("expose", *words)
        query = ("get", "service", name, "-n", self.namespace, "-o", "jsonpath={.spec.clusterIP}")
        url = f"http://{self.node.kubectl(*query)}/"
        client = subprocess.Popen(
            [*self.node.network.enter, sys.executable, "-c", CLIENT, url], stdout=subprocess.PIPE, text=True
        )
        assert client.stdout is not None
        assert client.stdout.readline() == "answered\n"
        counts: list[int] = []
        try:
            yield counts
        finally:
            client.terminate()
            counts += map(int, client.communicate()[0].split())

    def assert_nothing_lost(self) -> None:
        """End the pods, and check that each line of theirs was printed once and in order."""
        names = list(self.pods())
        self.node.kubectl("delete", "deployments", "--all", "-n", self.namespace)
        self.node.kubectl("wait", "-n", self.namespace, "--for=delete", "pods", "--all", "--timeout=60s")
        assert wait_until(lambda: all(self.logs.lines(name)[-1].startswith("last ") for name in names), SECONDS)
        for name in names:
            lines = self.logs.lines(name)
            assert [int(line.split()[1]) for line in lines] == list(range(1, len(lines) + 1)), name


@pytest.fixture
def shop(node: RunningCluster, namespace: str, tmp_path: Path) -> Iterator[Shop]:
    """Return a namespace whose sidecars' logs are read."""
    if not isinstance(node, Node):
        pytest.skip("a cluster of one's own does not show its log files")
    logs = NodeLogs(node.pod_logs, namespace, SIDECAR)
    with logs:
        yield Shop(node, namespace, logs, tmp_path)


def statuses(pod: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the kubelet says of a pod's application and of its sidecar."""
    (app,), (sidecar,) = pod["status"]["containerStatuses"], pod["status"]["initContainerStatuses"]
    return app, sidecar


@pytest.mark.minutes
def test_many_pods(shop: Shop) -> None:
    """No line is lost or printed twice, no application restarts, no request fails."""
    size = 5 if PODS > 4 else 2
    shop.create(*(deployment(f"app-{number}", size) for number in range(PODS // size)))
    shop.node.import_image(replace(images.tail(), name=NEXT, environment={"VERSION": "next"}))
    before = shop.pods()
    begin = time.monotonic()
    with shop.asked("app-0") as counts:
        answer = shop.upgrade(NEXT)
    seconds = time.monotonic() - begin
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{PODS} pods: {PODS} upgraded" in answer.stderr
    after = shop.pods()
    assert after.keys() == before.keys()
    made = injected(shop.node, deployment("app-0", 1), configuration(shop.folder, NEXT))
    wanted = made["spec"]["template"]["metadata"]["annotations"][STATUS]
    for name, pod in after.items():
        (former_app, former), (app, sidecar) = statuses(before[name]), statuses(pod)
        assert (app["containerID"], app["restartCount"]) == (former_app["containerID"], 0)
        assert sidecar["containerID"] != former["containerID"]
        assert sidecar["imageID"] != former["imageID"]
        assert pod["spec"]["initContainers"][0]["image"] == NEXT
        assert pod["metadata"]["annotations"][STATUS] == wanted
    again = shop.upgrade(NEXT)
    assert (again.returncode, again.stdout) == (0, "")
    shop.have_written(20)
    shop.assert_nothing_lost()
    lines = sum(len(shop.logs.lines(name)) for name in after)
    requests = f"requests: {counts[0]} answered, {counts[1]} failed"
    sys.stdout.write(f"\n{PODS} pods in {seconds:.0f} s: {lines} lines, each once; {requests}\n")
    assert counts[0] > 0
    assert counts[1] == 0


def slow_image(version: str) -> images.Image:
    """Return an image of the sidecar that has nothing in common with another version's, so that all of it is pulled."""
    return replace(images.tail(), files={"version": version.encode()})


def test_an_image_that_comes_slowly(shop: Shop) -> None:
    """No request fails, not even of a pod alone, which this kubelet calls ready while it pulls; it needs the flag."""
    shop.create(deployment("two", 2), deployment("one", 1))
    with registry(shop.node, slow_image("1"), shop.folder, seconds=SLOW_SECONDS) as repository:
        with shop.asked("two") as of_two:
            answer = shop.upgrade(f"{repository}:slow-1")
        assert answer.returncode == 1
        assert "3 pods: 2 upgraded, 1 left as they are" in answer.stderr
    with (
        registry(shop.node, slow_image("2"), shop.folder, seconds=SLOW_SECONDS) as repository,
        shop.asked("one") as of_one,
    ):
        answer = shop.upgrade(f"{repository}:slow-2", "deployment/one", "--allow-unavailable")
        assert answer.returncode == 0, answer.stdout + answer.stderr
    sys.stdout.write(f"\nanswered and failed, of two pods: {of_two}; of one: {of_one}\n")
    # a client on a busy machine may give up on a request now and then
    for answered, failed in (of_two, of_one):
        assert failed <= answered // 50
    shop.assert_nothing_lost()


def test_an_image_that_does_not_come(shop: Shop) -> None:
    """It stops at the first pod; the command that it shows brings the former sidecar back, and no line is lost."""
    shop.create(deployment("two", 2), deployment("one", 1))
    before = shop.pods()
    with registry(shop.node, images.tail(), shop.folder, seconds=0) as repository:
        with shop.asked("two") as of_two:
            answer = shop.upgrade(f"{repository}:{ABSENT}", "deployment/two")
            assert "2 pods: 1 not back, 1 not tried" in answer.stderr
            shop.go_back(answer)
        with shop.asked("one") as of_one:
            answer = shop.upgrade(f"{repository}:{ABSENT}", "deployment/one", "--allow-unavailable")
            assert 'Failed to pull image "' in answer.stdout
            shop.go_back(answer)
        assert answer.returncode == 1
    sys.stdout.write(f"\nanswered and failed, of two pods: {of_two}; of one: {of_one}\n")
    for name, pod in shop.pods().items():
        assert pod["spec"] == before[name]["spec"]
        assert pod["metadata"]["annotations"] == before[name]["metadata"]["annotations"]
        assert statuses(pod)[0]["containerID"] == statuses(before[name])[0]["containerID"]
    assert of_two[1] == 0
    shop.assert_nothing_lost()


def test_an_old_kubelet(shop: Shop) -> None:
    """It does nothing: that is known beforehand to whoever may read nodes, to others when the time is over."""
    version = shop.node.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}")
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) >= FIRST_KUBELET:
        pytest.skip("this kubelet replaces native sidecars; choose another one with --kubelet oldest")
    shop.start(deployment("web", 2))
    shop.node.import_image(replace(images.tail(), name=NEXT, files={"version": b"next"}))
    before = shop.pods()
    answer = shop.upgrade(NEXT)
    assert answer.returncode == 1
    assert f"2 pods have to be created anew: kubelet {version} does not replace native sidecars" in answer.stdout
    assert shop.pods() == before
    editor = kubeconfig_of(shop.node.kubectl, shop.namespace, shop.folder, VIEW, EDIT)
    answer = shop.upgrade(NEXT, "--timeout", "20s", kubeconfig=editor)
    assert answer.returncode == 1
    assert "the former sidecar still runs; " in answer.stdout
    shop.go_back(answer)
    assert {name: pod["spec"] for name, pod in shop.pods().items()} == {
        name: pod["spec"] for name, pod in before.items()
    }


def pod_manifest() -> dict[str, Any]:
    """Return a pod that asks for the sidecar."""
    template = deployment("app", 1)["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "app", **template["metadata"]}}


@pytest.fixture
def former_pod(apiserver: Cluster, kubectl: Client, namespace: str) -> dict[str, Any]:
    """Return a pod that is stored with the built-in sidecar; nothing runs it."""
    kubectl("create", "-n", namespace, "-f", "-", stdin=injected(apiserver, pod_manifest()))
    stored: dict[str, Any] = kubectl("get", "pod", "app", "-n", namespace, "-o", "json")
    return stored


def test_a_status_is_brought_up_to_date(
    apiserver: Cluster, kubectl: Client, former_pod: dict[str, Any], tmp_path: Path
) -> None:
    """Where the sidecar would be the same; the API server first says that it would take it."""
    namespace = former_pod["metadata"]["namespace"]
    file = configuration(tmp_path, RELEASED_IMAGE, description="other words")
    words = ("upgrade", "-n", namespace, "--config", file)
    trial = pillion(apiserver, *words, "--dry-run")
    assert (trial.returncode, trial.stdout.count("app: would be upgraded")) == (0, 1), trial.stderr
    assert kubectl("get", "pod", "app", "-n", namespace, "-o", "json") == former_pod
    assert pillion(apiserver, *words).returncode == 0
    after = kubectl("get", "pod", "app", "-n", namespace, "-o", "json")
    made = injected(apiserver, pod_manifest(), file)
    assert after["spec"] == former_pod["spec"]
    revisions = [json.loads(pod["metadata"]["annotations"][STATUS])["revision"] for pod in (former_pod, after, made)]
    assert revisions[0] != revisions[1] == revisions[2]


def test_a_refusal_is_shown(apiserver: Cluster, kubectl: Client, former_pod: dict[str, Any], tmp_path: Path) -> None:
    """In the API server's words: who only looks at pods may not change them."""
    namespace = former_pod["metadata"]["namespace"]
    file = configuration(tmp_path, RELEASED_IMAGE, description="other words")
    viewer = kubeconfig_of(kubectl, namespace, tmp_path, VIEW)
    answer = pillion(apiserver, "upgrade", "-n", namespace, "--config", file, kubeconfig=viewer)
    assert answer.returncode == 1, answer.stderr
    assert 'app: the API server refuses the change: pods "app" is forbidden: User ' in answer.stdout
    assert 'cannot patch resource "pods"' in answer.stdout
    assert kubectl("get", "pod", "app", "-n", namespace, "-o", "json") == former_pod


def test_a_pod_of_its_own_is_created_anew(
    apiserver: Cluster, kubectl: Client, former_pod: dict[str, Any], tmp_path: Path
) -> None:
    """By the command that is shown; here no webhook adds the sidecar again."""
    namespace = former_pod["metadata"]["namespace"]
    file = configuration(tmp_path, RELEASED_IMAGE, order="last", guaranteedCpu="1", sidecar={"args": ["x"]})
    answer = pillion(apiserver, "upgrade", "-n", namespace, "--config", file)
    assert answer.returncode == 1
    (command,) = [line.partition(": ")[2] for line in answer.stdout.splitlines() if "to do it: " in line]
    programs = f"{Path(sys.executable).parent}:{kubectl.program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(apiserver.kubeconfig), "PATH": programs}
    subprocess.run(["bash", "-o", "pipefail", "-c", command], env=environment, check=True, capture_output=True)
    after = kubectl("get", "pod", "app", "-n", namespace, "-o", "json")
    assert after["metadata"]["uid"] != former_pod["metadata"]["uid"]
    assert SIDECAR not in json.dumps(after["spec"])


def test_a_change_is_for_the_pod_that_was_read(
    apiserver: Cluster, kubectl: Client, former_pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conflict has its reason, by which it is told from a refusal."""
    namespace = former_pod["metadata"]["namespace"]
    monkeypatch.setenv("PATH", str(kubectl.program.parent), prepend=":")
    kubectl("label", "pod", "app", "-n", namespace, "changed=meanwhile")
    change = json.dumps(
        {"metadata": {"resourceVersion": former_pod["metadata"]["resourceVersion"], "labels": {"a": "b"}}}
    )
    with pytest.raises(ClusterError) as raised:
        Kubectl(str(apiserver.kubeconfig)).run(
            "patch", "pod", "app", namespace=namespace, type="strategic", patch=change, output="json"
        )
    assert raised.value.reason == "Conflict"


def test_what_the_api_server_adds_is_no_difference(apiserver: Cluster) -> None:
    """Each golden as the API server would store it is what it would be now; with another image only that differs."""
    apiserver.prepare_namespace(UNREVIEWED)
    compared = 0
    with judge(apiserver.kubectl) as asked:
        for case in CASES:
            if not case.loads or not case.verdict().injected:
                continue
            configuration, made = case.configuration, patched(case.pod, case.verdict())
            judgement = asked.ask(UNREVIEWED, made)
            if not judgement.accepted:
                continue
            compared += 1
            found = compare(judgement.pod, configuration, namespace_opted_in=case.opted_in)
            assert (case.name, found.state, found.differences) == (case.name, State.CURRENT, ())
            for container in all_containers(judgement.pod):
                if container["name"] == found.sidecar:
                    container["image"] = FORMER
            found = compare(judgement.pod, configuration, namespace_opted_in=case.opted_in)
            assert (case.name, found.state, found.differences) == (case.name, State.IMAGE_ONLY, ())
            assert found.live_image == FORMER
    assert compared > 200
