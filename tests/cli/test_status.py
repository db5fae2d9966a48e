"""``pillion status``: how the pods of a cluster stand."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_kubectl import FakeKubectl
from tests.cli.pods import ASKING, CONFIG_MAP, CREATED, WEBHOOKS, injected, install, owned, pod, put
from webhook.cli.standing import Standing

HASHED = owned("ReplicaSet", "web-5c9d8", pod_template_hash="5c9d8")
FORBIDDEN = 'Error from server (Forbidden): User "ann" cannot list this'


@pytest.fixture
def cluster(fake_kubectl: FakeKubectl) -> FakeKubectl:
    """Return a cluster with a release that has the built-in configuration, and no pods."""
    install(fake_kubectl)
    put(fake_kubectl)
    return fake_kubectl


Standings = Callable[..., dict[str, Any]]


@pytest.fixture
def standings(pillion: Call) -> Standings:
    """Return what gives each pod that is shown, by name."""

    def call(*words: str) -> dict[str, Any]:
        found = json.loads(pillion("status", "-A", "-o", "json", *words).out)
        return {one["name"]: one for workload in found["workloads"] for one in workload["pods"]}

    return call


def without_sidecar(document: Any) -> Any:
    """Return an injected pod from which another webhook has taken the sidecar."""
    document["spec"]["initContainers"].clear()
    return document


def on_windows(document: Any) -> Any:
    """Return a pod that says it runs on Windows."""
    document["spec"]["os"] = {"name": "windows"}
    return document


#: Each pod, whether its namespace opted in, how it stands (None: not shown), and what else is said.
PODS = {
    "current": (injected(pod("a", ASKING)), False, "current", ""),
    "old": (injected(pod("a", ASKING), revision="0123456789"), False, "old", "now "),
    "without status": (injected(pod("a", ASKING)), False, "injected", ""),
    "missed": (pod("a", ASKING), False, "missed", ""),
    "missed, namespace": (pod("a", {"pillion.dev/logs": "/logs/*.log"}), True, "missed", ""),
    "declined": (pod("a", {**ASKING, "pillion.dev/logs": "x.log"}), False, "declined", "must begin with /"),
    "bad inject": (pod("a", {"pillion.dev/inject": "yes"}), False, "declined", "pillion.dev/inject"),
    "no logs, namespace": (pod("a"), True, "unneeded", "nothing is mounted"),
    "Windows": (on_windows(pod("a", ASKING)), False, "declined", "Windows"),
    "Windows, namespace": (on_windows(pod("a", {"pillion.dev/logs": "/logs/*.log"})), True, "unneeded", "Windows"),
    "sidecar taken out": (without_sidecar(injected(pod("a", ASKING))), False, "removed", ""),
    "excluded": (pod("a", ASKING, namespace="kube-system"), False, "excluded", ""),
    "opted out": (pod("a", {"pillion.dev/inject": "false"}), True, None, ""),
    "not asking": (pod("a", {"pillion.dev/logs": "/logs/*.log"}), False, None, ""),
    "leaves": (pod("a", ASKING, deletionTimestamp=CREATED), False, None, ""),
    "Pillion's own": (pod("a", ASKING, labels={"pillion.dev/component": "webhook"}), False, None, ""),
}
del PODS["without status"][0]["metadata"]["annotations"]["pillion.dev/status"]


@pytest.mark.parametrize("name", PODS)
def test_each_pod_stands(cluster: FakeKubectl, standings: Standings, name: str) -> None:
    """By its annotations, its namespace, its sidecar and the release's configuration."""
    document, opted_in, standing, why = PODS[name]
    put(cluster, document, opted_in=(document["metadata"]["namespace"],) if opted_in else ())
    found = standings()
    if standing is None:
        assert found == {}
    else:
        assert found["a"]["standing"] == standing
        assert why in found["a"]["why"]


