"""Makes of any pod one that a bare node can start, and keeps what decides whether it starts.

Security contexts, mounts and variables stay. Programs become a sleeper, and what the node lacks an ``emptyDir`` or
nothing. What stays is listed, so that a field nobody has heard of yet asks nothing of the node.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from webhook.profiles import RELEASED_IMAGE

from .images import Image, busybox

__all__ = ["referenced", "shape", "stand_ins", "startable"]

#: What stands in for images that the node lacks. The second is no root's: for who must not be root and says no user.
STAND_INS = ROOT, NONROOT = ("pillion-tests.local/root:1", "pillion-tests.local/nonroot:1")
#: Where nobody mounts anything.
_PROGRAM = "stand-in/busybox"
SLEEPER = [f"/{_PROGRAM}", "sh", "-c", f"trap 'exit 0' TERM; /{_PROGRAM} sleep 2147483647 & wait"]
DONE = [f"/{_PROGRAM}", "true"]

_OF_POD = (
    *("restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "hostAliases", "hostname", "subdomain"),
    *("hostIPC", "hostNetwork", "hostPID", "shareProcessNamespace", "terminationGracePeriodSeconds"),
)
_OF_CONTAINER = (
    *("name", "env", "envFrom", "restartPolicy", "stdin", "terminationMessagePath", "terminationMessagePolicy"),
    *("tty", "workingDir"),
)
_OF_MOUNT = ("name", "mountPath", "mountPropagation", "readOnly", "subPath", "subPathExpr")
_OF_SECURITY = (
    *("allowPrivilegeEscalation", "capabilities", "fsGroup", "fsGroupChangePolicy", "privileged"),
    *("readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "supplementalGroups"),
)
_AMOUNTS = ("cpu", "memory", "ephemeral-storage")
#: The kinds of volume that need nothing but the API server; others become an emptyDir.
_VOLUMES = ("configMap", "downwardAPI", "emptyDir", "projected", "secret")
_RUN = (PurePosixPath("/run"), PurePosixPath("/var/run"))
_PROJECTIONS = ("configMap", "downwardAPI", "secret", "serviceAccountToken")


def stand_ins() -> list[Image]:
    """Return busybox as images that have, as most have, a /var/run that is a link to /run."""
    image = busybox()
    made = replace(
        image,
        programs={_PROGRAM: image.programs["bin/busybox"]},
        links={"var/run": "/run"},
        folders={**image.folders, "run": 0o755},
    )
    return [replace(made, name=ROOT), replace(made, name=NONROOT, user="1000")]


def startable(pod: Any, ours: Iterable[str] = ()) -> dict[str, Any]:
    """Return the pod without names of its own; of the containers in ``ours`` the program stays, if the node has it."""
    spec, added = pod["spec"], frozenset(ours)
    made: dict[str, Any] = {**_chosen(spec, _OF_POD), "dnsPolicy": "Default"}
    if spec.get("securityContext"):
        made["securityContext"] = _security(spec["securityContext"])
    if spec.get("resources"):
        made["resources"] = _resources(spec["resources"])
    volumes = [volume for volume in spec.get("volumes") or [] if isinstance(volume, dict)]
    made["volumes"] = [_volume(volume) for volume in volumes]
    locked = frozenset(volume["name"] for volume in volumes if _is_read_only(volume))
    for kind, program in (("initContainers", DONE), ("containers", SLEEPER)):
        made[kind] = [
            _ours(container, spec, locked)
            if container["name"] in added
            else _application(container, spec, locked, SLEEPER if container.get("restartPolicy") else program)
            for container in spec.get(kind) or []
        ]
    _push_down_group(made)
    labels = (pod.get("metadata") or {}).get("labels") or {}
    return {"metadata": {"labels": dict(labels)} if labels else {}, "spec": made}


def _application(
    container: Mapping[str, Any], spec: Mapping[str, Any], locked: frozenset[str], program: list[str]
) -> dict[str, Any]:
    made = _container(_chosen(container, _OF_CONTAINER), container, spec, locked)
    return {**made, "image": _stand_in(container, spec), "command": program}


def _ours(container: Mapping[str, Any], spec: Mapping[str, Any], locked: frozenset[str]) -> dict[str, Any]:
    kept = ("volumeDevices",) if container.get("image") == RELEASED_IMAGE else _OF_PROGRAM
    made = {key: value for key, value in container.items() if key not in kept}
    made["resources"] = _resources(container.get("resources") or {})
    made = _container(made, container, spec, locked)
    if container.get("image") != RELEASED_IMAGE:
        made |= {"image": _stand_in(container, spec), "command": SLEEPER}
    return made


_OF_PROGRAM = ("args", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "volumeDevices")


def _container(
    made: dict[str, Any], container: Mapping[str, Any], spec: Mapping[str, Any], locked: frozenset[str]
) -> dict[str, Any]:
    made["imagePullPolicy"] = "IfNotPresent"
    if container.get("securityContext"):
        made["securityContext"] = _security(container["securityContext"])
    made["volumeMounts"] = [
        {**_chosen(mount, _OF_MOUNT), **({"readOnly": True} if mount["name"] in locked else {})}
        for mount in container.get("volumeMounts") or []
    ]
    for variable in made.get("env") or []:
        if (variable.get("valueFrom") or {}).get("fileKeyRef"):  # it needs a volume that somebody has written into
            made["env"] = [
                each if each is not variable else {"name": each["name"], "value": "x"} for each in made["env"]
            ]
    # a port of the node's is free for one pod only, and a host's network makes each port one
    ports = [] if spec.get("hostNetwork") else container.get("ports") or []
    made["ports"] = [{key: value for key, value in port.items() if key not in ("hostIP", "hostPort")} for port in ports]
    return made


def _stand_in(container: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    own, of_pod = container.get("securityContext") or {}, spec.get("securityContext") or {}

    def said(field: str) -> Any:
        return own[field] if own.get(field) is not None else of_pod.get(field)

    return NONROOT if said("runAsNonRoot") and said("runAsUser") is None else ROOT


def _security(context: Mapping[str, Any]) -> dict[str, Any]:
    made = _chosen(context, _OF_SECURITY)
    seccomp = context.get("seccompProfile")
    if seccomp:
        # a profile of the node's own is not there
        made["seccompProfile"] = {"type": "RuntimeDefault"} if seccomp.get("type") == "Localhost" else seccomp
    return made


def _push_down_group(spec: dict[str, Any]) -> None:
    """Say at each container what the pod says of its group: old containerds make no sandbox of a group without user."""
    context = spec.get("securityContext") or {}
    if "runAsGroup" in context and "runAsUser" not in context:
        group = {"runAsGroup": context.pop("runAsGroup")}
        for container in [*spec["initContainers"], *spec["containers"]]:
            container["securityContext"] = {**group, **container.get("securityContext", {})}


def _resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits, which decide whether a container starts; a request decides where, and there is one node."""
    limits = _chosen(resources.get("limits") or {}, _AMOUNTS)
    return {"limits": limits, "requests": {"cpu": "0", "memory": "0", **dict.fromkeys(limits, "0")}}


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": volume["name"]}
    kind = next((kind for kind in _VOLUMES if volume.get(kind) is not None), "emptyDir")
    source = volume.get(kind) or {}
    if kind == "projected":
        parts = [_chosen(part, _PROJECTIONS) for part in source.get("sources") or []]
        source = {**source, "sources": [part for part in parts if part]}
    elif kind == "emptyDir" and source.get("medium") not in (None, "", "Memory"):
        source = {}
    return {**made, kind: source}


