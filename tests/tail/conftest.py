"""Fixtures: sidecars that run, a folder for log files, and its names."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.cluster.programs import BuildError
from tests.promtool import REQUIRED

from .program import program as build
from .sidecar import Sidecar


class Start(Protocol):
    """Starts a sidecar; a second one has the checkpoint of the first."""

    def __call__(self, *patterns: str, descriptors: int = 1024, stalled: bool = False, **settings: str) -> Sidecar:
        """Run it on these patterns, relative to the log folder, with these settings; stalled: nobody reads yet."""


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the built program, or skip the tests where it can't be built."""
    return _built()


@pytest.fixture(scope="session")
def shipping_program() -> Path:
    """Return the program that can send to a store, or skip the tests where it can't be built."""
    return _built(shipping=True)


def _built(*, shipping: bool = False) -> Path:
    try:
        return build(shipping=shipping)
    except BuildError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(str(error))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Return the folder of the app's log files."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, logs: Path, program: Path) -> Iterator[Start]:
    """Start sidecars, and end them after the test."""
    started: list[Sidecar] = []

    def start_one(*patterns: str, descriptors: int = 1024, stalled: bool = False, **settings: str) -> Sidecar:
        words = [f"{logs}/{pattern}" for pattern in patterns or ("*.log",)]
        environment = {f"PILLION_{name.upper()}": text for name, text in settings.items()}
        sidecar = Sidecar(tmp_path, program, words, environment, descriptors=descriptors, stalled=stalled)
        started.append(sidecar)
        return sidecar

    yield start_one
    for sidecar in started:
        sidecar.kill()
