"""Fixtures of the server tests: a CA, and real servers with a certificate of its."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certs.ca import CA
from certs.logs import LogFormat
from tests.service.process import Process
from tests.service.process import launch as launch_process
from tests.service.serving import ANY_PORT, Running, start, write_pair
from webhook.service.server import RECURSION_LIMIT
from webhook.service.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def recursion_limit() -> Iterator[None]:
    """Allow as much nesting as the process does: ``run`` sets it, which these tests leave out."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture(scope="session")
def ca() -> CA:
    """Return a CA whose leaves the tests' clients trust."""
    return CA.create(datetime.now(UTC))


@pytest.fixture
def serve(tmp_path: Path, ca: CA) -> Iterator[Callable[..., Running]]:
    """Start a server with these settings, on free ports, with a certificate of the CA."""
    with ExitStack() as stack:

        def start_one(**settings: Any) -> Running:
            certificate, key = write_pair(tmp_path, ca)
            settings = {
                "listen": ANY_PORT,
                "health_listen": ANY_PORT,
                "tls_cert": certificate,
                "tls_key": key,
                "log_format": LogFormat.JSON,
                "reload_interval": 0.05,
                "drain_idle": 0.2,
                **settings,
            }
            return start(Settings(**settings), ca, tmp_path / "log", stack)

        yield start_one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ca: CA) -> Iterator[Running]:
    """Yield a server with default settings that the tests of a module share."""
    folder = tmp_path_factory.mktemp("server")
    certificate, key = write_pair(folder, ca)
    settings = Settings(
        listen=ANY_PORT, health_listen=ANY_PORT, tls_cert=certificate, tls_key=key, log_format=LogFormat.JSON
    )
    with ExitStack() as stack:
        yield start(settings, ca, folder / "log", stack)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start ``pillion serve`` with these arguments; what still runs after the test is ended."""
    with ExitStack() as stack:
        yield partial(launch_process, tmp_path, stack)
