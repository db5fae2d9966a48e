"""Pods under review: the way of the core from a pod to its verdict and its patch."""

import json
from typing import Any

import jsonpatch

from webhook.configuration import load
from webhook.injection.admission import Admission
from webhook.injection.profile import Configuration
from webhook.injection.review import Request, parse_review
from webhook.injection.verdict import Verdict

__all__ = ["CONFIGURATION", "admission_of", "all_containers", "patched", "request_for", "verdict_on"]

CONFIGURATION = load(None)


def request_for(pod: Any, *, opted_in: bool = False) -> Request:
    """Return the request for a pod that is being created."""
    request = {
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "default",
        "object": pod,
    }
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return parse_review(json.dumps(document).encode(), namespace_opted_in=opted_in)


def admission_of(pod: Any, configuration: Configuration = CONFIGURATION, *, opted_in: bool = False) -> Admission:
    """Return the admission of a pod that is being created, run to its verdict."""
    admission = Admission(request_for(pod, opted_in=opted_in), configuration)
    admission.run()
    return admission


def verdict_on(pod: Any, configuration: Configuration = CONFIGURATION, *, opted_in: bool = False) -> Verdict:
    """Return the verdict on a pod that is being created."""
    return admission_of(pod, configuration, opted_in=opted_in).verdict


def patched(pod: Any, verdict: Verdict) -> Any:
    """Return the pod as the API server has it afterwards."""
    return jsonpatch.apply_patch(pod, json.loads(verdict.patch or b"[]"))


def all_containers(pod: Any) -> list[Any]:
    """Return ordinary and init containers."""
    return [*(pod["spec"].get("containers") or []), *(pod["spec"].get("initContainers") or [])]
