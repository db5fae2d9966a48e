"""Pods that are made from goldens, or are too big to be written by hand."""

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

from tests.goldens import ROOT, Case
from tests.injection.test_properties import patched, verdict_on
from webhook.injection.pod_annotations import ANNOTATIONS_SIZE, SAFE_TO_EVICT
from webhook.injection.reasons import Reason
from webhook.injection.verdict import Verdict

STATUS = "pillion.dev/status"
ASKING = Case(ROOT / "ask-annotation-true")
ORDINARY = Case(ROOT / "native-false-always")


def result(case: Case) -> Any:
    """Return the pod as it is after its injection."""
    return patched(case.pod, case.verdict())


def as_stored(pod: Any) -> None:
    """Make of the pod what the API server gives back of it."""
    pod["metadata"] |= {"uid": "9d5c1c2e-54a5-4d0e-8c55-6d2c0f3f5a11", "creationTimestamp": "2026-11-21T05:53:58Z"}
    token = {"name": "kube-api-access-x7k2p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    pod["spec"]["volumes"].append(token)
    mount = {"name": token["name"], "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    for container in pod["spec"]["containers"]:
        container.setdefault("volumeMounts", []).append(mount)
    pod["spec"]["nodeName"] = "node-1"
    pod["status"] = {"phase": "Running", "qosClass": "Burstable"}


def without_status(pod: Any) -> None:
    """Remove what we said of it."""
    del pod["metadata"]["annotations"][STATUS]


def forged_status(pod: Any) -> None:
    """Say something else of it."""
    pod["metadata"]["annotations"][STATUS] = "{}"


def older_revision(pod: Any) -> None:
    """Make the sidecar an older one."""
    sidecar = pod["spec"]["initContainers"][0]
    sidecar |= {"image": "busybox:1.30", "args": ["/old"], "env": []}


def another_profile(pod: Any) -> None:
    """Ask for another profile afterwards."""
    pod["metadata"]["annotations"]["pillion.dev/profile"] = "web"


def one_more_container(pod: Any) -> None:
    """Add a container, as an injector that comes after us does."""
    pod["spec"]["containers"].append({"name": "late", "image": "late"})


@pytest.mark.parametrize(
    "change",
    [as_stored, without_status, forged_status, older_revision, another_profile, one_more_container],
    ids=lambda change: change.__name__,
)
def test_never_a_second_sidecar(change: Callable[[Any], None]) -> None:
    """Whatever happened to an injected pod since, it is left as it is."""
    pod = result(ASKING)
    change(pod)
    again = verdict_on(pod)
    assert again.reason is Reason.ALREADY_INJECTED
    assert again.patch == b""


def test_an_ordinary_sidecar_that_was_moved_is_found() -> None:
    """Another webhook may have put it first."""
    pod = result(ORDINARY)
    containers = pod["spec"]["containers"]
    containers.insert(0, containers.pop())
    assert ORDINARY.verdict(pod).reason is Reason.ALREADY_INJECTED


def test_a_sidecar_that_mounts_only_the_pods_own_volumes_is_found() -> None:
    """It has no volume of ours to be known by, but our variables; so it is as the API server gives them back."""
    pod = result(ASKING)
    sidecar = pod["spec"]["initContainers"][0]
    sidecar["volumeMounts"] = []
    for variable in sidecar["env"]:
        if "valueFrom" in variable:
            variable["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    assert verdict_on(pod).reason is Reason.ALREADY_INJECTED


def test_our_name_without_our_mounts_and_variables_is_somebody_elses() -> None:
    """A container of our name that has nothing of ours is a reason, not ours."""
    pod = result(ASKING)
    pod["spec"]["initContainers"][0] |= {"volumeMounts": [], "env": []}
    verdict = verdict_on(pod)
    assert verdict.reason is Reason.NAME_TAKEN
    assert verdict.patch == b""


def full(pod: Any, room: int) -> Any:
    """Return the pod with other annotations that leave room for so many bytes of ours."""
    pod = copy.deepcopy(pod)
    annotations = pod["metadata"]["annotations"]
    size = sum(len(key) + len(value) for key, value in annotations.items()) + len("example.com/x")
    annotations["example.com/x"] = "é" * ((ANNOTATIONS_SIZE - size - room) // 2)
    return pod


def size_of(pod: Any) -> int:
    """Return what the API server counts."""
    annotations = pod["metadata"]["annotations"]
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


@pytest.mark.parametrize(
    ("room", "kept"),
    [(20, set()), (150, {SAFE_TO_EVICT}), (1000, {SAFE_TO_EVICT, STATUS})],
    ids=["none", "one", "both"],
)
def test_annotations_that_do_not_fit_are_left_out(room: int, kept: set[str]) -> None:
    """The pod is injected all the same, and the sum stays within what the API server takes."""
    pod = full(ASKING.pod, room)
    verdict = verdict_on(pod)
    after = patched(pod, verdict)
    assert verdict.injected
    assert {SAFE_TO_EVICT, STATUS} & set(after["metadata"]["annotations"]) == kept
    assert size_of(after) <= ANNOTATIONS_SIZE
    assert (Reason.ANNOTATIONS_FULL in {finding.reason for finding in verdict.notes}) is (len(kept) < 2)


def test_annotations_that_are_too_many_already_stay_the_users_problem() -> None:
    """Ours are left out; what the API server then says is its own word."""
    pod = full(ASKING.pod, -100)
    verdict = verdict_on(pod)
    assert verdict.injected
    assert patched(pod, verdict)["metadata"]["annotations"] == pod["metadata"]["annotations"]


def many(count: int, logs: str) -> Any:
    """Return a pod of many containers."""
    return {
        "metadata": {"name": "many", "annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": logs}},
        "spec": {"containers": [{"name": f"c{number}", "image": "i"} for number in range(count)]},
    }


def test_more_places_than_are_mounted_is_a_reason() -> None:
    """500 containers with 16 directories each would be 8,000 mounts in the sidecar."""
    verdict = verdict_on(many(500, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES
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
    pod = {**ASKING.pod, "futureField": deep}
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
    pod = copy.deepcopy(ASKING.pod)
    change(pod)
    verdict: Verdict = verdict_on(pod)
    assert verdict.injected is injected
    assert all(len(warning) <= 120 for warning in verdict.warnings)
    assert json.loads(verdict.patch or b"[]") == [] or injected


def test_more_containers_than_can_be_planned_for_is_a_reason() -> None:
    """Thousands of containers with many directories are refused before they are planned for."""
    verdict = verdict_on(many(3000, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES
    assert "3000 containers" in verdict.warnings[0]


def test_patterns_longer_than_an_argument_list_are_a_reason() -> None:
    """What would not fit into a variable, or make the pod too large for etcd, is refused."""
    folder = "/".join(["d" * 200] * 8)
    verdict = verdict_on(many(1, ",".join(f"/srv/{folder}/{number}.log" for number in range(100))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES


def test_thousands_of_unknown_keys_are_not_guessed_at() -> None:
    """A few are named; the rest can be no typing errors."""
    pod = copy.deepcopy(ASKING.pod)
    pod["metadata"]["annotations"] |= {f"pillion.dev/x{number}": "" for number in range(5000)}
    verdict = verdict_on(pod)
    assert verdict.injected
    assert len(verdict.warnings) == 8


def test_too_many_variables_behind_a_subpathexpr_are_a_reason() -> None:
    """Each variable may be made of all those before it; nobody needs hundreds for a path."""
    pod = many(1, "/data/*.log")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][0] |= {
        "env": [{"name": f"V{number}", "value": f"$(V{number - 1})$(V{number - 1})"} for number in range(1000)],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "$(V999)"}],
    }
    assert verdict_on(pod).reason is Reason.UNKNOWN_VARIABLE


@pytest.mark.parametrize("field", ["args", "workingDir"])
def test_a_path_longer_than_the_kernel_takes_is_not_compared(field: str) -> None:
    """A path of a hundred thousand folders hides nothing that could be opened."""
    pod = many(1, "/d/*.log")
    path = "/d" + "/a" * 100_000
    pod["spec"]["containers"][0][field] = [path] if field == "args" else path
    assert verdict_on(pod).injected


def test_an_unknown_name_among_thousands_is_not_guessed_at() -> None:
    """The pod is left alone, with a name that exists."""
    pod = many(20_000, "/d/*.log")
    pod["metadata"]["annotations"]["pillion.dev/containers"] = "a" * 60
    assert verdict_on(pod).reason is Reason.UNKNOWN_CONTAINER


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
