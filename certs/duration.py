"""Parses durations in Go's notation (``1m30s``, ``250ms``): a request's ``?timeout=``, and settings."""

import re

__all__ = ["seconds"]

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}

#: At most nine digits on each side of the point: nobody waits longer, and parsing must stay cheap.
PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(h|ms|m|s|us|µs|μs|ns)")


def seconds(text: str) -> float:
    """Return a duration in seconds; ValueError if it is invalid. As in Go, a bare ``0`` is valid."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in PART.finditer(text):
        if part.start() != end:
            break
        total += float(part[1]) * UNITS[part[2]]
        end = part.end()
    if not text or end != len(text):
        raise ValueError('not a duration; write a number and a unit, such as "15s", "1m30s" or "250ms"')
    return total
