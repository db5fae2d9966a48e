"""``pillion upgrade``: the sidecars of running pods to the present image, without restarting an application."""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from certs import duration
from webhook.cli import basis as judging
from webhook.cli import cluster
from webhook.cli.basis import Basis
from webhook.cli.cluster import Namespaces, Scope
from webhook.cli.in_place import InPlace, Outcome, PodKey, Result, why_not
from webhook.cli.kubectl import Kubectl
from webhook.cli.pods import Workload, decode
from webhook.cli.terminal import BOLD, DIM, GREEN, RED, YELLOW, complain, deliver, painter, visible
from webhook.errors import ClusterError
from webhook.injection.comparison import Comparison, State

__all__ = ["add_arguments", "run"]

#: The exit code where something was not done.
NOT_DONE = 1
TIME_LIMIT = "3m"
#: Short names of kinds, as kubectl has them.
_SHORT = {"deploy": "deployment", "ds": "daemonset", "po": "pod", "rs": "replicaset", "sts": "statefulset"}
#: Kinds that ``kubectl rollout restart`` knows.
_RESTARTABLE = frozenset({"Deployment", "DaemonSet", "StatefulSet"})

_EXAMPLES = """\
examples:
  pillion upgrade --dry-run               what would be done in the namespace of kubectl's context
  pillion upgrade deployment/web -n shop
  pillion upgrade -A -l tier=backend
  pillion upgrade pod/batch-1 --allow-unavailable
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Give running pods the sidecar's present image, one pod after the other, without restarting an application.\n"
        "A pod may be unready until its new sidecar runs. Where more than the image differs, the pod has to be\n"
        "created anew, and the command for that is shown. It writes through kubectl, with your own rights, and stops\n"
        "at the first pod that does not come back. Exit code 1: something was not done; 2: usage, or the cluster\n"
        "can't be read."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    pods = parser.add_argument_group("which pods")
    pods.add_argument("names", nargs="*", metavar="KIND/NAME", help="only these, as deployment/web or pod/web-0")
    cluster.add_scope_options(pods)
    way = parser.add_argument_group("how")
    way.add_argument("--dry-run", action="store_true", help="change nothing; ask the API server whether it would")
    way.add_argument(
        "--allow-unavailable",
        action="store_true",
        help="also upgrade a pod while no other pod of its workload is ready",
    )
    way.add_argument(
        "--timeout",
        metavar="TIME",
        type=_seconds,
        default=TIME_LIMIT,
        help=f"how long a pod may take to be ready again, as 90s or 5m; default: {TIME_LIMIT}",
    )
    judging.add_options(parser.add_argument_group("by which configuration"))
    cluster.add_connection_options(parser.add_argument_group("the cluster, which is reached through kubectl"))


def _seconds(text: str) -> float:
    try:
        return duration.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from None


def run(arguments: argparse.Namespace) -> int:
    """Upgrade the pods and return the exit code."""
    names = {_title(name) for name in cluster.named(arguments.names)}
    if names and arguments.all_namespaces:
        raise ClusterError("names are those of one namespace: write -n NAME instead of -A")
    kubectl = cluster.connection(arguments)
    scope = cluster.scope(kubectl, arguments)
    basis = Basis.read(kubectl, arguments)
    for note in basis.notes:
        complain(f"note: {visible(note)}")
    if not basis.decides:
        raise ClusterError("what a pod would get now is unknown; give the webhook's configuration with --config")
    if basis.version:
        # another version makes other sidecars of the same configuration
        version = visible(basis.version)
        raise ClusterError(f"only Pillion {version} knows what the webhook adds: use its command, or give --config")
    namespaces = Namespaces(kubectl, scope, basis.configuration.prefix)
    in_place = InPlace(
        kubectl,
        basis.configuration,
        # where that is unknown: a pod that does not ask, and has a sidecar, got it because its namespace did
        lambda name: namespaces.opted_in(name) is not False,
        time_limit=arguments.timeout,
        allow_unavailable=arguments.allow_unavailable,
        dry_run=arguments.dry_run,
    )
    workloads = _survey(kubectl, scope, in_place, names)
    return _Report(in_place, basis).upgrade(workloads)


def _title(name: str) -> str:
    """Return ``deployment/web`` for ``deploy/web``, ``deployments.apps/web`` and the like."""
    kind, _, rest = name.partition("/")
    kind = kind.lower().partition(".")[0]
    return f"{_SHORT.get(kind) or kind.removesuffix('s')}/{rest}"


class _Candidate(NamedTuple):
    """A pod with a sidecar of ours; ``why`` is why it can't be upgraded in place, or empty."""

    key: PodKey
    found: Comparison
    why: str


