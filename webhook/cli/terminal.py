"""Colours, where a person looks: on a terminal that has them, unless NO_COLOR says no."""

import os
from collections.abc import Callable
from typing import TextIO

__all__ = ["BOLD", "CYAN", "DIM", "GREEN", "RED", "YELLOW", "Paint", "painter"]

# ECMA-48, select graphic rendition
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

#: Takes a text and a colour.
Paint = Callable[[str, str], str]


def painter(stream: TextIO) -> Paint:
    """Return what colours a text for a stream, or leaves it as it is (no-color.org)."""
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return lambda text, colour: f"\x1b[{colour}m{text}\x1b[0m" if text else text
    return lambda text, _colour: text
