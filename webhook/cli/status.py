"""``pillion status``: which pods of a cluster ask for a sidecar, which have it, and why the others have not."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from msgspec import Raw

from webhook.cli import basis as judging
from webhook.cli import cluster
from webhook.cli.basis import Basis
from webhook.cli.cluster import Namespaces, Scope
from webhook.cli.dry_run import DryRun, dry_run
from webhook.cli.kubectl import FORBIDDEN, Kubectl, document
from webhook.cli.pods import Workload, decode
from webhook.cli.standing import Row, Standing, row
from webhook.cli.terminal import (
    DIM,
    GREEN,
    RED,
    YELLOW,
    Paint,
    complain,
    deliver,
    deliver_json,
    obeys_escapes,
    painter,
    visible,
)
from webhook.errors import ClusterError
from webhook.json_values import as_list, as_mapping

__all__ = ["add_arguments", "run"]

#: The exit code with --check, where a pod that asks is without.
WITHOUT = 1
#: Of a workload so many pods that are not in order are shown; ``--pods`` shows all.
SHOWN_PODS = 3
#: Without a configuration so many pods are sent as dry runs, one of each workload; the rest stays unknown.
MAX_DRY_RUNS = 20

_EXAMPLES = """\
examples:
  pillion status                      the namespace of kubectl's context
  pillion status -A                   all namespaces
  pillion status -n shop -l app=web
  pillion status -A --check           exit code 1 if a pod that asks has no sidecar
  pillion status -A -o json | jq '.workloads[].pods[] | select(.standing == "missed")'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Show which pods in a cluster ask for a sidecar, which of them have it, and why the others have not. Pods\n"
        "that have finished or are being deleted are left out. It reads through kubectl, with your own rights, and\n"
        "says which are missing. Exit code 1: with --check, a pod that asks is without; 2: the cluster can't be read."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    pods = parser.add_argument_group("which pods")
    cluster.add_scope_options(pods)
    form = parser.add_argument_group("what is shown")
    form.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    form.add_argument("--pods", action="store_true", help="show every pod, not only those that are not in order")
    form.add_argument("--check", action="store_true", help="fail with exit code 1 if a pod that asks is without")
    judging.add_options(parser.add_argument_group("by which configuration it is judged"))
    cluster.add_connection_options(parser.add_argument_group("the cluster, which is reached through kubectl"))


def run(arguments: argparse.Namespace) -> int:
    """Print the table and return the exit code."""
    kubectl = cluster.connection(arguments)
    scope = cluster.scope(kubectl, arguments)
    basis = Basis.read(kubectl, arguments)
    notes = list(basis.notes)
    found = _Survey(kubectl, scope, basis, notes)
    rows = found.rows()
    if arguments.output == "json":
        deliver_json(_as_json(rows, found.source, notes))
    elif rows:
        deliver("\n".join(_table(rows, painter(sys.stdout), every_pod=arguments.pods)) + "\n")
    for note in notes:
        complain(f"note: {visible(note)}")
    if arguments.output == "text":
        complain(_summary(rows, scope, found.source))
    failed = any(one.standing.fails for one in rows)
    return WITHOUT if arguments.check and failed else 0


# --- reading -----------------------------------------------------------------------------------------------------


