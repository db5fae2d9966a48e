"""The webhooks that are compared: how each is started, pinned to a core, asked and ended."""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jsonpatch

from certs.ca import CA
from tests.bench import bodies, programs
from webhook.configuration import load
from webhook.injection.admission import admit
from webhook.injection.review import parse_review

__all__ = ["Credentials", "Running", "Server", "credentials", "image_environment", "injected", "running", "servers"]

READY_SECONDS = 30.0


class Credentials(NamedTuple):
    """A certificate for this machine, its key and its CA, as files."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class Server:
    """A webhook."""

    name: str
    command: Callable[[str, Credentials, Path], list[str]]
    """Where to listen, with what, and a folder for files, to the command."""
    asking: Mapping[str, str] = field(default_factory=lambda: bodies.ASKING)
    """The annotations of a pod that asks."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A webhook that answers."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    started_in: float
    """Seconds from the start of the process to its first answer."""
    ca: Path

    @property
    def resident(self) -> float:
        """Its memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def ask(self, body: bytes) -> dict[str, Any]:
        """Return the answer to a review."""
        return _ask(self.port, self.ca, body)


def credentials(folder: Path) -> Credentials:
    """Return new ones in the folder."""
    ca = CA.create(datetime.now(UTC))
    leaf = ca.issue(("localhost", "127.0.0.1"), datetime.now(UTC))
    made = Credentials(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    made.certificate.write_bytes(leaf.certificate_pem)
    made.key.write_bytes(leaf.key_pem)
    made.ca.write_bytes(ca.certificate_pem)
    return made


def _pillion(python: Path, listen: str, pair: Credentials, _folder: Path) -> list[str]:
    options = ["--listen", listen, "--health-listen", "127.0.0.1:0", "--log-format", "json"]
    options += ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    return [str(python.parent / "pillion"), "serve", *options]


def image_environment() -> dict[str, str]:
    """Return how the image's environment tunes the C library."""
    text = (Path(__file__).parent.parent.parent / "Dockerfile").read_text()
    (value,) = re.findall(r"^ENV GLIBC_TUNABLES=(\S+)$", text, re.MULTILINE)
    return {"GLIBC_TUNABLES": value}


def _lean(listen: str, pair: Credentials, folder: Path) -> list[str]:
    constants = folder / "constants.json"
    constants.write_text(json.dumps(_constants()))
    program = programs.build(programs.LEAN)
    return [str(program), *_options(listen, pair), "-constants", str(constants)]


def _published(listen: str, pair: Credentials, _folder: Path) -> list[str]:
    user = json.loads(bodies.typical())["request"]["userInfo"]["uid"]
    return [str(programs.build(programs.PUBLISHED)), *_options(listen, pair), "-user", user]


def _options(listen: str, pair: Credentials) -> list[str]:
    return ["-listen", listen, "-cert", str(pair.certificate), "-key", str(pair.key)]


def servers(python: Path = Path(sys.executable)) -> tuple[Server, ...]:
    """Return all of them; Pillion as it is installed beside that interpreter."""
    return (
        Server("pillion", partial(_pillion, python), environment=image_environment()),
        Server("lean", _lean),
        Server(
            "published",
            _published,
            {"dapr.io/enabled": "true", "dapr.io/app-id": "service", "dapr.io/app-port": "8080"},
            {
                "SIDECAR_IMAGE": "docker.io/daprio/daprd:1.14.0",
                "NAMESPACE": "dapr-system",
                "KUBE_CLUSTER_DOMAIN": "cluster.local",
            },
        ),
    )


def _constants() -> dict[str, Any]:
    """Return what the lean rival adds to every pod alike, from an answer of ours."""
    request = parse_review(bodies.typical())
    operations = json.loads(admit(request, load(None)).patch)
    (sidecar,) = (one["value"][0] for one in operations if one["path"] == "/spec/initContainers")
    mounts = [mount for mount in sidecar["volumeMounts"] if not mount["name"].startswith("pillion-logs-")]
    variables = [one["value"] for one in operations if one["path"] == "/spec/containers/0/env/0"]
    (status,) = (one["value"] for one in operations if one["path"].endswith("~1status"))
    return {
        "sidecar": {**sidecar, "args": [], "volumeMounts": mounts},
        "revision": json.loads(status)["revision"],
        "appEnv": variables[::-1],
    }


def injected(body: bytes, answer: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the pod as the API server has it after the answer, and whether it was patched."""
    response = answer["response"]
    if not response["allowed"]:
        raise ValueError(f"not allowed: {response}")
    document: dict[str, Any] = json.loads(body)["request"]["object"]
    if not response.get("patch"):
        return document, False
    return jsonpatch.apply_patch(document, json.loads(b64decode(response["patch"]))), True


@contextlib.contextmanager
def running(server: Server, pair: Credentials, folder: Path, core: int, readers_core: int) -> Iterator[Running]:
    """Start a webhook on a core, wait until it answers, and end it afterwards.

    What it logs goes where a container's does: into a pipe, which somebody reads.
    """
    port = _free_port()
    command = server.command(f"127.0.0.1:{port}", pair, folder)
    environment = {**os.environ, **server.environment}
    body = bodies.unannotated()
    reader = subprocess.Popen(
        ["taskset", "-c", str(readers_core), "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    begin = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdout=reader.stdin, stderr=subprocess.STDOUT, env=environment
    )
    try:
        _wait(process, port, begin)
        _ask(port, pair.ca, body)
        yield Running(server, process, port, time.perf_counter() - begin, pair.ca)
    finally:
        process.kill()  # SIGTERM would drain, and SIGINT means nothing to what a shell has put in the background
        process.wait(READY_SECONDS)
        reader.communicate()


def _wait(process: subprocess.Popen[bytes], port: int, begin: float) -> None:
    """Return when somebody listens."""
    while time.perf_counter() - begin < READY_SECONDS:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.001)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not serve; exit code {process.poll()}")


def _ask(port: int, ca: Path, body: bytes) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=READY_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/mutate?timeout=10s", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {text[:200]!r}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
