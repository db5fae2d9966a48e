"""OpenShift's security context constraint `restricted-v2`, as its manifest states it: what it refuses of a pod.

The rules are those of openshift/cluster-kube-apiserver-operator, bindata/bootkube/scc-manifests. OpenShift fills in
what a pod leaves out: user, fsGroup and SELinux options from the namespace's ranges, and the seccomp profile.
"""

from collections.abc import Iterator
from typing import Any

__all__ = ["refused"]

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
    *("persistentVolumeClaim", "projected", "secret"),
}
ADDABLE = {"NET_BIND_SERVICE"}


def refused(spec: dict[str, Any], users: range = range(0)) -> list[str]:
    """Return what the constraint refuses of a pod's spec, by path; ``users`` are the namespace's range of ids."""
    return [*_of_pod(spec, users)]


def _of_pod(spec: dict[str, Any], users: range) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    context = spec.get("securityContext") or {}
    yield from (f"securityContext.{name}" for name in _common(context, users))
    if context.get("sysctls"):
        yield "securityContext.sysctls"
    if context.get("fsGroup") not in (None, *users[:1]):
        yield "securityContext.fsGroup"
    for volume in spec.get("volumes", []):
        yield from (f"volumes.{volume['name']}.{kind}" for kind in volume.keys() - VOLUMES - {"name"})
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind, []):
            yield from (f"{kind}.{container['name']}.{name}" for name in _of_container(container, users))


def _of_container(container: dict[str, Any], users: range) -> Iterator[str]:
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    context = container.get("securityContext") or {}
    yield from _common(context, users)
    yield from (name for name in ("privileged", "allowPrivilegeEscalation") if context.get(name))
    capabilities = context.get("capabilities") or {}
    yield from (f"capabilities.{name}" for name in capabilities.get("add", []) if name not in ADDABLE)
    if context.get("procMount") not in (None, "Default"):
        yield "procMount"


def _common(context: dict[str, Any], users: range) -> Iterator[str]:
    """Yield what is refused of the keys that pods and containers have."""
    if context.get("runAsUser") not in (None, *users[:1]):
        yield "runAsUser"
    if context.get("seLinuxOptions"):
        yield "seLinuxOptions"
    if (context.get("seccompProfile") or {"type": "RuntimeDefault"}) != {"type": "RuntimeDefault"}:
        yield "seccompProfile"
