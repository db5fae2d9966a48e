"""A second mutating webhook that adds a container and a volume, as a mesh does, asked before ours and after."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .client import Client
from .conftest import RunningCluster
from .credentials import CA
from .node import Node
from .processes import wait_until
from .release import Release, annotated_pod, prints, sidecars

pytestmark = pytest.mark.cluster

NAME = "istio-proxy"
PROXY = {
    "name": NAME,
    "image": "docker.io/library/busybox:1.36",
    "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"],
    "volumeMounts": [{"name": "mesh", "mountPath": "/etc/mesh"}],
}
LABEL = "mesh.example.org/enabled"


class Mesh(BaseHTTPRequestHandler):
    """Adds a proxy, native or ordinary as the URL's path says, and its volume to each pod that has none."""

    def do_POST(self) -> None:
        """Answer one AdmissionReview."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = additions(review["request"]["object"]["spec"], native=self.path.startswith("/native"))
        response = {"uid": review["request"]["uid"], "allowed": True}
        if patch:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def additions(spec: dict[str, Any], *, native: bool) -> list[dict[str, Any]]:
    """Return the patch that adds the proxy and its volume, or nothing where they are."""
    if NAME in json.dumps(spec):
        return []
    part, proxy = ("initContainers", {**PROXY, "restartPolicy": "Always"}) if native else ("containers", PROXY)
    return [
        {"op": "add", "path": f"/spec/{key}/-", "value": item}
        if key in spec
        else {"op": "add", "path": f"/spec/{key}", "value": [item]}
        for key, item in ((part, proxy), ("volumes", {"name": "mesh", "emptyDir": {}}))
    ]


@contextmanager
def mesh(cluster: Node, name: str, kind: str, folder: Path) -> Iterator[None]:
    """Serve the mesh's webhook, which the API server asks in the order of configurations' names."""
    host = cluster.webhook_host
    ca = CA(folder)
    pair = ca.serving("mesh", [host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer((host, 0), Mesh) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        bundle = base64.b64encode(ca.pair.certificate.read_bytes()).decode()
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
        webhook = {
            "name": "mesh.example.org",
            "clientConfig": {"url": f"https://{host}:{server.server_port}/{kind}", "caBundle": bundle},
            "rules": [rule],
            "objectSelector": {"matchLabels": {LABEL: "true"}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "admissionReviewVersions": ["v1"],
        }
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [webhook],
        }
        cluster.kubectl("create", "-f", "-", stdin=configuration)
        try:
            yield
        finally:
            cluster.kubectl("delete", "mutatingwebhookconfiguration", name)
            server.shutdown()
            thread.join()


@pytest.fixture(params=["a-mesh", "z-mesh"], ids=["before", "after"])
def name(request: pytest.FixtureRequest) -> str:
    """Return a configuration's name that lies before or after ours."""
    text: str = request.param
    return text


@pytest.fixture(params=["native", "ordinary"])
def neighbour(request: pytest.FixtureRequest, node: RunningCluster, name: str, tmp_path: Path) -> Iterator[str]:
    """Run the mesh's webhook; return which kind of container it adds."""
    if not isinstance(node, Node):
        pytest.skip("a cluster of one's own may not reach this machine")
    with mesh(node, name, request.param, tmp_path):
        yield request.param


@pytest.mark.usefixtures("neighbour")
def test_both_do_their_work(kubectl: Client, namespace: str, pillion: Release) -> None:
    """The pod has the proxy and our sidecar, nothing of ours is in the proxy, and it runs and prints."""
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    pod["metadata"]["labels"] = {LABEL: "true"}

    def proxied() -> bool:
        made = kubectl("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
        return proxy_of(made) is not None

    assert wait_until(proxied, 30, poll=0.2)
    made = kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
    assert sidecars(made) == ["pillion-tail"]
    proxy = proxy_of(made)
    assert proxy is not None
    assert {mount["mountPath"] for mount in proxy["volumeMounts"]} <= {
        "/etc/mesh",
        "/var/run/secrets/kubernetes.io/serviceaccount",
    }
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    assert prints(kubectl, namespace, "app", ["a line"])


def proxy_of(pod: Any) -> Any:
    """Return the container that the mesh added."""
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return next((container for container in containers if container["name"] == NAME), None)