def _survey(kubectl: Kubectl, scope: Scope, in_place: InPlace, names: set[str]) -> dict[Workload, list[_Candidate]]:
    """Return the chosen pods that have a sidecar of ours, by workload."""
    workloads: dict[Workload, list[_Candidate]] = {}
    missing = set(names)
    for page in scope.pods(kubectl):
        for item in page:
            pod = decode(item)
            owners = pod.metadata.owner_references or ()
            titles = {pod.workload.title, f"pod/{pod.metadata.name}", *(owner.title for owner in owners)}
            if (names and not titles & names) or pod.leaves:
                continue
            missing -= titles
            if pod.sidecar(in_place.configuration) is None:
                continue
            key = PodKey(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
            found = in_place.compared(bytes(item))
            if found.state is not State.FOREIGN:
                why = why_not(found, in_place.configuration.prefix)
                # of many pods only this much is kept
                one = _Candidate(key, found._replace(differences=()), why)
                workloads.setdefault(pod.workload, []).append(one)
    if missing:
        where = visible(f"{', '.join(sorted(missing))}: no such pods in namespace {scope.namespace}")
        raise ClusterError(where)
    return workloads


class _Report:
    """Upgrades workload by workload, and says what came of it."""

    def __init__(self, in_place: InPlace, basis: Basis) -> None:
        self._in_place = in_place
        self._basis = basis
        self._paint = painter(sys.stdout)
        self._counts: Counter[Outcome] = Counter()

    def upgrade(self, workloads: dict[Workload, list[_Candidate]]) -> int:
        """Upgrade the pods and return the exit code."""
        total = sum(map(len, workloads.values()))
        for workload, candidates in workloads.items():
            if not self._upgrade_one(workload, candidates):
                break
        self._summarise(total)
        return 0 if sum(n for outcome, n in self._counts.items() if outcome.is_done) == total else NOT_DONE

    def _upgrade_one(self, workload: Workload, candidates: Sequence[_Candidate]) -> bool:
        """Upgrade a workload's pods; return whether the next workload may follow."""
        waiting = [one for one in candidates if one.found.state is not State.CURRENT]
        self._counts[Outcome.CURRENT] += len(candidates) - len(waiting)
        if not waiting:
            return True
        head = self._paint(visible(workload.title), BOLD)
        deliver(f"{head} {self._paint(visible(f'(namespace {workload.namespace})'), DIM)}\n")
        images = {
            (one.found.live_image, one.found.desired_image) for one in waiting if one.found.state is State.IMAGE_ONLY
        }
        for stored, made in sorted(images):
            deliver(f"  {visible(stored)} -> {visible(made)}\n")
        anew: dict[str, list[str]] = {}
        for one in waiting:
            result = Result(Outcome.ANEW, one.why) if one.why else self._tried(one)
            self._counts[result.outcome] += 1
            if result.outcome is Outcome.ANEW:
                anew.setdefault(result.why, []).append(one.key.name)
            else:
                deliver("".join(f"  {line}\n" for line in self._lines(one, result)))
            if result.outcome.stops:
                return False
        deliver("".join(f"  {line}\n" for why, names in anew.items() for line in self._anew(workload, why, names)))
        return True

    def _tried(self, one: _Candidate) -> Result:
        try:
            return self._in_place.upgrade(one.key)
        except KeyboardInterrupt:
            back = self._in_place.way_back(one.key, one.found)
            complain(f"interrupted; if {visible(one.key.name)} does not come back: {back}")
            raise

    def _lines(self, one: _Candidate, result: Result) -> Iterator[str]:
        word, colour = {
            Outcome.UPGRADED: (f"upgraded in {result.seconds:.0f} s", GREEN),
            Outcome.POSSIBLE: ("would be upgraded", GREEN),
            Outcome.CURRENT: ("has been upgraded meanwhile", DIM),
            Outcome.GONE: ("has ended meanwhile", DIM),
            Outcome.LEFT: ("left as it is", YELLOW),
            Outcome.REFUSED: ("the API server refuses the change", RED),
            Outcome.FAILED: (f"not back after {result.seconds:.0f} s", RED),
        }[result.outcome]
        if result.outcome is Outcome.UPGRADED and one.found.state is State.STATUS_ONLY:
            word = "had that sidecar already; its annotation now says so"
        why = f": {visible(result.why)}" if result.why and result.outcome is not Outcome.GONE else ""
        yield f"{visible(one.key.name)}: {self._paint(word, colour)}{why}"
        if result.way_back:
            yield f"to go back: {result.way_back}"

    def _anew(self, workload: Workload, why: str, names: Sequence[str]) -> Iterator[str]:
        count = "1 pod has" if len(names) == 1 else f"{len(names)} pods have"
        yield f"{self._paint(f'{count} to be created anew', YELLOW)}: {why}"
        yield f"to do it: {visible(_recreation(self._in_place.kubectl, workload, names[0]))}"

    def _summarise(self, total: int) -> None:
        counts = self._counts
        words = {
            "upgraded": counts[Outcome.UPGRADED],
            "would be upgraded": counts[Outcome.POSSIBLE],
            "already current": counts[Outcome.CURRENT],
            "ended meanwhile": counts[Outcome.GONE],
            "to be created anew": counts[Outcome.ANEW],
            "left as they are": counts[Outcome.LEFT],
            "refused": counts[Outcome.REFUSED],
            "not back": counts[Outcome.FAILED],
            "not tried": total - sum(counts.values()),
        }
        parts = ", ".join(f"{count} {word}" for word, count in words.items() if count) or "none has a sidecar"
        complain(f"pillion upgrade: {total} pod{'' if total == 1 else 's'}: {parts}; by {visible(self._basis.source)}")


def _recreation(kubectl: Kubectl, workload: Workload, pod: str) -> str:
    """Return the command that has a pod created anew, and its application with it."""
    words = kubectl.words(workload.namespace)
    if workload.kind in _RESTARTABLE:
        return shlex.join(["kubectl", "rollout", "restart", workload.title, *words])
    if workload.kind == "Pod":
        base = shlex.join(words)
        return f"kubectl get pod {pod} {base} -o yaml | pillion uninject -f - | kubectl replace --force {base} -f -"
    return shlex.join(["kubectl", "delete", "pod", pod, *words])
