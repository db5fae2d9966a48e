"""Memory that a burst leaves behind goes back to the system; docs/decisions/0011 says why."""

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["MemoryTrimmer"]

STATM = Path("/proc/self/statm")
#: More than what API servers' connections take above what the process begins with; less than the chart's limit leaves.
ALLOWED_GROWTH = 24 << 20
#: Trimming stops the loop for some milliseconds: a thousandth of this.
TRIM_INTERVAL = 5.0


class MemoryTrimmer:
    """A poller that has the C library return free pages while much more is resident than at first.

    glibc returns only what is free at the end of its heap. After hundreds of connections at once, or bodies of
    megabytes, many times what is in use lies before that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = resident() + ALLOWED_GROWTH
        self._next = clock()

    async def poll(self) -> None:
        """Trim, if more is resident than may be and the last time is long enough ago."""
        if self._clock() >= self._next and resident() > self._limit:
            self._next = self._clock() + TRIM_INTERVAL
            trim()


def resident() -> int:
    """Return how many bytes the process has resident; 0 where the system does not say."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Free what only cycles hold, and return the C library's free pages."""
    gc.collect()
    library = ctypes.CDLL(None)
    # glibc's own; others need none
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
