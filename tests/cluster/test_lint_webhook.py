"""The warnings at `kubectl apply`: which workloads the API server asks about, and what it passes on."""

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .client import Client
from .conftest import NewNamespace
from .control_plane import ApiServer
from .local_webhook import LocalWebhook, local_webhook
from .processes import wait_until

pytestmark = pytest.mark.cluster

SECONDS = 20.0
DEPLOYMENTS = 100
#: The kinds that the operator lists, by resource: one that nobody knows, and one whose template no condition names.
ROLLOUTS, SCALED_JOBS = "rollouts.shop.example.org", "scaledjobs.keda.sh"
KINDS = {ROLLOUTS: "Rollout", SCALED_JOBS: "ScaledJob"}
WRONG = {"pillion.dev/inject": "true", "pillion.dev/logs": "logs/app.log"}
TOLD = 'not injected: pillion.dev/logs "logs/app.log": must begin with /; write /logs/app.log'
MOVE = "move it to spec.template.metadata.annotations"

Apply = Callable[..., list[str]]


@pytest.fixture(scope="module")
def webhook(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWebhook]:
    """Yield the server with the chart's entries for Kubernetes' own kinds and two of an operator's."""
    kubectl = apiserver.kubectl
    definitions = {"apiVersion": "v1", "kind": "List", "items": [definition(name) for name in KINDS]}
    resources = {group: [plural] for plural, _, group in (name.partition(".") for name in KINDS)}
    kubectl("create", "-f", "-", stdin=definitions)
    folder = tmp_path_factory.mktemp("webhook")
    try:
        kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in KINDS))
        with local_webhook(kubectl, folder, lint={"resources": resources}) as found:
            assert wait_until(lambda: bool(told(kubectl, deployment(WRONG))), SECONDS, poll=0.2)
            yield found
    finally:
        kubectl("delete", "-f", "-", stdin=definitions)


@pytest.fixture
def apply(webhook: LocalWebhook, apiserver: ApiServer, namespace: str) -> Apply:  # noqa: ARG001 — it must answer
    """Return what applies an object and returns the warnings."""
    return lambda manifest, where=namespace: told(apiserver.kubectl, manifest, "-n", where)


@pytest.fixture
def dry_run(webhook: LocalWebhook, apiserver: ApiServer) -> Apply:  # noqa: ARG001 — it must answer
    """Return what does so without creating anything."""
    return lambda manifest: told(apiserver.kubectl, manifest, "--dry-run=server")


def told(kubectl: Client, manifest: Any, *options: str) -> list[str]:
    """Apply an object and return the warnings."""
    answer = kubectl.attempt("apply", *(options or ("--dry-run=server",)), "-f", "-", stdin=manifest)
    assert answer.returncode == 0, answer.stderr
    return [line.removeprefix("Warning: ") for line in answer.stderr.splitlines()]


def definition(name: str) -> dict[str, Any]:
    """Return a CustomResourceDefinition that takes anything, with the subresources scale and status."""
    plural, _, group = name.partition(".")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": plural[:-1], "kind": KINDS[name]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": [version | {"subresources": {"status": {}, "scale": scale}}],
        },
    }


def template(annotations: dict[str, str], **pod: Any) -> dict[str, Any]:
    """Return a pod template."""
    spec = {"containers": [{"name": "app", "image": "shop"}], **pod}
    return {"metadata": {"labels": {"app": "shop"}, "annotations": annotations}, "spec": spec}


