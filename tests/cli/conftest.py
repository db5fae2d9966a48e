"""What the command's tests have in common: a folder of manifests, a way to call it, and a fake kubectl."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.fake_kubectl import FakeKubectl
from webhook.cli import main


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the working directory too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pillion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return what calls the command in this process; ``stdin`` is text for its standard input."""

    def call(*arguments: str, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "argv", ["pillion"])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def fake_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    """Return a fake kubectl, which is the one on PATH."""
    folder = tmp_path / "fake-kubectl"
    folder.mkdir()
    fake = FakeKubectl(folder)
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    return fake
