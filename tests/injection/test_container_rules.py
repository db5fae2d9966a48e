"""What can't be accepted or start: each rule, by its place in the container."""

from typing import Any

import pytest

from webhook.injection.container_rules import problems_in

CONTAINER: dict[str, Any] = {
    "name": "pillion-own",
    "image": "registry.example.com/team/tool:1.0",
    "volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/var/log/app", "readOnly": True}],
}
PROBE = {"exec": {"command": ["true"]}}

ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "image missing": ({"image": None}, "has no image; add it"),
    "image with a blank": ({"image": "a b"}, "image must be an image such as"),
    "image with a capital": ({"image": "Tool"}, "image must be an image such as"),
    "image of another type": ({"image": 5}, "image must be text, is a number"),
    "pull policy": ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy must be Always or IfNotPresent or Never"),
    "command": ({"command": "sh"}, "command must be a list, is text"),
    "argument": ({"args": [5]}, "args.0 must be text, is a number"),
    "variable without name": ({"env": [{"value": "x"}]}, "env.0 has no name; add it"),
    "variable's name": ({"env": [{"name": "1A"}]}, "env.0.name must be the name of a variable"),
    "variable's source": ({"env": [{"name": "A", "valueFrom": {}}]}, "env.0.valueFrom must have one of fieldRef"),
    "downward field": (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
        "env.0.valueFrom.fieldRef.fieldPath must be a field that the downward API has",
    ),
    "divisor": (
        {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1m"}}}]},
        "env.0.valueFrom.resourceFieldRef.divisor must be one of",
    ),
    "secret without key": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
        "env.0.valueFrom.secretKeyRef has no key; add it",
    ),
    "envFrom of two": (
        {"envFrom": [{"secretRef": {"name": "s"}, "configMapRef": {"name": "m"}}]},
        "envFrom.0 has both configMapRef and secretRef; remove one",
    ),
    "port's number": ({"ports": [{"containerPort": 65536}]}, "ports.0.containerPort must be a whole number from 1 to"),
    "port's name": (
        {"ports": [{"containerPort": 1, "name": "a-name-that-is-too-long"}]},
        "ports.0.name must be a name of at most 15 lower-case letters",
    ),
    "port's name twice": (
        {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
        "ports.0.name a is used twice",
    ),
    "probe without handler": ({"livenessProbe": {"periodSeconds": 5}}, "livenessProbe must have one of exec, httpGet"),
    "probe that succeeds twice": (
        {"startupProbe": {**PROBE, "successThreshold": 2}},
        "startupProbe.successThreshold must be a whole number from 0 to 1",
    ),
    "hook with two handlers": (
        {"lifecycle": {"preStop": {**PROBE, "sleep": {"seconds": 1}}}},
        "lifecycle.preStop has both exec and sleep; remove one",
    ),
    "resource's name": ({"resources": {"limits": {"mem": "1Gi"}}}, "resources.limits.mem must be cpu, memory"),
    "gpu without limit": (
        {"resources": {"requests": {"example.com/gpu": 1}}},
        "resources.requests.example.com/gpu needs the same limit",
    ),
    "too large a user": ({"securityContext": {"runAsUser": 2**31}}, "securityContext.runAsUser must be a whole number"),
    "root": (
        {"securityContext": {"runAsUser": 0, "runAsNonRoot": True}},
        "securityContext.runAsUser 0 never starts with runAsNonRoot: true",
    ),
    "seccomp": (
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
        "securityContext.seccompProfile must have localhostProfile",
    ),
    "capability that escalates": (
        {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}},
        "securityContext.allowPrivilegeEscalation false is rejected with CAP_SYS_ADMIN",
    ),
    "mount at the root": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/"}]},
        "volumeMounts.0.mountPath nothing can be mounted at /",
    ),
    "mount in /proc": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/proc/x"}]},
        "volumeMounts.0.mountPath nothing can be mounted at /proc/x",
    ),
    "mount of no volume": (
        {"volumeMounts": [{"name": "nosuch", "mountPath": "/x"}]},
        "volumeMounts.0.name 'nosuch' is not a volume of the pod",
    ),
    "subPath upwards": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/x", "subPath": "../x"}]},
        "volumeMounts.0.subPath must be relative and without ..",
    ),
    "propagation": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/x", "mountPropagation": "Bidirectional"}]},
        "volumeMounts.0.mountPropagation Bidirectional needs privileged: true",
    ),
    "working directory": ({"workingDir": "x"}, "workingDir must be an absolute path"),
    "unknown key": ({"comand": ["sh"]}, "comand is unknown; did you mean command?"),
    "size": ({"env": [{"name": f"A{n}", "value": "x" * 100_000} for n in range(3)]}, "has 300"),
}


def found(container: dict[str, Any]) -> list[str]:
    """Return what is wrong, each with its path."""
    wrong = problems_in(container, {"pillion-logs-1"})
    return [f"{'.'.join(map(str, path))} {message}".strip() for path, message in wrong]


@pytest.mark.parametrize("row", ROWS)
def test_a_rule_that_is_broken_is_named(row: str) -> None:
    """Where, and what is wrong."""
    change, expected = ROWS[row]
    wrong = found({**CONTAINER, **change})
    assert any(one.startswith(expected) for one in wrong), wrong


def test_a_container_that_breaks_no_rule_has_no_defects() -> None:
    """Whatever else it may have."""
    assert found(CONTAINER) == []


IMAGES = [
    *(
        "busybox",
        "busybox:1.36",
        "docker.io/library/busybox:1.36",
        "localhost:5000/a/b_c/d-e.f:V1",
        "a__b",
        "[::1]:80/a",
    ),
    *("MyRegistry.example.com/a", f"a@sha256:{'0' * 64}", f"registry.example.com:5000/a:1@sha256:{'f' * 64}"),
]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_that_the_kubelet_can_parse_is_taken(image: str) -> None:
    """In all forms that a reference has."""
    assert found({**CONTAINER, "image": image}) == []


@pytest.mark.parametrize("depth", [2000])
def test_many_deep_mounts_take_no_time_that_grows_with_their_square(depth: int) -> None:
    """A tenant's paths are among them, where a profile has a patch."""
    mounts = [{"name": "pillion-logs-1", "mountPath": f"/{n}" + "/a" * depth, "readOnly": True} for n in range(20)]
    assert found({**CONTAINER, "volumeMounts": mounts}) == []
