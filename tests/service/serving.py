"""A real server in a thread of its own, over TLS, and clients that verify it: what the fixtures are made of."""

import asyncio
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import uvloop
from prometheus_client import CollectorRegistry

from certs.ca import CA
from certs.logs import Log
from webhook.service.metrics import Metrics
from webhook.service.server import Server, build
from webhook.service.settings import Address, Settings

__all__ = ["ANY_PORT", "Running", "eventually", "make_review", "start", "write_pair"]

ANY_PORT = Address("127.0.0.1", 0)


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the condition's first true value; fail the test if none comes within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    return pytest.fail(f"{condition} stayed false for {seconds} s")


def write_pair(folder: Path, ca: CA, *names: str, now: datetime | None = None) -> tuple[Path, Path]:
    """Write a leaf for the names, replacing each file whole; return the paths of certificate and key."""
    leaf = ca.issue(names or ("localhost", "127.0.0.1"), now or datetime.now(UTC))
    paths = folder / "tls.crt", folder / "tls.key"
    for path, content in zip(paths, (leaf.certificate_pem, leaf.key_pem), strict=True):
        temporary = path.with_suffix(".new")
        temporary.write_bytes(content)
        temporary.replace(path)
    return paths


@dataclass
class Running:
    """A server that answers, and what a test asks it."""

    server: Server
    metrics: Metrics
    trust: ssl.SSLContext
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    log_file: Path

    @property
    def url(self) -> str:
        """Return the address of the webhook's port."""
        return f"https://127.0.0.1:{self.server.review_listener.port}"

    @property
    def health_url(self) -> str:
        """Return the address of the health port."""
        return f"http://127.0.0.1:{self.server.health_listener.port}"

    def client(self, **options: Any) -> httpx2.Client:
        """Return a client that trusts the server's CA and nothing else."""
        options = {"verify": self.trust, "base_url": self.url, "trust_env": False, "timeout": 30, **options}
        return httpx2.Client(**options)

    def post(self, body: bytes, path: str = "/mutate", **headers: str) -> httpx2.Response:
        """Post a body over a connection of its own."""
        with self.client() as client:
            return client.post(path, content=body, headers={"Content-Type": "application/json", **headers})

    def connect(self, *, plain: bool = False) -> socket.socket:
        """Return a raw connection, over verified TLS unless it is to the health port."""
        port = self.server.health_listener.port if plain else self.server.review_listener.port
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        return sock if plain else self.trust.wrap_socket(sock, server_hostname="localhost")

    def get(self, path: str) -> httpx2.Response:
        """Get a page of the health port."""
        return httpx2.get(f"{self.health_url}{path}", trust_env=False)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function, or a coroutine function, in the server's loop, and return its result."""

        async def inside() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(30)

    def sample(self, name: str, **labels: str) -> float:
        """Return a metric's value, 0 where it was never counted."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log, every one that was logged before this call."""
        mark = uuid4().hex
        self.server.log.info("mark", mark=mark)
        eventually(lambda: mark in self.log_file.read_text())
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines()]
        return [line for line in lines if line["event"] != "mark"]


def start(settings: Settings, ca: CA, log_file: Path, stack: ExitStack) -> Running:
    """Start a server in a thread; the stack ends both."""
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stack.callback(os.close, descriptor)
    metrics = Metrics(CollectorRegistry())
    on_drop = metrics.count_dropped_log_line
    log = stack.enter_context(Log(descriptor, settings.log_format, level=settings.log_level, on_drop=on_drop))
    server = build(settings, metrics, log)
    started, leave = threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        polling = server.start()
        started.set()
        await leave.wait()
        polling.cancel()
        await server.shutdown(time_limit=0)

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=in_thread, name="server")
    thread.start()

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(leave.set)
        thread.join(20)
        assert not thread.is_alive(), "the server did not leave"

    stack.callback(stop)
    assert started.wait(20), "the server did not start"
    trust = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    return Running(server, metrics, trust, loop, thread, log_file)


def make_review(pod: Any = ..., **request: Any) -> dict[str, Any]:
    """Return a review of the pod, an annotated one if none is given."""
    if pod is ...:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "shop",
                "annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": "/var/log/shop/*.log"},
            },
            "spec": {"containers": [{"name": "app", "image": "shop"}]},
        }
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0c7a3f2e",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "default",
            "object": pod,
            **request,
        },
    }
