"""What Pillion relies on in kubectl, as calls: the fake one and the real one must answer alike."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from tests.cli.fake_kubectl import CONFIGURATIONS
from webhook.cli.kubectl import NOT_FOUND, Kubectl, path
from webhook.errors import ClusterError

__all__ = ["CALLS", "Call", "configuration", "secret"]

#: One way to call kubectl in a cluster that has :func:`secret` and :func:`configuration`, and what must come of it.
Call = Callable[[Kubectl, str], None]


def secret(namespace: str) -> dict[str, Any]:
    """Return the Secret that the calls read and write."""
    metadata = {"name": "one", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": "Yg=="}}


def configuration(namespace: str) -> dict[str, Any]:
    """Return the webhook configuration that the calls read."""
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    return {**kind, "metadata": {"name": f"calls.{namespace}"}, "webhooks": []}


def _lists_configurations(kubectl: Kubectl, namespace: str) -> None:
    names = [each["metadata"]["name"] for each in kubectl.get(CONFIGURATIONS)["items"]]
    assert f"calls.{namespace}" in names


def _reads_a_secret(kubectl: Kubectl, namespace: str) -> None:
    document = kubectl.get("secret", "one", namespace=namespace, ignore_not_found="true")
    assert (document["metadata"]["name"], document["data"]) == ("one", {"a": "Yg=="})


def _finds_no_secret(kubectl: Kubectl, namespace: str) -> None:
    for name in ("two", "--all-namespaces", "-A", "--raw=version", "one,two"):
        assert kubectl.get("secret", name, namespace=namespace, ignore_not_found="true") is None, name
    assert kubectl.get("secret", "one", namespace=f"{namespace}-other", ignore_not_found="true") is None


def _annotates_a_secret(kubectl: Kubectl, namespace: str) -> None:
    for value in ("1", "2"):
        patch = f'{{"metadata": {{"annotations": {{"example.org/a": "{value}"}}}}}}'
        kubectl.run("patch", "secret", "one", namespace=namespace, type="merge", patch=patch)
        annotations: Mapping[str, str] = kubectl.get("secret", "one", namespace=namespace)["metadata"]["annotations"]
        assert annotations["example.org/a"] == value


def _patches_no_secret(kubectl: Kubectl, namespace: str) -> None:
    with pytest.raises(ClusterError, match="failed with exit code 1"):
        kubectl.run("patch", "secret", "two", namespace=namespace, type="merge", patch="{}")


def _takes_no_other_kind(kubectl: Kubectl, namespace: str) -> None:
    with pytest.raises(ClusterError, match="failed with exit code 1"):
        kubectl.get("secret", "configmaps/one", namespace=namespace, ignore_not_found="true")


def _knows_its_contexts(kubectl: Kubectl, namespace: str) -> None:
    for context in ("absent", "--help"):
        with pytest.raises(ClusterError, match="failed with exit code 1"):
            Kubectl(kubectl.kubeconfig, context).get("secret", "one", namespace=namespace)


def _needs_its_kubeconfig(_: Kubectl, namespace: str) -> None:
    with pytest.raises(ClusterError, match="failed with exit code 1"):
        Kubectl("absent/kubeconfig").get("secret", "one", namespace=namespace)


def _refuses_unknown_options(kubectl: Kubectl, namespace: str) -> None:
    with pytest.raises(ClusterError, match="failed with exit code 1"):
        kubectl.get("secret", "one", namespace=namespace, nonsense="true")


def _reads_a_path(kubectl: Kubectl, namespace: str) -> None:
    found = kubectl.read(path("api", "v1", "namespaces", namespace, "secrets", "one"))
    assert (found["metadata"]["name"], found["data"]) == ("one", {"a": "Yg=="})


def _says_what_is_not_there(kubectl: Kubectl, namespace: str) -> None:
    for name in ("two", "one?limit=1", "one#"):
        with pytest.raises(ClusterError) as raised:
            kubectl.raw(path("api", "v1", "namespaces", namespace, "secrets", name))
        assert raised.value.reason == NOT_FOUND, name


def _lists_by_pages(kubectl: Kubectl, namespace: str) -> None:
    pages = list(kubectl.pages("api", "v1", "namespaces", namespace, "secrets", labelSelector=None))
    assert [msgspec.json.decode(item)["metadata"]["name"] for page in pages for item in page] == ["one"]


def _knows_the_namespace_of_its_context(kubectl: Kubectl, _: str) -> None:
    assert kubectl.run("config view", minify="true", output="jsonpath={..namespace}") == b""


CALLS: Mapping[str, Call] = {
    call.__name__.removeprefix("_"): call
    for call in (
        _lists_configurations,
        _reads_a_secret,
        _finds_no_secret,
        _annotates_a_secret,
        _patches_no_secret,
        _takes_no_other_kind,
        _knows_its_contexts,
        _needs_its_kubeconfig,
        _refuses_unknown_options,
        _reads_a_path,
        _says_what_is_not_there,
        _lists_by_pages,
        _knows_the_namespace_of_its_context,
    )
}
