"""Alerts and dashboard of the chart, and the pages about them, against what a live server shows."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from certs.shared_directory import KeeperStatus
from tests.injection.reviews import CONFIGURATION, patched, verdict_on
from tests.promtool import check, metric_names, selectors, series
from tests.service.metrics_table import PAGE, page
from tests.service.monitoring import ALERTS, DASHBOARD, EXPRESSIONS, QUERIES, ROOT, RULES, load
from tests.service.process import Process, ask
from webhook.injection.outcome import FAILURES, Outcome
from webhook.injection.reasons import Reason
from webhook.service.metrics import Metrics

RUNBOOKS = ROOT / "docs/runbooks.md"
UPGRADING = ROOT / "docs/upgrading.md"
UNIT_TESTS = ROOT / "tests/chart/alerts.test.yaml"
#: What Prometheus adds to every series that it scrapes.
TARGET_LABELS = {"job", "namespace", "pod"}
#: Not ours: Prometheus' own, those of kube-state-metrics, and the API server's (tests/cluster/test_monitoring.py).
FOREIGN = re.compile(r"up|kube_\w+|apiserver_\w+")


def of_a_keeper() -> str:
    """Return the page of a server with a keeper beside it, as in a cluster."""
    metrics = Metrics(CollectorRegistry())
    metrics.observe_keeper(lambda: KeeperStatus(last_success=1.0))
    return generate_latest(metrics.registry).decode()


def filled(query: str) -> str:
    """Return a dashboard's query as Grafana sends it."""
    for variable, value in {"$__rate_interval": "5m", "$__range": "6h", "$job": "pillion", "$namespace": "x"}.items():
        query = query.replace(variable, value)
    return query


@pytest.fixture
def live(launch: Callable[..., Process]) -> str:
    """Return the metrics page of a process that has answered a review, and refused what is none."""
    process = launch()
    connection = process.connect()
    ask(connection)
    connection.request("GET", "/mutate")
    connection.getresponse().read()
    connection.request("POST", "/mutate", b"{}", {"Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()
    return process.metrics()


def test_the_page_is_as_promtool_wants_it(live: str) -> None:
    """Names, types, units and help texts by Prometheus' conventions."""
    assert check("check", "metrics", stdin=live) == ""


def test_every_metric_of_alerts_and_dashboard_is_on_the_page(live: str) -> None:
    """So are their labels, and each value that a query looks for can come."""
    found = {**series(of_a_keeper()), **series(live)}
    possible = {*Outcome, *Reason}
    for where, expression in EXPRESSIONS.items():
        ours = {name for name in metric_names(expression) if not FOREIGN.fullmatch(name)}
        assert ours <= found.keys(), where
        for selector in selectors(expression):
            if FOREIGN.fullmatch(selector.name):
                continue
            for label, text in selector.labels.items():
                if label not in TARGET_LABELS:
                    values = {labels[label] for labels in found[selector.name]} | possible
                    assert set(text.split("|")) <= values, f"{where}: {label}"


def test_alerts_are_valid_rules() -> None:
    """Read by promtool, templates included."""
    assert f"SUCCESS: {len(RULES)} rules found" in check("check", "rules", ALERTS)


def test_alerts_fire_when_they_should() -> None:
    """tests/chart/alerts.test.yaml, run by promtool."""
    check("test", "rules", UNIT_TESTS)


def test_every_alert_is_seen_to_fire() -> None:
    """A rule that no history sets off is a rule that nobody tested."""
    cases = [case for test in load(UNIT_TESTS)["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in RULES}


def test_every_alert_says_what_to_do() -> None:
    """A severity, a summary, a description, and a link to a section of docs/runbooks.md with three answers."""
    text = RUNBOOKS.read_text()
    for rule in RULES:
        name = rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"docs/runbooks.md lacks the section {name}"
        for answer in ("**Meaning.**", "**Diagnosis.**", "**Mitigation.**"):
            assert answer in section[1], f"{name} lacks {answer}"
    written = set(re.findall(r"^### (Pillion\w+)$", text, re.MULTILINE))
    assert written == {rule["alert"] for rule in RULES}


def test_the_dashboards_queries_are_valid(tmp_path: Path) -> None:
    """Each is parsed as a rule."""
    rules = [{"record": "a:b", "expr": filled(query), "labels": {"query": name}} for name, query in QUERIES.items()]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(QUERIES)} rules found" in check("check", "rules", file)
    assert "$" not in "".join(map(filled, QUERIES.values()))


def test_the_dashboards_panels_have_places_of_their_own() -> None:
    """Unique ids, 24 columns, nothing on top of anything else."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        taken = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert max(columns) < 24
        assert not cells & taken, panel["title"]
        cells |= taken


def test_the_dashboard_asks_for_one_release() -> None:
    """Each query of ours names job and namespace; the data source is the reader's choice."""
    for where, query in QUERIES.items():
        for selector in selectors(query):
            if not selector.name.startswith("apiserver_"):
                assert (selector.labels.get("job"), selector.labels.get("namespace")) == ("$job", "$namespace"), where
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}


def test_pods_on_an_old_revision_are_found(tmp_path: Path) -> None:
    """By the command of docs/upgrading.md, from what a server shows and what its template prints of pods."""
    (command,) = re.findall(r"^ *```sh\n(.*?)^ *```$", UPGRADING.read_text(), re.MULTILINE | re.DOTALL)
    metrics = Metrics(CollectorRegistry())
    metrics.set_profiles(CONFIGURATION.profiles.values(), from_backup=False)
    (tmp_path / "metrics").write_bytes(generate_latest(metrics.registry))
    pod = {"metadata": {"annotations": {"pillion.dev/inject": "true"}}, "spec": {"containers": [{"name": "app"}]}}
    now = patched(pod, verdict_on(pod))["metadata"]["annotations"]["pillion.dev/status"]
    revision = CONFIGURATION.profiles["tail"].revision
    old = [f"shop/old {now.replace(revision, '0123456789')}", f"shop/gone {now.replace('tail', 'gone')}"]
    (tmp_path / "pods").write_text("\n".join([f"shop/now {now}", *old]) + "\n")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\ncase "$*" in *metrics) cat {tmp_path}/metrics;; *) cat {tmp_path}/pods;; esac\n')
    kubectl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", "-ec", command], check=True, capture_output=True, text=True, env={"PATH": path}, cwd=tmp_path
    )
    assert run.stdout.splitlines() == old


def test_names_are_found_in_expressions() -> None:
    """The reader of expressions itself."""
    expression = 'sum by (a) (rate(x{l="y{z}", m=~"b|c"}[5m])) > on (d) group_left (e) g unless h offset 5m or f(i)'
    assert metric_names(expression) == {"x", "g", "h", "i"}
    assert selectors('x{l="y", m=~"b|c"} / y{}') == [("x", {"l": "y", "m": "b|c"}), ("y", {})]


def test_the_table_of_metrics_is_current() -> None:
    """It is made of the registry; python -m tests.service.metrics_table --update makes it again."""
    assert page(PAGE.read_text()) == PAGE.read_text()


def test_the_first_failure_is_an_increase(live: str) -> None:
    """What an alert counts is there at zero from the start."""
    for reason in FAILURES:
        assert f'pillion_reviews_total{{outcome="failed",profile="",reason="{reason.value}"}} 0.0' in live
    assert 'pillion_review_warnings_total{reason="bad_annotation"} 0.0' in live
    for where in ("review", "poll", "library"):
        assert f'pillion_unexpected_exceptions_total{{where="{where}"}} 0.0' in live
