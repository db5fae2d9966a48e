"""Reviews changed a little, as trees and as bytes; a seed decides everything."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.goldens import CASES

__all__ = ["SEEDS", "changed_bytes", "changed_tree", "mutated"]

#: What to begin with: a review of each golden pod.
SEEDS = tuple(case.body() for case in CASES)

#: Values that rules look at, and values that nobody expects there.
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 65536, 2**31, 2**63, 10**30, 0.5, [], {}, [[]], [None], {"name": None}, ""),
    *("true", "false", "True", " true ", "0", "-1", "1000", "10m", "1Gi", "1e3", "1E", "9" * 40, "500Gi", "0x10"),
    *(
        "tail",
        "web",
        "otlp",
        "filebeat",
        "otel",
        "app",
        "istio-proxy",
        "pillion-tail",
        "pillion-logs-1",
        "pillion-state",
    ),
    *("/", "/var/log", "/var/log/app/*.log", "/var/log/app", "/a/../b", "/a//b/", "a/b", "/etc", "/proc/1", "/tmp/x"),
    *("web:/data/**/*.log", "/logs/**", "/run/secrets/x", "/var/run/app", "/logs/app.log,\r\n/logs/b*.log", ",", ":"),
    *("$(POD_NAME)", "$$(POD_NAME)", "$(A)$(B)", "$(", "POD_NAME", "PATH", "\u0000", "\ud7ff", "é", "x" * 300),
    *("Always", "Never", "None", "HostToContainer", "Bidirectional", "linux", "windows", "CREATE", "UPDATE", "Pod"),
]
#: Keys that rules look at.
KEYS = [
    *("name", "mountPath", "subPath", "subPathExpr", "readOnly", "emptyDir", "secret", "env", "envFrom", "value"),
    *("valueFrom", "volumeMounts", "volumeDevices", "volumes", "initContainers", "containers", "command", "args"),
    *("workingDir", "restartPolicy", "securityContext", "runAsUser", "runAsNonRoot", "resources", "limits", "requests"),
    *("annotations", "labels", "nodeSelector", "os", "hostNetwork", "ports", "containerPort", "livenessProbe", "exec"),
    *(
        f"pillion.dev/{key}"
        for key in ("inject", "logs", "profile", "containers", "env", "cpu-request", "memory-limit")
    ),
    *(f"pillion.dev/{key}" for key in ("run-as-user", "volume-size-limit", "status", "unknown")),
    *("uid", "operation", "object", "kind", "namespace", "subResource", "apiVersion", "request", "metadata", "spec"),
]


def mutated(body: bytes, random: Random) -> bytes:
    """Return the body with some changes: mostly a document still, sometimes not even text."""
    if random.random() < 0.15:
        return changed_bytes(body, random)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return changed_bytes(body, random)
    request = document.get("request") if isinstance(document, dict) else None
    for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
        if isinstance(request, dict) and "object" in request and random.random() < 0.9:
            request["object"] = changed_tree(request["object"], random)
        else:
            document = changed_tree(document, random)
    try:
        return json.dumps(document, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return body


def changed_bytes(body: bytes, random: Random) -> bytes:
    """Return the body with a few bytes changed, lost, doubled or added."""
    changed = bytearray(body or b"{}")
    for _ in range(random.randrange(1, 6)):
        start = random.randrange(len(changed) + 1)
        end = min(len(changed), start + random.choice((1, 1, 2, 8, 64, 1024)))
        what = random.randrange(5)
        if what == 0:
            changed[start:end] = b""
        elif what == 1:
            changed[start:start] = changed[start:end]
        elif what == 2:
            changed[start:end] = random.randbytes(end - start)
        elif what == 3:
            changed[start:start] = random.choice((b"{", b"[" * 40, b'"', b",", b"\\u0000", b"\xff", b"1e9999", b"null"))
        else:
            del changed[start:]
    return bytes(changed)


def changed_tree(document: Any, random: Random, *, values: Sequence[Any] = VALUES, keys: Sequence[str] = KEYS) -> Any:
    """Return the document with one place changed; ``values`` and ``keys`` are what is put there."""
    places = list(_places(document))
    if not places:
        return _copy(random.choice(values))
    parent, key = random.choice(places)
    what = random.randrange(8)
    if what == 0:
        del parent[key]
    elif what in {1, 2}:
        parent[key] = _copy(random.choice(values))
    elif what == 3:
        other, place = random.choice(places)
        parent[key] = _copy(other[place])
    elif what == 4 and isinstance(parent, list):
        parent.insert(random.randrange(len(parent) + 1), _copy(parent[key]))
    elif what == 5 and isinstance(parent, list):
        random.shuffle(parent)
    elif isinstance(parent, dict) and what == 6:
        parent[random.choice(keys)] = parent.pop(key)
    elif isinstance(parent, dict):
        parent[random.choice(keys)] = _copy(random.choice(values))
    else:
        parent.append(_copy(random.choice(values)))
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Return every place in a document as what holds it and the key there."""
    found: list[tuple[Any, Any]] = []
    rest = [document]
    while rest:
        value = rest.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            found.append((value, key))
            rest.append(value[key])
    return found


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value