class _Survey:
    """The rows of all pods that ask, made while the pods are read page by page."""

    def __init__(self, kubectl: Kubectl, scope: Scope, basis: Basis, notes: list[str]) -> None:
        self._kubectl = kubectl
        self._scope = scope
        self._basis = basis
        self._notes = notes
        self._dry_runs: dict[Workload, DryRun | None] = {}
        self._refused = ""

    @property
    def source(self) -> str:
        """Return by what the pods were judged, or nothing."""
        if self._basis.decides:
            return self._basis.source
        return "dry runs" if any(self._dry_runs.values()) else ""

    def rows(self) -> list[Row]:
        """Return the rows, those of a workload together."""
        namespaces = Namespaces(self._kubectl, self._scope, self._basis.configuration.prefix)
        if namespaces.missing:
            self._notes.append(
                f"which namespaces opted in is unknown, so only annotations are looked at: {namespaces.missing}"
            )
        rows = []
        with _Progress() as progress:
            for page in self._scope.pods(self._kubectl):
                for item in page:
                    pod = decode(item)
                    if pod.leaves:
                        continue
                    found = row(
                        pod, item, self._basis, namespace_opted_in=bool(namespaces.opted_in(pod.metadata.namespace))
                    )
                    if found is not None:
                        rows.append(found if self._basis.decides else self._sent_again(found, bytes(item)))
                progress.read(len(page))
        return sorted(self._with_cron_jobs(rows), key=lambda one: (one.workload, one.pod))

    def _sent_again(self, found: Row, item: bytes) -> Row:
        """Return the row by what a dry run of the pod says, which stands for all pods of its workload."""
        injected = found.standing is Standing.INJECTED
        if not (found.standing is Standing.UNKNOWN or (injected and found.profile)):
            return found
        if found.workload not in self._dry_runs:
            self._dry_runs[found.workload] = self._dry_run(item)
        answer = self._dry_runs[found.workload]
        if answer is None:
            return found
        if injected:
            if answer.status is None:
                return found
            current = (answer.status.profile, answer.status.revision) == (found.profile, found.revision)
            now = f"now {answer.status.profile} {answer.status.revision}"
            return (
                found._replace(standing=Standing.CURRENT) if current else found._replace(standing=Standing.OLD, why=now)
            )
        if answer.injected:
            return found._replace(standing=Standing.MISSED, profile=answer.status.profile if answer.status else "")
        if answer.said:
            return found._replace(standing=Standing.DECLINED, why=answer.said)
        return found._replace(why="a dry run adds none either, and nothing is said")

    def _dry_run(self, item: bytes) -> DryRun | None:
        if self._refused or len(self._dry_runs) >= MAX_DRY_RUNS:
            return None
        try:
            return dry_run(self._kubectl, item, self._basis.configuration)
        except ClusterError as error:
            if error.reason == FORBIDDEN:
                self._refused = error.sentence
                self._notes.append(f"pods can't be sent as dry runs: {error.sentence}")
            return None

    def _with_cron_jobs(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield the rows with Jobs replaced by the CronJobs that made them."""
        jobs = {one.workload for one in rows if one.workload.kind == "Job"}
        makers: dict[Workload, Workload] = {}
        if jobs:
            try:
                pages = self._kubectl.pages("apis", "batch", "v1", *self._scope.steps, "jobs")
                makers = {job: maker for page in pages for item in page for job, maker in _maker(item) if job in jobs}
            except ClusterError as error:
                if error.reason != FORBIDDEN:
                    raise
                self._notes.append(f"which CronJob made a Job is unknown: {error.sentence}")
        for one in rows:
            yield one._replace(workload=makers.get(one.workload, one.workload))


def _maker(job: Raw) -> Iterator[tuple[Workload, Workload]]:
    """Yield a Job and the workload that made it, nothing for a Job of its own."""
    metadata = as_mapping(document(job).get("metadata"))
    for owner in map(as_mapping, as_list(metadata.get("ownerReferences"))):
        if owner.get("controller"):
            namespace = str(metadata.get("namespace"))
            name, kind, maker = str(metadata.get("name")), str(owner.get("kind")), str(owner.get("name"))
            yield Workload(namespace, "Job", name), Workload(namespace, kind, maker)


class _Progress:
    """Says on a terminal how many pods have been read; elsewhere nothing. Whatever comes next has the line."""

    def __init__(self) -> None:
        self._shown = obeys_escapes(sys.stderr)
        self._count = 0

    def read(self, count: int) -> None:
        """Count pods."""
        self._count += count
        self._write(f"\r{self._count} pods read")

    def __enter__(self) -> Self:
        """Say nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(text)
            sys.stderr.flush()


# --- text --------------------------------------------------------------------------------------------------------

_HEAD = ("NAMESPACE", "NAME", "SIDECARS", "PROFILE", "REVISION", "READY", "RESTARTS", "STATE")
_COLOURS = {Standing.CURRENT: GREEN, Standing.OLD: YELLOW, Standing.INJECTED: GREEN, Standing.UNNEEDED: DIM}


def _table(rows: Sequence[Row], paint: Paint, *, every_pod: bool) -> Iterator[str]:
    """Yield the lines of a table, as kubectl prints one."""
    cells: list[tuple[str, ...]] = [_HEAD]
    colours = [""]
    for workload, own in _by_workload(rows).items():
        worst = max(own, key=_urgency)
        cells.append(_workload_cells(workload, own))
        colours.append(_colour(worst))
        if workload.kind == "Pod":
            continue
        # where all are alike, their workload's line says it
        alike = len({(one.standing, one.why, one.ready, one.restarts) for one in own}) == 1
        noteworthy = [] if alike else sorted(filter(_urgency, own), key=_urgency, reverse=True)
        shown = own if every_pod else noteworthy
        kept = shown if every_pod else shown[:SHOWN_PODS]
        for one in kept:
            cells.append(("", f"  pod/{visible(one.pod)}", *_pod_cells(one)))
            colours.append(_colour(one))
        if len(shown) > len(kept):
            cells.append(("", f"  and {len(shown) - len(kept)} more", *[""] * (len(_HEAD) - 2)))
            colours.append(DIM)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line, colour in zip(cells, colours, strict=True):
        *front, state = line
        text = "   ".join(f"{cell:<{width}}" for cell, width in zip(front, widths, strict=False))
        yield f"{text}   {paint(state, colour) if colour else state}".rstrip()


def _by_workload(rows: Sequence[Row]) -> Mapping[Workload, list[Row]]:
    found: dict[Workload, list[Row]] = {}
    for one in rows:
        found.setdefault(one.workload, []).append(one)
    return found


def _urgency(one: Row) -> int:
    """Return how much a pod needs to be looked at: nothing for one that is in order."""
    if one.standing.fails:
        return 3
    if one.standing is Standing.OLD:
        return 2
    return 1 if one.ready is False or one.restarts else 0


def _colour(one: Row) -> str:
    return _COLOURS.get(one.standing, RED)


def _workload_cells(workload: Workload, own: Sequence[Row]) -> tuple[str, ...]:
    """Return the cells of a workload: its pods' in numbers, and what they have in common."""
    sidecars = [one for one in own if one.ready is not None]
    ready, restarts = sum(bool(one.ready) for one in sidecars), sum(one.restarts or 0 for one in sidecars)
    states = Counter(one.standing for one in own)
    said = "; ".join(
        standing.sentence if len(states) == 1 else f"{count} {standing.sentence}"
        for standing, count in states.most_common()
    )
    reasons = list(dict.fromkeys(one.why for one in own if one.why))
    if len(reasons) == 1:
        said = f"{said}: {visible(reasons[0])}"
    return (
        visible(workload.namespace),
        visible(workload.title),
        f"{len(sidecars)}/{len(own)}",
        _common(one.profile for one in own),
        _common(one.revision for one in own),
        f"{ready}/{len(sidecars)}" if sidecars else "-",
        str(restarts) if sidecars else "-",
        said,
    )


def _common(values: Iterator[str]) -> str:
    """Return the value that all have; several are only counted."""
    found = {value for value in values if value}
    return visible(found.pop()) if len(found) == 1 else f"{len(found)} different" if found else "-"


def _pod_cells(one: Row) -> tuple[str, ...]:
    return (
        "0/1" if one.ready is None else "1/1",
        visible(one.profile) or "-",
        visible(one.revision) or "-",
        "-" if one.ready is None else f"{int(one.ready)}/1",
        "-" if one.restarts is None else str(one.restarts),
        f"{one.standing.sentence}: {visible(one.why)}" if one.why else one.standing.sentence,
    )


def _summary(rows: Sequence[Row], scope: Scope, source: str) -> str:
    """Return the line below the table."""
    where = "this cluster" if scope.namespace is None else f"namespace {visible(scope.namespace)}"
    if not rows:
        return f"pillion status: no pod in {where} asks for a sidecar"
    states = Counter(one.standing for one in rows)
    parts = "; ".join(f"{states[standing]} {standing.sentence}" for standing in Standing if states[standing])
    judged = f"judged by {visible(source)}" if source else "judged by nothing: no configuration can be read"
    count = len(_by_workload(rows))
    workloads = f"{count} workload{'s' if count > 1 else ''}"
    return f"pillion status: {len(rows)} pod{'s' if len(rows) > 1 else ''} in {workloads}: {parts}; {judged}"


# --- JSON --------------------------------------------------------------------------------------------------------


def _as_json(rows: Sequence[Row], source: str, notes: Sequence[str]) -> dict[str, Any]:
    states = Counter(one.standing.value for one in rows)
    return {
        "judgedBy": source or None,
        "notes": notes,
        "pods": len(rows),
        "withoutSidecar": sum(one.standing.fails for one in rows),
        "standings": dict(sorted(states.items())),
        "workloads": [
            {
                "namespace": workload.namespace,
                "kind": workload.kind,
                "name": workload.name,
                "pods": [_pod_as_json(one) for one in own],
            }
            for workload, own in _by_workload(rows).items()
        ],
    }


def _pod_as_json(one: Row) -> dict[str, Any]:
    return {
        "name": one.pod,
        "standing": one.standing.value,
        "sentence": one.standing.sentence,
        "why": one.why,
        "profile": one.profile or None,
        "revision": one.revision or None,
        "sidecarReady": one.ready,
        "sidecarRestarts": one.restarts,
    }
