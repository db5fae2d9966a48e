"""Every command of the runbooks at a real cluster, in the situation that it is for: it shows it, or mends it.

tests/service/test_log_commands.py has those that search a log, on all that they can find.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import COMMANDS

from .client import Client
from .conftest import Cluster, NewNamespace
from .control_plane import ApiServer
from .image import CHART
from .local_webhook import local_webhook
from .release import READY_SECONDS, Release, annotated_pod, asking, sidecars
from .shell import Shell, eventually, shell_with, shown

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("helm_program")]

#: Until a kubelet has brought a changed ConfigMap: 90 s, and a slow machine.
RELOAD_SECONDS = 150.0
#: The node's kubelet measures volumes every ten seconds, others once a minute, and compares them with limits as often.
EVICTION_SECONDS = 150.0
UPGRADE = ("upgrade", "pillion", str(CHART), "-n", "pillion-system", "--reset-then-reuse-values")
HOOKS = ("mutatingwebhookconfiguration", "pillion.pillion-system.pillion.dev")
CA_BUNDLE = "/webhooks/1/clientConfig/caBundle"
#: No certificate of ours.
FOREIGN = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMAE=\n-----END CERTIFICATE-----\n").decode()
BUSYBOX = "docker.io/library/busybox:1.36"

ANSWERS = "runbooks.md#does-pillion-answer 1"
INJECTED, NOT_INJECTED = "pillion-tail probe\n", " probe\n"
AGAIN = "runbooks.md#a-pod-has-no-sidecar 1"
LIST = "runbooks.md#pillionfailedopen 3"
TELL_APART = "runbooks.md#pillionfailedopen 4"
RESTARTS = (
    "runbooks.md#pillionfailedopen 5",
    "runbooks.md#pillionpodsrefused 4",
    "runbooks.md#a-pod-has-no-sidecar 4",
    "runbooks.md#the-sidecars-image-cant-be-pulled 2",
)
ROLLED_OUT = "runbooks.md#a-quota-a-limitrange-or-a-policy-refuses-the-pod 3"
SERVERS = "runbooks.md#pilliondown 1"
SERVERS_ROLLED_OUT = "runbooks.md#pilliondown 2"
GO_BACK = "runbooks.md#going-back 1"
TRUST = "runbooks.md#pillionfailedopen 2"
CHANGED = "runbooks.md#changes-by-hand 1"
#: These print more than lines of the log; tests of their own run them.
MORE_THAN_LINES = ("runbooks.md#pillionserversmissing 1", "runbooks.md#pillionsidecarsrestart 1")
SEARCHES = [
    place for place, text in COMMANDS.items() if "logs" in text and "grep" in text and place not in MORE_THAN_LINES
]


class TestPodsWithoutSidecar:
    """Which they are, and why: an API server alone says it."""

    @pytest.fixture
    def shell(self, apiserver: Cluster, tmp_path: Path) -> Shell:
        """Return what runs a command at the API server."""
        return shell_with(apiserver.kubectl, folder=tmp_path)

    @pytest.fixture
    def opted_in(self, new_namespace: NewNamespace) -> str:
        """Return a namespace with the label."""
        return new_namespace(labels={"pillion.dev/inject": "true"})

    @staticmethod
    def pod(name: str, annotations: dict[str, str] | None = None, *more: str, **spec: Any) -> dict[str, Any]:
        """Return a pod with a container of its own, and more of these names."""
        containers = [{"name": each, "image": each} for each in ("app", *more)]
        return annotated_pod(annotations or {}, *containers, name=name, **spec)

    def test_the_list(self, shell: Shell, kubectl: Client, namespace: str, opted_in: str) -> None:
        """Running pods that request injection, or whose namespace does, without status and without sidecar."""
        native = {"initContainers": [{"name": "pillion-tail", "image": "tail", "restartPolicy": "Always"}]}
        setup = {"initContainers": [{"name": "setup", "image": "setup"}]}
        inject, decline = asking(), asking(inject="false")
        status = {"pillion.dev/status": '{"profile": "tail", "revision": "1"}'}
        listed = [
            (namespace, self.pod("annotated", inject)),
            (namespace, self.pod("declined", asking(logs="x"))),
            (namespace, self.pod("pillion-app", inject, **setup)),
            (opted_in, self.pod("opted-in")),
            (opted_in, self.pod("other-annotations", {"a": "b"})),
            (opted_in, self.pod("both", inject)),
        ]
        others = [
            (namespace, self.pod("nothing-requested")),
            (namespace, self.pod("only-logs", {"pillion.dev/logs": "/logs/app.log"})),
            (namespace, self.pod("another-prefix", asking("logs.example.org/"))),
            (namespace, self.pod("opted-out", decline)),
            (namespace, self.pod("injected", {**inject, **status}, **native)),
            (namespace, self.pod("no-room-for-status", inject, **native)),
            (namespace, self.pod("not-native", inject, "pillion-tail")),
            (opted_in, self.pod("opted-in-and-out", decline)),
            (opted_in, self.pod("opted-in-and-injected", status, **native)),
            (opted_in, self.pod("ended")),
        ]
        for where, pod in (*listed, *others):
            kubectl("create", "-n", where, "-f", "-", stdin=pod)
        ended = '{"status": {"phase": "Succeeded"}}'
        kubectl("patch", "pod", "ended", "-n", opted_in, "--subresource=status", f"--patch={ended}")
        found = [line for line in shell(LIST).splitlines() if line.startswith((namespace, opted_in))]
        assert sorted(found) == sorted(f"{where} {pod['metadata']['name']}" for where, pod in listed)

    def test_why(self, apiserver: Cluster, shell: Shell, namespace: str, opted_in: str, tmp_path: Path) -> None:
        """Declined, created while nobody answered, or nothing to read: a dry run tells them apart."""
        if not isinstance(apiserver, ApiServer):
            pytest.skip("a cluster of one's own may not reach this machine")
        kubectl = apiserver.kubectl
        kubectl("create", "-n", namespace, "-f", "-", stdin=self.pod("declined", asking(logs="x")))
        kubectl("create", "-n", namespace, "-f", "-", stdin=self.pod("missed", asking()))
        kubectl("create", "-n", opted_in, "-f", "-", stdin=self.pod("no-logs"))
        assert shell(ANSWERS) == NOT_INJECTED
        with local_webhook(kubectl, tmp_path):
            eventually(lambda: shell(ANSWERS) == INJECTED)
            declined = shell(AGAIN, POD="declined", NAMESPACE=namespace)
            assert 'Warning: not injected: pillion.dev/logs "x": is not a path' in declined
            assert "pillion-tail" not in declined
            assert shell(AGAIN, POD="missed", NAMESPACE=namespace) == "pillion-tail app\n"
            assert shell(AGAIN, POD="no-logs", NAMESPACE=opted_in) == " app\n"
            shell(LIST)
            lines = [line for line in shell(TELL_APART).splitlines() if namespace in line or opted_in in line]
            assert sorted(re.sub(r":.*", "", line) for line in lines) == sorted(
                [f"declined  {namespace}/declined", f"restart   {namespace}/missed", f"unchanged {opted_in}/no-logs"]
            )


@pytest.fixture
def shell(pillion: Release, tmp_path: Path) -> Iterator[Shell]:
    """Return what runs a command at the node, where a release has the names that the pages assume; it works after."""
    run_at_node = shell_with(pillion.kubectl, pillion.helm, folder=tmp_path)
    # the test before may have replaced servers, which drain
    eventually(lambda: len(pods(pillion.kubectl, pillion.namespace)) == 2, READY_SECONDS)
    yield run_at_node
    if run_at_node(ANSWERS) != INJECTED:
        pillion.upgrade("--reset-then-reuse-values", "--force-conflicts", "--set=webhook.failurePolicy=Ignore")
        eventually(lambda: run_at_node(ANSWERS) == INJECTED, READY_SECONDS)


@pytest.fixture
def deploy(kubectl: Client, namespace: str) -> Callable[..., None]:
    """Return what creates a Deployment named ``shop`` with annotations."""

    def create(script: str, resources: dict[str, Any] | None = None, **annotations: str) -> None:
        container = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", script], "resources": resources or {}}
        pod = annotated_pod(asking(**annotations), container)
        metadata = {"labels": {"app": "shop"}, "annotations": pod["metadata"]["annotations"]}
        spec = {"selector": {"matchLabels": {"app": "shop"}}, "template": {"metadata": metadata, "spec": pod["spec"]}}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec}
        kubectl("create", "-n", namespace, "-f", "-", stdin=deployment)

    return create


def pods(kubectl: Client, namespace: str) -> list[Any]:
    """Return a namespace's pods."""
    found: list[Any] = kubectl("get", "pods", "-n", namespace, "-o", "json")["items"]
    return found


