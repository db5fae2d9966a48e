"""The API server is the judge: what is valid without us is valid with us, and is what ``pillion inject`` prints."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.goldens import CASES, Case
from tests.pod_fields import GATED, PATHS, TABLE, UNDRAWN, carried, described, is_below, paths, with_field
from tests.strategies import pods
from webhook.cli import main
from webhook.configuration import load

from .client import Client
from .conftest import Cluster, NewNamespace
from .control_plane import ApiServer
from .judge import BECAUSE_OF_US, UNREVIEWED, Judge, Tally, as_known, difference, judge, without_annotations
from .local_webhook import LocalWebhook, local_webhook
from .processes import wait_until
from .programs import Say
from .release import EFFECT_SECONDS, Release, annotated_pod, asking, sidecars

pytestmark = [pytest.mark.cluster, pytest.mark.minutes, pytest.mark.usefixtures("helm_program")]

LEVELS = ("privileged", "baseline", "restricted")
GENERATED = int(os.environ.get("PILLION_JUDGED", "500"))
#: What a generated pod may name.
RUNTIME_CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "drawn"},
    "handler": "drawn",
    "overhead": {"podFixed": {"cpu": "10m"}},
}
OPTED_IN = {"pillion.dev/inject": "true"}


@pytest.fixture(scope="module")
def asked(apiserver: Cluster) -> Iterator[Judge]:
    """Return a judge."""
    apiserver.prepare_namespace(UNREVIEWED)
    apiserver.kubectl("apply", "-f", "-", stdin=RUNTIME_CLASS)
    with judge(apiserver.kubectl) as found:
        yield found


@pytest.fixture(scope="module")
def webhook(apiserver: Cluster, asked: Judge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWebhook]:
    """Return Pillion in this process, which the API server asks."""
    if not isinstance(apiserver, ApiServer):
        pytest.skip("a cluster of one's own may not reach this machine")
    with local_webhook(apiserver.kubectl, tmp_path_factory.mktemp("webhook")) as found:

        def asks() -> bool:
            judgement = asked.ask("default", annotated_pod(asking()))
            return judgement.accepted and bool(sidecars(judgement.pod))

        assert wait_until(asks, EFFECT_SECONDS, poll=0.1)
        yield found
        assert found.bugs() == []


@dataclass(frozen=True)
class Court:
    """Where pods are judged, how many were, and a file for one."""

    judge: Judge
    tally: Tally
    file: Path

    def printed(self, pod: Any, *options: str) -> Any:
        """Return the pod that ``pillion inject`` prints for the pod, or as text why strict refuses it."""
        self.file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", **pod}))
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
            code = main(["inject", "-f", str(self.file), *options])
        return json.loads(output.getvalue()) if code == 0 else errors.getvalue()

    def verdict(
        self,
        pod: Any,
        namespace: str,
        *options: str,
        plain_namespace: str = "",
        exceptions: Sequence[str] = (),
    ) -> str:
        """Return what is wrong with the pod's judgement, or nothing.

        Where the namespace opts in, the pod without annotations is judged in ``plain_namespace``. ``exceptions`` are
        words of refusals that no webhook can foresee.
        """
        plain = self.judge.ask(plain_namespace or namespace, without_annotations(pod))
        # an annotation that is no text makes any pod invalid
        if not (plain.accepted and self.judge.ask(UNREVIEWED, pod).accepted):
            self.tally.count("not valid without us")
            return ""
        self.tally.count("valid without us")
        self.tally.fields.update(carried(plain.pod["spec"]))
        expected = self.printed({**pod, "spec": as_known(pod["spec"], plain.pod["spec"])}, *options)
        judgement = self.judge.ask(namespace, pod)
        if isinstance(expected, str):
            self.tally.count("refused as the operator wants it (strict)")
            return "" if "denied the request" in judgement.message else "strict, and accepted"
        if not judgement.accepted:
            named = any(exception in judgement.message for exception in exceptions)
            self.tally.count("refused by LimitRange or ResourceQuota" if named else BECAUSE_OF_US)
            return "" if named else judgement.message
        self.tally.count("injected" if sidecars(judgement.pod) else "left as they are")
        if exceptions:
            return ""  # a LimitRange fills in limits before it is our turn, which nobody foresees offline
        offline = self.judge.ask(UNREVIEWED, expected)
        if not offline.accepted:
            return f"what `pillion inject` prints is refused: {offline.message}"
        differs = difference(judgement.pod, offline.pod)
        return f"not what `pillion inject` prints: {differs}" if differs else ""


def options_of(case: Case) -> list[str]:
    """Return the options under which ``pillion inject`` is in the case's situation."""
    file = case.folder / "configuration.yaml"
    return [*(["--config", str(file)] if file.exists() else []), *(["--namespace-opt-in"] if case.opted_in else [])]


