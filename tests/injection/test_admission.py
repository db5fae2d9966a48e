"""The verdict as a whole."""

from __future__ import annotations

import copy
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION, admission_of, patched, request_for, verdict_on
from webhook.injection.admission import admit
from webhook.injection.decision import RULES
from webhook.injection.paths import components, overlap
from webhook.injection.profile import Bounds, Configuration
from webhook.injection.reasons import Finding, Reason
from webhook.injection.review import GroupVersionKind
from webhook.injection.verdict import Verdict


def asking(**annotations: str) -> dict[str, Any]:
    """Return a pod that asks, with more annotations."""
    keys = {f"pillion.dev/{key}": value for key, value in {"inject": "true", **annotations}.items()}
    return {"metadata": {"annotations": keys}, "spec": {"containers": [{"name": "app", "image": "i"}]}}


OF_PROFILE = [volume["name"] for volume in CONFIGURATION.profiles["tail"].volumes]
DATA = {"volumes": [{"name": "data", "emptyDir": {}}]}


def mounting(path: str, volume: str = "data", **fields: Any) -> dict[str, Any]:
    """Return a container that mounts a volume at the path."""
    return {"name": "app", "image": "i", "volumeMounts": [{"name": volume, "mountPath": path, **fields}]}


def with_profile(**fields: Any) -> Configuration:
    """Return the configuration with other fields of its default profile."""
    profiles = {**CONFIGURATION.profiles, "tail": replace(CONFIGURATION.profiles["tail"], **fields)}
    return replace(CONFIGURATION, profiles=profiles)


def said(verdict: Verdict) -> list[tuple[Reason, str, str]]:
    """Return the findings: reason, annotation and value."""
    return [(finding.reason, finding.annotation, finding.value) for finding in verdict.findings]


def test_a_pod_is_injected() -> None:
    """Volumes, mounts, variables, the sidecar and the annotations; the verdict says by which profile."""
    pod = asking()
    verdict = verdict_on(pod)
    after = patched(pod, verdict)
    assert (verdict.profile_name, verdict.requested_by_pod, verdict.error) == ("tail", True, None)
    assert verdict.revision == CONFIGURATION.profiles["tail"].revision
    assert [volume["name"] for volume in after["spec"]["volumes"]] == [
        *("pillion-logs-1", *OF_PROFILE, "pillion-no-token"),
    ]
    assert after["spec"]["volumes"][0]["emptyDir"] == {}
    (app,) = after["spec"]["containers"]
    assert app["volumeMounts"] == [{"name": "pillion-logs-1", "mountPath": "/var/log/app", "subPath": "app"}]
    assert [variable["name"] for variable in app["env"]] == ["POD_NAME", "POD_NAMESPACE"]
    assert [container["name"] for container in after["spec"]["initContainers"]] == ["pillion-tail"]
    assert after["metadata"]["annotations"].items() > pod["metadata"]["annotations"].items()
    assert set(after["metadata"]["annotations"]) - set(pod["metadata"]["annotations"]) == {
        "pillion.dev/status",
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
    }


def test_what_a_profile_brings_is_added() -> None:
    """Its volumes, its pull secrets, the size and medium of new volumes, and an ordinary container where it is one."""
    configuration = with_profile(
        native=False,
        image_pull_secrets=("pull",),
        volumes=({"name": "pillion-conf", "configMap": {"name": "c"}},),
        volume_size_limit="1Gi",
        volume_medium="Memory",
        service_account_token=True,
    )
    pod = asking()
    spec = patched(pod, verdict_on(pod, configuration))["spec"]
    assert spec["volumes"] == [
        {"name": "pillion-logs-1", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "pillion-conf", "configMap": {"name": "c"}},
    ]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert [container["name"] for container in spec["containers"]] == ["app", "pillion-tail"]
    assert "initContainers" not in spec


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *((name, True) for name in ("pillion-logs-1", *OF_PROFILE, "pillion-no-token")),
        ("pillion-logs-2", False),
    ],
)
def test_a_volume_of_our_name_is_a_reason(name: str, *, taken: bool) -> None:
    """It is somebody else's; nothing is added beside it."""
    pod = asking()
    pod["spec"]["volumes"] = [{"name": name, "emptyDir": {}}]
    verdict = verdict_on(pod)
    assert verdict.injected is not taken
    if taken:
        assert verdict.warnings == [f'not injected: the pod has a volume "{name}" that is not Pillion\'s; rename it']
        assert verdict.patch == b""


