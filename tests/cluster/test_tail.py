"""The `tail` sidecar under a real kubelet: no line is lost between the app's file and the node's log."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .client import Client
from .conftest import RunningCluster
from .node import Node
from .node_logs import NodeLogs
from .processes import sidecar_process, wait_until

pytestmark = pytest.mark.cluster

BUSYBOX = "docker.io/library/busybox:1.36"
SIDECAR = "pillion-tail"
SECONDS = 120.0
LONG = pytest.mark.skipif("PILLION_LONG_TESTS" not in os.environ, reason="set PILLION_LONG_TESTS=1: takes minutes")
#: It numbers its lines, writes one more when it is told to end, and takes a moment for that, as apps do.
WRITER = """
trap 'i=$((i + 1)); echo "last $i" >>/var/log/app/app.log; exit 0' TERM
while :; do i=$((i + 1)); echo "line $i"; usleep 1000; done >>/var/log/app/app.log
"""


def pod_spec(script: str, **more: Any) -> dict[str, Any]:
    """Return a pod whose container runs a script as an ordinary user."""
    app = {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", script], "securityContext": {"runAsUser": 1000}}
    return {"containers": [app], **more}


def template(script: str, **more: Any) -> dict[str, Any]:
    """Return a pod template that asks for the sidecar."""
    metadata = {"annotations": {"pillion.dev/inject": "true"}, "labels": {"app": "app"}}
    return {"metadata": metadata, "spec": pod_spec(script, **more)}


def pod(script: str, **more: Any) -> dict[str, Any]:
    """Return a pod that asks for the sidecar."""
    made = template(script, **more)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", **made["metadata"]}, "spec": made["spec"]}


def injected(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest as `pillion inject` prints it."""
    program = "import sys; from webhook.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "inject", "-f", "-"]
    answer = subprocess.run(command, input=json.dumps(manifest), capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(answer.stdout)
    assert SIDECAR in answer.stdout, answer.stderr
    return result


@pytest.fixture
def logs(node: RunningCluster, namespace: str) -> NodeLogs:
    """Return the sidecars' logs in the test's namespace, as the node has them."""
    if not isinstance(node, Node):
        pytest.skip("a cluster of one's own does not show its log files")
    return NodeLogs(node.pod_logs, namespace, SIDECAR)


def sidecar_exit_code(kubectl: Client, namespace: str, name: str) -> int:
    """Return with what the pod's sidecar ended."""
    found = kubectl("get", "pod", name, "-n", namespace, "-o", "json")
    (status,) = found["status"]["initContainerStatuses"]
    return int(status["state"]["terminated"]["exitCode"])


def number(line: str) -> int:
    """Return a line's number."""
    return int(line.split()[1])


def assert_complete(lines: list[str]) -> None:
    """Check that it is line 1, 2, 3 ... and that the last one is the app's farewell."""
    assert [number(line) for line in lines] == list(range(1, len(lines) + 1))
    assert lines
    assert lines[-1].startswith("last ")


class TestJob:
    """A Job that writes and ends at once completes as quickly, and all it wrote is there."""

    @pytest.mark.parametrize("count", [20_000, pytest.param(2_000_000, marks=LONG)])
    def test_a_burst(self, kubectl: Client, namespace: str, logs: NodeLogs, count: int) -> None:
        """Every line, once and in order; the sidecar exits with 0."""
        script = f"seq {count} | sed 's/^/line /' >/var/log/app/app.log"
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "job"},
            "spec": {"template": template(script, restartPolicy="Never")},
        }
        with logs:
            begin = time.monotonic()
            kubectl("create", "-n", namespace, "-f", "-", stdin=injected(job))
            kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/job", "--timeout=170s")
            took = time.monotonic() - begin
        (name,) = logs.pods
        assert logs.lines(name) == [f"line {number}" for number in range(1, count + 1)]
        assert sidecar_exit_code(kubectl, namespace, name) == 0
        if count == 20_000:
            assert took < 20

    def test_what_it_wrote_last_has_no_newline(self, kubectl: Client, namespace: str, logs: NodeLogs) -> None:
        """It is printed."""
        with logs:
            made = injected(pod("printf 'one\\ntwo' >/var/log/app/app.log", restartPolicy="Never"))
            kubectl("create", "-n", namespace, "-f", "-", stdin=made)
            kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/app", "--timeout=60s")
        assert logs.lines("app") == ["one", "two"]


