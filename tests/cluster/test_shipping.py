"""The profiles `elasticsearch` and `otlp` under a real kubelet: lines of pods in a real store, counted there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.injection.reviews import patched, verdict_on
from tests.pages import run, shows
from tests.tail.stores import COLLECTOR, VICTORIA_LOGS, Collector
from webhook.configuration.loading import build
from webhook.injection.profile import Configuration
from webhook.profiles import builtins

from . import images, programs
from .client import Client
from .conftest import NewNamespace, RunningCluster
from .node import Node
from .processes import sidecar_process, wait_until
from .release import RESTRICTED
from .victorialogs import NAME, SecuredStore

pytestmark = pytest.mark.cluster

SECONDS = 60.0
BUSYBOX = "docker.io/library/busybox:1.36"
FILE = "/var/log/app/app.log"
LINES = 20_000
#: It writes all of them, and goes on.
WRITER = f"trap 'exit 0' TERM; seq {LINES} | sed 's/^/line /' >{FILE}; sleep 600 & wait"
#: It writes the second half when it is told to end.
LATE_WRITER = f"""
trap 'seq {LINES // 2 + 1} {LINES} | sed "s/^/line /" >>{FILE}; exit 0' TERM
seq {LINES // 2} | sed 's/^/line /' >{FILE}; sleep 600 & wait
"""
#: What the program may take at most: filebeat takes 49 MiB.
MOST_MEMORY = 6 << 10  # KiB

Create = Callable[..., Any]


@pytest.fixture(scope="module")
def host(node: RunningCluster) -> str:
    """Return this machine's address, as pods reach it; the node knows the image of the profiles."""
    if not isinstance(node, Node):
        pytest.skip("the store is on this machine, which another cluster's pods don't reach")
    node.import_image(images.shipping())
    return node.webhook_host


@pytest.fixture
def store(host: str, tmp_path: Path) -> Iterator[SecuredStore]:
    """Return an empty store, or skip the test where it can't be built."""
    for source in (VICTORIA_LOGS, COLLECTOR):
        try:
            programs.built_from(source, source.packages)
        except programs.BuildError as error:
            pytest.skip(str(error))
    one = SecuredStore(tmp_path, host)
    yield one
    one.stop()


@pytest.fixture
def collector(store: SecuredStore, host: str, tmp_path: Path) -> Iterator[str]:
    """Return the address of a collector that sends to the store."""
    one = Collector(tmp_path, store, host)
    yield f"http://{host}:{one.port}/v1/logs"
    one.stop()


def configuration(profile: str, *variables: dict[str, Any]) -> Configuration:
    """Return a configuration in which a built-in profile has these variables."""
    return build({"profiles": {profile: {"sidecar": {"env": list(variables)}}}}, builtins())


def settings(**values: str) -> list[dict[str, Any]]:
    """Return variables."""
    return [{"name": f"PILLION_{name.upper()}", "value": value} for name, value in values.items()]


@pytest.fixture
def create(kubectl: Client) -> Create:
    """Create a pod with a profile's sidecar in a namespace, and what the namespace has for it."""

    def make(namespace: str, profile: str, by: Configuration, *objects: dict[str, Any], script: str = WRITER) -> None:
        for each in objects:
            kubectl("create", "-n", namespace, "-f", "-", stdin={"apiVersion": "v1", "metadata": {"name": NAME}} | each)
        app = {
            "name": "shop",
            "image": BUSYBOX,
            "command": ["sh", "-c", script],
            "securityContext": RESTRICTED,
        }
        annotations = {"pillion.dev/inject": "true", "pillion.dev/profile": profile}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "shop", "annotations": annotations},
            "spec": {"containers": [app]},
        }
        verdict = verdict_on(pod, by)
        assert verdict.injected
        kubectl("create", "-n", namespace, "-f", "-", stdin=patched(pod, verdict))

    return make


def secured(store: SecuredStore) -> Configuration:
    """Return the profile `elasticsearch` for the store: with its CA, a user and a password."""
    by = settings(url=store.bulk, ca="/pillion/ca/ca.crt", credentials="basic")
    return configuration("elasticsearch", *by)


def is_running(kubectl: Client, namespace: str, container: str) -> bool:
    """Return whether a container of the pod runs."""
    status = kubectl("get", "pod", "shop", "-n", namespace, "-o", "json")["status"]
    found = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return any(each["name"] == container and "running" in each["state"] for each in found)


def says(kubectl: Client, namespace: str, container: str, text: str) -> bool:
    """Return whether a container has said this."""
    return text in kubectl.attempt("logs", "shop", "-n", namespace, "-c", container).stdout


def has_all(store: SecuredStore, field: str) -> list[dict[str, Any]]:
    """Return the pod's records, as soon as each of its lines is there; each is there once."""
    query = f'"{field}":shop'
    assert wait_until(lambda: len(store.query(query)) >= LINES, SECONDS, poll=0.5), len(store.query(query))
    rows = store.query(query)
    assert sorted(int(row["_msg"].split()[1]) for row in rows) == list(range(1, LINES + 1))
    return rows


