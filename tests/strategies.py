"""Hypothesis strategies: pods as clusters have them, and as nobody should send them.

``pods()`` are Kubernetes pods, nearly all valid (an API server accepts them as they are); ``ragged()`` makes of any of
them what a decoder meets in the wild: nulls for lists, unknown fields, numbers beyond 2**53.
"""

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.pod_fields import PATHS, with_field

__all__ = ["annotations", "broken", "log_entries", "many", "pods", "ragged"]

#: For properties of the core: ``make properties`` tries more.
many = settings(max_examples=int(os.environ.get("PILLION_EXAMPLES", "200")), deadline=None)

PREFIX = "pillion.dev/"

names = st.sampled_from(["app", "web", "worker", "db", "a", "istio-proxy", "x1", "side-car"])
directories = st.sampled_from(
    [
        *("/var/log/app", "/var/log", "/var/log/app2", "/var/log/app/audit", "/data", "/data/logs", "/work", "/tmp/x"),
        *(
            "/var",
            "/run",
            "/var/run",
            "/var/applog",
            "/var/run/app",
            "/run/app",
            "/srv/a/b",
            "/logs",
            "/opt/app/logs",
            "/home/app",
            "/usr/share/nginx/html",
        ),
    ]
)
#: Where a pod mounts what is not made for logs, around and inside of what a sidecar mounts itself.
elsewhere = st.sampled_from(
    [
        *("/run/secrets", "/var/run/secrets/kubernetes.io", "/pillion", "/pillion/state/x", "/pillion/logs"),
        *("/etc", "/srv", "/opt", "/home", "/var/lib"),
    ]
)
file_names = st.sampled_from(["*.log", "app.log", "*", "out-?.txt", "[ab]*.log", "index.html", "**/*.log", "**/*", ""])
quantities = st.sampled_from(["1", "10m", "100m", "250m", "16Mi", "64Mi", "1Gi", "500M", "2", "0.5"])
cpu = st.sampled_from(["10m", "50m", "100m", "1", "2"])
memory = st.sampled_from(["16Mi", "32Mi", "64Mi", "128Mi", "1Gi"])
subpaths = st.sampled_from(["app", "a/b", "logs"])


@st.composite
def log_entries(draw: st.DrawFn, containers: tuple[str, ...] = ()) -> str:
    """Draw one entry of ``logs``."""
    prefix = f"{draw(st.sampled_from(containers))}:" if containers and draw(st.integers(0, 3)) == 0 else ""
    place = draw(elsewhere) + "/x" if draw(st.integers(0, 5)) == 0 else draw(directories)
    return f"{prefix}{place}/{draw(file_names)}"


@st.composite
def annotations(draw: st.DrawFn, containers: tuple[str, ...] = ("app",)) -> dict[str, str]:
    """Draw the annotations of a pod that asks, mostly well."""
    chosen: dict[str, str] = {f"{PREFIX}inject": "true"}
    if draw(st.booleans()):
        entries = draw(st.lists(log_entries(containers), min_size=1, max_size=4))
        chosen[f"{PREFIX}logs"] = draw(st.sampled_from([",", "\n", ",\r\n"])).join(entries)
    optional: dict[str, st.SearchStrategy[str]] = {
        "profile": st.sampled_from(["tail", "web", "web"]),
        "containers": st.lists(st.sampled_from(containers), min_size=1, max_size=2).map(",".join),
        "env": st.sampled_from(["true", "false"]),
        "volume-size-limit": st.sampled_from(["10Mi", "1Gi", "500Gi"]),
        "cpu-request": cpu,
        "cpu-limit": cpu,
        "memory-request": memory,
        "memory-limit": memory,
        "start": st.sampled_from(["beginning", "end"]),
        "run-as-user": st.sampled_from(["1000", "0", "65534"]),
    }
    for key, strategy in optional.items():
        if draw(st.integers(0, 5)) == 0:
            chosen[f"{PREFIX}{key}"] = draw(strategy)
    if draw(st.integers(0, 9)) == 0:
        chosen["example.com/other"] = "kept"
    return chosen


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


@st.composite
def _resources(draw: st.DrawFn, *, guaranteed: bool) -> dict[str, Any] | None:
    if guaranteed:
        amounts = {"cpu": draw(cpu), "memory": draw(memory)}
        return {"limits": amounts, "requests": dict(amounts)}
    if draw(st.booleans()):
        return None
    limits = {"memory": "1Gi"}
    if draw(st.booleans()):
        limits["ephemeral-storage"] = "2Gi"
    return {"requests": {"cpu": "10m", "memory": draw(memory)}, "limits": limits}


