"""What a person sees: colours, where a terminal has them, and nothing that a manifest's text makes a terminal do."""

import os
import sys
from collections.abc import Callable
from typing import TextIO

__all__ = ["BOLD", "CYAN", "DIM", "GREEN", "RED", "YELLOW", "Paint", "complain", "painter", "visible"]

# ECMA-48, select graphic rendition
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

#: Takes a text and a colour.
Paint = Callable[[str, str], str]


def painter(stream: TextIO) -> Paint:
    """Return what colours a text for a stream, or leaves it as it is (no-color.org)."""
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return lambda text, colour: f"\x1b[{colour}m{text}\x1b[0m" if text else text
    return lambda text, _colour: text


def visible(text: str) -> str:
    """Return a text of a manifest's author as one line that commands no terminal: no escapes, no line ends."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def complain(text: str) -> None:
    """Print one line on standard error."""
    print(text, file=sys.stderr)
