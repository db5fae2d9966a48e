"""Tests of webhook.workloads.reports and workload: where pods are, and the way back."""

import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import broken, pods
from tests.workloads.examples import ANY_OBJECTS, ASKS, SPEC, document, examined, manifest, texts
from webhook import documents
from webhook.configuration import load
from webhook.injection.profile import Configuration
from webhook.workloads.objects import RemarkSeverity, objects
from webhook.workloads.reports import Review, examine, opted_in_namespaces, review
from webhook.workloads.templates import KUBERNETES
from webhook.workloads.workload import Workload, operations, patched, workloads

KIND_NAMES = [kind.name for kind in KUBERNETES]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Return the built-in configuration."""
    return load(None)


def only(value: Any) -> Workload:
    """Return the one workload in a value."""
    (found,) = workloads(document(value), "default")
    return found


def reviewed(value: Any, configuration: Configuration) -> Review:
    """Return the review of the one workload in a value."""
    return review(only(value), configuration, namespace_opted_in=False)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_finds_the_pod_of_every_kind(kind: str, configuration: Configuration) -> None:
    """Each kind's pod is injected where it is, and nothing else changes."""
    value = manifest(kind, {"metadata": {"annotations": ASKS}, "spec": SPEC})
    found = reviewed(value, configuration)
    assert found.verdict.injected
    result = patched(found.workload.document, [found])
    spec = result
    for key in (*found.workload.template_path, "spec"):
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
    assert found.admission.plan is not None
    assert found.admission.plan.reused == ["data"]
    template = patched(found.workload.document, [found])["spec"]["template"]
    assert "data" not in [volume["name"] for volume in template["spec"]["volumes"]]
    assert found.admission.plan.new_volumes == []


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
def test_makes_what_a_template_lacks(kind: str, metadata: Any, volumes: Any, tmp_path: Path) -> None:
    """Null, empty and missing metadata and volumes are made by the patch."""
    (tmp_path / "pillion.yaml").write_text("profiles: {tail: {injectAll: true}}")
    configuration = load(tmp_path / "pillion.yaml")
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
@given(pods(), st.sampled_from([name for name in KIND_NAMES if name != "Pod"]))
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
        assert opted_in_namespaces(objects(document(value), "default"), "pillion.dev/") == names

    def test_the_prefix_is_a_setting(self) -> None:
        """The label has the annotations' prefix."""
        value = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "a", "labels": {"logs.example/inject": "true"}},
        }
        assert opted_in_namespaces(objects(document(value), "default"), "logs.example/") == {"a"}


class TestMistakes:
    """What the API server refuses before it asks the webhook."""

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (True, 'the boolean true, which the API server refuses; write "true", in quotes'),
            (1, 'the number 1, which the API server refuses; write "1", in quotes'),
            (["true"], "a list, which the API server refuses; write text"),
        ],
    )
    def test_an_annotation_that_is_no_text(self, value: Any, said: str, configuration: Configuration) -> None:
        """YAML's ``inject: true`` is no text: place and cure are named, and nothing is injected."""
        pod = manifest("Pod", {"metadata": {"annotations": {"pillion.dev/inject": value}}, "spec": SPEC})
        (report,) = examined(pod, configuration=configuration)
        assert report.reviews[0].patch == []
        assert texts(report) == [f"6:5: warning: not injected: pillion.dev/inject is {said}"]
        assert report.is_unmet

    def test_are_told_to_those_that_ask(self, configuration: Configuration) -> None:
        """A pod that has nothing to do with us is none of our business."""
        pod = manifest("Pod", {"metadata": {"annotations": {"example.com/x": 1}}, "spec": SPEC})
        (report,) = examined(pod, configuration=configuration)
        assert texts(report) == []
        (report,) = examined(pod, configuration=configuration, opted_in=True)
        assert texts(report) == [
            (
                '6:5: warning: not injected: metadata.annotations["example.com/x"] is the number 1, '
                'which the API server refuses; write "1", in quotes'
            )
        ]

    def test_are_limited(self, configuration: Configuration) -> None:
        """A list of a thousand numbers is one mistake, not a thousand lines."""
        spec = {"containers": [{"name": "app", "args": list(range(1000))}]}
        (report,) = examined(
            manifest("Pod", {"metadata": {"annotations": ASKS}, "spec": spec}), configuration=configuration
        )
        assert len(texts(report)) == 9
        assert texts(report)[-1].endswith("and 992 more that the API server refuses")


