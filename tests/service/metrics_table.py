"""The table of metrics in docs/monitoring.md, made of the registry.

python -m tests.service.metrics_table [--update]
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from webhook.service.metrics import Metrics

PAGE = Path(__file__).parent.parent.parent / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: begin -->", "<!-- metrics: end -->"


def table() -> str:
    """Return the table in Markdown: names as a query has them."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for collector in Metrics(CollectorRegistry()).registry._collector_to_names:
        for name, kind, labels, meaning in _described(collector):
            listed = ", ".join(f"`{label}`" for label in labels)
            lines.append(f"| `{name}{'_total' if kind == 'counter' else ''}` | {kind} | {listed} | {meaning} |")
    return "\n".join(lines)


def _described(collector: Collector) -> Iterator[tuple[str, str, Sequence[str], str]]:
    """Yield name, type, labels and meaning of each metric that a collector has."""
    if isinstance(collector, MetricWrapperBase):
        yield collector._name, str(collector._type), collector._labelnames, collector._documentation
        return
    for family in collector.collect():
        yield str(family.name), str(family.type), getattr(family, "_labelnames", ()), family.documentation


def page(current: str) -> str:
    """Return the page with the table."""
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """Say whether the page is current, or make it so."""
    current = PAGE.read_text()
    wanted = page(current)
    if wanted == current:
        return 0
    if "--update" in sys.argv:
        PAGE.write_text(wanted)
        return 0
    sys.stderr.write(f"{PAGE.name} is not current; run python -m tests.service.metrics_table --update\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
