"""AdmissionReviews of the sizes that clusters send: generated, so that everybody has the same bytes.

Modelled on what a kube-apiserver 1.35 sent a webhook for a pod that the ReplicaSet controller created: the order of
the keys, what it has filled in, and the managed fields, which are two fifths of the body (an entry for each
variable, port, mount and volume).
"""

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["ASKING", "BODIES", "body", "large", "many_variables", "pod", "typical", "unannotated"]


def _variable(number: int) -> dict[str, Any]:
    if number % 4:
        return {"name": f"SETTING_{number}", "value": f"value-of-setting-{number}"}
    return {"name": f"SECRET_{number}", "valueFrom": {"secretKeyRef": {"name": "service", "key": f"key-{number}"}}}


def _container(number: int, variables: int, mounts: int) -> dict[str, Any]:
    """Return a container as its author wrote it and the API server has defaulted it."""
    return {
        "name": f"app-{number}",
        "image": f"registry.example.com/team/service-{number}:2026.11.21-3f2a1b7",
        "command": ["/usr/local/bin/service", "--config", "/etc/service/config.yaml"],
        "args": ["--listen=:8080", "--level=info", "--instance=$(INSTANCE)"],
        "ports": [{"name": "http", "containerPort": 8080 + number, "protocol": "TCP"}],
        "env": [_variable(index) for index in range(variables)],
        "resources": {
            "limits": {"cpu": "1", "memory": "256Mi"},
            "requests": {"cpu": "100m", "memory": "128Mi"},
        },
        "volumeMounts": [
            {"name": f"volume-{index}", "mountPath": f"/etc/service/part-{index}"} for index in range(mounts)
        ],
        "livenessProbe": _probe("/livez", 8080 + number),
        "readinessProbe": _probe("/readyz", 8080 + number),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "runAsUser": 1000,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
        },
    }


def _probe(path: str, port: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


#: What the API server's own admission has added before it asks a webhook.
_TOKEN = {
    "name": "kube-api-access-x7k2p",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    },
}
_TOKEN_MOUNT = {
    "name": "kube-api-access-x7k2p",
    "readOnly": True,
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
}
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for trouble in ("not-ready", "unreachable")
]
_OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "service-6f7c9d8b5",
    "uid": "9d5c1c2e-54a5-4d0e-8c55-6d2c0f3f5a11",
    "controller": True,
    "blockOwnerDeletion": True,
}

#: What tells the items of a list apart, where they are managed one by one (core/v1's ``listMapKey``).
_ITEM_KEYS = {
    "containers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "ownerReferences": ("uid",),
}
#: Objects that are managed as one (core/v1's ``structType=atomic``, and maps that are).
_WHOLE = frozenset({"secretKeyRef"})


def _fields(value: Any, key: str) -> dict[str, Any]:
    """Return who manages what of a value, in the form of ``FieldsV1``."""
    if isinstance(value, dict) and key not in _WHOLE:
        return {".": {}, **_members(value)}
    if isinstance(value, list) and key in _ITEM_KEYS:
        items = _sorted((_item_key(key, item), _item(key, item)) for item in value)
        # what every pod must have is never managed as such
        return items if key == "containers" else {".": {}, **items}
    return {}


def _members(value: dict[str, Any]) -> dict[str, Any]:
    return _sorted((f"f:{key}", _fields(item, key)) for key, item in value.items())


def _item(key: str, item: dict[str, Any]) -> dict[str, Any]:
    return {} if key == "ownerReferences" else {".": {}, **_members(item)}


def _item_key(key: str, item: dict[str, Any]) -> str:
    return "k:" + json.dumps({name: item[name] for name in _ITEM_KEYS[key]}, separators=(",", ":"))


def _sorted(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return dict(sorted(items))


def pod(containers: int, variables: int, mounts: int, annotations: dict[str, str]) -> dict[str, Any]:
    """Return a pod that a ReplicaSet creates, as a webhook gets to see it."""
    metadata: dict[str, Any] = {
        "generateName": "service-6f7c9d8b5-",
        "namespace": "shop",
        "labels": {"app.kubernetes.io/name": "service", "pod-template-hash": "6f7c9d8b5", "team": "shop"},
        "annotations": _sorted(
            {
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "prometheus.io/port": "8080",
                "prometheus.io/scrape": "true",
                **annotations,
            }.items()
        ),
        "ownerReferences": [_OWNER],
    }
    spec: dict[str, Any] = {
        "volumes": [
            {"name": f"volume-{number}", "configMap": {"name": f"part-{number}", "defaultMode": 420}}
            for number in range(mounts)
        ],
        "containers": [_container(number, variables, mounts) for number in range(containers)],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "service",
        "serviceAccount": "service",
        "securityContext": {"fsGroup": 1000},
        "schedulerName": "default-scheduler",
    }
    managed = {key: value for key, value in metadata.items() if key != "namespace"}
    entry = {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-11-21T07:25:13Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": _members(managed), "f:spec": _members({**spec, "enableServiceLinks": True})},
    }
    # from here on: what admission adds, which nobody manages yet
    spec["volumes"].append(_TOKEN)
    for container in spec["containers"]:
        container["volumeMounts"].append(_TOKEN_MOUNT)
    spec |= {
        "tolerations": _TOLERATIONS,
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    metadata["managedFields"] = [entry]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {}}


def body(document: dict[str, Any]) -> bytes:
    """Return the AdmissionReview that the API server sends when the pod is created."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "uid": "2f6a5d1e-7f0a-4b8e-9f7d-0c8d1a5e7b33",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        },
        "object": document,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    return json.dumps(review, separators=(",", ":")).encode()


ASKING = {"pillion.dev/inject": "true", "pillion.dev/logs": "/var/log/service/*.log"}


def typical(asking: dict[str, str] = ASKING) -> bytes:
    """Return 9 KB: two containers of four variables."""
    return body(pod(2, 4, 1, asking))


def many_variables(asking: dict[str, str] = ASKING) -> bytes:
    """Return 79 KB, half of it managed fields: ten containers of 40 variables."""
    return body(pod(10, 40, 2, asking))


def large(asking: dict[str, str] = ASKING) -> bytes:
    """Return 62 KB: twelve containers of 19 variables."""
    return body(pod(12, 19, 3, asking))


def unannotated(_asking: dict[str, str] = ASKING) -> bytes:
    """Return the typical pod, which does not ask."""
    return body(pod(2, 4, 1, {}))


BODIES = {"typical": typical, "10x40": many_variables, "large": large, "un-annotated": unannotated}
