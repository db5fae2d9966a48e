"""The verdict as a whole."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import msgspec
import pytest

from webhook.configuration import load
from webhook.injection.admission import Admission, admit
from webhook.injection.paths import components, overlap
from webhook.injection.pod_annotations import ANNOTATIONS_SIZE
from webhook.injection.reasons import Reason
from webhook.injection.review import Kind, Request
from webhook.injection.verdict import Verdict

CONFIGURATION = load(None)
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
STATUS = "pillion.dev/status"


def request_for(pod: Any) -> Request:
    """Return the request for a pod that is being created."""
    return Request(
        "u",
        kind=Kind("", "v1", "Pod"),
        operation="CREATE",
        object=msgspec.Raw(json.dumps(pod, ensure_ascii=False).encode()),
    )


def verdict_on(pod: Any) -> Verdict:
    """Return the verdict on a pod that is being created."""
    return admit(request_for(pod), CONFIGURATION)


def asking(filler: str = "") -> dict[str, Any]:
    """Return a pod that asks, with an annotation of any size."""
    annotations = {"pillion.dev/inject": "true", "filler": filler}
    return {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app", "image": "i"}]}}


def result(pod: Any, verdict: Verdict) -> Any:
    """Return the pod after the patch."""
    return jsonpatch.apply_patch(pod, json.loads(verdict.patch or b"[]"))


def size(pod: Any) -> int:
    """Return the size of all annotations, as the API server counts it."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in pod["metadata"]["annotations"].items())


@pytest.mark.parametrize("character", ["x", "\u00e4", "\U0001f600"])
def test_annotations_fill_what_is_left_and_no_more(character: str) -> None:
    """At each size near the limit ours are set as far as there is room, counted in bytes; the pod is injected."""
    ours = size(result(asking(), verdict_on(asking()))) - size(asking())
    width = len(character.encode())
    seen = set()
    for spare in (ours + width, ours, ours - width, ours // 2, width, 0):
        pod = asking(character * ((ANNOTATIONS_SIZE - size(asking()) - spare) // width))
        verdict = verdict_on(pod)
        after = result(pod, verdict)
        assert verdict.injected
        assert size(after) <= ANNOTATIONS_SIZE
        present = {SAFE, STATUS} & after["metadata"]["annotations"].keys()
        assert (len(present) < 2) == (Reason.ANNOTATIONS_FULL in {finding.reason for finding in verdict.findings})
        seen.add(len(present))
    assert seen == {0, 1, 2}


def test_a_request_can_be_admitted_twice() -> None:
    """A verdict leaves the request as it was sent."""
    request = verdict_on(asking()).request
    assert admit(request, CONFIGURATION).patch == admit(request, CONFIGURATION).patch


def test_a_patch_is_gone_with_its_operations() -> None:
    """Who takes a verdict's operations away finds no patch, also where it was encoded before."""
    verdict = verdict_on(asking())
    assert verdict.patch
    verdict.operations = []
    assert verdict.patch == b""
    assert verdict.response().patch is None


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
    admission = Admission(request_for(pod), CONFIGURATION)
    assert admission.run().injected
    assert admission.plan is not None
    paths = [components(source.path) for source in admission.plan.sources]
    assert len(paths) == logs.count(",") + 1
    assert not [one for number, one in enumerate(paths) for other in paths[:number] if overlap(one, other)]