def newest_revision(pillion: Release) -> str:
    """Return the number of the release's newest revision that worked, as `helm history` shows it."""
    listed = pillion.helm("history", "pillion", "-n", pillion.namespace, "-o", "json")
    return str([each["revision"] for each in listed if each["status"] in {"deployed", "superseded"}][-1])


def profiles(shown: str) -> set[str]:
    """Return the different lists of profiles and revisions that servers show."""
    return {server.partition("\n")[2] for server in shown.split("pod/")[1:]}


def test_a_release_that_works(shell: Shell) -> None:
    """What is looked at shows it."""
    assert shell(ANSWERS) == INJECTED
    assert shell("runbooks.md#pillionfailedopen 1").count("Running") == 2
    assert "2/2" in shell(SERVERS)
    assert "successfully rolled out" in shell(SERVERS_ROLLED_OUT)
    trust = shell(TRUST)
    assert "Error from server (MethodNotAllowed): the server does not allow this method" in trust
    assert "2" in trust.splitlines()
    newest = shell("runbooks.md#pillioncertificatesunattended 3")
    assert len(re.findall('"event":"(?:waiting|step|leaf written)"', newest)) == 2, newest
    shown = shell("runbooks.md#servers-disagree 1")
    assert shown.count('pillion_profile_info{profile="tail",revision="') == 2
    assert len(profiles(shown)) == 1
    assert "2/2" in shell("runbooks.md#pillionserversmissing 1")
    assert "successfully rolled out" in shell("runbooks.md#pillionserversmissing 3")
    times = shell("runbooks.md#pillionslow 1")
    assert (
        'apiserver_admission_webhook_admission_duration_seconds_sum{name="annotated.pillion.pillion-system.pillion.dev"'
        in times
    )
    assert times.count("pillion_review_duration_seconds_sum ") == 2
    assert times.count("pillion_requests_in_flight 0.0") == 2
    assert "pillion_limit_exceeded_total{limit=" in shell("runbooks.md#pillionlimitreached 1")