class TestEndOfAPod:
    """A pod that is deleted while it writes."""

    @pytest.mark.parametrize("grace", [1, 5, 30])
    def test_deletion(self, kubectl: Client, namespace: str, logs: NodeLogs, grace: int) -> None:
        """Its last words are there, and it takes no longer than it has to."""
        with logs:
            made = injected(pod(WRITER, terminationGracePeriodSeconds=grace))
            kubectl("create", "-n", namespace, "-f", "-", stdin=made)
            assert wait_until(lambda: len(logs.lines("app")) > 500, SECONDS)
            begin = time.monotonic()
            kubectl("delete", "pod", "app", "-n", namespace)
            assert time.monotonic() - begin < 10
        assert_complete(logs.lines("app"))

    def test_a_rollout(self, kubectl: Client, namespace: str, logs: NodeLogs) -> None:
        """Each pod of a Deployment has all it wrote, the old ones and the new ones."""
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": template(WRITER)},
        }
        with logs:
            kubectl("create", "-n", namespace, "-f", "-", stdin=injected(deployment))
            kubectl("rollout", "status", "-n", namespace, "deployment/app")
            assert wait_until(lambda: all(len(logs.lines(name)) > 500 for name in logs.pods), SECONDS)
            kubectl("rollout", "restart", "-n", namespace, "deployment/app")
            kubectl("rollout", "status", "-n", namespace, "deployment/app")
            assert wait_until(lambda: len(logs.pods) == 4, SECONDS)
            kubectl("scale", "-n", namespace, "deployment/app", "--replicas=0")
            kubectl("wait", "-n", namespace, "--for=delete", "pod", "-l", "app=app", "--timeout=60s")
        assert len(logs.pods) == 4
        for name in logs.pods:
            assert_complete(logs.lines(name))


