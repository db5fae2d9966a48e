"""Tests of webhook.workloads.applied: what the author of an object is told when it is applied."""

import copy
import json
from difflib import SequenceMatcher
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workloads.examples import ANY_OBJECTS, SPEC, manifest
from webhook import documents
from webhook.configuration import load, parse
from webhook.injection import admission
from webhook.injection.profile import Configuration
from webhook.injection.reasons import MAX_WARNING_LENGTH, MAX_WARNINGS, Reason, as_warnings, clean_untrusted
from webhook.injection.review import parse_object_review
from webhook.untrusted_text import visible
from webhook.workloads.applied import MAX_BYTES, MAX_DEPTH, MAX_TEMPLATES, TITLE_LENGTH, Lint, LintResult, lint
from webhook.workloads.misplaced import MAX_COMPARED, MAX_KEYS, keys_of
from webhook.workloads.objects import ManifestReason, RemarkSeverity
from webhook.workloads.reports import examine
from webhook.workloads.templates import KUBERNETES

ASKS = {"pillion.dev/inject": "true", "pillion.dev/logs": "/var/log/shop/*.log"}
WRONG = ASKS | {"pillion.dev/logs": "var/log/shop/*.log"}
TOLD = 'not injected: pillion.dev/logs "var/log/shop/*.log": must begin with /; write /var/log/shop/*.log'
#: Kinds of Kubernetes' own with a template; the chart's entries name six of them.
KINDS = sorted(kind.name for kind in KUBERNETES if kind.name != "Pod")
BUILT_IN = load(None)
LABEL_ONLY = {"pillion.dev/inject": "true"}


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Return the built-in profiles (`otel` lacks its address) and one whose sidecar is an ordinary container."""
    return parse(b"profiles: {classic: {base: tail, native: false}}", "test")


def template(annotations: Any = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """Return a pod template."""
    return {"metadata": {"annotations": annotations, "labels": labels}, "spec": SPEC | spec}


def deployment(annotations: Any = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    """Return a Deployment."""
    return manifest("Deployment", template(annotations, labels, **spec))


def asked(value: Any, configuration: Configuration, old: Any = None, *, opted_in: bool = False, **request: Any) -> Lint:
    """Return the lint of an object that is created, or that replaces an old one."""
    operation = "CREATE" if old is None else "UPDATE"
    fields = {"uid": "u", "operation": operation, "namespace": "default", "object": value, "oldObject": old, **request}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": fields}
    return lint(parse_object_review(json.dumps(review).encode()), configuration, namespace_opted_in=opted_in)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_told_by_its_name(kind: str, configuration: Configuration) -> None:
    """Kubectl prints warnings before it says which object it has applied."""
    found = asked(manifest(kind, template(WRONG)), configuration)
    assert found == Lint(
        LintResult.WARNED, f"{kind}/shop", (f"{kind}/shop: {TOLD}",), frozenset({Reason.BAD_ANNOTATION})
    )


TOLD_CASES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "a typo": (
        deployment(ASKS | {"pillion.dev/log": "/x/*.log"}),
        False,
        "pillion.dev/log: is unknown; did you mean pillion.dev/logs?",
    ),
    "an unknown profile": (
        deployment(ASKS | {"pillion.dev/profile": "tial"}),
        False,
        'not injected: pillion.dev/profile "tial": does not exist; did you mean tail?',
    ),
    "an incomplete profile": (deployment(ASKS | {"pillion.dev/profile": "otel"}), False, "is not complete; ask your"),
    "an annotation on the workload": (
        deployment() | {"metadata": {"name": "shop", "annotations": ASKS}},
        False,
        "pillion.dev/inject is on the Deployment, where it does nothing; move it to spec.template.metadata.annotations",
    ),
    "a label": (
        deployment(labels=LABEL_ONLY),
        False,
        "pillion.dev/inject is a label, which does nothing; move it to spec.template.metadata.annotations",
    ),
    "an impossible path": (
        deployment(ASKS | {"pillion.dev/logs": "/etc/*.log"}),
        False,
        "not injected: pillion.dev/logs",
    ),
    "a pod that would never complete": (
        manifest("Job", template(ASKS | {"pillion.dev/profile": "classic"}, restartPolicy="Never")),
        False,
        'with profile "classic" a pod with restartPolicy Never never completes; use another profile',
    ),
    "a size out of bounds": (
        deployment(ASKS | {"pillion.dev/memory-limit": "64Gi"}),
        False,
        "pillion.dev/memory-limit",
    ),
    "nobody asks": (
        deployment({"pillion.dev/logs": "/x/*.log"}),
        False,
        'pillion.dev/logs: has no effect without pillion.dev/inject: "true"',
    ),
    "the namespace asks": (deployment({"pillion.dev/logs": "x.log"}), True, 'not injected: pillion.dev/logs "x.log"'),
    "a number": (
        deployment(ASKS | {"pillion.dev/run-as-user": 1000}),
        False,
        'pillion.dev/run-as-user is the number 1000, which the API server refuses; write "1000", in quotes',
    ),
    "another prefix": (
        deployment(ASKS | {"pillion.io/logs": "/x"}),
        False,
        "Pillion's annotations begin with pillion.dev/",
    ),
    "replicas that share a volume": (
        manifest(
            "DaemonSet",
            template(
                ASKS,
                containers=[{"name": "app", "volumeMounts": [{"name": "v", "mountPath": "/var/log/shop"}]}],
                volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "logs"}}],
            ),
        ),
        False,
        "each sidecar reads the logs of all",
    ),
}


@pytest.mark.parametrize("case", TOLD_CASES)
def test_what_is_told(case: str, configuration: Configuration) -> None:
    """All that ``pillion lint`` says and that matters in a cluster."""
    value, opted_in, told = TOLD_CASES[case]
    found = asked(value, configuration, opted_in=opted_in)
    assert found.result is LintResult.WARNED
    assert any(told in warning for warning in found.warnings), found.warnings


SILENT = {
    "right": deployment(ASKS),
    "not ours": deployment({"example.org/inject": "yes"}),
    "declined": deployment({"pillion.dev/inject": "false"}),
    "Knative, whose pods are injected": {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "shop"},
        "spec": {"template": template(ASKS)},
    },
    "a kind that nobody knows": {"apiVersion": "x.org/v1", "kind": "Thing", "metadata": {"annotations": ASKS}},
    "a template at an unknown place": {
        "apiVersion": "x.org/v1",
        "kind": "Thing",
        "metadata": {"name": "shop"},
        "spec": {"pods": {"main": template(ASKS)}},
    },
    "nulls": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": None, "spec": None},
    "null lists": deployment(ASKS, initContainers=None, volumes=None)
    | {"metadata": {"ownerReferences": None, "annotations": None, "labels": None, "generateName": "shop-"}},
}


@pytest.mark.parametrize("opted_in", [False, True])
@pytest.mark.parametrize("case", SILENT)
def test_there_is_nothing_to_tell(case: str, opted_in: bool, configuration: Configuration) -> None:
    """Nor is what only a file's author can use."""
    found = asked(SILENT[case], configuration, opted_in=opted_in)
    assert (found.result, found.warnings) == (LintResult.CLEAN, ())


OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "1"}


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        (deployment(WRONG) | {"metadata": {"name": "shop", "ownerReferences": [OWNER | {"controller": True}]}}, {}),
        (deployment(WRONG), {"subResource": "scale"}),
        (deployment(WRONG), {"operation": "DELETE"}),
        (None, {}),
        ([WRONG], {}),
        (5, {}),
        (deployment(WRONG | {"example.org/long": "x" * MAX_BYTES}), {}),
        (
            {
                "apiVersion": "batch.volcano.sh/v1alpha1",
                "kind": "Job",
                "spec": {"tasks": [{"template": template(WRONG)}] * (MAX_TEMPLATES + 1)},
            },
            {},
        ),
        (deployment(WRONG) | {"x": json.loads("[" * MAX_DEPTH + '{"pillion.dev/inject": ""}' + "]" * MAX_DEPTH)}, {}),
    ],
    ids=["owned", "subresource", "deleted", "none", "list", "number", "large", "many templates", "deep"],
)
def test_what_is_skipped(value: Any, request_: dict[str, Any], configuration: Configuration) -> None:
    """A controller's object, subresources, deletions, what is no object, and what would take too long."""
    assert asked(value, configuration, **request_) == Lint(LintResult.SKIPPED)


def test_an_owner_that_is_no_controller_does_not_count(configuration: Configuration) -> None:
    """As a resource that is collected with another one."""
    value = deployment(WRONG) | {"metadata": {"name": "shop", "ownerReferences": [OWNER]}}
    assert asked(value, configuration).result is LintResult.WARNED


