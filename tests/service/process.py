"""``pillion serve`` as a process of its own, and what a test asks it."""

import http.client
import json
import os
import ssl
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.service.serving import eventually

__all__ = ["Process", "launch"]

PROGRAM = "import sys; from webhook.cli import main; sys.exit(main())"


@dataclass
class Process:
    """A running ``pillion serve``."""

    popen: subprocess.Popen[bytes]
    folder: Path
    port: int = 0
    health_port: int = 0

    @property
    def output(self) -> list[dict[str, Any]]:
        """Return the log's lines so far."""
        return [json.loads(line) for line in (self.folder / "out").read_text().splitlines()]

    @property
    def errors(self) -> str:
        """Return what stood on standard error so far."""
        return (self.folder / "err").read_text()

    def trust(self) -> ssl.SSLContext:
        """Return a context that trusts the process's own CA."""
        return ssl.create_default_context(cafile=self.folder / "state/pillion/ca.pem")

    def connect(self) -> http.client.HTTPSConnection:
        """Return a connection that is opened by its first request."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust(), timeout=20)

    def ready(self) -> int:
        """Return the status of the readiness page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=20)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        finally:
            connection.close()

    def metrics(self) -> str:
        """Return the metrics page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=20)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


def launch(folder: Path, stack: ExitStack, *arguments: str, wait: bool = True, **variables: str) -> Process:
    """Start ``pillion serve`` with these arguments in the folder; the stack ends it if it still runs."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PILLION_")}
    environment |= {"XDG_STATE_HOME": str(folder / "state"), **variables}
    out = stack.enter_context((folder / "out").open("wb"))
    err = stack.enter_context((folder / "err").open("wb"))
    ports = ("--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0", "--log-format=json")
    command = [sys.executable, "-c", PROGRAM, "serve", *ports, *arguments]
    popen = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=folder)
    stack.callback(popen.wait)
    stack.callback(popen.kill)
    process = Process(popen, folder)
    if wait:
        (line,) = eventually(
            lambda: (
                [line for line in process.output if line["event"] == "serving"]
                or (popen.poll() is not None and pytest.fail(process.errors))
            ),
            60,
        )
        process.port = int(line["reviews"].split(":")[2].split("/")[0])
        process.health_port = int(line["health"].split(":")[2].split("/")[0])
    return process
