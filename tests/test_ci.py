"""What .ci/run prints, with stand-ins for the programs that it calls."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = ["system packages", "make check", "make check-lowest", "make test", "make test-cluster"]


def run(folder: Path, make: str) -> subprocess.CompletedProcess[str]:
    """Run it with this ``make``, on a machine that has every package."""
    for name, text in (("make", make), ("dpkg-query", "echo install ok installed")):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / ".ci/run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("make", "code", "table"),
    [
        ("exit 0", 0, [*STEPS, "in all"]),
        ('[ "$1" = check ]', 1, [*STEPS[:2], "make check-lowest (failed)", "in all"]),
    ],
    ids=["green", "red"],
)
def test_the_seconds_of_each_step_are_printed(tmp_path: Path, make: str, code: int, table: list[str]) -> None:
    """After the step, and once more at the end; a red step is named, and its exit code stays."""
    answer = run(tmp_path, make)
    assert answer.returncode == code, answer.stderr
    assert re.findall(r"^ +\d+ s  (.+)$", answer.stdout, re.MULTILINE) == table
    assert re.findall(r"^== (.+): \d+ s$", answer.stdout, re.MULTILINE) == table[:-1]
