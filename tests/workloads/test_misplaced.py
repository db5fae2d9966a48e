"""Tests of webhook.workloads.misplaced: our keys where they do nothing."""

from typing import Any

import pytest

from tests.workloads.examples import ASKS, SPEC, document, examined, manifest, texts
from webhook import documents
from webhook.configuration import load
from webhook.injection.profile import Configuration
from webhook.workloads.misplaced import keys_of
from webhook.workloads.reports import Report, examine

INJECT = "pillion.dev/inject"


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Return the built-in configuration."""
    return load(None)


def reports(text: str, configuration: Configuration) -> list[Report]:
    """Return the reports on a stream."""
    read = documents.read(text, "app.yaml")
    return examine(read, configuration, namespace="default", namespace_opt_in=False)


CRONJOB = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: close
spec:
  jobTemplate:
    metadata:
      annotations:
        pillion.dev/inject: "true"
        pillion.dev/logs: /var/log/close/*.log
    spec:
      template:
        spec:
          containers:
          - name: close
"""


def test_the_jobs_metadata_is_not_the_pods(configuration: Configuration) -> None:
    """Each key is named where it stands, with the one place where it does something."""
    (report,) = reports(CRONJOB, configuration)
    right = "spec.jobTemplate.spec.template.metadata.annotations"
    wrong = "spec.jobTemplate.metadata.annotations"
    assert texts(report) == [
        f"9:9: warning: pillion.dev/inject is in {wrong}, where it does nothing; move it to {right}",
        f"10:9: warning: pillion.dev/logs is in {wrong}, where it does nothing; move it to {right}",
    ]


@pytest.mark.parametrize(
    ("kind", "metadata", "said"),
    [
        ("Deployment", {"annotations": ASKS}, "is on the Deployment, where it does nothing; move it to spec.template."),
        ("Deployment", {"labels": ASKS}, "is a label of the Deployment, where it does nothing; move it to spec."),
        ("Deployment", ASKS, "is in metadata, where it does nothing; move it to spec.template.metadata.annotations"),
        ("Deployment", {"annotation": ASKS}, "is in metadata.annotation, where it does nothing; move it to spec."),
        ("Pod", {"labels": ASKS}, "is a label, which does nothing; move it to metadata.annotations"),
        ("PodTemplate", {"annotations": ASKS}, "move it to template.metadata.annotations"),
    ],
)
def test_an_objects_own_metadata(kind: str, metadata: Any, said: str, configuration: Configuration) -> None:
    """Annotations and labels of the workload itself, and keys that are in neither."""
    value = manifest(kind, {"spec": SPEC})
    value["metadata"] |= metadata
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert f"warning: {INJECT} {said}" in text.replace("is on the PodTemplate, where it does nothing; ", "")
    assert report.is_unmet