@pytest.fixture(scope="module", autouse=True)
def tally(say: Say) -> Iterator[Tally]:
    """Return the count of all pods, which is told to whoever runs the tests."""
    found = Tally()
    yield found
    say(f"  pods judged: {found}")


@pytest.fixture
def court(asked: Judge, webhook: LocalWebhook, tally: Tally, tmp_path: Path) -> Court:
    """Return a court whose API server asks Pillion in this process, with the built-in configuration."""
    webhook.configure(load(None))
    return Court(asked, tally, tmp_path / "pod.json")


def judge_generated(
    court: Court, namespace: str, count: int, *, restricted: bool = False, exceptions: Sequence[str] = ()
) -> None:
    """Fail with the smallest generated pod that is judged wrong."""

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(pods(restricted=restricted))
    def each(pod: Any) -> None:
        what = court.verdict(pod, namespace, exceptions=exceptions)
        assert not what, what

    each()


def test_goldens(court: Court, webhook: LocalWebhook, new_namespace: NewNamespace) -> None:
    """Each golden that is valid without annotations is valid with them, at every level, and as it is printed."""
    wrong = []
    for level in LEVELS:
        plain, opted_in = new_namespace(level), new_namespace(level, OPTED_IN)
        for case in CASES:
            if not case.loads:
                continue
            webhook.configure(case.configuration)
            namespace = opted_in if case.opted_in else plain
            what = court.verdict(case.pod, namespace, *options_of(case), plain_namespace=plain)
            wrong += [f"{level} {case.name}: {what}"] if what else []
    assert not wrong, "\n".join(wrong)
    assert court.tally.counts["injected"] > 200


def known_fields(kubectl: Client) -> dict[str, dict[str, str]]:
    """Return the types below a PodSpec that an API server knows."""
    return described(json.loads(kubectl("get", "--raw", "/openapi/v3/api/v1")))


def test_every_field_is_drawn(apiserver: Cluster, pytestconfig: pytest.Config) -> None:
    """What an API server knows of a PodSpec, generated pods have, or there is a reason; the newest is the table."""
    known = known_fields(apiserver.kubectl)
    assert [path for path in paths(known) if path not in PATHS and not is_below(path, UNDRAWN)] == []
    assert known == TABLE or pytestconfig.getoption("kubernetes") != "newest", "python -m tests.pod_fields"


def test_each_field_alone(court: Court, new_namespace: NewNamespace, kubectl: Client) -> None:
    """A pod with nothing but the field is valid, and as valid with us."""
    known, namespace = set(paths(known_fields(kubectl))), new_namespace("privileged")
    fields = [path for path in PATHS if path in known]
    found = {path: court.verdict(with_field(annotated_pod(OPTED_IN), path), namespace) for path in fields}
    assert {path: what for path, what in found.items() if what} == {}
    dropped = [path for path in fields if path not in court.tally.fields and not is_below(path, GATED)]
    # an older API server has more gates
    assert not dropped or kubectl("version", "-o", "json")["serverVersion"]["minor"] < "35", dropped


@pytest.mark.parametrize("level", LEVELS)
def test_generated_pods(court: Court, new_namespace: NewNamespace, level: str) -> None:
    """The same for each generated pod."""
    namespace = new_namespace(level)
    before = court.tally.counts.get("valid without us", 0)
    judge_generated(court, namespace, GENERATED, restricted=level == "restricted")
    assert court.tally.counts["valid without us"] - before > GENERATED / 5


#: How a LimitRange refuses: sums, one container's amounts, and a limit of its own below what an annotation asks for.
OUT_OF_BOUNDS = (
    *("maximum cpu usage per", "maximum memory usage per", "minimum memory usage per"),
    *("must be less than or equal to cpu limit of 500m", "must be less than or equal to memory limit of 512Mi"),
)
#: How a ResourceQuota does.
OVER_QUOTA = ("exceeded quota: ", "failed quota: ")

LIMIT_RANGE = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "bounds"},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "500m", "memory": "512Mi"},
                "defaultRequest": {"cpu": "10m", "memory": "16Mi"},
                "max": {"cpu": "2", "memory": "2Gi"},
            },
            {"type": "Pod", "max": {"cpu": "3", "memory": "3Gi"}},
        ]
    },
}
SMALLEST = {**LIMIT_RANGE, "spec": {"limits": [{"type": "Container", "min": {"memory": "32Mi"}}]}}
RATIO = {**LIMIT_RANGE, "spec": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}]}}
#: Every pod must say its limits here.
QUOTA = {"requests.cpu": "4", "requests.memory": "2Gi", "limits.cpu": "4", "limits.memory": "2Gi"}


