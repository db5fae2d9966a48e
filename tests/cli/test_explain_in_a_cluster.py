"""``pillion explain KIND/NAME``: what was decided, what would be decided now, and what is different."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call, Result
from tests.cli.fake_kubectl import FakeKubectl
from tests.cli.pods import ASKING, CONFIG_MAP, CREATED, WEBHOOKS, hold, injected, install, owned, pod, put

LATER, EARLIER = "2026-11-27T11:00:00Z", "2026-11-27T09:00:00Z"
HASHED = owned("ReplicaSet", "web-5c9d8", pod_template_hash="5c9d8")
BY_NAMESPACE = {"pillion.dev/logs": "/logs/*.log"}
ROLLOUT = "new pods have it: kubectl rollout restart deployment/web -n shop"


def written(time: str, holder: str, *keys: str) -> dict[str, Any]:
    """Return metadata that says when keys of labels or annotations were written."""
    fields: dict[str, Any] = {"f:metadata": {f"f:{holder}": {".": {}, **{f"f:{key}": {} for key in keys}}}}
    return {"managedFields": [{"manager": "kubectl", "time": time, "fieldsV1": fields}, {"manager": "kubelet"}]}


Explain = Callable[..., Result]


@pytest.fixture
def cluster(fake_kubectl: FakeKubectl) -> FakeKubectl:
    """Return a cluster with a release that has the built-in configuration, and no pods."""
    install(fake_kubectl)
    put(fake_kubectl)
    return fake_kubectl


@pytest.fixture
def explain(cluster: FakeKubectl, pillion: Call) -> Explain:
    """Return what explains a pod, after it is put into the cluster."""

    def call(document: Any, *words: str, opted_in: bool = False) -> Result:
        put(cluster, document, opted_in=("shop",) if opted_in else ())
        hold(cluster, "pod", document)
        return pillion("explain", f"pod/{document['metadata']['name']}", "-n", "shop", *words)

    return call


def different(explain: Explain, document: Any, *, opted_in: bool = False) -> list[str]:
    """Return what is different, and look whether the text says the same."""
    found: list[str] = json.loads(explain(document, "-o", "json", opted_in=opted_in).out)["different"]
    text = explain(document, opted_in=opted_in).out
    assert text.endswith("\n".join(["What is different", *(f"  {line}" for line in found or ["nothing"])]) + "\n")
    return found


def test_a_pod_in_order(explain: Explain) -> None:
    """Its past, the rules as for a manifest but without places in a file, and nothing that is different."""
    document = injected(pod("a", ASKING, **HASHED), restarts=2)
    revision = json.loads(document["metadata"]["annotations"]["pillion.dev/status"])["revision"]
    code, out, err = explain(document)
    assert (code, err) == (0, "")
    assert out.startswith(f"""\
pod/a (namespace shop, created {CREATED}, made by deployment/web)
What was decided
  injected with profile tail, revision {revision} (by the status annotation)
  reads the logs of app
  volumes added: pillion-state, pillion-no-token
  volumes of the pod's own: logs
  sidecar pillion-tail: running, ready, 2 restarts
What would be decided now, by ConfigMap pillion-system/pillion
  yes Is it a pod? \