@pytest.mark.parametrize("place", SEARCHES)
def test_a_search_of_the_log(shell: Shell, place: str) -> None:
    """Selector and container are right: what kubectl prints are pods, metrics and lines of the log, or nothing."""
    assert all("{" in line or line.startswith("pod/") for line in shell(place).splitlines())


@pytest.mark.parametrize("place", ["runbooks.md#the-sidecars-image-cant-be-pulled 3", "installing.md#install 2"])
def test_the_canaries(shell: Shell, place: str) -> None:
    """A pod with the sidecar runs."""
    said = shell(place)
    assert "Phase:          Succeeded" in said
    assert "Phase:          Failed" not in said


def test_an_upgrade(shell: Shell, pillion: Release) -> None:
    """To the same version, with the values that are there."""
    assert "has been upgraded" in shell("upgrading.md#upgrading 1")
    assert pillion.injects()
    assert "configuration rejected" not in shell("upgrading.md#changing-profiles 1")


def test_a_new_certificate(shell: Shell) -> None:
    """The keeper makes it, and both servers log its end."""
    log = "runbooks.md#pillioncertificateends 5"
    before = shell(log).count("certificate reloaded")
    assert "annotated" in shell("runbooks.md#pillioncertificateends 2")
    eventually(lambda: shell(log).count("certificate reloaded") == before + 2, RELOAD_SECONDS)
    assert '"not_after":' in shell(log).splitlines()[-1]


