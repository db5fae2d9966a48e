"""Whether a pod is injected: each rule, and their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.goldens import ROOT, Case
from tests.injection.reviews import CONFIGURATION, patched, request_for, verdict_on
from tests.tables import rows
from webhook.injection import decision
from webhook.injection.decision import RULES, PodFacts, declining_finding
from webhook.injection.outcome import Outcome
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason
from webhook.injection.review import POD, GroupVersionKind, Request

ASKS = {"pillion.dev/inject": "true"}
TAIL, WEB = CONFIGURATION.profiles["tail"], CONFIGURATION.profiles["web"]
STATUS = "pillion.dev/status"
NAMESPACE = 'the namespace is labelled pillion.dev/inject: "true"'
ASKING = Case(ROOT / "ask-annotation-true")
ORDINARY = Case(ROOT / "native-false-always")


def pod(annotations: dict[str, str] | None = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """Return a pod with these annotations, which asks for injection by default."""
    metadata = {"name": "shop", "annotations": ASKS if annotations is None else annotations, "labels": labels}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "i"}], **spec}}


def asking(**annotations: str) -> dict[str, str]:
    """Return annotations that ask, and more."""
    return {**ASKS, **{f"pillion.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}}


def context_of(value: Any, configuration: Configuration = CONFIGURATION, *, opted_in: bool = False) -> PodFacts:
    """Return the context of a pod's request."""
    return PodFacts(request_for(value, opted_in=opted_in), configuration)


def declined(value: Any, configuration: Configuration = CONFIGURATION, *, opted_in: bool = False) -> Finding | None:
    """Return why the pod is not injected, None where every rule lets it pass."""
    return declining_finding(context_of(value, configuration, opted_in=opted_in))


def reason(value: Any, configuration: Configuration = CONFIGURATION, *, opted_in: bool = False) -> Reason | None:
    """Return the reason alone."""
    finding = declined(value, configuration, opted_in=opted_in)
    return finding.reason if finding is not None else None


#: By the row of the table: the annotation's value, and what comes of it without and with a namespace that opted in.
CASES: dict[str, tuple[str | None, Reason | None, Reason | None]] = {
    "absent": (None, Reason.NOT_REQUESTED, None),
    '"true"': ("true", None, None),
    '"false"': ("false", Reason.OPTED_OUT, Reason.OPTED_OUT),
    "other": ("yes", Reason.BAD_ANNOTATION, Reason.BAD_ANNOTATION),
}
#: Makes every other rule pass where only the namespace asks.
EVERYWHERE = replace(CONFIGURATION, profiles={"tail": replace(TAIL, inject_all=True)})


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(decision)


@pytest.mark.parametrize("opted_in", [False, True])
@pytest.mark.parametrize("row", CASES)
def test_who_asks(row: str, *, opted_in: bool) -> None:
    """The pod's annotation, and its namespace's label where the pod says nothing."""
    value, without, within = CASES[row]
    annotations = {} if value is None else {"pillion.dev/inject": value}
    assert reason(pod(annotations), EVERYWHERE, opted_in=opted_in) is (within if opted_in else without)


@pytest.mark.parametrize(
    ("kind", "passes"),
    [
        (POD, True),
        (GroupVersionKind("", "v1", "Service"), False),
        (GroupVersionKind("metrics.k8s.io", "v1", "Pod"), False),
        (GroupVersionKind(), False),
    ],
)
def test_only_pods_are_injected(kind: GroupVersionKind, *, passes: bool) -> None:
    """Of the group that pods are in."""
    request = request_for(pod())
    request.kind = kind
    finding = declining_finding(PodFacts(request, CONFIGURATION))
    assert (finding is None) is passes
    if finding is not None:
        assert finding.reason is Reason.NOT_A_POD
        assert finding.message == f'only pods are injected, not kind "{kind.kind}"'


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({"operation": "CREATE"}, True),
        ({"operation": "CREATE", "subResource": ""}, True),
        ({"operation": "UPDATE"}, False),
        ({"operation": "CREATE", "subResource": "binding"}, False),
    ],
    ids=str,
)
def test_only_creations_are_looked_at(fields: dict[str, str], *, passes: bool) -> None:
    """A pod that is there can't be injected any more."""
    request = request_for(pod())
    for name, value in fields.items():
        setattr(request, name, value)
    finding = declining_finding(PodFacts(request, CONFIGURATION))
    assert (finding.reason if finding else None) is (None if passes else Reason.NOT_CREATE)


