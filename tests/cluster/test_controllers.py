"""Which pods are injected: through every controller, by label, by annotation; and which never reach the webhook."""

import json
from typing import Any

import pytest

from .client import Client
from .conftest import NewNamespace
from .processes import wait_until
from .release import RESTRICTED, Release, annotated_pod, prints, sidecars

pytestmark = pytest.mark.cluster

SECONDS = 60.0
LABELS = {"app": "app"}


def workload(kind: str, annotations: dict[str, str]) -> dict[str, Any]:
    """Return a workload whose template is annotated."""
    pod = annotated_pod(annotations)
    template: dict[str, Any] = {"metadata": {"labels": LABELS, "annotations": annotations}, "spec": pod["spec"]}
    selected = {"selector": {"matchLabels": LABELS}, "template": template}
    if kind in {"Job", "CronJob"}:
        template["spec"] |= {"restartPolicy": "Never"}
        template["spec"]["containers"][0]["command"] = ["sh", "-c", "echo a line > /logs/app.log"]
    job = {"backoffLimit": 0, "template": template}
    specs = {
        "Deployment": ("apps/v1", selected),
        "StatefulSet": ("apps/v1", {**selected, "serviceName": "app"}),
        "DaemonSet": ("apps/v1", selected),
        "ReplicaSet": ("apps/v1", selected),
        "Job": ("batch/v1", job),
        "CronJob": ("batch/v1", {"schedule": "* * * * *", "jobTemplate": {"spec": job}}),
    }
    version, spec = specs[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "app"}, "spec": spec}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_an_annotated_template_is_injected(kind: str, kubectl: Client, namespace: str, pillion: Release) -> None:
    """The controller's pod has the sidecar, and the sidecar prints the line."""
    annotations = pillion.annotations(logs="/logs/app.log")
    kubectl("create", "-n", namespace, "-f", "-", stdin=workload(kind, annotations))
    if kind == "CronJob":  # as its schedule would
        kubectl("create", "job", "app", "-n", namespace, "--from=cronjob/app")
        kubectl("patch", "cronjob/app", "-n", namespace, "--type=merge", '-p={"spec": {"suspend": true}}')
    named = ("get", "pods", "-n", namespace, "-l", "app=app", "-o", "json")
    assert wait_until(lambda: len(kubectl(*named)["items"]) > 0, SECONDS, poll=0.2)
    pod = kubectl(*named)["items"][0]
    assert sidecars(pod) == ["pillion-tail"]
    started = ("wait", "-n", namespace, f"pod/{pod['metadata']['name']}", f"--timeout={SECONDS:.0f}s")
    ended = "Job" in kind
    kubectl(*started, "--for=jsonpath={.status.phase}=Succeeded" if ended else "--for=condition=Ready")
    assert prints(kubectl, namespace, pod["metadata"]["name"], ["a line"])


def silent_pod(name: str = "app") -> dict[str, Any]:
    """Return a pod that says nothing, and mounts a volume where the profile's logs are."""
    pod = annotated_pod({}, name=name, volumes=[{"name": "logs", "emptyDir": {}}])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "logs", "mountPath": "/var/log/app"}]
    return pod


def test_a_label_opts_a_namespace_in(kubectl: Client, new_namespace: NewNamespace, pillion: Release) -> None:
    """A pod without annotations is injected if it has a place for logs, and left alone if it has none."""
    namespace = new_namespace(labels={f"{pillion.prefix}inject": "true"})
    assert sidecars(created(kubectl, namespace, silent_pod())) == ["pillion-tail"]
    assert sidecars(created(kubectl, namespace, annotated_pod({}, name="without-logs"))) == []
    assert created(kubectl, new_namespace(), silent_pod())["spec"].get("initContainers") is None


@pytest.mark.parametrize("value", ["true", "false", "yes"])
def test_only_the_labels_value_true_opts_in(
    value: str, kubectl: Client, new_namespace: NewNamespace, pillion: Release
) -> None:
    """Any other value is as no label: pods that ask are injected, others are not."""
    namespace = new_namespace(labels={f"{pillion.prefix}inject": value})
    silent = created(kubectl, namespace, silent_pod("silent"))
    asking = created(kubectl, namespace, annotated_pod(pillion.annotations(logs="/logs/app.log"), name="asking"))
    assert bool(sidecars(silent)) == (value == "true")
    assert sidecars(asking) == ["pillion-tail"]


def test_a_label_in_place_of_the_annotation_is_told(kubectl: Client, namespace: str, pillion: Release) -> None:
    """The pod reaches the webhook, is left as it is, and its author learns what to write."""
    pod = annotated_pod({})
    pod["metadata"]["labels"] = {f"{pillion.prefix}inject": "true"}
    answer = kubectl.attempt("create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-", stdin=pod)
    assert f"{pillion.prefix}inject: has no effect as a label of the pod; write it as an annotation" in answer.stderr
    assert sidecars(json.loads(answer.stdout)) == []