def test_a_pair_in_a_secret(shell: Shell, kubectl: Client, tmp_path: Path) -> None:
    """The command makes the Secret, and replaces what is in it."""
    place, where = "runbooks.md#pillioncertificateends 3", ("-n", "pillion-system")
    data = kubectl("get", "secret", "pillion-certificate", *where, "-o", "json")["data"]
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_bytes(base64.b64decode(data[name]))
    try:
        assert shell(place, SECRET="pair") == "secret/pair created\n"
        assert shell(place, SECRET="pair") == "secret/pair unchanged\n"
    finally:
        kubectl("delete", "secret", "pair", *where, "--ignore-not-found")


def test_a_server_is_replaced(shell: Shell, kubectl: Client) -> None:
    """The page's way to restart one."""
    names = [pod["metadata"]["name"] for pod in pods(kubectl, "pillion-system")]
    assert "deleted" in shell("runbooks.md#pillionserversmissing 2", POD=names[0])
    assert "successfully rolled out" in shell("runbooks.md#pillionserversmissing 3")


def test_a_keeper_without_its_rights(shell: Shell, kubectl: Client) -> None:
    """Its log says what it may not do; an upgrade gives it back, and the newest line is no failure."""
    trouble, newest = "runbooks.md#pillioncertificatesunattended 1", "runbooks.md#pillioncertificatesunattended 3"
    kubectl("delete", "clusterrolebinding", "pillion.pillion-system.pillion.dev")
    kubectl(
        "patch", *HOOKS, "--type=json", "-p=" + json.dumps([{"op": "replace", "path": CA_BUNDLE, "value": FOREIGN}])
    )
    eventually(lambda: '"kind":"error_response"' in shell(trouble), 60)
    assert "1\n" in shell(TRUST)
    assert '"event":"reconcile failed"' in shell(newest)
    assert "has been upgraded" in shell("runbooks.md#pillioncertificatesunattended 2")
    eventually(lambda: len(re.findall('"event":"(?:waiting|step|leaf written)"', shell(newest))) == 2, RELOAD_SECONDS)
    eventually(lambda: "2\n" in shell(TRUST), RELOAD_SECONDS)


def test_a_change_by_hand(shell: Shell, kubectl: Client) -> None:
    """It is shown, and an upgrade takes it back; what keepers write is no change."""
    assert shell(CHANGED) == ""
    kubectl("scale", "deployment/pillion", "-n", "pillion-system", "--replicas=1")
    assert re.search(r"(?m)^-  replicas: 1\n\+  replicas: 2$", shell(CHANGED))
    assert "has been upgraded" in shell("runbooks.md#changes-by-hand 2")
    assert shell(CHANGED) == ""


@pytest.mark.minutes
def test_a_configuration_that_is_rejected(shell: Shell, pillion: Release) -> None:
    """A new server logs why and is not ready; going back mends it."""
    log = "runbooks.md#pillionconfigurationrejected 1"
    said = "must be first or last, is 'middle'"
    revision = newest_revision(pillion)
    # without waiting: the page's reader comes when it has happened
    pillion.helm(*UPGRADE, "--set=profiles.mine.sidecar.image=a", "--set=profiles.mine.order=middle")
    eventually(lambda: "configuration rejected" in shell(log) and said in shell(log), RELOAD_SECONDS)
    eventually(lambda: said in shell("runbooks.md#pillionserversmissing 1"), READY_SECONDS)
    assert pillion.injects()
    assert "Rollback was a success" in shell(GO_BACK, REVISION=revision)
    assert "successfully rolled out" in shell(SERVERS_ROLLED_OUT)


