"""What must hold of every body that reaches the core, whatever is in it."""

import json
from collections import Counter
from typing import Any

import jsonpatch

from webhook.configuration import load
from webhook.errors import ReviewError
from webhook.injection.admission import admit
from webhook.injection.reasons import MAX_WARNING_LENGTH, Reason
from webhook.injection.review import encode_review, parse_review
from webhook.injection.verdict import Verdict

__all__ = ["judge"]

CONFIGURATION = load(None)


def judge(body: bytes, *, opted_in: bool = False) -> Reason | None:
    """Return the verdict's reason, None for what is no review; AssertionError where a promise is broken.

    The only exception is :class:`ReviewError`; a verdict is never our bug; the answer is JSON with the request's uid;
    a patch applies, and the pod that it makes is left alone.
    """
    try:
        request = parse_review(body, namespace_opted_in=opted_in)
    except ReviewError:
        return None
    verdict = admit(request, CONFIGURATION)
    if verdict.error is not None:
        raise verdict.error
    assert verdict.reason is not Reason.INTERNAL_ERROR
    answer = json.loads(encode_review(request, verdict.response()))
    assert answer["response"]["uid"] == request.uid
    assert answer["response"]["allowed"] is True
    assert all(len(warning) <= MAX_WARNING_LENGTH for warning in answer["response"].get("warnings", ()))
    if verdict.injected:
        _judge_patch(body, verdict, opted_in=opted_in)
    return verdict.reason


def _judge_patch(body: bytes, verdict: Verdict, *, opted_in: bool) -> None:
    document = json.loads(body.decode("utf-8", "replace"))  # what no rule looks at is not decoded
    pod = jsonpatch.apply_patch(document["request"]["object"], json.loads(verdict.patch))
    before, after = _containers(document["request"]["object"]), _containers(pod)
    for name, container in after.items():
        paths, known = _paths(container), _paths(before.get(name, {}))
        # two mounts at one path are never ours
        assert len(paths) - len(set(paths)) <= len(known) - len(set(known)), name
    document["request"]["object"] = pod
    again = admit(parse_review(json.dumps(document).encode(), namespace_opted_in=opted_in), CONFIGURATION)
    assert not again.operations, (again.reason, json.loads(again.patch))


def _containers(pod: Any) -> dict[str, Any]:
    """Return the containers whose names are their own."""
    every = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    names = Counter(container.get("name") for container in every)
    return {container["name"]: container for container in every if names[container.get("name")] == 1}


def _paths(container: Any) -> list[str]:
    mounts = container.get("volumeMounts") or ()
    return [str(mount.get("mountPath")).rstrip("/") for mount in mounts]
