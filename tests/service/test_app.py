"""What the two ports answer, over a real server."""

import base64
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import jsonpatch
import pytest

import webhook.service
from certs.logs import LogLevel
from tests.service.serving import Running, eventually, make_review
from webhook.injection import admission
from webhook.injection.outcome import Outcome

BAD = {"pillion.dev/inject": "true", "pillion.dev/logs": "relative.log"}
IMPOSSIBLE = {"pillion.dev/inject": "true", "pillion.dev/logs": "/etc/app.log"}


def post(server: Running, document: dict[str, Any], path: str = "/mutate") -> dict[str, Any]:
    """Return the response to a review."""
    answer = server.post(json.dumps(document).encode(), path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    response: dict[str, Any] = answer.json()["response"]
    return response


def annotated(**annotations: str) -> dict[str, Any]:
    """Return a review of a pod with these annotations only."""
    document = make_review()
    document["request"]["object"]["metadata"]["annotations"] = annotations
    return document


def test_an_annotated_pod_gets_a_patch(server: Running) -> None:
    """The patch in the answer makes a pod with a sidecar of the one in the request."""
    document = make_review()
    response = post(server, document)
    assert response["allowed"] is True
    operations = json.loads(base64.b64decode(response["patch"]))
    pod = jsonpatch.apply_patch(document["request"]["object"], operations)
    assert [container["name"] for container in pod["spec"]["initContainers"]] == ["pillion-tail"]


def test_the_sample_is_injected(server: Running) -> None:
    """What the printed curl line sends gets a patch."""
    sample = Path(webhook.service.__file__).parent / "sample-review.json"
    assert post(server, json.loads(sample.read_bytes()))["patchType"] == "JSONPatch"


@pytest.mark.parametrize(("path", "patched"), [("/mutate", False), ("/mutate/opted-in", True)])
def test_the_path_says_whether_the_namespace_opted_in(server: Running, path: str, patched: bool) -> None:
    """A pod that says where its logs are, and not that it wants them read, is injected where its namespace asks."""
    pod = annotated(**{"pillion.dev/logs": "/var/log/shop/*.log"})
    assert ("patch" in post(server, pod, path)) is patched


def test_a_bad_annotation_is_allowed_with_a_warning(server: Running) -> None:
    """The pod is created, its owner is told."""
    response = post(server, annotated(**BAD))
    assert response["allowed"] is True
    assert "patch" not in response
    assert "pillion.dev/logs" in response["warnings"][0]


def test_strict_denies_a_bad_annotation(serve: Callable[..., Running]) -> None:
    """The same text, as the reason for the denial."""
    response = post(serve(strict=True), annotated(**BAD))
    assert response["allowed"] is False
    assert "pillion.dev/logs" in response["status"]["message"]


def test_shadow_mode_never_patches(serve: Callable[..., Running]) -> None:
    """It decides, counts and logs as ever."""
    server = serve(shadow=True)
    assert "patch" not in post(server, make_review())
    line = eventually(lambda: [line for line in server.log() if line["event"] == "review"])[0]
    assert line["outcome"] == "shadowed"
    labels = {"outcome": "shadowed", "reason": "injected", "profile": "tail"}
    assert server.sample("pillion_reviews_total", **labels) == 1


def test_the_prefix_is_a_setting(serve: Callable[..., Running]) -> None:
    """Annotations below another prefix are ours then."""
    server = serve(prefix="logs.example.com/")
    assert "patch" not in post(server, make_review())
    assert "patch" in post(server, annotated(**{"logs.example.com/inject": "true"}))


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?timeout=10s", "injected"),
        ("?timeout=30s&x=1", "injected"),
        ("?x=1&timeout=1m0.5s", "injected"),
        ("?timeout=nonsense", "injected"),
        ("?timeout=", "injected"),
        ("?timeout=%zz", "injected"),
        ("?timeout=0", "deadline"),
        ("?timeout=1ns", "deadline"),
        ("?timeout=1%C2%B5s", "deadline"),
        ("?atimeout=1ns", "injected"),
    ],
)
def test_the_callers_timeout_is_honoured(server: Running, query: str, reason: str) -> None:
    """Too late to look at the pod: allowed, with a warning, before the caller gives up."""
    response = post(server, make_review(), f"/mutate{query}")
    assert response["allowed"] is True
    assert response["auditAnnotations"]["reason"] == reason
    assert bool(response.get("warnings")) is (reason == "deadline")


