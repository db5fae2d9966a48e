"""One running pod's sidecar, replaced by the present one without touching the application.

Kubernetes lets a container's image be changed in a running pod, a native sidecar's, too. The kubelet ends that
container, pulls the new image and starts the container again; meanwhile the pod may be unready. Kubelets before 1.32
do nothing where it is a native sidecar: https://github.com/kubernetes/kubernetes/pull/126525.

============  ==================================================================================
outcome       the pod
============  ==================================================================================
upgraded      has the sidecar that it would get now: another container, of another image, is ready
possible      would be upgraded, as far as a dry run tells
current       has it already
gone          ended meanwhile, or another has its name
left          is left as it was, for now; ``why`` says for what reason
anew          would have to be created anew; ``why`` says what else differs
refused       is left as it was: the API server did not take the change
failed        was changed, and is not back; ``way_back`` is the command that undoes it
============  ==================================================================================
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from webhook.cli.cluster import NOT_FINISHED
from webhook.cli.kubectl import FORBIDDEN, NOT_FOUND, Kubectl, document, path
from webhook.cli.pods import ContainerStatus, Pod, decode
from webhook.cli.terminal import visible
from webhook.errors import ClusterError
from webhook.injection.annotations import STATUS
from webhook.injection.comparison import ABSENT, Comparison, Difference, State, compare
from webhook.injection.profile import Configuration
from webhook.json_values import as_list, as_mapping, at
from webhook.workloads.objects import dotted

__all__ = ["FIRST_KUBELET", "InPlace", "Outcome", "PodKey", "Result", "why_not"]

POLL_SECONDS = 1.0
#: So often a pod is read again that somebody else changes at the same time, its kubelet for example.
ATTEMPTS = 3
_CONFLICT = "Conflict"
#: A container that came back with the image that it had before, under another name, counts when it has stayed so long:
#: a crash may have been faster than the change.
SETTLED_SECONDS = 10.0
#: The first kubelet that replaces a native sidecar whose image changes.
FIRST_KUBELET = (1, 32)
_VERSION = re.compile(r"v([0-9]{1,4})\.([0-9]{1,4})")
#: What the kubelet says of a container that it has tried to start in vain.
_IN_VAIN = frozenset(
    {"CrashLoopBackOff", "CreateContainerConfigError", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}
)
#: How the kubelet's events begin that say so of an image.
_FAILED, _BACK_OFF = "Failed to pull image", "Back-off pulling image"
#: Labels that all pods of a workload's revision have in common, to ask for these pods alone.
_OF_A_REVISION = ("pod-template-hash", "rollouts-pod-template-hash", "controller-revision-hash")
#: So many differences are named.
_SHOWN_DIFFERENCES = 3
_MAX_VALUE = 60
#: So much is shown of what the kubelet says.
_MAX_WORDS = 300


class Outcome(StrEnum):
    """What became of a pod; the module's table says which is which."""

    UPGRADED = "upgraded"
    POSSIBLE = "possible"
    CURRENT = "current"
    GONE = "gone"
    LEFT = "left"
    ANEW = "anew"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def stops(self) -> bool:
        """Return whether no other pod should be tried: the next one would fare no better."""
        return self in (Outcome.REFUSED, Outcome.FAILED)

    @property
    def is_done(self) -> bool:
        """Return whether nothing is left to do."""
        return self in (Outcome.UPGRADED, Outcome.POSSIBLE, Outcome.CURRENT, Outcome.GONE)


class PodKey(NamedTuple):
    """A pod's identity: a StatefulSet's next pod has the same name."""

    namespace: str
    name: str
    uid: str


class Result(NamedTuple):
    """What became of a pod, why in words, how long it took, and how to go back."""

    outcome: Outcome
    why: str = ""
    seconds: float = 0.0
    way_back: str = ""


def why_not(found: Comparison, prefix: str) -> str:
    """Return in words why a pod can't be upgraded in place; empty where it can."""
    if found.state is State.DECLINED and found.finding is not None:
        return f"it would get no sidecar now: {visible(found.finding.text(prefix))}"
    if found.state is not State.OTHER:
        return ""
    shown = [_in_words(one) for one in found.differences[:_SHOWN_DIFFERENCES]]
    rest = len(found.differences) - len(shown)
    return "; ".join([*shown, *([f"and {rest} more"] if rest else [])])


def _in_words(one: Difference) -> str:
    where = dotted(one.path[1:] if one.path[0] == "spec" else one.path)
    if one.live is ABSENT:
        return visible(f"{where} is missing")
    if one.desired is ABSENT:
        return visible(f"{where} would be missing now")
    return visible(f"{where} is {_value(one.live)}, now {_value(one.desired)}")


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"


class _ChangedMeanwhileError(Exception):
    """Somebody else changed the pod after it was read."""


