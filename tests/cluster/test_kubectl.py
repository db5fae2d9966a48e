"""What Pillion relies on in kubectl, by a real one and a real API server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.kubectl_calls import CALLS, Call, configuration, secret
from webhook.cli.kubectl import Kubectl
from webhook.errors import ClusterError

from .client import Client
from .conftest import Cluster

pytestmark = pytest.mark.cluster


@pytest.fixture
def calls_namespace(
    apiserver: Cluster, kubectl: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return a namespace that has what the calls need; the kubectl on PATH is the cluster's."""
    monkeypatch.setenv("PATH", str(kubectl.program.parent), prepend=":")
    monkeypatch.setenv("KUBECACHEDIR", str(apiserver.kubeconfig.parent / "kubectl"))
    kubectl("create", "-f", "-", stdin=secret(namespace))
    kubectl("create", "-f", "-", stdin=configuration(namespace))
    yield namespace
    kubectl("delete", "mutatingwebhookconfiguration", configuration(namespace)["metadata"]["name"])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_kubectl_answers_as_the_fake_does(apiserver: Cluster, calls_namespace: str, call: Call) -> None:
    """The same calls are made to the fake one in tests/cli/test_kubectl.py."""
    call(Kubectl(str(apiserver.kubeconfig)), calls_namespace)


def test_a_credential_plugin_is_asked(
    apiserver: Cluster, kubectl: Client, calls_namespace: str, tmp_path: Path
) -> None:
    """The plugin says who asks; kubectl runs it."""
    kubectl("create", "serviceaccount", "reader", "-n", calls_namespace)
    kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", calls_namespace)
    words = ("--role=reader", f"--serviceaccount={calls_namespace}:reader", "-n", calls_namespace)
    kubectl("create", "rolebinding", "reader", *words)
    token = kubectl("create", "token", "reader", "-n", calls_namespace).strip()
    # in a folder: beside its kubeconfig, kubectl would note a bare name, and look for that on PATH
    plugin = tmp_path / "bin" / "plugin"
    plugin.parent.mkdir()
    version = "client.authentication.k8s.io/v1beta1"
    plugin.write_text(
        f'#!{sys.executable}\nprint(\'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": '
        f'{{"token": "{token}"}}}}\')\n'
    )
    plugin.chmod(0o755)
    path = str(tmp_path / "kubeconfig")
    (tmp_path / "kubeconfig").write_bytes(apiserver.kubeconfig.read_bytes())
    options = (f"--exec-command={plugin}", f"--exec-api-version={version}", f"--kubeconfig={path}")
    kubectl("config", "set-credentials", "plugged", *options)
    cluster = kubectl("config", "view", "-o", "json")["clusters"][0]["name"]
    kubectl("config", "set-context", "plugged", f"--cluster={cluster}", "--user=plugged", f"--kubeconfig={path}")
    plugged = Kubectl(path, "plugged")
    assert plugged.get("configmap", namespace=calls_namespace)["kind"] == "List"
    # a reader of Secrets is somebody else
    with pytest.raises(ClusterError, match="failed with exit code 1"):
        plugged.get("secret", "one", namespace=calls_namespace)


def test_an_api_server_that_is_not_there_is_an_error(apiserver: Cluster, kubectl: Client, tmp_path: Path) -> None:
    """The address that was tried is in its words."""
    path = str(tmp_path / "kubeconfig")
    (tmp_path / "kubeconfig").write_bytes(apiserver.kubeconfig.read_bytes())
    cluster = kubectl("config", "view", "-o", "json")["clusters"][0]["name"]
    kubectl("config", "set-cluster", cluster, "--server=https://127.0.0.1:9", f"--kubeconfig={path}")
    with pytest.raises(ClusterError, match=r"failed with exit code 1: .*127\.0\.0\.1:9"):
        Kubectl(path).get("secret", "one")
