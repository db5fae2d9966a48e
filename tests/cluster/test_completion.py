"""What kubectl completes for pillion in a real cluster."""

import argparse
import os

import pytest

from webhook.cli import completion

from .client import Client
from .release import annotated_pod

pytestmark = pytest.mark.cluster


@pytest.mark.usefixtures("apiserver")
def test_names_in_the_cluster(kubectl: Client, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces, and the names of objects in the namespace of the line."""
    kubectl("create", "-n", namespace, "-f", "-", stdin=annotated_pod({}, name="shop"))
    monkeypatch.setenv("PATH", f"{kubectl.program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))
    # the machine may be busy
    monkeypatch.setattr(completion, "TIME_LIMIT", 30.0)
    parser = argparse.ArgumentParser()
    target = parser.add_argument("target", metavar="KIND/NAME")
    option = parser.add_argument("--namespace")
    line = argparse.Namespace(namespace=namespace)
    assert list(completion._values("pod/s", action=target, parsed_args=line)) == ["pod/shop"]
    assert list(completion._values("pods/s", action=target, parsed_args=line)) == ["pods/shop"]
    none = argparse.Namespace(namespace=None)
    assert list(completion._values(namespace[:-1], action=option, parsed_args=none)) == [namespace]
