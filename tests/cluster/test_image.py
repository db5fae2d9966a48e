"""The three images that the Dockerfile makes: what is in them, and what is not."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import pages
from tests.cli.manifests import BAD
from webhook.cli import COMMANDS

from . import image, programs

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("image")]

#: Where the profiles have their program, in each image.
PROGRAM = "usr/bin/pillion-tail"
#: The CAs that a store's certificate is checked by.
CAS = "etc/ssl/certs/ca-certificates.crt"
DEPLOYMENT = image.CHART / "templates/deployment.yaml"


class Archive(NamedTuple):
    """An image's settings and the paths of its files."""

    config: dict[str, Any]
    files: dict[str, int]
    """Path to size."""
    program: bytes
    """The sidecar's program."""
    root: Path
    """The files themselves."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, say: programs.Say) -> Archive:
    """Return the server's image, built if need be."""
    return built(image.pillion, tmp_path_factory.mktemp("archive"), say)


@pytest.fixture(scope="module")
def tail(tmp_path_factory: pytest.TempPathFactory, say: programs.Say) -> Archive:
    """Return the sidecars' image, built if need be."""
    return built(image.tail, tmp_path_factory.mktemp("tail"), say)


@pytest.fixture(scope="module")
def shipping(tmp_path_factory: pytest.TempPathFactory, say: programs.Say) -> Archive:
    """Return the image of the sidecars that ship, built if need be."""
    return built(image.shipping, tmp_path_factory.mktemp("shipping"), say)


def built(build: Callable[[Path, programs.Say], Path], folder: Path, say: programs.Say) -> Archive:
    """Return an image as it is built now."""
    lacks = image.missing()
    if lacks:
        pytest.skip(f"this machine can't build images; it lacks: {'; '.join(lacks)}")
    path = build(folder, say)
    files: dict[str, int] = {}
    program = b""
    with tarfile.open(path) as whole:

        def read(archive: tarfile.TarFile, name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(read(whole, "manifest.json"))
        config = json.loads(read(whole, manifest["Config"]))["config"]
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(read(whole, name))) as layer:
                found = {member.name: member.size for member in layer.getmembers() if not member.isdir()}
                program = read(layer, PROGRAM) if PROGRAM in found else program
                files |= found
                layer.extractall(folder / "root", filter="tar")
    path.unlink()
    return Archive(config, files, program, folder / "root")


def notices(archive: Archive, folder: str) -> list[str]:
    """Return the files with text that are somewhere below a folder."""
    return [path for path, size in archive.files.items() if path.startswith(f"{folder}/") and size > 0]


def without_notices(archive: Archive) -> set[str]:
    """Return the files that are no licence notices."""
    return {path for path in archive.files if not path.startswith("usr/share/doc/")}


def assert_notices_of_linked(archive: Archive, *features: str) -> None:
    """Each crate's, Rust's and the C library's, beside our own licence."""
    doc = "usr/share/doc/pillion-tail"
    crates = linked_crates(*features)
    assert len(crates) > 5
    assert {crate for crate in (*crates, "rust") if not notices(archive, f"{doc}/{crate}")} == set()
    assert notices(archive, f"{doc}/musl") or notices(archive, f"{doc}/glibc")
    assert f"{doc}/LICENSE" in archive.files