def deployment(annotations: dict[str, str], name: str = "shop") -> dict[str, Any]:
    """Return a Deployment whose template has these annotations."""
    spec = {"selector": {"matchLabels": {"app": "shop"}}, "template": template(annotations)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def custom(name: str, spec: Any) -> dict[str, Any]:
    """Return a custom resource."""
    group = name.partition(".")[2]
    return {"apiVersion": f"{group}/v1", "kind": KINDS[name], "metadata": {"name": "shop"}, "spec": spec}


def controller(kind: str) -> dict[str, Any]:
    """Return an object of a built-in kind whose template is wrong."""
    manifest = deployment(WRONG) | {"kind": kind}
    never = template(WRONG, restartPolicy="Never")
    match kind:
        case "StatefulSet":
            manifest["spec"]["serviceName"] = "shop"
        case "Job":
            manifest |= {"apiVersion": "batch/v1", "spec": {"template": never}}
        case "CronJob":
            spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": never}}}
            manifest |= {"apiVersion": "batch/v1", "spec": spec}
    return manifest


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"])
def test_a_wrong_annotation_is_told_at_apply(dry_run: Apply, kind: str) -> None:
    """Whoever applies it reads what its pods' controller would."""
    assert dry_run(controller(kind)) == [f"{kind}/shop: {TOLD}"]


@pytest.mark.parametrize(
    ("metadata", "labels", "warning"),
    [
        (
            {"annotations": {"pillion.dev/inject": "true"}},
            {},
            f"pillion.dev/inject is on the Deployment, where it does nothing; {MOVE}",
        ),
        (
            {},
            {"pillion.dev/inject": "true"},
            f"pillion.dev/inject is a label, which does nothing; {MOVE}",
        ),
    ],
    ids=["on the workload", "as a label"],
)
def test_a_key_in_the_wrong_place_is_told(
    dry_run: Apply, metadata: dict[str, Any], labels: dict[str, str], warning: str
) -> None:
    """Nothing asks for these pods, so no review of a pod could tell."""
    manifest = deployment({})
    manifest["metadata"] |= metadata
    manifest["spec"]["template"]["metadata"]["labels"] |= labels
    assert dry_run(manifest) == [f"Deployment/shop: {warning}"]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        pytest.param(ROLLOUTS, {"template": template(WRONG)}, id="spec.template"),
        pytest.param(ROLLOUTS, {"jobTemplate": {"spec": {"template": template(WRONG)}}}, id="jobTemplate"),
        pytest.param(ROLLOUTS, {"template": {"spec": {"template": template(WRONG)}}}, id="template of templates"),
        pytest.param(SCALED_JOBS, {"jobTargetRef": {"template": template(WRONG)}}, id="where no condition looks"),
    ],
)
def test_a_custom_kind_is_told(dry_run: Apply, name: str, spec: dict[str, Any]) -> None:
    """Wherever it has its template."""
    assert dry_run(custom(name, spec)) == [f"{KINDS[name]}/shop: {TOLD}"]


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"template": None},
        {"template": "text"},
        {"template": {"metadata": None, "spec": None}},
        {"template": {"metadata": {"annotations": None, "labels": ["pillion.dev/inject"]}}},
        {"jobTemplate": {"spec": {}}},
        {"replicas": 3},
        "text",
        ["pillion.dev/inject"],
        5,
    ],
    ids=str,
)
def test_no_shape_of_a_custom_object_is_refused(apiserver: ApiServer, webhook: LocalWebhook, spec: Any) -> None:
    """A condition that fails is as a server that does not answer: with the chart's policy the object is taken."""
    kubectl = apiserver.kubectl
    answer = kubectl.attempt("create", "--dry-run=server", "-f", "-", stdin=custom(ROLLOUTS, spec))
    assert "pillion" not in answer.stdout
    if isinstance(spec, dict | None):
        assert answer.returncode == 0, answer.stderr
    assert webhook.bugs() == []


