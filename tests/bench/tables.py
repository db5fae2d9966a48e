"""What the benchmarks print: tables in Markdown, and what is going on meanwhile."""

import sys

__all__ = ["row", "say"]


def row(*cells: str) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
