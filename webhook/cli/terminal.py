"""What a person sees: colours, where a terminal has them, and nothing that a manifest's text makes a terminal do."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

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
    "deliver_json",
    "describe",
    "obeys_escapes",
    "painter",
    "visible",
]

# ECMA-48, select graphic rendition
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

#: Takes a text and a colour.
Paint = Callable[[str, str], str]


def obeys_escapes(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that escape sequences command."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painter(stream: TextIO) -> Paint:
    """Return what colours a text for a stream, or leaves it as it is (no-color.org)."""
    if obeys_escapes(stream) and not os.environ.get("NO_COLOR"):
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


def deliver_json(value: Any) -> None:
    """Write a result as JSON; escaped, because names and paths may hold characters that command a terminal."""
    deliver(json.dumps(value, indent=2) + "\n")


def abandon_output() -> None:
    """Let what is still to be written go nowhere: Python would fail once more when it closes standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print one line on standard error; where nobody can take it, the result still counts."""
    with suppress(OSError):
        print(text, file=sys.stderr)
