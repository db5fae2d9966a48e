"""What a contestant costs: memory, processor time at rest, and how fast it reads a file that is there."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.tail.cases import Case, append, burst
from tests.bench.tail.contestants import Contestant, Running
from tests.bench.tail.score import line
from tests.cluster import cgroups

CASE = Case("cost", burst)
WARM_SECONDS = 3.0
REST_SECONDS = 15.0
#: Whoever has not printed many files by then never will.
MANY_SECONDS = 120.0
#: Whoever gives out nothing for so long is done.
STALLED_SECONDS = 5.0
#: The kubelet's cpu.cfs_period_us.
PERIOD = 100_000
TICKS = os.sysconf("SC_CLK_TCK")
LINE_BYTES = len(line("a", 0))


@dataclass(frozen=True)
class Rest:
    """A contestant that has nothing to do."""

    memory_kib: int
    peak_kib: int
    processor: float
    """Share of one core."""


@dataclass(frozen=True)
class Speed:
    """A contestant that has much to do."""

    megabytes_per_second: float
    """From its start to its last byte."""
    processor_seconds_per_gigabyte: float
    peak_kib: int


@dataclass(frozen=True)
class Many:
    """A contestant with many files."""

    seconds: float
    """Processor time from its start until a line of each file is out."""
    processor: float
    """Share of one core at rest after that."""


@dataclass(frozen=True)
class Limits:
    """What a container may use, as the kubelet says it to the kernel."""

    memory_bytes: int
    processor: float | None = None
    """Share of one core."""


def rest(contestant: Contestant, count: int, folder: Path) -> Rest:
    """Return what it costs to watch so many files in which nothing happens."""
    names = tuple(f"{number}.log" for number in range(count))
    for name in names:
        append(_logs(folder) / name, "a", 0, 1)
    with Running(contestant, replace(CASE, names=names), _logs(folder), folder / "scratch") as running:
        time.sleep(WARM_SECONDS)
        before, begin, samples = processor_seconds(running), time.monotonic(), []
        while time.monotonic() < begin + REST_SECONDS:
            samples.append(memory(running))
            time.sleep(0.02)
        used = (processor_seconds(running) - before) / (time.monotonic() - begin)
    return Rest(sorted(samples)[len(samples) // 2], max(samples), used)


def many(contestant: Contestant, count: int, folder: Path) -> Many:
    """Return what it costs to print a line of each of so many files, and to watch them then."""
    names = tuple(f"{number}.log" for number in range(count))
    for name in names:
        append(_logs(folder) / name, "a", 0, 1)
    with Running(contestant, replace(CASE, names=names), _logs(folder), folder / "scratch") as running:
        deadline = time.monotonic() + MANY_SECONDS
        while running.size < count * LINE_BYTES and time.monotonic() < deadline:
            time.sleep(0.01)
        seconds = processor_seconds(running) if running.size >= count * LINE_BYTES else float("inf")
        time.sleep(WARM_SECONDS)
        before, begin = processor_seconds(running), time.monotonic()
        time.sleep(REST_SECONDS)
        return Many(seconds, (processor_seconds(running) - before) / (time.monotonic() - begin))


def speed(contestant: Contestant, megabytes: int, folder: Path, limits: Limits | None = None) -> Speed:
    """Return how fast it hands out a file that is there; OSError where cgroups can't be made for the limits."""
    append(_logs(folder) / "app.log", "a", 0, megabytes * 1_000_000 // LINE_BYTES)
    with _limited(limits) as prefix:
        begin = grown = time.monotonic()
        with Running(contestant, CASE, _logs(folder), folder / "scratch", prefix) as running:
            size = peak = 0
            while time.monotonic() < grown + STALLED_SECONDS:
                peak = max(peak, memory(running))
                if running.size > size:
                    size, grown = running.size, time.monotonic()
                time.sleep(0.01)
            used = processor_seconds(running)
    read = sum(len(text) + 1 for text in running.lines())
    return Speed(read / (grown - begin) / 1e6, used / read * 1e9, peak)


def _logs(folder: Path) -> Path:
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs


@contextmanager
def _limited(limits: Limits | None) -> Iterator[Sequence[str]]:
    """Yield the words that start a program within the limits."""
    if limits is None:
        yield []
        return
    settings = {"memory.max": f"{limits.memory_bytes}", "memory.limit_in_bytes": f"{limits.memory_bytes}"}
    if limits.processor is not None:
        quota = round(limits.processor * PERIOD)
        settings |= {"cpu.max": f"{quota} {PERIOD}", "cpu.cfs_quota_us": f"{quota}"}
    name = f"pillion-bench-{os.getpid()}"
    try:
        cgroups.create(name)
        entries = []
        for file in (group / setting for group in cgroups.folders(name) for setting in settings):
            if file.exists():
                file.write_text(settings[file.name])
                entries.append(str(file.with_name("cgroup.procs")))
        yield ["sh", "-c", f'for entry in {" ".join(entries)}; do echo $$ >"$entry" || exit; done; exec "$@"', "sh"]
    finally:
        cgroups.kill(name)
        cgroups.remove(name)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return
    for child in children:
        yield from _tree(int(child))


def memory(running: Running) -> int:
    """Return the proportional memory of its processes, in KiB."""
    total = 0
    for pid in _tree(running.process.pid):
        try:
            found = re.search(r"^Pss:\s*(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:  # it has ended
            continue
        total += int(found[1]) if found else 0
    return total


def processor_seconds(running: Running) -> float:
    """Return the processor time of its processes: to the nanosecond, that of ended children in ticks of a clock."""
    total = 0.0
    for pid in _tree(running.process.pid):
        with suppress(OSError):  # it has ended
            threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
            total += sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
            children = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
            total += sum(map(int, children)) / TICKS
    return total


def machine() -> str:
    """Return what the figures are measured on."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return f"{os.cpu_count()} cores ({model[1] if model else '?'}), Linux {os.uname().release}, {load}"
