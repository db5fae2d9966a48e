"""Tests of webhook.cli.workloads: where pods are, and the way back."""

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import pods
from webhook import documents
from webhook.cli.workloads import KINDS, Review, Workload, operations, opted_in, patched, review, workloads
from webhook.configuration import load
from webhook.documents import Document
from webhook.injection.profile import Configuration

ASKS = {"pillion.dev/inject": "true"}
SPEC = {"containers": [{"name": "app", "image": "shop"}]}
VERSIONS = {"": "v1", "apps": "apps/v1", "batch": "batch/v1"}


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Return the built-in configuration."""
    return load(None)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a mapping that has the value at the path."""
    for key in reversed(path):
        value = {key: value}
    found: dict[str, Any] = value
    return found


def manifest(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the kind with that pod template, or that pod."""
    group, path = KINDS[kind]
    head = {"apiVersion": VERSIONS[group], "kind": kind, "metadata": {"name": "shop"}}
    if not path:
        return head | template | {"metadata": {"name": "shop"} | (template.get("metadata") or {})}
    return head | nested(path, template)


def document(value: Any) -> Document:
    """Return a value as a document of app.yaml."""
    (found,) = documents.read(documents.as_yaml(value), "app.yaml")
    return found


def only(value: Any) -> Workload:
    """Return the one workload in a value."""
    (found,) = workloads(document(value), "default")
    return found


def reviewed(value: Any, configuration: Configuration) -> Review:
    """Return the review of the one workload in a value."""
    return review(only(value), configuration, namespace_opted_in=False)


@pytest.mark.parametrize("kind", KINDS)
def test_finds_the_pod_of_every_kind(kind: str, configuration: Configuration) -> None:
    """Each kind's pod is injected where it is, and nothing else changes."""
    value = manifest(kind, {"metadata": {"annotations": ASKS}, "spec": SPEC})
    found = reviewed(value, configuration)
    assert found.verdict.injected
    result = patched(found.workload.document, [found])
    spec = result
    for key in (*KINDS[kind].template, "spec"):
        spec = spec[key]
    assert [item["name"] for item in spec["initContainers"]] == ["pillion-tail"]
    assert result["metadata"].keys() == value["metadata"].keys() | ({"annotations"} if kind == "Pod" else set())


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"apiVersion": "batch.volcano.sh/v1", "kind": "Job", "metadata": {"name": "x"}}, id="other-group"),
        pytest.param({"kind": "Pod", "metadata": {"name": "x"}}, id="no-apiVersion"),
        pytest.param({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}, id="other-kind"),
        pytest.param({"replicas": 1}, id="values-file"),
        pytest.param({"apiVersion": "v1", "kind": ["Pod"]}, id="kind-is-no-text"),
    ],
)
def test_leaves_other_kinds_alone(value: dict[str, Any]) -> None:
    """What only looks like a workload is none."""
    assert workloads(document(value), "default") == []


def test_knows_the_old_group() -> None:
    """Manifests from before apps/v1 are found."""
    value = manifest("Deployment", {"spec": SPEC}) | {"apiVersion": "extensions/v1beta1"}
    assert only(value).title == "Deployment/shop"


def test_looks_into_lists(configuration: Configuration) -> None:
    """Every item of a List is found, in lists in lists too, and patched where it is."""
    pod = manifest("Pod", {"metadata": {"annotations": ASKS}, "spec": SPEC})
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}}
    inner = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "one"}, "spec": {}}]}
    value = {"apiVersion": "v1", "kind": "List", "items": [service, inner, pod]}
    found = workloads(document(value), "default")
    assert [item.title for item in found] == ["Deployment/one", "Pod/shop"]
    result = patched(found[0].document, [review(item, configuration, namespace_opted_in=False) for item in found])
    assert result["items"][:2] == [service, inner]
    assert "initContainers" in result["items"][2]["spec"]


def test_a_pod_is_reviewed_as_its_controller_creates_it(configuration: Configuration) -> None:
    """The template's pod has a namespace and a generated name, and is being created."""
    value = manifest("Deployment", {"metadata": {"annotations": ASKS}, "spec": SPEC})
    value["metadata"]["namespace"] = "shop"
    request = reviewed(value, configuration).verdict.request
    assert (request.operation, request.namespace, request.pod_name) == ("CREATE", "shop", "shop-*")


def test_claims_are_volumes_of_the_pod_but_not_of_the_template(configuration: Configuration) -> None:
    """A StatefulSet's claim is reused as a PVC, and the patch does not write it into the template."""
    container = {"name": "db", "image": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    annotations = ASKS | {"pillion.dev/logs": "/data/db.log"}
    value = manifest("StatefulSet", {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}})
    value["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": {}}]
    found = reviewed(value, configuration)
    assert found.verdict.plan is not None
    assert found.verdict.plan.reused == ["data"]
    template = patched(found.workload.document, [found])["spec"]["template"]
    assert "data" not in [volume["name"] for volume in template["spec"]["volumes"]]
    assert found.verdict.plan.new_volumes == []


