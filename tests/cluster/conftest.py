"""Fixtures: a real API server, a real node, and a namespace of its own for each test.

| fixture         | scope   | is                                                                             |
|-----------------|---------|--------------------------------------------------------------------------------|
| `apiserver`     | session | etcd and kube-apiserver: judges pods (server-side dry run), runs none          |
| `node`          | session | a whole node: pods run                                                         |
| `cluster`       | test    | `apiserver` in a test that asks for it and not for `node`; otherwise `node`     |
| `kubectl`       | test    | kubectl for `cluster`                                                          |
| `helm_program`  | session | helm, built                                                                    |
| `helm_on`       | session | makes helm for a cluster                                                       |
| `helm`          | test    | helm for `cluster`                                                             |
| `namespace`     | test    | a new namespace in `cluster`; its indirect parameter is the Pod Security level |
| `new_namespace` | test    | makes more of them                                                             |
| `pillion_image` | session | the image under test, built from the Dockerfile, known to `node`               |
| `web_images`    | session | images under the names of nginx and ubuntu, known to `node`                    |
| `pillion`       | session | the chart, installed on `node` without values                                  |
| `install`       | test    | installs more releases                                                         |

With `--kubeconfig FILE` both clusters are the one that the file names. Each worker of pytest-xdist has clusters,
release and images of its own: a test shares nothing with one that runs beside it but the machine.
"""

import contextlib
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from . import image, programs, runs
from .client import Client
from .control_plane import ApiServer
from .existing import existing_cluster
from .images import Image, tail
from .node import Node
from .release import Release, installed

# It lets a container run that says nothing about its security, which restricted does not.
DEFAULT_LEVEL = "baseline"

_MADE = pytest.StashKey[list[tuple[Client, str]]]()


class Cluster(Protocol):
    """What each kind of cluster can do."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""

    @property
    def kubectl(self) -> Client:
        """The administrator's kubectl."""

    def prepare_namespace(self, namespace: str) -> None:
        """Return when the namespace takes pods."""


class RunningCluster(Cluster, Protocol):
    """What a cluster can do that runs pods."""

    def import_archive(self, archive: Path) -> None:
        """Make the images of a docker archive known."""

    def import_image(self, image: Image) -> None:
        """Make an image known."""


class NewNamespace(Protocol):
    """Makes namespaces that are deleted after the test."""

    def __call__(self, level: str = DEFAULT_LEVEL, labels: Mapping[str, str] | None = None) -> str:
        """Return the name of a new namespace that enforces this Pod Security level."""