def test_requests_whose_body_does_not_come_hold_nobody_up(server: Running) -> None:
    """Anybody can open them; the API server's reviews are answered as before."""
    body = json.dumps(make_review()).encode()
    head = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(server.connect()).sendall(head % len(body))
        eventually(lambda: server.sample("pillion_requests_in_flight") == 300)
        assert post(server, make_review())["auditAnnotations"]["reason"] == "injected"
    eventually(lambda: server.sample("pillion_requests_in_flight") == 0)


def test_a_bug_of_ours_refuses_nobodys_pod(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowed, a warning, a metric, and a line in the log that says where, but not what the pod holds."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("SECRET=hunter2")

    monkeypatch.setattr(admission, "admit", broken)
    response = post(server, make_review())
    assert response["allowed"] is True
    assert response["warnings"]
    line = eventually(lambda: [line for line in server.log() if line["event"] == "unexpected exception"])[0]
    assert line["exception"] == "ZeroDivisionError"
    assert "hunter2" not in server.log_file.read_text()
    labels = {"outcome": "failed", "reason": "internal_error", "profile": ""}
    assert server.sample("pillion_reviews_total", **labels) == 1
    assert server.sample("pillion_unexpected_exceptions_total", where="review") == 1


def test_each_review_is_one_line_of_the_log(server: Running) -> None:
    """Who, what came of it, why, by which profile, how fast; nothing of the pod's variables."""
    document = make_review(uid="line-1", namespace="shop")
    container = document["request"]["object"]["spec"]["containers"][0]
    container["env"] = [{"name": "PASSWORD", "value": "hunter2"}]
    post(server, document)
    (line,) = eventually(lambda: [line for line in server.log() if line.get("uid") == "line-1"])
    milliseconds = line.pop("milliseconds")
    assert 0 < milliseconds < 10_000
    del line["time"]
    assert line == {
        "level": "info",
        "event": "review",
        "uid": "line-1",
        "namespace": "shop",
        "pod": "shop",
        "outcome": "injected",
        "reason": "injected",
        "profile": "tail",
        "revision": server.server.state.configuration.profiles["tail"].revision,
    }
    assert "hunter2" not in server.log_file.read_text()


def test_a_warning_is_in_the_log_and_a_metric(serve: Callable[..., Running]) -> None:
    """A controller shows it to nobody; the metric has no text of a tenant's."""
    server = serve()
    review = annotated(**{"pillion.dev/inject": "true", "pillion.dev/log": "/srv/*.log"})
    response = post(server, review)
    assert "patch" in response
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "review"])
    assert (line["level"], line["outcome"]) == ("warning", "injected")
    assert line["warnings"] == "pillion.dev/log: is unknown; did you mean pillion.dev/logs?"
    assert [line["warnings"]] == response["warnings"]
    assert server.sample("pillion_review_warnings_total", reason="misspelt_key") == 1


def test_a_review_counts_once_for_each_reason_of_its_warnings(serve: Callable[..., Running]) -> None:
    """What is counted are pods; the log has as many texts as fit."""
    server = serve()
    keys = {f"pillion.dev/zzz{number}": "" for number in range(8)}
    post(server, annotated(**BAD, **keys))
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "review"])
    assert line["warnings"].startswith("not injected: pillion.dev/logs ")
    assert line["warnings"].endswith("…")
    assert len(line["warnings"]) == 256
    assert server.sample("pillion_review_warnings_total", reason="unknown_key") == 1
    assert server.sample("pillion_review_warnings_total", reason="bad_annotation") == 1


