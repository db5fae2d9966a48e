"""Tests of webhook.workloads.versions: apiVersion and kind that the API server does not know."""

from typing import Any

import pytest

from tests.workloads.examples import ASKS, SPEC, VERSIONS, examined, manifest, texts
from webhook.configuration import load
from webhook.injection.profile import Configuration
from webhook.workloads.templates import KUBERNETES


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    """Return the built-in configuration."""
    return load(None)


def asking(**fields: Any) -> dict[str, Any]:
    """Return a Deployment that asks, with other fields at its top."""
    return manifest("Deployment", {"metadata": {"annotations": ASKS}, "spec": SPEC}) | fields


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("apps/v1", "Pod", "1:1: warning: not injected: apps/v1 has no kind Pod; write apiVersion: v1"),
        ("v1", "Deployment", "1:1: warning: not injected: v1 has no kind Deployment; write apiVersion: apps/v1"),
        ("apps/v2", "Deployment", "1:1: warning: not injected: apps/v2 has no kind Deployment; write apiVersion: "),
        ("apps", "Deployment", "1:1: warning: not injected: apps has no kind Deployment; write apiVersion: apps/v1"),
        ("apps.k8s.io/v1", "Deployment", "1:1: warning: not injected: apps.k8s.io/v1 has no kind Deployment; write "),
        ("core/v1", "Pod", "1:1: warning: not injected: core/v1 has no kind Pod; write apiVersion: v1"),
        ("v1.0", "Pod", "1:1: warning: not injected: v1.0 has no kind Pod; write apiVersion: v1"),
        ("apps/v1", "CronJob", "1:1: warning: not injected: apps/v1 has no kind CronJob; write apiVersion: batch/v1"),
        ("extensions/v1beta1", "StatefulSet", "1:1: warning: not injected: extensions/v1beta1 has no kind Stateful"),
        ("apps/v1", "deployment", "2:1: warning: not injected: apps/v1 has no kind deployment; write kind: Deployment"),
        ("apps/v1", "Deploymnet", "2:1: warning: not injected: apps/v1 has no kind Deploymnet; write kind: Deployment"),
        ("v1", "pods", "2:1: warning: not injected: v1 has no kind pods; write kind: Pod"),
        (
            "v1",
            "deployment",
            "1:1: warning: not injected: v1 has no kind deployment; write apiVersion: apps/v1, kind: ",
        ),
        (1, "Pod", "1:1: warning: not injected: apiVersion is the number 1; write apiVersion: v1"),
        (None, "Pod", "1:1: warning: not injected: the object has no apiVersion; write apiVersion: v1"),
        ("", "Rollout", "1:1: warning: not injected: the object has no apiVersion; write its apiVersion"),
        ("apps/v1", None, "2:1: warning: not injected: the object has no kind; write its kind"),
        ("apps/v1", ["Pod"], "2:1: warning: not injected: kind is a list; write its kind"),
    ],
)
def test_what_the_api_server_does_not_know(version: Any, kind: Any, said: str, configuration: Configuration) -> None:
    """One warning at the key that is wrong says what to write, and strict is not met."""
    (report,) = examined(asking(apiVersion=version, kind=kind), configuration=configuration)
    (text,) = texts(report)
    assert text.startswith(said)
    assert report.reviews == []
    assert report.is_unmet


def test_keys_in_the_wrong_case(configuration: Configuration) -> None:
    """The field is there, but for a letter."""
    value = asking(apiversion="apps/v1")
    del value["apiVersion"]
    (report,) = examined(value, configuration=configuration)
    (text,) = texts(report)
    assert text.endswith('not injected: "apiversion" is no field; write apiVersion')
    assert not text.startswith("1:1:")


@pytest.mark.parametrize(
    ("version", "kind", "since", "right"),
    [
        ("extensions/v1beta1", "Deployment", "1.16", "apps/v1"),
        ("apps/v1beta2", "StatefulSet", "1.16", "apps/v1"),
        ("batch/v1beta1", "CronJob", "1.25", "batch/v1"),
    ],
)
def test_former_versions(version: str, kind: str, since: str, right: str, configuration: Configuration) -> None:
    """Old manifests are injected, and their author is told since when no cluster takes them."""
    value = manifest(kind, {"metadata": {"annotations": ASKS}, "spec": SPEC}) | {"apiVersion": version}
    (report,) = examined(value, configuration=configuration)
    assert report.reviews[0].verdict.injected
    assert texts(report)[0] == (
        f"1:1: warning: no Kubernetes since {since} has the {kind} of {version}; write apiVersion: {right}"
    )
    assert not report.is_unmet


def test_who_does_not_ask_is_told_quietly(configuration: Configuration) -> None:
    """What only the API server will refuse is a note, and an old version or a chart's values are nothing."""
    value = manifest("Deployment", {"spec": SPEC})
    (report,) = examined(value | {"apiVersion": "v1"}, configuration=configuration)
    assert texts(report) == ["1:1: note: not injected: v1 has no kind Deployment; write apiVersion: apps/v1"]
    assert not report.is_unmet
    old = {"apiVersion": "extensions/v1beta1"}
    assert not any(map(texts, examined(value | old, configuration=configuration)))
    assert examined({"kind": "Deployment", "replicas": 1}, configuration=configuration, opted_in=True) == []


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        *((VERSIONS[known.group], known.name) for known in KUBERNETES),
        ("v1", "Service"),
        ("v1", "Template"),
        ("apps.openshift.io/v1", "DeploymentConfig"),
        ("batch.volcano.sh/v1alpha1", "Job"),
        ("metrics.k8s.io/v1beta1", "PodMetrics"),
        ("policy/v1", "PodDisruptionBudget"),
    ],
)
def test_right_ones(version: str, kind: str, configuration: Configuration) -> None:
    """Kinds of Kubernetes where they are, and what is another kind."""
    value = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": SPEC}
    assert not any(map(texts, examined(value, configuration=configuration)))
