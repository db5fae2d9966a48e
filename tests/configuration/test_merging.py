"""A profile on top of its base: RFC 7386, with some lists merged item by item."""

import copy
from typing import Any

import pytest

from tests.tables import flat, rows
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


def with_sidecar(**fields: Any) -> dict[str, Any]:
    """Return the base with other fields of its sidecar."""
    return {**BASE, "sidecar": {**BASE["sidecar"], **fields}}  # type: ignore[dict-item]


#: By the row of the table: what is written, and what it makes of the base.
ROWS: dict[str, dict[str, tuple[Any, Any]]] = {
    "null": {
        "": ({"order": None}, {"sidecar": BASE["sidecar"]}),
        "of what the base has not": ({"native": None}, BASE),
        "in a securityContext": (
            {"sidecar": {"securityContext": {"runAsUser": None}}},
            with_sidecar(securityContext={"runAsUser": None}),
        ),
    },
    "a mapping": {
        "": (
            {"sidecar": {"resources": {"limits": {"cpu": None, "memory": "2Gi"}}}},
            with_sidecar(resources={"limits": {"memory": "2Gi"}}),
        ),
        "of what the base has not": ({"volume": {"medium": None}}, {**BASE, "volume": {"medium": None}}),
    },
    "a list of named": {
        "": (
            {"sidecar": {"env": [{"name": "C"}, {"name": "A", "value": "1"}]}},
            with_sidecar(env=[{"name": "A", "value": "1"}, {"name": "B"}, {"name": "C"}]),
        ),
        "twice": (
            {"sidecar": {"env": [{"name": "A", "value": "1"}, {"name": "A"}]}},
            with_sidecar(env=[{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A"}]),
        ),
        "the names are no texts": (
            {"sidecar": {"env": [{"name": ["x"]}]}},
            with_sidecar(env=[{"name": ["x"]}]),
        ),
        "the items are no mappings": ({"sidecar": {"env": ["x"]}}, with_sidecar(env=["x"])),
        "of what the base has not": ({"volumes": [{"name": "a"}]}, {**BASE, "volumes": [{"name": "a"}]}),
    },
    "anything else": {
        "": ({"sidecar": 5}, {**BASE, "sidecar": 5}),
        "another list": ({"sidecar": {"args": ["b"]}}, with_sidecar(args=["b"])),
    },
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(ROWS) == rows(merge)


@pytest.mark.parametrize(("over", "expected"), flat(ROWS))
def test_a_key_is_merged_with_the_base(over: Any, expected: Any) -> None:
    """What is not named stays; the base itself is not changed."""
    before = copy.deepcopy(BASE)
    assert merge(BASE, over, (), {}) == expected
    assert before == BASE


def test_where_the_items_of_a_merged_list_were_written_is_kept() -> None:
    """A problem with one is told by the line on which the operator wrote it."""
    origins: Origins = {}
    over = {"sidecar": {"env": [{"name": "C"}, {"name": "A"}, {"name": "C"}]}}
    merge(BASE, over, ("profiles", "own"), origins)
    assert origins == {("profiles", "own", "sidecar", "env"): [1, None, 0, 2]}