def test_a_request_without_an_object_is_no_pod() -> None:
    """As that of a deletion."""
    finding = declining_finding(PodFacts(Request("u", kind=POD, operation="CREATE"), CONFIGURATION))
    assert finding == Finding(Reason.UNREADABLE_POD, "the request has no object")


def test_a_pod_without_metadata_does_not_ask() -> None:
    """And one whose namespace asks is looked at."""
    value = {"metadata": None, "spec": {"containers": [{"name": "app"}]}}
    assert reason(value) is Reason.NOT_REQUESTED
    assert reason(value, EVERYWHERE, opted_in=True) is None


class TestWithoutEffect:
    """What was written where it does nothing."""

    @staticmethod
    def notes(value: Any, *, opted_in: bool = False) -> list[str]:
        """Return what is noted of a pod's annotations and labels."""
        context = context_of(value, opted_in=opted_in)
        declining_finding(context)
        return [finding.text("pillion.dev/") for finding in context.options.warnings] if context.options else []

    @pytest.mark.parametrize(
        ("annotations", "said"),
        [
            ({"pillion.dev/logs": "/x/*.log"}, ['pillion.dev/logs: has no effect without pillion.dev/inject: "true"']),
            ({"pillion.dev/status": "x", "other": "y"}, []),
            ({}, []),
        ],
        ids=str,
    )
    def test_an_annotation_in_a_pod_that_does_not_ask(self, annotations: dict[str, str], said: list[str]) -> None:
        """The first one is named; the status is ours."""
        assert self.notes(pod(annotations)) == said

    def test_an_unknown_annotation_is_enough_to_say(self) -> None:
        """What is misspelt is probably the one that asks."""
        (note,) = self.notes(pod({"pillion.dev/injct": "true"}))
        assert note.endswith("did you mean pillion.dev/inject?")

    @pytest.mark.parametrize(
        ("labels", "opted_in", "keys"),
        [
            ({"pillion.dev/inject": "true"}, False, ["inject"]),
            ({"pillion.dev/inject": "true"}, True, []),
            ({"pillion.dev/inject": "false"}, True, ["inject"]),
            ({"pillion.dev/logs": "x", "app": "y"}, True, ["logs"]),
            ({"pillion.dev/nosuch": "x"}, False, []),
            ({"logs": "x"}, False, []),
            (None, False, []),
        ],
    )
    def test_a_label_of_the_pod(self, labels: dict[str, str] | None, keys: list[str], *, opted_in: bool) -> None:
        """Only an annotation is read; a pod labelled as its namespace is gets what it asks for."""
        said = "has no effect as a label of the pod; write it as an annotation"
        assert self.notes(pod({}, labels), opted_in=opted_in) == [f"pillion.dev/{key}: {said}" for key in keys]

    def test_a_label_beside_an_annotation_of_that_name(self) -> None:
        """What counts is there; other notes stay."""
        assert self.notes(pod(ASKS, {"pillion.dev/inject": "x"})) == []
        assert len(self.notes(pod(asking(nosuch="x"), {"pillion.dev/logs": "x"}))) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(pod(labels={"pillion.dev/component": ""}), Reason.OWN_POD, id="own pod"),
        pytest.param(pod(labels={"other.example/component": ""}), None, id="another's pod"),
        pytest.param(pod({**ASKS, "kubernetes.io/config.mirror": ""}), Reason.MIRROR_POD, id="mirror pod"),
        pytest.param(pod(nodeSelector={"kubernetes.io/os": "windows"}), Reason.WINDOWS, id="Windows"),
        pytest.param(pod(asking(logs="x.log")), Reason.BAD_ANNOTATION, id="bad annotation"),
        pytest.param(pod(asking(profile="nosuch")), Reason.UNKNOWN_PROFILE, id="unknown profile"),
        pytest.param(pod(asking(profile="filebeat")), Reason.PROFILE_INCOMPLETE, id="incomplete profile"),
        pytest.param(pod(asking(profile="web"), hostNetwork=True), Reason.HOST_NETWORK, id="host network"),
        pytest.param(pod(hostNetwork=True), None, id="host network, no port"),
    ],
)
def test_a_rule_rejects(value: Any, expected: Reason | None) -> None:
    """With its reason; what it looks at may be missing."""
    assert reason(value) is expected