def test_a_killed_sidecar_goes_on(kubectl: Client, namespace: str, logs: NodeLogs) -> None:
    """The kubelet starts it again: nothing is lost, and little is printed twice."""
    with logs:
        kubectl("create", "-n", namespace, "-f", "-", stdin=injected(pod(WRITER)))
        assert wait_until(lambda: len(logs.lines("app")) > 500, SECONDS)
        uid = kubectl("get", "pod", "app", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
        os.kill(sidecar_process(uid), signal.SIGKILL)
        before = len(logs.lines("app"))
        assert wait_until(lambda: len(logs.lines("app")) > before + 500, SECONDS)
        kubectl("delete", "pod", "app", "-n", namespace)
    lines = logs.lines("app")
    numbers = [int(found[1]) for line in lines if (found := re.fullmatch(r"(?:line|last) (\d+)", line))]
    torn = len(lines) - len(numbers)
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    assert lines[-1].startswith("last ")
    assert torn <= 1  # what the kill cut off
    assert len(numbers) - len(set(numbers)) < 2000  # of one interval: the app writes at most 1,000 a second


class TestCost:
    """What it costs, as figures for the documents: ``pytest -s`` shows them."""

    #: As the documents compare it: nothing, a sidecar that ends at once, and ours.
    @pytest.mark.parametrize("sidecar", ["none", "exits at once", "tail"])
    def test_a_jobs_end(self, kubectl: Client, namespace: str, node: RunningCluster, sidecar: str) -> None:
        """How long after the main container's end the Job is complete."""
        assert isinstance(node, Node)
        script = "seq 100 | sed 's/^/line /' >/var/log/app/app.log; sleep 2"
        made = template(script if sidecar == "tail" else "sleep 2", restartPolicy="Never")
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": made}}
        if sidecar == "tail":
            job = injected(job)
        elif sidecar == "exits at once":
            quick = {"name": "quick", "image": BUSYBOX, "restartPolicy": "Always"}
            quick["command"] = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]  # type: ignore[assignment]
            made["spec"]["initContainers"] = [quick]
        kubectl("create", "-n", namespace, "-f", "-", stdin=job)
        assert wait_until(lambda: main_ended(kubectl, namespace) is not None, SECONDS)
        kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/job", "--timeout=60s")
        seconds = time.time() - (main_ended(kubectl, namespace) or 0)
        sys.stdout.write(f"\nJob complete {seconds:.1f} s after its main container's end, with sidecar: {sidecar}\n")

    @LONG
    def test_fifty_sidecars_at_rest(self, kubectl: Client, namespace: str, node: RunningCluster) -> None:
        """What they cost the node together, while nothing is written."""
        assert isinstance(node, Node)
        count, seconds = 50, 60.0
        pods = []
        for number in range(count):
            made = pod("echo line >/var/log/app/app.log; sleep 1000", terminationGracePeriodSeconds=2)
            made["metadata"]["name"] = f"app-{number}"
            pods.append(made)
        kubectl(
            "create", "-n", namespace, "-f", "-", stdin=injected({"apiVersion": "v1", "kind": "List", "items": pods})
        )
        kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod", "--all", "--timeout=300s")
        running = kubectl("get", "pods", "-n", namespace, "-o", "json")["items"]
        found = [Path(f"/proc/{sidecar_process(each['metadata']['uid'])}") for each in running]
        assert len(found) == count
        memory = sum(proportional(process) for process in found) / count
        before = sum(cpu_seconds(process) for process in found)
        time.sleep(seconds)
        share = (sum(cpu_seconds(process) for process in found) - before) / seconds
        sys.stdout.write(f"\n{count} sidecars at rest: {share:.2%} of a core together, {memory:.2f} MiB (PSS) each\n")
        assert memory < 1

    def test_bytes_on_the_node(self, kubectl: Client, namespace: str, logs: NodeLogs, node: RunningCluster) -> None:
        """The copy has what CRI puts before each line."""
        assert isinstance(node, Node)
        length, count = 100, 10_000
        script = f"seq {10**9} {10**9 + count - 1} | sed 's/$/{'x' * (length - 11)}/' >/var/log/app/app.log"
        with logs:
            made = injected(pod(script, restartPolicy="Never"))
            kubectl("create", "-n", namespace, "-f", "-", stdin=made)
            kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/app", "--timeout=60s")
            (file,) = node.pod_logs.glob(f"{namespace}_app_*/{SIDECAR}/*.log")
            size = file.stat().st_size
        assert len(logs.lines("app")) == count
        sys.stdout.write(
            f"\n{size / (length * count):.2f} bytes on the node for each byte of lines of {length} bytes\n"
        )
        assert (length + CRI_PREFIX_BYTES - 3) * count < size <= (length + CRI_PREFIX_BYTES) * count

    def test_a_guaranteed_pod(self, kubectl: Client, namespace: str, logs: NodeLogs) -> None:
        """It is slower there, and loses nothing."""
        count = 50_000
        script = f"seq {count} | sed 's/^/line /' >/var/log/app/app.log"
        made = pod(script, restartPolicy="Never")
        amounts = {"cpu": "200m", "memory": "64Mi"}
        made["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
        with logs:
            kubectl("create", "-n", namespace, "-f", "-", stdin=injected(made))
            kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/app", "--timeout=150s")
        assert kubectl("get", "pod", "app", "-n", namespace, "-o", "jsonpath={.status.qosClass}") == "Guaranteed"
        assert logs.lines("app") == [f"line {number}" for number in range(1, count + 1)]

    def test_a_backlog_larger_than_the_grace_period(self, kubectl: Client, namespace: str, logs: NodeLogs) -> None:
        """What was printed until then is there, from the beginning and without a hole."""
        line = 1000
        script = f"yes {'x' * (line - 1)} | head -n 4000000 | cat -n >/var/log/app/app.log; sleep 1000"
        made = pod(script, terminationGracePeriodSeconds=2)
        with logs:
            kubectl("create", "-n", namespace, "-f", "-", stdin=injected(made))
            assert wait_until(lambda: len(logs.lines("app")) > 50_000, SECONDS)
            begin = time.monotonic()
            kubectl("delete", "pod", "app", "-n", namespace)
            took = time.monotonic() - begin
        numbers = [int(text.split()[0]) for text in logs.lines("app")]
        assert numbers[:-1] == list(range(1, len(numbers)))
        sys.stdout.write(f"\nended after {took:.1f} s with {len(numbers)} lines of {line} bytes printed\n")


#: The time, `stdout` and `F`, each with a blank: "2026-01-01T00:00:00.000000000Z stdout F ".
CRI_PREFIX_BYTES = 40


def cpu_seconds(process: Path) -> float:
    """Return the processor time that a process has used, from its folder in /proc."""
    return int((process / "schedstat").read_text().split()[0]) / 1e9


def proportional(process: Path) -> float:
    """Return a process's proportional memory (PSS) in MiB, from its folder in /proc."""
    (line,) = [text for text in (process / "smaps_rollup").read_text().splitlines() if text.startswith("Pss:")]
    return int(line.split()[1]) / 1024


def main_ended(kubectl: Client, namespace: str) -> float | None:
    """Return when the main container of the namespace's only pod ended, in seconds; None before."""
    found = kubectl("get", "pods", "-n", namespace, "-o", "json")["items"]
    for status in found[0]["status"].get("containerStatuses", []) if found else []:
        if "terminated" in status["state"]:
            text = status["state"]["terminated"]["finishedAt"]
            return datetime.fromisoformat(text).timestamp()
    return None