def test_what_a_controller_owns_is_never_sent(
    apply: Apply, apiserver: ApiServer, webhook: LocalWebhook, namespace: str
) -> None:
    """The author of the Deployment has been told; its ReplicaSets tell nobody."""
    kubectl = apiserver.kubectl
    apply(deployment(WRONG))
    made = kubectl("get", "deployment/shop", "-n", namespace, "-o", "json")
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": made["metadata"]["uid"]}
    owned = controller("ReplicaSet")
    owned["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    before = len(webhook.lints())
    assert apply(owned) == []
    assert len(webhook.lints()) == before
    owned["metadata"] |= {"name": "loose", "ownerReferences": [owner]}
    assert apply(owned) == [f"ReplicaSet/loose: {TOLD}"]


def test_an_update_of_nothing_of_ours_is_silent(
    apply: Apply, apiserver: ApiServer, webhook: LocalWebhook, namespace: str
) -> None:
    """Scaling, a label and a status are never sent; a new image is. An update that corrects it is silent, too."""
    kubectl = apiserver.kubectl
    manifest = deployment(WRONG)
    apply(manifest)
    apply(custom(ROLLOUTS, {"template": template(WRONG), "replicas": 1}))
    before = len(webhook.lints())
    for name in ("deployment/shop", f"{ROLLOUTS}/shop"):
        for words in (("scale", "--replicas=3"), ("label", "team=shop"), ("annotate", "team=shop")):
            assert kubectl.attempt(words[0], name, *words[1:], "-n", namespace).stderr == ""
        status = '{"status": {"replicas": 3}}'
        patched = kubectl.attempt("patch", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
        assert (patched.returncode, patched.stderr) == (0, "")
    assert len(webhook.lints()) == before
    changed = copy.deepcopy(manifest)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"
    assert apply(changed) == [f"Deployment/shop: {TOLD}"]
    right = deployment({"pillion.dev/inject": "true", "pillion.dev/logs": "/logs/app.log"})
    assert apply(right) == []
    assert len(webhook.lints()) == before + 2


def test_a_key_that_an_update_adds_is_told(apply: Apply, apiserver: ApiServer, namespace: str) -> None:
    """On the object itself, whose template stays as it was."""
    apply(deployment({}))
    answer = apiserver.kubectl.attempt("annotate", "-n", namespace, "deployment/shop", "pillion.dev/inject=true")
    assert "pillion.dev/inject is on the Deployment, where it does nothing" in answer.stderr


def test_a_namespace_that_opted_in_asks_for_every_workload(
    apply: Apply, new_namespace: NewNamespace, webhook: LocalWebhook
) -> None:
    """Its label alone is told of, which no annotation would have the API server send elsewhere."""
    bare = deployment({})
    mount = {"name": "logs", "mountPath": "/var/log/app"}
    container = {"name": "app", "image": "shop", "volumeMounts": [mount]}
    claim = {"name": "logs", "configMap": {"name": "logs"}}
    logs = {"pillion.dev/logs": "/var/log/app/*.log"}
    bare["spec"]["template"] = template(logs, containers=[container], volumes=[claim])
    opted_in = new_namespace(labels={"pillion.dev/inject": "true"})
    (warning,) = apply(bare, opted_in)
    assert warning.startswith("Deployment/shop: not injected: ")
    (warning,) = apply(bare)
    assert warning == 'Deployment/shop: pillion.dev/logs: has no effect without pillion.dev/inject: "true"'
    before = len(webhook.lints())
    plain = deployment({}, name="plain")
    assert apply(plain, opted_in) == apply(plain) == []
    assert [line["namespace"] for line in webhook.lints()[before:]] == [opted_in]


def test_a_rollout_of_a_hundred_deployments_costs_little(
    apply: Apply, apiserver: ApiServer, webhook: LocalWebhook, namespace: str, record_property: Callable[..., None]
) -> None:
    """Each is created, and then gets another image: less than a second of a processor."""
    names = [f"shop-{number}" for number in range(DEPLOYMENTS)]
    items = [deployment({"pillion.dev/inject": "true", "pillion.dev/logs": "/logs/*.log"}, name) for name in names]
    before, asked = webhook.cpu_seconds(), len(webhook.lints())
    apply({"apiVersion": "v1", "kind": "List", "items": items})
    apiserver.kubectl("set", "image", "deployments", "--all", "app=shop:2", "-n", namespace)
    used, lints = webhook.cpu_seconds() - before, len(webhook.lints()) - asked
    record_property("cpu_seconds", used)
    sys.stdout.write(f"{lints} lints: {used:.3f} s of a processor\n")
    assert lints == 2 * DEPLOYMENTS
    assert used < 1
