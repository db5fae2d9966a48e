"""What a run of the tests says at its end."""

import subprocess
import sys
from pathlib import Path

from tests.pages import ROOT

SKIPPING = """
import pytest

@pytest.mark.parametrize("number", [1, 2, 3])
def test_one(number: int) -> None:
    if number < 3:
        pytest.skip("there is no busybox")

@pytest.mark.skipif(True, reason="set PILLION_PIPX=1")
def test_two() -> None:
    pass
"""


def test_what_is_left_out_is_said_with_its_reason(tmp_path: Path) -> None:
    """Once for all tests that lack the same, whether one process runs them or several."""
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    for workers in ("0", "2"):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-n", workers, str(tmp_path)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        assert "left out: 2 tests: there is no busybox\nleft out: 1 test: set PILLION_PIPX=1\n" in said, said
