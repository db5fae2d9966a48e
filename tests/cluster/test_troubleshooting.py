"""Every command of docs/troubleshooting.md that needs a cluster, in its situation: it prints what the page shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pages import ROOT, files, shows
from webhook.cli import main

from .client import Client
from .conftest import Cluster, NewNamespace
from .control_plane import ApiServer
from .local_webhook import local_webhook
from .release import READY_SECONDS, Release, annotated_pod, asking
from .shell import Shell, eventually, shell_with

pytestmark = pytest.mark.cluster

#: Runs the command of a place until it prints what the page shows.
Shown = Callable[..., None]
#: Creates an object, and returns the page's words for it.
Create = Callable[[dict[str, Any]], dict[str, str]]

LOGS = "/var/log/shop/*.log"
BUSYBOX = "docker.io/library/busybox:1.36"


def shell_at(*clients: Client, folder: Path) -> Shell:
    """Return what runs a command in a folder with the page's files."""
    for name, text in files((ROOT / "docs/troubleshooting.md").read_text()).items():
        (folder / name).write_text(text)
    return shell_with(*clients, folder=folder)


def shown_by(shell: Shell, seconds: float) -> Shown:
    """Return what runs a command until it prints what the page shows, for so long; it fails with the last output."""

    def shown(place: str, **words: str) -> None:
        outputs = [""]

        def as_shown() -> bool:
            outputs.append(shell(place, **words))
            return shows(place, outputs[-1], **words)

        try:
            eventually(as_shown, seconds)
        except AssertionError:
            pytest.fail(f"{place} prints:\n{outputs[-1]}")

    return shown


def pod(*commands: str, annotations: dict[str, str] | None = None, name: str = "shop", **spec: Any) -> dict[str, Any]:
    """Return a pod with a container ``shop``, and one for each command more."""
    names = ("shop", "proxy")[: len(commands)] or ("shop",)
    containers = [
        {"name": each, "image": BUSYBOX, "command": ["sh", "-c", command]}
        for each, command in zip(names, commands or ("sleep 600",), strict=True)
    ]
    return annotated_pod(asking(logs=LOGS) if annotations is None else annotations, *containers, name=name, **spec)


def template_of(one: dict[str, Any]) -> dict[str, Any]:
    """Return a pod as a workload's template."""
    metadata = {"labels": {"app": "shop"}, "annotations": one["metadata"]["annotations"]}
    return {"metadata": metadata, "spec": one["spec"]}


class TestWithAnApiServer:
    """What it says of pods that nothing runs."""

    @pytest.fixture
    def shell(self, apiserver: Cluster, tmp_path: Path) -> Shell:
        """Return what runs a command."""
        return shell_at(apiserver.kubectl, folder=tmp_path)

    @pytest.fixture
    def shown(self, shell: Shell) -> Shown:
        """Return what runs a command and compares."""
        return shown_by(shell, 0)

    @pytest.fixture
    def injected(self, apiserver: Cluster, namespace: str, tmp_path: Path) -> dict[str, str]:
        """Return the words of a pod that Pillion has injected; it has a volume ``cache`` of its own."""
        if not isinstance(apiserver, ApiServer):
            pytest.skip("a cluster of one's own may not reach this machine")
        annotations = asking(logs=LOGS, volume_size_limit="1Gi")
        new = pod(annotations=annotations, volumes=[{"name": "cache", "emptyDir": {}}])
        with local_webhook(apiserver.kubectl, tmp_path):
            apiserver.kubectl("create", "-n", namespace, "-f", "-", stdin=new)
        return {"POD": "shop", "NAMESPACE": namespace}

    def test_a_pod_that_is_not_injected(self, kubectl: Client, shown: Shown, namespace: str) -> None:
        """Explained as somebody with rights in the cluster has printed it."""
        kubectl("create", "-n", namespace, "-f", "-", stdin=pod(annotations=asking(logs=LOGS[1:])))
        shown("troubleshooting.md#a-pod-is-not-injected 2", POD="shop", NAMESPACE=namespace)

    def test_a_namespace(self, shown: Shown, namespace: str) -> None:
        """Without the label, and with it."""
        shown("troubleshooting.md#the-namespace-does-not-opt-in 1", NAMESPACE=namespace)
        shown("troubleshooting.md#the-namespace-does-not-opt-in 2", NAMESPACE=namespace)

    def test_two_mounts_at_one_path(self, shown: Shown) -> None:
        """Are refused by the API server."""
        shown("troubleshooting.md#the-mount-path-is-not-unique 1")

    def test_pod_security(self, kubectl: Client, shown: Shown, new_namespace: NewNamespace) -> None:
        """A dry run names the pods that violate a standard."""
        namespace = new_namespace("privileged")
        kubectl("create", "-n", namespace, "-f", "-", stdin=pod())
        shown("troubleshooting.md#pod-security-refuses-the-pod 1", POD="shop", NAMESPACE=namespace)

    def test_what_an_injected_pod_says(self, shown: Shown, injected: dict[str, str]) -> None:
        """Who made its containers, its volumes' limits, and which of them keep no node."""
        shown("troubleshooting.md#who-made-this-container 1", **injected)
        shown("troubleshooting.md#a-pod-is-evicted 1", **injected)
        shown("troubleshooting.md#a-node-is-not-scaled-down 1", **injected)

    def test_an_autoscaler_of_one_container(self, shown: Shown, namespace: str) -> None:
        """The manifest is valid."""
        shown("troubleshooting.md#the-horizontalpodautoscaler-scales-wrongly 1", NAMESPACE=namespace)


