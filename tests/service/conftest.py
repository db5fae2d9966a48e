"""Fixtures of the server tests: an authority, and real servers with a certificate of its."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from tests.service.process import Process
from tests.service.process import launch as launch_process
from tests.service.serving import ANY_PORT, Running, start, write_pair
from webhook.service.server import RECURSION_LIMIT
from webhook.service.settings import LogFormat, Settings


@pytest.fixture(scope="session", autouse=True)
def recursion_limit() -> Iterator[None]:
    """Allow as much nesting as the process does: ``run`` sets it, which these tests leave out."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Return an authority whose leaves the tests' clients trust."""
    return Authority.create(datetime.now(UTC))


@pytest.fixture
def serve(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Running]]:
    """Start a server with these settings, on free ports, with a certificate of the authority."""
    with ExitStack() as stack:

        def start_one(**settings: Any) -> Running:
            certificate, key = write_pair(tmp_path, authority)
            settings = {
                "listen": ANY_PORT,
                "plain_listen": ANY_PORT,
                "tls_cert": certificate,
                "tls_key": key,
                "log_format": LogFormat.JSON,
                "reload_interval": 0.05,
                "drain_quiet": 0.2,
                **settings,
            }
            return start(Settings(**settings), authority, tmp_path / "log", stack)

        yield start_one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Running]:
    """Yield a server with default settings that the tests of a module share."""
    folder = tmp_path_factory.mktemp("server")
    certificate, key = write_pair(folder, authority)
    settings = Settings(
        listen=ANY_PORT, plain_listen=ANY_PORT, tls_cert=certificate, tls_key=key, log_format=LogFormat.JSON
    )
    with ExitStack() as stack:
        yield start(settings, authority, folder / "log", stack)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start ``pillion serve`` with these arguments; what still runs after the test is ended."""
    with ExitStack() as stack:
        yield partial(launch_process, tmp_path, stack)
