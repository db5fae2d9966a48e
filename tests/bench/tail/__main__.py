"""``python -m tests.bench.tail``: the tables of what is lost and of what it costs; fails where a promise is broken."""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.tail.cases import CASES, DOWN, Case
from tests.bench.tail.contestants import EVERYONE, OURS, Contestant, Running, contestants
from tests.bench.tail.cost import Limits, machine, rest, speed
from tests.bench.tail.score import Score, score

READY_SECONDS = 1.5
FILES = (1, 20, 100)
#: What we promise: KiB at rest with one file, shares of a core at rest by files, MB/s.
MEMORY_KIB = 2048
AT_REST = {1: 0.005, 20: 0.01}
MEGABYTES_PER_SECOND = 50.0
#: The profile's limits, those that a Guaranteed pod makes of them, and the least that an annotation can ask for.
WITHIN = {
    "64Mi, as in most pods": Limits(memory_bytes=64 << 20),
    "64Mi and 100m cpu, as in Guaranteed pods": Limits(memory_bytes=64 << 20, processor=0.1),
    "64Mi and 10m cpu": Limits(memory_bytes=64 << 20, processor=0.01),
}


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 where we broke a promise, 2 where we could not take part."""
    arguments = _parser().parse_args(words)
    cases = [case for case in CASES if arguments.only in case.name]
    if not cases:
        sys.stderr.write(f"bench-tail: no case has {arguments.only!r} in its name; there are:\n")
        sys.stderr.writelines(f"  {case.name}\n" for case in CASES)
        return 2
    if sys.platform != "linux":
        sys.stderr.write(f"bench-tail: needs Linux, this is {sys.platform}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-tail-") as scratch:
        print(machine())
        found = contestants(arguments.against, Path(scratch), print)
        if OURS in arguments.against and OURS not in found:
            return 2
        print()
        broken = []
        if arguments.table in (None, "losses"):
            broken += losses(cases, found, arguments.lines, Path(scratch))
        if arguments.table == "costs" or not (arguments.table or arguments.only):
            broken += costs(found, arguments.megabytes, Path(scratch))
    for promise in broken:
        print(f"broken promise: {promise}")
    return 1 if broken else 0


def losses(cases: Sequence[Case], those: Mapping[str, Contestant], count: int, scratch: Path) -> list[str]:
    """Print what becomes of each case's lines; return our broken promises."""
    broken = []
    _row(f"{count:,} lines each", *(f"{one.name} {one.version}" for one in those.values()))
    _row(*["---"] * (len(those) + 1))
    for case in cases:
        cells = []
        for name, one in those.items():
            _say(f"{case.name}: {one.name}")
            with _folder(scratch) as folder:
                result, seconds = run(case, one, count, folder)
            cells.append(str(result) if case.ends_after is None else f"{result}; {seconds:.0f} s")
            if name == OURS and not kept(case, result):
                broken.append(f"{case.name}: {result}")
        _row(case.name, *cells)
    return broken


def run(case: Case, contestant: Contestant, count: int, folder: Path) -> tuple[Score, float]:
    """Return what became of the case's lines, and how long the end took."""
    written: dict[str, int] = {}
    with Running(contestant, case, folder / "logs", folder / "scratch") as running:
        time.sleep(READY_SECONDS)
        app = threading.Thread(target=lambda: written.update(case.write(running.logs, count)), daemon=True)
        app.start()
        if case.down:
            begin, end = DOWN
            time.sleep(begin)
            running.kill()
            time.sleep(end - begin)
            running.start()
        app.join()
        if case.ends_after is None:
            running.settle()
        else:
            time.sleep(case.ends_after)
        seconds = running.end()
        return score(running.lines(), written), seconds


def kept(case: Case, result: Score) -> bool:
    """Say whether we kept what we promise: each line once and in order.

    | but | may be there |
    |---|---|
    | after a kill | lines twice |
    | copytruncate | less, in pieces |
    """
    twice = 0 if case.down else result.repeated
    torn = 0 if case.copytruncate else result.lost + result.torn + result.reordered
    return not twice and not torn


def costs(those: Mapping[str, Contestant], megabytes: int, scratch: Path) -> list[str]:
    """Print what each contestant costs; return our broken promises."""
    broken = []
    files = " / ".join(map(str, FILES))
    print()
    _row("", f"MiB at rest, {files} files", "MiB at most", f"% of a core at rest, {files} files", "MB/s", "CPU s/GB")
    _row(*["---"] * 6)
    for name, one in those.items():
        rests = {}
        for count in FILES:
            _say(f"at rest with {count} files: {one.name}")
            with _folder(scratch) as folder:
                rests[count] = rest(one, count, folder)
        _say(f"{megabytes} MB: {one.name}")
        with _folder(scratch) as folder:
            busy = speed(one, megabytes, folder)
        peak = max(busy.peak_kib, *(found.peak_kib for found in rests.values()))
        _row(
            one.name,
            " / ".join(f"{found.memory_kib / 1024:.1f}" for found in rests.values()),
            f"{peak / 1024:.1f}",
            " / ".join(f"{found.processor:.2%}".removesuffix("%") for found in rests.values()),
            f"{busy.megabytes_per_second:.0f}",
            f"{busy.processor_seconds_per_gigabyte:.1f}",
        )
        if name == OURS:
            broken += [
                f"{rests[count].processor:.2%} of a core at rest with {count} files, not {promised:.2%}"
                for count, promised in AT_REST.items()
                if rests[count].processor > promised
            ]
            if rests[1].memory_kib > MEMORY_KIB:
                broken.append(f"{rests[1].memory_kib} KiB with one file, not {MEMORY_KIB}")
            if busy.megabytes_per_second < MEGABYTES_PER_SECOND:
                broken.append(f"{busy.megabytes_per_second:.0f} MB/s, not {MEGABYTES_PER_SECOND:.0f}")
    if OURS in those:
        limited(those[OURS], megabytes, scratch)
    return broken


def limited(contestant: Contestant, megabytes: int, scratch: Path) -> None:
    """Print how fast it is within the limits of a container."""
    print()
    _row("within", "MB/s")
    _row("---", "---")
    for what, limits in WITHIN.items():
        _say(what)
        size = megabytes if limits.processor is None else max(1, megabytes // 10)
        with _folder(scratch) as folder:
            try:
                busy = speed(contestant, size, folder, limits)
            except OSError as error:
                _say(f"left out: {what}: {error}")
                continue
        _row(what, f"{busy.megabytes_per_second:.1f}")


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        yield Path(name)


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _say(text: str) -> None:
    sys.stderr.write(f"bench-tail: {text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tail", description=__doc__)
    parser.add_argument("table", nargs="?", choices=("losses", "costs"), help="one of the tables (default: both)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines a case (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the file for the speed (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this text in their names")
    parser.add_argument(
        "--against", nargs="+", choices=EVERYONE, default=list(EVERYONE), metavar="WHO", help=f"of {' '.join(EVERYONE)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
