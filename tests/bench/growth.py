"""``make bench-growth``: how the cost of a review grows with the pod and with the configuration, as a picture."""

import argparse
import contextlib
import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench import load, plot, programs
from tests.bench.bodies import ASKING, body, pod
from tests.bench.servers import Credentials, Running, credentials, running, servers
from tests.cluster.programs import BuildError
from webhook import configuration
from webhook.injection.admission import admit
from webhook.injection.profile import Configuration
from webhook.injection.review import encode_review, parse_review

#: Of the core alone, and of a server, which takes this many seconds each.
ROUNDS = 200
SERVED_ROUNDS, SERVED_SECONDS = 4, 0.4
#: So many containers of a pod write logs; the plan's bound is 128.
WITH_LOGS = 100
#: More than linear, with what the measurement itself may be off by.
STEEP = 1.15


class Point(NamedTuple):
    """What a review costs at a size, in µs."""

    size: int
    #: Processor time from a body's bytes to the answer's.
    core: float
    #: The server's processor time, kernel included, and what a client waits, over TLS, one request at a time.
    cpu: float
    latency: float


@dataclass(frozen=True)
class Series:
    """Something that grows."""

    title: str
    unit: str
    sizes: tuple[int, ...]
    body: Callable[[int], bytes]
    #: The configuration file at this size, if it is that which grows.
    configuration: Callable[[int], str] | None = None


def _annotated(length: int) -> bytes:
    return body(pod(2, 4, 1, {**ASKING, "example.com/note": "x" * length}))


def _many(containers: int) -> bytes:
    chosen = ",".join(f"app-{number}" for number in range(min(containers, WITH_LOGS)))
    return body(pod(containers, 4, 1, {**ASKING, "pillion.dev/containers": chosen}))


def _profiles(count: int) -> str:
    names = "".join(f"  profile-{number}: {{base: tail}}\n" for number in range(count))
    return f"profiles:\n{names}"


SERIES = (
    Series(f"containers, {WITH_LOGS} at most with logs", "", (1, 25, 50, 75, 100, 150, 200), _many),
    Series(
        "variables in each of two containers",
        "",
        (0, 50, 100, 200, 350, 500),
        lambda size: body(pod(2, size, 1, ASKING)),
    ),
    Series("an annotation's length", "KB", (0, 25, 50, 100, 150, 200), lambda size: _annotated(1000 * size)),
    Series(
        "profiles in the configuration",
        "",
        (1, 100, 200, 350, 500),
        lambda size: body(pod(2, 4, 1, {**ASKING, "pillion.dev/profile": f"profile-{size - 1}"})),
        _profiles,
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Print every point, and draw them; return 1 where something grows more than linearly."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("picture", type=Path, help="where to write the SVG")
    arguments = parser.parse_args(words)
    lacks = programs.missing()
    if lacks:
        print(f"make bench-growth: {lacks}", file=sys.stderr)
        return 1
    try:
        programs.build(programs.GENERATOR)
        with tempfile.TemporaryDirectory() as folder:
            panels, steep = _panels(Bench(Path(folder)))
    except (BuildError, RuntimeError, ValueError) as error:
        print(f"make bench-growth: {error}", file=sys.stderr)
        return 1
    arguments.picture.write_text(plot.draw(panels), encoding="utf-8")
    return int(steep)


def _panels(bench: "Bench") -> tuple[list[plot.Panel], bool]:
    """Return a panel for each series, and whether any grows too steeply."""
    panels, steep = [], False
    for series in SERIES:
        points = list(bench.measure(series))
        for point in points:
            costs = f"{point.core:8.0f} µs core {point.cpu:8.0f} µs CPU {point.latency:8.0f} µs latency"
            print(f"{series.title:38} {point.size:5} {series.unit:2} {costs}")
        lines = {
            "latency, as a client sees it": [(point.size, point.latency) for point in points],
            "the server's CPU": [(point.size, point.cpu) for point in points],
            "of which the review": [(point.size, point.core) for point in points],
        }
        steepness = max(_exponent(line) for line in lines.values())
        steep = steep or steepness > STEEP
        print(f"{series.title:38} grows as size^{steepness:.2f}{': MORE THAN LINEAR' if steepness > STEEP else ''}")
        panels.append(plot.Panel(f"{series.title}{f' ({series.unit})' if series.unit else ''}", "µs a review", lines))
    return panels, steep


class Bench:
    """A server on one core, the load on another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pair: Credentials = credentials(folder)
        cores = sorted(os.sched_getaffinity(0))
        self.servers_core, self.load_core = cores[0], cores[-1]
        os.sched_setaffinity(0, {self.load_core})

    def measure(self, series: Series) -> Iterator[Point]:
        """Yield a point for each size: the least of all rounds, as what else runs on the machine only ever adds."""
        if series.configuration is not None:
            for size in series.sizes:
                with self._serving(series.configuration(size)) as server:
                    yield self._point(series, size, server)
            return
        with self._serving("") as server:
            for size in series.sizes:
                yield self._point(series, size, server)

    @contextlib.contextmanager
    def _serving(self, text: str) -> Iterator[Running]:
        file = self.folder / "pillion.yaml"
        file.write_text(text)
        (ours,) = (server for server in servers() if server.name == "pillion")
        configured = dataclasses.replace(ours, command=lambda *of: [*ours.command(*of), "--config", str(file)])
        with running(configured, self.pair, self.folder, self.servers_core, self.load_core) as server:
            yield server

    def _point(self, series: Series, size: int, server: Running) -> Point:
        text = series.configuration(size) if series.configuration is not None else ""
        settings = configuration.parse(text.encode(), "pillion.yaml")
        review_ = series.body(size)
        core = min(_once(review_, settings) for _ in range(ROUNDS))
        sent = self.folder / "body.json"
        sent.write_bytes(review_)
        loads = [
            load.run(server, sent, self.load_core, seconds=SERVED_SECONDS, connections=1) for _ in range(SERVED_ROUNDS)
        ]
        cpu = min(one.cpu_seconds / one.requests for one in loads)
        return Point(size, 1e6 * core, 1e6 * cpu, 1e6 * min(one.p50 for one in loads))


def _once(body_: bytes, settings: Configuration) -> float:
    begin = time.thread_time()
    request = parse_review(body_)
    verdict = admit(request, settings)
    encode_review(request, verdict.response())
    if not verdict.injected:
        raise ValueError(f"not injected: {verdict.warnings}")
    return time.thread_time() - begin


def _exponent(line: Sequence[tuple[int, float]]) -> float:
    """Return e where the cost goes with the size's e-th power, over the larger half of the sizes."""
    (size, cost), (largest, most) = line[len(line) // 2], line[-1]
    return math.log(most / cost) / math.log(largest / size)


if __name__ == "__main__":
    sys.exit(main())
