"""``make bench-scale``: pods of a whole cluster through a real API server, onto nodes that run nothing (KWOK)."""

import argparse
import base64
import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import bodies, programs
from tests.bench.servers import Credentials, credentials, running, servers
from tests.cluster.api import Api, direct
from tests.cluster.control_plane import ApiServer
from tests.cluster.processes import wait_until
from tests.cluster.programs import Source, missing
from tests.cluster.release import sidecars

NODES, PODS, CLIENTS = 500, 3000, 16
READY_SECONDS = 120.0
WAVES: dict[str, dict[str, str]] = {
    "no webhook": {},
    "a webhook that is not asked": {},
    "injected": bodies.ASKING,
}
_RUNNING = "fieldSelector=status.phase%3DRunning"
KWOK = Source(
    module="sigs.k8s.io/kwok",
    folder=Path(__file__).parent / "kwok",
    packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    stamps=(),
)
#: What makes KWOK's nodes and pods ready, from its module.
STAGES = ("node/fast/node-initialize.yaml", "pod/fast/pod-ready.yaml", "pod/fast/pod-delete.yaml")


class Wave(NamedTuple):
    """What it took to create pods."""

    seconds: float
    running_after: float
    cpu: dict[str, float]
    stored: int
    """Bytes that etcd's file grew by."""


