"""AdmissionReviews of the sizes that clusters send: generated, so that everybody has the same bytes."""

import json
from typing import Any

__all__ = ["body", "large", "many_variables", "pod", "typical", "unannotated"]


def _container(number: int, variables: int, mounts: int) -> dict[str, Any]:
    """Return a container as the API server has defaulted it."""
    return {
        "name": f"app-{number}",
        "image": f"registry.example.com/team/service-{number}:2026.11.21-3f2a1b7",
        "command": ["/usr/local/bin/service", "--config", "/etc/service/config.yaml"],
        "args": ["--listen=:8080", "--level=info", "--instance=$(INSTANCE)"],
        "ports": [{"name": "http", "containerPort": 8080 + number, "protocol": "TCP"}],
        "env": [
            {"name": f"SETTING_{index}", "value": f"value-of-setting-{index}"}
            if index % 4
            else {"name": f"SECRET_{index}", "valueFrom": {"secretKeyRef": {"name": "service", "key": f"key-{index}"}}}
            for index in range(variables)
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "volumeMounts": [
            *({"name": f"volume-{index}", "mountPath": f"/etc/service/part-{index}"} for index in range(mounts)),
            {
                "name": "kube-api-access-x7k2p",
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            },
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


def pod(containers: int, variables: int, mounts: int, annotations: dict[str, str]) -> dict[str, Any]:
    """Return a pod as a ReplicaSet creates it."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "service-6f7c9d8b5-",
            "namespace": "shop",
            "creationTimestamp": None,
            "labels": {"app.kubernetes.io/name": "service", "pod-template-hash": "6f7c9d8b5", "team": "shop"},
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "8080",
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                **annotations,
            },
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "service-6f7c9d8b5",
                    "uid": "9d5c1c2e-54a5-4d0e-8c55-6d2c0f3f5a11",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                {
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-11-21T05:53:58Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": {"f:annotations": {".": {}}, "f:generateName": {}, "f:labels": {".": {}}},
                        "f:spec": {
                            "f:containers": {
                                f'k:{{"name":"app-{number}"}}': {
                                    ".": {},
                                    "f:env": {".": {}},
                                    "f:image": {},
                                    "f:resources": {},
                                }
                                for number in range(containers)
                            }
                        },
                    },
                }
            ],
        },
        "spec": {
            "volumes": [
                *(
                    {"name": f"volume-{n}", "configMap": {"name": f"part-{n}", "defaultMode": 420}}
                    for n in range(mounts)
                ),
                _TOKEN,
            ],
            "containers": [_container(number, variables, mounts) for number in range(containers)],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "service",
            "serviceAccount": "service",
            "securityContext": {"fsGroup": 1000},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                },
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                },
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    }


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


def typical() -> bytes:
    """Return 8 KB: two containers of a dozen variables."""
    return body(pod(2, 12, 3, ASKING))


def many_variables() -> bytes:
    """Return 36 KB: ten containers of 40 variables."""
    return body(pod(10, 40, 2, ASKING))


def large() -> bytes:
    """Return 62 KB: twenty containers."""
    return body(pod(20, 26, 5, ASKING))


def unannotated() -> bytes:
    """Return the typical pod, which does not ask."""
    return body(pod(2, 12, 3, {}))


BODIES = {"typical": typical, "10x40": many_variables, "large": large, "un-annotated": unannotated}
