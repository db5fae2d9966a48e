"""The container that is added: the operator's patch on it."""

import json
from typing import Any

import jsonpatch

from webhook.configuration.loading import build
from webhook.injection.admission import admit
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason
from webhook.injection.review import parse_review
from webhook.injection.verdict import Verdict
from webhook.profiles import builtins


def configured(*patch: dict[str, Any]) -> Configuration:
    """Return a configuration whose default profile has a patch."""
    return build(
        {"defaultProfile": "own", "profiles": {"own": {"base": "tail", "patch": list(patch)}}},
        builtins(),
    )


def verdict_on(configuration: Configuration, **annotations: str) -> Verdict:
    """Return the verdict on a pod that asks."""
    keys = {"inject": "true", **annotations}
    pod = {
        "metadata": {"name": "shop", "annotations": {f"pillion.dev/{key}": value for key, value in keys.items()}},
        "spec": {"containers": [{"name": "shop", "image": "shop"}]},
    }
    request = {"uid": "u", "kind": {"version": "v1", "kind": "Pod"}, "operation": "CREATE", "object": pod}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    verdict = admit(parse_review(json.dumps(body).encode()), configuration)
    assert verdict.error is None
    return verdict


def test_a_patch_that_would_make_a_sidecar_that_cant_start_is_not_applied() -> None:
    """What it makes depends on the pod: here a second mount at the path of the logs."""
    mount = {"name": "pillion-state", "mountPath": "/srv/shop"}
    configuration = configured({"op": "add", "path": "/volumeMounts/-", "value": mount})
    assert verdict_on(configuration).injected
    verdict = verdict_on(configuration, logs="/srv/shop/*.log")
    assert verdict.reason is Reason.PROFILE_PATCH
    assert verdict.warnings == [
        'not injected: the patch of profile "own" makes a sidecar that can\'t start; ask your operator'
    ]


def test_a_patch_is_on_the_finished_sidecar() -> None:
    """Also on what was filled in for the pod."""
    configuration = configured({"op": "replace", "path": "/args/0", "value": "/x"})
    verdict = verdict_on(configuration)
    pod = jsonpatch.apply_patch({"spec": {}, "metadata": {"annotations": {}}}, json.loads(verdict.patch)[-3:-2])
    assert pod["spec"]["initContainers"][0]["args"] == ["/x"]
