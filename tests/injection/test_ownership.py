"""Which volumes and variables of a pod are ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION
from webhook.injection.ownership import (
    has_our_form,
    has_sidecar_variables,
    is_given_name,
    is_known_to_configuration,
    is_log_volume_name,
)
from webhook.injection.variables import SIDECAR_VARIABLES


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("pillion-logs-1", True),
        ("pillion-logs-16", True),
        ("pillion-logs-", False),
        ("pillion-logs-1x", False),
        ("x-logs-1", False),
    ],
)
def test_log_volumes_are_numbered(name: str, *, is_one: bool) -> None:
    """Any number counts: an older revision may have had more."""
    assert is_log_volume_name(name) is is_one


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("pillion-logs-2", True),
        ("pillion-no-token", True),
        ("pillion-state", True),
        ("pillion-cache", False),
        ("state", False),
        ("no-token", False),
    ],
)
def test_a_name_is_ours_if_an_injection_gives_it(name: str, *, ours: bool) -> None:
    """The prefix alone is not enough."""
    assert is_given_name(name, CONFIGURATION) is ours


@pytest.mark.parametrize(
    ("volume", "ours", "present"),
    [
        pytest.param({"name": "pillion-logs-1", "emptyDir": {"sizeLimit": "1Gi"}}, True, True, id="log volume"),
        pytest.param({"name": "pillion-logs-1", "emptyDir": {"medium": "Memory"}}, True, True, id="in memory"),
        pytest.param({"name": "pillion-logs-1", "emptyDir": {"other": 1}}, False, True, id="unknown field"),
        pytest.param({"name": "pillion-logs-1", "emptyDir": None}, False, True, id="null"),
        pytest.param({"name": "pillion-logs-1", "hostPath": {"path": "/"}}, False, True, id="hostPath"),
        pytest.param({"name": "pillion-no-token", "emptyDir": {}}, True, True, id="token mask"),
        pytest.param(
            {"name": "pillion-no-token", "emptyDir": {"sizeLimit": "1Gi"}}, False, True, id="limited token mask"
        ),
        pytest.param({"name": "pillion-state", "emptyDir": {"sizeLimit": "16Mi"}}, True, True, id="profile's"),
        pytest.param({"name": "pillion-old", "emptyDir": {"sizeLimit": "16Mi"}}, True, False, id="former profile's"),
        pytest.param({"name": "data", "emptyDir": {}}, False, False, id="another name"),
    ],
)
def test_a_volume_is_ours_by_name_and_form(volume: dict[str, Any], *, ours: bool, present: bool) -> None:
    """The form of any revision counts; ``present`` says that today's profiles would add it."""
    assert (has_our_form(volume, CONFIGURATION), is_known_to_configuration(volume, CONFIGURATION)) == (ours, present)


@pytest.mark.parametrize(
    ("without", "has"),
    [(None, True), *((variable.name, False) for variable in SIDECAR_VARIABLES)],
)
def test_a_sidecar_is_known_by_its_variables(without: str | None, *, has: bool) -> None:
    """All of them, whatever else it has."""
    env: list[dict[str, Any]] = [{"name": "OTHER", "value": "x"}]
    for variable in SIDECAR_VARIABLES:
        assert variable.valueFrom is not None
        if variable.name != without:
            env.append({"name": variable.name, "valueFrom": {"fieldRef": variable.valueFrom.fieldRef}})
    assert has_sidecar_variables(env) is has
    if has:
        env[1]["valueFrom"] = {"fieldRef": {"fieldPath": "metadata.uid"}}
        assert not has_sidecar_variables(env)


def test_another_value_of_the_same_name_does_not_hide_ours() -> None:
    """A container with a variable twice has the sidecar's if one of the two is ours."""
    env: list[dict[str, Any]] = [
        {"name": variable.name, "valueFrom": {"fieldRef": {"fieldPath": variable.valueFrom.fieldRef["fieldPath"]}}}
        for variable in SIDECAR_VARIABLES
        if variable.valueFrom is not None and variable.valueFrom.fieldRef is not None
    ]
    assert has_sidecar_variables([{"name": env[0]["name"], "value": "x"}, *env])
    assert not has_sidecar_variables([None, "x", *env[1:]])