def test_what_a_namespace_asks_for_is_left_alone_without_logs() -> None:
    """The message says what to write, with a folder that is probably the right one."""
    finding = declined(pod({}), opted_in=True)
    assert finding is not None
    assert finding.reason is Reason.NO_LOG_LOCATION
    assert finding.message == (
        "nothing is mounted at /var/log/app; if the pod writes log files, write pillion.dev/logs: /dir/*.log"
    )
    mounts = [{"name": "data", "mountPath": "/data/logs"}]
    volumes = [{"name": "data", "emptyDir": {}}]
    finding = declined(pod({}, containers=[{"name": "app", "volumeMounts": mounts}], volumes=volumes), opted_in=True)
    assert finding is not None
    assert finding.message.endswith("pillion.dev/logs: /data/logs/*.log")


def test_other_injectors_mounts_are_no_sign_of_logs() -> None:
    """A mesh's sidecar may mount what it likes."""
    mounts = [{"name": "data", "mountPath": "/var/log/app"}]
    for name, expected in (("istio-proxy", Reason.NO_LOG_LOCATION), ("app", None)):
        value = pod({}, containers=[{"name": name, "volumeMounts": mounts}], volumes=[{"name": "data", "emptyDir": {}}])
        assert reason(value, opted_in=True) is expected


@pytest.mark.parametrize(
    ("finding", "profiles", "message"),
    [
        ("tial", None, "does not exist; did you mean tail?"),
        ("zzz", ("tail", "filebeat", "web"), "does not exist; write tail or web"),
    ],
)
def test_an_unknown_profile_is_told_with_what_to_write(
    finding: str, profiles: tuple[str, ...] | None, message: str
) -> None:
    """The nearest name, or all that can be used."""
    known = {name: CONFIGURATION.profiles[name] for name in profiles or CONFIGURATION.profiles}
    found = declined(pod(asking(profile=finding)), replace(CONFIGURATION, profiles=known))
    assert found == Finding(Reason.UNKNOWN_PROFILE, message, annotation="profile", value=finding)


@pytest.mark.parametrize(
    ("native", "policy", "expected"),
    [
        (True, "Never", None),
        (False, "Never", Reason.WOULD_NOT_COMPLETE),
        (False, "OnFailure", Reason.WOULD_NOT_COMPLETE),
        (False, "Always", None),
        (False, None, None),
    ],
)
def test_a_pod_that_ends_takes_a_native_sidecar_only(
    *, native: bool, policy: str | None, expected: Reason | None
) -> None:
    """An ordinary container would go on running; what says nothing runs always."""
    configuration = replace(CONFIGURATION, profiles={"tail": replace(TAIL, native=native)})
    assert reason(pod(restartPolicy=policy), configuration) is expected


