"""The chart as it is rendered: lint, unit tests, the schemas of the oldest and the newest Kubernetes, words for people.

No cluster is started; it is here because helm and the checkers are built from source as the cluster's programs are.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.chart import programs as checkers
from tests.chart import schemas
from tests.chart.rendering import PROVIDED, VALUE_SETS, helm, objects, rendered
from tests.chart.server_settings import SERVER_SETTINGS, variable
from tests.pages import ROOT, files
from webhook.cli import main
from webhook.configuration import parse
from webhook.injection.profile import DEFAULT_PREFIX
from webhook.profiles import RELEASED_IMAGE, builtins
from webhook.service.settings import SETTINGS, Settings

from .image import CHART
from .programs import build

pytestmark = pytest.mark.cluster

#: Kinds of the Prometheus operator and of cert-manager, which Kubernetes itself does not know. The API server judges
#: cert-manager's in test_cert_manager.py, by its definitions.
OPERATORS = ("ServiceMonitor", "PrometheusRule", "Certificate", "Issuer")
#: What a pod is given beyond the time for which the server serves on.
MARGIN_SECONDS = 15


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Skip where the programs can't be built."""
    lacks = checkers.missing()
    if lacks:
        pytest.skip(f"this machine can't check the chart; it lacks: {'; '.join(lacks)}")


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    """No error and no warning."""
    answer = helm("lint", "--strict", str(CHART), values=values)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "[WARNING]" not in answer.stdout


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_our_own_lint_finds_nothing(values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The labels and annotations that the chart itself has are no mistakes, the prefix of its values included."""
    (tmp_path / "chart.yaml").write_text(rendered(values))
    prefix = values.get("prefix", DEFAULT_PREFIX)
    assert main(["lint", "--prefix", prefix, "-f", str(tmp_path / "chart.yaml")]) == 0
    assert capsys.readouterr().out == ""


def test_the_charts_own_unit_tests_pass() -> None:
    """charts/pillion/tests, run by helm-unittest."""
    command = [str(build(checkers.HELM_UNITTEST)), "--strict", "-f", "tests/*_test.yaml", str(CHART)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("version", schemas.VERSIONS)
@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_every_object_is_one_that_kubernetes_knows(values: dict[str, Any], version: str) -> None:
    """Strictly: a misspelt field is an error, in the oldest version and in the newest."""
    answer = conform(rendered(values), version)
    assert answer.returncode == 0, answer.stdout
    found = json.loads(answer.stdout)["summary"]
    assert found["valid"] >= 9
    assert found["skipped"] == sum(
        line == f"kind: {kind}" for line in rendered(values).splitlines() for kind in OPERATORS
    )


def test_a_misspelt_field_is_found() -> None:
    """The check can fail."""
    answer = conform(rendered({}).replace("containerPort:", "containerport:"), "v1.36.3")
    assert answer.returncode != 0
    assert "containerport" in answer.stdout


def conform(manifests: str, version: str) -> subprocess.CompletedProcess[str]:
    """Run kubeconform with a version's schemas."""
    location = f"{schemas.folder(version)}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    command = [str(build(checkers.KUBECONFORM)), "-summary", "-output=json"]
    command += [f"-skip={','.join(OPERATORS)}", f"-schema-location={location}"]
    return subprocess.run(command, input=manifests, capture_output=True, text=True, check=False)


def test_the_configuration_names_the_sidecars_image() -> None:
    """With it `pillion inject` makes of a pod what the servers do; without values that is the released image."""
    (written,) = (
        found["data"]["configuration.yaml"]
        for found in objects({})
        if found["kind"] == "ConfigMap" and "configuration.yaml" in found["data"]
    )
    container = parse(written.encode(), "configuration.yaml").profiles["tail"].container
    assert (container["image"], container["imagePullPolicy"]) == (RELEASED_IMAGE, "IfNotPresent")


def pod_template(values: dict[str, Any]) -> Any:
    """Return the servers' pod template: where it changes, they are replaced."""
    (deployment,) = (found for found in objects(values) if found["kind"] == "Deployment")
    return deployment["spec"]["template"]


@pytest.mark.parametrize(
    ("values", "replaced"),
    [
        pytest.param({"profiles": {"tail": {"order": "first"}}}, True, id="profile"),
        pytest.param({"strict": True}, True, id="strict"),
        pytest.param({"webhook": {"timeoutSeconds": 3}}, False, id="webhook"),
        pytest.param({"server": {"clientCA": "-----BEGIN CERTIFICATE-----\n"}}, False, id="client-ca"),
    ],
)
def test_a_changed_configuration_replaces_the_servers(values: dict[str, Any], replaced: bool) -> None:
    """So that `--wait` waits for servers that have it; nothing else in the ConfigMap does."""
    before, after = (pod_template(each)["metadata"]["annotations"] for each in ({}, values))
    assert (before != after) is replaced


@pytest.mark.parametrize("name", builtins())
def test_every_builtin_profile_is_known(name: str) -> None:
    """The chart's own list of them, with which it refuses others, is complete."""
    assert pod_template({"defaultProfile": name, "profiles": {"mine": {"base": name}}})


def test_the_server_reads_its_settings() -> None:
    """Each of server.settings arrives, and the pod is given the time that the server takes."""
    given = {
        name: 7 if schema["type"] == "integer" else "7MiB" if "MiB" in schema["pattern"] else "70s"
        for name, schema in SERVER_SETTINGS.items()
    }
    spec = pod_template({"server": {"settings": given}})["spec"]
    environment = {each["name"]: each["value"] for each in spec["containers"][0]["env"]}
    assert Settings.unknown_variables(environment) == []
    settings = Settings.read({}, environment)
    read = {getattr(settings, row.name) for row in SETTINGS if row.variable in map(variable, given)}
    assert read == {7, 7 << 20, 70.0}
    assert spec["terminationGracePeriodSeconds"] == settings.drain_timeout + MARGIN_SECONDS
    assert pod_template({})["spec"]["terminationGracePeriodSeconds"] == Settings().drain_timeout + MARGIN_SECONDS


@pytest.mark.parametrize(
    ("page", "name", "written"),
    [
        ("installing.md", "namespaces.yaml", "- forbidden"),
        ("monitoring.md", "alerts.yaml", ") > 10"),
    ],
)
def test_the_values_of_a_page_are_values(page: str, name: str, written: str) -> None:
    """What they are for is in what is rendered; docs/platforms.md has its own tests."""
    text = files((ROOT / "docs" / page).read_text())[name]
    assert written in rendered(YAML(typ="safe", pure=True).load(text))


def test_each_file_holds_one_object() -> None:
    """A reader finds an object by its file's name."""
    text = rendered(VALUE_SETS["everything"])
    sources = [line for line in text.splitlines() if line.startswith("# Source: ")]
    assert len(sources) == len(set(sources)) == text.count("\nkind: ")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"replica": 3}, "additional properties 'replica' not allowed", id="unknown"),
        pytest.param({"image": {"name": "x"}}, "at '/image': additional properties 'name'", id="unknown-below"),
        pytest.param({"replicas": "two"}, "at '/replicas': got string, want integer", id="type"),
        pytest.param({"prefix": "pillion.dev"}, "at '/prefix'", id="prefix-without-slash"),
        pytest.param({"webhook": {"timeoutSeconds": 31}}, "at '/webhook/timeoutSeconds'", id="timeout"),
        pytest.param({"webhook": {"failurePolicy": None}}, "at '/webhook': missing property", id="taken-away"),
        pytest.param({"webhook": {"excludedNamespaces": ["team-*"]}}, "at '/webhook/excludedNamespaces/0'", id="glob"),
        pytest.param({"server": {"port": 443}}, "at '/server/port'", id="low-port"),
        pytest.param({"server": {"settings": {"bodyTimeout": "0s"}}}, "at '/server/settings/bodyTimeout'", id="zero"),
        pytest.param({"server": {"settings": {"drainTimeOut": "5s"}}}, "properties 'drainTimeOut'", id="setting"),
        pytest.param({"server": {"settings": {"drainTimeout": 5}}}, "at '/server/settings/drainTimeout'", id="no-unit"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], said: str) -> None:
    """By the schema, before anything is rendered."""
    answer = helm("template", "pillion", str(CHART), values=values)
    assert answer.returncode != 0
    assert said in answer.stderr


