"""The status annotation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.injection.status import Status, parse_status

STATUS = Status("tail", "abc", "pillion-tail", ["app"], ["pillion-logs-1"], [])
KEY = "pillion.dev/status"


def test_what_has_a_default_is_not_written() -> None:
    """Every injected pod stores these bytes; keys are written as Kubernetes writes them."""
    assert json.loads(STATUS.text()) == {
        "profile": "tail",
        "revision": "abc",
        "sidecar": "pillion-tail",
        "containers": ["app"],
        "volumes": ["pillion-logs-1"],
        "reusedVolumes": [],
    }
    other = Status("tail", "abc", "pillion-tail", [], [], [], pull_secrets=["a"], default_container="app")
    assert json.loads(other.text()).keys() >= {"pullSecrets", "defaultContainer"}


def test_it_is_read_as_it_was_written() -> None:
    """Under the prefix that it was written with."""
    assert parse_status({KEY: STATUS.text()}, "pillion.dev/") == STATUS
    assert parse_status({KEY: STATUS.text()}, "other.example/") is None


@pytest.mark.parametrize(
    "value",
    [None, 5, "", "{}", "[]", "not JSON", '{"profile": 1}', "\ud800", "[" * 100_000],
    ids=["null", "number", "empty", "no keys", "list", "text", "wrong type", "surrogate", "deep"],
)
def test_anything_else_is_no_status(value: Any) -> None:
    """The pod's author can write it too, and nothing raises."""
    assert parse_status({KEY: value}, "pillion.dev/") is None