@pytest.mark.parametrize("name", PODS)
def test_check_fails_for_a_pod_that_asks_and_is_without(cluster: FakeKubectl, pillion: Call, name: str) -> None:
    """And for no other; without --check nothing fails."""
    document, opted_in, standing, _ = PODS[name]
    put(cluster, document, opted_in=(document["metadata"]["namespace"],) if opted_in else ())
    assert pillion("status", "-A").code == 0
    without = standing in {"missed", "declined", "removed", "excluded"}
    assert pillion("status", "-A", "--check").code == int(without)


#: What made a pod, by what its metadata says, and whether a Job with that maker is there.
MAKERS = {
    "Deployment": (HASHED, "deployment/web"),
    "Rollout": (owned("ReplicaSet", "web-77", rollouts_pod_template_hash="77"), "rollout/web"),
    "ReplicaSet without a hash": (owned("ReplicaSet", "web-77"), "replicaset/web-77"),
    "ReplicaSet with another's hash": (owned("ReplicaSet", "web-77", pod_template_hash="78"), "replicaset/web-77"),
    "StatefulSet": (owned("StatefulSet", "db"), "statefulset/db"),
    "DaemonSet": (owned("DaemonSet", "agent"), "daemonset/agent"),
    "CronJob": (owned("Job", "nightly-29"), "cronjob/nightly"),
    "Job": (owned("Job", "once"), "job/once"),
    "custom": (owned("Workflow", "x"), "workflow/x"),
    "nobody": ({}, "pod/a"),
    "an owner that does not control it": ({"ownerReferences": [{"kind": "ConfigMap", "name": "x"}]}, "pod/a"),
}


@pytest.mark.parametrize(("metadata", "title"), MAKERS.values(), ids=MAKERS)
def test_a_pod_belongs_to_what_made_it(
    cluster: FakeKubectl, pillion: Call, metadata: dict[str, Any], title: str
) -> None:
    """By the chain of owners, as people name it."""
    owner = [{"kind": "CronJob", "name": "nightly", "controller": True}]
    jobs = [{"metadata": {"namespace": "shop", "name": "nightly-29", "uid": "1", "ownerReferences": owner}}]
    cluster.cluster["raw"]["/apis/batch/v1/jobs"] = [*jobs, {"metadata": {"namespace": "shop", "name": "once"}}]
    put(cluster, pod("a", ASKING, **metadata))
    (workload,) = json.loads(pillion("status", "-A", "-o", "json").out)["workloads"]
    assert f"{workload['kind'].lower()}/{workload['name']}" == title


def test_the_table(cluster: FakeKubectl, pillion: Call) -> None:
    """A line for each workload; below it the pods that are not in order, unless all are alike; a summary."""
    good = [injected(pod(f"web-5c9d8-{name}", ASKING, **HASHED), restarts=1) for name in "ab"]
    old = injected(pod("web-5c9d8-c", ASKING, **HASHED), revision="0123456789", ready=False)
    revision = json.loads(good[0]["metadata"]["annotations"]["pillion.dev/status"])["revision"]
    missed = [pod(f"db-{number}", ASKING, **owned("StatefulSet", "db")) for number in range(2)]
    put(cluster, *good, old, *missed)
    code, out, err = pillion("status", "-A")
    assert (code, out) == (
        0,
        f"""\
NAMESPACE   NAME                SIDECARS   PROFILE   REVISION      READY   RESTARTS   STATE
shop        deployment/web      3/3        tail      2 different   2/3     2          2 injected; 1 injected with an \
old revision: now {revision}
              pod/web-5c9d8-c   1/1        tail      0123456789    0/1     0          injected with an old revision: \
now {revision}
              pod/web-5c9d8-a   1/1        tail      {revision}    1/1     1          injected
              pod/web-5c9d8-b   1/1        tail      {revision}    1/1     1          injected
shop        statefulset/db      0/2        tail      -             -       -          without, would be injected now
""",
    )
    assert err == (
        "pillion status: 5 pods in 2 workloads: 2 injected; 1 injected with an old revision; "
        "2 without, would be injected now; judged by ConfigMap pillion-system/pillion\n"
    )


