"""What a person sees: colours, where a terminal has them, and nothing that a manifest's text makes a terminal do."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TextIO

from webhook.errors import OutputError
from webhook.untrusted_text import visible

__all__ = [
    "BOLD",
    "CYAN",
    "DIM",
    "GREEN",
    "RED",
    "YELLOW",
    "Paint",
    "abandon_output",
    "complain",
    "deliver",
    "describe",
    "painter",
    "visible",
]

# ECMA-48, select graphic rendition
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

#: Takes a text and a colour.
Paint = Callable[[str, str], str]


def painter(stream: TextIO) -> Paint:
    """Return what colours a text for a stream, or leaves it as it is (no-color.org)."""
    if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return lambda text, colour: f"\x1b[{colour}m{text}\x1b[0m" if text else text
    return lambda text, _colour: text


def describe(parser: argparse.ArgumentParser, description: str, examples: str) -> None:
    """Give a command's help text what it does and examples of it, with their line ends."""
    parser.description = description
    parser.epilog = f"examples:\n{examples}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def deliver(text: str) -> None:
    """Write a result to standard output, all of it: OutputError where it takes no more, as a full disk does."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_output()
        raise OutputError(f"can't write the result: {error.strerror}") from None


def abandon_output() -> None:
    """Let what is still to be written go nowhere: Python would fail once more when it closes standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print one line on standard error."""
    print(text, file=sys.stderr)