def main(words: Sequence[str] | None = None) -> int:
    """Print what a pod costs each program, with and without us; return 1 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES, help="%(default)s")
    parser.add_argument("--pods", type=int, default=PODS, help="in each of three waves; %(default)s")
    arguments = parser.parse_args(words)
    lacks = missing(whole=False) or [lack for lack in (programs.missing(),) if lack]
    if lacks:
        print(f"make bench-scale: this machine lacks {'; '.join(lacks)}", file=sys.stderr)
        return 1
    cluster = ApiServer.start()
    try:
        with tempfile.TemporaryDirectory() as scratch, direct(cluster.kubeconfig) as api:
            _run(cluster, api, Path(scratch), arguments.nodes, arguments.pods)
    finally:
        cluster.stop()
    return 0


def _run(cluster: ApiServer, api: Api, folder: Path, nodes: int, pods: int) -> None:
    _start_kwok(cluster)
    _create(api, "/api/v1/nodes", (_node(number) for number in range(nodes)))
    cores = sorted(os.sched_getaffinity(0))
    with running(servers()[0], credentials(folder), folder, cores[0], cores[-1]) as started:
        pair = Credentials(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
        pids = {name: who.pid for name, who in cluster.run.recorded_programs().items()}
        pids["pillion"] = started.process.pid
        print(f"{nodes} nodes, {pods} pods in each wave")
        print(f"| {pods} pods | pods a second | all running after | CPU ms a pod: {', '.join(pids)} | etcd KB a pod |")
        print("|---|--:|--:|---|--:|")
        for name, annotations in WAVES.items():
            if name == "a webhook that is not asked":
                cluster.kubectl("create", "-f", "-", stdin=_webhook(started.port, pair))
                # which API servers read now and then: the first pod that is injected tells
                wait_until(lambda: _is_injected(api, _pod("default", 0, bodies.ASKING)), READY_SECONDS)
            namespace = f"wave-{list(WAVES).index(name)}"
            cluster.kubectl("create", "namespace", namespace)
            cluster.prepare_namespace(namespace)
            wave = _wave(api, cluster, namespace, pids, [_pod(namespace, n % nodes, annotations) for n in range(pods)])
            cpu = ", ".join(f"{1000 * seconds / pods:.2f}" for seconds in wave.cpu.values())
            rate = f"{pods / wave.seconds:.0f} | {wave.running_after:.0f} s"
            print(f"| {name} | {rate} | {cpu} | {wave.stored / pods / 1000:.1f} |", flush=True)
        print(f"Pillion's memory afterwards: {started.resident:.0f} MiB")


def _wave(api: Api, cluster: ApiServer, namespace: str, pids: dict[str, int], pods: list[dict[str, Any]]) -> Wave:
    path = f"/api/v1/namespaces/{namespace}/pods"
    before = {name: _cpu(pid) for name, pid in pids.items()}
    stored, begin = _stored(cluster), time.monotonic()
    _create(api, path, iter(pods))
    seconds = time.monotonic() - begin
    if not wait_until(lambda: _count(api, f"{path}?{_RUNNING}") == len(pods), READY_SECONDS, poll=1):
        raise RuntimeError(f"of {len(pods)} pods {_count(api, f'{path}?{_RUNNING}')} run after {READY_SECONDS:.0f} s")
    running_after = time.monotonic() - begin
    return Wave(
        seconds,
        running_after,
        {name: _cpu(pid) - before[name] for name, pid in pids.items()},
        _stored(cluster) - stored,
    )


def _start_kwok(cluster: ApiServer) -> None:
    program = programs.build(KWOK)
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", KWOK.module]
    module = subprocess.run(listed, cwd=KWOK.folder, capture_output=True, text=True, check=True).stdout.strip()
    stages = [word for stage in STAGES for word in ("-c", f"{module}/kustomize/stage/{stage}")]
    options = [f"--kubeconfig={cluster.kubeconfig}", "--manage-all-nodes=true", "--node-ip=127.0.0.1"]
    cluster.run.start("kwok", [program, *options, *stages])


def _node(number: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}}


def _pod(namespace: str, node: int, annotations: dict[str, str]) -> dict[str, Any]:
    """Return the typical pod as its author wrote it, on a node."""
    pod = bodies.pod(2, 4, 1, annotations)
    pod["metadata"] |= {"namespace": namespace}
    del pod["metadata"]["managedFields"], pod["metadata"]["ownerReferences"], pod["status"]
    for key in ("serviceAccount", "serviceAccountName", "tolerations", "priority", "preemptionPolicy"):
        del pod["spec"][key]
    pod["spec"]["volumes"].pop()
    for container in pod["spec"]["containers"]:
        container["volumeMounts"].pop()
    pod["spec"]["nodeName"] = f"node-{node}"
    return pod


def _webhook(port: int, pair: Credentials) -> dict[str, Any]:
    """Return the webhook's configuration; ``Fail``, so that none passes without us unseen."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    bundle = base64.b64encode(pair.ca.read_bytes()).decode()
    webhook = {
        "name": "pods.pillion.dev",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/mutate", "caBundle": bundle},
        "rules": [rule],
        "matchConditions": [
            {
                "name": "asks",
                "expression": "has(object.metadata.annotations) && 'pillion.dev/inject' in object.metadata.annotations",
            }
        ],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "pillion"},
        "webhooks": [webhook],
    }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stored(cluster: ApiServer) -> int:
    return (cluster.run.folder / "etcd/member/snap/db").stat().st_size


def _create(api: Api, path: str, documents: Iterator[dict[str, Any]]) -> None:
    """Create objects, as fast as all clients can; RuntimeError with what the API server said if one is refused."""
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for document in documents:
        waiting.put(json.dumps(document))
    refused: list[str] = []

    def work() -> None:
        while (text := waiting.get()) is not None:
            answer = api.ask("POST", path, text)
            if answer.status != http.client.CREATED:
                refused.append(f"{answer.status}: {answer.document!r:.300}")

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        waiting.put(None)
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise RuntimeError(f"{len(refused)} refused: {refused[0]}")


def _is_injected(api: Api, pod: dict[str, Any]) -> bool:
    """Say whether a pod would be injected."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods?dryRun=All"
    return bool(sidecars(api.ask("POST", path, pod).document))


def _count(api: Api, path: str) -> int:
    """Return how many objects a list has, of which the metadata will do."""
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    return len(api.ask("GET", path, accept=accept).document["items"] or ())


if __name__ == "__main__":
    sys.exit(main())