def test_many_pods_of_a_workload_are_counted(cluster: FakeKubectl, pillion: Call) -> None:
    """Not listed, unless that is asked for."""
    pods = [pod(f"web-5c9d8-{number}", ASKING, **HASHED) for number in range(9)]
    put(cluster, *pods, injected(pod("web-5c9d8-x", ASKING, **HASHED)))
    assert "  and 6 more\n" in pillion("status", "-A").out
    assert pillion("status", "-A", "--pods").out.count("pod/web-5c9d8-") == 10


def test_nobody_asks(cluster: FakeKubectl, pillion: Call) -> None:
    """That is an answer, too."""
    put(cluster, pod("a"))
    assert pillion("status", "-n", "shop", "--check") == (
        0,
        "",
        "pillion status: no pod in namespace shop asks for a sidecar\n",
    )


def test_hostile_names_command_no_terminal(cluster: FakeKubectl, pillion: Call) -> None:
    """A tenant writes annotations; a custom API server may write anything."""
    evil = "\x1b[2J\x9b8m\u202e\r\n" * 1000
    status = json.dumps(
        json.loads(PODS["current"][0]["metadata"]["annotations"]["pillion.dev/status"]) | {"profile": evil}
    )
    document = injected(pod(f"a{evil}", ASKING, **owned(f"Kind{evil}", f"name{evil}"), namespace=f"b{evil}"))
    document["metadata"]["annotations"]["pillion.dev/status"] = status
    put(cluster, document)
    code, out, err = pillion("status", "-A", "--pods")
    assert code == 0
    assert all(line.isprintable() for line in [*out.splitlines(), *err.splitlines()])
    assert len(out.splitlines()) == 3
    assert len(err) < 1000
    assert pillion("status", "-A", "-o", "json").out.replace("\n", "").isprintable()


# --- which pods ------------------------------------------------------------------------------------------------------


def test_the_contexts_namespace_is_the_default(cluster: FakeKubectl, pillion: Call) -> None:
    """As kubectl has it; -n chooses another one."""
    cluster.cluster["namespace"] = "bank"
    put(cluster, pod("a", ASKING, namespace="bank"), pod("b", ASKING))
    assert "pod/a" in pillion("status").out
    assert "pod/b" in pillion("status", "-n", "shop").out
    assert pillion("status", "-n", "shop", "-A").code == 2


def test_without_a_context_it_is_default(cluster: FakeKubectl, pillion: Call) -> None:
    """In a pod there is no kubeconfig."""
    cluster.cluster["failures"]["config"] = "error: current-context must exist in order to minify"
    put(cluster, pod("a", ASKING, namespace="default"))
    assert "pod/a" in pillion("status").out


def test_a_kubeconfig_that_is_broken_is_one_sentence(cluster: FakeKubectl, pillion: Call) -> None:
    """In kubectl's words."""
    cluster.cluster["failures"]["config"] = "error: error loading config file: yaml: line 1"
    cluster.save()
    code, out, err = pillion("status")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.endswith("error loading config file: yaml: line 1\n")


def test_the_selectors_are_the_api_servers(cluster: FakeKubectl, pillion: Call) -> None:
    """Pods that have finished are not even sent."""
    assert pillion("status", "-n", "shop", "-l", "app=web").code == 0
    finished = "status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"
    query = f"?labelSelector=app%3Dweb&fieldSelector={finished}&limit=500"
    assert cluster.calls[-1][-1] == f"--raw=/api/v1/namespaces/shop/pods{query}"
    assert all("--request-timeout=60s" in call for call in cluster.calls)


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        """Return whether it is one."""
        return True


