"""``make bench``: what serving a review costs, as ratios to a published injector and to a lean webhook in Go."""

import argparse
import contextlib
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load, programs
from tests.bench.bodies import BODIES
from tests.bench.servers import Credentials, Running, credentials, injected, running, servers
from tests.cluster.programs import BuildError
from webhook import __version__

ROUNDS = 7
SATURATED_SECONDS = 1.5
PACED_SECONDS = 4.0
RATES = (300, 1000)
MORE_CONNECTIONS = 64

#: A measure's name, then a server's, to what each round gave.
Samples = Mapping[str, Mapping[str, list[float]]]


@dataclass(frozen=True)
class Row:
    """A line of the table: a measure and, where there are any, the most that it may be."""

    measure: str
    unit: str
    scale: float = 1.0
    #: Of the ratio to the published injector, of that to the lean webhook, and of our own value.
    of_published: float | None = None
    of_lean: float | None = None
    most: float | None = None


ROWS = (
    Row("CPU per review, typical", "µs", 1e6, of_published=0.4, of_lean=1.25),
    Row("CPU per review, 10x40", "µs", 1e6, of_published=0.2, of_lean=0.56),
    Row("CPU per review, large", "µs", 1e6, of_published=0.2, of_lean=0.45),
    Row("CPU per review, un-annotated", "µs", 1e6, of_published=0.2, of_lean=0.66),
    *(Row(f"requests per second, {name}", "1/s") for name in BODIES),
    Row("p50 at 300 reviews per second", "ms", 1e3),
    Row("p99 at 300 reviews per second", "ms", 1e3),
    Row("p50 at 1000 reviews per second", "ms", 1e3),
    Row("p99 at 1000 reviews per second", "ms", 1e3, of_lean=1.4),
    Row("memory at rest", "MiB", most=66),
    Row(f"memory with {MORE_CONNECTIONS} connections more", "MiB", most=8),
    Row("memory after the load", "MiB"),
    Row("start to first response", "ms", 1e3),
)


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a figure is exceeded, or nothing could be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="how often everything is measured (default %(default)s)"
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="measure Pillion as it is in another virtual environment: its interpreter (default %(default)s)",
    )
    arguments = parser.parse_args(words)
    cores = sorted(os.sched_getaffinity(0))
    lacks = programs.missing() or (
        "two processor cores are needed: a server's and the load's" if len(cores) == 1 else ""
    )
    if lacks:
        print(f"make bench: {lacks}", file=sys.stderr)
        return 1
    # an end from outside is an end like any other: no server is left behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    samples: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        for source in programs.ALL:
            programs.build(source)
        with tempfile.TemporaryDirectory() as scratch:
            bench = Bench(Path(scratch), arguments.python, cores[0], cores[1])
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
                for measure, server, value in bench.round(number):
                    samples[measure][server].append(value)
    except (BuildError, RuntimeError, ValueError) as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(_table(samples)))
    print(f"\n{arguments.rounds} rounds; {_machine(arguments.python)}")
    exceeded = list(_exceeded(samples))
    print("".join(f"make bench: {line}\n" for line in exceeded), end="", file=sys.stderr)
    return int(bool(exceeded))


