"""`pillion certs` against a real API server: what a release has, a rotation that is asked for, and missing rights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from .client import Client
from .conftest import RunningCluster
from .image import REPOSITORY
from .processes import wait_until
from .release import Release

pytestmark = pytest.mark.cluster

PROGRAM = "import sys; from webhook.cli import main; sys.exit(main())"
ROTATE_SECONDS = 60.0  # a keeper looks every ten


def certs(node: RunningCluster, *words: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command, with the cluster's own kubectl on PATH."""
    command = [sys.executable, "-c", PROGRAM, "certs", *words, f"--kubeconfig={kubeconfig or node.kubeconfig}"]
    path = f"{node.kubectl.program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **node.kubectl.environment, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)


def test_a_release_is_found_and_good(pillion: Release, node: RunningCluster) -> None:
    """By its own annotation; each entry trusts the pair in its Secret."""
    shown = certs(node, "show", "-n", pillion.namespace)
    assert shown.returncode == 0, shown.stderr
    assert f"Secret {pillion.namespace}/{pillion.deployment}-certificate, tls.crt\n" in shown.stdout
    judged = certs(node, "verify", "-n", pillion.namespace)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert judged.stdout.count(f": valid for {pillion.deployment}.{pillion.namespace}.svc until ") == 4


def test_a_rotation_that_is_asked_for_comes(pillion: Release, node: RunningCluster) -> None:
    """A keeper sees the annotation; the new leaf is as good as the former one."""

    def leaf() -> str:
        items = json.loads(certs(node, "show", "-o", "json", "-n", pillion.namespace).stdout)
        return next(str(item["sha256"]) for item in items if item["source"].endswith("tls.crt"))

    before = leaf()
    asked = certs(node, "rotate", "leaf", "-n", pillion.namespace)
    assert asked.returncode == 0, asked.stderr
    assert wait_until(lambda: leaf() != before, ROTATE_SECONDS, poll=1)
    assert certs(node, "verify", "-n", pillion.namespace).returncode == 0


def test_missing_rights_are_said(
    pillion: Release, node: RunningCluster, kubectl: Client, namespace: str, tmp_path: Path
) -> None:
    """In the API server's words, which name the right; a token is as good as a certificate to say who asks."""
    config = YAML(typ="safe", pure=True).load(node.kubeconfig.read_text())
    token = kubectl("create", "token", "default", "-n", namespace).strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "powerless"
    path.write_text(json.dumps(config))
    answer = certs(node, "verify", "-n", pillion.namespace, kubeconfig=path)
    assert answer.returncode == 2
    assert "(Forbidden)" in answer.stderr
    assert 'cannot list resource "mutatingwebhookconfigurations"' in answer.stderr