class TestPorts:
    """Which ports are taken."""

    @pytest.mark.parametrize(
        ("fields", "taken"),
        [
            pytest.param({"ports": [{"containerPort": 8080}]}, True, id="declared"),
            pytest.param({"ports": [{"containerPort": 8080, "protocol": "TCP"}]}, True, id="TCP"),
            pytest.param({"ports": [{"containerPort": 8080, "protocol": "UDP"}]}, False, id="UDP"),
            pytest.param({"ports": [{"containerPort": 8081}]}, False, id="another"),
            pytest.param({"livenessProbe": {"httpGet": {"port": 8080}}}, True, id="liveness probe"),
            pytest.param({"readinessProbe": {"tcpSocket": {"port": 8080}}}, True, id="readiness probe"),
            pytest.param({"startupProbe": {"grpc": {"port": 8080}}}, True, id="startup probe"),
            pytest.param({"livenessProbe": {"httpGet": {"port": "http"}}}, False, id="by name"),
            pytest.param({"livenessProbe": {"httpGet": {}, "exec": {}}}, False, id="nowhere"),
            pytest.param({}, False, id="nothing"),
        ],
    )
    @pytest.mark.parametrize("kind", ["containers", "initContainers"])
    def test_a_container_has_a_port(self, kind: str, fields: dict[str, Any], *, taken: bool) -> None:
        """Declared or probed, in every kind of container: a pod has one network."""
        more = {kind: [{"name": "app"}, {"name": "x", **fields}]}
        finding = declined(pod(asking(profile="web"), **more))
        assert (finding is not None) is taken
        if finding is not None:
            assert finding.reason is Reason.PORT_TAKEN
            assert finding.message == '"x" uses port 8080, which the profile needs; use another profile'

    def test_a_profile_without_ports_takes_none(self) -> None:
        """It shares the pod's network with whoever is there."""
        ports = [{"containerPort": 8080}]
        assert reason(pod(containers=[{"name": "app", "ports": ports}])) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(pod(volumes=[{"emptyDir": {}}]), id="a volume without a name"),
        pytest.param(pod(volumes=[{"name": 5}]), id="a number for a name"),
        pytest.param(pod(containers=[{"image": "x"}]), id="a container without a name"),
        pytest.param(pod(containers={}), id="a mapping for a list"),
    ],
)
def test_a_spec_that_no_pod_has_is_unreadable(value: Any) -> None:
    """It is left alone, and nothing of it is decided upon."""
    verdict = verdict_on(value)
    assert verdict.reason is Reason.UNREADABLE_POD
    assert verdict.patch == b""


@pytest.mark.parametrize("spec", [None, {}])
def test_a_spec_may_be_empty(spec: Any) -> None:
    """All rules pass; there is just nothing to inject into."""
    assert reason({"metadata": {"annotations": ASKS}, "spec": spec}) is None
    assert reason({"metadata": {"annotations": ASKS}}) is None


def test_a_later_rule_is_not_asked() -> None:
    """What was let pass is counted, so that ``explain`` shows where it ended."""
    context = context_of(pod(nodeSelector={"kubernetes.io/os": "windows"}))
    assert declining_finding(context) is not None
    assert RULES[context.rules_passed].question == "Does it run on Linux?"
    context = context_of(pod())
    assert declining_finding(context) is None
    assert context.rules_passed == len(RULES)


@pytest.mark.parametrize(
    ("value", "opted_in", "found"),
    [
        pytest.param(
            pod(asking(logs="/x/*.log"), os={"name": "linux"}),
            False,
            ['pillion.dev/inject: "true"', "spec.os says so", "inject, logs", "tail, revision {}, the default", "none"],
            id="the pod asks",
        ),
        pytest.param(
            pod({"pillion.dev/profile": "web"}),
            True,
            [NAMESPACE, "nothing says Windows", "profile", "web, revision {}", "8080"],
            id="the namespace asks",
        ),
        pytest.param(
            pod({}, os={}),
            True,
            [NAMESPACE, "nothing says Windows", "none", "tail, revision {}, the default", "none"],
            id="no annotation",
        ),
    ],
)
def test_what_let_a_pod_pass(value: Any, found: list[str], *, opted_in: bool) -> None:
    """Some rules say it for ``explain``: the pod's name, who asks, the system, annotations, profile and ports."""
    profiles = {"tail": replace(TAIL, inject_all=True), "web": WEB}
    context = context_of(value, replace(CONFIGURATION, profiles=profiles), opted_in=opted_in)
    assert declining_finding(context) is None
    *others, ports = (text.format(context.profile.revision) for text in found)
    assert [text for rule in RULES if (text := rule.explain(context))] == ["shop", *others, f"it uses {ports}"]


# --- pods that are injected already ------------------------------------------------------------------------------


def result(case: Case) -> Any:
    """Return the pod as it is after its injection."""
    return patched(case.pod, case.verdict())