def linked_crates(*features: str) -> set[str]:
    """Return the crates that are linked into pillion-tail, as NAME-VERSION."""
    cargo = programs.cargo()
    if cargo is None:
        pytest.skip("there is no cargo to name the crates")
    command = [cargo, "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    command.append(f"--features={','.join(features)}")
    listed = subprocess.run(command, cwd=image.REPOSITORY / "tail", capture_output=True, text=True, check=True).stdout
    return {f"{name}-{version}" for name, version in re.findall(r"^(\S+) v(\S+)$", listed, re.MULTILINE)}


class TestTail:
    """The sidecars' image: cold nodes pull it before an application starts."""

    def test_it_holds_one_program(self, tail: Archive) -> None:
        """And the notices of what is in it; below 2 MB."""
        assert without_notices(tail) == {PROGRAM}
        assert sum(tail.files.values()) < 2e6

    def test_it_has_the_notices_of_what_is_linked_into_it(self, tail: Archive) -> None:
        """Of each crate among them."""
        assert_notices_of_linked(tail)

    def test_it_runs_the_program_as_nobody_in_particular(self, tail: Archive) -> None:
        """Not root, by a number: the kubelet can't judge a name."""
        assert tail.config["User"] == "65532:65532"
        assert tail.config["Entrypoint"] == [f"/{PROGRAM}"]

    def test_the_program_needs_no_library(self, tail: Archive, tmp_path: Path) -> None:
        """It is static, so it runs where there is nothing else."""
        assert run_alone(tail, tmp_path, "--version").startswith("pillion-tail ")

    def test_the_servers_image_holds_the_same_program(self, tail: Archive, archive: Archive) -> None:
        """A sidecar can run from it, too: who pins a digest has only that one."""
        assert archive.program == tail.program


class TestShipping:
    """The image of the sidecars that ship."""

    def test_it_holds_the_program_and_the_cas(self, shipping: Archive) -> None:
        """Nothing else but notices. Below 6 MB; with musl, for which tests do not build it, 2.1 MB and the CAs."""
        assert without_notices(shipping) == {CAS, PROGRAM}
        assert sum(shipping.files.values()) < 6e6

    def test_it_has_the_notices_of_what_is_linked_into_it(self, shipping: Archive) -> None:
        """Of the crates that send, too, and of the CAs."""
        assert_notices_of_linked(shipping, "shipping")
        assert notices(shipping, "usr/share/doc/ca-certificates")

    def test_it_runs_the_program_as_nobody_in_particular(self, shipping: Archive) -> None:
        """Not root, by a number: the kubelet can't judge a name."""
        assert shipping.config["User"] == "65532:65532"
        assert shipping.config["Entrypoint"] == [f"/{PROGRAM}"]

    def test_the_program_needs_no_library_and_sends_to_stores(self, shipping: Archive, tmp_path: Path) -> None:
        """It is static, and the other images' program has no such option."""
        assert "--url URL" in run_alone(shipping, tmp_path, "--help")


def run_alone(archive: Archive, folder: Path, *words: str) -> str:
    """Return what an image's program prints where nothing else is."""
    root = folder / "root"
    root.mkdir()
    (root / "tail").write_bytes(archive.program)
    (root / "tail").chmod(0o755)
    answer = subprocess.run(["chroot", root, "/tail", *words], capture_output=True, text=True, check=False)
    return answer.stdout or answer.stderr


def test_it_is_nobody_in_particular(archive: Archive) -> None:
    """Not root, by a number: the kubelet can't judge a name."""
    assert archive.config["User"] == "65532:65532"
    assert archive.config["Entrypoint"] == ["pillion"]


def test_it_says_what_it_is(archive: Archive) -> None:
    """The labels that registries and scanners show."""
    labels = archive.config["Labels"]
    for key in ("title", "description", "licenses", "version"):
        assert labels[f"org.opencontainers.image.{key}"]


@pytest.mark.parametrize(
    "program", ["sh", "bash", "busybox", "pip", "pip3", "uv", "apt-get", "dpkg", "gcc", "cc", "perl"]
)
def test_there_is_nothing_to_run_but_python(archive: Archive, program: str) -> None:
    """No shell, no package manager, no compiler."""
    assert [path for path in archive.files if path.endswith(f"bin/{program}")] == []


@pytest.mark.parametrize("package", ["pip", "uv", "ensurepip", "pytest", "hypothesis", "mypy", "setuptools", "sphinx"])
def test_there_is_no_package_of_the_build_or_the_tests(archive: Archive, package: str) -> None:
    """Only what the server imports."""
    assert [path for path in archive.files if f"/{package}/__init__.py" in path] == []


def test_every_module_is_compiled(archive: Archive) -> None:
    """The root is read-only: what is not compiled here is compiled at each start."""
    sources = [path for path in archive.files if path.endswith(".py") and "/site-packages/" in path]
    compiled = {Path(path).stem.partition(".")[0] for path in archive.files if path.endswith(".pyc")}
    assert len(sources) > 300
    assert {Path(path).stem for path in sources} <= compiled


def test_it_is_small(archive: Archive) -> None:
    """Below 110 MB unpacked; docs/test-results.md says of what."""
    assert sum(archive.files.values()) < 110e6


class TestNotices:
    """The licence notices of what is in the servers' image: docs/installing.md says where."""

    def test_of_pythons_packages(self, archive: Archive) -> None:
        """Each brings its own, Pillion among them."""
        packages = {path.partition(".dist-info/")[0] for path in archive.files if ".dist-info/" in path}
        assert len(packages) > 20
        assert {package for package in packages if not notices(archive, f"{package}.dist-info/licenses")} == set()

    def test_of_debians_packages(self, archive: Archive) -> None:
        """Each that scanners are told of, and the licences that these notices name."""
        status = "var/lib/dpkg/status.d/"
        packages = {path.removeprefix(status) for path in archive.files if path.startswith(status)}
        assert any(name.startswith("libc6") for name in packages)
        named: set[str] = set()
        for package in packages:
            text = (archive.root / "usr/share/doc" / package / "copyright").read_text()
            named |= set(re.findall(r"/usr/share/common-licenses/(\w[\w.-]*\w)", text))
        assert {name for name in named if not (archive.root / "usr/share/common-licenses" / name).is_file()} == set()

    def test_of_python_itself(self, archive: Archive) -> None:
        """In the folder of its library."""
        assert [path for path in archive.files if re.fullmatch(r"usr/.*lib/python3\.\d+/LICENSE\.txt", path)]

    def test_of_the_sidecars_program(self, archive: Archive, tail: Archive) -> None:
        """The same as in its own image."""
        assert notices(archive, "usr/share/doc/pillion-tail") == notices(tail, "usr/share/doc/pillion-tail")


def in_root(archive: Archive, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of an image: its files are the root, its settings the environment and the user."""
    environment = dict(setting.split("=", 1) for setting in archive.config["Env"])
    root = [str(programs.on_path("chroot")), f"--userspec={archive.config['User']}", str(archive.root)]
    return subprocess.run([*root, *command], env=environment, input=stdin, capture_output=True, text=True, check=False)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(archive: Archive) -> Iterator[Run]:
    """Return what runs the image's program."""
    manifests = archive.root / "manifests"
    manifests.mkdir()

    def call(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return in_root(archive, *archive.config["Entrypoint"], *words, stdin=stdin)

    yield call
    shutil.rmtree(manifests)


class TestCommandLine:
    """What `docker run IMAGE COMMAND` does."""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_is_there(self, run: Run, command: str) -> None:
        """With all that it imports: nothing of it was trimmed away."""
        done = run(command, "--help")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("words", "code", "shown"),
        [
            (("inject", "-f", "-"), 0, "- name: pillion-tail"),
            (("inject", "-f", "-", "--diff"), 0, "+        - name: pillion-tail"),
            (("uninject", "-f", "-"), 0, "kind: Deployment"),
            (("explain", "-f", "-"), 0, "Injected with profile tail"),
            (("lint", "-f", "-"), 0, ""),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_manifests_on_standard_input(self, run: Run, words: tuple[str, ...], code: int, shown: str) -> None:
        """As docs/command-line.md shows it."""
        done = run(*words, stdin=(image.REPOSITORY / "examples/app.yaml").read_text())
        assert (done.returncode, shown in done.stdout) == (code, True), done.stderr

    def test_files_of_a_folder(self, run: Run, archive: Archive) -> None:
        """Manifests, and a configuration."""
        (archive.root / "manifests/bad.yaml").write_text(BAD)
        (archive.root / "manifests/pillion.yaml").write_text("profiles: {mine: {base: tail, description: mine}}\n")
        assert run("config", "check", "-f", "/manifests/pillion.yaml").returncode == 0
        done = run("lint", "-f", "/manifests/bad.yaml", "--config", "/manifests/pillion.yaml")
        assert (done.returncode, "must begin with /" in done.stdout) == (1, True), done.stderr

    @pytest.mark.parametrize("words", [("status",), ("upgrade", "--dry-run"), ("certs", "show")], ids=" ".join)
    def test_what_needs_a_cluster_says_what_is_missing(self, run: Run, words: tuple[str, ...]) -> None:
        """The image has no kubectl."""
        done = run(*words)
        assert (done.returncode, "there is no kubectl on PATH" in done.stderr) == (2, True), done.stderr

    def test_the_keeper_is_there(self, archive: Archive) -> None:
        """The command of the chart's second container, with all that it imports."""
        [command] = re.findall(r"^ +command: \[(.*keeper)\]$", DEPLOYMENT.read_text(), re.MULTILINE)
        done = in_root(archive, *command.split(", "), "--help")
        assert (done.returncode, done.stdout.startswith("usage: python -m pillion.certs.keeper ")) == (0, True), (
            done.stderr
        )

    def test_completion_says_what_is_missing(self, run: Run) -> None:
        """A shell's completion is no part of a server."""
        done = run("completion", "bash")
        assert (done.returncode, "argcomplete" in done.stderr) == (2, True), done.stderr


@pytest.mark.usefixtures("archive")
class TestPage:
    """The commands of the pages, by podman, with the manifests of a reader."""

    def run(self, place: str, folder: Path, say: programs.Say) -> str:
        """Run a command in the folder."""
        path = folder / "programs"
        path.mkdir()
        image.write_docker(path / "docker", say)
        return pages.run(place, path, folder)

    def test_a_manifest_on_standard_input(self, tmp_path: Path, say: programs.Say) -> None:
        """The output is a manifest, and nothing else."""
        (tmp_path / "app.yaml").write_text((image.REPOSITORY / "examples/app.yaml").read_text())
        said = self.run("command-line.md#from-the-image 1", tmp_path, say)
        assert said.startswith("apiVersion: "), said
        assert "- name: pillion-tail" in said

    def test_a_folder(self, tmp_path: Path, say: programs.Say) -> None:
        """Manifests and a configuration, which the image's user may read."""
        tmp_path.chmod(0o755)
        (tmp_path / "app.yaml").write_text(BAD)
        (tmp_path / "pillion.yaml").write_text("profiles: {mine: {base: tail, description: mine}}\n")
        said = self.run("command-line.md#from-the-image 2", tmp_path, say)
        assert said.startswith("app.yaml:7:5: warning: Pod/bad: not injected"), said

    def test_the_notices(self, tmp_path: Path, say: programs.Say) -> None:
        """They are copied out of an image that has no program to show them."""
        said = self.run("installing.md#licence-notices 1", tmp_path, say)
        assert (tmp_path / "notices/pillion-tail/LICENSE").is_file(), said
