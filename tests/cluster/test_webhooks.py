"""The API server reaches a webhook that runs in the test process."""

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

from .control_plane import ApiServer
from .credentials import CA
from .node import Node
from .processes import wait_until

pytestmark = pytest.mark.cluster

SECONDS = 30.0  # until the API server has seen a new webhook configuration: under one
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "app"},
    "spec": {"containers": [{"name": "app", "image": "app"}]},
}


class Labeller(BaseHTTPRequestHandler):
    """Answers each review with a patch that adds a label, and with a warning."""

    def do_POST(self) -> None:
        """Answer one AdmissionReview."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = [{"op": "add", "path": "/metadata/labels", "value": {"reviewed": "yes"}}]
        response = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            "warnings": ["the labeller was here"],
            "auditAnnotations": {"reason": "asked"},
        }
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def labeller(host: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Serve a labeller at the host's address and yield the clientConfig that leads to it."""
    ca = CA(folder)
    pair = ca.serving("labeller", [host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer((host, 0), Labeller) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        bundle = base64.b64encode(ca.pair.certificate.read_bytes()).decode()
        yield {"url": f"https://{host}:{server.server_port}/mutate", "caBundle": bundle}
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["apiserver", "node"])
def test_a_webhook_in_this_process_is_asked(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It patches, it warns the person who creates the pod, and the audit log has what it noted."""
    cluster = request.getfixturevalue(kind)
    if not isinstance(cluster, ApiServer | Node):
        pytest.skip("a cluster of one's own may not reach this machine")
    with labeller(cluster.webhook_host, tmp_path) as client_config:
        cluster.kubectl("create", "-f", "-", stdin=_configuration(client_config))
        create = ("create", "-n", "default", "--dry-run=server", "-o", "json", "-f", "-")

        def labelled() -> bool:
            labels = cluster.kubectl(*create, stdin=POD)["metadata"].get("labels", {})
            return bool(labels == {"reviewed": "yes"})

        assert wait_until(labelled, SECONDS, poll=0.2)
        assert "the labeller was here" in cluster.kubectl.attempt(*create, stdin=POD).stderr
        cluster.kubectl("delete", "mutatingwebhookconfiguration", "labeller")
    assert "labeller.example.org/reason" in cluster.audit_log.read_text()


def _configuration(client_config: dict[str, Any]) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    webhook = {
        "name": "labeller.example.org",
        "clientConfig": client_config,
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "labeller"},
        "webhooks": [webhook],
    }
