"""Lints over HTTP: the answer, the log and the metrics, which are none of a pod's review."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.serving import Running, eventually, make_review
from webhook.workloads import applied
from webhook.workloads.applied import LintResult

ROOT = Path(__file__).parent.parent.parent
WRONG = {"pillion.dev/inject": "true", "pillion.dev/logs": "logs/app.log"}
TOLD = 'Deployment/shop: not injected: pillion.dev/logs "logs/app.log": must begin with /; write /logs/app.log'


def review(annotations: Any = None, **request: Any) -> dict[str, Any]:
    """Return a review of a Deployment."""
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app", "image": "shop"}]}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return make_review({**head, "spec": {"template": template}}, name="shop", **request)


def post(server: Running, document: dict[str, Any], path: str = "/lint") -> dict[str, Any]:
    """Return the response to a review."""
    answer = server.post(json.dumps(document).encode(), path)
    assert answer.status_code == 200
    response: dict[str, Any] = answer.json()["response"]
    return response


def test_warnings_are_all_that_is_answered(server: Running) -> None:
    """The object is allowed and stays as it is."""
    assert post(server, review(WRONG)) == {"uid": "0c7a3f2e", "allowed": True, "warnings": [TOLD]}
    assert post(server, review()) == {"uid": "0c7a3f2e", "allowed": True}


def test_strict_refuses_no_workload(serve: Callable[..., Running]) -> None:
    """It refuses their pods, which the warning says."""
    response = post(serve(strict=True), review(WRONG))
    assert response["allowed"] is True
    assert "its pods are refused" in response["warnings"][0]


@pytest.mark.parametrize(("path", "warned"), [("/lint", False), ("/lint/opted-in", True)])
def test_the_path_says_whether_the_namespace_opted_in(server: Running, path: str, warned: bool) -> None:
    """A path that is wrong matters where the namespace asks."""
    warnings = post(server, review({"pillion.dev/logs": "/etc/app.log"}), path)["warnings"]
    assert warnings[0].startswith("Deployment/shop: not injected: ") is warned


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "warned": (review(WRONG), "/lint", "warned"),
    "clean": (review(), "/lint", "clean"),
    "skipped": (review(WRONG, subResource="scale"), "/lint", "skipped"),
    "late": (review(WRONG), "/lint?timeout=1ns", "failed"),
    "bug": (review(WRONG), "/lint", "failed"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_lint_is_no_review_of_a_pod(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """It has a line and counters of its own: alerts are about pods."""
    server = serve()
    document, path, result = CASES[case]
    if case == "bug":
        monkeypatch.setattr(applied, "examine_object", lambda *_, **__: 1 // 0)
    response = post(server, document, path)
    assert response["allowed"] is True
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] in {"lint", "review"}])
    assert (line["event"], line["level"], line["result"]) == ("lint", "info", result)
    assert line["object"].endswith("shop")
    assert line.get("warnings", "") == (TOLD if result == "warned" else "")
    assert server.sample("pillion_lints_total", result=result) == 1
    assert server.sample("pillion_lint_warnings_total", reason="bad_annotation") == (result == "warned")
    assert server.sample("pillion_unexpected_exceptions_total", where="lint") == (case == "bug")
    for family in server.metrics.registry.collect():
        if "review" in family.name or family.name == "pillion_patch_bytes":
            assert [sample for sample in family.samples if sample.value and "_created" not in sample.name] == []


def test_the_documentation_lists_every_result() -> None:
    """In the table of docs/monitoring.md, in order; each has a case here."""
    table = (ROOT / "docs/monitoring.md").read_text().partition("| result | meaning |\n|---|---|\n")[2]
    assert [row.split("`")[1] for row in table.partition("\n\n")[0].splitlines()] == [*LintResult]
    assert {result for *_, result in CASES.values()} == {*LintResult}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"kind": "AdmissionReview"}',
        b'{"apiVersion": "v1", "kind": "AdmissionReview", "request": {"uid": "a"}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "Pod", "request": {"uid": "a"}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": ""}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": 5}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "a", "object": '
        + b"[" * 50_000
        + b"]" * 50_000
        + b"}}",
    ],
    ids=["empty", "cut", "list", "null", "no request", "version", "kind", "no uid", "number as uid", "deep"],
)
def test_what_is_no_review_is_answered_with_a_sentence(server: Running, body: bytes) -> None:
    """As on the path of pods."""
    answer = server.post(body, "/lint")
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_large_object_is_allowed_at_once(server: Running) -> None:
    """Five megabytes of a custom resource, as long as the body is not above the limit."""
    lines = [{"pillion.dev/inject": "true"}] * 160_000
    thing = {"apiVersion": "x.org/v1", "kind": "Thing", "metadata": {"name": "shop"}, "spec": lines}
    assert post(server, make_review(thing)) == {"uid": "0c7a3f2e", "allowed": True}


def test_without_a_configuration_nobody_answers(serve: Callable[..., Running]) -> None:
    """The API server goes on without: the entry's failurePolicy is Ignore."""
    server = serve()
    server.call(setattr, server.server.state, "configuration", None)
    assert server.post(json.dumps(review(WRONG)).encode(), "/lint").status_code == 503