def changed(path: tuple[str | int, ...], value: Any, base: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an object with another value at a path."""
    made = copy.deepcopy(base)
    place: Any = made
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[path[-1]] = value
    return made


POD = ("spec", "template", "spec")


@pytest.mark.parametrize(
    ("path", "value", "result"),
    [
        (("spec", "replicas"), 3, LintResult.SKIPPED),
        (("metadata", "labels"), {"team": "shop"}, LintResult.SKIPPED),
        (("metadata", "annotations"), {"deployment.kubernetes.io/revision": "2"}, LintResult.SKIPPED),
        (("metadata", "annotations"), {"pillion.dev/profile": "tail"}, LintResult.WARNED),
        (("metadata", "labels"), {"pillion.dev/inject": "true"}, LintResult.WARNED),
        (("status",), {"replicas": 3}, LintResult.SKIPPED),
        ((*POD, "containers", 0, "image"), "shop:2", LintResult.WARNED),
        (("spec", "template", "metadata", "annotations"), ASKS, LintResult.CLEAN),
    ],
    ids=["scale", "label", "annotation", "our annotation", "our label", "status", "image", "corrected"],
)
def test_only_what_changed_is_told(
    path: tuple[str | int, ...], value: Any, result: LintResult, configuration: Configuration
) -> None:
    """Whoever scales a Deployment did not write its annotations."""
    old = deployment(WRONG)
    assert asked(changed(path, value, old), configuration, old).result is result


def test_an_old_object_that_can_not_be_compared_does_not_count(configuration: Configuration) -> None:
    """The new one is linted as if it were created."""
    old = deployment(WRONG | {"example.org/long": "x" * MAX_BYTES})
    assert asked(deployment(WRONG), configuration, old).result is LintResult.WARNED


def test_strict_says_that_pods_are_refused() -> None:
    """The workload itself is not."""
    strict = load(None, strict=True)
    (warning,) = asked(deployment(WRONG), strict).warnings
    assert warning == f"Deployment/shop: its pods are refused: {TOLD.removeprefix('not injected: ')}"


def test_warnings_stay_within_the_limits_of_the_api_server(configuration: Configuration) -> None:
    """Each of 256 characters and all of 4096, one printable line each, whatever a tenant writes."""
    keys = {f"pillion.dev/{'k' * 40}\n\x1b[31m{number}": "x" * 500 for number in range(40)}
    long = deployment(WRONG | keys, labels=dict.fromkeys(keys, "x"))
    long["metadata"] = {"name": "\x1b]0;x\a" * 50, "annotations": keys | {"pillion.i\x1bo/logs": "x"}}
    warnings = asked(long, configuration).warnings
    assert 1 < len(warnings) <= MAX_WARNINGS
    assert all(len(warning) <= MAX_WARNING_LENGTH and warning.isprintable() for warning in warnings)


def test_a_bug_is_told_to_nobody_but_the_log(configuration: Configuration, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a review or the lint around it has it."""
    monkeypatch.setattr("webhook.workloads.applied.examine_object", lambda *_, **__: 1 // 0)
    found = asked(deployment(WRONG), configuration)
    assert (found.result, found.warnings, type(found.error)) == (LintResult.FAILED, (), ZeroDivisionError)
    monkeypatch.undo()
    monkeypatch.setattr(admission, "declining_finding", lambda *_: 1 // 0)
    found = asked(deployment(WRONG), configuration)
    assert (found.result, found.warnings, type(found.error)) == (LintResult.FAILED, (), ZeroDivisionError)


def test_depth_is_that_of_mappings_and_lists(configuration: Configuration) -> None:
    """As deep as is allowed."""
    inner = "[" * (MAX_DEPTH - 2) + "1" + "]" * (MAX_DEPTH - 2)
    assert asked(deployment(WRONG) | {"x": json.loads(inner)}, configuration).result is LintResult.WARNED


def test_of_thousands_of_keys_the_first_are_looked_at(configuration: Configuration) -> None:
    """And a warning says that there are more."""
    keys = {f"pillion.dev/{number}": "" for number in range(4_000)}
    value = deployment() | {"metadata": {"name": "shop", "annotations": keys}}
    assert len(keys_of(value, "pillion.dev/")) == MAX_KEYS
    assert "more of our keys are where they do nothing" in asked(value, configuration).warnings[-1]


@pytest.mark.parametrize("depth", [500, 900])
def test_deep_nesting_is_no_failure(depth: int, configuration: Configuration) -> None:
    """As far as a body's is read at all."""
    value = deployment(WRONG) | {"status": json.loads("[" * depth + "]" * depth)}
    found = asked(value, configuration, deployment(ASKS))
    assert (found.result, found.error) in {(LintResult.WARNED, None), (LintResult.SKIPPED, None)}


@settings(deadline=None)
@given(ANY_OBJECTS, st.none() | ANY_OBJECTS, st.booleans())
def test_nothing_is_a_bug(value: dict[str, Any], old: dict[str, Any] | None, opted_in: bool) -> None:
    """Whatever stands in an object and in the one that it replaces."""
    found = asked(value, BUILT_IN, old, opted_in=opted_in)
    assert (found.result is not LintResult.FAILED, found.error) == (True, None)
    assert bool(found.warnings) == bool(found.reasons) == (found.result is LintResult.WARNED)


def in_a_file(value: dict[str, Any], configuration: Configuration, *, opted_in: bool) -> list[str]:
    """Return what ``pillion lint`` says of an object, as the API server passes it on; not what only a file can have."""
    (read,) = documents.read(json.dumps(value), "app.json")
    reports = examine([read], configuration, namespace="default", namespace_opt_in=opted_in)
    return as_warnings(
        f"{clean_untrusted(report.item.title, TITLE_LENGTH)}: {visible(remark.text)}"
        for report in reports
        for remark in report.remarks_for(strict=False)
        if remark.severity is not RemarkSeverity.NOTE
        and remark.reason not in (ManifestReason.WRONG_VERSION, ManifestReason.NOT_EDITED)
    )


@pytest.mark.parametrize("case", TOLD_CASES)
def test_a_file_is_told_the_same(case: str, configuration: Configuration) -> None:
    """Whoever lints before applying reads nothing new afterwards."""
    value, opted_in, _ = TOLD_CASES[case]
    told = in_a_file(value, configuration, opted_in=opted_in)
    assert told
    assert list(asked(value, configuration, opted_in=opted_in).warnings) == told


@settings(deadline=None)
@given(ANY_OBJECTS.filter(lambda value: "$" not in json.dumps(value) and value.get("kind") != "List"), st.booleans())
def test_any_file_is_told_the_same(value: dict[str, Any], opted_in: bool) -> None:
    """But for patches, which only files have, and for lists, which no API server sends."""
    told = asked(value, BUILT_IN, opted_in=opted_in).warnings
    # a file's are in the order of their lines
    assert sorted(told) == sorted(in_a_file(value, BUILT_IN, opted_in=opted_in))


def test_thousands_of_misspelt_keys_are_no_typing_errors(configuration: Configuration) -> None:
    """A few are compared with ours, and nobody waits for the rest."""
    compared = []

    class Matcher(SequenceMatcher[str]):
        def ratio(self) -> float:
            compared.append(self)
            return super().ratio()

    keys = {f"pillionn{number}.io/{key}": "x" for number in range(800) for key in ("inject", "logs")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webhook.workloads.misplaced.SequenceMatcher", Matcher)
        found = asked(deployment(ASKS | keys), configuration)
    assert found.reasons == {ManifestReason.UNKNOWN_PREFIX}
    assert 0 < len(compared) <= 4 * MAX_COMPARED


def test_reasons_are_those_of_files_too(configuration: Configuration) -> None:
    """The metric counts both."""
    value = deployment(WRONG) | {"metadata": {"name": "shop", "annotations": LABEL_ONLY}}
    assert asked(value, configuration).reasons == {ManifestReason.MISPLACED_KEY, Reason.BAD_ANNOTATION}
