"""``make bench-shipping``: the tables of lost lines and of costs of each shipper; fails where a promise is broken."""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.shipping.arrivals import Arrivals
from tests.bench.shipping.cases import CASES, MAX_BATCH, Case, Scene
from tests.bench.shipping.cost import Backlog, at_rest, backlog
from tests.bench.shipping.shippers import EVERYONE, OURS, Shipper, available, receivers
from tests.bench.tables import row, say
from tests.bench.tail.cases import append
from tests.bench.tail.cost import Rest, machine
from tests.bench.tail.score import Score, score
from tests.cluster.programs import BuildError

POLL_SECONDS = 0.5
#: Who has not sent a first line by then loses all of them.
READY_SECONDS = 30.0
FILES = (1, 20)
#: What we promise besides the lines: at most so much memory, and no less speed than this profile's.
PEAK_KIB = 6 * 1024
NOT_SLOWER_THAN = "filebeat"

Result = tuple[Score, float]
"""What became of a pod's lines, and how long that took."""


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 where we broke a promise, 2 where we could not take part."""
    arguments = _parser().parse_args(words)
    cases = [case for case in CASES if arguments.only in case.name]
    if not cases:
        say(f"bench-shipping: no case has {arguments.only!r} in its name; there are:")
        say("\n".join(f"  {case.name}" for case in CASES))
        return 2
    print(machine())
    try:
        shippers = available(arguments.against, print)
    except BuildError as error:
        say(f"bench-shipping: there is no store: {error}")
        return 2
    if not shippers or not set(OURS) & set(arguments.against) <= {one.profile for one in shippers}:
        return 2
    print()
    broken = []
    with tempfile.TemporaryDirectory(prefix="bench-shipping-") as name:
        if arguments.table != "costs":
            broken += losses(cases, shippers, arguments.lines, Path(name))
        if arguments.table == "costs" or not (arguments.table or arguments.only):
            print()
            broken += costs(shippers, arguments.lines, Path(name))
    for promise in broken:
        print(f"broken promise: {promise}")
    return 1 if broken else 0


def losses(cases: Sequence[Case], shippers: Sequence[Shipper], lines: int, scratch: Path) -> list[str]:
    """Print what becomes of each case's lines; return our broken promises."""
    broken = []
    row("", "lines", *(one.name for one in shippers))
    row("---", "--:", *["---"] * len(shippers))
    for case in cases:
        count = max(1, round(lines * case.share))
        results: dict[str, Result] = {}
        for group in [[one] for one in shippers] if case.alone else [shippers]:
            say(f"bench-shipping: {case.name}: {', '.join(one.profile for one in group)}")
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                results |= run(case, group, count, Path(folder))
        row(case.name, f"{count:,}", *(f"{result}; {seconds:.0f} s" for result, seconds in results.values()))
        broken += [
            f"{case.name}: {name}: {results[name][0]}"
            for name in OURS
            if name in results and not kept(case, results[name][0])
        ]
    return broken


def kept(case: Case, result: Score) -> bool:
    """Say whether we kept what we promise: each line, in order, and only so many batches again as the case allows."""
    lost = 0 if case.loses else result.lost
    return not lost + result.reordered + result.torn and result.repeated <= case.batches * MAX_BATCH