def test_a_cluster_that_is_too_old_is_refused() -> None:
    """Native sidecars are on from 1.29."""
    answer = helm("template", "pillion", str(CHART), "--kube-version=1.28.0")
    assert answer.returncode != 0
    assert "requires kubeVersion: >=1.29.0-0" in answer.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({}, 'pillion.dev/inject: "true"', id="first-pod"),
        pytest.param({"prefix": "logs.example.org/"}, 'logs.example.org/inject: "true"', id="prefix"),
        pytest.param({"replicas": 1}, "ONE REPLICA: while it restarts or its node is down, pods are created", id="one"),
        pytest.param({"webhook": {"failurePolicy": "Fail"}}, "no annotated pod and no pod of a labelled", id="fail"),
        pytest.param({"webhook": {"failurePolicy": "Fail"}}, "install with webhook.failurePolicy=Ignore", id="order"),
        pytest.param({"shadow": True}, "SHADOW MODE", id="shadow"),
        pytest.param({"hostNetwork": True}, "ports 8443 and 8080 of their nodes", id="host-network"),
        pytest.param({}, "kubectl create --dry-run=server -f -", id="why-not"),
        pytest.param({"image": {"repository": "a/b", "tag": "c"}}, "a node can't pull a/b:c.", id="image"),
        pytest.param({"profiles": {"mine": {"base": "tail"}}}, "PROFILES: if they are invalid", id="profiles"),
        pytest.param({}, "Pillion renews the certificates itself", id="self-managed"),
        pytest.param({"certificates": PROVIDED}, "The certificate is in the Secret pair", id="provided"),
        pytest.param({"certificates": {"mode": "cert-manager"}}, "in the Secret pillion-tls", id="cert-manager"),
    ],
)
def test_the_notes_say_what_one_should_know(values: dict[str, Any], said: str) -> None:
    """They are what a person reads after `helm install`."""
    answer = helm("install", "pillion", str(CHART), "--dry-run=client", values=values)
    assert answer.returncode == 0, answer.stderr
    assert said in answer.stdout.partition("NOTES:")[2]


def test_alerts_look_at_no_other_release() -> None:
    """The file that they are made of is written for a release called pillion in pillion-system."""
    values = {"prometheusRule": {"enabled": True}}
    (rules,) = (each["spec"] for each in objects(values, "logs", "elsewhere") if each["kind"] == "PrometheusRule")
    expressions = "\n".join(rule["expr"] for rule in rules["groups"][0]["rules"])
    assert 'job="logs-pillion", namespace="elsewhere"' in expressions
    assert re.findall('"pillion"|pillion-system', expressions) == []


def test_nothing_secret_is_rendered() -> None:
    """Two renderings are the same bytes: no certificate, key or password is made by the chart."""
    one, other = (helm("template", "pillion", str(CHART)).stdout for _ in range(2))
    assert one == other == rendered({})
    templates = "".join(path.read_text() for path in Path(CHART / "templates").rglob("*") if path.is_file())
    assert "genCA" not in templates
    assert "lookup" not in templates
