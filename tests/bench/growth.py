"""``make bench-growth``: how the cost of a review grows with the pod and with the configuration, as a picture."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench import plot
from tests.bench.bodies import ASKING, body, pod
from webhook import configuration
from webhook.injection import review
from webhook.injection.admission import admit
from webhook.injection.profile import Configuration

ROUNDS = 200
#: So many containers of a pod write logs; the plan's bound is 128.
WITH_LOGS = 100
#: More than linear, with what the measurement itself may be off by.
STEEP = 1.15


class Point(NamedTuple):
    """What a review costs at a size, from its bytes to the answer's: processor time and time that passes, in µs."""

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
    """Print every point, and draw them; return 1 where something grows more than linearly."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    parser.add_argument("picture", type=Path, help="where to write the SVG")
    arguments = parser.parse_args(words)
    panels, steep = [], False
    for series in SERIES:
        points = [_measure(series, size) for size in series.sizes]
        for point in points:
            print(f"{series.title:38} {point.size:5} {series.unit:2} {point.cpu:8.0f} µs CPU {point.latency:8.0f} µs")
        steepness = _exponent(points)
        steep = steep or steepness > STEEP
        print(f"{series.title:38} grows as size^{steepness:.2f}{': MORE THAN LINEAR' if steepness > STEEP else ''}")
        lines = {
            "latency": [(point.size, point.latency) for point in points],
            "CPU": [(point.size, point.cpu) for point in points],
        }
        panels.append(plot.Panel(f"{series.title}{f' ({series.unit})' if series.unit else ''}", "µs a review", lines))
    arguments.picture.write_text(plot.draw(panels), encoding="utf-8")
    return int(steep)


def _measure(series: Series, size: int) -> Point:
    """Return the least of all rounds: what else runs on the machine only ever adds."""
    text = series.configuration(size) if series.configuration is not None else ""
    settings = configuration.parse(text.encode(), "pillion.yaml")
    review_ = series.body(size)
    rounds = [_once(review_, settings) for _ in range(ROUNDS)]
    return Point(size, *(1e6 * min(column) for column in zip(*rounds, strict=True)))


def _once(body_: bytes, settings: Configuration) -> tuple[float, float]:
    cpu, wall = time.thread_time(), time.perf_counter()
    request = review.parse(body_)
    verdict = admit(request, settings)
    review.encode(request, verdict.response())
    if not verdict.injected:
        raise ValueError(f"not injected: {verdict.warnings}")
    return time.thread_time() - cpu, time.perf_counter() - wall


def _exponent(points: Sequence[Point]) -> float:
    """Return e where the cost goes with the size's e-th power, over the larger half of the sizes."""
    middle, last = points[len(points) // 2], points[-1]
    return math.log(last.cpu / middle.cpu) / math.log(last.size / middle.size)


if __name__ == "__main__":
    sys.exit(main())
