"""Numbered lines, counted: how many are lost, there again, out of order, or torn."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

PADDING = "x" * 80
_LINE = re.compile(rb"(\w+) (\d{8}) " + PADDING.encode())


def line(stream: str, number: int) -> bytes:
    """Return a stream's line of this number: about a hundred bytes."""
    return f"{stream} {number:08} {PADDING}\n".encode()


@dataclass(frozen=True)
class Score:
    """What became of the lines."""

    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    torn: int = 0

    def __str__(self) -> str:
        """Return it as a cell of the table."""
        names = ("lost", "repeated", "reordered", "torn")
        return ", ".join(f"{count:,} {name}" for name, count in zip(names, astuple(self), strict=True) if count) or "0"


def score(output: Iterable[bytes], written: Mapping[str, int]) -> Score:
    """Compare the lines of an output with what was written: the number of lines of each stream.

    | a line of the output is | if |
    |---|---|
    | torn | it is none of those that were written |
    | repeated | it was there before |
    | reordered | it was not, but one with a higher number of its stream was |
    """
    seen = {stream.encode(): bytearray(count) for stream, count in written.items()}
    newest = dict.fromkeys(seen, -1)
    repeated = reordered = torn = 0
    for text in output:
        found = _LINE.fullmatch(text)
        stream, number = (found[1], int(found[2])) if found else (b"", 0)
        if number >= len(seen.get(stream, b"")):
            torn += 1
        elif seen[stream][number]:
            repeated += 1
        else:
            seen[stream][number] = 1
            reordered += number < newest[stream]
            newest[stream] = max(number, newest[stream])
    return Score(sum(numbers.count(0) for numbers in seen.values()), repeated, reordered, torn)