@pytest.mark.parametrize("level", LogLevel)
def test_a_level_leaves_out_what_is_less_severe(serve: Callable[..., Running], level: LogLevel) -> None:
    """A large cluster need not keep a line for each pod that is as it should be."""
    server = serve(log_level=level)
    post(server, make_review())
    post(server, annotated())
    post(server, annotated(**BAD))
    eventually(lambda: server.sample("pillion_review_duration_seconds_count") == 3)
    server.server.log.error("end")
    lines = eventually(lambda: (text := server.log_file.read_text()) and '"end"' in text and text).splitlines()
    outcomes = [line["outcome"] for line in map(json.loads, lines) if line["event"] == "review"]
    assert (
        outcomes
        == {
            LogLevel.INFO: ["injected", "skipped", "not_injectable"],
            LogLevel.WARNING: ["not_injectable"],
            LogLevel.ERROR: [],
        }[level]
    )


def test_a_generated_name_is_logged_with_a_star(server: Running) -> None:
    """Most pods have no name yet."""
    document = make_review(uid="line-2")
    metadata = document["request"]["object"]["metadata"]
    del metadata["name"]
    metadata["generateName"] = "shop-7d9f-"
    post(server, document)
    (line,) = eventually(lambda: [line for line in server.log() if line.get("uid") == "line-2"])
    assert line["pod"] == "shop-7d9f-*"


def test_reviews_are_counted_and_measured(serve: Callable[..., Running]) -> None:
    """By outcome, reason and profile; durations and patch sizes as histograms; what is no review by status."""
    server = serve()
    post(server, make_review())
    post(server, annotated(**BAD))
    post(server, annotated())
    server.post(b"{}")
    eventually(lambda: server.sample("pillion_review_duration_seconds_count") == 3)
    for outcome, reason, profile in (
        ("injected", "injected", "tail"),
        ("not_injectable", "bad_annotation", ""),
        ("skipped", "not_requested", ""),
    ):
        labels = {"outcome": outcome, "reason": reason, "profile": profile}
        assert server.sample("pillion_reviews_total", **labels) == 1, labels
    assert server.sample("pillion_patch_bytes_count") == 1
    assert server.sample("pillion_patch_bytes_sum") > 500
    assert server.sample("pillion_bad_requests_total", status="400") == 1


def test_a_tenants_text_is_no_label(serve: Callable[..., Running]) -> None:
    """A profile that nobody configured does not make a time series."""
    server = serve()
    for number in range(3):
        post(server, annotated(**{"pillion.dev/inject": "true", "pillion.dev/profile": f"mine-{number}"}))
    text = eventually(lambda: (page := server.get("/metrics").text) and "} 3.0" in page and page)
    assert "mine-" not in text
    assert text.count('pillion_reviews_total{outcome="not_injectable",profile="",reason="unknown_profile"} 3.0') == 1


