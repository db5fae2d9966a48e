"""Volumes that several pods of one workload share: there each sidecar reads the log files of all of them."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from webhook.injection.admission import Admission
from webhook.injection.log_sources import LogSource
from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.json_values import Path, as_mapping, at
from webhook.workloads.objects import Object

__all__ = ["Target", "autoscaled", "shared_volumes"]

#: Kinds of volumes that are the same one for every pod which names them, wherever it runs.
_SHARED = frozenset({"persistentVolumeClaim", "nfs", "cephfs", "glusterfs", "azureFile", "quobyte"})
#: The same one for every pod of a node.
_OF_NODE = "hostPath"
#: Where a controller says how many pods it makes at a time.
_COUNTS = ("replicas", "parallelism", "maxReplicas", "size")
#: Where an autoscaler says how many pods it makes at most, and what it is where it does not say.
_MOST: dict[tuple[str | None, str], tuple[str, int]] = {
    ("autoscaling", "HorizontalPodAutoscaler"): ("maxReplicas", 1),
    ("keda.sh", "ScaledObject"): ("maxReplicaCount", 100),
    ("keda.sh", "ScaledJob"): ("maxReplicaCount", 100),
}
#: Fields of the downward API that tell one pod of a workload from another.
_OF_ONE_POD = frozenset(
    {
        *("metadata.name", "metadata.uid", "status.podIP", "status.podIPs"),
        *(
            f"metadata.labels['{label}']"
            for label in ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index")
        ),
        "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        "metadata.labels['batch.kubernetes.io/job-completion-index']",
    }
)
_OF_ONE_NODE = frozenset({"spec.nodeName", "status.hostIP", "status.hostIPs"})


class Target(NamedTuple):
    """An object that an autoscaler names."""

    namespace: str
    kind: str
    name: str


def autoscaled(items: Iterable[Object]) -> dict[Target, str]:
    """Return how many pods the autoscalers among objects make of others, in words."""
    found: dict[Target, str] = {}
    for item in items:
        reference = at(item.manifest, ("spec", "scaleTargetRef"))
        if not isinstance(reference, dict):
            continue
        # KEDA leaves the kind out where it is a Deployment
        kind, name = reference.get("kind") or "Deployment", reference.get("name")
        pods = _most(item)
        if pods and isinstance(kind, str) and isinstance(name, str):
            found[Target(item.namespace, kind, name)] = f"{pods} ({clean_untrusted(item.title, 48)})"
    return found


def _most(item: Object) -> str:
    """Return how many pods an autoscaler makes at most, in words; nothing for one, and for what is no autoscaler."""
    field, default = _MOST.get((item.group, item.kind), ("", 1))
    count = at(item.manifest, ("spec", field))
    count = default if count is None else count
    return f"up to {count} pods" if _is_several(count) else ""


def shared_volumes(
    item: Object, template: Path, claims: list[str], admission: Admission, scaled: str
) -> Iterator[tuple[Path, str]]:
    """Yield where in the pod a shared volume with logs is mounted, and what that means and what to write.

    ``claims`` are the volumes that each pod has for itself; ``scaled`` says how many pods an autoscaler makes.
    """
    pods = scaled or _pods(item, template)
    if not pods or admission.plan is None:
        return
    volumes = admission.facts.volumes
    told: set[str] = set()
    for source in admission.plan.sources:
        name = source.mount.name
        per_node = item.kind == "DaemonSet"
        volume = None if source.new or name in claims or name in told else _shared(volumes.get(name, {}), per_node)
        if volume is None or _is_of_one_pod(source, per_node=per_node):
            continue
        told.add(name)
        directory = source.mount.subPathExpr or source.mount.subPath
        cure = f"{directory}/$(POD_NAME)" if directory else "$(POD_NAME)"
        text = f"{volume} is shared by {pods}: each sidecar reads the logs of all; mount it with subPathExpr: {cure}"
        yield _mount(source, admission), text


def _pods(item: Object, template: Path) -> str:
    """Return how many pods there are at a time, in words; nothing for one."""
    if item.kind == "DaemonSet":
        return "all nodes' pods"
    for depth in range(len(template)):
        for key in _COUNTS:
            count = as_mapping(at(item.manifest, template[:depth])).get(key)
            if _is_several(count):
                return f"{count} pods"
    return _most(item)


def _is_several(count: Any) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count > 1


def _shared(volume: dict[str, Any], per_node: bool) -> str | None:
    """Return a volume that all pods share in words, None for others; ``per_node`` means one pod on a node."""
    kinds = _SHARED if per_node else _SHARED | {_OF_NODE}
    kind = next((key for key in volume if key in kinds and volume[key] is not None), None)
    if kind is None:
        return None
    if kind == _OF_NODE:
        return f"hostPath {quote_untrusted(str(as_mapping(volume[kind]).get('path')), 24)} of a node"
    claim = as_mapping(volume[kind]).get("claimName")
    return (
        f"claim {quote_untrusted(claim, 24)}"
        if isinstance(claim, str)
        else f"volume {quote_untrusted(str(volume['name']), 24)}"
    )


def _is_of_one_pod(source: LogSource, *, per_node: bool) -> bool:
    """Return whether the directory that is mounted has a name that no other pod's has."""
    fields = {as_mapping(each.valueFrom and each.valueFrom.fieldRef).get("fieldPath") for each in source.variables}
    return not fields.isdisjoint(_OF_ONE_POD | _OF_ONE_NODE if per_node else _OF_ONE_POD)


def _mount(source: LogSource, admission: Admission) -> Path:
    """Return the path of a mount in the pod, of the container whose logs are in it."""
    for candidate in admission.candidates:
        for number, mount in enumerate(candidate.container.volumeMounts or ()):
            if mount.name == source.mount.name:
                kind, _, index = candidate.pointer.removeprefix("/spec/").partition("/")
                return ("spec", kind, int(index), "volumeMounts", number)
    return ("spec",)
