"""docs/platforms.md: its values, checked by other platforms' written rules, and run on the node where they can be."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chart import canary
from tests.chart.rendering import VALUE_SETS, objects, objects_to_apply
from tests.chart.restricted_v2 import refused
from tests.injection.reviews import patched, verdict_on
from tests.pages import ROOT, files
from webhook.configuration import parse

from .client import Client
from .conftest import Cluster, Install, NewNamespace, RunningCluster
from .processes import wait_until
from .release import EFFECT_SECONDS, Release, annotated_pod, applied, asking, image_values, prints
from .shell import shell_with

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("helm_program")]

#: A range of users as OpenShift gives a namespace, and the first one, whom pods get.
USERS = range(1000660000, 1000670000)
USER = USERS[0]
OPENSHIFT = VALUE_SETS["openshift"]


def pods_of(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Return the spec of each pod that a release makes: servers, test, canary, and an injected one."""
    made = {(each["kind"], each["metadata"]["name"]): each for each in objects(values)}
    test = made["Pod", "pillion-test"]["spec"]
    for variable in test["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    written = made["ConfigMap", "pillion"]["data"]["configuration.yaml"]
    pod = annotated_pod(asking(logs="/logs/app.log"))
    injected = patched(pod, verdict_on(pod, parse(written.encode(), "configuration.yaml")))
    assert len(injected["spec"]["initContainers"]) == 1
    return {
        "servers": made["Deployment", "pillion"]["spec"]["template"]["spec"],
        "test": test,
        "canary": canary.load().canary("tail")["spec"],
        "injected": injected["spec"],
    }


class TestOpenShift:
    """The values for it."""

    def test_the_constraint_accepts_each_pod(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """None names a user, a group or anything that restricted-v2 refuses."""
        for name, spec in pods_of(OPENSHIFT, monkeypatch).items():
            assert refused(spec) == [], name
            assert "runAsGroup" not in json.dumps(spec), name

    def test_it_refuses_them_without_the_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For their user alone."""
        found = {name: refused(spec) for name, spec in pods_of({}, monkeypatch).items()}
        assert found == {
            "servers": ["securityContext.runAsUser"],
            "test": ["securityContext.runAsUser"],
            "canary": ["securityContext.runAsUser"],
            "injected": ["initContainers.pillion-tail.runAsUser"],
        }

    def test_a_user_that_openshift_chose_stays(self) -> None:
        """A pod that has its user and its SELinux options when it is sent gets a sidecar with the same."""
        (written,) = (
            each["data"]["configuration.yaml"]
            for each in objects(OPENSHIFT)
            if each["kind"] == "ConfigMap" and "configuration.yaml" in each["data"]
        )
        pod = annotated_pod(asking(logs="/logs/app.log"), securityContext={"fsGroup": USER})
        pod["spec"]["containers"][0]["securityContext"] = {"runAsUser": USER}
        injected = patched(pod, verdict_on(pod, parse(written.encode(), "configuration.yaml")))
        assert refused(injected["spec"], USERS) == []

    @pytest.mark.usefixtures("node")
    def test_everything_runs_as_such_a_user(
        self, helm: Client, kubectl: Client, new_namespace: NewNamespace, pillion_image: tuple[str, ...]
    ) -> None:
        """With what the constraint would fill in: a user that no image knows, the group 0, and a group for volumes."""
        chosen = {"runAsUser": USER, "fsGroup": USER}
        names = {"name": "chosen", "namespace": new_namespace("restricted"), "prefix": "chosen.example.org/"}
        values = {**OPENSHIFT, **image_values(pillion_image), "prefix": names["prefix"], "replicas": 1}
        items = objects_to_apply(values, names["name"], names["namespace"])
        for each in items:
            if each["kind"] == "Deployment":
                each["spec"]["template"]["spec"]["securityContext"] |= chosen
        where = new_namespace()
        with applied(helm, kubectl, items, **names) as release:
            pod = annotated_pod(release.annotations(logs="/logs/app.log"), securityContext=chosen)
            made = kubectl("create", "-n", where, "-o", "json", "-f", "-", stdin=pod)
            assert "runAsUser" not in made["spec"]["initContainers"][0]["securityContext"]
            kubectl("wait", "-n", where, "--for=condition=Ready", "pod/app", "--timeout=60s")
            assert prints(kubectl, where, "app", ["a line"])


class TestTheNodesNetwork:
    """hostNetwork, on a node that one server fills."""

    @pytest.fixture
    def release(self, install: Install, new_namespace: NewNamespace) -> Release:
        """Return a release with ports that no other program has on the node."""
        ports = ("--set=server.port=9443", "--set=server.healthPort=9090")
        return install("on-node", "--set=hostNetwork=true", *ports, namespace=new_namespace("privileged"))

    def test_it_injects_and_is_updated_on_one_node(self, release: Release) -> None:
        """The new server needs the old one's ports: it comes when that one is gone."""
        (before,) = release.servers()
        said = release.helm("test", release.name, "-n", release.namespace, "--logs")
        assert "profile tail: a pod ran, its line was printed" in said
        release.upgrade("--reset-then-reuse-values", "--set=podAnnotations.updated=yes")
        (after,) = release.servers()
        assert before != after
        assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)
        # there is no second node: the scheduler keeps a second server off the first one's
        release.kubectl("scale", f"deployment/{release.deployment}", "-n", release.namespace, "--replicas=2")
        events = ("get", "events", "-n", release.namespace)
        assert wait_until(lambda: "didn't have free ports" in release.kubectl(*events), EFFECT_SECONDS, poll=0.5)
        assert release.injects()


@pytest.mark.usefixtures("apiserver")
@pytest.mark.parametrize(
    "place", ["platforms.md#use-the-nodes-network 1", "platforms.md#openshift 1"], ids=["host-network", "openshift"]
)
def test_the_commands_install(
    place: str, kubectl: Client, helm_on: Callable[[Cluster], Client], cluster: RunningCluster, tmp_path: Path
) -> None:
    """At an API server that runs nothing, for which nobody waits."""
    for name, text in files((ROOT / "docs/platforms.md").read_text()).items():
        (tmp_path / name).write_text(text)
    helm = helm_on(cluster)
    shell = shell_with(kubectl, helm, folder=tmp_path)
    namespace = f"platforms-{secrets.token_hex(4)}"
    try:
        said = shell(place, **{"wait": "wait=hookOnly", "pillion-system": namespace})
        assert "STATUS: deployed" in said, said
        assert "violate" not in said
    finally:
        helm.attempt("uninstall", "pillion", "-n", namespace, "--wait=hookOnly")
        kubectl("delete", "namespace", namespace, "--wait=false")
