"""What a shipper costs: how fast it sends a backlog, and what it takes for that and at rest."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.shipping.arrivals import Arrivals
from tests.bench.shipping.shippers import Shipper, receivers
from tests.bench.tail.cases import append
from tests.bench.tail.cost import Rest, memory, processor_seconds, rest

__all__ = ["Backlog", "at_rest", "backlog"]

POLL_SECONDS = 0.5
#: Whoever has not sent a backlog by then is measured by what it has sent.
MAX_SECONDS = 60.0


@dataclass(frozen=True)
class Backlog:
    """A shipper that has much to send."""

    lines_per_second: float
    """From its start until the store has the last line."""
    processor_seconds_per_million: float
    peak_kib: int


def backlog(shipper: Shipper, count: int, folder: Path) -> Backlog:
    """Return what it costs to send a file of so many lines that is there."""
    (folder / "logs").mkdir(parents=True)
    append(folder / "logs" / "app.log", "a", 0, count)
    with receivers(folder) as to:
        arrivals = Arrivals(to.store, shipper, "backlog")
        begin = polled = time.monotonic()
        with shipper.run("backlog", to, folder) as running:
            arrived = peak = 0
            while arrived < count and polled < begin + MAX_SECONDS:
                peak = max(peak, memory(running))
                time.sleep(POLL_SECONDS / 10)
                if time.monotonic() >= polled + POLL_SECONDS:
                    polled = time.monotonic()
                    arrived = arrivals.count()
            used = processor_seconds(running)
    return Backlog(arrived / (polled - begin), used / max(arrived, 1) * 1e6, peak)


def at_rest(shippers: Sequence[Shipper], files: int, folder: Path) -> list[Rest]:
    """Return what it costs each to watch so many files in which nothing happens; all do so at once."""
    with receivers(folder) as to, ThreadPoolExecutor(len(shippers)) as pool:
        return list(pool.map(lambda one: rest(one.of_pod("rest", to), files, folder / one.profile), shippers))