NULLS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: }}
spec:
  selector: {matchLabels: {app: }}
  template:
    metadata:
      labels: {app: , tier: }
      annotations:
        pillion.dev/inject: "true"
        pillion.dev/logs: /var/log/shop/*.log
        example.com/team:
    spec:
      nodeSelector: {disk: }
      containers:
      - name: app
        image: shop
        command: [run, null]
        args:
        -
        - --verbose
        env:
        - name: EMPTY
          value:
        resources:
          limits:
            memory:
          requests: {cpu: }
        volumeMounts:
        - {name: data, mountPath: /data, subPath: , readOnly: }
      imagePullSecrets: [{name: }]
      volumes:
      - name: data
        emptyDir:
"""


class TestNulls:
    """A null is what the API server makes of it: an empty text, 0, or nothing."""

    def test_are_injected(self, configuration: Configuration) -> None:
        """Every null that a template leaves behind gives the same patch as the value that it stands for."""
        filled = (
            NULLS.replace("tier: ", 'tier: ""')
            .replace("app: ,", 'app: "",')
            .replace("app: }", 'app: ""}')
            .replace("team:\n", 'team: ""\n')
            .replace("disk: }", 'disk: ""}')
            .replace("null]", '""]')
            .replace("-\n        - --v", '- ""\n        - --v')
            .replace("memory:\n", 'memory: "0"\n')
            .replace("cpu: }", 'cpu: "0"}')
            .replace("[{name: }]", '[{name: ""}]')
        )
        patches = []
        for text in (NULLS, filled):
            (report,) = examine(
                documents.read(text, "app.yaml"), configuration, namespace="default", namespace_opt_in=False
            )
            assert report.reviews[0].verdict.injected
            assert texts(report) == []
            patches.append(report.reviews[0].patch)
        assert patches[0] == patches[1]

    def test_stay_in_the_text(self, configuration: Configuration) -> None:
        """The edit is made in the manifest as it is written: nulls are not ours to fill in."""
        (read,) = documents.read(NULLS, "app.yaml")
        (report,) = examine([read], configuration, namespace="default", namespace_opt_in=False)
        text = documents.edited(read, operations(report.reviews))
        assert all(line in text.splitlines() for line in NULLS.splitlines())
        (again,) = documents.read(text, "app.yaml")
        assert again.value == jsonpatch.apply_patch(read.value, report.reviews[0].patch)

    def test_of_ours_are_empty_text(self, configuration: Configuration) -> None:
        """An annotation of ours without a value gets the verdict that the webhook would give."""
        pod = manifest("Pod", {"metadata": {"annotations": {"pillion.dev/inject": None}}, "spec": SPEC})
        (report,) = examined(pod, configuration=configuration)
        assert texts(report) == ['6:5: warning: not injected: pillion.dev/inject: write "true" or "false"']


class TestPatches:
    """Kustomize patches, which are no whole objects."""

    HINT = "a Kustomize or strategic-merge patch? Inject what kustomize build prints"

    @pytest.mark.parametrize(
        ("spec", "sign"),
        [
            ({"replicas": 2}, "it has no containers"),
            ({"containers": None}, "it has no containers"),
            ({"containers": [{"name": "app", "$patch": "delete"}]}, "it has $patch"),
            (
                {"containers": [{"name": "app"}], "$setElementOrder/containers": []},
                "it has $setElementOrder",
            ),
        ],
        ids=["none", "null", "directive", "order"],
    )
    def test_are_named_once(self, spec: Any, sign: str, configuration: Configuration) -> None:
        """A patch that carries our annotations is told what it is, in one line."""
        value = manifest("Deployment", {"metadata": {"annotations": ASKS}, "spec": spec})
        (report,) = examined(value, configuration=configuration)
        assert texts(report) == [f"9:9: warning: not injected: {sign}: {self.HINT}"]
        assert report.is_unmet

    def test_without_our_keys_are_left_in_peace(self, configuration: Configuration) -> None:
        """In an opted-in run nobody wants 86 warnings about patches."""
        value = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "$patch": "delete"}
        (report,) = examined(value, configuration=configuration, opted_in=True)
        assert texts(report) == []
        assert not report.is_unmet
        assert report.reviews[0].patch == []


class TestSeveralTemplates:
    """Objects that hold more than one pod template."""

    def test_are_all_injected(self, configuration: Configuration) -> None:
        """Each template has a review; their patches, one after the other, are one JSON Patch on the object."""
        template = {"metadata": {"annotations": ASKS}, "spec": SPEC}
        value = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "shop"},
            "spec": {
                "headGroupSpec": {"template": template},
                "workerGroupSpecs": [{"template": template}, {"template": {"spec": SPEC}}],
            },
        }
        (report,) = examined(value, configuration=configuration)
        assert [review.verdict.injected for review in report.reviews] == [True, True, False]
        operations = [operation for review in report.reviews for operation in review.patch]
        result = jsonpatch.apply_patch(report.item.document.value, json.loads(json.dumps(operations)))
        assert result == patched(report.item.document, report.reviews)
        spec = result["spec"]
        assert "initContainers" in spec["headGroupSpec"]["template"]["spec"]
        assert ["initContainers" in group["template"]["spec"] for group in spec["workerGroupSpecs"]] == [True, False]

    def test_are_told_apart(self, configuration: Configuration) -> None:
        """A remark stands at the template that it is about."""
        bad: Any = {"metadata": {"annotations": ASKS | {"pillion.dev/logs": "x.log"}}, "spec": SPEC}
        value: Any = {
            "apiVersion": "batch.volcano.sh/v1alpha1",
            "kind": "Job",
            "metadata": {"name": "shop"},
            "spec": {"tasks": [{"template": {"spec": SPEC}}, {"template": bad}]},
        }
        (report,) = examined(value, configuration=configuration)
        (text,) = texts(report)
        lines = documents.as_yaml(value).splitlines()
        line, column, _ = text.split(":", 2)
        assert lines[int(line) - 1][int(column) - 1 :].startswith("pillion.dev/logs: x.log")


class TestUnmet:
    """Asked and not injected: what ``--strict`` fails for."""

    @pytest.mark.parametrize(
        ("metadata", "spec", "unmet"),
        [
            pytest.param({"annotations": ASKS}, {}, False, id="injected"),
            pytest.param({}, {}, False, id="nobody-asks"),
            pytest.param({"annotations": {"pillion.dev/inject": "false"}}, {}, False, id="refuses"),
            pytest.param(
                {"annotations": {"pillion.dev/inject": "false", "pillion.dev/logs": "x"}}, {}, False, id="off"
            ),
            pytest.param({"annotations": {"pillion.dev/inject": "yes"}}, {}, True, id="bad-annotation"),
            pytest.param({"annotations": {"pillion.dev/logs": "/x/*.log"}}, {}, True, id="without-inject"),
            pytest.param({"annotations": ASKS | {"pillion.dev/lgs": "/x/*.log"}}, {}, True, id="misspelt"),
            pytest.param({"annotations": ASKS | {"pillion.dev/logs": "/etc/*.log"}}, {}, True, id="plan"),
            pytest.param({"annotations": ASKS}, {"os": {"name": "windows"}}, True, id="windows"),
            pytest.param({"annotations": ASKS | {"kubernetes.io/config.mirror": "x"}}, {}, True, id="mirror"),
            pytest.param({"annotations": ASKS, "labels": {"pillion.dev/component": "x"}}, {}, True, id="own-pod"),
            pytest.param({"labels": ASKS}, {}, True, id="label"),
            pytest.param({"annotations": ASKS, "labels": ASKS}, {}, False, id="label-too"),
        ],
    )
    def test_is_said_whatever_the_reason(
        self, metadata: Any, spec: Any, unmet: bool, configuration: Configuration
    ) -> None:
        """A pod that asks and is not injected as it asks is always told so, and counts."""
        value = manifest("Deployment", {"metadata": metadata, "spec": SPEC | spec})
        (report,) = examined(value, configuration=configuration)
        assert report.is_unmet is unmet
        assert [remark.severity for remark in report.remarks_for(strict=True)].count(RemarkSeverity.ERROR) >= unmet

    def test_a_namespace_asks_for_what_can_be_done(self, configuration: Configuration) -> None:
        """Where only the namespace asks, a Windows pod is no failure, an impossible plan is one."""
        windows = manifest("Pod", {"spec": SPEC | {"os": {"name": "windows"}}})
        (report,) = examined(windows, configuration=configuration, opted_in=True)
        assert not report.is_unmet


@settings(deadline=None)
@given(ANY_OBJECTS, st.booleans())
def test_nothing_raises(value: dict[str, Any], opted_in: bool) -> None:
    """Whatever stands in an object: it is reviewed, its remarks lie in the file, and its patch can be applied."""
    for report in examined(value, configuration=load(None), opted_in=opted_in):
        text = report.item.document.text.splitlines()
        for remark in report.remarks_for(strict=True):
            line, column = remark.position
            assert 1 <= line <= len(text)
            assert 1 <= column <= len(text[line - 1]) + 1
        for found in report.reviews:
            jsonpatch.apply_patch(found.workload.manifest, json.loads(json.dumps(found.patch)))


@settings(deadline=None)
@given(broken(), st.sampled_from([name for name in KIND_NAMES if name != "Pod"]))
def test_broken_templates_are_told_or_injected(pod: dict[str, Any], kind: str) -> None:
    """A pod with values of wrong types, or nulls, is injected by a patch that can be applied, or left alone."""
    if isinstance(pod["metadata"], dict) and isinstance(pod["metadata"].get("annotations"), dict):
        pod["metadata"]["annotations"] |= ASKS
    (report,) = examined(manifest(kind, pod), configuration=load(None), opted_in=True)
    for found in report.reviews:
        assert found.verdict.error is None
        assert found.verdict.injected == bool(found.patch)
        assert "Expected" not in str(found.remarks)
        jsonpatch.apply_patch(found.workload.manifest, json.loads(json.dumps(found.patch)))


def test_long_documents_of_other_kinds_are_not_read() -> None:
    """A bundle of CRDs costs nothing: only what may hold a pod is parsed."""
    padding = "# " + "x" * 20_000
    (other,) = documents.read(f"{padding}\nkind: CustomResourceDefinition\n\tbroken", "crd.yaml")
    assert workloads(other, "default") == []
    (own,) = documents.read(f"{padding}\napiVersion: v1\nkind: Pod\nspec: {{containers: []}}\n", "pod.yaml")
    assert len(workloads(own, "default")) == 1
    (named,) = documents.read(f"{padding}\nkind: ConfigMap\nmetadata: {{annotations: {{pillion.dev/x: x}}}}", "c.yaml")
    assert [item.kind for item in objects(named, "default", "pillion.dev/")] == ["ConfigMap"]


@pytest.mark.parametrize(("count", "said"), [(1, 1), (20, 9)])
def test_duplicate_keys_are_told(count: int, said: int, configuration: Configuration) -> None:
    """The last one counts for kubectl: ours may be lost in the one before. Of very many the first are named."""
    text = documents.as_yaml(manifest("Pod", {"metadata": {"annotations": ASKS}, "spec": SPEC}))
    text += "".join(f"x{number}: 1\nx{number}: 2\n" for number in range(count))
    (report,) = examine(documents.read(text, "app.yaml"), configuration, namespace="default", namespace_opt_in=False)
    found = [remark.text for remark in report.remarks]
    assert len(found) == said
    assert found[0].startswith('duplicate key "x0": the last one counts; the one before is at ')
    assert found[-1].startswith('duplicate key "x0"' if count == 1 else "and 12 more duplicate keys")


def test_duplicate_keys_where_nothing_is_ours_are_no_concern(configuration: Configuration) -> None:
    """They are read as kubectl reads them, and nothing is edited."""
    text = documents.as_yaml(manifest("Pod", {"spec": SPEC})) + "x: 1\nx: 2\n"
    (report,) = examine(documents.read(text, "app.yaml"), configuration, namespace="default", namespace_opt_in=False)
    assert report.remarks == []
