"""The benchmarks' pictures, as a reader sees them."""

import re
from pathlib import Path

import pytest

from tests.bench import plot

PICTURE = Path(__file__).parent.parent.parent / "docs/images/growth.svg"
TEXT = re.compile(r'<text x="(?P<x>[\d.]+)" y="[\d.]+"(?: text-anchor="(?P<anchor>\w+)")?[^>]*>(?P<text>[^<]*)</text>')
#: A character of 12-pixel sans-serif text, bold included, is about 7 pixels wide.
CHARACTER = 7
#: How much of a text's width lies left of its position.
SHARES = {None: 0.0, "middle": 0.5, "end": 1.0}


def outside(svg: str) -> list[str]:
    """Return the texts of which a part lies outside their panel."""
    found = list(TEXT.finditer(svg))
    assert len(found) == svg.count("<text ")
    cut = []
    for each in found:
        width = CHARACTER * len(each["text"])
        start = float(each["x"]) - SHARES[each["anchor"]] * width
        if start < 0 or start + width > plot.WIDTH:
            cut.append(each["text"])
    return cut


def test_no_text_is_cut_off() -> None:
    """The name of the vertical axis is wider than the space left of the axis."""
    lines = {"latency, as a client sees it": [(0.0, 0.0), (500.0, 4000.0)]}
    assert outside(plot.draw([plot.Panel("variables in each of two containers", "µs a review", lines)] * 3)) == []


@pytest.mark.parametrize(
    ("text", "anchor"), [("µs a review", 'text-anchor="end" '), ("a title that is as long as a panel is wide" * 2, "")]
)
def test_a_text_that_is_cut_off_is_found(text: str, anchor: str) -> None:
    """On either side."""
    assert outside(f'<text x="56" y="32" {anchor}fill="#666">{text}</text>') == [text]


def test_the_picture_in_the_documentation_is_whole() -> None:
    """It is redrawn only when somebody measures."""
    assert outside(PICTURE.read_text()) == []
