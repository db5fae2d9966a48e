"""The image that the Dockerfile makes: what is in it, and what is not."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import image, programs

pytestmark = pytest.mark.cluster


class Archive(NamedTuple):
    """An image's settings and the paths of its files."""

    config: dict[str, Any]
    files: dict[str, int]
    """Path to size."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, say: programs.Say) -> Archive:
    """Return the image under test, built if need be."""
    lacks = image.missing()
    if lacks:
        pytest.skip(f"this machine can't build images; it lacks: {'; '.join(lacks)}")
    path: Path = image.pillion(tmp_path_factory.mktemp("archive"), say)
    with tarfile.open(path) as whole:

        def read(name: str) -> bytes:
            member = whole.extractfile(name)
            assert member is not None
            return member.read()

        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))["config"]
        files: dict[str, int] = {}
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(read(name))) as layer:
                files |= {member.name: member.size for member in layer.getmembers() if not member.isdir()}
    path.unlink()
    return Archive(config, files)


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
