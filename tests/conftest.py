"""What holds for all tests."""

import hypothesis
import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave generated examples out of the coverage: they take most of the time, and reach something else each time."""
    if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker("no_cover")