class TestPosition:
    """Where the sidecar stands among the init containers."""

    @staticmethod
    def order(*initial: dict[str, Any], first: bool = True, subpath: str = "logs") -> list[str]:
        """Return the init containers' names, for a pod whose logs are in a folder of its own volume."""
        pod = asking(logs="/srv/*.log")
        pod["spec"] |= DATA | {
            "containers": [mounting("/srv", **({"subPath": subpath} if subpath else {}))],
            "initContainers": list(initial),
        }
        after = patched(pod, verdict_on(pod, with_profile(starts_first=first)))
        return [container["name"] for container in after["spec"]["initContainers"]]

    def test_first(self) -> None:
        """It reads what init containers write, and stops last."""
        assert self.order({"name": "a"}, {"name": "b"}) == ["pillion-tail", "a", "b"]

    def test_last(self) -> None:
        """Where the profile says so."""
        assert self.order({"name": "a"}, {"name": "b"}, first=False) == ["a", "b", "pillion-tail"]

    def test_behind_one_that_prepares_the_volume(self) -> None:
        """The first who mounts a volume at a subPath makes that folder, as root."""
        prepares = {**mounting("/x"), "name": "b"}
        assert self.order({"name": "a"}, prepares, {"name": "c"}) == ["a", "b", "pillion-tail", "c"]
        assert self.order({"name": "a"}, prepares, subpath="") == ["pillion-tail", "a", "b"]

    def test_not_behind_one_that_goes_on(self) -> None:
        """It would stop before, and lose its own last lines."""
        sidecar = {**mounting("/x"), "name": "b", "restartPolicy": "Always"}
        assert self.order(sidecar, {"name": "c"}) == ["pillion-tail", "b", "c"]

    def test_behind_one_that_serves_a_volume(self) -> None:
        """A container that mounts a bucket can't start before the program that serves it."""
        server = {"name": "gke-gcsfuse-sidecar", "restartPolicy": "Always"}
        assert self.order(server, {"name": "c"}, subpath="") == ["gke-gcsfuse-sidecar", "pillion-tail", "c"]
        pod = asking() | {"spec": {"containers": [{"name": "app"}], "initContainers": [server]}}
        after = patched(pod, verdict_on(pod))
        assert after["spec"]["initContainers"][0]["name"] == "pillion-tail", "it mounts nothing of the pod's"


