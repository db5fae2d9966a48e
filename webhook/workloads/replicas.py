"""Volumes that several pods share: there each sidecar reads the log files of all of them."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from webhook.injection.admission import Admission
from webhook.injection.log_sources import FilePattern, LogSource
from webhook.injection.paths import components, within
from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.injection.volume_types import HOST_PATH, is_share
from webhook.json_values import Path, as_mapping, at
from webhook.workloads.objects import Object
from webhook.workloads.workload import Workload

__all__ = ["Target", "autoscaled", "shared_between", "shared_volumes"]

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
        volume = (
            None if source.new or name in claims or name in told else _shared(volumes.get(name, {}), per_node=per_node)
        )
        if volume is None or _is_of_one_pod(source, per_node=per_node):
            continue
        told.add(name)
        text = f"{volume} is shared by {pods}: each sidecar reads the logs of all; {_cure(source)}"
        yield _mount(source, admission), text


def shared_between(injected: Sequence[tuple[Workload, Admission]]) -> Iterator[tuple[int, Path, str]]:
    """Yield where a workload reads log files that another one in front of it reads, too.

    That is the number of the later one, where in its pod the volume is mounted, and what that means and what to write.
    """
    readers: dict[tuple[str, ...], list[tuple[Workload, LogSource]]] = {}
    for number, (workload, admission) in enumerate(injected):
        for source in admission.plan.sources if admission.plan is not None else ():
            volume = {} if source.new else admission.facts.volumes.get(source.mount.name, {})
            words = None if source.mount.name in workload.claims else _shared(volume, per_node=True)
            if words is None or _is_of_one_pod(source, per_node=False):
                continue
            origin = {key: value for key, value in volume.items() if key != "name"}
            sub_path = "/".join(components(source.mount.subPath or ""))
            key = (workload.namespace, repr(origin), sub_path, source.mount.subPathExpr or "")
            others = readers.setdefault(key, [])
            meeting = (other for other, theirs in others if _reads_same_files(source, theirs))
            first = next((other for other in meeting if not _is_same(other, workload)), None)
            others.append((workload, source))
            if first is not None:
                title = clean_untrusted(first.title, 48)
                text = f"{words} is read by {title}, too: each sidecar reads the logs of both; {_cure(source)}"
                yield number, _mount(source, admission), text


def _is_same(one: Workload, other: Workload) -> bool:
    """Return whether two manifests are of one object: a base and its overlay, for example."""
    return (one.title, one.template_path) == (other.title, other.template_path)


def _reads_same_files(one: LogSource, other: LogSource) -> bool:
    """Return whether a file may match patterns of both sources, which are mounts of the same directory."""
    return any(
        (mine.directory == theirs.directory or _is_within(mine, theirs) or _is_within(theirs, mine))
        and (fnmatchcase(mine.file_glob, theirs.file_glob) or fnmatchcase(theirs.file_glob, mine.file_glob))
        for mine in one.patterns
        for theirs in other.patterns
    )


def _is_within(inner: FilePattern, outer: FilePattern) -> bool:
    return outer.recursive and within(inner.directory, outer.directory)


def _cure(source: LogSource) -> str:
    """Return how each pod gets a directory of its own."""
    directory = source.mount.subPathExpr or source.mount.subPath
    parent = f"{directory}/" if directory else ""
    return f"mount it with subPathExpr: {parent}$(POD_NAME)"


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


def _shared(volume: dict[str, Any], *, per_node: bool) -> str | None:
    """Return a volume that all pods share in words, None for others; ``per_node`` means one pod on a node."""
    claim = volume.get("persistentVolumeClaim")
    name = as_mapping(claim).get("claimName")
    if isinstance(name, str):
        return f"claim {quote_untrusted(name, 24)}"
    if claim is not None or is_share(volume):
        return f"volume {quote_untrusted(str(volume['name']), 24)}"
    host_path = volume.get(HOST_PATH)
    # the same one for every pod of a node
    if host_path is None or per_node:
        return None
    return f"hostPath {quote_untrusted(str(as_mapping(host_path).get('path')), 24)} of a node"


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
