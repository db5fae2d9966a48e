"""The API server is the judge: what is valid without us is valid with us."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tests.goldens import CASES, Case
from tests.injection.test_properties import patched, verdict_on
from tests.strategies import pods

from .conftest import Cluster, NewNamespace
from .judge import Judge, judge

Record = Callable[[str, object], None]

pytestmark = pytest.mark.cluster


@pytest.fixture
def asked(apiserver: Cluster) -> Iterator[Judge]:
    """Return a judge."""
    with judge(apiserver.kubectl, apiserver.kubeconfig) as found:
        yield found


def _result(case: Case) -> Any:
    verdict = case.verdict()
    return jsonpatch.apply_patch(case.pod, msgspec.json.decode(verdict.patch or b"[]"))


def test_goldens_stay_valid(asked: Judge, new_namespace: NewNamespace, record_property: Record) -> None:
    """Each golden that the API server accepts without the injection is accepted with it, at every level."""
    refused: list[str] = []
    judged = 0
    for level in ("privileged", "baseline", "restricted"):
        namespace = new_namespace(level)
        for case in CASES:
            if not (case.folder / "patch.yaml").exists() or not asked.ask(namespace, case.pod).accepted:
                continue
            judged += 1
            judgement = asked.ask(namespace, _result(case))
            if not judgement.accepted:
                refused.append(f"{level} {case.name}: {judgement.message}")
    record_property("judged", judged)
    assert not refused, "\n".join(refused)
    assert judged > 200


GENERATED = int(os.environ.get("PILLION_JUDGED", "1000"))


@pytest.mark.parametrize("level", ["privileged", "baseline", "restricted"])
def test_generated_pods_stay_valid(
    asked: Judge, new_namespace: NewNamespace, level: str, record_property: Record
) -> None:
    """Each generated pod that the API server accepts without the injection is accepted with it."""
    namespace = new_namespace(level)
    counted = {"asked": 0, "valid": 0}

    @settings(max_examples=GENERATED, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(pods(restricted=level == "restricted"))
    def judged(pod: Any) -> None:
        counted["asked"] += 1
        verdict = verdict_on(pod)
        if not verdict.injected or not asked.ask(namespace, pod).accepted:
            return
        counted["valid"] += 1
        judgement = asked.ask(namespace, patched(pod, verdict))
        assert judgement.accepted, judgement.message

    judged()
    record_property("judged", counted)
    assert counted["valid"] > counted["asked"] / 5