@pytest.mark.parametrize("opted_in", [False, True])
def test_inject_false_wins(opted_in: bool, kubectl: Client, new_namespace: NewNamespace, pillion: Release) -> None:
    """Whatever the namespace says."""
    namespace = new_namespace(labels={f"{pillion.prefix}inject": "true"} if opted_in else {})
    made = created(kubectl, namespace, annotated_pod(pillion.annotations(inject="false", logs="/logs/app.log")))
    assert sidecars(made) == []


def test_an_annotated_pod_in_a_labelled_namespace_is_reviewed_once(
    kubectl: Client, new_namespace: NewNamespace, pillion: Release
) -> None:
    """The two entries never both match."""
    namespace = new_namespace(labels={f"{pillion.prefix}inject": "true"})
    made = created(kubectl, namespace, annotated_pod(pillion.annotations(logs="/logs/app.log")))
    assert sidecars(made) == ["pillion-tail"]
    assert reviewed(pillion, namespace) == 1


def test_what_does_not_ask_is_never_sent(kubectl: Client, new_namespace: NewNamespace, pillion: Release) -> None:
    """Pods without our annotations, and refusing ones of labelled namespaces, cost no request."""
    plain, labelled = new_namespace(), new_namespace(labels={f"{pillion.prefix}inject": "true"})
    created(kubectl, plain, annotated_pod({"example.org/inject": "true"}))
    created(kubectl, labelled, annotated_pod(pillion.annotations(inject="false")))
    created(kubectl, plain, annotated_pod(pillion.annotations(), name="asking"))
    assert (reviewed(pillion, plain), reviewed(pillion, labelled)) == (1, 0)


@pytest.mark.parametrize("where", ["kube-system", "pillion-system"])
@pytest.mark.parametrize("labelled", [False, True])
def test_kube_system_and_our_own_namespace_never_reach_us(
    where: str, labelled: bool, kubectl: Client, pillion: Release
) -> None:
    """Neither by annotation nor by label: no request arrives, and the pod stays as it is."""
    container = {"name": "app", "image": "busybox:1.36", "securityContext": RESTRICTED}
    asking = annotated_pod(pillion.annotations(logs="/logs/app.log"), container)
    before = reviewed(pillion, where)
    label = f"{pillion.prefix}inject"
    if labelled:
        kubectl("label", "namespace", where, f"{label}=true")
    try:
        made = kubectl("create", "--dry-run=server", "-n", where, "-o", "json", "-f", "-", stdin=asking)
    finally:
        if labelled:
            kubectl("label", "namespace", where, f"{label}-")
    assert sidecars(made) == []
    assert reviewed(pillion, where) == before


def test_a_dry_run_creates_nothing(kubectl: Client, namespace: str, pillion: Release) -> None:
    """The answer shows the sidecar, and no pod is there."""
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    made = kubectl("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
    assert sidecars(made) == ["pillion-tail"]
    assert kubectl("get", "pods", "-n", namespace, "-o", "name") == ""


def test_an_exported_pod_is_created_again(kubectl: Client, namespace: str, pillion: Release) -> None:
    """`kubectl get -o yaml` under another name: the same containers, one sidecar, and it runs."""
    first = created(kubectl, namespace, annotated_pod(pillion.annotations(logs="/logs/app.log")))
    yaml = kubectl("get", "pod", "app", "-n", namespace, "-o", "yaml")
    exported = yaml.replace("  name: app\n  namespace:", "  name: again\n  namespace:")
    assert exported != yaml
    kubectl("create", "-n", namespace, "-f", "-", stdin=exported)
    again = kubectl("get", "pod", "again", "-n", namespace, "-o", "json")
    assert sidecars(again) == sidecars(first) == ["pillion-tail"]
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/again")
    assert prints(kubectl, namespace, "again", ["a line"])


def test_a_mistake_is_told_to_the_person_who_made_it(kubectl: Client, namespace: str, pillion: Release) -> None:
    """Kubectl prints the warning, and the pod is created without a sidecar."""
    answer = kubectl.attempt(
        *("create", "-n", namespace, "-o", "json", "-f", "-"),
        stdin=annotated_pod(pillion.annotations(logs="logs/app.log")),
    )
    assert answer.returncode == 0
    assert answer.stderr.startswith("Warning: ")
    assert "logs/app.log" in answer.stderr


def created(kubectl: Client, namespace: str, pod: dict[str, Any]) -> Any:
    """Create a pod and return what the API server made of it."""
    return kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)


def reviewed(release: Release, namespace: str) -> int:
    """Return how many reviews of a namespace's pods arrived."""
    return sum(line["namespace"] == namespace for line in release.reviews())
