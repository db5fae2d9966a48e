"""Every command that reads a cluster, with a kubectl that answers anything: one sentence, and never a traceback."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Call

COMMANDS = (
    "status",
    "status -A -o json",
    "explain pod/a -n shop",
    "upgrade -A",
    "upgrade deployment/web -n shop --dry-run",
    "certs show",
    "certs verify",
    "certs rotate leaf",
)
_ODD = {
    "metadata": {"name": 5, "annotations": {"pillion.dev/certificate": 5}},
    "webhooks": [5, {"name": 1, "clientConfig": None}, {"clientConfig": {"service": {"name": 1}, "caBundle": 5}}],
}
#: What is printed on standard output and standard error, and the exit code.
ANSWERS = {
    "nothing": ("", "", 0),
    "no JSON": ("a\x1b[2J{", "", 0),
    "null": ("null", "", 0),
    "a list": ("[]", "", 0),
    "a number": ("5", "", 0),
    "no list": ("{}", "", 0),
    "items that are none": (json.dumps({"metadata": {}, "items": [None, "x", 5]}), "", 0),
    "items without metadata": (json.dumps({"metadata": {}, "items": [{}]}), "", 0),
    "odd webhooks": (json.dumps({"metadata": {}, "items": [_ODD]}), "", 0),
    "deep": ("[" * 100_000, "", 0),
    "an exit code": ("", "", 3),
    "hostile words": ("", "Error from server: a\x1b[2J\nb\u202e\n", 1),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_is_one_sentence(
    command: str, answer: str, pillion: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a result without one, where it may be taken for an answer."""
    out, err, code = ANSWERS[answer]
    for name, text in (("out", out), ("err", err)):
        (folder / name).write_text(text)
    (folder / "kubectl").write_text(f"#!/bin/sh\ncat {folder}/out\ncat {folder}/err >&2\nexit {code}\n")
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    found = pillion(*command.split(" "))
    assert found.code in (0, 1, 2)
    said = [line for line in found.err.splitlines() if not line.startswith("note: ")]
    assert len(said) <= 1
    assert all(line.isprintable() for line in [*said, *found.out.splitlines()])
    assert said or found.out
