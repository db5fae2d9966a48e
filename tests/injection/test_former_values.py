"""The null and empty values that an injection replaces."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.injection.reviews import verdict_on
from webhook.injection.former_values import record_former_values
from webhook.injection.pod_annotations import MAX_ANNOTATIONS_BYTES

PREFIX = "pillion.dev/"
STATUS = f"{PREFIX}status"


def asking() -> dict[str, Any]:
    """Return a pod that requests injection."""
    return {
        "metadata": {"annotations": {f"{PREFIX}inject": "true"}},
        "spec": {"containers": [{"name": "app", "image": "i"}]},
    }


def operations(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of the pod's injection, as the webhook answers them for the pod without its nulls."""
    decoded = copy.deepcopy(pod)
    for container in decoded["spec"]["containers"]:
        if container.get("volumeMounts", ...) is None:
            del container["volumeMounts"]
    found: list[dict[str, Any]] = json.loads(verdict_on(decoded).patch)
    return found


def noted(pod: dict[str, Any], spelling: str = "") -> dict[str, Any]:
    """Return the status that the operations write."""
    (text,) = (
        one["value"] if isinstance(one["value"], str) else one["value"][STATUS]
        for one in record_former_values(pod, operations(pod), PREFIX, lambda _: spelling)
        if "status" in one["path"] or (isinstance(one["value"], dict) and STATUS in one["value"])
    )
    found: dict[str, Any] = json.loads(text)
    return found


def test_nothing_is_noted_of_a_pod_without_null_and_empty_values() -> None:
    """Then the operations are those of the webhook."""
    pod = asking()
    assert record_former_values(pod, operations(pod), PREFIX, lambda _: "") == operations(pod)


@pytest.mark.parametrize(("spelling", "spellings"), [("", {}), ("null", {"null"}), ("~", {"~"}), ("nothing", {})])
def test_a_null_is_noted_with_its_spelling(spelling: str, spellings: Any) -> None:
    """Only the spellings of YAML are."""
    pod = asking()
    pod["spec"]["containers"][0]["volumeMounts"] = None
    status = noted(pod, spelling)
    assert status["formerValues"] == {"/spec/containers/0/volumeMounts": None}
    assert set(status.get("nullSpellings", {}).values()) == set(spellings)


def test_an_empty_list_is_noted() -> None:
    """It would be gone after the removal otherwise."""
    pod = asking()
    pod["spec"]["volumes"] = []
    assert noted(pod)["formerValues"] == {"/spec/volumes": []}


def test_the_authors_own_status_is_noted() -> None:
    """The injection replaces it, the removal brings it back."""
    pod = asking()
    pod["metadata"]["annotations"][STATUS] = "mine"
    assert list(noted(pod)["formerValues"].values()) == ["mine"]


def test_a_path_to_a_null_has_numbers_in_lists() -> None:
    """As the function that looks up its spelling expects."""
    pod = asking()
    pod["spec"]["containers"][0]["volumeMounts"] = None
    paths: list[Any] = []

    def spelling(path: Any) -> str:
        paths.append(path)
        return ""

    record_former_values(pod, operations(pod), PREFIX, spelling)
    assert set(paths) == {("spec", "containers", 0, "volumeMounts")}


def test_annotations_without_room_stay_as_they_are() -> None:
    """A pod that fits must fit afterwards, too."""
    pod = asking()
    pod["spec"]["volumes"] = []
    rest = MAX_ANNOTATIONS_BYTES - len(json.dumps(operations(pod))) - len("big")
    for size in range(rest, rest + 2000):
        pod["metadata"]["annotations"]["big"] = "x" * size
        if len(operations(pod)) and record_former_values(pod, operations(pod), PREFIX, lambda _: "") == operations(pod):
            return
    pytest.fail("there was room for everything")
