"""What was decided about what is in a cluster, what would be decided now, and what is different."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from webhook import documents
from webhook.cli import cluster
from webhook.cli.basis import Basis
from webhook.cli.cluster import Scope
from webhook.cli.dry_run import dry_run
from webhook.cli.kubectl import FORBIDDEN, NOT_FOUND, Kubectl, document, path
from webhook.cli.pods import Pod, Workload, decode
from webhook.cli.standing import Row, Standing, row, without_sidecar
from webhook.cli.terminal import visible
from webhook.errors import ClusterError
from webhook.injection.reasons import clean_untrusted
from webhook.injection.status import Status
from webhook.json_values import as_list, as_mapping, at
from webhook.workloads.objects import group_of
from webhook.workloads.reports import Report, examine
from webhook.workloads.templates import templates

__all__ = ["Story", "read"]

#: What only the API server writes into an object.
_OF_THE_SERVER = ("managedFields", "uid", "resourceVersion", "creationTimestamp", "generation")
#: A pod's next sidecar comes with the next pod.
_ROLLOUT = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


class Story(NamedTuple):
    """A pod or a workload in a cluster. ``decided`` and ``different`` are sentences.

    ``reports`` say what would be decided now, ``by`` which configuration; without one, ``said`` is what a dry run says.
    """

    title: str
    where: str
    decided: Sequence[str]
    by: str
    reports: Sequence[Report]
    said: str
    different: Sequence[str]
    notes: Sequence[str]


def read(arguments: argparse.Namespace) -> Story:
    """Return the story of what the arguments name; :class:`ClusterError` where it can't be read."""
    kubectl = cluster.connection(arguments)
    namespace = cluster.scope(kubectl, arguments).namespace or "default"
    target, *more = cluster.named(arguments.target)
    if more:
        raise ClusterError(f"only one can be explained at a time, not {visible(' and '.join((target, *more)))}")
    basis = Basis.read(kubectl, arguments)
    home = _Home.read(kubectl, namespace, basis.configuration.prefix)
    try:
        manifest = kubectl.get(target, namespace=namespace, show_managed_fields="true")
    except ClusterError as error:
        if error.reason != NOT_FOUND:
            raise
        raise ClusterError(f"{error.sentence} in namespace {visible(namespace)}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("metadata"), dict):
        raise ClusterError(f"{visible(target)}: kubectl printed no object")
    notes = [*basis.notes, *([home.missing] if home.missing else [])]
    if manifest.get("kind") == "Pod":
        return _pod_story(kubectl, manifest, basis, home, notes)
    return _workload_story(kubectl, manifest, basis, home, notes)


class _Home(NamedTuple):
    """The namespace of what is explained: whether it opted in, and when that was last written, as far as one knows."""

    opted_in: bool
    written: str
    missing: str = ""

    @classmethod
    def read(cls, kubectl: Kubectl, namespace: str, prefix: str) -> "_Home":
        label = f"{prefix}inject"
        try:
            found = kubectl.read(path("api", "v1", "namespaces", namespace))
        except ClusterError as error:
            if error.reason != FORBIDDEN:
                raise
            return cls(
                opted_in=False, written="", missing=f"whether the namespace opted in is unknown: {error.sentence}"
            )
        opted_in = as_mapping(at(found, ("metadata", "labels"))).get(label) == "true"
        return cls(opted_in, _written(found, "labels", label))


def _written(manifest: Any, holder: str, key: str) -> str:
    """Return when somebody last wrote an object's label or annotation; or what he wrote together with it, later.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    times = [
        str(one.get("time") or "")
        for one in map(as_mapping, as_list(at(manifest, ("metadata", "managedFields"))))
        if f"f:{key}" in as_mapping(at(one, ("fieldsV1", "f:metadata", f"f:{holder}")))
    ]
    return max(times, default="")


# --- a pod -------------------------------------------------------------------------------------------------------


def _pod_story(kubectl: Kubectl, manifest: dict[str, Any], basis: Basis, home: _Home, notes: list[str]) -> Story:
    item = json.dumps(manifest).encode()
    pod = decode(item)
    stands = row(pod, msgspec.Raw(item), basis, namespace_opted_in=home.opted_in)
    bare = without_sidecar(manifest, basis.configuration)
    reports: Sequence[Report] = []
    said = _excluded(pod.metadata.namespace, basis)
    if not said and basis.decides:
        reports = _examined(bare, basis, home)
    elif not said:
        said = _dry_run(kubectl, item, basis)
    maker = "" if pod.workload.kind == "Pod" else f", made by {pod.workload.title}"
    where = f"namespace {pod.metadata.namespace}, created {pod.metadata.creation_timestamp}{maker}"
    different = list(_differences(pod, manifest, stands, basis, home))
    if not all(review.verdict.injected for report in reports for review in report.reviews) and pod.sidecar(
        basis.configuration
    ):
        different.append("the pod has a sidecar, and would not get one now")
    decided = list(_decided(pod, basis))
    return Story(f"pod/{pod.metadata.name}", where, decided, basis.source, reports, said, different, notes)


def _excluded(namespace: str, basis: Basis) -> str:
    """Return that nothing is decided in a namespace, empty where something is."""
    return f"nothing: the API server never asks about namespace {namespace}" if namespace in basis.excluded else ""


def _examined(manifest: Mapping[str, Any], basis: Basis, home: _Home) -> list[Report]:
    """Return what ``pillion explain -f`` would find in an object, without a place: it is in no file."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _OF_THE_SERVER}
    kept = {key: value for key, value in manifest.items() if key != "status"} | {"metadata": metadata}
    read = documents.read(json.dumps(kept), "")
    namespace = str(metadata.get("namespace") or "")
    return examine(read, basis.configuration, namespace=namespace, namespace_opt_in=home.opted_in)


def _dry_run(kubectl: Kubectl, pod: bytes, basis: Basis) -> str:
    try:
        answer = dry_run(kubectl, pod, basis.configuration)
    except ClusterError as error:
        return f"unknown: no configuration can be read, and a dry run is refused: {error.sentence}"
    if answer.injected:
        profile = f" with profile {answer.status.profile}, revision {answer.status.revision}" if answer.status else ""
        return f"injected{profile}, by a dry run"
    if answer.said:
        return f"not injected, by a dry run: {answer.said}"
    return "a dry run adds no sidecar, and nothing is said: nobody answers, nobody was asked, or no logs were found"


def _decided(pod: Pod, basis: Basis) -> Iterator[str]:
    """Yield what the pod itself tells of its creation."""
    sidecar, status = pod.sidecar(basis.configuration), pod.injection(basis.configuration)
    if sidecar is None and status is None:
        yield "not injected; the pod itself does not say why"
        return
    if status is None:
        yield "injected; the status annotation is not there, so nothing tells with which profile"
    else:
        profile, revision = clean_untrusted(status.profile, 63), clean_untrusted(status.revision, 63)
        yield f"injected with profile {profile}, revision {revision} (by the status annotation)"
        yield from _contents(status)
    if sidecar is None:
        yield "the sidecar is not in the pod"
        return
    kubelet = pod.container_status(sidecar.name)
    if kubelet is None:
        yield f"sidecar {sidecar.name}: no kubelet has started it"
    else:
        state = next(iter(kubelet.state or {}), "unknown")
        ready = "ready" if kubelet.ready else "not ready"
        restarts = f"{kubelet.restart_count} restart{'' if kubelet.restart_count == 1 else 's'}"
        yield f"sidecar {sidecar.name}: {state}, {ready}, {restarts}"


def _contents(status: Status) -> Iterator[str]:
    for words, names in (
        ("reads the logs of", status.containers),
        ("volumes added:", status.volumes),
        ("volumes of the pod's own:", status.reused_volumes),
    ):
        if names:
            yield f"{words} {clean_untrusted(', '.join(names), 500)}"


def _differences(pod: Pod, manifest: Any, stands: Row | None, basis: Basis, home: _Home) -> Iterator[str]:
    """Yield what is different now from when the pod was created, as far as the cluster tells."""
    if stands is None:
        return
    if stands.standing is Standing.OLD:
        yield f"revision {stands.revision} is not the current one: {stands.why or 'the profile has changed'}"
        yield _next_pod(pod.workload)
    if stands.standing is Standing.REMOVED:
        yield (
            "the status annotation is there and the sidecar is not: another webhook removed it after the injection, "
            "or the annotation was copied from another pod"
        )
    if stands.standing is Standing.MISSED:
        created = pod.metadata.creation_timestamp
        known = list(_later(manifest, created, basis, home))
        yield from known or ["nothing here tells why: no server answered, or what is decided has changed since then"]
        yield _next_pod(pod.workload)


def _later(manifest: Any, created: str, basis: Basis, home: _Home) -> Iterator[str]:
    """Yield what came after the pod; times of the API server compare as text."""
    prefix = basis.configuration.prefix
    annotations = as_mapping(at(manifest, ("metadata", "annotations")))
    if basis.installed > created:
        yield f"Pillion's webhook configuration was created after the pod, at {basis.installed}"
    if f"{prefix}inject" not in annotations and home.written > created:
        yield f"the namespace opted in later: its label {prefix}inject was written at {home.written}"
    for key in (key for key in annotations if key.startswith(prefix)):
        written = _written(manifest, "annotations", key)
        if written > created:
            yield f"the annotation {key} came later: it was written at {written}"


def _next_pod(workload: Workload) -> str:
    if workload.kind in _ROLLOUT:
        return f"new pods have it: kubectl rollout restart {workload.title} -n {workload.namespace}"
    if workload.kind == "Pod":
        return "a pod without a controller has to be deleted and created again"
    return f"the next pod that {workload.title} makes has it"


# --- a workload --------------------------------------------------------------------------------------------------


def _workload_story(kubectl: Kubectl, manifest: dict[str, Any], basis: Basis, home: _Home, notes: list[str]) -> Story:
    metadata = manifest["metadata"]
    own = Workload(str(metadata.get("namespace")), str(manifest.get("kind")), str(metadata.get("name")))
    excluded = _excluded(own.namespace, basis)
    reports = _examined(manifest, basis, home) if basis.decides and not excluded else []
    rows = list(_rows(kubectl, own, basis, home))
    if not rows and not templates(group_of(manifest), own.kind, manifest):
        raise ClusterError(f"{visible(own.title)} has no pods; name a pod or what makes pods, as deployment/web")
    said = excluded or ("" if basis.decides else "unknown: no configuration can be read; explain one of its pods")
    where = f"namespace {own.namespace}, created {metadata.get('creationTimestamp')}"
    different = [_next_pod(own)] if any(one.standing in (Standing.OLD, Standing.MISSED) for one in rows) else []
    return Story(own.title, where, list(_counted(rows)), basis.source, reports, said, different, notes)


def _rows(kubectl: Kubectl, own: Workload, basis: Basis, home: _Home) -> Iterator[Row]:
    """Yield the rows of a workload's pods."""
    made = {own}
    if own.kind == "CronJob":
        pages = kubectl.pages("apis", "batch", "v1", "namespaces", own.namespace, "jobs")
        made |= {
            Workload(own.namespace, "Job", str(at(job, ("metadata", "name"))))
            for page in pages
            for job in map(document, page)
            if own in _owners(own.namespace, as_list(at(job, ("metadata", "ownerReferences"))))
        }
    for page in Scope(own.namespace).pods(kubectl):
        for item in page:
            pod = decode(item)
            owners = {Workload(own.namespace, one.kind, one.name) for one in pod.metadata.owner_references or ()}
            if not pod.leaves and made & {pod.workload, *owners}:
                found = row(pod, item, basis, namespace_opted_in=home.opted_in)
                yield found or Row(pod.workload, pod.metadata.name, Standing.UNNEEDED, "asks for none")


def _owners(namespace: str, references: Iterable[Any]) -> set[Workload]:
    return {Workload(namespace, str(at(one, ("kind",))), str(at(one, ("name",)))) for one in references}


def _counted(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the pods stand, with one of each kind by name."""
    if not rows:
        yield "it has no pods that run"
        return
    counts = Counter((one.standing, one.why) for one in rows)
    for (standing, why), count in counts.most_common():
        first = next(one for one in rows if (one.standing, one.why) == (standing, why))
        pods = f"{count} pod{'s' if count > 1 else ''}"
        yield f"{pods}: {standing.sentence}{f': {why}' if why else ''} (pod/{first.pod})"
