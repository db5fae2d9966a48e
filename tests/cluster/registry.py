"""An image registry with one image, inside a node's network: as slow as a test wants it.

containerd speaks plain HTTP to loopback, so the registry is a process in the node's own network namespace:
``python -m tests.cluster.registry ARCHIVE PORT SECONDS``. The image's tags are all but ``absent``.
"""

import hashlib
import json
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import images
from .image import REPOSITORY
from .node import Node
from .processes import end, identity, wait_until

__all__ = ["ABSENT", "registry"]

ABSENT = "absent"
PORT = 5000
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_START_SECONDS = 20.0


@contextmanager
def registry(node: Node, image: images.Image, folder: Path, *, seconds: float) -> Iterator[str]:
    """Serve the image to a node, each of its blobs after some seconds; yield the name of its repository there."""
    archive = images.write_archive(image, folder / "served.tar")
    words = [sys.executable, "-m", "tests.cluster.registry", str(archive), str(PORT), str(seconds)]
    daemon = node.run.start("registry", [*node.network.enter, "env", "-C", str(REPOSITORY), *words])
    process = identity(daemon.process.pid)
    assert process is not None
    try:
        assert wait_until(lambda: "serving" in daemon.log.read_text(), _START_SECONDS), daemon.last_lines()
        yield f"127.0.0.1:{PORT}/pillion"
    finally:
        end([process])
        daemon.process.wait()


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}


def _serve(archive: Path, port: int, seconds: float) -> None:
    with tarfile.open(archive) as tar:
        content = {name: (tar.extractfile(name) or sys.exit(name)).read() for name in tar.getnames()}
    (listed,) = json.loads(content["manifest.json"])
    config, layer = content[listed["Config"]], content[listed["Layers"][0]]
    parts = [_described(_CONFIG, config), _described(_LAYER, layer)]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": parts[0], "layers": [parts[1]]}
    ).encode()
    blobs = {str(part["digest"]): blob for part, blob in zip(parts, (config, layer), strict=True)}
    digest = str(_described(_MANIFEST, manifest)["digest"])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if name in blobs:
                time.sleep(seconds)
                self._answer("application/octet-stream", blobs[name])
            elif "/manifests/" in self.path and name != ABSENT:
                self._answer(_MANIFEST, manifest)
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 — the base class's names

        def _answer(self, media_type: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
