"""What the Makefile gives the programs that it runs."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("given", "passed_on"), [({}, "true"), ({"UV_SYSTEM_CERTS": "false"}, "false")])
def test_uv_trusts_what_the_system_trusts(given: dict[str, str], passed_on: str) -> None:
    """A proxy's own CA is known to the system alone; whoever says otherwise is heard."""
    environment = {name: value for name, value in os.environ.items() if name != "UV_SYSTEM_CERTS"} | given
    command = ["make", "--silent", "--eval", "show: ; @printenv UV_SYSTEM_CERTS", "show"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == passed_on


@pytest.mark.parametrize(("given", "measured"), [((), True), (("PYTEST=-k tail",), False)], ids=["all", "some"])
def test_coverage_is_asked_of_all_tests_together(given: tuple[str, ...], measured: bool) -> None:
    """A part of the tests can't reach what pyproject.toml asks for."""
    command = ["make", "--dry-run", "--silent", "test", *given]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ("pytest" in shown.stdout, "--cov" in shown.stdout) == (True, measured)