@pytest.mark.minutes
def test_new_profiles_at_once(shell: Shell, pillion: Release, kubectl: Client, namespace: str) -> None:
    """A restart does not wait for the kubelets; pods on the old revision are listed; the way back works."""
    old_pods = "upgrading.md#changing-profiles 2"
    kubectl("create", "-n", namespace, "-f", "-", stdin=annotated_pod(asking()))
    assert f"{namespace}/app" not in shell(old_pods)
    before = profiles(shell("runbooks.md#servers-disagree 1"))
    revision = newest_revision(pillion)
    pillion.helm(*UPGRADE, "--set=profiles.tail.order=last")
    assert "restarted" in shell("runbooks.md#servers-disagree 2")
    assert "successfully rolled out" in shell(SERVERS_ROLLED_OUT)

    def agree() -> bool:
        now = profiles(shell("runbooks.md#servers-disagree 1"))
        return len(now) == 1 and now != before

    eventually(agree, READY_SECONDS)
    assert f"{namespace}/app" in shell(old_pods)
    assert "Rollback was a success" in shell(GO_BACK, REVISION=revision)
    assert "has been upgraded" in shell("runbooks.md#pillionslow 2")
    assert shell(SERVERS).count("Running") == 3
    pillion.upgrade("--reset-then-reuse-values", "--set=replicas=2")


def test_pods_are_let_through(shell: Shell, pillion: Release, kubectl: Client) -> None:
    """They are refused while nobody answers, until somebody switches; an upgrade switches back, without a conflict."""
    policies = ("get", "mutatingwebhookconfiguration", "-l", "app.kubernetes.io/instance=pillion", "-o")
    pillion.upgrade("--reset-then-reuse-values", "--set=webhook.failurePolicy=Fail")
    kubectl("delete", "deployment", "pillion", "-n", "pillion-system")
    eventually(lambda: "failed calling webhook" in shell(ANSWERS), READY_SECONDS)
    assert "serverside-applied" in shell("runbooks.md#letting-pods-through 1")
    eventually(lambda: shell(ANSWERS) == NOT_INJECTED)
    assert "has been upgraded" in shell("runbooks.md#pillionpodsrefused 2")
    assert kubectl(*policies, "jsonpath={.items[0].webhooks[*].failurePolicy}") == "Fail Fail"
    eventually(lambda: shell(ANSWERS) == INJECTED)
    pillion.upgrade("--reset-then-reuse-values", "--set=webhook.failurePolicy=Ignore")


@pytest.mark.minutes
def test_a_lost_secret_and_no_server_that_remembers(shell: Shell, pillion: Release, kubectl: Client) -> None:
    """New servers wait for API servers to learn of the new CA; the page's way to shorten that helps."""
    where = ("-n", "pillion-system")
    kubectl("delete", "secret", "pillion-certificate", *where)
    content = ("get", "secret", "pillion-certificate", *where, "--ignore-not-found", "-o", "jsonpath={.data}")
    eventually(lambda: "next-ca.key" in kubectl(*content), 60)
    kubectl("delete", "pods", "--all", *where)
    eventually(lambda: "the new CA yet" in shell("runbooks.md#pillioncertificatesunattended 3"), READY_SECONDS)
    assert shell(ANSWERS) == NOT_INJECTED
    assert "has been upgraded" in shell("runbooks.md#pillionpodsrefused 3")
    eventually(lambda: shell(ANSWERS) == INJECTED)
    pillion.upgrade("--reset-then-reuse-values", "--set=certificates.caPropagationDelay=5m")


