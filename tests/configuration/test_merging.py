"""A profile on top of its base: RFC 7386, with some lists merged item by item."""

from typing import Any

import pytest

from webhook.configuration.merging import Origins, merge

BASE = {
    "order": "first",
    "sidecar": {
        "args": ["a"],
        "env": [{"name": "A"}, {"name": "B"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": {"runAsUser": 1},
    },
}
ROWS: dict[str, tuple[Any, Any]] = {
    "null": ({"order": None}, {"sidecar": BASE["sidecar"]}),
    "a mapping": (
        {"sidecar": {"resources": {"limits": {"cpu": None, "memory": "2Gi"}}}},
        {**BASE, "sidecar": {**BASE["sidecar"], "resources": {"limits": {"memory": "2Gi"}}}},  # type: ignore[dict-item]
    ),
    "a list of named": (
        {"sidecar": {"env": [{"name": "C"}, {"name": "A", "value": "1"}]}},
        {**BASE, "sidecar": {**BASE["sidecar"], "env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "C"}]}},  # type: ignore[dict-item]
    ),
    "anything else": ({"sidecar": 5}, {**BASE, "sidecar": 5}),
    "a null in a securityContext": (
        {"sidecar": {"securityContext": {"runAsUser": None}}},
        {**BASE, "sidecar": {**BASE["sidecar"], "securityContext": {"runAsUser": None}}},  # type: ignore[dict-item]
    ),
    "a list whose items have no names": (
        {"sidecar": {"env": [{"name": ["x"]}]}},
        {**BASE, "sidecar": {**BASE["sidecar"], "env": [{"name": ["x"]}]}},  # type: ignore[dict-item]
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_key_is_merged_with_the_base(row: str) -> None:
    """Each row of the table."""
    over, expected = ROWS[row]
    assert merge(BASE, over, (), {}) == expected


def test_where_the_items_of_a_merged_list_were_written_is_kept() -> None:
    """A problem with one is told by the line on which the operator wrote it."""
    origins: Origins = {}
    over = {"sidecar": {"env": [{"name": "C"}, {"name": "A"}, {"name": "C"}]}}
    merge(BASE, over, ("profiles", "own"), origins)
    assert origins == {("profiles", "own", "sidecar", "env"): [1, None, 0, 2]}
