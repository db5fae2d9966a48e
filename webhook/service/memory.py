"""Memory that a burst has left behind goes back to the system."""

import gc
import os
from pathlib import Path

__all__ = ["Memory"]

STATM = Path("/proc/self/statm")
#: What requests may leave without anybody caring: about what 64 connections more hold.
SLACK = 8 << 20


#: Giving back stops the loop for milliseconds: where it was in vain, so many looks are left out at most.
MOST_LEFT_OUT = 60


class Memory:
    """Looks at what the process has resident.

    The C library keeps freed memory that has something in use above it: after hundreds of connections at once, or
    bodies of megabytes, many times what is in use. Pages in the middle it gives back only when told to.
    """

    def __init__(self) -> None:
        self._at_first = resident()
        self._left_out = self._leave_out = 0

    async def look(self) -> None:
        """Give back what can be given back, if much more is resident than at first.

        Where that was in vain, because it is in use, the next try comes after twice as many looks.
        """
        self._left_out += 1
        if self._left_out <= self._leave_out:
            return
        self._left_out = 0
        before = resident()
        if before <= self._at_first + SLACK:
            self._leave_out = 0
            return
        give_back()
        helped = resident() <= before - SLACK
        self._leave_out = 0 if helped else min(2 * self._leave_out + 1, MOST_LEFT_OUT)


def resident() -> int:
    """Return how many bytes the process has resident; 0 where the system does not say."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Free what only cycles hold, and return the C library's free pages; takes some milliseconds."""
    # late: most servers never need it
    import ctypes  # noqa: PLC0415

    gc.collect()
    library = ctypes.CDLL(None)
    # glibc's own; others have no need of it
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
