"""A configuration that has every key, and values to put in their places."""

import copy
import json
from collections.abc import Iterator
from typing import Any

__all__ = ["FULL", "VALUES", "at", "paths", "replaced"]

_AMOUNTS = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi", "example.com/gpu": 1}
_PROBE = {
    "httpGet": {"port": "http", "path": "/ready", "scheme": "HTTP", "httpHeaders": [{"name": "X-A", "value": "1"}]},
    "initialDelaySeconds": 1,
    "timeoutSeconds": 1,
    "periodSeconds": 5,
    "successThreshold": 1,
    "failureThreshold": 3,
}
FULL: dict[str, Any] = {
    "defaultProfile": "own",
    "strict": False,
    "allowHostPath": True,
    "openshift": False,
    "ignoredContainers": ["istio-proxy"],
    "profiles": {
        "own": {
            "base": "tail",
            "description": "all there is",
            "native": True,
            "guaranteedCpu": "100m",
            "order": "first",
            "logs": ["/var/log/app/*.log", "/var/log/web/**/*.log"],
            "start": "end",
            "injectAll": True,
            "reservedPaths": ["/opt/tool"],
            "volume": {"sizeLimit": "1Gi", "medium": "Memory"},
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi", "medium": ""}},
                {"name": "conf", "configMap": {"name": "conf", "optional": True, "items": [{"key": "a", "path": "a"}]}},
                {"name": "key", "secret": {"secretName": "key", "defaultMode": 256, "optional": True}},
                {"name": "node", "hostPath": {"path": "/var/log/node", "type": "DirectoryOrCreate"}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
                {"name": "down", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"name": "nfs", "nfs": {"server": "nfs.example.com", "path": "/x", "readOnly": True}},
                {"name": "csi", "csi": {"driver": "csi.example.com", "volumeAttributes": {"a": "b"}}},
                {
                    "name": "all",
                    "projected": {
                        "sources": [
                            {"secret": {"name": "s", "optional": True}},
                            {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600, "audience": "a"}},
                        ]
                    },
                },
                {
                    "name": "own-claim",
                    "ephemeral": {
                        "volumeClaimTemplate": {
                            "spec": {
                                "accessModes": ["ReadWriteOnce"],
                                "resources": {"requests": {"storage": "1Gi"}},
                            }
                        }
                    },
                },
            ],
            "imagePullSecrets": [{"name": "pull"}],
            "bounds": {"cpu-limit": {"min": "10m", "max": 2}, "memory-limit": {"min": "16Mi", "max": "1Gi"}},
            "allowRoot": True,
            "serviceAccountToken": False,
            "required": {"ADDRESS": "where the store is"},
            "patch": [
                {"op": "test", "path": "/image", "value": "registry.example.com:5000/team/tool:1.2"},
                {"op": "add", "path": "/env/-", "value": {"name": "LAST", "value": "1"}},
                {"op": "copy", "from": "/env/0", "path": "/env/-"},
                {"op": "replace", "path": "/env/6/name", "value": "COPY"},
            ],
            "sidecar": {
                "image": "registry.example.com:5000/team/tool:1.2",
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/tool", "$$x"],
                "args": ["<log-files>", "<native>"],
                "env": [
                    {"name": "ADDRESS", "value": "http://store.example.com"},
                    {"name": "FILES", "value": "<log-files>"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                    {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": True}}},
                    {"name": "START", "value": "<start>"},
                ],
                "envFrom": [
                    {"prefix": "A_", "configMapRef": {"name": "m", "optional": True}},
                    {"secretRef": {"name": "s", "optional": True}},
                ],
                "resources": {"requests": dict(_AMOUNTS), "limits": dict(_AMOUNTS)},
                "securityContext": {
                    "runAsUser": 1000,
                    "runAsGroup": None,
                    "runAsNonRoot": True,
                    "privileged": False,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "procMount": "Default",
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                    "seLinuxOptions": {"level": "s0"},
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"},
                    "appArmorProfile": {"type": "RuntimeDefault"},
                },
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "livenessProbe": {**_PROBE, "terminationGracePeriodSeconds": 5},
                "readinessProbe": {"grpc": {"port": 8080, "service": "s"}},
                "startupProbe": {"exec": {"command": ["true"]}},
                "lifecycle": {"postStart": {"exec": {"command": ["true"]}}, "preStop": {"sleep": {"seconds": 1}}},
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/scratch", "subPath": "a"},
                    {"name": "node", "mountPath": "/node", "readOnly": True, "mountPropagation": "HostToContainer"},
                    {"name": "claim", "mountPath": "/claim", "subPathExpr": "$(POD_NAME)"},
                    {"name": "conf", "mountPath": "/conf", "readOnly": True, "recursiveReadOnly": "IfPossible"},
                ],
                "workingDir": "/scratch",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "stdin": False,
                "tty": False,
            },
        },
        "fixed": {"base": "web", "logsMountPath": "/logs", "native": False, "serviceAccountToken": True},
    },
}


def _deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


#: Every type of JSON, at its ends.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**70), 10**400, 0.5, 1e308, float("inf"), float("nan")),
    *("", "x", "/", "/x", "/proc/x", "/var", "/run", "0", "1Gi", "1m", "true", "\0", "\ud800", "\x1b[2J", "a\nb", "é"),
    *(
        "/var/log/app",
        "x" * 300,
        "x" * 200_000,
        "x" * 600_000,
        "<log-files>",
        "<x>",
        "$(X)",
        "$(",
        "Always",
        "~",
        "[x]",
    ),
    *([], [None], ["x"], [[]], [{}], [5], [{"name": ["x"]}], [{"name": "x"}], _deep(40), _deep(400)),
    *({}, {"x": None}, {"x": "y"}, {"name": "x"}, {"name": ["x"]}, {"\0": 1}, {"\ud800": 1}, {"": {}}),
)


def paths(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Find every path in a document, its root as well."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from paths(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from paths(value, (*path, number))


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    """Return what is at a path."""
    for step in path:
        document = document[step]
    return document


def replaced(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of the document with another value at a path."""
    if not path:
        return value
    document = copy.deepcopy(document)
    at(document, path[:-1])[path[-1]] = value
    return document


def pretty(document: Any) -> str:
    """Return the document for a failure's message."""
    return json.dumps(document, default=str)[:2000]