def with_quota(kubectl: Client, namespace: str, **fields: Any) -> str:
    """Give a namespace a quota with these fields, and do what its controller would: say how much of it is in use."""
    spec = {"hard": QUOTA, **fields}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "budget"}, "spec": spec}
    kubectl("create", "-n", namespace, "-f", "-", stdin=quota)
    status = {"status": {"hard": QUOTA, "used": dict.fromkeys(QUOTA, "0")}}
    patch = ("--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
    kubectl("patch", "resourcequota", "budget", "-n", namespace, *patch)
    return namespace


def with_resources(resources: dict[str, Any], **options: str) -> Any:
    """Return a pod that asks for a sidecar, with these annotations besides, and whose container asks for these."""
    return annotated_pod(asking(**options), {"name": "app", "image": "app", "resources": resources})


class TestBounds:
    """A LimitRange or a ResourceQuota may refuse the sidecar's share: counted apart, and cured by an annotation."""

    def test_generated_pods_under_a_limit_range(
        self, court: Court, new_namespace: NewNamespace, kubectl: Client
    ) -> None:
        """Nothing else refuses a pod there."""
        namespace = new_namespace("privileged")
        kubectl("create", "-n", namespace, "-f", "-", stdin=LIMIT_RANGE)
        judge_generated(court, namespace, GENERATED // 4, exceptions=OUT_OF_BOUNDS)

    def test_generated_pods_under_a_quota(self, court: Court, new_namespace: NewNamespace, kubectl: Client) -> None:
        """Only pods that say all their limits are valid there, and of those only the quota refuses any."""
        namespace = with_quota(kubectl, new_namespace("privileged"))
        before = court.tally.counts.get("injected", 0)
        judge_generated(court, namespace, GENERATED // 4, exceptions=OVER_QUOTA)
        assert court.tally.counts["injected"] > before

    def test_a_smallest_memory(self, court: Court, new_namespace: NewNamespace, kubectl: Client) -> None:
        """The sidecar asks for 8Mi, or for what the annotation says."""
        namespace = new_namespace("privileged")
        kubectl("create", "-n", namespace, "-f", "-", stdin=SMALLEST)
        app = {"requests": {"memory": "64Mi"}}
        refused = court.judge.ask(namespace, with_resources(app))
        assert "minimum memory usage per Container is 32Mi, but request is 8Mi" in refused.message
        assert court.judge.ask(namespace, with_resources(app, memory_request="32Mi")).accepted

    def test_a_ratio_of_limit_and_request(self, court: Court, new_namespace: NewNamespace, kubectl: Client) -> None:
        """The sidecar may take eight times the memory that it asks for, or as the annotation says."""
        namespace = new_namespace("privileged")
        kubectl("create", "-n", namespace, "-f", "-", stdin=RATIO)
        app = {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}
        refused = court.judge.ask(namespace, with_resources(app))
        assert "memory max limit to request ratio per Container is 2, but provided ratio is 8" in refused.message
        assert court.judge.ask(namespace, with_resources(app, memory_request="32Mi")).accepted

    def test_a_quota_on_limits(self, court: Court, new_namespace: NewNamespace, kubectl: Client) -> None:
        """It demands a cpu limit of every container; the sidecar has one where the annotation says it."""
        namespace = with_quota(kubectl, new_namespace("privileged"))
        app = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
        refused = court.judge.ask(namespace, with_resources(app))
        assert "must specify limits.cpu for: pillion-tail" in refused.message
        assert court.judge.ask(namespace, with_resources(app, cpu_limit="100m")).accepted

    def test_a_quota_that_does_not_count_the_pod_without_us(
        self, court: Court, new_namespace: NewNamespace, kubectl: Client
    ) -> None:
        """Without requests and limits a pod is BestEffort; with the sidecar it is not, and must have its own."""
        namespace = with_quota(kubectl, new_namespace("privileged"), scopes=["NotBestEffort"])
        assert court.judge.ask(namespace, without_annotations(with_resources({}))).accepted
        refused = court.judge.ask(namespace, with_resources({}))
        assert "must specify limits.cpu for: app" in refused.message
        app = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
        assert court.judge.ask(namespace, with_resources(app, cpu_limit="100m")).accepted


def test_the_installed_webhook_does_the_same(
    node: Cluster, pillion: Release, new_namespace: NewNamespace, tally: Tally, tmp_path: Path
) -> None:
    """The goldens that need no configuration, through the release that ``helm install`` makes."""
    plain, opted_in = new_namespace("privileged"), new_namespace("privileged", OPTED_IN)
    wrong = []
    with judge(node.kubectl) as asked_there:
        court = Court(asked_there, tally, tmp_path / "pod.json")
        for case in CASES:
            if (case.folder / "configuration.yaml").exists():
                continue
            namespace = opted_in if case.opted_in else plain
            what = court.verdict(case.pod, namespace, *options_of(case), plain_namespace=plain)
            wrong += [f"{case.name}: {what}"] if what else []
    assert not wrong, "\n".join(wrong)
    assert pillion.reviews()