class TestSize:
    """The size limit of new volumes."""

    @pytest.mark.parametrize(
        ("asked", "of_profile", "bound", "size", "reason"),
        [
            pytest.param(None, None, None, None, None, id="nobody"),
            pytest.param(None, "2Gi", None, "2Gi", None, id="the profile"),
            pytest.param("1Gi", "2Gi", None, "1Gi", None, id="the annotation"),
            pytest.param("1Gi", None, Bounds(None, "512Mi"), "512Mi", Reason.BOUNDED, id="a bound"),
        ],
    )
    def test_who_says_it(
        self, asked: str | None, of_profile: str | None, bound: Bounds | None, size: str | None, reason: Reason | None
    ) -> None:
        """The annotation, within the profile's bounds; else the profile."""
        bounds = {"volume-size-limit": bound} if bound else {}
        pod = asking(**({"volume-size-limit": asked} if asked else {}))
        verdict = verdict_on(pod, with_profile(volume_size_limit=of_profile, bounds=bounds))
        volume = patched(pod, verdict)["spec"]["volumes"][0]
        assert volume["emptyDir"] == ({"sizeLimit": size} if size else {})
        assert said(verdict)[: 1 if reason else 0] == ([(reason, "volume-size-limit", asked)] if reason else [])

    def test_it_has_no_effect_on_the_pods_own_volumes(self) -> None:
        """Which is said."""
        pod = asking(**{"volume-size-limit": "1Gi", "logs": "/srv/*.log"})
        pod["spec"] |= DATA | {"containers": [mounting("/srv")]}
        assert (Reason.NO_EFFECT, "volume-size-limit", "1Gi") in said(verdict_on(pod))
        assert Reason.NO_EFFECT not in {
            reason for reason, _, _ in said(verdict_on(asking(**{"volume-size-limit": "1"})))
        }

    def test_it_has_no_effect_where_no_logs_are_read(self) -> None:
        """Which is said in other words."""
        finding = verdict_on(asking(**{"volume-size-limit": "1Gi"}), with_profile(logs=())).findings[0]
        assert (finding.reason, finding.message) == (Reason.NO_EFFECT, "has no effect: no logs are read")


class TestFindings:
    """What is said beside the decision."""

    def test_other_mistakes_are_said_with_the_first(self) -> None:
        """But no advice on a value that was just refused."""
        verdict = verdict_on(asking(profile="X", env="y", nosuch="z"))
        assert said(verdict) == [
            (Reason.BAD_ANNOTATION, "profile", "X"),
            (Reason.BAD_ANNOTATION, "env", "y"),
            (Reason.UNKNOWN_KEY, "nosuch", ""),
        ]
        refused = verdict_on(asking(logs="nosuch:/x/app"))
        assert said(refused) == [(Reason.UNKNOWN_CONTAINER, "logs", "nosuch:/x/app")]

    def test_a_pod_that_opts_out_is_told_nothing_more(self) -> None:
        """It has said what it wants."""
        assert said(verdict_on(asking(inject="false", nosuch="z"))) == [(Reason.OPTED_OUT, "", "")]

    def test_what_is_no_pod_has_no_other_findings(self) -> None:
        """Its annotations were not read."""
        request = request_for(asking())
        request.kind = GroupVersionKind("", "v1", "Service")
        verdict = admit(request, CONFIGURATION)
        assert said(verdict) == [(Reason.NOT_A_POD, "", "")]
        assert (verdict.requested_by_pod, verdict.error) == (False, None)

    def test_containers_that_are_left_out_are_named(self) -> None:
        """Unless the pod says which take part."""
        pod = asking()
        pod["spec"]["containers"] += [{"name": "istio-proxy"}, {"name": "web"}]
        left_out = (Reason.LEFT_OUT, "", "istio-proxy")
        assert left_out in said(verdict_on(pod))
        assert sum(reason is Reason.LEFT_OUT for reason, _, _ in said(verdict_on(pod))) == 1
        pod["metadata"]["annotations"]["pillion.dev/containers"] = "app"
        assert left_out not in said(verdict_on(pod))
        del pod["metadata"]["annotations"]["pillion.dev/containers"]
        pod["metadata"]["annotations"]["pillion.dev/logs"] = "istio-proxy:/x/*.log,/x/*.log"
        assert left_out not in said(verdict_on(pod))

    @pytest.mark.parametrize(
        ("path", "logs", "warned"),
        [
            ("/data/logs", None, True),
            ("/data/logs", "/x/*.log", False),
            ("/data", None, False),
            ("/var/log/app", None, False),
        ],
    )
    def test_logs_are_probably_elsewhere(self, path: str, logs: str | None, *, warned: bool) -> None:
        """Where the profile's folder is new to the pod, and it mounts one that is called after logs."""
        pod = asking(**({"logs": logs} if logs else {}))
        pod["spec"] |= DATA | {"containers": [mounting(path)]}
        verdict = verdict_on(pod)
        assert ((Reason.PROBABLY_ELSEWHERE, "logs", "") in said(verdict)) is warned
        if warned:
            (warning,) = verdict.warnings
            assert warning.startswith("pillion.dev/logs: is not set, so /var/log/app is read; ")
            assert warning.endswith("if the logs are in the mounted volume write /data/logs/*.log")

    def test_what_is_known_of_the_plan_is_no_warning(self) -> None:
        """``explain`` says it."""
        verdict = verdict_on(asking())
        assert [note.reason for note in verdict.plan_notes] == [Reason.HIDES_IMAGE_FILES]
        assert verdict.warnings == []


