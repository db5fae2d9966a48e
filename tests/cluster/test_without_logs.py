"""The sidecars of docs/profiles.md that read no logs, beside applications that need them."""

import json
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests import pages
from webhook.cli import main

from .client import Client
from .processes import wait_until

pytestmark = pytest.mark.cluster

SECONDS = 60.0
FILES = pages.files((pages.ROOT / "docs/profiles.md").read_text())
BUSYBOX = "busybox:1.36"
#: Answers a request over HTTP, whatever it is, when its headers have ended.
ANSWER = r"while read -r line && [ ${#line} -gt 1 ]; do :; done; printf 'HTTP/1.0 200 OK\r\n\r\nanswer\n'"


@pytest.mark.parametrize(
    ("configuration", "pod", "application"),
    [
        pytest.param(
            "exporter.yaml",
            "cache.yaml",
            "until wget -qO- http://127.0.0.1:9121/metrics; do sleep 0.2; done",
            id="exporter",
        ),
        # its startup probe holds the application back, so the first try succeeds
        pytest.param("proxy.yaml", "orders.yaml", "wget -qO- http://127.0.0.1:5432/", id="proxy"),
    ],
)
@pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
def test_it_answers_the_application(  # noqa: PLR0917 - fixtures and parameters
    configuration: str,
    pod: str,
    application: str,
    kubectl: Client,
    namespace: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page's profile with a stand-in for its image; the pod ends when the application does."""
    yaml = YAML(typ="safe", pure=True)
    document = yaml.load(FILES[configuration])
    (profile,) = document["profiles"].values()
    sidecar = profile["sidecar"]
    servers = [f"nc -ll -p {port['containerPort']} -e sh -c {shlex.quote(ANSWER)} &" for port in sidecar["ports"]]
    sidecar |= {"image": BUSYBOX, "command": ["sh", "-c", "\n".join(["trap 'exit 0' TERM", *servers, "wait"])]}
    del sidecar["args"]
    (tmp_path / configuration).write_text(json.dumps(document))
    (tmp_path / pod).write_text(FILES[pod])
    assert main(["inject", "-f", str(tmp_path / pod), "--config", str(tmp_path / configuration)]) == 0
    manifest = yaml.load(capsys.readouterr().out)
    (container,) = manifest["spec"]["containers"]
    manifest["spec"] |= {"restartPolicy": "Never"}
    container |= {"image": BUSYBOX, "command": ["sh", "-c", application]}
    container["securityContext"] = manifest["spec"]["initContainers"][0]["securityContext"]

    kubectl("create", "-n", namespace, "-f", "-", stdin=manifest)
    name = manifest["metadata"]["name"]
    phase = ("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status.phase}")
    assert wait_until(lambda: kubectl(*phase) in ("Succeeded", "Failed"), SECONDS, poll=0.3)
    assert (kubectl(*phase), kubectl("logs", name, "-n", namespace)) == ("Succeeded", "answer\n")
