"""What can't be accepted or start: each rule, by its place in the container."""

from typing import Any

import pytest

from webhook.injection.container_schema import problems_in

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
    "argument of any length": ({"command": ["x" * 131_072]}, "command.0 has 131072 bytes; a program takes 131071"),
    "path's length": ({"workingDir": "/" + "x" * 4095}, "workingDir must be an absolute path"),
    "quantity": ({"resources": {"limits": {"cpu": "much"}}}, "resources.limits.cpu must be a quantity above 0 such as"),
    "quantity of nothing": ({"resources": {"limits": {"cpu": 0}}}, "resources.limits.cpu must be a quantity above 0"),
    "variable with two values": (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        "env.0 has both value and valueFrom; remove one",
    ),
    "variable's length": (
        {"env": [{"name": "A", "value": "x" * 131_070}]},
        "env.0.value has 131072 bytes; a program takes 131071",
    ),
    "divisor of cpu": (
        {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1k"}}}]},
        "env.0.valueFrom.resourceFieldRef.divisor must be one of 0, 1, 1m",
    ),
    "probe's port by name": (
        {"livenessProbe": {"httpGet": {"port": "A"}}},
        "livenessProbe.httpGet.port must be a name of at most 15 lower-case letters",
    ),
    "probe's port by number": (
        {"livenessProbe": {"tcpSocket": {"port": 0}}},
        "livenessProbe.tcpSocket.port must be a whole number from 1 to",
    ),
    "probe of a port that is none": (
        {"ports": [{"containerPort": 1, "name": "a"}], "readinessProbe": {"httpGet": {"port": "b"}}},
        "readinessProbe.httpGet.port b is not the name of a port of the container",
    ),
    "hook of a port that is none": (
        {"lifecycle": {"preStop": {"tcpSocket": {"port": "b"}}}},
        "lifecycle.preStop.tcpSocket.port b is not the name of a port of the container",
    ),
    "second port of one name": (
        {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
        "ports.1.name a is used twice",
    ),
    "request above the limit": (
        {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        "resources.requests.cpu 2 is above the limit 1",
    ),
    "gpu below the limit": (
        {"resources": {"requests": {"example.com/gpu": 1}, "limits": {"example.com/gpu": 2}}},
        "resources.requests.example.com/gpu 1 must be the limit, 2",
    ),
    "huge pages below the limit": (
        {"resources": {"requests": {"hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "4Mi"}}},
        "resources.requests.hugepages-2Mi 2Mi must be the limit, 4Mi",
    ),
    "too little memory": (
        {"resources": {"limits": {"memory": "4095Ki"}}},
        "resources.limits.memory 4095Ki is too little to start; write 4Mi or more",
    ),
    "seccomp with a file too many": (
        {"securityContext": {"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}},
        "securityContext.seccompProfile must have localhostProfile with type Localhost, and with no other",
    ),
    "privileged that escalates": (
        {"securityContext": {"allowPrivilegeEscalation": False, "privileged": True}},
        "securityContext.allowPrivilegeEscalation false is rejected with privileged: true",
    ),
    "mount's path with a colon": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/a:b"}]},
        "volumeMounts.0.mountPath must be an absolute path without a colon",
    ),
    "two folders of a volume": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/x", "subPath": "a", "subPathExpr": "b"}]},
        "volumeMounts.0 has both subPath and subPathExpr; remove one",
    ),
    "recursively read-only, and not read-only": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/x", "recursiveReadOnly": "Enabled"}]},
        "volumeMounts.0.recursiveReadOnly needs readOnly: true and no mountPropagation",
    ),
    "recursively read-only with propagation": (
        {
            "volumeMounts": [
                {
                    "name": "pillion-logs-1",
                    "mountPath": "/x",
                    "readOnly": True,
                    "recursiveReadOnly": "Enabled",
                    "mountPropagation": "HostToContainer",
                }
            ]
        },
        "volumeMounts.0.recursiveReadOnly needs readOnly: true and no mountPropagation",
    ),
    "mounted twice": (
        {"volumeMounts": [*CONTAINER["volumeMounts"], *CONTAINER["volumeMounts"]]},
        "volumeMounts.1.mountPath /var/log/app is mounted twice",
    ),
    "message inside a mount": (
        {"terminationMessagePath": "/var/log/app/x"},
        "volumeMounts.0.mountPath /var/log/app/x can't be mounted inside /var/log/app, which is read-only",
    ),
    "mount over a program": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/bin"}]},
        "volumeMounts.0.mountPath /bin hides what the image needs to start",
    ),
    "variable that is none": (
        {"volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/x", "subPathExpr": "a/$(NONE)"}]},
        "volumeMounts.0.subPathExpr $(NONE) is not a variable of the container",
    ),
    "restart policy": ({"restartPolicy": "Never"}, "restartPolicy must be Always, is 'Never'"),
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


MOUNT = CONTAINER["volumeMounts"][0]
GOOD: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "a variable of each kind": {
        "env": [
            {"name": "A", "value": ""},
            {"name": "B", "value": "x" * 131_069},
            {"name": "C", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
            {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "F", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
        ]
    },
    "ports by name": {
        "ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 65535}, {"containerPort": 2}],
        "livenessProbe": {"httpGet": {"port": "a"}, "successThreshold": 1},
        "lifecycle": {"postStart": {"tcpSocket": {"port": "a"}}, "preStop": {"httpGet": {"port": 9}}},
    },
    "resources": {
        "resources": {
            "requests": {"cpu": "1", "memory": "4Mi", "example.com/gpu": 1, "hugepages-2Mi": "2Mi"},
            "limits": {"cpu": 1, "memory": "4Mi", "example.com/gpu": "1", "hugepages-2Mi": "2Mi"},
        }
    },
    "a request alone": {"resources": {"requests": {"cpu": "1"}}},
    "root that may": {"securityContext": {"runAsUser": 0, "runAsNonRoot": False}},
    "escalation": {"securityContext": {"allowPrivilegeEscalation": True, "privileged": True}},
    "capabilities": {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CHOWN"]}}},
    "a file for seccomp": {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}},
    "propagation": {
        "securityContext": {"privileged": True},
        "volumeMounts": [{**MOUNT, "mountPropagation": "Bidirectional"}],
    },
    "read-only all the way down": {"volumeMounts": [{**MOUNT, "recursiveReadOnly": "Enabled"}]},
    "no propagation": {"volumeMounts": [{**MOUNT, "recursiveReadOnly": "Enabled", "mountPropagation": "None"}]},
    "a variable in a folder": {
        "env": [{"name": "A", "value": "a"}],
        "volumeMounts": [{**MOUNT, "subPathExpr": "$(A)/$$(NONE)"}],
    },
    "a variable from elsewhere": {
        "envFrom": [{"configMapRef": {"name": "m"}}],
        "volumeMounts": [{**MOUNT, "subPathExpr": "$(A)"}],
    },
    "a long path": {"workingDir": "/" + "x" * 4094},
    "a native sidecar": {"restartPolicy": "Always"},
}


@pytest.mark.parametrize("row", GOOD)
def test_a_container_that_breaks_no_rule_has_no_defects(row: str) -> None:
    """Whatever else it may have."""
    assert found({**CONTAINER, **GOOD[row]}) == []


def test_what_is_no_container_has_one_defect() -> None:
    """A patch may make anything of one."""
    assert problems_in([], ()) == [((), "must be a mapping, is a list")]


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
