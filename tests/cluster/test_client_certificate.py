"""Servers that demand a client certificate: the API server shows one, and nobody else is answered."""

import re
from collections.abc import Callable, Iterator

import pytest

from .client import Client
from .conftest import Cluster, RunningCluster
from .control_plane import API_SERVER, DEMANDING
from .node import Node
from .processes import wait_until
from .release import Release, annotated_pod, installed, sidecars

pytestmark = pytest.mark.cluster

#: Posts a review to a Service, without a certificate and without asking for one, and prints what came of it.
PROGRAM = """
import http.client, json, ssl, sys
trusting = ssl._create_unverified_context()
pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": pod,
          "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "namespace": "default"}}
try:
    connection = http.client.HTTPSConnection(sys.argv[1], 443, context=trusting, timeout=20)
    connection.request("POST", "/mutate", json.dumps(review), {"Content-Type": "application/json"})
    print("answered", connection.getresponse().status)
except OSError as error:
    print("refused", error)
"""


@pytest.fixture(scope="module")
def demanding(
    node: RunningCluster, helm_on: Callable[[Cluster], Client], pillion_image: tuple[str, ...]
) -> Iterator[Release]:
    """Install a release whose servers let in the API server only; without an answer a pod is refused."""
    if not isinstance(node, Node):
        pytest.skip("a cluster of one's own has an API server that shows no certificate")
    ca = node.run.folder / "credentials" / "ca.crt"
    prefix = "demanding.example.org/"
    options = (
        f"--set-file=server.clientCA={ca}",
        f"--set=server.clientNames={{{API_SERVER}}}",
        "--set=webhook.failurePolicy=Fail",
        f"--set=prefix={prefix}",
    )
    service, namespace = DEMANDING
    words = (*pillion_image, *options)
    with installed(helm_on(node), node.kubectl, *words, name=service, namespace=namespace, prefix=prefix) as release:
        yield release


def image_of(release: Release) -> str:
    """Return the image that the release runs."""
    deployment = release.kubectl("get", "deployment", release.deployment, "-n", release.namespace, "-o", "json")
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def asked_by_a_pod(release: Release, kubectl: Client, namespace: str) -> str:
    """Return what a pod in the cluster gets that posts a review to the release's Service."""
    service = release.kubectl("get", "service", release.deployment, "-n", release.namespace, "-o", "json")
    container = {
        "name": "stranger",
        "image": image_of(release),
        "command": ["python", "-c", PROGRAM, service["spec"]["clusterIP"]],
    }
    name = f"stranger-{release.name}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "restartPolicy": "Never"},
    }
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    words = ("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.phase}")
    assert wait_until(lambda: kubectl(*words) in {"Succeeded", "Failed"}, 60, poll=0.5)
    said: str = kubectl("logs", "-n", namespace, name)
    return said


def test_the_api_server_is_let_in(demanding: Release, kubectl: Client, namespace: str) -> None:
    """It shows the certificate that it was told to; the probes came without one, or nothing would be ready."""
    pod = annotated_pod(demanding.annotations(logs="/logs/app.log"))
    made = kubectl("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
    assert sidecars(made) == ["pillion-tail"]


def test_metrics_come_without_a_certificate(demanding: Release) -> None:
    """Health and metrics are on a port of their own."""
    pods = demanding.kubectl("get", "pods", "-n", demanding.namespace, "-o", "json")["items"]
    path = f"/api/v1/namespaces/{demanding.namespace}/pods/{pods[0]['metadata']['name']}:8080/proxy/metrics"
    assert "pillion_certificate_not_after_timestamp_seconds" in demanding.kubectl("get", "--raw", path)


def test_a_pod_in_the_cluster_is_refused(demanding: Release, pillion: Release, kubectl: Client, namespace: str) -> None:
    """It has no certificate; with servers that demand none the same pod is answered."""
    assert asked_by_a_pod(pillion, kubectl, namespace) == "answered 200\n"
    said = asked_by_a_pod(demanding, kubectl, namespace)
    assert said.startswith("refused")
    # an alert, or, where the request was on its way already, the end of the connection; not silence
    assert re.search("CERTIFICATE_REQUIRED|EOF|reset|closed|pipe", said), said
