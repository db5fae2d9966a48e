"""The table of values in the chart's README, made of the comments in values.yaml.

python -m tests.chart.values_table [--update]
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

CHART = Path(__file__).parent.parent.parent / "charts" / "pillion"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


class Row(NamedTuple):
    """A value."""

    key: str
    default: Any
    meaning: str


def rows(text: str) -> list[Row]:
    """Return a row for each key of values.yaml that has a comment, in the file's order.

    A key without one is a folder for those below it; every other key must have one.
    """
    document = YAML(typ="safe", pure=True).load(text)
    comments = dict(_comments(text.splitlines()))
    return [Row(".".join(path), value, comments.get(path, "")) for path, value in _leaves(document, (), comments)]


def table(text: str) -> str:
    """Return the table of these values in Markdown."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows(text):
        default = json.dumps(row.default, ensure_ascii=False)
        cells = (f"`{row.key}`", f"`{default}`", row.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def readme(current: str, values: str) -> str:
    """Return the README with the table of these values."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def _leaves(
    value: Any, path: tuple[str, ...], comments: dict[tuple[str, ...], str]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if path and (path in comments or not isinstance(value, dict)):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*path, key), comments)


def _comments(lines: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key's path with the comment lines directly above it."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in lines:
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
            continue
        key = re.match(r"([A-Za-z][\w.-]*):", text)
        if key:
            path = [(depth, name) for depth, name in path if depth < indent]
            path.append((indent, key[1]))
            if comment:
                yield tuple(name for _, name in path), " ".join(comment)
        comment = []


def main() -> int:
    """Return whether the README is current, or make it so."""
    path = CHART / "README.md"
    wanted = readme(path.read_text(), (CHART / "values.yaml").read_text())
    if wanted == path.read_text():
        return 0
    if "--update" in sys.argv:
        path.write_text(wanted)
        return 0
    sys.stderr.write("charts/pillion/README.md is not current; run python -m tests.chart.values_table --update\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
