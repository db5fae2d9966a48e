"""What of a pod's lines has arrived in the store, by query."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.shipping.shippers import Shipper
from tests.tail.stores import VictoriaLogs

__all__ = ["Arrivals"]


@dataclass(frozen=True)
class Arrivals:
    """The records of a pod."""

    store: VictoriaLogs
    shipper: Shipper
    pod: str

    def count(self) -> int:
        """Return how many records there are."""
        return self._number("count()")

    def count_lines(self) -> int:
        """Return how many different lines there are."""
        return self._number(f'count_uniq("{self.shipper.fields.line}")')

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as the store sorts them by time; those of the same time are in their own order."""
        # what came within the last second can't be found otherwise
        urllib.request.urlopen(f"{self.store.url}/internal/force_flush", timeout=120).close()
        fields = self.shipper.fields
        query = urllib.parse.quote(f'{self._records} | fields "{fields.time}", "{fields.line}"')
        with urllib.request.urlopen(f"{self.store.url}/select/logsql/query?query={query}", timeout=120) as answer:
            rows = [(row[fields.time].rstrip("Z"), row.get(fields.line, "")) for row in map(json.loads, answer)]
        rows.sort()
        return (line.encode() for _, line in rows)

    @property
    def _records(self) -> str:
        return f'"{self.shipper.fields.pod}":="{self.pod}"'

    def _number(self, function: str) -> int:
        (row,) = self.store.query(f"{self._records} | stats {function} found")
        return int(row["found"])
