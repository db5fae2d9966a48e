"""Asks a kubelet whether pods start: each is created, watched until it stands or says why it does not, and deleted."""

import http.client
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .api import Api

__all__ = ["Kubelet", "Outcome"]

#: So many pods stand on the node at once. A kubelet takes 110, but no more are started in a minute by starting more at
#: once, and other workers' nodes are on this machine.
AT_ONCE = 15
#: A pod that has said for so long that a container does not start will not start: kubelets try every few seconds.
PATIENCE_SECONDS = 20.0
#: No pod takes longer to start, also where four others use the machine.
START_SECONDS = 180.0
#: A pod of which nothing says why it does not stand is created so many times: that one waited is no judgement.
TRIES = 2
POLL_SECONDS = 1.0
#: Looked at so many times in a row, it stands: a program that ends at once is seen running at most once.
LOOKS = 2
#: Why a container waits that is on its way.
_ON_ITS_WAY = ("ContainerCreating", "PodInitializing", "")


class Outcome(NamedTuple):
    """What became of a pod."""

    started: bool
    words: str = ""
    """The API server's or the kubelet's, where it did not start."""
    valid: bool = True
    """Whether the API server took it."""
    late: bool = False
    """Whether the time ran out while nothing said what is wrong."""


@dataclass
class _Pod:
    """A pod on its way."""

    name: str
    begin: float
    tries: int = 1
    looks: int = 0
    trouble: str = ""
    trouble_since: float = field(default=0.0)


class Kubelet:
    """A cluster that runs pods, to be asked whether they start."""

    def __init__(self, api: Api, namespace: str) -> None:
        """Create pods in this namespace, where nothing else happens."""
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}"
        self._made = 0
        self._known: dict[str, Outcome] = {}

    @property
    def asked(self) -> int:
        """How many pods were created; what is alike is created once."""
        return self._made

    def provide(self, objects: Iterable[Any]) -> None:
        """Create ConfigMaps and Secrets, or replace them."""
        for each in objects:
            path = f"{self._path}/{each['kind'].lower()}s"
            if self._api.ask("POST", path, each).status == http.client.CONFLICT:
                self._api.ask("PUT", f"{path}/{each['metadata']['name']}", each)

    def judge(self, pods: Sequence[Any]) -> list[Outcome]:
        """Return for each pod whether it starts."""
        keys = [json.dumps(pod, sort_keys=True) for pod in pods]
        waiting = [key for key in dict.fromkeys(keys) if key not in self._known]
        running: dict[str, _Pod] = {}
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                key = waiting.pop(0)
                self._start(running, key)
            self._look(running)
            if running:
                time.sleep(POLL_SECONDS)
        return [self._known[key] for key in keys]

    def _start(self, running: dict[str, _Pod], key: str, tries: int = 1) -> None:
        """Create the pod, and put it among those that run, or that are known to be invalid."""
        self._made += 1
        name, pod = f"judged-{self._made}", json.loads(key)
        document = {**pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**pod["metadata"], "name": name}}
        answer = self._api.ask("POST", f"{self._path}/pods", document)
        if answer.status == http.client.CREATED:
            running[key] = _Pod(name, time.monotonic(), tries)
        else:
            self._known[key] = Outcome(started=False, words=answer.document.get("message", ""), valid=False)

    def _look(self, running: dict[str, _Pod]) -> None:
        """Move what has been decided from those that run to those that are known."""
        listed = self._api.ask("GET", f"{self._path}/pods?resourceVersion=0").document["items"]
        stored = {each["metadata"]["name"]: each for each in listed}
        for key, pod in list(running.items()):
            outcome = self._outcome(pod, stored.get(pod.name))
            if outcome is None:
                continue
            del running[key]
            self._api.ask("DELETE", f"{self._path}/pods/{pod.name}?gracePeriodSeconds=0")
            if outcome.late and pod.tries < TRIES:
                self._start(running, key, pod.tries + 1)
            else:
                self._known[key] = outcome

    def _outcome(self, pod: _Pod, stored: Any) -> Outcome | None:
        now = time.monotonic()
        stands, trouble = (False, "") if stored is None else _standing(stored)
        pod.looks = pod.looks + 1 if stands else 0
        if pod.looks == LOOKS:
            return Outcome(started=True)
        if trouble and not pod.trouble:
            pod.trouble_since = now
        pod.trouble = trouble
        late = now - pod.begin > START_SECONDS
        if late or (trouble and now - pod.trouble_since > PATIENCE_SECONDS):
            said = trouble or f"it is not there in time: {json.dumps((stored or {}).get('status'))}"
            return Outcome(started=False, words="; ".join([said, *self._events(pod)]), late=not trouble)
        return None

    def _events(self, pod: _Pod) -> list[str]:
        selector = f"involvedObject.name={pod.name},type=Warning"
        found = self._api.ask("GET", f"{self._path}/events?fieldSelector={selector}").document["items"]
        return list(dict.fromkeys(f"{event['reason']}: {event['message']}" for event in found))


def _standing(stored: Any) -> tuple[bool, str]:
    """Return whether all of the pod's containers are up, and what the kubelet says is wrong with one of them."""
    status = stored.get("status") or {}
    if status.get("phase") == "Failed":
        return False, f"{status.get('reason', '')}: {status.get('message', 'a container failed')}"
    spec = stored["spec"]
    natives = {each["name"] for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    expected = len(spec["containers"]) + len(spec.get("initContainers") or [])
    init = {each["name"] for each in spec.get("initContainers") or []} - natives
    up = [_is_done(each) if each["name"] in init else _is_up(each) for each in containers]
    return len(up) == expected and all(up), next(filter(None, map(_trouble, containers)), "")


def _is_up(container: Any) -> bool:
    return bool("running" in container["state"] and container["ready"] and not container["restartCount"])


def _is_done(container: Any) -> bool:
    return bool(container["state"].get("terminated", {}).get("exitCode") == 0)


def _trouble(container: Any) -> str:
    """Return why the container waits, or that it was up and is not any more."""
    state, last = container["state"], container["lastState"].get("terminated") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last
    if waiting.get("reason", "") in _ON_ITS_WAY and not (container["restartCount"] or ended.get("exitCode")):
        return ""
    said = [waiting.get("reason", ""), waiting.get("message", ""), ended.get("message", "")]
    said += [f"exit code {ended['exitCode']}"] if ended else []
    return f"{container['name']}: {'; '.join(filter(None, said))}"