def test_a_node_s_folder_is_not_read_because_a_namespace_asks() -> None:
    """The pod itself has to say so."""
    pod = asking()
    annotations = pod["metadata"]["annotations"]
    pod["spec"] |= {
        "containers": [mounting("/var/log/app", "node")],
        "volumes": [{"name": "node", "hostPath": {"path": "/x"}}],
    }
    assert verdict_on(pod, opted_in=True).injected
    annotations.clear()
    everywhere = with_profile(inject_all=True)
    verdict = verdict_on(pod, everywhere, opted_in=True)
    assert verdict.reason is Reason.NO_LOG_LOCATION
    assert verdict.findings[0].message.endswith('to read it write pillion.dev/inject: "true"')


def test_a_profile_that_reads_no_logs_needs_no_place() -> None:
    """It is added to whoever asks."""
    pod = asking()
    verdict = verdict_on(pod, with_profile(logs=()))
    assert verdict.injected
    assert "volumeMounts" not in patched(pod, verdict)["spec"]["containers"][0]


class TestAnswers:
    """What each question was answered in the very run that decided."""

    @staticmethod
    def of(pod: Any, configuration: Configuration = CONFIGURATION) -> list[tuple[str, bool | None, str]]:
        """Return the questions from the last rule on: whether they were passed, and what was found."""
        answers = admission_of(pod, configuration).rule_results()
        assert len(answers) == len(RULES) + 2
        return [(answer.question, answer.passed, answer.explanation) for answer in answers[len(RULES) - 1 :]]

    def test_of_a_pod_that_is_injected(self) -> None:
        """Who takes part, and which volumes there are."""
        pod = asking(logs="/srv/*.log,/x/*.log")
        pod["spec"] |= DATA | {"containers": [mounting("/srv"), {"name": "istio-proxy"}]}
        assert self.of(pod)[1:] == [
            ("Which containers take part?", True, "app"),
            ("Can the sidecar be added?", True, "new pillion-logs-1; reused data"),
        ]
        assert all(answer.passed and answer.finding is None for answer in admission_of(pod).rule_results())
        assert self.of(asking(), with_profile(logs=()))[-1][2] == "no logs are read"

    def test_of_a_pod_that_a_rule_declines(self) -> None:
        """Nothing behind that rule was asked."""
        admission = admission_of(asking(logs="x"))
        answers = admission.rule_results()
        asked = [answer.passed for answer in answers]
        number = asked.index(False)
        assert asked == [True] * number + [False] + [None] * (len(asked) - number - 1)
        assert answers[number].finding == admission.verdict.findings[0]
        assert answers[number].question == "Is every annotation valid?"

    def test_of_a_pod_in_which_nobody_takes_part(self) -> None:
        """The plan was not asked for."""
        pod = asking()
        pod["spec"]["containers"][0]["name"] = "istio-proxy"
        assert [passed for _, passed, _ in self.of(pod)] == [True, False, None]
        assert admission_of(pod).rule_results()[-2].finding is not None

    def test_of_a_pod_whose_plan_is_impossible(self) -> None:
        """Who takes part is known all the same."""
        admission = admission_of(asking(logs="/etc/*.log"))
        assert [(answer.passed, answer.explanation) for answer in admission.rule_results()[-2:]] == [
            (True, "app"),
            (False, ""),
        ]
        assert admission.rule_results()[-1].finding == admission.verdict.findings[0]
        assert (admission.plan, admission.editor) == (None, None)


