"""Line charts as SVG, side by side: just enough for the benchmarks' pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

__all__ = ["Panel", "draw"]

WIDTH, HEIGHT = 400, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 40, 34
#: From a panel's left edge to the name of its vertical axis, which is wider than the space left of the axis.
EDGE = 8
COLUMNS = 2
#: Above the highest line, for the lines' names.
HEADROOM = 1.4
#: Told apart by the colour-blind, too, and by their dashes in print.
STYLES = (("#0b6e99", ""), ("#c4501b", "6 3"), ("#5a5a5a", "2 3"))


class Panel(NamedTuple):
    """A chart: lines by name, each of (x, y) points; both axes begin at zero."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def draw(panels: Sequence[Panel]) -> str:
    """Return the panels in rows of two."""
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number % COLUMNS * WIDTH} {number // COLUMNS * HEIGHT})">')
        parts += _panel(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines.values() for point in line]
    most_across, most_up = (max(values) for values in zip(*points, strict=True))
    across, up = _ticks(most_across), _ticks(HEADROOM * most_up)

    def x(value: float) -> float:
        return round(LEFT + value / across[-1] * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / up[-1] * (HEIGHT - TOP - BOTTOM), 1)

    yield f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>'
    yield f'<text x="{EDGE}" y="{TOP - 8}" fill="#666">{escape(panel.unit)}</text>'
    for tick in up:
        yield f'<path d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:,.0f}</text>'
    for tick in across:
        yield f'<text x="{x(tick)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,.0f}</text>'
    for number, (name, line) in enumerate(panel.lines.items()):
        colour, dashes = STYLES[number % len(STYLES)]
        path = "L".join(f"{x(one)} {y(other)}" for one, other in line)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        for one, other in line:
            yield f'<circle cx="{x(one)}" cy="{y(other)}" r="2.5" fill="{colour}"/>'
        at = TOP + 12 + 16 * number
        yield f'<path d="M{LEFT + 12} {at - 4}h24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        yield f'<text x="{LEFT + 42}" y="{at}">{escape(name)}</text>'


def _ticks(most: float) -> list[float]:
    """Return round numbers from zero to one that is at least ``most``."""
    step = 10 ** math.floor(math.log10(max(most, 1) / 4))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if step * factor * 5 >= most)
    return [step * number for number in range(math.ceil(most / step) + 1)]
