"""The package as users get it: built, installed in each way that docs/command-line.md shows, and run."""

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests import pages
from tests.cli.manifests import BAD
from tests.pages import ROOT
from tests.playground.process import ask, playground
from webhook import __version__
from webhook.cli import COMMANDS

APP = (ROOT / "examples" / "app.yaml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROGRAMS = set(PROJECT["scripts"])
#: As pyproject.toml says it.
PYTHONS = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if line.startswith("Programming Language ::")]
#: From PyPI; what it does, pip does, and that is tested in any case.
PIPX = "pipx==1.8.0"


class Built(NamedTuple):
    """The two files of a release."""

    wheel: Path
    sdist: Path


class Installed(NamedTuple):
    """An environment, and its folder of programs."""

    environment: Path
    programs: Path

    def run(self, *words: str, stdin: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, in an environment that knows nothing of this project."""
        command = [str(self.programs / words[0]), *words[1:]]
        return subprocess.run(
            command, input=stdin, cwd=folder or self.environment, capture_output=True, text=True, check=False
        )


def uv() -> str:
    """Return uv, which is beside Python here or on PATH."""
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None
    return found


def call(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints on standard output; it must succeed."""
    done = subprocess.run(
        list(map(str, command)), env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the wheel and the sdist that it is built from."""
    folder = tmp_path_factory.mktemp("dist")
    call(uv(), "build", "--quiet", "--out-dir", folder, ROOT)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return an environment of a Python that is supported and is here, with the wheel in it."""
    find = [uv(), "python", "find", "--no-python-downloads", "--no-project", "--system", request.param]
    # pyenv's programs are there for all its versions, and run the chosen one
    environment = {**os.environ, "PYENV_VERSION": request.param}
    python = subprocess.run(find, env=environment, capture_output=True, text=True, check=False).stdout.strip()
    if not python:
        pytest.skip(f"there is no Python {request.param}")
    folder = tmp_path_factory.mktemp("environment")
    call(uv(), "venv", "--quiet", "--clear", "--python", python, folder)
    call(uv(), "pip", "install", "--quiet", "--python", folder / "bin/python", built.wheel)
    return Installed(folder, folder / "bin")


@pytest.fixture(scope="module")
def clone(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what a clone of the repository is."""
    folder = tmp_path_factory.mktemp("clone")
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(folder, filter="data")
    return folder / f"pillion-{__version__}"


class TestFiles:
    """What is in the files of a release."""

    def test_one_name_is_put_into_site_packages(self, built: Built) -> None:
        """And its metadata: decision 28."""
        with zipfile.ZipFile(built.wheel) as wheel:
            names = {name.partition("/")[0] for name in wheel.namelist()}
        assert names == {"pillion", f"pillion-{__version__}.dist-info"}

    def test_the_wheel_has_every_file_of_the_program(self, built: Built) -> None:
        """Profiles, the playground's page and the sample review among them; and nothing else."""
        with zipfile.ZipFile(built.wheel) as wheel:
            names = {name.removeprefix("pillion/") for name in wheel.namelist() if name.startswith("pillion/")}
        folders = {folder: "" if folder == "pillion" else f"{folder}/" for folder in ("pillion", "webhook", "certs")}
        wanted = {
            f"{inside}{path.relative_to(ROOT / folder)}"
            for folder, inside in folders.items()
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {"webhook/profiles/tail.yaml", "webhook/playground/page/index.html"} < wanted
        assert names == wanted

    def test_the_sdist_has_every_file_of_the_repository(self, built: Built) -> None:
        """So that the tests can be run from it."""
        tracked = call("git", "-C", ROOT, "ls-files").splitlines()
        with tarfile.open(built.sdist) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        assert set(tracked) - names == set()

    def test_the_metadata_say_what_it_is(self, built: Built) -> None:
        """What an index shows."""
        with zipfile.ZipFile(built.wheel) as wheel:
            folder = f"pillion-{__version__}.dist-info"
            metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
            notice = wheel.read(f"{folder}/licenses/LICENSE")
        assert notice == (ROOT / "LICENSE").read_bytes()
        assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
        assert metadata["Description-Content-Type"] == "text/markdown"
        assert metadata.get_payload(decode=True) == (ROOT / "README.md").read_bytes()


class TestInstalled:
    """In a fresh environment of each supported Python that is here."""

    def test_the_programs_are_there(self, installed: Installed) -> None:
        """All that pyproject.toml names, each by its own name."""
        assert installed.run("pillion", "--version").stdout == f"pillion {__version__}\n"
        assert installed.run("kubectl-pillion", "--help").stdout.startswith("usage: kubectl pillion ")
        assert "as pillion[completion]" in installed.run("kubectl_complete-pillion", "").stderr

    def test_every_command_is_there(self, installed: Installed) -> None:
        """With all that it imports."""
        program = "import pillion, sys\nfor name in sys.argv[1:]: __import__(f'webhook.cli.{name}')"
        done = installed.run("python", "-P", "-c", program, *COMMANDS)
        assert done.returncode == 0, done.stderr

    def test_the_keeper_is_there(self, installed: Installed) -> None:
        """The chart starts it in the image, by this command."""
        done = installed.run("python", "-m", "pillion.certs.keeper", "--help")
        assert (done.returncode, "--lease" in done.stdout) == (0, True), done.stderr

    def test_manifests_are_judged(self, installed: Installed) -> None:
        """By the rules, and by the built-in profiles, which are data."""
        assert "- name: pillion-tail" in installed.run("pillion", "inject", "-f", "-", stdin=APP).stdout
        assert "Injected with profile tail" in installed.run("pillion", "explain", "-f", "-", stdin=APP).stdout
        linted = installed.run("pillion", "lint", "-f", "-", stdin=BAD)
        assert (linted.returncode, "must begin with /" in linted.stdout) == (1, True)
        web = APP.replace('inject: "true"', 'inject: "true"\n        pillion.dev/profile: web')
        assert "- name: pillion-web" in installed.run("pillion", "inject", "-f", "-", stdin=web).stdout

    def test_the_playground_is_served(self, installed: Installed) -> None:
        """Its page, which is data, and answers, which come from a process of its own."""
        with playground(program=[installed.programs / "pillion"], folder=installed.environment) as server:
            assert "<title>" in httpx2.get(server.address).text
            assert ask(server, APP).json()["shown"]["injected"]

    def test_other_packages_of_the_same_names_do_not_matter(self, installed: Installed, tmp_path: Path) -> None:
        """Neither in the environment nor where the user happens to be."""
        [site] = installed.environment.glob("lib/python*/site-packages")
        theirs = [folder / f"{name}.py" for folder in (site, tmp_path) for name in ("webhook", "certs")]
        for path in theirs:
            assert not path.with_suffix("").exists()
            path.write_text("raise SystemExit('this is not Pillion')\n")
        try:
            done = installed.run("pillion", "explain", "-f", "-", "-o", "json", stdin=APP, folder=tmp_path)
            with playground(program=[installed.programs / "pillion"], folder=tmp_path) as server:
                answer = ask(server, APP).json()
        finally:
            for path in theirs:
                path.unlink()
        assert json.loads(done.stdout)[0]["injected"], done.stderr
        assert answer["shown"]["injected"]


class TestPage:
    """The commands of docs/command-line.md, in a clone and a home that are new."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        """Return a home whose folder of programs is empty."""
        home = tmp_path / "home"
        home.mkdir()
        return home

    @pytest.fixture
    def programs(self, tmp_path: Path) -> Path:
        """Return a folder with uv and pipx, and no pillion."""
        folder = tmp_path / "programs"
        folder.mkdir()
        (folder / "uv").symlink_to(uv())
        (folder / "pipx").write_text(f'#!/bin/sh\nexec {uv()} tool run --quiet {PIPX} "$@"\n')
        (folder / "pipx").chmod(0o755)
        return folder

    def run(self, number: str, clone: Path, home: Path, programs: Path) -> str:
        """Run a command of the page, with the caches of this machine."""
        environment = {
            "HOME": str(home),
            "UV_CACHE_DIR": call(uv(), "cache", "dir").strip(),
            "PIP_CACHE_DIR": str(Path.home() / ".cache/pip"),
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",  # half of the time
        }
        environment |= {f"XDG_{name}": "" for name in ("BIN_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME")}
        return pages.run(number, programs, clone, environment)

    @pytest.mark.parametrize(
        "places",
        [
            ("command-line.md#uv 1", "command-line.md#uv 2", "command-line.md#uv 3"),
            pytest.param(
                ("command-line.md#pipx 1", "command-line.md#pipx 2", "command-line.md#pipx 3"),
                marks=pytest.mark.skipif(not os.environ.get("PILLION_PIPX"), reason="slow: set PILLION_PIPX=1"),
            ),
            ("command-line.md#pip 1", "command-line.md#pip 2", "command-line.md#pip 3"),
        ],
        ids=["uv", "pipx", "pip"],
    )
    def test_each_way(self, clone: Path, home: Path, programs: Path, places: tuple[str, str, str]) -> None:
        """It puts all programs where people have them on PATH, with completion, and takes them away again."""
        install, upgrade, uninstall = places
        folder = home / ".local/bin"
        said = self.run(install, clone, home, programs)
        assert {path.name for path in folder.glob("*")} >= PROGRAMS, said
        here = Installed(home, folder)
        assert here.run("pillion", "inject", "-f", "-", stdin=APP).returncode == 0
        assert "_python_argcomplete" in here.run("pillion", "completion", "bash").stdout
        newer = clone / "webhook/__init__.py"
        now = newer.read_text()
        try:
            newer.write_text(now.replace(__version__, f"{__version__}.dev1"))
            said = self.run(upgrade, clone, home, programs)
            assert here.run("pillion", "--version").stdout == f"pillion {__version__}.dev1\n", said
        finally:
            newer.write_text(now)
        said = self.run(uninstall, clone, home, programs)
        assert PROGRAMS & {path.name for path in folder.glob("*")} == set(), said

    def test_the_wheel(self, clone: Path, home: Path, programs: Path) -> None:
        """It is built, and installed by its path."""
        said = self.run("command-line.md#a-wheel 1", clone, home, programs)
        assert {path.name for path in (home / ".local/bin").glob("*")} >= PROGRAMS, said
