"""The lean rival of ``make bench`` does the same work as we do: the pods that come out are the same."""

import os
from pathlib import Path

import pytest

from tests.bench import programs
from tests.bench.bodies import BODIES
from tests.bench.servers import credentials, injected, running, servers

LACKS = programs.missing()


@pytest.mark.skipif(bool(LACKS), reason=LACKS or "nothing is missing")
def test_the_lean_rival_makes_the_same_pods(tmp_path: Path) -> None:
    """For each body both answers give the same pod, and those who ask are injected."""
    pair = credentials(tmp_path)
    core = min(os.sched_getaffinity(0))
    results = {}
    for server in servers():
        if server.name == "published":
            continue
        with running(server, pair, tmp_path, core, core) as started:
            for name, make in BODIES.items():
                results[server.name, name] = injected(make(), started.ask(make()))
    for name in BODIES:
        assert results["lean", name] == results["pillion", name]
        assert results["pillion", name][1] == (name != "un-annotated")