class Install(Protocol):
    """Installs releases that are removed after the test."""

    def __call__(self, name: str, *options: str, namespace: str | None = None) -> Release:
        """Return a new release with a prefix, and where none is given a namespace, of its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let people bring a cluster of their own."""
    group = parser.getgroup("cluster")
    group.addoption("--kubeconfig", type=Path, help="use the cluster that is there instead of starting one")
    group.addoption(
        "--kubernetes",
        choices=tuple(programs.AGES),
        help="only the tests that an API server alone can run, with the oldest or the newest one",
    )
    group.addoption(
        "--kubelet",
        choices=tuple(programs.AGES),
        help="start nodes of the oldest or the newest version (for `make test-kubelet`; containerd must know it)",
    )
    group.addoption(
        "--load-image",
        default="",
        metavar="COMMAND",
        help="how that cluster gets an image archive, e.g. 'kind load image-archive'",
    )
    group.addoption(
        "--pillion-image",
        default="",
        metavar="NAME",
        help="test this image, which that cluster has or can pull, instead of building one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put first what takes minutes; leave out what needs a node where another API server is to be tested."""
    # else one worker would end with it alone
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)
    if config.getoption("kubernetes") is None:
        return

    def light(item: pytest.Item) -> bool:
        names = item.fixturenames if isinstance(item, pytest.Function) else ()
        return "apiserver" in names and "node" not in names

    config.hook.pytest_deselected(items=[item for item in items if not light(item)])
    items[:] = filter(light, items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Clear away what a worker left that was killed: pytest-xdist gives an interrupted one ten seconds."""
    if not hasattr(config, "workerinput"):
        runs.sweep()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the pods and events of a failed test's namespaces: afterwards they are gone."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.when == "call" and report.failed:
        for kubectl, namespace in item.stash.get(_MADE, []):
            for what in ("pods", "events"):
                answer = kubectl.attempt("get", what, "-n", namespace, "-o", "wide")
                report.sections.append((f"{what} in {namespace}", answer.stdout or answer.stderr))
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> programs.Say:
    """Return a way to tell the person at the terminal, past pytest's capturing, why it takes minutes."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def to_the_terminal(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"\n{line}\n")
            sys.stderr.flush()

    return to_the_terminal


@pytest.fixture(scope="session")
def apiserver(pytestconfig: pytest.Config, say: programs.Say) -> Iterator[Cluster]:
    """Return an API server that judges objects and runs none."""
    given = pytestconfig.getoption("kubeconfig")
    if given is not None:
        yield existing_cluster(given, pytestconfig.getoption("load_image"), say)
        return
    _skip_where(programs.missing(whole=False), "an API server")
    server = ApiServer.start(say=say, age=pytestconfig.getoption("kubernetes"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node(pytestconfig: pytest.Config, say: programs.Say) -> Iterator[RunningCluster]:
    """Return a cluster that runs pods."""
    given = pytestconfig.getoption("kubeconfig")
    if given is not None:
        existing = existing_cluster(given, pytestconfig.getoption("load_image"), say)
        if existing.load:
            existing.import_image(tail())
        yield existing
        return
    _skip_where(programs.missing(whole=True), "a Kubernetes node")
    whole = Node.start(say=say, age=pytestconfig.getoption("kubelet"))
    yield whole
    whole.stop()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Return the API server for a test that asks for `apiserver` and not for `node`, else the node."""
    light = "apiserver" in request.fixturenames and "node" not in request.fixturenames
    chosen: Cluster = request.getfixturevalue("apiserver" if light else "node")
    return chosen


@pytest.fixture
def kubectl(cluster: Cluster) -> Client:
    """Return kubectl for the test's cluster."""
    return cluster.kubectl


@pytest.fixture(scope="session")
def helm_program(say: programs.Say) -> Path:
    """Return helm itself, which renders without a cluster."""
    _skip_where(programs.missing(whole=False, also=["helm"]), "helm")
    return programs.find("helm", say)


@pytest.fixture(scope="session")
def helm_on(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cluster], Client]:
    """Return what makes a helm for a cluster; it knows no plugins or repositories of the user's."""
    home = tmp_path_factory.mktemp("helm")
    environment = {f"HELM_{part}_HOME": str(home / part.lower()) for part in ("CACHE", "CONFIG", "DATA")}
    return lambda cluster: Client(helm_program, cluster.kubeconfig, environment)


@pytest.fixture
def helm(helm_on: Callable[[Cluster], Client], cluster: Cluster) -> Client:
    """Return helm for the test's cluster."""
    return helm_on(cluster)


@pytest.fixture
def new_namespace(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[NewNamespace]:
    """Return what makes namespaces; they are deleted after the test."""
    made = request.node.stash.setdefault(_MADE, [])

    def new(level: str = DEFAULT_LEVEL, labels: Mapping[str, str] | None = None) -> str:
        name = f"test-{secrets.token_hex(4)}"
        wanted = {"pod-security.kubernetes.io/enforce": level, **(labels or {})}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": wanted}}
        cluster.kubectl("create", "-f", "-", stdin=manifest)
        made.append((cluster.kubectl, name))
        cluster.prepare_namespace(name)
        return name

    yield new
    for _, name in made:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespace(request: pytest.FixtureRequest, new_namespace: NewNamespace) -> str:
    """Return a new namespace; its Pod Security level is the indirect parameter, or else baseline."""
    return new_namespace(getattr(request, "param", DEFAULT_LEVEL))


@pytest.fixture(scope="session")
def pillion_image(
    pytestconfig: pytest.Config,
    node: RunningCluster,
    say: programs.Say,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, ...]:
    """Return helm's options for the image under test; without any the chart's own name is right."""
    given: str = pytestconfig.getoption("pillion_image")
    if given:
        repository, _, tag = given.rpartition(":")
        return (f"--set=image.repository={repository}", f"--set=image.tag={tag}")
    _skip_where(image.missing(), "the build of the image under test")
    node.import_archive(image.pillion(tmp_path_factory.mktemp("image"), say))
    return ()


@pytest.fixture(scope="session")
def web_images(node: RunningCluster, say: programs.Say, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make images of the names nginx and ubuntu known to the node."""
    _skip_where(image.missing(), "the build of images")
    folder = tmp_path_factory.mktemp("images")
    for build in (image.nginx, image.ubuntu):
        archive = build(folder, say)
        node.import_archive(archive)
        archive.unlink()


@pytest.fixture(scope="session")
def pillion(
    node: RunningCluster, helm_on: Callable[[Cluster], Client], pillion_image: tuple[str, ...]
) -> Iterator[Release]:
    """Return the release that most tests use: the chart as it is, without values."""
    with installed(helm_on(node), node.kubectl, *pillion_image, stays=isinstance(node, Node)) as release:
        yield release


@pytest.fixture
def install(
    node: RunningCluster, helm_on: Callable[[Cluster], Client], pillion_image: tuple[str, ...]
) -> Iterator[Install]:
    """Return what installs more releases; they are removed after the test."""
    with contextlib.ExitStack() as stack:

        def new(name: str, *options: str, namespace: str | None = None) -> Release:
            prefix = f"{name}.example.org/"
            words = (*pillion_image, f"--set=prefix={prefix}", "--set=replicas=1", *options)
            where = namespace or f"{name}-system-{secrets.token_hex(2)}"
            making = installed(helm_on(node), node.kubectl, *words, name=name, namespace=where, prefix=prefix)
            return stack.enter_context(making)

        yield new


def _skip_where(lacks: list[str], what: str) -> None:
    if lacks:
        pytest.skip(f"this machine can't run {what}; it lacks: {'; '.join(lacks)}")
