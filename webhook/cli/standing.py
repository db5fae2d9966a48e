"""How a pod in a cluster stands: with its sidecar or without, and why."""

from enum import StrEnum
from typing import Any, NamedTuple, Self

import jsonpatch
from msgspec import Raw

from webhook.cli.basis import Basis
from webhook.cli.pods import ContainerStatus, Pod, Workload
from webhook.injection.admission import admit
from webhook.injection.annotations import STATUS
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason, Severity, clean_untrusted
from webhook.injection.removal import remove
from webhook.injection.review import creation_request
from webhook.injection.verdict import Verdict

__all__ = ["Row", "Standing", "row", "without_sidecar"]


class Standing(StrEnum):
    """A stable key for machines, and a sentence for people. ``fails`` is true of a pod that asks and is without.

    ======================================================  ===========
    the pod                                                 it stands
    ======================================================  ===========
    has our sidecar, of the profile's revision              current
    has our sidecar, of another revision, or the profile    old
    is gone
    has our sidecar; no configuration, or no status         injected
    has no sidecar, but the status annotation               removed
    is in a namespace that the API server never asks about  excluded
    has no sidecar; one would be added now                  missed
    has no sidecar, and would be warned or refused          declined
    has no sidecar, and needs none (no logs, Windows, …)    unneeded
    has no sidecar; what would be decided is unknown        unknown
    ======================================================  ===========
    """

    sentence: str
    fails: bool

    def __new__(cls, key: str, sentence: str, fails: bool) -> Self:
        """Make a member whose value is its key."""
        member = str.__new__(cls, key)
        member._value_ = key
        member.sentence = sentence
        member.fails = fails
        return member

    CURRENT = "current", "injected", False
    OLD = "old", "injected with an old revision", False
    INJECTED = "injected", "injected, current revision unknown", False
    UNNEEDED = "unneeded", "without, needs none", False
    EXCLUDED = "excluded", "without, the API server never asks about its namespace", True
    DECLINED = "declined", "without, declined", True
    MISSED = "missed", "without, would be injected now", True
    REMOVED = "removed", "without, but has the status of an injection", True
    UNKNOWN = "unknown", "without, unknown whether it would be injected", True


class Row(NamedTuple):
    """What is kept of a pod that asks, or has a sidecar."""

    workload: Workload
    pod: str
    standing: Standing
    #: What the standing's sentence does not say, in words; or nothing.
    why: str = ""
    profile: str = ""
    revision: str = ""
    #: The sidecar's; None where there is none, or the kubelet has said nothing.
    ready: bool | None = None
    restarts: int | None = None


#: Of pods that ask for nothing.
_NOT_ASKING = frozenset({Reason.NOT_REQUESTED, Reason.OPTED_OUT, Reason.OWN_POD})


def row(pod: Pod, item: Raw, basis: Basis, *, namespace_opted_in: bool) -> Row | None:
    """Return how a pod stands, None where it has no sidecar and asks for none; ``item`` is its JSON."""
    configuration = basis.configuration
    made = Row(pod.workload, pod.metadata.name, Standing.INJECTED)
    sidecar, status = pod.sidecar(configuration), pod.injection(configuration)
    if sidecar is not None:
        if status is not None:
            made = made._replace(profile=_cut(status.profile), revision=_cut(status.revision))
        kubelet = pod.container_status(sidecar.name) or ContainerStatus(sidecar.name)
        made = made._replace(ready=kubelet.ready, restarts=kubelet.restart_count)
        return _with_revision(made, basis) if status is not None and basis.decides else made
    metadata = pod.metadata
    request = creation_request(
        item, namespace_opted_in=namespace_opted_in, uid=metadata.uid, namespace=metadata.namespace, name=metadata.name
    )
    verdict = admit(request, configuration)
    if status is not None and verdict.reason is not Reason.OPTED_OUT:
        return made._replace(standing=Standing.REMOVED, profile=_cut(status.profile), revision=_cut(status.revision))
    if verdict.reason in _NOT_ASKING:
        return None
    if pod.metadata.namespace in basis.excluded:
        return made._replace(standing=Standing.EXCLUDED)
    if not basis.decides:
        return made._replace(standing=Standing.UNKNOWN)
    return _judged(made, verdict)


def _cut(text: str) -> str:
    """Return a tenant's text for a table's cell: nothing of ours is as long as what an annotation may hold."""
    return clean_untrusted(text, 63)


def _judged(made: Row, verdict: Verdict) -> Row:
    """Return the row of a pod without a sidecar, by what would be decided now."""
    if verdict.injected:
        return made._replace(standing=Standing.MISSED, profile=verdict.profile_name)
    why = verdict.findings[0].text(verdict.configuration.prefix)
    severity = verdict.reason.severity
    asks = severity in (Severity.WARNING, Severity.INVALID) or verdict.requested_by_pod
    return made._replace(standing=Standing.DECLINED if asks else Standing.UNNEEDED, why=why)


def _with_revision(made: Row, basis: Basis) -> Row:
    profile = basis.configuration.profiles.get(made.profile)
    if profile is None:
        return made._replace(standing=Standing.OLD, why="its profile is gone")
    if profile.revision == made.revision:
        return made._replace(standing=Standing.CURRENT)
    return made._replace(standing=Standing.OLD, why=f"now {profile.revision}")


def without_sidecar(document: dict[str, Any], configuration: Configuration) -> dict[str, Any]:
    """Return a pod as its author wrote it: without our sidecar and without the status annotation."""
    operations = remove(document, configuration).operations
    bare: dict[str, Any] = jsonpatch.apply_patch(document, operations)
    (bare["metadata"].get("annotations") or {}).pop(f"{configuration.prefix}{STATUS}", None)
    return bare