@pytest.mark.parametrize(
    "where",
    [
        "selector.matchLabels",
        "template.spec.nodeSelector",
        "template.spec.affinity.podAntiAffinity.x.labelSelector.matchLabels",
        "template.spec.annotations",
        "template.metadata.Annotations",
        "template.metadata.anotations",
        "template.annotations",
        "strategy",
    ],
)
def test_anywhere_in_a_workload(where: str, configuration: Configuration) -> None:
    """Selectors, misspelt fields and any other: named with the place and the right one."""
    value = manifest("Deployment", {"spec": dict(SPEC)})
    holder = value["spec"]
    for step in where.split("."):
        holder = holder.setdefault(step, {})
    holder |= ASKS
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith(
        f"warning: {INJECT} is in spec.{where}, where it does nothing; move it to spec.template.metadata.annotations"
    )
    assert report.is_unmet


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"kind": "Kustomization", "apiVersion": "kustomize.config.k8s.io/v1beta1", "commonAnnotations": ASKS},
            f"{INJECT} is added to all objects and pod templates by Kustomize; inject what kustomize build prints",
        ),
        (
            {"resources": ["a.yaml"], "commonAnnotations": ASKS},
            f"{INJECT} is added to all objects and pod templates by Kustomize; inject what kustomize build prints",
        ),
        (
            {"kind": "Kustomization", "apiVersion": "kustomize.config.k8s.io/v1beta1", "labels": [{"pairs": ASKS}]},
            f"{INJECT} is in labels[0].pairs: on pods only annotations count; write commonAnnotations, or annotate",
        ),
        (
            {"web": {"podAnnotations": ASKS}},
            f"{INJECT} is in web.podAnnotations of what is no manifest; values of a chart? Inject what it renders",
        ),
        (
            {"kind": "DaemonSet", "podAnnotations": ASKS},
            f"{INJECT} is in podAnnotations of what is no manifest; values of a chart? Inject what it renders",
        ),
        (
            {"kind": "Service", "apiVersion": "v1", "spec": {"selector": ASKS}},
            f"{INJECT} in spec.selector selects by a label, which Pillion neither sets nor reads on pods",
        ),
        (
            {
                "kind": "NetworkPolicy",
                "apiVersion": "networking.k8s.io/v1",
                "spec": {"podSelector": {"matchLabels": ASKS}},
            },
            f"{INJECT} in spec.podSelector.matchLabels selects by a label, which Pillion neither sets nor reads",
        ),
        (
            {"kind": "HelmRelease", "apiVersion": "helm.toolkit.fluxcd.io/v2", "spec": {"values": {"x": ASKS}}},
            f"{INJECT}: HelmRelease has no pod template that Pillion knows; it does nothing unless the pods get it",
        ),
    ],
)
def test_what_may_reach_a_pod_in_another_way(value: dict[str, Any], said: str, configuration: Configuration) -> None:
    """Kustomize, charts and controllers may use the key: a note that says how, and no failure."""
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.partition("note: ")[2].startswith(said)
    assert not report.is_unmet


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (
            manifest("Deployment", {"spec": SPEC}) | {"metadata": {"name": "x", "annotations": ASKS}},
            "is on the Deployment, where it does nothing; move it to objects[1].spec.template.metadata.annotations",
        ),
        (
            {"apiVersion": "v1", "kind": "Service", "metadata": {"annotations": ASKS}},
            "does nothing on the Service; move it to the annotations of a pod or a pod template",
        ),
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"annotations": ASKS}},
            "is an annotation, which does nothing on a Namespace; move it to metadata.labels",
        ),
    ],
)
def test_objects_in_an_object(inner: dict[str, Any], said: str, configuration: Configuration) -> None:
    """OpenShift's Template and others hold whole objects: what is wrong is said as of the object alone."""
    value = {"apiVersion": "template.openshift.io/v1", "kind": "Template", "objects": [{"x": 1}, inner]}
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith(f"warning: {INJECT} {said} (objects[1] of the Template)")
    assert report.is_unmet


@pytest.mark.parametrize(
    ("key", "right"),
    [
        ("pillion.io/inject", INJECT),
        ("pillion/inject", INJECT),
        ("Pillion.dev/Inject", INJECT),
        ("pilion.dev/logs", "pillion.dev/logs"),
        ("pillion-inject", INJECT),
        ("pillion.dev.run-as-user", "pillion.dev/run-as-user"),
    ],
)
def test_another_prefix(key: str, right: str, configuration: Configuration) -> None:
    """An annotation that would be ours but for its prefix is named: nobody asks, and the author thinks he does."""
    value = manifest("Deployment", {"metadata": {"annotations": {key: "true"}}, "spec": SPEC})
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith(f": warning: {key}: Pillion's annotations begin with pillion.dev/; write {right}")
    assert report.is_unmet


@pytest.mark.parametrize("holder", ["labels", "annotations"])
@pytest.mark.parametrize("key", ["pillion-inject", "pillion.io/inject"])
def test_another_prefix_on_a_namespace(key: str, holder: str, configuration: Configuration) -> None:
    """There it is a label that opts in; of a pod no label counts, whatever it is called."""
    value = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", holder: {key: "true"}}}
    (report,) = examined(value, configuration=configuration)
    assert texts(report) == [f"6:5: warning: {key}: Pillion's {holder} begin with pillion.dev/; write {INJECT}"]