@pytest.mark.usefixtures("helm_program")
class TestOnANode:
    """What pods show that run, with a release of the names that the page assumes."""

    @pytest.fixture
    def shell(self, pillion: Release, tmp_path: Path) -> Shell:
        """Return what runs a command."""
        return shell_at(pillion.kubectl, folder=tmp_path)

    @pytest.fixture
    def shown(self, shell: Shell) -> Shown:
        """Return what runs a command until it is as the page shows it."""
        return shown_by(shell, READY_SECONDS)

    @pytest.fixture
    def create(self, kubectl: Client, namespace: str) -> Create:
        """Return what creates an object named ``shop``, and returns the page's words for it."""

        def created(document: dict[str, Any]) -> dict[str, str]:
            kubectl("create", "-n", namespace, "-f", "-", stdin=document)
            return {"POD": "shop", "JOB": "shop", "WORKLOAD": "shop", "NAMESPACE": namespace}

        return created

    def test_the_release(self, shell: Shell, shown: Shown, tmp_path: Path) -> None:
        """It answers, and its configuration is one that the command line reads."""
        shown("troubleshooting.md#the-webhook-does-not-answer 1")
        assert shell("troubleshooting.md#see-the-change-before-you-apply-it 1") == ""
        assert "defaultProfile: tail" in (tmp_path / "pillion.yaml").read_text()
        command = ["inject", "-f", str(tmp_path / "app.yaml"), "--config", str(tmp_path / "pillion.yaml")]
        assert main(command) == 0

    def test_a_pod_that_is_not_injected(self, shown: Shown, create: Create) -> None:
        """Explained from the cluster, by the release's own configuration."""
        shown("troubleshooting.md#a-pod-is-not-injected 1", **create(pod(annotations=asking(logs=LOGS[1:]))))

    def test_a_pod_that_rotates(self, shown: Shown, create: Create) -> None:
        """Its renamed file is read on; the images say the versions."""
        file = "/var/log/shop/app.log"
        script = f"echo one line > {file}; sleep 3; mv {file} {file}.1; echo two > {file}; exec sleep 600"
        words = create(pod(script))
        shown("troubleshooting.md#rotated-files 1", **words)
        shown("troubleshooting.md#which-version-runs 1", **words)

    def test_a_file_of_its_own_user(self, shown: Shown, create: Create) -> None:
        """The sidecar says owner, mode and its own user."""
        words = create(pod("umask 077; echo secret > /var/log/shop/app.log; exec sleep 600"))
        shown("troubleshooting.md#the-sidecar-cant-read-a-log-file 1", **words)

    def test_a_pod_that_has_ended(self, shown: Shown, create: Create, kubectl: Client) -> None:
        """The sidecar's exit code says that it was done, and so it was."""
        words = create(pod("echo the last > /var/log/shop/app.log", restartPolicy="Never"))
        shown("troubleshooting.md#the-last-lines-are-missing 1", **words)
        assert kubectl("logs", "shop", "-n", words["NAMESPACE"], "-c", "pillion-tail") == "the last\n"

    def test_a_job_with_another_container(self, shown: Shown, create: Create) -> None:
        """That one is named, the application and the sidecar are not."""
        two = pod("echo done > /var/log/shop/app.log", "exec sleep 600", restartPolicy="Never")
        spec = {"template": template_of(two)}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "shop"}, "spec": spec}
        shown("troubleshooting.md#a-job-does-not-complete 1", **create(job))

    def test_a_sidecar_that_was_killed(self, shown: Shown, create: Create) -> None:
        """It was restarted, and the reason is there."""
        # the application is root, and sees the sidecar's process
        words = create(pod("sleep 3; killall -9 pillion-tail; exec sleep 600", shareProcessNamespace=True))
        shown("troubleshooting.md#the-sidecar-restarts 1", **words)

    def test_a_deployment(self, shown: Shown, create: Create, kubectl: Client, namespace: str) -> None:
        """It is restarted; where a quota asks for more, an event says why its pods are refused."""
        template = template_of(pod())
        template["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "100m"}}
        spec = {"selector": {"matchLabels": {"app": "shop"}}, "template": template}
        words = create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": spec})
        shown("troubleshooting.md#move-all-pods-to-a-new-profile 1", **words)
        kubectl("create", "quota", "cpu", "--hard=limits.cpu=1", "-n", namespace)
        kubectl("delete", "pods", "--all", "-n", namespace)
        shown("troubleshooting.md#a-pod-is-refused 1", **words)
