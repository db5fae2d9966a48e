"""Numbered lines of several pods in a real store: lost, repeated and reordered ones are counted there."""

import collections
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import programs
from tests.promtool import REQUIRED

from .sidecar import Sidecar, until
from .stores import COLLECTOR, VICTORIA_LOGS, Collector, VictoriaLogs

PODS = ("shop-1", "shop-2")
LINES = 60_000

Ship = Callable[..., Sidecar]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VictoriaLogs]:
    """Return an empty store, or skip the test where it can't be built."""
    try:
        for source in (VICTORIA_LOGS, COLLECTOR):
            programs.built_from(source, source.packages)
    except programs.BuildError as error:
        if os.environ.get(REQUIRED):
            raise
        pytest.skip(str(error))
    one = VictoriaLogs(tmp_path)
    yield one
    one.stop()


@pytest.fixture
def ship(tmp_path: Path, shipping_program: Path, store: VictoriaLogs) -> Iterator[Ship]:
    """Start the sidecar of a pod, which reads a folder of the pod's name."""
    started: list[Sidecar] = []
    collector = Collector(tmp_path, store)
    urls = {
        "elasticsearch": f"{store.url}/insert/elasticsearch/_bulk?_msg_field=message&_time_field=@timestamp"
        "&_stream_fields=kubernetes.pod.name",
        # this version of VictoriaLogs takes OTLP in protocol buffers only
        "otlp": f"http://127.0.0.1:{collector.port}/v1/logs",
    }

    def start(pod: str, to: str) -> Sidecar:
        folder = tmp_path / pod
        folder.mkdir(exist_ok=True)
        settings = {
            "PILLION_TO": to,
            "PILLION_URL": urls[to],
            "PILLION_NATIVE": "true",
            "POD_NAME": pod,
            "POD_NAMESPACE": "shop",
        }
        sidecar = Sidecar(folder, shipping_program, [f"{folder}/*.log"], settings)
        started.append(sidecar)
        return sidecar

    yield start
    for sidecar in started:
        sidecar.kill()
    collector.stop()


def write(folder: Path, first: int, count: int) -> None:
    """Write numbered lines; each 5,000 the file is rotated."""
    folder.mkdir(exist_ok=True)
    for begin in range(first, first + count, 5000):
        with (folder / "app.log").open("a") as file:
            file.writelines(
                f"line {number:07} {'x' * 80}\n" for number in range(begin, min(begin + 5000, first + count))
            )
        (folder / "app.log").rename(folder / f"app.log.{begin}")


def count(store: VictoriaLogs, to: str, pod: str) -> tuple[int, int, int]:
    """Return how many of a pod's lines are lost, repeated and, at their first coming, reordered."""
    field = "kubernetes.pod.name" if to == "elasticsearch" else "k8s.pod.name"
    rows = store.query(f'"{field}":"{pod}"')
    numbers = [int(row["_msg"].split()[1]) for row in sorted(rows, key=lambda row: row["_time"].rstrip("Z"))]
    times = collections.Counter(numbers)
    first = list(dict.fromkeys(numbers))
    reordered = sum(one > two for one, two in itertools.pairwise(first))
    return LINES - len(times), len(numbers) - len(times), reordered


@pytest.mark.minutes
@pytest.mark.parametrize("to", ["elasticsearch", "otlp"])
def test_two_pods(ship: Ship, store: VictoriaLogs, tmp_path: Path, to: str) -> None:
    """With rotations, a sidecar that is killed, a store that goes and comes, also while the pods end."""
    third = LINES // 3
    sidecars = {pod: ship(pod, to) for pod in PODS}
    for pod in PODS:
        write(tmp_path / pod, 0, third)
    for pod in PODS:
        sidecars[pod].looks(1)
        sidecars[pod].kill()
        sidecars[pod] = ship(pod, to)
    store.stop()
    for pod in PODS:
        write(tmp_path / pod, third, third)
        sidecars[pod].complains("can't send to")
    store.start()
    for pod in PODS:
        write(tmp_path / pod, 2 * third, third)
    store.stop()
    for pod in PODS:
        sidecars[pod].process.send_signal(signal.SIGTERM)
    store.start()
    for pod in PODS:
        assert sidecars[pod].process.wait(60) == 0
    until(lambda: all(count(store, to, pod)[0] == 0 for pod in PODS), "every line")
    for pod in PODS:
        lost, repeated, reordered = count(store, to, pod)
        assert (lost, reordered) == (0, 0)
        assert repeated <= 3 * 5000, "a batch for the kill and each time that the store went"
