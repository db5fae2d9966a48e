"""The profiles of docs/shipping.md for other shippers: what can be checked of them without these programs."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.injection.reviews import patched, verdict_on
from tests.pages import ROOT, files
from webhook.configuration import parse

PAGE = files((ROOT / "docs/shipping.md").read_text())
LOGS = ["/var/log/shop/*.log", '/srv/it\'s "here"/a.log']


def sidecar(profile: str) -> Any:
    """Return the sidecar of a profile of the page, in a pod with two log files."""
    annotations = {"inject": "true", "profile": profile, "logs": "\n".join(LOGS)}
    pod = {
        "metadata": {
            "name": "shop",
            "annotations": {f"pillion.dev/{key}": value for key, value in annotations.items()},
        },
        "spec": {"containers": [{"name": "shop", "image": "shop"}]},
    }
    name = f"{profile}.yaml"
    verdict = verdict_on(pod, parse(PAGE[name].encode(), name))
    assert verdict.injected, verdict.findings
    return patched(pod, verdict)["spec"]["initContainers"][0]


def test_vectors_configuration_is_yaml_with_the_pods_files() -> None:
    """Also with quotes in a path; vector fills in the variables before it reads the YAML."""
    variables = {each["name"]: each.get("value", "shop") for each in sidecar("s3")["env"]}
    text = re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], variables["CONFIGURATION"])
    configuration = yaml.safe_load(text)
    assert configuration["sources"]["logs"]["include"] == LOGS
    assert configuration["sinks"]["s3"]["inputs"] == ["logs"]


def test_vector_gets_its_configuration(tmp_path: Path) -> None:
    """As it is, by a shell."""
    _, _, script = sidecar("s3")["command"]
    script = script.replace("/pillion/vector", str(tmp_path)).replace("exec vector", "echo")
    subprocess.run(["/bin/sh", "-c", script], check=True, env={"CONFIGURATION": "a: %s ${B}\n"}, capture_output=True)
    assert (tmp_path / "vector.yaml").read_text() == "a: %s ${B}\n"


def test_fluent_bit_gets_the_files() -> None:
    """As one text with commas, by a shell."""
    container = sidecar("fluent-bit")
    shell, flag, script, name = container["command"]
    program = "import json, sys; print(json.dumps(sys.argv[1:]))"
    script = script.replace("exec /fluent-bit/bin/fluent-bit", f"exec python3 -c '{program}'")
    answer = subprocess.run(
        [shell, flag, script, name, *container["args"]],
        check=True,
        capture_output=True,
        env={"STORE": "es", "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    words = json.loads(answer.stdout)
    assert f"path={','.join(LOGS)}" in words
    assert words[words.index("-m") + 1] == "*"
    assert "host=es" in words


@pytest.mark.parametrize("exporter", ["splunk_hec", "kafka"])
def test_a_collector_acknowledges_what_the_store_has(exporter: str) -> None:
    """It has no queue and no retries of its own, and its pipeline is whole."""
    name = {"splunk_hec": "collector-splunk.yaml", "kafka": "collector-kafka.yaml"}[exporter]
    configuration = yaml.safe_load(PAGE[name])
    settings = configuration["exporters"][exporter]
    assert settings["sending_queue"] == settings["retry_on_failure"] == {"enabled": False}
    assert configuration["service"]["pipelines"]["logs"] == {"receivers": ["otlp"], "exporters": [exporter]}
