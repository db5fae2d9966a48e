"""``python -m tests.bench.tail``: the tables of what is lost and of what it costs; fails where a promise is broken."""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.tables import row, say
from tests.bench.tail.cases import CASES, DOWN, Case
from tests.bench.tail.contestants import EVERYONE, OURS, Contestant, Running, contestants
from tests.bench.tail.cost import Limits, machine, many, rest, speed
from tests.bench.tail.score import Score, score

READY_SECONDS = 1.5
FILES = (1, 20, 100)
#: What we promise: KiB at rest by files and ever, shares of a core at rest by files, MB/s, seconds of a core.
MEMORY_KIB = {1: 1024, 100: 1331}
PEAK_KIB = 2048
AT_REST = {1: 0.0002, 20: 0.0005, 100: 0.0015}
MEGABYTES_PER_SECOND = 700.0
SECONDS_PER_GIGABYTE = 0.5
#: Lines that copytruncate may lose of a million: none is written between a copy and its truncation here.
COPYTRUNCATE_LOST = 2000
MANY_FILES = (100, 1000, 10_000)
MOST_FILES_SECONDS = 1.0
MOST_FILES_AT_REST = 0.03
KNOW_NO_PATTERNS = ("busybox", "gnu")
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
        if arguments.table == "scale" or not (arguments.table or arguments.only):
            broken += scale(found, Path(scratch))
    for promise in broken:
        print(f"broken promise: {promise}")
    return 1 if broken else 0


def losses(cases: Sequence[Case], those: Mapping[str, Contestant], count: int, scratch: Path) -> list[str]:
    """Print what becomes of each case's lines; return our broken promises."""
    broken = []
    row(f"{count:,} lines each", *(f"{one.name} {one.version}" for one in those.values()))
    row(*["---"] * (len(those) + 1))
    for case in cases:
        cells = []
        for name, one in those.items():
            say(f"bench-tail: {case.name}: {one.name}")
            with _folder(scratch) as folder:
                result, seconds = run(case, one, count, folder)
            cells.append(str(result) if case.ends_after is None else f"{result}; {seconds:.0f} s")
            if name == OURS and not kept(case, result):
                broken.append(f"{case.name}: {result}")
        row(case.name, *cells)
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
    | copytruncate | a few less |
    """
    twice = 0 if case.down else result.repeated
    lost = 0 if case.copytruncate and result.lost <= COPYTRUNCATE_LOST else result.lost
    return not twice and not lost and not result.torn + result.reordered


def costs(those: Mapping[str, Contestant], megabytes: int, scratch: Path) -> list[str]:
    """Print what each contestant costs; return our broken promises."""
    broken = []
    files = " / ".join(map(str, FILES))
    print()
    row("", f"MiB at rest, {files} files", "MiB at most", f"% of a core at rest, {files} files", "MB/s", "CPU s/GB")
    row(*["---"] * 6)
    for name, one in those.items():
        rests = {}
        for count in FILES:
            say(f"bench-tail: at rest with {count} files: {one.name}")
            with _folder(scratch) as folder:
                rests[count] = rest(one, count, folder)
        say(f"bench-tail: {megabytes} MB: {one.name}")
        with _folder(scratch) as folder:
            busy = speed(one, megabytes, folder)
        peak = max(busy.peak_kib, *(found.peak_kib for found in rests.values()))
        row(
            one.name,
            " / ".join(f"{found.memory_kib / 1024:.1f}" for found in rests.values()),
            f"{peak / 1024:.1f}",
            " / ".join(f"{found.processor:.3%}".removesuffix("%") for found in rests.values()),
            f"{busy.megabytes_per_second:.0f}",
            f"{busy.processor_seconds_per_gigabyte:.2f}",
        )
        if name == OURS:
            broken += [
                f"{rests[count].processor:.2%} of a core at rest with {count} files, not {promised:.2%}"
                for count, promised in AT_REST.items()
                if rests[count].processor > promised
            ]
            broken += [
                f"{rests[count].memory_kib} KiB at rest with {count} files, not {promised}"
                for count, promised in MEMORY_KIB.items()
                if rests[count].memory_kib > promised
            ]
            if peak > PEAK_KIB:
                broken.append(f"{peak} KiB at most, not {PEAK_KIB}")
            if busy.megabytes_per_second < MEGABYTES_PER_SECOND:
                broken.append(f"{busy.megabytes_per_second:.0f} MB/s, not {MEGABYTES_PER_SECOND:.0f}")
            if busy.processor_seconds_per_gigabyte > SECONDS_PER_GIGABYTE:
                broken.append(f"{busy.processor_seconds_per_gigabyte:.2f} s/GB, not {SECONDS_PER_GIGABYTE}")
    if OURS in those:
        limited(those[OURS], megabytes, scratch)
    return broken


def scale(those: Mapping[str, Contestant], scratch: Path) -> list[str]:
    """Print what many files cost, for those who know patterns; return our broken promises."""
    broken = []
    files = " / ".join(f"{count:,}" for count in MANY_FILES)
    print()
    row(f"files with one line each: {files}", "CPU s until all are out", "% of a core at rest")
    row(*["---"] * 3)
    for name, one in those.items():
        if name in KNOW_NO_PATTERNS:
            continue
        found = []
        for count in MANY_FILES:
            say(f"bench-tail: {count} files: {one.name}")
            with _folder(scratch) as folder:
                found.append(many(one, count, folder))
            if found[-1].seconds == float("inf"):
                break  # more files would take longer
        row(
            one.name,
            " / ".join(f"{cost.seconds:.2f}" for cost in found),
            " / ".join(f"{cost.processor:.2%}".removesuffix("%") for cost in found),
        )
        if name == OURS:
            if found[-1].seconds > MOST_FILES_SECONDS:
                broken.append(f"{found[-1].seconds:.2f} s for {MANY_FILES[-1]} files, not {MOST_FILES_SECONDS}")
            if found[-1].processor > MOST_FILES_AT_REST:
                broken.append(
                    f"{found[-1].processor:.2%} of a core with {MANY_FILES[-1]} files, not {MOST_FILES_AT_REST:.2%}"
                )
    return broken


def limited(contestant: Contestant, megabytes: int, scratch: Path) -> None:
    """Print how fast it is within the limits of a container."""
    print()
    row("within", "MB/s")
    row("---", "---")
    for what, limits in WITHIN.items():
        say(f"bench-tail: {what}")
        size = megabytes if limits.processor is None else max(1, megabytes // 10)
        with _folder(scratch) as folder:
            try:
                busy = speed(contestant, size, folder, limits)
            except OSError as error:
                say(f"bench-tail: left out: {what}: {error}")
                continue
        row(what, f"{busy.megabytes_per_second:.1f}")


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        yield Path(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tail", description=__doc__)
    parser.add_argument(
        "table", nargs="?", choices=("losses", "costs", "scale"), help="one of the tables (default: all)"
    )
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines a case (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the file for the speed (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with this text in their names")
    parser.add_argument(
        "--against", nargs="+", choices=EVERYONE, default=list(EVERYONE), metavar="WHO", help=f"of {' '.join(EVERYONE)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