def test_an_outage(
    shell: Shell, pillion: Release, kubectl: Client, namespace: str, deploy: Callable[..., None]
) -> None:
    """From the first question to the pods that have their sidecar again."""
    where = {"NAMESPACE": namespace}
    pillion.scale(0)
    eventually(lambda: shell(ANSWERS) == NOT_INJECTED)
    assert "0/0" in shell(SERVERS)
    deploy("exec sleep 600", logs="/logs/app.log")
    eventually(lambda: pods(kubectl, namespace), READY_SECONDS)
    (missed,) = pods(kubectl, namespace)
    name = missed["metadata"]["name"]
    assert not sidecars(missed)

    pillion.upgrade("--reset-then-reuse-values", "--force-conflicts")
    eventually(lambda: shell(ANSWERS) == INJECTED)
    assert shell(AGAIN, POD=name, **where) == "pillion-tail app\n"
    asked = "runbooks.md#a-pod-has-no-sidecar 2"
    eventually(lambda: f'"namespace":"{namespace}","pod":"probe","outcome":"injected"' in shell(asked))
    seen = shell("runbooks.md#a-pod-has-no-sidecar 3", POD=name, **where)
    assert f"kubernetes.io/metadata.name={namespace}" in seen
    assert '"pillion.dev/inject":"true"' in seen
    assert f"{namespace} {name}\n" in shell(LIST)
    assert f"restart   {namespace}/{name}\n" in shell(TELL_APART)

    for place in (
        "runbooks.md#pillionfailedopen 5",
        "runbooks.md#pillionpodsrefused 4",
        "runbooks.md#a-pod-has-no-sidecar 4",
    ):
        assert "restarted" in shell(place, WORKLOAD="shop", **where)
        assert "successfully rolled out" in shell(ROLLED_OUT, WORKLOAD="shop", **where)
    assert "pillion-tail" in shell("runbooks.md#a-pod-has-no-sidecar 5", **where)
    images = re.compile(rf"{namespace} .* \S+-tail +\{{\"profile\":\"tail\",\"revision\":")
    assert images.search(shell("upgrading.md#what-happens-to-running-pods 2"))
    eventually(lambda: namespace not in shell(LIST), READY_SECONDS)


def test_a_sidecar_that_prints(shell: Shell, kubectl: Client, namespace: str, deploy: Callable[..., None]) -> None:
    """Its status names the file, and nothing is behind."""
    deploy("echo a line > /logs/app.log; exec sleep 600", logs="/logs/app.log")
    assert "successfully rolled out" in shell(ROLLED_OUT, WORKLOAD="shop", NAMESPACE=namespace)
    (pod,) = pods(kubectl, namespace)

    def both() -> str:
        return shell("runbooks.md#the-sidecar-prints-nothing 1", POD=pod["metadata"]["name"], NAMESPACE=namespace)

    eventually(lambda: "\n1 files, 0 bytes behind" in both(), 60)
    assert both().startswith("a line\n")
    assert re.search(r"\n +7 +7 +0  /logs/app\.log\n", both())


def test_after_a_rotation_kubectl_logs_shows_nothing(
    shell: Shell, kubectl: Client, namespace: str, deploy: Callable[..., None]
) -> None:
    """It reads the node's current file only; the sidecar has printed all, as its status says."""
    size = 12_000_000
    deploy(f"yes a line of a log | head -c {size} > /logs/app.log; exec sleep 600", logs="/logs/app.log")
    assert "successfully rolled out" in shell(ROLLED_OUT, WORKLOAD="shop", NAMESPACE=namespace)
    name = pods(kubectl, namespace)[0]["metadata"]["name"]
    status = "runbooks.md#the-sidecar-prints-nothing 1"
    printed = re.compile(rf" {size} +{size} +0  /logs/app\.log\n")
    eventually(lambda: printed.search(shell(status, POD=name, NAMESPACE=namespace)), 60)
    eventually(lambda: kubectl("logs", name, "-n", namespace, "-c", "pillion-tail") == "", 60)


