"""What holds for all tests."""

from collections import Counter

import hypothesis
import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave generated examples out of the coverage: they take most of the time, and reach something else each time."""
    if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker("no_cover")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests this machine could not run, and why: each reason once, with how many tests it is about."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"left out: {count} test{'s' * (count > 1)}: {reason}")