def test_lines_with_their_pod(
    kubectl: Client,
    new_namespace: NewNamespace,
    store: SecuredStore,
    create: Create,
    record_property: Callable[[str, object], None],
) -> None:
    """Through TLS, with the namespace's Secret, in a restricted namespace; in 6 MiB."""
    namespace = new_namespace("restricted")
    create(namespace, "elasticsearch", secured(store), store.secret, store.authority)
    rows = has_all(store, "kubernetes.pod.name")
    pod = kubectl("get", "pod", "shop", "-n", namespace, "-o", "json")
    for row in rows:
        del row["_msg"], row["_time"], row["_stream"], row["_stream_id"], row["log.offset"]
    expected = {
        "kubernetes.pod.name": "shop",
        "kubernetes.pod.uid": pod["metadata"]["uid"],
        "kubernetes.namespace": namespace,
        "kubernetes.node.name": pod["spec"]["nodeName"],
        "container.name": "shop",
        "log.file.path": FILE,
    }
    assert all(row == expected for row in rows)
    status = Path(f"/proc/{sidecar_process(pod['metadata']['uid'])}/status").read_text()
    (peak,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    record_property("the sidecar's largest resident set in KiB", peak)
    assert int(peak) < MOST_MEMORY


def test_by_otlp(kubectl: Client, namespace: str, store: SecuredStore, create: Create, collector: str) -> None:
    """Through a collector that acknowledges what the store has taken."""
    create(namespace, "otlp", configuration("otlp", *settings(url=collector)))
    (row, *_) = has_all(store, "k8s.pod.name")
    assert (row["k8s.namespace.name"], row["k8s.container.name"]) == (namespace, "shop")
    assert row["k8s.node.name"] == kubectl("get", "pod", "shop", "-n", namespace, "-o", "json")["spec"]["nodeName"]
    assert row["log.file.path"] == FILE


def test_a_pod_that_ends_while_its_lines_wait(
    kubectl: Client, namespace: str, store: SecuredStore, create: Create
) -> None:
    """Every line is in the store when the pod is gone, those among them that it wrote at its end."""
    store.stop()
    create(namespace, "elasticsearch", secured(store), store.secret, store.authority, script=LATE_WRITER)
    assert wait_until(lambda: says(kubectl, namespace, "pillion-elasticsearch", "can't send to"), SECONDS, poll=0.3)
    kubectl("delete", "pod", "shop", "-n", namespace, "--wait=false")
    store.start()
    kubectl("wait", "--for=delete", "pod/shop", "-n", namespace, f"--timeout={SECONDS:.0f}s")
    has_all(store, "kubernetes.pod.name")


def test_a_namespace_without_the_secret(
    kubectl: Client, namespace: str, store: SecuredStore, create: Create, tmp_path: Path
) -> None:
    """Application and sidecar run, and the sidecar says which variable is missing; its lines wait.

    As the page says it, whose commands then make the Secret and the ConfigMap.
    """

    def page(place: str) -> str:
        environment = {**kubectl.environment, "KUBECONFIG": str(kubectl.kubeconfig)}
        return run(place, kubectl.program.parent, tmp_path, environment, POD="shop", NAMESPACE=namespace)

    by = configuration("elasticsearch", *settings(url=store.bulk, ca="/pillion/ca/ca.crt", credentials="api-key"))
    create(namespace, "elasticsearch", by)
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/shop", f"--timeout={SECONDS:.0f}s")
    logs = "shipping.md#credentials 2"
    assert wait_until(lambda: shows(logs, page(logs)), SECONDS, poll=0.3), page(logs)
    assert is_running(kubectl, namespace, "pillion-elasticsearch")

    (tmp_path / "api-key").write_text("not one of this store")
    (tmp_path / "ca.crt").write_text(store.ca)
    page("shipping.md#credentials 1")
    kubectl("delete", "pod", "shop", "-n", namespace, "--grace-period=1")
    create(namespace, "elasticsearch", by)
    assert wait_until(lambda: says(kubectl, namespace, "pillion-elasticsearch", "401"), SECONDS, poll=0.3)
    assert store.query("*") == []


@pytest.mark.usefixtures("host")
def test_a_reference_that_is_not_optional(kubectl: Client, namespace: str, create: Create) -> None:
    """The configuration's warning is right: without the Secret the application does not start."""
    reference = {"secretKeyRef": {"name": NAME, "key": "api-key"}}
    by = configuration(
        "elasticsearch", *settings(url="http://store/_bulk"), {"name": "PILLION_API_KEY", "valueFrom": reference}
    )
    (warning,) = by.warnings
    assert "needs the Secret pillion-shipping in the namespace of each pod, which does not start" in warning.message
    create(namespace, "elasticsearch", by)

    def waits() -> bool:
        status = kubectl("get", "pod", "shop", "-n", namespace, "-o", "json")["status"]
        waiting = [each["state"].get("waiting", {}) for each in status.get("initContainerStatuses", [])]
        return any(f'secret "{NAME}" not found' in each.get("message", "") for each in waiting)

    assert wait_until(waits, SECONDS, poll=0.3)
    assert not is_running(kubectl, namespace, "shop")
