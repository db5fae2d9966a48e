"""The three images that the Dockerfile makes: what is in them, and what is not."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import image, programs

pytestmark = pytest.mark.cluster

#: Where the profiles have their program, in each image.
PROGRAM = "usr/bin/pillion-tail"
#: The CAs that a store's certificate is checked by.
CAS = "etc/ssl/certs/ca-certificates.crt"


class Archive(NamedTuple):
    """An image's settings and the paths of its files."""

    config: dict[str, Any]
    files: dict[str, int]
    """Path to size."""
    program: bytes
    """The sidecar's program."""


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
    path.unlink()
    return Archive(config, files, program)


class TestTail:
    """The sidecars' image: cold nodes pull it before an application starts."""

    def test_it_holds_one_program(self, tail: Archive) -> None:
        """Nothing else, below 2 MB."""
        assert list(tail.files) == [PROGRAM]
        assert tail.files[PROGRAM] < 2e6

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
        """Nothing else, below 6 MB: with musl, for which tests do not build it, it is 2.1 MB and the CAs."""
        assert sorted(shipping.files) == [CAS, PROGRAM]
        assert sum(shipping.files.values()) < 6e6

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


@pytest.mark.parametrize("package", ["pip", "uv", "ensurepip", "pytest", "hypothesis", "mypy", "setuptools"])
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
