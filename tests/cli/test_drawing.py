"""Tests of webhook.cli.drawing: what can be drawn of a pod."""

from typing import Any

import pytest
import yaml

from webhook import documents
from webhook.cli.drawing import drawing
from webhook.configuration import load
from webhook.workloads.reports import examine

CONFIGURATION = load(None)
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop, annotations: {pillion.dev/inject: "true", pillion.dev/logs: "/logs/*.log"}}
spec:
  initContainers:
    - {name: first, image: first:1}
    - {name: mesh, image: mesh:1, restartPolicy: Always}
  containers:
    - name: shop
      image: shop:1
      env: [{name: OWN, value: x}]
      volumeMounts: [{name: logs, mountPath: /logs, subPath: shop}, {name: ca, mountPath: /ca, readOnly: true}]
  volumes:
    - {name: logs, persistentVolumeClaim: {claimName: shop-logs}}
    - {name: ca, configMap: {name: ca}}
    - {name: odd, wonder: {of: clouds}}
"""


def drawn(text: str) -> dict[str, Any]:
    """Return the drawing of the only pod in a text."""
    stream = documents.read(text, "pod.yaml")
    (report,) = examine(stream, CONFIGURATION, namespace="default", namespace_opt_in=False)
    (review,) = report.reviews
    return drawing(review)


def test_what_is_new_is_told_apart() -> None:
    """Containers in the order in which they start, and what they mount."""
    found = drawn(POD)
    assert [(each["name"], each["kind"], each["new"]) for each in found["containers"]] == [
        ("pillion-tail", "native sidecar", True),
        ("first", "init container", False),
        ("mesh", "native sidecar", False),
        ("shop", "container", False),
    ]
    shop = found["containers"][-1]
    assert shop["variables"] == ["POD_NAME", "POD_NAMESPACE"]
    assert shop["mounts"] == [
        {"volume": "logs", "path": "/logs", "subPath": "shop", "readOnly": False, "new": False},
        {"volume": "ca", "path": "/ca", "subPath": "", "readOnly": True, "new": False},
    ]
    sidecar = next(each for each in found["containers"] if each["new"])
    assert {"volume": "logs", "path": "/logs", "subPath": "shop", "readOnly": True, "new": True} in sidecar["mounts"]
    assert all(mount["new"] for mount in sidecar["mounts"])
    assert found["volumes"] == [
        {"name": "logs", "type": "persistentVolumeClaim", "detail": "shop-logs", "new": False},
        {"name": "ca", "type": "configMap", "detail": "ca", "new": False},
        {"name": "odd", "type": "wonder", "detail": "", "new": False},
        {"name": "pillion-state", "type": "emptyDir", "detail": "16Mi", "new": True},
        {"name": "pillion-no-token", "type": "emptyDir", "detail": "", "new": True},
    ]


def test_a_new_mount_in_an_old_container_is_new() -> None:
    """Of a volume that was not there."""
    pod = yaml.safe_load(POD)
    pod["metadata"]["annotations"]["pillion.dev/logs"] = "/other/*.log"
    shop = drawn(yaml.safe_dump(pod))["containers"][-1]
    assert [(mount["path"], mount["new"]) for mount in shop["mounts"]] == [
        ("/logs", False),
        ("/ca", False),
        ("/other", True),
    ]


def test_a_pod_that_is_not_injected_has_nothing_new() -> None:
    """It is drawn as it is."""
    found = drawn(POD.replace('"true"', '"false"'))
    assert not any(each["new"] for each in [*found["containers"], *found["volumes"]])
    assert [each["name"] for each in found["containers"]] == ["first", "mesh", "shop"]


@pytest.mark.parametrize(
    "spec",
    [
        "null",
        "[]",
        "{containers: 1}",
        "{containers: [1, {name: 2}]}",
        "{containers: [{volumeMounts: [1], env: {}}], volumes: [x]}",
    ],
)
def test_anything_may_be_in_a_manifest(spec: str) -> None:
    """What is no text is left out."""
    assert drawn(f"apiVersion: v1\nkind: Pod\nspec: {spec}\n").keys() == {"containers", "volumes"}