_VOLUME_SOURCES: list[dict[str, Any]] = [
    {"emptyDir": {}},
    {"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
    {"persistentVolumeClaim": {"claimName": "claim"}},
    {"persistentVolumeClaim": {"claimName": "claim", "readOnly": True}},
    {"configMap": {"name": "settings"}},
    {"secret": {"secretName": "keys"}},
    {
        "projected": {
            "sources": [{"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]
        }
    },
    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    {
        "ephemeral": {
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            }
        }
    },
]
_PRIVILEGED_SOURCES: list[dict[str, Any]] = [
    {"hostPath": {"path": "/var/log/host"}},
    {"nfs": {"server": "nfs.example.com", "path": "/exports"}},
]

_VARIABLES: list[dict[str, Any]] = [
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
    {"name": "POD_NAME", "value": "mine"},
    {"name": "LEVEL", "value": "info"},
    {"name": "DIR", "value": "$(POD_NAME)-$(LEVEL)"},
    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
    {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
]


@st.composite
def _mounts(draw: st.DrawFn, volumes: list[dict[str, Any]], variables: list[str]) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = []
    taken: set[str] = set()
    for _ in range(draw(st.integers(0, 3)) if volumes else 0):
        place = draw(elsewhere if draw(st.integers(0, 4)) == 0 else directories)
        path = place + draw(st.sampled_from(["", "", "/", "/current.log", "/conf"]))
        if path.rstrip("/") in taken:
            continue
        taken.add(path.rstrip("/"))
        mount: dict[str, Any] = {"name": draw(st.sampled_from(volumes))["name"], "mountPath": path}
        kind = draw(st.integers(0, 5))
        if kind == 0:
            mount["subPath"] = draw(subpaths)
        elif kind == 1 and variables:
            mount["subPathExpr"] = f"$({draw(st.sampled_from(variables))})/x"
        elif kind == 2:
            mount["readOnly"] = True
        elif kind == 3:
            mount["mountPropagation"] = draw(st.sampled_from(["HostToContainer", "None"]))
        mounts.append(mount)
    return mounts


@st.composite
def _container(  # noqa: C901, PLR0912 — one draw a field
    draw: st.DrawFn, name: str, volumes: list[dict[str, Any]], *, guaranteed: bool, restricted: bool
) -> dict[str, Any]:
    env = draw(st.lists(st.sampled_from(_VARIABLES), max_size=3, unique_by=lambda variable: variable["name"]))
    container: dict[str, Any] = {
        "name": name,
        "image": "docker.io/library/busybox:1.36",
        "imagePullPolicy": "IfNotPresent",
    }
    present: bool = draw(st.booleans())
    if env or present:
        container["env"] = env
    if draw(st.integers(0, 4)) == 0:
        container["envFrom"] = [{"configMapRef": {"name": "settings", "optional": True}}]
    if draw(st.integers(0, 3)) == 0:
        container["command"] = draw(
            st.sampled_from([["/bin/sh", "-c", "echo $(POD_NAME) > /var/log/app/a.log"], ["/data/run"], ["sleep", "1"]])
        )
    if draw(st.integers(0, 3)) == 0:
        container["args"] = draw(
            st.sampled_from([["--log", "/var/log/app/app.log"], ["$(POD_NAME)"], ["/srv/a/b/conf"]])
        )
    if draw(st.integers(0, 5)) == 0:
        container["workingDir"] = draw(directories)
    mounts = draw(_mounts(volumes, [variable["name"] for variable in env]))
    if mounts:
        container["volumeMounts"] = mounts
    resources = draw(_resources(guaranteed=guaranteed))
    if resources is not None:
        container["resources"] = resources
    if draw(st.integers(0, 5)) == 0:
        container["ports"] = [{"containerPort": draw(st.sampled_from([80, 8080, 9000]))}]
    if draw(st.integers(0, 6)) == 0:
        container["readinessProbe"] = {"exec": {"command": [draw(st.sampled_from(["/work/ready", "true"]))]}}
    context: dict[str, Any] = {}
    if restricted:
        context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
        context["seccompProfile"] = {"type": "RuntimeDefault"}
    if draw(st.integers(0, 2)) == 0:
        context["runAsUser"] = draw(st.sampled_from([1000, 1000, 2000] if restricted else [1000, 2000, 0]))
    if draw(st.integers(0, 4)) == 0 and not restricted:
        context["runAsNonRoot"] = draw(st.booleans()) and context.get("runAsUser") != 0
    if draw(st.integers(0, 4)) == 0:
        context["runAsGroup"] = draw(st.sampled_from([0, 3000]))
    if context:
        container["securityContext"] = context
    return container


@st.composite
def pods(  # noqa: C901 — one draw a field
    draw: st.DrawFn, *, restricted: bool = False, asking: bool = True
) -> dict[str, Any]:
    """Draw a pod, of which every second has one or two fields of all that a PodSpec may have.

    Nearly all are valid, and of ``restricted`` ones most pass the restricted Pod Security Standard.
    """
    sources = _VOLUME_SOURCES if restricted else [*_VOLUME_SOURCES, *_PRIVILEGED_SOURCES]
    volumes = [
        {"name": f"vol-{number}", **source}
        for number, source in enumerate(draw(st.lists(st.sampled_from(sources), max_size=4)))
    ]
    guaranteed = draw(st.integers(0, 3)) == 0
    container_names = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    init_names = [f"init-{number}" for number in range(draw(st.integers(0, 2)))]
    made = {
        name: draw(_container(name, volumes, guaranteed=guaranteed, restricted=restricted))
        for name in [*container_names, *init_names]
    }
    spec: dict[str, Any] = {"containers": [made[name] for name in container_names]}
    if init_names:
        spec["initContainers"] = [made[name] for name in init_names]
        if draw(st.booleans()):
            spec["initContainers"][-1]["restartPolicy"] = "Always"
            spec["initContainers"][-1]["readinessProbe"] = None
        for container in spec["initContainers"]:
            if container.get("restartPolicy") is None:
                container.pop("readinessProbe", None)
    if volumes:
        spec["volumes"] = volumes
    restart = draw(st.sampled_from([None, "Always", "Never", "OnFailure"]))
    optional: dict[str, Any] = {
        "restartPolicy": restart,
        "automountServiceAccountToken": draw(st.sampled_from([None, None, True, False])),
        "imagePullSecrets": draw(st.sampled_from([None, None, [{"name": "regcred"}]])),
        "securityContext": draw(
            st.sampled_from(
                [
                    *(None, None, {"runAsUser": 1000, "fsGroup": 2000}, {"runAsGroup": 3000}),
                    *({"runAsUser": 1000, "runAsNonRoot": True}, {"runAsUser": 1000 if restricted else 0}),
                ]
            )
        ),
        "nodeSelector": draw(st.sampled_from([None, None, {"kubernetes.io/os": "linux"}])),
        "terminationGracePeriodSeconds": draw(st.sampled_from([None, 1, 30])),
    }
    if draw(st.integers(0, 7)) == 0 and not restricted:
        optional["hostNetwork"] = True
        for container in made.values():
            container.pop("ports", None)
    if draw(st.integers(0, 7)) == 0:
        # larger than any sum of its containers
        optional["resources"] = {"requests": {"cpu": "20", "memory": "20Gi"}, "limits": {"cpu": "20", "memory": "20Gi"}}
    spec.update(_without_none(optional))
    metadata: dict[str, Any] = draw(st.sampled_from([{"name": "pod"}, {"generateName": "pod-"}])).copy()
    if asking:
        metadata["annotations"] = draw(annotations((*container_names, *init_names)))
    if draw(st.booleans()):
        metadata["labels"] = {"app": "x"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    for path in draw(st.one_of(st.just([]), st.lists(st.sampled_from(PATHS), min_size=1, max_size=2))):
        pod = with_field(pod, path)
    return pod


_UNKNOWN: list[tuple[str, Any]] = [
    ("newField", 9007199254740993),
    ("anotherField", {"deep": [12345678901234567890, None, {"x": "y"}]}),
    ("f:fields", {"f:a": {}}),
]


@st.composite
def ragged(draw: st.DrawFn, document: Any) -> Any:
    """Draw the document with unknown fields, and nulls where lists and objects may be left out."""
    if isinstance(document, list):
        return [draw(ragged(item)) for item in document]
    if not isinstance(document, dict):
        return document
    result: dict[str, Any] = {}
    for key, value in document.items():
        result[key] = (
            draw(ragged(value)) if key not in ("annotations", "labels", "limits", "requests", "nodeSelector") else value
        )
    if draw(st.integers(0, 7)) == 0 and "name" in result and "mountPath" not in result and "value" not in result:
        for key in ("env", "volumeMounts", "command", "args", "securityContext", "resources", "ports", "lifecycle"):
            if key not in result and "image" in result:
                result[key] = None
    if draw(st.integers(0, 7)) == 0 and "annotations" not in document and not {"fieldPath", "emptyDir"} & set(document):
        key, value = draw(st.sampled_from(_UNKNOWN))
        if not any(isinstance(other, str) for other in document.values()) or "image" in document:
            result[key] = value
    return result


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a pod in which some values were replaced by others of any type."""
    values: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, 1.5, "", "x", [], {}, [None], {"a": None}, [{}]])

    def replaced(value: Any) -> Any:
        if draw(st.integers(0, 12)) == 0:
            return draw(values)
        if isinstance(value, dict):
            return {key: replaced(item) for key, item in value.items()}
        return [replaced(item) for item in value] if isinstance(value, list) else value

    found = draw(pods())
    return {"metadata": replaced(found.get("metadata")), "spec": replaced(found["spec"])}
