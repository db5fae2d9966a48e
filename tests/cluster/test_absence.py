"""While nobody answers: pods are created all the same, at once or after the timeout."""

import base64
import time

import pytest

from .client import Client
from .conftest import Install
from .processes import wait_until
from .release import EFFECT_SECONDS, Release, annotated_pod, sidecars

pytestmark = pytest.mark.cluster


def create(kubectl: Client, namespace: str, release: Release, name: str) -> tuple[list[str], float]:
    """Create an annotated pod; return its sidecars and how long it took."""
    pod = annotated_pod(release.annotations(logs="/logs/app.log"), name=name)
    begin = time.monotonic()
    made = kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
    return sidecars(made), time.monotonic() - begin


def test_scaled_to_zero_pods_are_created_and_afterwards_injected_again(
    kubectl: Client, namespace: str, install: Install
) -> None:
    """A Service without a server costs nobody a pod."""
    release = install("absent")
    release.scale(0)
    assert wait_until(lambda: not release.injects(), EFFECT_SECONDS, poll=0.2)
    names, seconds = create(kubectl, namespace, release, "without")
    assert names == []
    assert seconds < 10
    release.scale(1)
    assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)
    assert create(kubectl, namespace, release, "with")[0] == ["pillion-tail"]


def test_an_unreachable_server_costs_its_timeout_once(kubectl: Client, namespace: str, install: Install) -> None:
    """Where packets vanish, the API server waits for timeoutSeconds and goes on."""
    release = install("vanished")
    entries = [
        {"op": "replace", "path": f"/webhooks/{number}/clientConfig", "value": {"url": "https://192.0.2.1/mutate"}}
        for number in range(2)
    ]
    patch = ("patch", "mutatingwebhookconfiguration", release.webhooks, "--type=json")
    kubectl(*patch, "--patch-file=/dev/stdin", stdin=entries)
    assert wait_until(lambda: not release.injects(), EFFECT_SECONDS, poll=0.2)
    names, seconds = create(kubectl, namespace, release, "app")
    assert names == []
    assert seconds < 2 + 3  # the timeout, and a slow machine


def test_a_certificate_that_nobody_trusts_refuses_no_pod(kubectl: Client, namespace: str, install: Install) -> None:
    """A caBundle of another CA: the pod is created without a sidecar."""
    release = install("untrusted")
    # else it would be mended within seconds
    kubectl("delete", "clusterrolebinding", release.webhooks)
    root = kubectl("get", "configmap", "kube-root-ca.crt", "-n", "default", "-o", "json")["data"]["ca.crt"]
    bundle = base64.b64encode(root.encode()).decode()
    entries = [{"op": "replace", "path": f"/webhooks/{n}/clientConfig/caBundle", "value": bundle} for n in range(2)]
    patch = ("patch", "mutatingwebhookconfiguration", release.webhooks, "--type=json")
    kubectl(*patch, "--patch-file=/dev/stdin", stdin=entries)
    assert wait_until(lambda: not release.injects(), EFFECT_SECONDS, poll=0.2)
    assert create(kubectl, namespace, release, "app")[0] == []
