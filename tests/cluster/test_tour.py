"""examples/tour.sh on a real node, and what it says where it can't go on."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pages import ROOT

from . import image, programs
from .client import Client
from .conftest import Cluster
from .node import Node
from .shell import link_programs, shell_with, shown

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("apiserver", "helm_program")]

SECONDS = 300
MADE = ("pillion-tour", "pillion-tour-system")


def tour(folder: Path, *clients: Client, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with these programs alone; stderr is in stdout."""
    linked, environment = link_programs(folder, *clients)
    return subprocess.run(
        [str(image.REPOSITORY / "examples/tour.sh")],
        cwd=folder,
        env={**os.environ, **environment, "PATH": f"{linked}:/usr/bin:/bin", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def fresh_node(say: programs.Say, tmp_path: Path) -> Iterator[Node]:
    """Return a node with the images and nothing else: other tests' releases have the prefix that the tour wants."""
    lacks = programs.missing(whole=True) + image.missing()
    if lacks:
        pytest.skip(f"this machine can't run a Kubernetes node; it lacks: {'; '.join(lacks)}")
    node = Node.start(say=say)
    try:
        node.import_archive(image.pillion(tmp_path, say))
        yield node
    finally:
        node.stop()


@pytest.mark.minutes
def test_the_whole_tour(fresh_node: Node, helm_on: Callable[[Cluster], Client], tmp_path: Path) -> None:
    """A line of the application, a warning about the mistake; and nothing is left."""
    kubectl = fresh_node.kubectl
    answer = tour(tmp_path, kubectl, helm_on(fresh_node))
    assert answer.returncode == 0, answer.stdout
    steps = re.split(r"^\d\. ", answer.stdout, flags=re.MULTILINE)
    assert len(steps) == 6
    assert re.search(r"--tail=3\n.*\d\d:\d\d:\d\d", steps[3])
    assert re.search(r"^Warning: .*logs/\*.*write /logs/\*", steps[4], re.MULTILINE)
    assert_nothing_is_left(kubectl, "tour")


@pytest.mark.minutes
def test_the_page_leads_to_an_injected_pod(
    fresh_node: Node, helm_on: Callable[[Cluster], Client], tmp_path: Path
) -> None:
    """docs/get-started.md, command by command, as somebody types it who has given the node the images."""
    shell = shell_with(fresh_node.kubectl, helm_on(fresh_node), folder=tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    assert "STATUS: deployed" in shell("get-started.md#install 1")
    assert re.search("2/2 +Running", shell("get-started.md#install 2"))
    lines = r"successfully rolled out\n.*\d\d:\d\d:\d\d"
    assert shown(lambda: shell("get-started.md#inject-a-pod 1"), lines, SECONDS)
    assert "write /logs/*.log" in shell("get-started.md#make-a-mistake 1")
    shell("get-started.md#clean-up 1")
    assert_nothing_is_left(fresh_node.kubectl, "pillion")


def assert_nothing_is_left(kubectl: Client, word: str) -> None:
    """Fail if an object of the whole cluster has this word in its name."""
    for kind in ("namespaces", "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "clusterroles"):
        assert not [name for name in kubectl("get", kind, "-o", "name").split() if word in name]


def test_a_namespace_of_its_name_is_left_alone(
    apiserver: Cluster, helm_on: Callable[[Cluster], Client], kubectl: Client, tmp_path: Path
) -> None:
    """Somebody may have something there."""
    kubectl("create", "namespace", MADE[0])
    try:
        answer = tour(tmp_path, kubectl, helm_on(apiserver))
        assert answer.returncode == 1
        assert "tour: the namespace pillion-tour exists; remove it first" in answer.stdout
        assert kubectl.attempt("get", "namespace", MADE[0]).returncode == 0
    finally:
        kubectl("delete", "namespace", MADE[0], "--wait=false")


def test_without_helm_it_says_so(kubectl: Client, tmp_path: Path) -> None:
    """Before anything is made."""
    answer = tour(tmp_path, kubectl)
    assert (answer.returncode, answer.stdout) == (1, "tour: helm is not installed\n")