@dataclass
class InPlace:
    """Upgrades pods of a cluster, one after the other."""

    kubectl: Kubectl
    configuration: Configuration
    namespace_opted_in: Callable[[str], bool]
    """Whether a namespace opted in."""
    time_limit: float
    """How long a pod may take to be ready again, in seconds."""
    allow_unavailable: bool = False
    dry_run: bool = False
    _kubelets: dict[str, str] = field(default_factory=dict)

    def compared(self, item: bytes) -> Comparison:
        """Return how a pod, in JSON, differs from what it would be now."""
        return self._compared(document(msgspec.Raw(item)))

    def _compared(self, pod: Mapping[str, Any]) -> Comparison:
        opted_in = self.namespace_opted_in(str(at(pod, ("metadata", "namespace"))))
        return compare(pod, self.configuration, namespace_opted_in=opted_in)

    def upgrade(self, key: PodKey) -> Result:
        """Upgrade a pod and return what became of it.

        :class:`ClusterError` where the cluster can't be read; then nothing was changed.
        """
        for _ in range(ATTEMPTS):
            item = self._read(key)
            if item is None:
                return Result(Outcome.GONE)
            try:
                return self._upgrade(key, item)
            except _ChangedMeanwhileError:
                continue
        return Result(Outcome.LEFT, "others go on changing it")

    def _upgrade(self, key: PodKey, item: bytes) -> Result:
        whole = document(msgspec.Raw(item))
        pod, found = decode(item), self._compared(whole)
        if found.state is State.CURRENT:
            return Result(Outcome.CURRENT)
        if found.state not in (State.IMAGE_ONLY, State.STATUS_ONLY):
            return Result(Outcome.ANEW, why_not(found, self.configuration.prefix))
        if found.state is State.IMAGE_ONLY:
            objection = self._objection(key, pod, found, str(at(whole, ("spec", "nodeName"))))
            if objection is not None:
                return objection
        seen = {} if self.dry_run else self._pulls(key, found)
        try:
            answer = self._patch(key, pod.metadata.resource_version, found)
        except ClusterError as error:
            if error.reason == _CONFLICT:
                raise _ChangedMeanwhileError from error
            return Result(Outcome.GONE if error.reason == NOT_FOUND else Outcome.REFUSED, error.sentence)
        if found.state is State.IMAGE_ONLY and _image(answer, found) == found.live_image:
            return Result(Outcome.REFUSED, "something in the cluster changes the image back")
        if self.dry_run:
            return Result(Outcome.POSSIBLE)
        if found.state is State.STATUS_ONLY:
            return Result(Outcome.UPGRADED)
        return self._wait(key, found, pod.container_status(found.sidecar) or ContainerStatus(found.sidecar), seen)

    def _read(self, key: PodKey) -> bytes | None:
        """Return a pod, in JSON; None where it has ended."""
        try:
            item = self.kubectl.raw(path("api", "v1", "namespaces", key.namespace, "pods", key.name))
        except ClusterError as error:
            if error.reason != NOT_FOUND:
                raise
            return None
        pod = decode(item)
        ended = pod.leaves or pod.status.phase in ("Succeeded", "Failed")
        return None if ended or pod.metadata.uid != key.uid else item

    # --- before the change ---------------------------------------------------------------------------------------

    def _objection(self, key: PodKey, pod: Pod, found: Comparison, node: str) -> Result | None:
        """Return why the sidecar should not be replaced now, None if it may be."""
        kubelet = self._kubelet(node) if found.list_name == "initContainers" else ""
        version = _VERSION.match(kubelet)
        if version is not None and (int(version[1]), int(version[2])) < FIRST_KUBELET:
            why = f"kubelet {visible(kubelet)} does not replace native sidecars, since v1.32 it does"
            return Result(Outcome.ANEW, why)
        if not pod.is_ready:
            return Result(Outcome.LEFT, "it is not ready")
        if not self.allow_unavailable and not self._has_another_ready(key, pod):
            return Result(Outcome.LEFT, "no other pod of its workload is ready; --allow-unavailable upgrades it")
        return None

    def _kubelet(self, node: str) -> str:
        """Return the version of a node's kubelet; empty where it may not be read."""
        if node not in self._kubelets:
            try:
                found = at(
                    self.kubectl.read(path("api", "v1", "nodes", node)), ("status", "nodeInfo", "kubeletVersion")
                )
            except ClusterError as error:
                if error.reason not in (FORBIDDEN, NOT_FOUND):
                    raise
                found = None
            self._kubelets[node] = found if isinstance(found, str) else ""
        return self._kubelets[node]

    def _has_another_ready(self, key: PodKey, pod: Pod) -> bool:
        labels = pod.metadata.labels or {}
        common = next((f"{label}={labels[label]}" for label in _OF_A_REVISION if label in labels), None)
        query = {"labelSelector": common, "fieldSelector": NOT_FINISHED}
        pages = self.kubectl.pages("api", "v1", "namespaces", key.namespace, "pods", **query)
        return any(
            other.is_ready and other.workload == pod.workload and other.metadata.uid != key.uid
            for page in pages
            for other in map(decode, page)
        )

    # --- the change ----------------------------------------------------------------------------------------------

    def _change(self, found: Comparison, image: str, status: str | None) -> dict[str, Any]:
        """Return what makes a pod have this image and status, as a strategic-merge patch: lists merge by name."""
        change: dict[str, Any] = {"metadata": {}}
        if found.live_status != found.desired_status and found.desired_status is not None:
            change["metadata"]["annotations"] = {f"{self.configuration.prefix}{STATUS}": status}
        if found.state is State.IMAGE_ONLY:
            change["spec"] = {found.list_name: [{"name": found.sidecar, "image": image}]}
        return change

    def _patch(self, key: PodKey, resource_version: str, found: Comparison) -> Any:
        """Return the pod after the change, or after its dry run; a conflict if somebody else has changed the pod."""
        change = self._change(found, found.desired_image, found.desired_status)
        change["metadata"]["resourceVersion"] = resource_version
        options = {"namespace": key.namespace, "type": "strategic", "patch": json.dumps(change), "output": "json"}
        if self.dry_run:
            options["dry_run"] = "server"
        return document(msgspec.Raw(self.kubectl.run("patch", "pod", key.name, **options)))

    def way_back(self, key: PodKey, found: Comparison) -> str:
        """Return the command that gives a pod the sidecar that it had."""
        change = self._change(found, found.live_image, found.live_status)
        change = {name: value for name, value in change.items() if value}
        words = self.kubectl.words(key.namespace)
        return shlex.join(["kubectl", "patch", "pod", key.name, *words, "-p", json.dumps(change)])

    # --- after it ------------------------------------------------------------------------------------------------

    def _wait(self, key: PodKey, found: Comparison, before: ContainerStatus, seen: Collection[str]) -> Result:
        """Return what became of a pod that was changed, when it is back or the time is over.

        ``seen`` are the events that were there before.
        """
        begin = time.monotonic()
        settling, since = "", begin
        while True:
            passed = time.monotonic() - begin
            try:
                item = self._read(key)
                if item is None:
                    return Result(Outcome.GONE)
                pod = decode(item)
                now = pod.container_status(found.sidecar) or before
                why, in_vain = _why_not_back(pod, now, before), _waiting(now).get("reason") in _IN_VAIN
                if not why and now.container_id != settling:
                    settling, since = now.container_id, time.monotonic()
                if not why and (now.image_id != before.image_id or time.monotonic() - since >= SETTLED_SECONDS):
                    return Result(Outcome.UPGRADED, seconds=passed)
                new = [text for one, text in self._pulls(key, found).items() if one not in seen]
                failed = [text for text in new if text.startswith(_FAILED)]
                if failed:
                    why = visible(failed[0][:_MAX_WORDS])
                elif new and now.container_id == before.container_id:
                    why = "the new image is not there yet"
                in_vain = in_vain or any(text.startswith(_BACK_OFF) for text in new)
            except ClusterError as error:
                # what was changed is not left alone because of one answer
                why, in_vain = error.sentence, False
            if in_vain or passed > self.time_limit:
                why = why or "its image is the one that it had, and it has just started"
                return Result(Outcome.FAILED, why, passed, self.way_back(key, found))
            time.sleep(POLL_SECONDS)

    def _pulls(self, key: PodKey, found: Comparison) -> dict[str, str]:
        """Return what events say about the new image in a pod, by their versions; nothing where they may not be read.

        A pod's status shows a native sidecar as it was, until the new one runs.
        """
        query = {"fieldSelector": f"involvedObject.uid={key.uid}"}
        try:
            pages = list(self.kubectl.pages("api", "v1", "namespaces", key.namespace, "events", **query))
        except ClusterError as error:
            if error.reason != FORBIDDEN:
                raise
            return {}
        events = [document(item) for page in pages for item in page]
        return {
            str(at(event, ("metadata", "resourceVersion"))): str(event.get("message"))
            for event in events
            if f'image "{found.desired_image}"' in str(event.get("message"))
        }


def _image(pod: Any, found: Comparison) -> str:
    """Return the image that a pod's sidecar has now."""
    containers = map(as_mapping, as_list(at(pod, ("spec", found.list_name))))
    return next((str(one.get("image")) for one in containers if one.get("name") == found.sidecar), "")


def _why_not_back(pod: Pod, now: ContainerStatus, before: ContainerStatus) -> str:
    """Return why a pod's new sidecar is not ready, in words; empty if it is."""
    waiting = _waiting(now)
    if waiting:
        return visible(f"{waiting.get('reason')}: {waiting.get('message', 'no message')}"[:_MAX_WORDS])
    if now.container_id == before.container_id:
        if "running" in (now.state or {}):
            return "the former sidecar still runs; if nothing is pulled, the pod has to be created anew (old kubelet)"
        return "the new image is not there yet"
    if "running" not in (now.state or {}) or not now.ready or now.started is False:
        return "the new sidecar is not ready"
    return "" if pod.is_ready else "the sidecar is ready, but the pod is not"


def _waiting(status: ContainerStatus) -> dict[str, Any]:
    return as_mapping((status.state or {}).get("waiting"))