def test_a_quota(shell: Shell, kubectl: Client, namespace: str, deploy: Callable[..., None]) -> None:
    """The event names the sidecar, and the annotation is enough."""
    where = {"NAMESPACE": namespace}
    kubectl("create", "quota", "cpu", "--hard=limits.cpu=1", "-n", namespace)
    deploy("exec sleep 600", {"limits": {"cpu": "100m"}}, logs="/logs/app.log")
    events = "runbooks.md#a-quota-a-limitrange-or-a-policy-refuses-the-pod 1"
    shown(lambda: shell(events, **where), "must specify limits.cpu for: pillion-tail", 60)
    assert "must specify limits.cpu for: pillion-tail" in shell("runbooks.md#pillionpodsrefused 1")
    patch = "runbooks.md#a-quota-a-limitrange-or-a-policy-refuses-the-pod 2"
    assert "patched" in shell(patch, WORKLOAD="shop", **where)
    assert "successfully rolled out" in shell(ROLLED_OUT, WORKLOAD="shop", **where)
    assert sidecars(pods(kubectl, namespace)[0]) == ["pillion-tail"]


def test_an_image_that_is_not_there(shell: Shell, kubectl: Client, namespace: str) -> None:
    """The event has the runtime's message."""
    sidecar = {"name": "pillion-tail", "image": "registry.example.org/missing:1", "restartPolicy": "Always"}
    pod = annotated_pod({}, initContainers=[sidecar])
    del pod["spec"]["containers"][0]["command"]
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    events = "runbooks.md#the-sidecars-image-cant-be-pulled 1"
    shown(lambda: shell(events, NAMESPACE=namespace), 'Failed to pull image "registry.example.org/missing:1"', 90)
    waiting = "runbooks.md#pillionsidecarswaiting 1"
    both = rf"(?s)^{namespace} .*\nName: .*Failed to pull image"
    shown(lambda: shell(waiting, POD="app", NAMESPACE=namespace), both, 90)


@pytest.mark.minutes
def test_a_sidecar_that_ends_again_and_again(shell: Shell, kubectl: Client, namespace: str) -> None:
    """The pod is listed with the reason, and the sidecar's last words are there."""
    # not at once: a container that is replaced before the API server has heard of it leaves no last words
    script = ["sh", "-c", "echo last words; sleep 3; exit 1"]
    sidecar = {"name": "pillion-tail", "image": BUSYBOX, "restartPolicy": "Always", "command": script}
    kubectl("create", "-n", namespace, "-f", "-", stdin=annotated_pod({}, initContainers=[sidecar]))
    place, where = "runbooks.md#pillionsidecarsrestart 1", {"POD": "app", "NAMESPACE": namespace}
    shown(lambda: shell(place, **where), rf"(?s){namespace} app pillion-tail \d+ Error\n.*last words", 240)


@pytest.mark.minutes
def test_a_pod_that_is_evicted(shell: Shell, kubectl: Client, namespace: str, deploy: Callable[..., None]) -> None:
    """As docs/annotations.md says: the whole pod ends, and the event names volume and limit; a higher one is enough."""
    where = {"NAMESPACE": namespace}
    script = "dd if=/dev/zero of=/logs/app.log bs=1024 count=4096; exec sleep 600"
    deploy(script, logs="/logs/app.log", volume_size_limit="1Mi")
    said = 'Usage of EmptyDir volume "pillion-logs-1" exceeds the limit "1Mi".'
    shown(lambda: shell("runbooks.md#a-pod-is-evicted 1", **where), re.escape(said), EVICTION_SECONDS)
    described = rf"Status: +Failed\nReason: +Evicted\nMessage: +{re.escape(said)}"
    shown(lambda: kubectl("describe", "pods", "-n", namespace), described, 60)
    words = r" (Init:ContainerStatusUnknown|PodInitializing|(Init:)?Error|Evicted) "
    shown(lambda: kubectl("get", "pods", "-n", namespace), words, 60)
    assert "patched" in shell("runbooks.md#a-pod-is-evicted 2", WORKLOAD="shop", **where)
    # its successor may have been evicted, too
    evicted = next(pod for pod in pods(kubectl, namespace) if pod["status"].get("reason") == "Evicted")
    mended = shell("runbooks.md#a-pod-is-evicted 3", WORKLOAD="shop", POD=evicted["metadata"]["name"], **where)
    assert "successfully rolled out" in mended
    assert "deleted" in mended
    assert "Running" in [pod["status"]["phase"] for pod in pods(kubectl, namespace)]