def test_a_prefix_with_keys_below_it(configuration: Configuration) -> None:
    """YAML makes a mapping of what is indented, and an annotation's value is text: the API server refuses it."""
    value = manifest("Deployment", {"metadata": {"annotations": {"pillion.dev": {"inject": "true"}}}, "spec": SPEC})
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith(
        ': warning: spec.template.metadata.annotations["pillion.dev"] is a mapping, '
        "which the API server refuses; write pillion.dev/inject"
    )
    assert report.is_unmet


@pytest.mark.parametrize(
    "key", ["sidecar.istio.io/inject", "linkerd.io/inject", "vault.hashicorp.com/agent-inject", "inject", "env"]
)
def test_other_injectors_keys(key: str, configuration: Configuration) -> None:
    """What others call ``inject`` is theirs."""
    value = manifest("Deployment", {"metadata": {"annotations": {key: "true"}}, "spec": SPEC})
    assert not any(map(texts, examined(value, configuration=configuration)))


def test_labels_of_the_template(configuration: Configuration) -> None:
    """A label asks for nothing, though other injectors use them."""
    value = manifest("Deployment", {"metadata": {"labels": ASKS}, "spec": SPEC})
    (report,) = examined(value, configuration=configuration)
    assert texts(report) == [
        f"9:9: warning: {INJECT} is a label, which does nothing; move it to spec.template.metadata.annotations"
    ]


