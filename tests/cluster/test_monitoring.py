"""What watches Pillion, against the real API server's metrics, and as helm renders it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests import promtool
from tests.chart.rendering import objects
from tests.service.monitoring import ALERTS, EXPRESSIONS, RULES

from .client import Client
from .conftest import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("apiserver", "helm_program")]

WATCHED = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
NOBODY = "https://127.0.0.1:1/"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "app"},
    "spec": {"containers": [{"name": "app", "image": "app"}]},
}


def by_kind(**values: Any) -> dict[str, Any]:
    """Return the objects of a rendering with all that watches, by kind."""
    return {each["kind"]: each for each in objects({**WATCHED, **values})}


def test_the_release_named_pillion_gets_the_rules_that_were_tested() -> None:
    """What promtool's unit tests saw is what is installed, but for when a certificate of 30 days ends too soon."""
    text = ALERTS.read_text()
    assert text.count("7 * 86400") == 1
    tested = YAML(typ="safe", pure=True).load(text.replace("7 * 86400", str(30 * 86400 * 2 // 9)))
    assert by_kind()["PrometheusRule"]["spec"] == tested


def test_rules_with_other_names_and_times_are_rules(tmp_path: Path) -> None:
    """What the template put in is PromQL still."""
    spec = by_kind(fullnameOverride="a-b", webhook={"timeoutSeconds": 7})["PrometheusRule"]["spec"]
    (tmp_path / "rules.yaml").write_text(json.dumps(spec))
    assert "SUCCESS" in promtool.check("check", "rules", tmp_path / "rules.yaml")


def test_each_threshold_can_be_another(tmp_path: Path) -> None:
    """Where an alert compares by more or less, a value replaces that number, everywhere in it, and nothing else."""
    compared = {rule["alert"]: len(re.findall(r"[<>] [\d *]+$", rule["expr"], re.MULTILINE)) for rule in RULES}
    changes = {alert: {"threshold": 4321.5} for alert, count in compared.items() if count}
    spec = by_kind(prometheusRule={"enabled": True, "alerts": changes})["PrometheusRule"]["spec"]
    found = {rule["alert"]: rule["expr"] for rule in spec["groups"][0]["rules"]}
    assert {alert: expression.count("4321.5") for alert, expression in found.items()} == compared
    assert {alert: re.sub(r"([<>]) [\d.]+$", r"\1 1", found[alert], flags=re.MULTILINE) for alert in found} == {
        rule["alert"]: re.sub(r"([<>]) [\d *]+$", r"\1 1", rule["expr"], flags=re.MULTILINE) for rule in RULES
    }
    (tmp_path / "rules.yaml").write_text(json.dumps(spec))
    assert "SUCCESS" in promtool.check("check", "rules", tmp_path / "rules.yaml")


def test_the_entries_are_those_that_alerts_and_dashboard_name() -> None:
    """The API server's metrics know the webhook's entries by their names; those of lints are no pods'."""
    entries, lints = (
        {entry["name"] for entry in by_kind()[f"{kind}WebhookConfiguration"]["webhooks"]}
        for kind in ("Mutating", "Validating")
    )
    for where, expression in EXPRESSIONS.items():
        for selector in promtool.selectors(expression):
            if "name" in selector.labels:
                pattern = _filled(selector.labels["name"])
                assert all(re.fullmatch(pattern, entry) for entry in entries), where
                assert not any(re.fullmatch(pattern, entry) for entry in lints), where


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
def test_the_api_servers_metrics_are_what_the_alerts_ask_for(apiserver: Cluster, namespace: str, policy: str) -> None:
    """A webhook with our entries' names and nobody behind it makes the series, with the labels, that are looked for."""
    hooks = by_kind(webhook={"failurePolicy": policy})["MutatingWebhookConfiguration"]
    hooks["metadata"]["name"] = f"nobody-{policy.lower()}"
    for entry in hooks["webhooks"]:
        entry["clientConfig"] = {"url": NOBODY}
        entry["matchConditions"] = []
        entry["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    kubectl = apiserver.kubectl
    kubectl("create", "-f", "-", stdin=hooks)
    try:
        series = _series_after_calls(kubectl, namespace, policy)
    finally:
        kubectl("delete", "mutatingwebhookconfiguration", hooks["metadata"]["name"])
    absent = "rejection_count" if policy == "Ignore" else "fail_open_count"
    # other tests' webhooks may have made that one, with labels of their own
    series = {name: found for name, found in series.items() if not name.endswith(absent)}
    for where, expression in EXPRESSIONS.items():
        for name in promtool.metric_names(expression):
            if name.startswith("apiserver_") and not name.endswith(absent):
                assert name in series, where
        for selector in promtool.selectors(expression):
            if selector.name.startswith("apiserver_") and selector.name in series:
                found = series[selector.name]
                wanted = {label: _filled(text) for label, text in selector.labels.items()}
                assert any(_matches(labels, wanted) for labels in found), (where, found)


def _series_after_calls(kubectl: Client, namespace: str, policy: str) -> dict[str, list[dict[str, str]]]:
    """Return the labels of the API server's series by name, once it has called our entries."""
    wanted = "fail_open_count" if policy == "Ignore" else "rejection_count"
    for _ in range(200):  # until it has seen the webhook: under a second
        kubectl.attempt("create", "-n", namespace, "--dry-run=server", "-f", "-", stdin=POD)
        series = promtool.series(kubectl("get", "--raw", "/metrics"))
        ours = series.get(f"apiserver_admission_webhook_{wanted}", [])
        if any(labels["name"].endswith(".pillion.dev") for labels in ours):
            return series
    return pytest.fail("the API server never called the webhook")


def _filled(pattern: str) -> str:
    """Return a pattern as Grafana fills in the dashboard's variables."""
    return pattern.replace("$job", "pillion").replace("$namespace", "pillion-system")


def _matches(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    return all(re.fullmatch(pattern, labels.get(label, "")) for label, pattern in wanted.items())