class Bench:
    """All servers on one core, the load on another."""

    def __init__(self, folder: Path, python: Path, servers_core: int, load_core: int) -> None:
        self.folder = folder
        self.python = python
        self.servers = servers(python)
        self.servers_core, self.load_core = servers_core, load_core
        self.pair: Credentials = credentials(folder)
        os.sched_setaffinity(0, {load_core})

    def round(self, number: int) -> Iterator[tuple[str, str, float]]:
        """Measure everything once: (measure, server, value). Who comes first changes from round to round."""
        turn = number % len(self.servers)
        order = self.servers[turn:] + self.servers[:turn]
        with contextlib.ExitStack() as stack:
            started = [
                stack.enter_context(running(server, self.pair, self.folder, self.servers_core, self.load_core))
                for server in order
            ]
            for one in started:
                yield "start to first response", one.server.name, one.started_in
            self._compare(started)
            yield from self._memory(started)
            yield from self._saturated(started)
            yield from self._paced(started)
            for one in started:
                yield "memory after the load", one.server.name, one.resident

    def _compare(self, started: Sequence[Running]) -> None:
        """Raise ValueError unless the same work is done."""
        by_name = {one.server.name: one for one in started}
        for name, make in BODIES.items():
            body = make()
            ours, lean = (injected(body, by_name[server].ask(body)) for server in ("pillion", "lean"))
            if ours != lean:
                raise ValueError(f"the lean webhook makes another pod of the body {name}")

    def _body(self, one: Running, name: str) -> Path:
        path = self.folder / f"{one.server.name}-{name}.json"
        path.write_bytes(BODIES[name](dict(one.server.asking)))
        return path

    def _memory(self, started: Sequence[Running]) -> Iterator[tuple[str, str, float]]:
        for one in started:
            at_rest = one.resident
            yield "memory at rest", one.server.name, at_rest
            with load.hold(one, self._body(one, "typical"), self.load_core, MORE_CONNECTIONS):
                more = one.resident - at_rest
            yield f"memory with {MORE_CONNECTIONS} connections more", one.server.name, more

    def _saturated(self, started: Sequence[Running]) -> Iterator[tuple[str, str, float]]:
        for name in BODIES:
            for one in started:
                seen = load.run(one, self._body(one, name), self.load_core, seconds=SATURATED_SECONDS)
                yield f"CPU per review, {name}", one.server.name, seen.cpu_seconds / seen.requests
                yield f"requests per second, {name}", one.server.name, seen.requests / seen.seconds

    def _paced(self, started: Sequence[Running]) -> Iterator[tuple[str, str, float]]:
        for rate in RATES:
            for one in started:
                seen = load.run(one, self._body(one, "typical"), self.load_core, rate=rate, seconds=PACED_SECONDS)
                yield f"p50 at {rate} reviews per second", one.server.name, seen.p50
                yield f"p99 at {rate} reviews per second", one.server.name, seen.p99


def _table(samples: Samples) -> Iterator[str]:
    yield "| measure | | Pillion | published | Pillion / published | lean Go | Pillion / lean Go |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row in ROWS:
        ours, published, lean = (samples[row.measure][name] for name in ("pillion", "published", "lean"))
        cells = [_median(ours, row.scale)]
        for other in (published, lean):
            cells += [_median(other, row.scale), _spread(ours, other)]
        yield f"| {' | '.join([row.measure, row.unit, *cells])} |"


def _exceeded(samples: Samples) -> Iterator[str]:
    """Yield a line for each figure that is more than it may be."""
    for row in ROWS:
        ours, published, lean = (samples[row.measure][name] for name in ("pillion", "published", "lean"))
        figures = (
            ("", ours, row.most),
            (" of the published injector's", _ratios(ours, published), row.of_published),
            (" of the lean webhook's", _ratios(ours, lean), row.of_lean),
        )
        for what, values, most in figures:
            if most is not None and statistics.median(values) > most:
                yield f"{row.measure}: {_digits(statistics.median(values))}{what}, at most {most:g}"


def _ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ones, others, strict=True)]


def _median(values: Sequence[float], scale: float) -> str:
    return _digits(statistics.median(values) * scale)


def _spread(ones: Sequence[float], others: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, and the least and the greatest."""
    ratios = _ratios(ones, others)
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _machine(python: Path) -> str:
    """Return what it was measured on and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    version = subprocess.run([python, "-V"], check=True, capture_output=True, text=True).stdout.strip()
    versions = f"Pillion {__version__}, {version}, {programs.go_version()}"
    return f"{model}, Linux {platform.release()}; {versions}"


if __name__ == "__main__":
    sys.exit(main())
