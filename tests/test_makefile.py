"""What the Makefile gives the programs that it runs."""

import os
import subprocess
from pathlib import Path

import pytest

from webhook import __version__

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("given", "passed_on"), [({}, "true"), ({"UV_SYSTEM_CERTS": "false"}, "false")])
def test_uv_trusts_what_the_system_trusts(given: dict[str, str], passed_on: str) -> None:
    """A proxy's own CA is known to the system alone; whoever says otherwise is heard."""
    environment = {name: value for name, value in os.environ.items() if name != "UV_SYSTEM_CERTS"} | given
    command = ["make", "--silent", "--eval", "show: ; @printenv UV_SYSTEM_CERTS", "show"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == passed_on


def test_what_python_compiles_is_kept() -> None:
    """Also where the environment says otherwise: the tests start it a thousand times."""
    command = ["make", "--silent", "--eval", "show: ; @echo [$$PYTHONDONTWRITEBYTECODE]", "show"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize(("given", "measured"), [((), True), (("PYTEST=-k tail",), False)], ids=["all", "some"])
def test_coverage_is_asked_of_all_tests_together(given: tuple[str, ...], measured: bool) -> None:
    """A part of the tests can't reach what pyproject.toml asks for."""
    command = ["make", "--dry-run", "--silent", "test", *given]
    # what this run's own make was told is not meant
    environment = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "PYTEST"}}
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert ("pytest" in shown.stdout, "--cov" in shown.stdout) == (True, measured)


class TestImage:
    """`make image`, with a program in the place of docker that only notes what it is asked."""

    def made(self, folder: Path, *words: str) -> tuple[str, list[str]]:
        """Return what `make image` printed, and the program's calls."""
        builder = folder / "docker"
        builder.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n')
        builder.chmod(0o755)
        command = ["make", "image", f"BUILDER={builder}", f"IMAGES={folder}/images/pillion.tar", *words]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return shown.stdout, (folder / "calls").read_text().splitlines()

    def test_all_images_are_built_and_kept(self, tmp_path: Path) -> None:
        """Under the chart's own name and tags, so that it finds them as it is."""
        _, calls = self.made(tmp_path)
        name = f"registry.pillion.dev/pillion:{__version__}"
        assert [call.split()[0] for call in calls] == ["build", "build", "build", "save"]
        assert calls[0].endswith(f"-t {name} .")
        assert calls[1].endswith(f"-t {name}-tail --target tail .")
        assert calls[2].endswith(f"-t {name}-shipping --target shipping .")
        assert calls[3] == f"save -o {tmp_path}/images/pillion.tar {name} {name}-tail {name}-shipping"
        assert (tmp_path / "images").is_dir()

    def test_the_next_commands_have_the_name_that_was_given(self, tmp_path: Path) -> None:
        """Each can be copied as it is."""
        shown, calls = self.made(tmp_path, "IMAGE=registry.example.com/logs", "BUILD=--platform linux/arm64")
        assert "--platform linux/arm64" in calls[0]
        name = f"registry.example.com/logs:{__version__}"
        assert f"\n  docker push {name} && docker push {name}-tail && docker push {name}-shipping\n" in shown
        assert f"\n  kind load image-archive {tmp_path}/images/pillion.tar\n" in shown
        assert "--set image.repository=registry.example.com/logs\n" in shown

    def test_without_a_builder_it_says_what_to_install(self) -> None:
        """Before anything is done."""
        shown = subprocess.run(["make", "image", "BUILDER="], cwd=ROOT, capture_output=True, text=True, check=False)
        assert shown.returncode == 2
        assert "there is no docker and no podman; install one of them" in shown.stderr


def test_the_plugin_needs_to_know_whose_releases(tmp_path: Path) -> None:
    """Its manifest says where it is downloaded from."""
    command = ["make", "plugin", "HOMEPAGE=", f"DIST={tmp_path}/dist"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert "make plugin HOMEPAGE=https://github.com/OWNER/pillion\n" in shown.stderr
    assert not (tmp_path / "dist").exists()
