"""Volumes that several pods share: there each sidecar reads the log files of all of them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from webhook.injection.admission import Admission
from webhook.injection.log_sources import MOUNT_ITSELF, FilePattern, LogSource
from webhook.injection.paths import literal_components
from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.injection.volume_types import CLAIM, HOST_PATH, is_share
from webhook.json_values import Path, as_mapping, at
from webhook.workloads.meeting_patterns import meeting_patterns
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


class _Reading(NamedTuple):
    """A log source in a volume that other workloads may have, too, and the files that are read there.

    ``owner`` is the same for all manifests of one object, a base and its overlay for example, and ``tree`` for all
    sources that may reach the same files. The patterns are relative to the volume.
    """

    number: int
    owner: tuple[Any, ...]
    source: LogSource
    volume: str
    tree: tuple[str, ...]
    patterns: list[FilePattern]


def shared_between(injected: Sequence[tuple[Workload, Admission]]) -> Iterator[tuple[int, Path, str]]:
    """Yield where a workload reads log files that another one in front of it reads, too.

    That is the number of the later one, where in its pod the volume is mounted, and what that means and what to write.
    """
    readings = [
        reading
        for number, (workload, admission) in enumerate(injected)
        for reading in _readings(number, workload, admission)
    ]
    trees: dict[tuple[str, ...], dict[FilePattern, list[_Reading]]] = {}
    for reading in readings:
        for pattern in reading.patterns:
            trees.setdefault(reading.tree, {}).setdefault(pattern, []).append(reading)
    first_readers = {tree: _first_readers(by_pattern) for tree, by_pattern in trees.items()}
    for reading in readings:
        others = [
            other
            for pattern in reading.patterns
            for other in first_readers[reading.tree][pattern]
            if other.number < reading.number and other.owner != reading.owner
        ]
        if others:
            title = clean_untrusted(injected[min(others, key=_by_number).number][0].title, 48)
            cure = _cure(reading.source)
            text = f"{reading.volume} is read by {title}, too: each sidecar reads the logs of both; {cure}"
            yield reading.number, _mount(reading.source, injected[reading.number][1]), text


def _readings(number: int, workload: Workload, admission: Admission) -> Iterator[_Reading]:
    """Yield the log sources of a workload that others may read, too."""
    for source in admission.plan.sources if admission.plan is not None else ():
        volume = {} if source.new else admission.facts.volumes.get(source.mount.name, {})
        words = _shared(volume, per_node=True)
        if words is None or _is_of_one_pod(source, per_node=False):
            continue
        owner = (workload.namespace, workload.title, workload.template_path)
        # a claim is its namespace's, a share the same in all
        namespace = workload.namespace if volume.get(CLAIM) is not None else ""
        tree = (namespace, _storage(volume), source.mount.subPathExpr or "")
        yield _Reading(number, owner, source, words, tree, _patterns_in_volume(source))


def _storage(volume: dict[str, Any]) -> str:
    """Return a text that is the same for the same storage, whatever the volume is called and who may write to it."""
    sources = {
        kind: {key: value for key, value in source.items() if key != "readOnly"} if isinstance(source, dict) else source
        for kind, source in volume.items()
        if kind != "name" and source is not None
    }
    return json.dumps(sources, sort_keys=True)


def _patterns_in_volume(source: LogSource) -> list[FilePattern]:
    """Return a source's patterns relative to the volume, where they are relative to what is mounted of it."""
    sub_path = literal_components(source.mount.subPath or "")
    return [
        FilePattern(sub_path[:-1], recursive=False, file_glob=sub_path[-1])
        if pattern == MOUNT_ITSELF and sub_path
        else pattern._replace(directory=sub_path + pattern.directory)
        for pattern in source.patterns
    ]


def _first_readers(by_pattern: dict[FilePattern, list[_Reading]]) -> dict[FilePattern, list[_Reading]]:
    """Return, for each pattern, the first ones of all who read a file that may match it."""
    own = {pattern: _first_of_two_owners(readings) for pattern, readings in by_pattern.items()}
    return {
        pattern: _first_of_two_owners([reading for other in others for reading in own[other]])
        for pattern, others in meeting_patterns(own).items()
    }


def _first_of_two_owners(readings: Sequence[_Reading]) -> list[_Reading]:
    """Return the first reading, and the first of another owner: one of the two is another one's for any owner."""
    first = min(readings, key=_by_number)
    others = [reading for reading in readings if reading.owner != first.owner]
    return [first, *([min(others, key=_by_number)] if others else [])]


def _by_number(reading: _Reading) -> int:
    return reading.number


def _cure(source: LogSource) -> str:
    """Return how each pod gets a directory of its own."""
    directory, what = source.mount.subPathExpr or source.mount.subPath or "", "it"
    if MOUNT_ITSELF in source.patterns:
        directory, what = directory.rpartition("/")[0], "the file's directory"
    parent = f"{directory}/" if directory else ""
    return f"mount {what} with subPathExpr: {parent}$(POD_NAME)"


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
    claim = volume.get(CLAIM)
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
