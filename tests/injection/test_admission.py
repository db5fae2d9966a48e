"""The verdict as a whole."""

from __future__ import annotations

import copy
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION, admission_of, patched, verdict_on
from webhook.injection.admission import admit
from webhook.injection.paths import components, overlap
from webhook.injection.reasons import Reason
from webhook.injection.verdict import Verdict


def asking(**annotations: str) -> dict[str, Any]:
    """Return a pod that asks, with more annotations."""
    keys = {f"pillion.dev/{key}": value for key, value in {"inject": "true", **annotations}.items()}
    return {"metadata": {"annotations": keys}, "spec": {"containers": [{"name": "app", "image": "i"}]}}


def test_a_request_can_be_admitted_twice() -> None:
    """A verdict leaves the request as it was sent."""
    request = verdict_on(asking()).request
    assert admit(request, CONFIGURATION).patch == admit(request, CONFIGURATION).patch


@pytest.mark.parametrize(
    "logs",
    [
        "/pillion/*.log,/pillion/logs/*.log",
        "/pillion/logs/*.log,/pillion/logs/1/*.log",
        "/pillion/logs/app/*.log,/pillion/logs/*.log,/pillion/logs/app-2/*.log",
    ],
)
@pytest.mark.parametrize("name", ["app", "", ".", "..", "/", "a/../.."])
def test_logs_where_places_are_moved_to_have_places_of_their_own(logs: str, name: str) -> None:
    """No path and no name of a tenant's takes the whole room: once another name was looked for for ever."""
    pod = asking()
    pod["spec"]["containers"][0]["name"] = name
    pod["metadata"]["annotations"]["pillion.dev/logs"] = logs
    admission = admission_of(pod)
    assert admission.verdict.injected
    assert admission.plan is not None
    paths = [components(place.path) for place in admission.plan.places]
    assert len(paths) == logs.count(",") + 1
    assert not [one for number, one in enumerate(paths) for other in paths[:number] if overlap(one, other)]


def many(count: int, logs: str) -> Any:
    """Return a pod of many containers."""
    return {
        "metadata": {"name": "many", "annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": logs}},
        "spec": {"containers": [{"name": f"c{number}", "image": "i"} for number in range(count)]},
    }


def test_more_places_than_are_mounted_is_a_reason() -> None:
    """500 containers with 16 directories each would be 8,000 mounts in the sidecar."""
    verdict = verdict_on(many(500, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_PLACES
    assert len(verdict.warnings) == 1


def test_a_hundred_containers_are_injected() -> None:
    """Each has a folder of its own, and the sidecar sees them all."""
    pod = many(100, "/srv/x/*.log")
    verdict = verdict_on(pod)
    sidecar = patched(pod, verdict)["spec"]["initContainers"][0]
    assert len({mount["mountPath"] for mount in sidecar["volumeMounts"] if mount["name"] == "pillion-logs-1"}) == 100


@contextmanager
def recursion_limit(limit: int) -> Iterator[None]:
    """Allow deeper nesting, as the server does."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    yield
    sys.setrecursionlimit(before)


def test_a_legal_pod_of_900_levels_is_injected() -> None:
    """An unknown field may be nested as deep as the API server's own decoder allows."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    pod = {**asking(), "futureField": deep}
    with recursion_limit(5000):
        assert verdict_on(pod).injected


def _long_argument(pod: Any) -> None:
    pod["spec"]["containers"][0]["args"] = ["$(" * 1_000_000]
    pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "x"}}]


def _long_logs(text: str) -> Callable[[Any], None]:
    def change(pod: Any) -> None:
        pod["metadata"]["annotations"]["pillion.dev/logs"] = text

    return change


@pytest.mark.parametrize(
    ("change", "injected"),
    [
        (_long_argument, True),
        (_long_logs("," * 250_000), False),
        (_long_logs("/" + "x" * 250_000), False),
        (_long_logs(",".join(f"/srv/{number}" for number in range(16_000))), False),
        (_long_logs("/" * 250_000 + "x.log"), False),
    ],
    ids=["arguments", "separators", "component", "entries", "slashes"],
)
def test_a_long_text_is_decided_upon(change: Callable[[Any], None], injected: bool) -> None:
    """It is injected or refused by the rules, and no warning is longer than others."""
    pod = copy.deepcopy(asking())
    change(pod)
    verdict: Verdict = verdict_on(pod)
    assert verdict.injected is injected
    assert all(len(warning) <= 120 for warning in verdict.warnings)
    assert json.loads(verdict.patch or b"[]") == [] or injected


def test_more_containers_than_can_be_planned_for_is_a_reason() -> None:
    """Thousands of containers with many directories are refused before they are planned for."""
    verdict = verdict_on(many(3000, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_PLACES
    assert "3000 containers" in verdict.warnings[0]


def test_patterns_longer_than_an_argument_list_are_a_reason() -> None:
    """What would not fit into a variable, or make the pod too large for etcd, is refused."""
    folder = "/".join(["d" * 200] * 8)
    verdict = verdict_on(many(1, ",".join(f"/srv/{folder}/{number}.log" for number in range(100))))
    assert verdict.reason is Reason.TOO_MANY_PLACES


def test_a_variable_that_looks_like_a_placeholder_is_taken_as_it_is() -> None:
    """Only a profile's own variables are filled in, not those that a subPathExpr of the pod's brings along."""
    pod = many(1, "/data/*.log")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][0] |= {
        "env": [{"name": "DIR", "value": "<log-files>"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "$(DIR)"}],
    }
    sidecar = patched(pod, verdict_on(pod))["spec"]["initContainers"][0]
    assert {"name": "DIR", "value": "<log-files>"} in sidecar["env"]


def test_containers_of_one_name_are_looked_at_one_by_one() -> None:
    """No API server takes such a pod, but ``pillion inject`` sees it: no container gets a second mount at a path."""
    pod = many(2, "/data/*.log")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][1] |= {"name": "c0", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    mounts = [container["volumeMounts"] for container in patched(pod, verdict_on(pod))["spec"]["containers"]]
    assert [[mount["name"] for mount in of_one] for of_one in mounts] == [["pillion-logs-1"], ["data"]]


def test_paths_of_a_tenant_fill_no_memory() -> None:
    """What is remembered of a path is in proportion to its length, and that is limited: 500 deep ones are little."""
    gc.collect()
    tracemalloc.start()
    for number in range(500):
        deep = f"/srv/{number:04}" + "/x" * 90
        pod = many(1, f"{deep}/*.log")
        pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": f"/data{deep}"}]
        assert verdict_on(pod).injected
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4 * 2**20
