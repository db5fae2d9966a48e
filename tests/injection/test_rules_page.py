"""The page of rules says what the code does."""

from __future__ import annotations

from pathlib import Path

from webhook.injection.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def test_the_page_lists_every_reason() -> None:
    """In the enum's order, with its severity and its sentence; and nothing else."""
    rows = [line for line in PAGE.read_text().splitlines() if line.count("|") == 4 and line.startswith("| `")]
    assert rows == [f"| `{reason.value}` | {reason.severity.value} | {reason.sentence} |" for reason in Reason]
