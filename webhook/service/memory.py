"""Returns free memory to the system after a burst (malloc_trim)."""

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["MemoryTrimmer", "trim"]

STATM = Path("/proc/self/statm")
#: Bytes that the process may grow without being trimmed: more than the connections of API servers need, and less than
#: the chart's memory limit allows.
ALLOWED_GROWTH = 24 << 20
#: Seconds between two trims: one blocks the loop for some milliseconds.
TRIM_INTERVAL = 5.0


class MemoryTrimmer:
    """A periodic task that makes the C library return free pages when the process has grown much since its start.

    By itself, glibc returns free memory only from the end of its heap. After hundreds of simultaneous connections, or
    bodies of megabytes, the free memory before the end is many times the memory in use.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit = resident() + ALLOWED_GROWTH
        self._next = clock()

    async def run(self) -> None:
        """Trim if the resident memory exceeds the limit and ``TRIM_INTERVAL`` is over."""
        if self._clock() >= self._next and resident() > self._limit:
            self._next = self._clock() + TRIM_INTERVAL
            trim()


def resident() -> int:
    """Return the resident memory of the process in bytes; 0 if the system does not tell."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Collect garbage, and make the C library return its free pages to the system."""
    gc.collect()
    library = ctypes.CDLL(None)
    # only glibc has malloc_trim; other C libraries need none
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
