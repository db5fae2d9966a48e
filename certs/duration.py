"""Durations as Go writes them (``1m30s``, ``250ms``) to seconds: ``?timeout=`` of a request, and settings."""

import re

__all__ = ["seconds"]

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}

#: At most nine digits: nobody waits longer, and a number of any length must cost nothing.
PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(h|ms|m|s|us|µs|μs|ns)")


def seconds(text: str) -> float:
    """Return the length of a duration; ValueError for what is none. A bare ``0`` is one, as in Go."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * UNITS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError('not a duration; write a number and a unit, as "15s", "1m30s" or "250ms"')
    return total