def _is_read_only(volume: Mapping[str, Any]) -> bool:
    return any(isinstance(source, dict) and source.get("readOnly") for source in volume.values())


def _chosen(document: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: document[key] for key in keys if document.get(key) is not None}


def shape(pod: Any) -> str:
    """Return what decides whether a startable pod starts: not its names, variables, arguments and paths.

    Of a path only whether it is in another one, or in /run, which an image may call /var/run.
    """
    spec = pod["spec"]
    kinds = {volume["name"]: sorted(set(volume) - {"name"}) for volume in spec["volumes"]}
    lists = ("containers", "initContainers", "volumes")
    containers = [
        [
            container.get("restartPolicy"),
            container.get("securityContext"),
            container["image"],
            container.get("workingDir"),
            (container.get("resources") or {}).get("limits"),
            sorted(
                json.dumps([*_place(mount, container), kinds.get(mount["name"]), mount.get("readOnly"), *_parts(mount)])
                for mount in container["volumeMounts"]
            ),
        ]
        for container in [*spec["initContainers"], *spec["containers"]]
    ]
    return json.dumps([{key: value for key, value in spec.items() if key not in lists}, containers], sort_keys=True)


def _place(mount: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[int, bool]:
    """Return how many mounts are around it, and whether it is in /run."""
    path = PurePosixPath(mount["mountPath"])
    around = sum(PurePosixPath(other["mountPath"]) in path.parents for other in container["volumeMounts"])
    return around, any(folder in (path, *path.parents) for folder in _RUN)


def _parts(mount: Mapping[str, Any]) -> tuple[bool, bool]:
    return bool(mount.get("subPath")), bool(mount.get("subPathExpr"))


def referenced(pods: Iterable[Any]) -> list[dict[str, Any]]:
    """Return the ConfigMaps and Secrets that the pods can't do without, with the keys that they name."""
    keys: dict[tuple[str, str], set[str]] = {}

    def note(kind: str, source: Any, name: str = "name") -> None:
        if source and not source.get("optional") and source.get(name):
            found = keys.setdefault((kind, source[name]), set())
            found |= {source["key"]} if "key" in source else {item["key"] for item in source.get("items") or []}

    for pod in pods:
        _note_volumes(pod["spec"], note)
        for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
            for source in container.get("envFrom") or []:
                note("ConfigMap", source.get("configMapRef"))
                note("Secret", source.get("secretRef"))
            for variable in container.get("env") or []:
                note("ConfigMap", (variable.get("valueFrom") or {}).get("configMapKeyRef"))
                note("Secret", (variable.get("valueFrom") or {}).get("secretKeyRef"))
    return [
        {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name},
            "data" if kind == "ConfigMap" else "stringData": dict.fromkeys(sorted(found), "x"),
        }
        for (kind, name), found in keys.items()
    ]


def _note_volumes(spec: Mapping[str, Any], note: Callable[..., None]) -> None:
    for volume in spec["volumes"]:
        note("ConfigMap", volume.get("configMap"))
        note("Secret", volume.get("secret"), "secretName")
        for part in (volume.get("projected") or {}).get("sources") or []:
            note("ConfigMap", part.get("configMap"))
            note("Secret", part.get("secret"))
