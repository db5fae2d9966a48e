"""``make bench-growth``: how the cost of a review grows with the pod and with the configuration, as a picture."""

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from tests.bench import load, plot, programs
from tests.bench.bodies import ASKING, body, pod
from tests.bench.servers import SERVERS, Credentials, Server, credentials, running

ROUNDS = 3
SECONDS = 0.5
#: So many containers of a pod write logs; the plan's bound is 128.
WITH_LOGS = 100
#: More than linear, with what the measurement itself may be off by.
STEEP = 1.15


class Point(NamedTuple):
    """What a review costs at a size: CPU of the server and median latency of one connection, in µs."""

    size: int
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
    """Print every point, and draw them; return 1 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("picture", type=Path, help="where to write the SVG")
    arguments = parser.parse_args(words)
    cores = sorted(os.sched_getaffinity(0))
    lacks = programs.missing() or ("" if len(cores) > 1 else "two cores are needed: the server's and the load's")
    if lacks:
        print(f"make bench-growth: {lacks}", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {cores[1]})
    panels = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pair = credentials(folder)
        for series in SERIES:
            points = list(_measure(series, pair, folder, cores))
            for point in points:
                print(
                    f"{series.title:38} {point.size:5} {series.unit:2} {point.cpu:8.0f} µs CPU {point.latency:8.0f} µs"
                )
            steepness = _exponent(points)
            print(f"{series.title:38} grows as size^{steepness:.2f}{': MORE THAN LINEAR' if steepness > STEEP else ''}")
            lines = {
                "latency, median": [(point.size, point.latency) for point in points],
                "CPU": [(point.size, point.cpu) for point in points],
            }
            panels.append(
                plot.Panel(f"{series.title}{f' ({series.unit})' if series.unit else ''}", "µs a review", lines)
            )
    arguments.picture.write_text(plot.draw(panels), encoding="utf-8")
    return 0


def _measure(series: Series, pair: Credentials, folder: Path, cores: Sequence[int]) -> Iterator[Point]:
    """Measure each size as often as there are rounds, and give the medians."""
    if series.configuration is None:
        seen: dict[int, list[Point]] = {size: [] for size in series.sizes}
        with running(SERVERS[0], pair, folder, cores[0], cores[1]) as started:
            for _ in range(ROUNDS):
                for size in series.sizes:
                    seen[size].append(_once(started, series.body(size), folder, size, cores[1]))
        for points in seen.values():
            yield _median(points)
        return
    for size in series.sizes:
        file = folder / "pillion.yaml"
        file.write_text(series.configuration(size))
        with running(_configured(SERVERS[0], file), pair, folder, cores[0], cores[1]) as started:
            yield _median([_once(started, series.body(size), folder, size, cores[1]) for _ in range(ROUNDS)])


def _configured(server: Server, file: Path) -> Server:
    return replace(server, environment={"PILLION_CONFIG": str(file)})


def _once(started: load.Running, review: bytes, folder: Path, size: int, core: int) -> Point:
    path = folder / "body.json"
    path.write_bytes(review)
    seen = load.run(started, path, core, connections=1, seconds=SECONDS)
    return Point(size, seen.cpu_seconds / seen.requests * 1e6, seen.p50 * 1e6)


def _median(points: Sequence[Point]) -> Point:
    return Point(*(statistics.median(column) for column in zip(*points, strict=True)))


def _exponent(points: Sequence[Point]) -> float:
    """Return e where what a size adds to the cost goes with its e-th power, over the larger half of the sizes."""
    first, middle, last = points[0], points[len(points) // 2], points[-1]
    added = max(last.cpu - first.cpu, 1.0) / max(middle.cpu - first.cpu, 1.0)
    return math.log(added) / math.log((last.size - first.size) / (middle.size - first.size))


if __name__ == "__main__":
    sys.exit(main())