def test_a_claim_replaces_a_volume_of_its_name() -> None:
    """As its controller does: the claim wins, and the template's volume is not seen."""
    value = manifest("StatefulSet", {"spec": SPEC | {"volumes": [{"name": "data", "emptyDir": {}}]}})
    value["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}, None, {"metadata": None}]
    assert only(value).pod()["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-shop-0"}}
    ]


@pytest.mark.parametrize("metadata", [None, {}, {"annotations": None}, "absent"])
@pytest.mark.parametrize("volumes", [None, [], "absent"])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_makes_what_a_template_lacks(kind: str, metadata: Any, volumes: Any, configuration: Configuration) -> None:
    """Null, empty and missing metadata and volumes are made by the patch."""
    template: dict[str, Any] = {"metadata": metadata, "spec": SPEC | {"volumes": volumes}}
    if metadata == "absent":
        del template["metadata"]
    if volumes == "absent":
        del template["spec"]["volumes"]
    value = manifest(kind, template)
    value["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    found = review(only(value), configuration, namespace_opted_in=True)
    assert found.verdict.injected
    result = patched(found.workload.document, [found])["spec"]["template"]
    assert "pillion.dev/status" in result["metadata"]["annotations"]
    assert "pillion-logs-1" in [volume["name"] for volume in result["spec"]["volumes"]]


@settings(deadline=None)
@given(pods(), st.sampled_from(sorted(set(KINDS) - {"Pod"})))
def test_a_template_becomes_what_a_pod_becomes(pod: dict[str, Any], kind: str) -> None:
    """Injected into a template or into a pod: the spec and the annotations are the same."""
    configuration = load(None)
    metadata = {"annotations": (pod.get("metadata") or {}).get("annotations")}
    single = manifest("Pod", {"metadata": metadata, "spec": pod["spec"]})
    template = manifest(kind, {"metadata": metadata, "spec": pod["spec"]})
    results = []
    for value in (single, template):
        found = review(only(value), configuration, namespace_opted_in=True)
        result = patched(found.workload.document, [found])
        for key in found.workload.template_path:
            result = result[key]
        results.append((result["spec"], result["metadata"]["annotations"]))
    assert results[0] == results[1]


@settings(deadline=None)
@given(pods())
def test_the_patch_is_what_the_text_says(pod: dict[str, Any]) -> None:
    """The printed manifest and the printed JSON Patch are one and the same change."""
    value = manifest("Deployment", {"metadata": pod.get("metadata"), "spec": pod["spec"]})
    found = review(only(value), load(None), namespace_opted_in=True)
    text = documents.edited(found.workload.document, operations([found]))
    (again,) = documents.read(text, "app.yaml")
    assert again.value == jsonpatch.apply_patch(value, json.loads(json.dumps(found.patch)))


class TestNamespaces:
    """Namespaces that opt in."""

    @pytest.mark.parametrize(
        ("labels", "names"),
        [
            ({"pillion.dev/inject": "true"}, {"shop"}),
            ({"pillion.dev/inject": "false"}, set()),
            ({"pillion.dev/inject": True}, set()),
            ({}, set()),
            (None, set()),
        ],
    )
    def test_are_labelled(self, labels: Any, names: set[str]) -> None:
        """Only the label's text "true" counts, as it does for the cluster's selector."""
        value = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
        assert opted_in([document(value)], "pillion.dev/") == names

    def test_the_prefix_is_a_setting(self) -> None:
        """The label has the annotations' prefix."""
        value = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "a", "labels": {"logs.example/inject": "true"}},
        }
        assert opted_in([document(value)], "logs.example/") == {"a"}


class TestWarnings:
    """What a manifest's author is told and a cluster can't know."""

    @pytest.mark.parametrize(
        ("value", "what"),
        [(True, "the boolean true"), (1, "the number 1"), (None, "null"), (["true"], "no text")],
    )
    def test_an_annotation_that_is_no_text(self, value: Any, what: str, configuration: Configuration) -> None:
        """YAML's ``inject: true`` is no text: the line and the cure are named, and nothing is injected."""
        pod = manifest("Pod", {"metadata": {"annotations": {"pillion.dev/inject": value}}, "spec": SPEC})
        found = reviewed(pod, configuration)
        assert found.patch == []
        (warning,) = found.warnings
        assert warning.startswith(f"line 6: pillion.dev/inject is {what}, which the API server refuses; write ")

    def test_annotations_in_the_wrong_place(self, configuration: Configuration) -> None:
        """Annotations on the workload itself do nothing; the right place is named."""
        value = manifest("CronJob", {"spec": SPEC})
        value["metadata"]["annotations"] = ASKS
        (warning,) = reviewed(value, configuration).warnings
        assert warning == (
            "pillion.dev/inject is on the CronJob, where it does nothing; "
            "move it to spec.jobTemplate.spec.template.metadata.annotations"
        )


def test_long_documents_of_other_kinds_are_not_read() -> None:
    """A bundle of CRDs costs nothing: only what may hold a pod is parsed."""
    padding = "# " + "x" * 20_000
    (other,) = documents.read(f"{padding}\nkind: CustomResourceDefinition\n\tbroken", "crd.yaml")
    assert workloads(other, "default") == []
    (own,) = documents.read(f"{padding}\napiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\n", "pod.yaml")
    assert len(workloads(own, "default")) == 1
