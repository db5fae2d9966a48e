"""The tables of docs/log-pipeline.md that say what is lost, repeated or cut."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/log-pipeline.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    """Return the tables' rows."""
    section = PAGE.read_text().partition("\n## What is lost, repeated or cut\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.endswith("| test |")]


def test_there_are_rows() -> None:
    """The page has the tables."""
    assert len(rows()) > 20


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip()[:50])
def test_each_row_has_a_test(row: str) -> None:
    """What is lost, how much, the cure, and a test that exists."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells)
    named = TEST.fullmatch(cells[-1])
    assert named is not None
    tree = ast.parse((ROOT / named[1]).read_text())
    assert named[2] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