def test_progress_is_for_terminals(cluster: FakeKubectl, pillion: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how many pods have been read, and is gone afterwards."""
    put(cluster, *(pod(f"a{number}") for number in range(5)))
    cluster.cluster["page"] = 2
    cluster.save()
    assert "pods read" not in pillion("status", "-A").err
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    pillion("status", "-A")
    assert terminal.getvalue().startswith("\r2 pods read\r4 pods read\r5 pods read\r\x1b[K")


def test_progress_ends_before_an_error_is_said(
    cluster: FakeKubectl, pillion: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise both stood in one line."""
    put(cluster, pod("a"), {"metadata": {"uid": "a", "name": "no-pod", "namespace": "shop"}})
    cluster.cluster["page"] = 1
    cluster.save()
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert pillion("status", "-A").code == 2
    assert terminal.getvalue().startswith("\r1 pods read\r\x1b[Kpillion: ")


def test_a_terminal_that_knows_no_escapes_shows_no_progress(
    cluster: FakeKubectl, pillion: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM=dumb, as in an editor's window."""
    put(cluster, pod("a"))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    pillion("status", "-A")
    assert terminal.getvalue().startswith("pillion status: ")


# --- by which configuration ------------------------------------------------------------------------------------------


def test_a_file_wins(cluster: FakeKubectl, standings: Standings, pillion: Call, tmp_path: Path) -> None:
    """What --config names is what would be decided."""
    file = tmp_path / "c.yaml"
    file.write_text("profiles: {tail: {logs: [/elsewhere/*.log], sidecar: {resources: {limits: {memory: 99Mi}}}}}")
    put(cluster, injected(pod("a", ASKING)))
    assert standings()["a"]["standing"] == "current"
    assert standings("--config", str(file))["a"]["standing"] == "old"
    assert pillion("status", "-A", "--config", str(file)).err.endswith(f"judged by {file}\n")


def test_the_releases_prefix_counts(fake_kubectl: FakeKubectl, pillion: Call) -> None:
    """Its webhook configuration has it."""
    install(fake_kubectl, prefix="logs.example.org/")
    put(fake_kubectl, pod("a", {"logs.example.org/inject": "true", "logs.example.org/logs": "/logs/*.log"}))
    assert "pod/a" in pillion("status", "-A").out


def test_of_two_releases_one_is_chosen(cluster: FakeKubectl, pillion: Call) -> None:
    """By its name or its prefix."""
    _, first = cluster.cluster["raw"][WEBHOOKS]
    second = json.loads(
        json.dumps(first).replace("pillion.dev/inject", "b.org/inject").replace('"name": "pillion"', '"name": "b"')
    )
    second["metadata"]["uid"] = "3"
    cluster.cluster["raw"][WEBHOOKS] = [first, second]
    cluster.save()
    code, _, err = pillion("status", "-A")
    assert (code, err) == (
        2,
        "pillion: there are 2 releases; choose one with --release: pillion-system/pillion, pillion-system/b\n",
    )
    assert pillion("status", "-A", "--release", "pillion-system/pillion").code == 0
    assert pillion("status", "-A", "--prefix", "pillion.dev/").code == 0


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("release", ["pillion", "/pillion", "a/", "absent/pillion"])
def test_a_release_that_is_named_must_be_there(pillion: Call, release: str) -> None:
    """Nobody wants to be judged by something else then."""
    code, out, err = pillion("status", "-A", "--release", release)
    assert (code, out) == (2, "")
    assert err.startswith("pillion: ")


def test_another_version_is_said(cluster: FakeKubectl, pillion: Call) -> None:
    """Its built-in profiles may have other revisions."""
    cluster.cluster["raw"][CONFIG_MAP]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.0.1"
    cluster.save()
    assert "note: the release has version 0.0.1, this command " in pillion("status", "-A").err


@pytest.mark.parametrize("configuration", ["profiles: [", "unknown: 1", "\x1b"])
def test_a_configuration_that_is_garbage_is_a_note(
    fake_kubectl: FakeKubectl, pillion: Call, configuration: str
) -> None:
    """And the pods are judged by dry runs."""
    install(fake_kubectl, configuration)
    put(fake_kubectl, pod("a", ASKING))
    code, _, err = pillion("status", "-A")
    assert code == 0
    assert err.startswith("note: the release's configuration can't be used: ConfigMap pillion-system/pillion")
    assert all(line.isprintable() for line in err.splitlines())


@pytest.mark.parametrize(
    "selectors",
    [
        {"objectSelector": {"matchLabels": {"logs": "yes"}}},
        {"namespaceSelector": {"matchLabels": {"team": "web"}}},
        {"namespaceSelector": {"matchExpressions": [{"key": "quiet", "operator": "DoesNotExist"}]}},
    ],
    ids=["pods", "namespaces", "namespaces-by-expression"],
)
def test_selectors_that_are_not_looked_at_are_a_note(
    cluster: FakeKubectl, pillion: Call, selectors: dict[str, Any]
) -> None:
    """What they leave out is left out on purpose; without them there is no note."""
    put(cluster, pod("a", ASKING))
    note = "note: the webhook configuration selects pods or namespaces by labels, which are not looked at here"
    assert note not in pillion("status", "-A").err
    for entry in cluster.cluster["raw"][WEBHOOKS][1]["webhooks"][1:]:
        entry["objectSelector"] = selectors.get("objectSelector", {})
        given = selectors.get("namespaceSelector", {})
        selector = entry["namespaceSelector"]
        selector["matchExpressions"] = [*selector["matchExpressions"], *given.get("matchExpressions", [])]
        selector["matchLabels"] = given.get("matchLabels", {})
    cluster.save()
    assert note in pillion("status", "-A").err


# --- rights that are missing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "note"),
    [
        (WEBHOOKS, "which namespaces are excluded is unknown: "),
        (CONFIG_MAP, "the release's configuration can't be read: "),
        ("/api/v1/namespaces", "which namespaces opted in is unknown, so only annotations are looked at: "),
        ("/apis/batch/v1/jobs", "which CronJob made a Job is unknown: "),
    ],
)
def test_a_right_that_is_missing_is_named(cluster: FakeKubectl, pillion: Call, path: str, note: str) -> None:
    """With the API server's words; the rest is shown."""
    cluster.cluster["failures"][path] = FORBIDDEN
    cluster.cluster["raw"]["/apis/batch/v1/jobs"] = []
    put(cluster, pod("a", ASKING, **owned("Job", "nightly-1")))
    code, out, err = pillion("status", "-A")
    assert (code, "job/nightly-1" in out) == (0, True)
    assert f'note: {note}User "ann" cannot list this\n' in err


def test_without_the_right_to_list_pods_there_is_nothing_to_show(cluster: FakeKubectl, pillion: Call) -> None:
    """One sentence says what is missing."""
    cluster.cluster["failures"]["/api/v1/pods"] = FORBIDDEN
    cluster.save()
    code, out, err = pillion("status", "-A")
    assert (code, out) == (2, "")
    assert err.endswith('Error from server (Forbidden): User "ann" cannot list this\n')
    assert len(err.splitlines()) == 1


# --- dry runs --------------------------------------------------------------------------------------------------------

DRY = {
    "would be injected": ({"created": injected(pod("a", ASKING))}, "missed", ""),
    "declined": ({"warnings": ["not injected: no such profile"]}, "declined", "no such profile"),
    "nothing is said": ({}, "unknown", "a dry run adds none either"),
    "refused by a quota": ({"refused": "Error from server (Forbidden): exceeded quota"}, "unknown", ""),
    "no right": ({"refused": FORBIDDEN}, "unknown", ""),
    "garbage": ({"created": {"kind": "Status"}}, "unknown", ""),
}


@pytest.mark.parametrize(("answer", "standing", "why"), DRY.values(), ids=DRY)
def test_without_a_configuration_dry_runs_tell(
    fake_kubectl: FakeKubectl, standings: Standings, answer: dict[str, Any], standing: str, why: str
) -> None:
    """The webhook itself says what it would do; nothing is created."""
    fake_kubectl.cluster |= {"raw": {WEBHOOKS: []}, **answer}
    put(fake_kubectl, pod("a", ASKING))
    found = standings()["a"]
    assert found["standing"] == standing
    assert why in found["why"]
    assert [
        "create",
        "--request-timeout=60s",
        "--dry-run=server",
        "--filename=-",
        "--output=json",
    ] in fake_kubectl.calls


@pytest.mark.parametrize(("revision", "standing"), [("", "current"), ("0123456789", "old")])
def test_dry_runs_tell_the_current_revision(
    fake_kubectl: FakeKubectl, standings: Standings, pillion: Call, revision: str, standing: str
) -> None:
    """One of a workload's pods stands for all."""
    fake_kubectl.cluster |= {"raw": {WEBHOOKS: []}, "created": injected(pod("a", ASKING))}
    put(fake_kubectl, *(injected(pod(f"a{number}", ASKING, **HASHED), revision=revision) for number in range(3)))
    assert {one["standing"] for one in standings().values()} == {standing}
    assert sum(call[0] == "create" for call in fake_kubectl.calls) == 1
    assert pillion("status", "-A").err.endswith("judged by dry runs\n")


def test_dry_runs_are_few(fake_kubectl: FakeKubectl, standings: Standings) -> None:
    """Of ten thousand workloads most stay unknown: each dry run costs a call."""
    fake_kubectl.cluster |= {"raw": {WEBHOOKS: []}, "created": injected(pod("a", ASKING))}
    put(fake_kubectl, *(pod(f"a{number}", ASKING) for number in range(25)))
    found = [one["standing"] for one in standings().values()]
    assert (found.count("missed"), found.count("unknown")) == (20, 5)


# --- no cluster ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "<html>", '{"items": [{"metadata": {"uid": "1"}}], "metadata": {}}']
)
def test_garbage_is_one_sentence(cluster: FakeKubectl, pillion: Call, body: str) -> None:
    """A proxy may answer anything."""
    cluster.cluster["raw"]["/api/v1/pods"] = body
    cluster.save()
    code, out, err = pillion("status", "-A")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("pillion: the API server's answer ")


