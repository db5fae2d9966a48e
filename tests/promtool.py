"""promtool, and what PromQL expressions name."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["Selector", "check", "metric_names", "selectors", "series", "series_values"]

#: Set where all programs are installed, so that a test that is left out there is a failure.
REQUIRED = "PILLION_TEST_ALL"

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACES = re.compile(r"\{[^{}]*\}")
_RANGE = re.compile(r"\[[^\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?!\w)(?!\s*\()")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)(\{[^{}]*\})")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring"}


class Selector(NamedTuple):
    """A metric in an expression, and its matchers as label and text."""

    name: str
    labels: dict[str, str]


def check(*words: str | Path, stdin: str | None = None) -> str:
    """Run promtool and return what it printed; fail the test if it finds fault, skip it if it is not there."""
    program = shutil.which("promtool")
    if program is None:
        sentence = "promtool is not installed; on Debian and Ubuntu: apt-get install prometheus"
        if os.environ.get(REQUIRED):
            return pytest.fail(sentence)
        return pytest.skip(sentence)
    answer: subprocess.CompletedProcess[str] = subprocess.run(
        [program, *map(str, words)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


def metric_names(expression: str) -> set[str]:
    """Return the names of all metrics in an expression."""
    bare = _LABELS.sub("", _RANGE.sub("", _BRACES.sub("", _STRING.sub('""', expression))))
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    return set(_NAME.findall(bare)) - _WORDS


def selectors(expression: str) -> list[Selector]:
    """Return the metrics that have matchers."""
    return [
        Selector(name, {label: text for label, _, text in _MATCHER.findall(braces)})
        for name, braces in _SELECTOR.findall(expression)
    ]


def series(page: str) -> dict[str, list[dict[str, str]]]:
    """Return the labels of each series of a metrics page, by the name that a query has."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name = re.split(r"[{ ]", line, maxsplit=1)[0]
            found.setdefault(name, []).append({label: text for label, _, text in _MATCHER.findall(line)})
    return found


def series_values(page: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's series with these labels, 0 where there is none."""
    total = 0.0
    for line in page.splitlines():
        if re.split(r"[{ ]", line, maxsplit=1)[0] == name:
            found = {label: text for label, _, text in _MATCHER.findall(line)}
            if labels.items() <= found.items():
                total += float(line.rsplit(" ", 1)[1])
    return total