def run(case: Case, shippers: Sequence[Shipper], count: int, folder: Path) -> dict[str, Result]:
    """Return what became of the lines of a pod with each shipper; all run at once."""
    with receivers(folder) as to, contextlib.ExitStack() as stack, ThreadPoolExecutor(len(shippers)) as pool:
        pods = [Arrivals(to.store, one, one.profile) for one in shippers]
        sidecars = [stack.enter_context(one.run(one.profile, to, folder / one.profile)) for one in shippers]
        scene = Scene(to.store, sidecars)
        for sidecar in sidecars:
            append(sidecar.logs / "app.log", "first", 0, 1)
        wait(lambda: all(pod.count() for pod in pods), READY_SECONDS)
        case.before(scene)
        writing = [pool.submit(case.write, sidecar.logs, count) for sidecar in sidecars]
        case.meanwhile(scene)
        written = [{"first": 1, **one.result()} for one in writing]
        if case.ends:
            ending = [pool.submit(sidecar.end) for sidecar in sidecars]
            case.ending(scene)
            seconds = [one.result() for one in ending]
            if to.store.process.poll() is not None:
                to.store.start()
        else:
            seconds = settle(pods, [sum(one.values()) for one in written], case.patience)
        for sidecar in sidecars:
            sidecar.kill()
        scores = [score(pod.lines(), one) for pod, one in zip(pods, written, strict=True)]
        results = zip(scores, seconds, strict=True)
        return dict(zip((one.profile for one in shippers), results, strict=True))


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Return when the condition holds, or after so long."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def settle(pods: Sequence[Arrivals], written: Sequence[int], patience: float) -> list[float]:
    """Return after how many seconds each pod's last record was there: of all lines, or of those that come at all."""
    begin = time.monotonic()
    counts, changed = [-1 for _ in pods], [begin for _ in pods]
    going = set(range(len(pods)))
    while going:
        for number in sorted(going):
            count, now = pods[number].count(), time.monotonic()
            if count != counts[number]:
                counts[number], changed[number] = count, now
                if count >= written[number] and pods[number].count_lines() >= written[number]:
                    going.remove(number)
            elif now > changed[number] + patience:
                going.remove(number)
        time.sleep(POLL_SECONDS)
    return [one - begin for one in changed]


def costs(shippers: Sequence[Shipper], lines: int, scratch: Path) -> list[str]:
    """Print what each shipper costs; return our broken promises."""
    files = " / ".join(map(str, FILES))
    row("", "lines/s", "CPU s per million lines", "MiB at most", f"% of a core at rest, {files} files")
    row(*["---"] + ["--:"] * 4)
    rests: list[list[Rest]] = []
    for count in FILES:
        say(f"bench-shipping: at rest with {count} files")
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            rests.append(at_rest(shippers, count, Path(folder)))
    speeds: dict[str, Backlog] = {}
    peaks: dict[str, int] = {}
    for shipper, *resting in zip(shippers, *rests, strict=True):
        say(f"bench-shipping: {lines:,} lines: {shipper.profile}")
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            found = speeds[shipper.profile] = backlog(shipper, lines, Path(folder))
        peaks[shipper.profile] = max(found.peak_kib, *(one.peak_kib for one in resting))
        row(
            shipper.name,
            f"{found.lines_per_second:,.0f}",
            f"{found.processor_seconds_per_million:.1f}",
            f"{peaks[shipper.profile] / 1024:.1f}",
            " / ".join(f"{one.processor:.3%}".removesuffix("%") for one in resting),
        )
    return too_costly(speeds, peaks)


def too_costly(speeds: Mapping[str, Backlog], peaks: Mapping[str, int]) -> list[str]:
    """Return the promises about speed and memory that we broke."""
    ours = [name for name in OURS if name in speeds]
    rival = speeds.get(NOT_SLOWER_THAN)
    least = rival.lines_per_second if rival else 0
    return [
        *(f"{name}: {peaks[name]} KiB, not {PEAK_KIB}" for name in ours if peaks[name] > PEAK_KIB),
        *(
            f"{name}: {speeds[name].lines_per_second:,.0f} lines/s, {NOT_SLOWER_THAN} has {least:,.0f}"
            for name in ours
            if speeds[name].lines_per_second < least
        ),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-shipping", description=__doc__)
    parser.add_argument("table", nargs="?", choices=("losses", "costs"), help="one of the tables (default: both)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of a backlog or a burst (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this text in their names")
    parser.add_argument(
        *("--against", "--profiles"), nargs="+", choices=EVERYONE, default=list(EVERYONE), metavar="PROFILE"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