def test_no_cluster_is_one_sentence(cluster: FakeKubectl, pillion: Call) -> None:
    """Kubectl's own, with what was called."""
    said = "The connection to the server 127.0.0.1:9 was refused - did you specify the right host or port?"
    cluster.cluster["failures"][WEBHOOKS] = said
    cluster.save()
    code, out, err = pillion("status", "-A")
    assert (code, out) == (2, "")
    assert err.startswith("pillion: `kubectl get ")
    assert err.endswith(f"{said}\n")


def test_no_kubectl_is_one_sentence(pillion: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With where to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = pillion("status")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "there is no kubectl on PATH" in err


def test_the_page_has_each_standing() -> None:
    """With its sentence, and whether it fails --check."""
    page = (Path(__file__).parents[2] / "docs/status.md").read_text()
    rows = re.findall(r"^\| ([^|`]+) \| `(\w+)` \| [^|]+ \| (yes)? ?\|$", page, re.MULTILINE)
    assert rows == [(one.sentence, one.value, "yes" if one.fails else "") for one in _LISTED]
    assert set(_LISTED) == set(Standing)


#: As the page has them: what is in order first, and then what somebody has to do something about.
_LISTED = [
    *(Standing.CURRENT, Standing.OLD, Standing.INJECTED, Standing.UNNEEDED, Standing.MISSED),
    *(Standing.DECLINED, Standing.REMOVED, Standing.EXCLUDED, Standing.UNKNOWN),
]


def test_an_unknown_form_is_usage(pillion: Call) -> None:
    """As for every command."""
    assert pillion("status", "-o", "yaml").code == 2
