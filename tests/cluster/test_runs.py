"""What a run leaves is cleared away: by itself, or after it was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from . import cgroups, mounts, processes, programs, runs
from .control_plane import ApiServer
from .node import Node

pytestmark = pytest.mark.cluster

_START_AND_HANG = f"""
import subprocess
from {ApiServer.__module__} import ApiServer
server = ApiServer.start()
proxy = [server.kubectl.program, "proxy", "--port=0", f"--kubeconfig={{server.kubeconfig}}"]
print(server.run.name, subprocess.Popen(proxy, stdout=subprocess.DEVNULL).pid, flush=True)
input()
"""


@pytest.fixture
def _able() -> None:
    lacks = programs.missing(whole=False)
    if lacks:
        pytest.skip(f"this machine can't run an API server; it lacks: {'; '.join(lacks)}")


@pytest.mark.usefixtures("_able")
def test_what_a_killed_test_run_left_is_swept_away() -> None:
    """Its programs live on after SIGKILL, also a test's proxy; the next run ends them and removes the folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _START_AND_HANG],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout is not None
        name, proxy_id = child.stdout.readline().split()
        run = runs.Run(name)
        recorded, proxy = run.recorded_programs(), processes.identity(int(proxy_id))
        assert list(recorded) == ["etcd", "kube-apiserver"]
        assert proxy is not None
        left = [*recorded.values(), proxy]
        with runs.locked():  # a test run that begins beside this one sweeps, too
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert all(processes.alive(program) for program in left)
    runs.sweep()
    assert not any(processes.alive(program) for program in left)
    assert not run.folder.exists()


@pytest.mark.usefixtures("_able")
def test_a_run_that_was_let_stand_survives_a_sweep_until_its_programs_end() -> None:
    """A cluster by hand is nobody's, and stays."""
    server = ApiServer.start()
    server.run.let_stand()
    assert server.run not in runs.sweep()
    processes.end([*reversed(server.run.recorded_programs().values())])
    runs.sweep()
    assert not server.run.folder.exists()
    for child in server.run.children:
        child.process.wait(5)


@pytest.mark.usefixtures("_able")
def test_two_stand_side_by_side() -> None:
    """The end of one leaves the other alone."""
    first, second = ApiServer.start(), ApiServer.start()
    first.stop()
    assert second.kubectl("get", "--raw", "/readyz") == "ok"
    second.stop()
    assert not first.run.folder.exists()
    assert not second.run.folder.exists()


def test_a_node_leaves_nothing_behind() -> None:
    """Also with a pod that runs: no process, mount, cgroup, network or file of it stays."""
    lacks = programs.missing(whole=True)
    if lacks:
        pytest.skip(f"this machine can't run a node; it lacks: {'; '.join(lacks)}")
    node = Node.start()
    node.kubectl("run", "app", "--image=busybox:1.36", "--", "sleep", "600")
    node.kubectl("wait", "--for=condition=Ready", "pod/app")
    run = node.run
    members = cgroups.members(run.long_name)
    assert members
    node.stop()
    assert not any(str(run.folder) in line for _, line in processes.command_lines())
    assert not any(processes.identity(member) for member in members)
    assert mounts.below(run.folder) == []
    assert not cgroups.exists(run.long_name)
    assert not Path("/var/run/netns", run.long_name).exists()
    assert not Path("/sys/class/net", run.link).exists()
    assert not run.folder.exists()


@pytest.mark.parametrize("name", ["", "UPPER", "../up", "eleven-long", "elevenlongx"])
def test_a_name_that_fits_nowhere_is_refused(name: str) -> None:
    """The name is part of an interface's name and of paths."""
    with pytest.raises(runs.RunError, match="is no name for a run"):
        runs.claim(name)
