"""Memory that a burst has left behind goes back to the system."""

import ctypes
import gc
import os
from pathlib import Path

__all__ = ["Memory", "settle"]

#: mallopt(3), malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: What is larger goes back to the system as soon as it is freed: bodies of megabytes, but no answer and no read.
MAPPED = 1 << 20

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


def settle() -> None:
    """Let the C library keep what each request needs anew.

    A read from a TLS connection asks for 256 KiB and returns most of it. Until something as large was freed, glibc
    makes a mapping of its own for that, and ends it: forty microseconds of page faults for each read.
    """
    library = ctypes.CDLL(None)
    # glibc's own; others do it in another way
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, MAPPED)
        library.mallopt(M_TRIM_THRESHOLD, 2 * MAPPED)


def give_back() -> None:
    """Free what only cycles hold, and return the C library's free pages; takes some milliseconds."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
