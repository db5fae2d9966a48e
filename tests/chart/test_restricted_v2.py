"""The rules of OpenShift's constraint: each refuses what it is about."""

from typing import Any

import pytest

from .restricted_v2 import refused

USERS = range(1000660000, 1000670000)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostPID": True}, "hostPID"),
        ({"securityContext": {"runAsUser": 65532}}, "securityContext.runAsUser"),
        ({"securityContext": {"fsGroup": 1}}, "securityContext.fsGroup"),
        ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "securityContext.seccompProfile"),
        ({"securityContext": {"seLinuxOptions": {"level": "s0"}}}, "securityContext.seLinuxOptions"),
        ({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}, "securityContext.sysctls"),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "volumes.a.hostPath"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod(spec: dict[str, Any], path: str) -> None:
    """What stands in its own keys."""
    assert refused(spec, USERS) == [path]


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ({"ports": [{"containerPort": 1, "hostPort": 1}]}, "hostPort"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
        ({"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE", "CHOWN"]}}}, "capabilities.CHOWN"),
        ({"securityContext": {"procMount": "Unmasked"}}, "procMount"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("kind", ["initContainers", "containers"])
def test_a_container(kind: str, container: dict[str, Any], path: str) -> None:
    """Of either kind."""
    assert refused({kind: [{"name": "a", **container}]}, USERS) == [f"{kind}.a.{path}"]


def test_what_openshift_fills_in_is_accepted() -> None:
    """A user of the namespace's range, and its first id as the group of volumes."""
    context = {"runAsUser": 1000660000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "securityContext": {"fsGroup": 1000660000},
        "containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": False, **context}}],
        "volumes": [{"name": "a", "emptyDir": {}}],
    }
    assert refused(spec, USERS) == []
    assert refused({"containers": [{"name": "a"}]}) == []
