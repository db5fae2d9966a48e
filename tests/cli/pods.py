"""Pods as a cluster has them, for the tests of commands that read one."""

import json
from typing import Any

import jsonpatch
import msgspec

from tests.cli.fake_kubectl import FakeKubectl
from webhook.configuration import load
from webhook.injection.admission import admit
from webhook.injection.review import POD, Request

__all__ = ["ASKING", "CONFIG_MAP", "CREATED", "WEBHOOKS", "hold", "injected", "install", "owned", "pod", "put"]

ASKING = {"pillion.dev/inject": "true", "pillion.dev/logs": "/logs/*.log"}
CREATED = "2026-11-27T10:00:00Z"
CONFIG_MAP = "/api/v1/namespaces/pillion-system/configmaps/pillion"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


def pod(name: str, annotations: dict[str, str] | None = None, *, namespace: str = "shop", **metadata: Any) -> Any:
    """Return a pod that no kubelet has seen; it mounts a volume at /logs."""
    found = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "creationTimestamp": CREATED}
    mounts = [{"name": "logs", "mountPath": "/logs"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**found, "annotations": dict(annotations or {}), **metadata},
        "spec": {
            "containers": [{"name": "app", "image": "app", "volumeMounts": mounts}],
            "volumes": [{"name": "logs", "emptyDir": {}}],
        },
        "status": {"phase": "Running"},
    }


def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
    """Return what a pod's metadata says of its controller."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": True}
    return {"ownerReferences": [owner], "labels": {key.replace("_", "-"): value for key, value in labels.items()}}


def injected(document: Any, *, revision: str = "", ready: bool = True, restarts: int = 0) -> Any:
    """Return a pod with the sidecar that the built-in configuration gives it; ``revision`` is what its status says."""
    request = Request("1", POD, "CREATE", object=msgspec.Raw(json.dumps(document).encode()))
    verdict = admit(request, load(None))
    assert verdict.injected
    found = jsonpatch.apply_patch(document, json.loads(verdict.patch))
    if revision:
        status = json.loads(found["metadata"]["annotations"]["pillion.dev/status"])
        found["metadata"]["annotations"]["pillion.dev/status"] = json.dumps(status | {"revision": revision})
    kubelet = {"name": "pillion-tail", "ready": ready, "restartCount": restarts, "state": {"running": {}}}
    found["status"] = {"phase": "Running", "initContainerStatuses": [kubelet]}
    return found


def put(fake: FakeKubectl, *pods: Any, opted_in: tuple[str, ...] = ()) -> None:
    """Put pods into the fake's cluster, and the namespaces that opted in."""
    raw = fake.cluster["raw"]
    raw |= {"/api/v1/pods": list(pods), "/api/v1/namespaces": []}
    for name in {"shop", *opted_in, *(one["metadata"]["namespace"] for one in pods)}:
        labels = {"pillion.dev/inject": "true"} if name in opted_in else {}
        metadata = {"name": name, "uid": f"namespace {name}", "labels": labels}
        raw[f"/api/v1/namespaces/{name}"] = {"kind": "Namespace", "metadata": metadata}
        raw[f"/api/v1/namespaces/{name}/pods"] = [one for one in pods if one["metadata"]["namespace"] == name]
        if labels:
            raw["/api/v1/namespaces"].append({"metadata": metadata})
    fake.save()


def install(fake: FakeKubectl, configuration: str = "{}", *, prefix: str = "pillion.dev/") -> None:
    """Put a release into the fake's cluster, as far as commands look at it."""
    selector = [
        {"key": f"{prefix}inject", "operator": "NotIn", "values": ["true"]},
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "pillion-system"]},
    ]
    entry = {
        "name": "annotated.pillion.pillion-system.pillion.dev",
        "clientConfig": {"service": {"name": "pillion", "namespace": "pillion-system"}},
        "namespaceSelector": {"matchExpressions": selector},
    }
    annotations = {"pillion.dev/certificate": "pillion-certificate"}
    metadata = {"uid": "2", "name": "pillion", "annotations": annotations, "creationTimestamp": "2026-11-01T10:00:00Z"}
    other = {"metadata": {"uid": "somebody else's"}, "webhooks": [entry]}
    fake.cluster["raw"][WEBHOOKS] = [other, {"metadata": metadata, "webhooks": [{"name": "by url"}, entry]}]
    fake.cluster["raw"][CONFIG_MAP] = {"metadata": {"labels": {}}, "data": {"configuration.yaml": configuration}}
    fake.save()


def hold(fake: FakeKubectl, kind: str, document: Any) -> None:
    """Let ``kubectl get KIND/NAME`` find an object."""
    metadata = document["metadata"]
    fake.cluster["objects"][f"{metadata['namespace']}/{kind}/{metadata['name']}"] = document
    fake.save()