DENIES: dict[str, Any] = {"strict": True}
#: What a server is set to, a review, its path, and what comes of it.
KINDS = {
    "injected": ({}, make_review(), "/mutate", Outcome.INJECTED),
    "shadow mode": ({"shadow": True}, make_review(), "/mutate", Outcome.SHADOWED),
    "not asked": ({}, annotated(), "/mutate", Outcome.SKIPPED),
    "opted out": ({}, annotated(**{"pillion.dev/inject": "false"}), "/mutate/opted-in", Outcome.SKIPPED),
    "no pod": ({}, make_review(kind={"group": "", "version": "v1", "kind": "Node"}), "/mutate", Outcome.SKIPPED),
    "bad annotation": ({}, annotated(**BAD), "/mutate", Outcome.NOT_INJECTABLE),
    "bad annotation in shadow mode": ({"shadow": True}, annotated(**BAD), "/mutate", Outcome.NOT_INJECTABLE),
    "bad annotation under strict": (DENIES, annotated(**BAD), "/mutate", Outcome.DENIED),
    "impossible plan under strict": (DENIES, annotated(**IMPOSSIBLE), "/mutate", Outcome.NOT_INJECTABLE),
    "unreadable pod": (
        {},
        make_review({"metadata": {"annotations": BAD}, "spec": 5}),
        "/mutate",
        Outcome.NOT_INJECTABLE,
    ),
    "too late": ({}, make_review(), "/mutate?timeout=1ns", Outcome.FAILED),
    "bug": ({}, make_review(), "/mutate", Outcome.FAILED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_audit_annotation_log_and_metric_say_the_same(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """One list of outcomes: whoever counts denials in one place counts them in each."""
    settings, document, path, outcome = KINDS[kind]
    server = serve(**settings)
    if kind == "bug":
        monkeypatch.setattr(admission, "admit", lambda *_: 1 // 0)
    response = post(server, document, path)
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "review"])
    audit = response["auditAnnotations"]
    assert audit["outcome"] == line["outcome"] == outcome
    assert audit["reason"] == line["reason"]
    assert response["allowed"] is (outcome is not Outcome.DENIED)
    labels = {"outcome": audit["outcome"], "reason": audit["reason"], "profile": line["profile"]}
    assert server.sample("pillion_reviews_total", **labels) == 1


def test_every_outcome_is_compared() -> None:
    """A new one is, too."""
    assert {outcome for *_, outcome in KINDS.values()} == {*Outcome}


def test_the_documentation_lists_every_outcome() -> None:
    """In the table of docs/monitoring.md, in order."""
    page = (Path(webhook.service.__file__).parent.parent.parent / "docs/monitoring.md").read_text()
    table = page.partition("| outcome | the pod |\n|---|---|\n")[2].partition("\n\n")[0]
    assert [row.split("`")[1] for row in table.splitlines()] == [*Outcome]


def test_a_live_server_says_so(server: Running) -> None:
    """A page that answers is all that liveness means."""
    response = server.get("/livez")
    assert (response.status_code, response.text) == (200, "ok\n")


def test_a_ready_server_says_so(server: Running) -> None:
    """With a certificate that is good, and not about to leave."""
    response = server.get("/readyz")
    assert (response.status_code, response.text) == (200, "ok\n")
    assert server.sample("pillion_ready") == 1


def test_a_draining_server_is_alive_but_not_ready(serve: Callable[..., Running]) -> None:
    """Readiness fails first; a restart would not help."""
    server = serve()
    server.server.state.draining = True
    response = server.get("/readyz")
    assert response.status_code == 503
    assert "draining" in response.text
    assert server.metrics.registry.get_sample_value("pillion_ready") == 0
    assert server.get("/livez").status_code == 200


def test_a_server_whose_certificate_ended_is_not_ready(serve: Callable[..., Running]) -> None:
    """No API server would take its answers."""
    server = serve()
    server.server.state.certificate_not_after = datetime(2020, 1, 1, tzinfo=UTC)
    response = server.get("/readyz")
    assert response.status_code == 503
    assert "expired at 2020-01-01" in response.text


def test_metrics_are_exposed_in_both_formats(server: Running) -> None:
    """Prometheus's own text, and OpenMetrics for those who ask."""
    page = server.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert "pillion_build_info{" in page.text
    assert "pillion_certificate_not_after_timestamp_seconds " in page.text
    revision = server.server.state.configuration.profiles["tail"].revision
    assert f'pillion_profile_info{{profile="tail",revision="{revision}"}} 1.0' in page.text
    response = httpx2.get(
        f"{server.health_url}/metrics", headers={"Accept": "application/openmetrics-text"}, trust_env=False
    )
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_pages_are_only_read(server: Running, path: str) -> None:
    """Nothing can be posted to the health port."""
    response = httpx2.post(f"{server.health_url}{path}", content=b"x", trust_env=False)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/mutate", "/docs", "/openapi.json"])
def test_the_health_port_has_nothing_else(server: Running, path: str) -> None:
    """Reviews are answered over TLS only; there are no documentation pages."""
    assert server.get(path).status_code == 404


def test_metric_names_follow_the_conventions(server: Running) -> None:
    """Counters end in ``_total``, times are seconds, sizes bytes, all begin with our name."""
    server.post(json.dumps(make_review()).encode())
    names = {family.name: family for family in server.metrics.registry.collect()}
    assert names
    for name, family in names.items():
        assert name.startswith("pillion_")
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith(("_total", "_created"))
