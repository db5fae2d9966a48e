"""The kubelet is the judge: what starts without us starts with us, and our sidecar beside it."""

import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.goldens import CASES
from tests.injection.reviews import verdict_on
from tests.strategies import pods
from webhook.injection.profile import Configuration
from webhook.injection.verdict import Verdict

from .api import proxied
from .conftest import RunningCluster
from .hard_pods import HARD, PROFILES, configuration, identities
from .judge import without_annotations
from .kubelet_judge import Kubelet, Outcome
from .programs import Say
from .startable import referenced, shape, stand_ins, startable

#: One worker runs all of it: two judges at once start too many pods for two cores.
pytestmark = [pytest.mark.cluster, pytest.mark.minutes, pytest.mark.xdist_group("kubelet")]

#: All of them is ``make test-kubelet``; otherwise one of each kind.
ALL = bool(os.environ.get("PILLION_KUBELET_ALL"))
GENERATED = int(os.environ.get("PILLION_KUBELET_GENERATED", "500" if ALL else "50"))
#: So many of the valid ones start without us, or the judge has failed.
STANDING = 0.95
#: Goldens that a bare node can't start, and who else starts them.
EXCEPTED = {"security-user-taken-away-by-profile": "a cluster whose policy gives each container a user, as OpenShift's"}


@dataclass(frozen=True)
class Pair:
    """A pod as the node can start it, without the sidecar and with it."""

    name: str
    plain: Any
    injected: Any


def pair(name: str, pod: Any, verdict: Verdict) -> Pair | None:
    """Return the pair, or None where the pod is left alone: the decision is for the pod as it was written."""
    if not verdict.injected:
        return None
    after = jsonpatch.apply_patch(pod, json.loads(verdict.patch))
    ours = _container_names(after) - _container_names(pod)
    return Pair(name, startable(without_annotations(pod)), startable(after, ours))


def _container_names(pod: Any) -> set[str]:
    return {each["name"] for kind in ("containers", "initContainers") for each in pod["spec"].get(kind) or []}


def one_of_each(pairs: Iterable[Pair]) -> list[Pair]:
    """Return one pair of each shape."""
    return list({shape(each.injected): each for each in reversed(list(pairs))}.values())[::-1]


class Court:
    """Judges pairs, and tells how many there were."""

    def __init__(self, kubelet: Kubelet, version: str, say: Say) -> None:
        """Ask this kubelet."""
        self._kubelet = kubelet
        self._version = version
        self._say = say

    def judge(self, what: str, pairs: Sequence[Pair]) -> None:
        """Fail with the kubelet's words on each pair that starts without us and not with us.

        Also where more than a few do not start without us: it is then the judge that is wrong.
        """
        begin, asked = time.monotonic(), self._kubelet.asked
        self._kubelet.provide(referenced(pod for each in pairs for pod in (each.plain, each.injected)))
        injected = self._kubelet.judge([each.injected for each in pairs])
        # what starts with us would without us: only all of them, not one of each kind, are looked at again
        again = [ALL or not with_us.started for with_us in injected]
        plain = iter(self._kubelet.judge([each.plain for each, wanted in zip(pairs, again, strict=True) if wanted]))
        judged = [
            (each, next(plain) if wanted else with_us, with_us)
            for each, wanted, with_us in zip(pairs, again, injected, strict=True)
        ]
        judged = [each for each in judged if each[1].valid]
        standing = [each for each in judged if each[1].started]
        refused = [(each, with_us) for each, _, with_us in standing if not with_us.started]
        self._say(
            f"  kubelet {self._version}, {what}: {len(judged)} valid, {len(standing)} started without us, "
            f"{sum(with_us.started for *_, with_us in judged)} with us, {len(refused)} refused because of us "
            f"({self._kubelet.asked - asked} pods, {time.monotonic() - begin:.0f} s)"
        )
        said = [f"{each.name}: {with_us.words}\n    {json.dumps(each.plain)}" for each, with_us in refused]
        assert not said, "\n".join(said)
        fallen = [f"{each.name}: {without.words}" for each, without, _ in judged if not without.started]
        assert len(standing) >= STANDING * len(judged), "\n".join(fallen)


@pytest.fixture(scope="module")
def kubelet(node: RunningCluster) -> Iterator[Kubelet]:
    """Return a kubelet that can be asked, in a namespace that nobody else uses."""
    for image in stand_ins():
        node.import_image(image)
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    name = f"judged-{secrets.token_hex(4)}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    node.kubectl("create", "-f", "-", stdin=namespace)
    node.prepare_namespace(name)
    with proxied(node.kubectl) as api:
        yield Kubelet(api, name)
    node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def court(node: RunningCluster, kubelet: Kubelet, say: Say) -> Court:
    """Return the court."""
    nodes = node.kubectl("get", "nodes", "-o", "json")["items"]
    return Court(kubelet, nodes[0]["status"]["nodeInfo"]["kubeletVersion"], say)