def as_stored(pod: Any) -> None:
    """Make of the pod what the API server gives back of it."""
    pod["metadata"] |= {"uid": "9d5c1c2e-54a5-4d0e-8c55-6d2c0f3f5a11", "creationTimestamp": "2026-11-21T05:53:58Z"}
    token = {"name": "kube-api-access-x7k2p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    pod["spec"]["volumes"].append(token)
    mount = {"name": token["name"], "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    for container in pod["spec"]["containers"]:
        container.setdefault("volumeMounts", []).append(mount)
    pod["spec"]["nodeName"] = "node-1"
    pod["status"] = {"phase": "Running", "qosClass": "Burstable"}


def without_status(pod: Any) -> None:
    """Remove what we said of it."""
    del pod["metadata"]["annotations"][STATUS]


def forged_status(pod: Any) -> None:
    """Say something else of it."""
    pod["metadata"]["annotations"][STATUS] = "{}"


def older_revision(pod: Any) -> None:
    """Make the sidecar an older one."""
    sidecar = pod["spec"]["initContainers"][0]
    sidecar |= {"image": "busybox:1.30", "command": ["/bin/sh", "-c", "exec tail"], "args": ["/old"], "env": []}


def another_profile(pod: Any) -> None:
    """Ask for another profile afterwards."""
    pod["metadata"]["annotations"]["pillion.dev/profile"] = "web"


def one_more_container(pod: Any) -> None:
    """Add a container, as an injector that comes after us does."""
    pod["spec"]["containers"].append({"name": "late", "image": "late"})


@pytest.mark.parametrize(
    "change",
    [as_stored, without_status, forged_status, older_revision, another_profile, one_more_container],
    ids=lambda change: change.__name__,
)
def test_never_a_second_sidecar(change: Callable[[Any], None]) -> None:
    """Whatever happened to an injected pod since, it is left as it is."""
    pod = result(ASKING)
    change(pod)
    again = verdict_on(pod)
    assert again.reason is Reason.ALREADY_INJECTED
    assert again.patch == b""


class TestTwoInstallations:
    """Their prefixes differ, and a pod may request both."""

    OTHER = replace(CONFIGURATION, prefix="logs.example.com/")

    def injected(self) -> Any:
        """Return a pod that requests both, as the first has injected it."""
        both = pod(asking() | {"logs.example.com/inject": "true", "logs.example.com/profile": "web"})
        return patched(both, verdict_on(both))

    def test_the_second_says_which_sidecar_the_pod_has(self) -> None:
        """A pod gets one; whoever asked the second is told, and what to write."""
        verdict = verdict_on(self.injected(), self.OTHER)
        assert (verdict.reason, verdict.outcome, verdict.patch) == (Reason.OTHER_INSTALLATION, Outcome.SKIPPED, b"")
        (warning,) = verdict.warnings
        assert warning == (
            'not injected: the pod has the sidecar of pillion.dev/ (profile "tail"); '
            'write inject: "false" under one of the prefixes'
        )

    def test_a_status_of_ours_that_nobody_can_read_means_nothing(self) -> None:
        """Its author wrote it: the sidecar is the other installation's all the same."""
        injected = self.injected()
        injected["metadata"]["annotations"]["logs.example.com/status"] = "junk"
        assert verdict_on(injected, self.OTHER).reason is Reason.OTHER_INSTALLATION

    def test_following_it_gives_the_other_sidecar(self) -> None:
        """The first one leaves the pod alone then."""
        other = pod({"pillion.dev/inject": "false", "logs.example.com/inject": "true"})
        assert verdict_on(other).reason is Reason.OPTED_OUT
        assert verdict_on(other, self.OTHER).injected

    def test_the_first_is_silent_if_it_is_asked_again(self) -> None:
        """As with reinvocation: it is its own."""
        assert verdict_on(self.injected()).reason is Reason.ALREADY_INJECTED

    def test_a_status_of_another_prefix_beside_ours_means_nothing(self) -> None:
        """Somebody copied it: the sidecar is ours."""
        copied = self.injected()
        annotations = copied["metadata"]["annotations"]
        annotations["logs.example.com/status"] = annotations[STATUS]
        assert verdict_on(copied).reason is Reason.ALREADY_INJECTED

    def test_a_namespace_alone_is_not_warned(self) -> None:
        """Nobody wrote a key for the second one."""
        verdict = verdict_on(result(ASKING), self.OTHER, opted_in=True)
        assert (verdict.reason, verdict.warnings) == (Reason.OTHER_INSTALLATION, [])

    @pytest.mark.parametrize("text", ["{}", "junk", '{"sidecar":"pillion-tail"}'])
    def test_anothers_status_is_no_installation(self, text: str) -> None:
        """Other injectors have an annotation of that name, too."""
        other = self.injected()
        del other["metadata"]["annotations"][STATUS]
        other["metadata"]["annotations"]["sidecar.istio.io/status"] = text
        assert verdict_on(other, self.OTHER).reason is Reason.ALREADY_INJECTED


class TestMisspeltKeys:
    """``strict`` denies what its author can correct."""

    STRICT = replace(CONFIGURATION, strict=True)

    def test_strict_denies_a_misspelt_key(self) -> None:
        """The pod would be injected, but not as it was meant."""
        misspelt = pod(asking(log="/srv/*.log"))
        assert verdict_on(misspelt).injected
        verdict = verdict_on(misspelt, self.STRICT)
        assert (verdict.reason, verdict.outcome) == (Reason.MISSPELT_KEY, Outcome.DENIED)
        assert verdict.warnings == ["pillion.dev/log: is unknown; did you mean pillion.dev/logs?"]

    def test_strict_does_not_deny_a_key_that_resembles_none(self) -> None:
        """It may be of a newer Pillion, which was rolled back."""
        verdict = verdict_on(pod(asking(log_format="json")), self.STRICT)
        assert verdict.injected
        assert [finding.reason for finding in verdict.warned_findings] == [Reason.UNKNOWN_KEY]

    def test_an_invalid_value_is_said_first(self) -> None:
        """The misspelt key is said beside it."""
        verdict = verdict_on(pod(asking(log="x", env="y")), self.STRICT)
        assert [finding.reason for finding in verdict.warned_findings] == [Reason.BAD_ANNOTATION, Reason.MISSPELT_KEY]


def test_an_ordinary_sidecar_that_was_moved_is_found() -> None:
    """Another webhook may have put it first."""
    pod = result(ORDINARY)
    containers = pod["spec"]["containers"]
    containers.insert(0, containers.pop())
    assert ORDINARY.verdict(pod).reason is Reason.ALREADY_INJECTED


def test_a_sidecar_that_mounts_only_the_pods_own_volumes_is_found() -> None:
    """It has no volume of ours to be known by, but our variables; so it is as the API server gives them back."""
    pod = result(ASKING)
    sidecar = pod["spec"]["initContainers"][0]
    sidecar["volumeMounts"] = []
    for variable in sidecar["env"]:
        if "valueFrom" in variable:
            variable["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    assert verdict_on(pod).reason is Reason.ALREADY_INJECTED


def test_our_name_without_our_mounts_and_variables_is_somebody_elses() -> None:
    """A container of our name that has nothing of ours is a reason, not ours."""
    pod = result(ASKING)
    pod["spec"]["initContainers"][0] |= {"volumeMounts": [], "env": []}
    verdict = verdict_on(pod)
    assert verdict.reason is Reason.NAME_TAKEN
    assert verdict.patch == b""


def test_a_sidecar_without_its_restart_policy_is_told() -> None:
    """A webhook with an old library removes it; then the kubelet waits for the sidecar's end for ever."""
    pod = result(ASKING)
    del pod["spec"]["initContainers"][0]["restartPolicy"]
    verdict = verdict_on(pod)
    assert (verdict.reason, verdict.outcome, verdict.patch) == (
        Reason.LOST_RESTART_POLICY,
        Outcome.NOT_INJECTABLE,
        b"",
    )
    assert verdict.warnings == [
        ('"pillion-tail" has no restartPolicy: Always, so the pod never starts; another webhook may have removed it')
    ]