""")
    assert "\n  Injected with profile tail:\n" in out
    assert out.endswith("What is different\n  nothing\n")


def test_an_old_revision(explain: Explain) -> None:
    """With both revisions, and how the next pods come."""
    document = injected(pod("a", ASKING, **HASHED), revision="0123456789")
    revision, advice = different(explain, document)
    assert revision.startswith("revision 0123456789 is not the current one: now ")
    assert advice == ROLLOUT


def test_a_profile_that_is_gone(explain: Explain) -> None:
    """There is no current revision then."""
    document = injected(pod("a", ASKING, **HASHED))
    annotations = document["metadata"]["annotations"]
    annotations["pillion.dev/status"] = annotations["pillion.dev/status"].replace('"profile":"tail"', '"profile":"x"')
    assert different(explain, document)[0].endswith("its profile is gone")


#: What the cluster knows of a pod without a sidecar that would get one, and what is said of it.
MISSED = {
    "annotation later": (
        pod("a", ASKING, **HASHED, **written(LATER, "annotations", "pillion.dev/inject")),
        f"the annotation pillion.dev/inject came later: it was written at {LATER}",
    ),
    "annotation before": (
        pod("a", ASKING, **HASHED, **written(EARLIER, "annotations", "pillion.dev/inject")),
        "nothing here tells why: no server answered, or what is decided has changed since then",
    ),
    "another annotation later": (
        pod("a", ASKING, **HASHED, **written(LATER, "annotations", "example.org/inject")),
        "nothing here tells why: no server answered, or what is decided has changed since then",
    ),
}


@pytest.mark.parametrize(("document", "says"), MISSED.values(), ids=MISSED)
def test_a_pod_that_was_missed(explain: Explain, document: Any, says: str) -> None:
    """What came after the pod is named; without that nothing is guessed."""
    assert different(explain, document) == [says, ROLLOUT]
    assert "\n  not injected; the pod itself does not say why\n" in explain(document).out


@pytest.mark.parametrize(("time", "later"), [(LATER, True), (EARLIER, False)])
def test_a_namespace_that_opted_in_later(cluster: FakeKubectl, pillion: Call, time: str, later: bool) -> None:
    """The label was written after the pod was created."""
    document = pod("a", BY_NAMESPACE, **HASHED)
    hold(cluster, "pod", document)
    metadata = {"labels": {"pillion.dev/inject": "true"}, **written(time, "labels", "pillion.dev/inject")}
    cluster.cluster["raw"]["/api/v1/namespaces/shop"] = {"metadata": metadata}
    cluster.save()
    out = pillion("explain", "pod/a", "-n", "shop").out
    assert (f"the namespace opted in later: its label pillion.dev/inject was written at {time}" in out) is later


def test_pillion_came_later(cluster: FakeKubectl, explain: Explain) -> None:
    """Its webhook configuration is younger than the pod."""
    cluster.cluster["raw"][WEBHOOKS][1]["metadata"]["creationTimestamp"] = LATER
    said = f"Pillion's webhook configuration was created after the pod, at {LATER}"
    assert different(explain, pod("a", ASKING, **HASHED)) == [said, ROLLOUT]


def test_another_webhook_removed_the_sidecar(explain: Explain) -> None:
    """The status is there, and the sidecar is not."""
    document = injected(pod("a", ASKING))
    document["spec"]["initContainers"].clear()
    (said,) = different(explain, document)
    assert said.startswith("the status annotation is there and the sidecar is not: another webhook removed it")
    assert "\n  the sidecar is not in the pod\n" in explain(document).out


def test_a_pod_that_would_get_none_now(explain: Explain) -> None:
    """Somebody has changed its annotation."""
    document = injected(pod("a", ASKING))
    document["metadata"]["annotations"]["pillion.dev/inject"] = "false"
    assert different(explain, document) == ["the pod has a sidecar, and would not get one now"]


def test_a_pod_that_is_declined(explain: Explain) -> None:
    """The rule that objects says what to write; --strict fails."""
    document = pod("a", {**ASKING, "pillion.dev/logs": "x.log"})
    code, out, _ = explain(document)
    assert code == 0
    assert '\n  no  Is every annotation valid?                 pillion.dev/logs "x.log": must begin with /' in out
    assert explain(document, "--strict").code == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"created": injected(pod("a", ASKING))}, "injected with profile tail, revision "),
        ({"warnings": ["not injected: no such profile"]}, "not injected, by a dry run: no such profile"),
        ({}, "a dry run adds no sidecar, and nothing is said"),
        ({"refused": "Error from server (Forbidden): no"}, "unknown: no configuration can be read, and a dry run is"),
    ],
)
def test_without_a_configuration_a_dry_run_tells(
    cluster: FakeKubectl, explain: Explain, answer: dict[str, Any], says: str
) -> None:
    """And what could not be read is said."""
    del cluster.cluster["raw"][CONFIG_MAP]
    cluster.cluster |= answer
    code, out, err = explain(pod("a", ASKING))
    assert (code, f"What would be decided now\n  {says}" in out) == (0, True)
    assert err.startswith("note: the release's configuration can't be read: ")


def test_a_namespace_that_may_not_be_read(cluster: FakeKubectl, explain: Explain) -> None:
    """The right is named, and the rest is said."""
    cluster.cluster["failures"]["/api/v1/namespaces/shop"] = "Error from server (Forbidden): you cannot get namespaces"
    code, out, err = explain(pod("a", ASKING))
    assert (code, "What is different" in out) == (0, True)
    assert err == "note: whether the namespace opted in is unknown: you cannot get namespaces\n"


def deployment() -> dict[str, Any]:
    """Return a Deployment whose pods ask."""
    template = pod("unnamed", ASKING)
    del template["metadata"]["name"], template["metadata"]["namespace"], template["status"]
    metadata = {"name": "web", "namespace": "shop", "creationTimestamp": CREATED}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


def test_a_workload(cluster: FakeKubectl, pillion: Call) -> None:
    """Its pods by how they stand, and what would be decided about the next one."""
    good, old = injected(pod("a", ASKING, **HASHED)), injected(pod("b", ASKING, **HASHED), revision="0123456789")
    put(cluster, good, old, pod("other", ASKING), pod("c", ASKING, **HASHED))
    hold(cluster, "deployment", deployment())
    code, out, _ = pillion("explain", "deployment/web", "-n", "shop")
    assert code == 0
    assert out.startswith(f"deployment/web (namespace shop, created {CREATED})\nWhat was decided\n  1 pod: injected (")
    assert "\n  1 pod: without, would be injected now (pod/c)\n" in out
    assert "\n  Injected with profile tail:\n" in out
    assert "other" not in out
    assert out.endswith(f"What is different\n  {ROLLOUT}\n")


def test_a_cron_jobs_pods_are_its_jobs(cluster: FakeKubectl, pillion: Call) -> None:
    """Which are found by who made them."""
    document = deployment() | {"kind": "CronJob", "apiVersion": "batch/v1"}
    document["spec"] = {"jobTemplate": {"spec": document["spec"]}}
    owner = {"kind": "CronJob", "name": "web", "controller": True}
    job = {"metadata": {"namespace": "shop", "name": "web-29", "uid": "1", "ownerReferences": [owner]}}
    cluster.cluster["raw"]["/apis/batch/v1/namespaces/shop/jobs"] = [job]
    put(cluster, pod("a", ASKING, **owned("Job", "web-29")), pod("b", ASKING, **owned("Job", "other")))
    hold(cluster, "cronjob", document)
    out = pillion("explain", "cronjob/web", "-n", "shop").out
    assert "What was decided\n  1 pod: without, would be injected now (pod/a)\n" in out


@pytest.mark.parametrize("kind", ["pod", "deployment"])
def test_a_namespace_that_is_excluded(cluster: FakeKubectl, pillion: Call, kind: str) -> None:
    """Nothing is decided there, whatever the annotations say."""
    found = {"pod": pod("web", ASKING, namespace="kube-system"), "deployment": deployment()}[kind]
    found["metadata"]["namespace"] = "kube-system"
    put(cluster, pod("web", ASKING, namespace="kube-system"))
    hold(cluster, kind, found)
    code, out, _ = pillion("explain", f"{kind}/web", "-n", "kube-system")
    assert (code, "Injected with" in out) == (0, False)
    assert "\n  nothing: the API server never asks about namespace kube-system\n" in out


def test_a_workload_without_pods(cluster: FakeKubectl, pillion: Call) -> None:
    """There is still a template."""
    hold(cluster, "deployment", deployment())
    assert "\n  it has no pods that run\n" in pillion("explain", "deployment/web", "-n", "shop").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "write either -f FILE, or what to explain in the cluster"),
        (("pod/a", "-f", "a.yaml"), "write either -f FILE, or what to explain in the cluster"),
        (("pod",), "pod: write KIND/NAME, as kubectl names things"),
        (("pod", "pod/a"), "pod pod/a: write KIND/NAME, as kubectl names things"),
        (("pod/a,b",), "pod/a,b: write KIND/NAME, as kubectl names things"),
        (("pod/a", "pod/b"), "only one can be explained at a time, not pod/a and pod/b"),
        (("service/web",), "service/web has no pods; name a pod or what makes pods, as deployment/web"),
        (("pod/absent",), 'pillion: pod/absent "" not found in namespace shop\n'),
        (("\x1b[2J/",), "write KIND/NAME, as kubectl names things"),
        (("deployment/list",), "kubectl printed no object"),
    ],
)
def test_what_can_not_be_explained_is_one_sentence(
    cluster: FakeKubectl, pillion: Call, words: tuple[str, ...], says: str
) -> None:
    """Wrong usage, and what is not there."""
    hold(cluster, "service", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}})
    cluster.cluster["objects"]["shop/deployment/list"] = []
    cluster.save()
    code, out, err = pillion("explain", *words, *(("-n", "shop") if words else ()))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert err.rstrip().isprintable()


@pytest.mark.parametrize("words", [("pod", "a"), ("pods/a",), ("po", "a"), ("pods.v1.", "a")])
def test_kubectls_other_names(cluster: FakeKubectl, pillion: Call, words: tuple[str, ...]) -> None:
    """Kubectl itself knows what they mean."""
    document = injected(pod("a", ASKING))
    hold(cluster, words[0].partition("/")[0], document)
    code, out, _ = pillion("explain", *words, "-n", "shop")
    assert (code, out.splitlines()[0]) == (0, f"pod/a (namespace shop, created {CREATED})")


def test_a_file_is_no_object(pillion: Call, folder: Path) -> None:
    """Who forgets -f is told so."""
    (folder / "manifests").mkdir()
    (folder / "manifests/my app.yaml").touch()
    code, out, err = pillion("explain", "manifests/my app.yaml")
    assert (code, out) == (2, "")
    said = "manifests/my app.yaml is a file; write: pillion explain -f 'manifests/my app.yaml'"
    assert err == f"pillion: {said}\n"


def test_json_commands_no_terminal(explain: Explain) -> None:
    """As all other output."""
    document = pod("a", ASKING)
    document["spec"]["containers"][0]["name"] = "\x1b[8m\x9b8m\r\n\u202e"
    assert explain(document, "-o", "json").out.replace("\n", "").isprintable()


def test_hostile_objects_command_no_terminal(explain: Explain) -> None:
    """Everything that a tenant writes is cleaned."""
    evil = "\x1b[2J\r\n"
    document = injected(pod("a", {**ASKING, f"pillion.dev/x{evil}": evil}, **owned(f"K{evil}", evil)))
    document["spec"]["containers"][0]["name"] = evil
    _, out, err = explain(document)
    assert all(line.isprintable() for line in [*out.splitlines(), *err.splitlines()])