@pytest.fixture
def profiles(tmp_path: Path) -> Configuration:
    """Return a configuration with the profiles that somebody may write."""
    return configuration(tmp_path)


def test_goldens(court: Court) -> None:
    """Each golden that is injected starts if it starts without us."""
    cases = [case for case in CASES if case.loads and case.name not in EXCEPTED]
    made = [pair(case.name, case.pod, case.verdict()) for case in cases]
    pairs = [each for each in made if each]
    court.judge("goldens", pairs if ALL else one_of_each(pairs))


def test_hard_pods(court: Court, profiles: Configuration) -> None:
    """The same for pods that a sidecar easily keeps from starting."""
    made = [pair(each.why, each.pod, verdict_on(each.pod, profiles)) for each in HARD]
    court.judge("hard pods", [each for each in made if each])


def test_who_runs(court: Court, profiles: Configuration) -> None:
    """The same however pod, container, annotation and profile say who runs."""
    made = [pair(each.why, each.pod, verdict_on(each.pod, profiles)) for each in identities()]
    pairs = {json.dumps(_who_runs(each.injected)): each for each in made if each and starts_alone(each.plain)}
    court.judge("identities", list(pairs.values()))


def _who_runs(pod: Any) -> list[Any]:
    spec = pod["spec"]
    return [spec.get("securityContext"), *(each.get("securityContext") for each in spec["initContainers"])]


def starts_alone(pod: Any) -> bool:
    """Return whether the pod's only container is not root where it must not be."""
    of_pod, own = (each.get("securityContext") or {} for each in (pod["spec"], pod["spec"]["containers"][0]))
    both = {**of_pod, **own}
    return not (both.get("runAsNonRoot") and both.get("runAsUser") == 0)


def test_generated_pods(court: Court, profiles: Configuration) -> None:
    """The same for generated pods."""
    found: dict[str, Pair] = {}

    @settings(
        max_examples=10 * GENERATED,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
        # the short sample is the same each time; the long one looks for more
        derandomize=not ALL,
    )
    @given(pods(), st.sampled_from(["", "", "", *PROFILES]))
    def collect(pod: Any, profile: str) -> None:
        if len(found) >= GENERATED or _breaks_itself(startable(pod)):
            return
        if profile:
            pod["metadata"]["annotations"]["pillion.dev/profile"] = profile
        made = pair(json.dumps(pod), pod, verdict_on(pod, profiles))
        if made:
            found.setdefault(shape(made.injected), made)

    collect()
    court.judge("generated pods", list(found.values()))


def _breaks_itself(pod: Any) -> bool:
    """Return whether a container is root where it may not be, or needs a folder inside a mount that is only read."""
    spec = pod["spec"]
    of_pod = spec.get("securityContext") or {}
    writable = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    for container in [*spec["initContainers"], *spec["containers"]]:
        context = {**of_pod, **container.get("securityContext", {})}
        if context.get("runAsNonRoot") and context.get("runAsUser") == 0:
            return True
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        locked = [
            mount["mountPath"]
            for mount in container["volumeMounts"]
            if mount.get("readOnly") or mount["name"] not in writable
        ]
        inside = [*paths, "/var/run/secrets/kubernetes.io/serviceaccount", *_where(container)]
        # whether /var/run is a link depends on what is mounted at /var
        for form in (_as_written, _resolved):
            taken = list(map(form, paths))
            if len(set(taken)) < len(taken):
                return True
            if any(a != b and a.startswith(b) for a in map(form, inside) for b in map(form, locked)):
                return True
    return False


def _where(container: Any) -> list[str]:
    return [container["workingDir"]] if container.get("workingDir") else []


def _as_written(path: str) -> str:
    return f"{path.rstrip('/')}/"


def _resolved(path: str) -> str:
    return _as_written(path).replace("/var/run/", "/run/")


RAISED = {"runAsUser": 0, "runAsNonRoot": True}


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        ({"securityContext": RAISED}, "runAsUser breaks non-root policy"),
        ({"command": ["/stand-in/busybox", "false"]}, "exit code 1"),
        ({"command": ["/nowhere"]}, "/nowhere"),
    ],
    ids=["may-not-run", "ends-at-once", "has-no-program"],
)
def test_the_judge_sees_it(kubelet: Kubelet, sidecar: dict[str, Any], words: str) -> None:
    """A sidecar that does not start, or does not stay, is no start, and the kubelet says why."""
    pod = startable({"spec": {"containers": [{"name": "app", "image": "app"}]}})
    assert kubelet.judge([pod]) == [Outcome(started=True)]
    container = {**pod["spec"]["containers"][0], "name": "sidecar", "restartPolicy": "Always", **sidecar}
    (outcome,) = kubelet.judge([{**pod, "spec": {**pod["spec"], "initContainers": [container]}}])
    assert outcome.valid
    assert not outcome.started
    assert words in outcome.words