def test_claims_of_a_stateful_set(configuration: Configuration) -> None:
    """Other templates in the object have annotations, too."""
    value = manifest("StatefulSet", {"spec": SPEC})
    value["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data", "annotations": ASKS}}]
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert f"{INJECT} is in spec.volumeClaimTemplates[0].metadata.annotations, where it does nothing" in text


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"annotations": ASKS},
            f"{INJECT} is an annotation, which does nothing on a Namespace; move it to metadata.labels",
        ),
        ({"labels": {INJECT: "True"}}, f'{INJECT} "True" does not opt the namespace in; write "true"'),
        ({"labels": {INJECT: ""}}, f'{INJECT} "" does not opt the namespace in; write "true"'),
        ({"labels": {INJECT: None}}, f'{INJECT} "" does not opt the namespace in; write "true"'),
        (
            {"labels": {INJECT: True}},
            f'{INJECT} is the boolean true, which the API server refuses; write "true", in quotes',
        ),
        (
            {"labels": {"pillion.dev/injection": "enabled"}},
            f"pillion.dev/injection is no key of Pillion; a Namespace opts in by its label {INJECT}",
        ),
        (
            {"annotations": {"pillion.dev/logs": "/x/*.log"}},
            "pillion.dev/logs does nothing on a Namespace; move it to the annotations of a pod or a pod template",
        ),
        (
            {"labels": {INJECT: ["true"]}},
            f'{INJECT} is a list, which the API server refuses; write "true", in quotes',
        ),
        ({"labels": ASKS}, None),
        ({"labels": {INJECT: "false"}}, None),
        ({"labels": {"example.com/inject": "yes"}}, None),
    ],
)
def test_namespaces(metadata: Any, said: str | None, configuration: Configuration) -> None:
    """A namespace is opted in by a label, whose value is one word."""
    value = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"} | metadata}
    found = [
        text.partition("warning: ")[2]
        for report in examined(value, configuration=configuration)
        for text in texts(report)
    ]
    assert found == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("v1", "Service", "does nothing on the Service; move it to the annotations of a pod or a pod template"),
        ("v1", "ConfigMap", "does nothing on the ConfigMap; move it to"),
        ("networking.k8s.io/v1", "Ingress", "does nothing on the Ingress; move it to"),
        ("autoscaling/v2", "HorizontalPodAutoscaler", "does nothing on the HorizontalPodAutoscaler; move it to"),
        ("v1", "List", "does nothing on the List; move it to"),
    ],
)
def test_other_kinds_of_kubernetes(version: str, kind: str, said: str, configuration: Configuration) -> None:
    """What makes no pods has no use for our keys."""
    value = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "annotations": ASKS}, "items": []}
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert f"warning: {INJECT} {said}" in text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"metadata": {"name": "x", "annotations": ASKS}},
            "Widget has no pod template that Pillion knows; it does nothing unless the pods get it",
        ),
        (
            {"spec": {"template": {"metadata": {"annotations": ASKS}, "spec": {"image": "x"}}}},
            "spec.template holds no containers; it does nothing unless the pods get it",
        ),
    ],
)
def test_kinds_that_nobody_knows(value: Any, said: str, configuration: Configuration) -> None:
    """A controller may hand annotations on to its pods: a note, and no failure."""
    (report,) = examined({"apiVersion": "example.com/v1", "kind": "Widget"} | value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith(f"note: {INJECT}: {said}")
    assert not report.is_unmet


TEMPLATE = {"metadata": {"annotations": ASKS | {"pillion.dev/logs": "/var/log/x/*.log"}}, "spec": SPEC}


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        (("flink.apache.org/v1beta1", "FlinkDeployment"), {"spec": {"podTemplate": TEMPLATE}}, "spec.podTemplate"),
        (("example.com/v1", "Farm"), {"spec": {"pools": [{"template": TEMPLATE}]}}, "spec.pools[0].template"),
        (
            ("example.com/v1", "Farm"),
            {"spec": {"template": {"spec": SPEC}, "other": TEMPLATE}},
            "spec.other",
        ),
        (
            ("template.openshift.io/v1", "Template"),
            {"objects": [{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": TEMPLATE}}]},
            "objects[0].spec.template",
        ),
        (("v1", "Template"), {"objects": [{"kind": "Pod"} | TEMPLATE]}, "objects[0]"),
        (
            ("work.open-cluster-management.io/v1", "ManifestWork"),
            {"spec": {"workload": {"manifests": [{"kind": "Job", "spec": {"template": TEMPLATE}}]}}},
            "spec.workload.manifests[0].spec.template",
        ),
    ],
)
def test_a_pod_template_at_an_unknown_place(
    kind: tuple[str, str], value: Any, place: str, configuration: Configuration
) -> None:
    """It is one beyond doubt, so it asks: one warning for all its keys, and strict is not met."""
    version, name = kind
    manifest = {"apiVersion": version, "kind": name, "metadata": {"name": "x"}} | value
    (report,) = examined(manifest, configuration=configuration)
    (text,) = texts(report)
    said = "is a pod template at a place that Pillion does not edit; its pods go through the webhook"
    assert text.endswith(f": warning: not injected: {place} {said}")
    assert report.is_unmet


def test_a_pod_template_at_an_unknown_place_that_refuses(configuration: Configuration) -> None:
    """The webhook will read it, and nobody has to know more."""
    template = TEMPLATE | {"metadata": {"annotations": {INJECT: "false"}}}
    value = {"apiVersion": "example.com/v1", "kind": "Farm", "spec": {"pool": template}}
    assert examined(value, configuration=configuration) == []


def test_kubernetes_kinds_have_one_template(configuration: Configuration) -> None:
    """What looks like a second one in them makes no pods."""
    value = manifest("Deployment", {"spec": SPEC})
    value["spec"]["other"] = TEMPLATE
    (report,) = examined(value, configuration=configuration)
    assert all("where it does nothing; move it to spec.template.metadata" in text for text in texts(report))


@pytest.mark.parametrize(
    ("annotations", "what"),
    [
        ([{INJECT: "true"}], "a list"),
        ([{"name": INJECT, "value": "true"}], "a list"),
        ([f"{INJECT}=true"], "a list"),
        (f"{INJECT}=true", 'the text "pillion.dev/inject=true"'),
    ],
)
@pytest.mark.parametrize("field", ["annotations", "labels"])
def test_annotations_that_are_no_mapping(annotations: Any, what: str, field: str, configuration: Configuration) -> None:
    """Of the pod or of the object: said with the place, and strict is not met."""
    said = f"metadata.{field} is {what}, which the API server refuses; write a mapping"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", field: annotations}, "spec": SPEC}
    own = manifest("Deployment", {"spec": SPEC})
    own["metadata"][field] = annotations
    other = {"apiVersion": "example.com/v1", "kind": "Farm", "metadata": {"name": "x", field: annotations}}
    template = manifest("Deployment", {"metadata": {field: annotations}, "spec": SPEC})
    for value in (pod, own, other, template):
        (report,) = examined(value, configuration=configuration)
        assert [text.partition("warning: ")[2].removeprefix("not injected: ") for text in texts(report)] == [said]
        assert not texts(report)[0].startswith("1:1:")
        assert report.is_unmet


def test_a_custom_kind_with_a_template_is_a_workload(configuration: Configuration) -> None:
    """Its own metadata is as useless as a Deployment's, and the place is known."""
    value = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "x", "annotations": ASKS},
        "spec": {"template": {"spec": SPEC}},
    }
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text == (
        f"6:5: warning: {INJECT} is on the Rollout, where it does nothing; "
        "move it to spec.template.metadata.annotations"
    )


