"""As much of an API server as ``pillion certs`` asks: objects by path, over TLS, and merge patches."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from certs.ca import CA

__all__ = ["Kubernetes", "serving"]


@dataclass
class Kubernetes:
    """What it holds."""

    kubeconfig: Path
    objects: dict[str, Any] = field(default_factory=dict)
    """By path."""
    forbidden: set[str] = field(default_factory=set)
    """Paths that nobody may touch."""
    token: str = "somebody's"

    def answer(self, method: str, path: str, token: str, patch: Any) -> tuple[int, Any]:
        """Return status and document."""
        path = path.partition("?")[0]
        if token != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        if path in self.forbidden:
            return 403, {"message": f'User "somebody" cannot {method.lower()} this'}
        if path not in self.objects:
            return 404, {"message": f'"{path.rpartition("/")[2]}" not found'}
        if method == "PATCH":
            annotations = self.objects[path]["metadata"].setdefault("annotations", {})
            annotations.update(patch["metadata"]["annotations"])
        return 200, self.objects[path]


@contextmanager
def serving(folder: Path) -> Iterator[Kubernetes]:
    """Serve one, whose kubeconfig lies in the folder."""
    now = datetime.now(UTC)
    ca = CA.create(now)
    leaf = ca.issue(("localhost",), now)
    (folder / "api.pem").write_bytes(leaf.certificate_pem + leaf.key_pem)
    (folder / "api-ca.pem").write_bytes(ca.certificate_pem)
    kubernetes = Kubernetes(folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            patch = json.loads(content) if content else None
            status, document = kubernetes.answer(self.command, self.path, self.headers.get("Authorization", ""), patch)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PATCH = _answer  # noqa: N815 — http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "api.pem")
    with ThreadingHTTPServer(("localhost", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        config = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": f"https://localhost:{server.server_port}",
                        "certificate-authority": "api-ca.pem",
                    },
                }
            ],
            "users": [{"name": "test", "user": {"token": kubernetes.token}}],
        }
        kubernetes.kubeconfig.write_text(json.dumps(config))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield kubernetes
        finally:
            server.shutdown()
            thread.join()
