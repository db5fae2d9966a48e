"""The load generator's runs, as Python sees them."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.bench import programs
from tests.bench.servers import Running

__all__ = ["Load", "Running", "hold", "run"]

CONNECTIONS = 8


class Load(NamedTuple):
    """What the generator saw; times are in seconds."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50: float
    p99: float
    late_p99: float
    cipher_suite: str
    answer_bytes: int


def run(
    running: Running, body: Path, core: int, *, rate: float = 0, seconds: float, connections: int = CONNECTIONS
) -> Load:
    """Send the body as often as can be, or ``rate`` times a second at random times."""
    command = [*_command(running, body, core, connections), "-pid", str(running.process.pid)]
    command += ["-rate", str(rate), "-duration", f"{seconds}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the load on {running.server.name} ended: {done.stderr.strip()}")
    return Load(**json.loads(done.stdout))


@contextlib.contextmanager
def hold(running: Running, body: Path, core: int, connections: int) -> Iterator[None]:
    """Keep connections open, each used once."""
    command = [*_command(running, body, core, connections), "-hold"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline() != b"open\n":
            raise RuntimeError(f"{running.server.name} does not take {connections} connections")
        yield
        process.communicate()


def _command(running: Running, body: Path, core: int, connections: int) -> list[str]:
    address = f"127.0.0.1:{running.port}"
    return [
        *("taskset", "-c", str(core), str(programs.build(programs.GENERATOR)), "-address", address),
        *("-ca", str(running.ca), "-body", str(body), "-connections", str(connections)),
    ]