@pytest.mark.parametrize(
    ("annotations", "opted_in", "said"),
    [
        (ASKS, False, "10:9: warning: not injected: Knative takes no init containers in a Service; "),
        ({}, True, "1:1: note: not injected: Knative takes no init containers in a Service; "),
        ({INJECT: "false"}, True, ""),
        ({}, False, ""),
    ],
)
def test_knative_is_named(annotations: Any, opted_in: bool, said: str, configuration: Configuration) -> None:
    """Its pods are injected, its objects can't be: who asks is told, and so is who reads an opted-in run."""
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"image": "x"}]}}
    value = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "x", "namespace": "shop"}}
    found = examined(value | {"spec": {"template": template}}, configuration=configuration, opted_in=opted_in)
    assert [text for report in found for text in texts(report)] == (
        [f"{said}its pods go through the webhook"] if said else []
    )
    assert [report.is_unmet for report in found] == ([said.startswith("10")] if said else [])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "spec": {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {INJECT: "true"}}}]}]},
            },
            id="namespace-selector",
        ),
        pytest.param(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"annotations": {"pillion.dev/certificate": "x", "pillion.dev/rotate": "now"}},
            },
            id="own-mark",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"labels": {"pillion.dev/component": "webhook"}}},
            id="own-label",
        ),
        pytest.param({"apiVersion": "v1", "kind": "ConfigMap", "data": {"app.yaml": CRONJOB}}, id="text"),
    ],
)
def test_what_is_used_is_not_named(value: dict[str, Any], configuration: Configuration) -> None:
    """A namespace may be selected by our label; what Pillion itself writes is no mistake, and text is no key."""
    assert examined(value, configuration=configuration) == []


def test_items_of_a_list(configuration: Configuration) -> None:
    """An item's remark stands at the item."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    annotated = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "annotations": ASKS}}
    value = {"apiVersion": "v1", "kind": "List", "items": [service, annotated]}
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    line, column, _ = text.split(":", 2)
    assert document(value).text.splitlines()[int(line) - 1][int(column) - 1 :].startswith(INJECT)
    assert report.item.title == "Service/b"


@pytest.mark.parametrize(("count", "more"), [(100, "92"), (1000, "many")])
def test_many_are_counted(configuration: Configuration, count: int, more: str) -> None:
    """A thousand keys are no thousand lines."""
    annotations = {f"pillion.dev/key-{number}": "x" for number in range(count)}
    value = {"apiVersion": "v1", "kind": "Service", "metadata": {"annotations": annotations}}
    (report,) = examined(value, configuration=configuration)
    assert len(texts(report)) == 9
    assert texts(report)[-1].endswith(f"and {more} more of our keys are where they do nothing")


def test_the_walk_has_no_depth() -> None:
    """Nesting can't end the program."""
    value: dict[str, Any] = {"metadata": {"annotations": ASKS}}
    for _ in range(5000):
        value = {"x": value}
    assert len(keys_of(value, "pillion.dev/")) == 1