def test_whoever_knows_better_overrules() -> None:
    """The pod is left as it was, for those reasons and no others."""
    admission = admission_of(asking(nosuch="x"))
    assert admission.verdict.injected
    findings = [Finding(Reason.UNREADABLE_POD), Finding(Reason.NO_EFFECT)]
    admission.decline_after_all(findings)
    verdict = admission.verdict
    assert (verdict.reason, verdict.findings, verdict.patch) == (Reason.UNREADABLE_POD, findings, b"")
    assert (admission.plan, admission.editor, verdict.plan_notes) == (None, None, [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), Reason.INTERNAL_ERROR),
        (RecursionError(), Reason.UNREADABLE_POD),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), Reason.UNREADABLE_POD),
    ],
    ids=repr,
)
def test_an_error_leaves_the_pod_as_it_was(error: Exception, reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours is kept for the log; nothing that was recorded before it stays."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("webhook.injection.admission.add_annotations", fail)
    admission = admission_of(asking())
    verdict = admission.verdict
    assert (verdict.reason, verdict.patch, verdict.allowed) == (reason, b"", True)
    assert verdict.error is (error if reason is Reason.INTERNAL_ERROR else None)
    assert (admission.plan, admission.editor) == (None, None)
    if isinstance(error, RecursionError):
        assert verdict.warnings == ["not injected: the pod can't be read: nested too deeply"]


def test_a_request_can_be_admitted_twice() -> None:
    """A verdict leaves the request as it was sent."""
    request = verdict_on(asking()).request
    assert admit(request, CONFIGURATION).patch == admit(request, CONFIGURATION).patch


@pytest.mark.parametrize(
    "logs",
    [
        "/pillion/*.log,/pillion/logs/*.log",
        "/pillion/logs/*.log,/pillion/logs/1/*.log",
        "/pillion/logs/app/*.log,/pillion/logs/*.log,/pillion/logs/app-2/*.log",
    ],
)
@pytest.mark.parametrize("name", ["app", "", ".", "..", "/", "a/../.."])
def test_logs_where_places_are_moved_to_have_places_of_their_own(logs: str, name: str) -> None:
    """No path and no name of a tenant's takes the whole room: once another name was looked for for ever."""
    pod = asking()
    pod["spec"]["containers"][0]["name"] = name
    pod["metadata"]["annotations"]["pillion.dev/logs"] = logs
    admission = admission_of(pod)
    assert admission.verdict.injected
    assert admission.plan is not None
    paths = [components(source.sidecar_path) for source in admission.plan.sources]
    assert len(paths) == logs.count(",") + 1
    assert not [one for number, one in enumerate(paths) for other in paths[:number] if overlap(one, other)]


def many(count: int, logs: str) -> Any:
    """Return a pod of many containers."""
    return {
        "metadata": {"name": "many", "annotations": {"pillion.dev/inject": "true", "pillion.dev/logs": logs}},
        "spec": {"containers": [{"name": f"c{number}", "image": "i"} for number in range(count)]},
    }


def test_more_places_than_are_mounted_is_a_reason() -> None:
    """500 containers with 16 directories each would be 8,000 mounts in the sidecar."""
    verdict = verdict_on(many(500, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES
    assert len(verdict.warnings) == 1


def test_a_hundred_containers_are_injected() -> None:
    """Each has a folder of its own, and the sidecar sees them all."""
    pod = many(100, "/srv/x/*.log")
    verdict = verdict_on(pod)
    sidecar = patched(pod, verdict)["spec"]["initContainers"][0]
    assert len({mount["mountPath"] for mount in sidecar["volumeMounts"] if mount["name"] == "pillion-logs-1"}) == 100


@contextmanager
def recursion_limit(limit: int) -> Iterator[None]:
    """Allow deeper nesting, as the server does."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    yield
    sys.setrecursionlimit(before)


def test_a_legal_pod_of_900_levels_is_injected() -> None:
    """An unknown field may be nested as deep as the API server's own decoder allows."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    pod = {**asking(), "futureField": deep}
    with recursion_limit(5000):
        assert verdict_on(pod).injected


def _long_argument(pod: Any) -> None:
    pod["spec"]["containers"][0]["args"] = ["$(" * 1_000_000]
    pod["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "x"}}]


def _long_logs(text: str) -> Callable[[Any], None]:
    def change(pod: Any) -> None:
        pod["metadata"]["annotations"]["pillion.dev/logs"] = text

    return change


@pytest.mark.parametrize(
    ("change", "injected"),
    [
        (_long_argument, True),
        (_long_logs("," * 250_000), False),
        (_long_logs("/" + "x" * 250_000), False),
        (_long_logs(",".join(f"/srv/{number}" for number in range(16_000))), False),
        (_long_logs("/" * 250_000 + "x.log"), False),
    ],
    ids=["arguments", "separators", "component", "entries", "slashes"],
)
def test_a_long_text_is_decided_upon(change: Callable[[Any], None], injected: bool) -> None:
    """It is injected or refused by the rules, and no warning is longer than others."""
    pod = copy.deepcopy(asking())
    change(pod)
    verdict: Verdict = verdict_on(pod)
    assert verdict.injected is injected
    assert all(len(warning) <= 120 for warning in verdict.warnings)
    assert json.loads(verdict.patch or b"[]") == [] or injected


def test_more_containers_than_can_be_planned_for_is_a_reason() -> None:
    """Thousands of containers with many directories are refused before they are planned for."""
    verdict = verdict_on(many(3000, ",".join(f"/srv/{number}/*.log" for number in range(16))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES
    assert "3000 containers" in verdict.warnings[0]


def test_patterns_longer_than_an_argument_list_are_a_reason() -> None:
    """What would not fit into a variable, or make the pod too large for etcd, is refused."""
    folder = "/".join(["d" * 200] * 8)
    verdict = verdict_on(many(1, ",".join(f"/srv/{folder}/{number}.log" for number in range(100))))
    assert verdict.reason is Reason.TOO_MANY_LOG_SOURCES


def test_a_variable_that_looks_like_a_placeholder_is_taken_as_it_is() -> None:
    """Only a profile's own variables are filled in, not those that a subPathExpr of the pod's brings along."""
    pod = many(1, "/data/*.log")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][0] |= {
        "env": [{"name": "DIR", "value": "<log-files>"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "$(DIR)"}],
    }
    sidecar = patched(pod, verdict_on(pod))["spec"]["initContainers"][0]
    assert {"name": "DIR", "value": "<log-files>"} in sidecar["env"]


def test_containers_of_one_name_are_looked_at_one_by_one() -> None:
    """No API server takes such a pod, but ``pillion inject`` sees it: no container gets a second mount at a path."""
    pod = many(2, "/data/*.log")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][1] |= {"name": "c0", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    mounts = [container["volumeMounts"] for container in patched(pod, verdict_on(pod))["spec"]["containers"]]
    assert [[mount["name"] for mount in of_one] for of_one in mounts] == [["pillion-logs-1"], ["data"]]


def test_paths_of_a_tenant_fill_no_memory() -> None:
    """What is remembered of a path is in proportion to its length, and that is limited: 500 deep ones are little."""
    gc.collect()
    tracemalloc.start()
    for number in range(500):
        deep = f"/srv/{number:04}" + "/x" * 90
        pod = many(1, f"{deep}/*.log")
        pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": f"/data{deep}"}]
        assert verdict_on(pod).injected
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 4 * 2**20
