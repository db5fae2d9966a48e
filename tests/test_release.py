"""The version stands where `make release` changes it, and nowhere else."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import __version__
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
BUMPED = [entry["filename"] for entry in PROJECT["tool"]["bumpversion"]["files"]]
#: What was measured stays what it was.
ELSEWHERE = {"docs/benchmarks.md", "docs/test-results.md"}
#: Where a user would copy it from; a version in a test is the test's own.
USED = (
    ".krew",
    "webhook",
    "certs",
    "pillion",
    "charts",
    "docs",
    "examples",
    "tail/src",
    "tail/README.md",
    "README.md",
    "Dockerfile",
)
VERSION = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.]\d)")
#: What release.yml knows of the repository that it runs in.
GITHUB = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "Owner/pillion",
    "GITHUB_REPOSITORY_OWNER": "Owner",
    "GITHUB_REF_NAME": f"v{__version__}",
}


def workflow(name: str) -> Any:
    """Return a workflow."""
    return yaml.safe_load((ROOT / ".github/workflows" / name).read_text())


def step(job: str, word: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the one step of a job of release.yml whose script has this word."""
    [script] = [each["run"] for each in workflow("release.yml")["jobs"][job]["steps"] if word in each.get("run", "")]
    command = ["bash", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_all_have_the_same() -> None:
    """The package, the project, the release tool, the chart and the sidecar's program."""
    cargo = tomllib.loads((ROOT / "tail/Cargo.toml").read_text())
    chart = yaml.safe_load((ROOT / "charts/pillion/Chart.yaml").read_text())
    found = {
        PROJECT["project"]["version"],
        PROJECT["tool"]["bumpversion"]["current_version"],
        cargo["package"]["version"],
        chart["version"],
        chart["appVersion"],
    }
    assert found == {__version__}


@pytest.mark.parametrize("name", BUMPED)
def test_a_release_changes_it(name: str) -> None:
    """A file that lacks it would end `make release` in the middle."""
    assert VERSION.search((ROOT / name).read_text())


def test_it_stands_nowhere_else() -> None:
    """Else the next release would leave an old one behind."""
    paths = [path for name in USED for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))]
    texts = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in paths
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".rs", ".sh", ".txt", ".json", ""} and path.is_file()
    }
    assert len(texts) > 200
    found = {name for name, text in texts.items() if VERSION.search(text)}
    assert found - set(BUMPED) - ELSEWHERE == set()


def test_on_pypi_the_readmes_links_lead_to_the_repository(tmp_path: Path) -> None:
    """By what the workflow does before it builds the wheel: PyPI shows the page without the files around it."""
    page = (ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(page)
    assert step("wheel", "README.md", tmp_path, {**GITHUB, "GITHUB_REF_NAME": "v1.2.3"}).returncode == 0
    changed = (tmp_path / "README.md").read_text()
    link = re.compile(r"\]\(([^)]+)\)")
    base = "https://github.com/Owner/pillion"
    assert len(link.findall(page)) == len(link.findall(changed)) > 30
    assert {target for target in link.findall(changed) if not target.startswith(("#", f"{base}/"))} == set()
    assert f"![The playground]({base}/raw/v1.2.3/docs/images/playground-light.png)" in changed
    assert f"[get started]({base}/blob/v1.2.3/docs/get-started.md)" in changed


def test_each_image_is_built_and_published() -> None:
    """The names that sidecars have by default, the Dockerfile, `make image` and the workflow that publishes."""
    targets = ["tail", "shipping"]
    assert [image.partition(f":{__version__}-")[2] for image in (RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE)] == targets
    assert re.findall(r"^FROM scratch AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == targets
    assert re.findall(r"--target (\w+) \.", (ROOT / "Makefile").read_text()) == targets
    published = workflow("release.yml")["jobs"]["images"]["strategy"]["matrix"]["include"]
    expected = [("", ""), *((f"--target={target}", f"-{target}") for target in targets)]
    assert [(each["flags"], each["suffix"]) for each in published] == expected


def test_the_images_are_published_under_the_name_that_everybody_pulls() -> None:
    """The chart's, the command line's, and the documentation's: else each installation ends in ImagePullBackOff."""
    assert workflow("release.yml")["env"] == {"IMAGE": RELEASED_IMAGE.partition(":")[0]}
    assert f"\nIMAGE ?= {RELEASED_IMAGE.partition(':')[0]}\n" in (ROOT / "Makefile").read_text()


def test_one_command_changes_the_images_name(tmp_path: Path) -> None:
    """docs/releasing.md has it; afterwards the former one is nowhere."""
    [command] = re.findall(r"^ +(git grep .+)$", (ROOT / "docs/releasing.md").read_text(), re.MULTILINE)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = RELEASED_IMAGE.partition(":")[0]
    if not name.startswith("registry.pillion.dev/"):
        pytest.skip("the command has been run here")
    named = [path for path in tracked.split("\0")[:-1] if name.encode() in (ROOT / path).read_bytes()]
    for path in named:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
    subprocess.run(["bash", "-c", command.replace("OWNER", "somebody")], cwd=tmp_path, check=True)
    assert [path for path in named if name in (tmp_path / path).read_text()] == []
    assert {"Makefile", "webhook/profiles/__init__.py", ".github/workflows/release.yml"} < set(named)
    assert "  IMAGE: ghcr.io/somebody/pillion\n" in (tmp_path / ".github/workflows/release.yml").read_text()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({}, "", id="right"),
        pytest.param({"GITHUB_REF_NAME": "v9.9.9"}, f"the tag is v9.9.9, and the version is {__version__}", id="tag"),
        pytest.param({"IMAGE": "registry.pillion.dev/pillion"}, "is not this repository owner's", id="name"),
        pytest.param({"IMAGE": "ghcr.io/Owner/pillion"}, "is not this repository owner's", id="capitals"),
        pytest.param({"IMAGE": "ghcr.io/other/pillion"}, "is not this repository owner's", id="other"),
    ],
)
def test_nothing_is_published_of_a_tag_that_make_release_did_not_make(
    tmp_path: Path, changed: dict[str, str], says: str
) -> None:
    """The first job of the workflow, on which all others wait."""
    repository = Repository.create(tmp_path)
    assert repository.make("release", VERSION=__version__).returncode == 0
    environment = {**GITHUB, "IMAGE": "ghcr.io/owner/pillion", **changed}
    done = step("check", "GITHUB_REF_NAME", repository.folder, environment)
    assert (done.returncode == 0, says in done.stdout) == (not says, True), done.stderr
    jobs = workflow("release.yml")["jobs"]
    assert [name for name, job in jobs.items() if "needs" not in job] == ["check"]


def test_what_was_published_is_announced_last() -> None:
    """The plugin of the release's page runs the package from PyPI."""
    jobs = workflow("release.yml")["jobs"]
    assert set(jobs) - {"notes"} == needed(jobs, "notes")


def needed(jobs: Mapping[str, Any], name: str) -> set[str]:
    """Return the jobs that must have succeeded before this one."""
    before = jobs[name].get("needs", [])
    direct = {before} if isinstance(before, str) else set(before)
    return direct.union(*(needed(jobs, each) for each in direct))


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_failure_inside_a_pipe_is_one(path: Path) -> None:
    """GitHub's bash has pipefail only if it is named."""
    assert workflow(path.name)["defaults"] == {"run": {"shell": "bash"}}


class Repository:
    """A repository with what `make release` changes, and stand-ins for the programs that `make check` runs."""

    FILES = (*BUMPED, "Makefile", "pyproject.toml", ".gitignore")
    CHANGELOG = "# Changelog\n\n## Unreleased\n\n### The chart\n\n- A value.\n\n## 0.0.1 - 2026-01-01\n\n- All.\n"
    AUTHOR = {"GIT_CONFIG_GLOBAL": os.devnull} | {
        f"GIT_{who}_{what}": f"somebody{'@example.com' * (what == 'EMAIL')}"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> "Repository":
        """Make one in a folder."""
        for name in cls.FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / "CHANGELOG.md").write_text(cls.CHANGELOG)
        programs = folder / ".venv/bin"
        programs.mkdir(parents=True)
        for name in ("lint-imports", "mypy", "python", "ruff", "shellcheck", "uv", "zizmor"):
            (programs / name).symlink_to("/bin/true")
        [version] = [each["version"] for each in LOCKED if each["name"] == "bump-my-version"]
        uv = Path(sys.executable).with_name("uv")
        tool = f"{uv} tool run --quiet --from bump-my-version=={version} bump-my-version"
        (programs / "bump-my-version").write_text(f'#!/bin/sh\nexec {tool} "$@"\n')
        (programs / "bump-my-version").chmod(0o755)
        (folder / ".venv/.installed").touch()
        repository = cls(folder)
        for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=all")):
            repository.git(*words)
        return repository

    def git(self, *words: str) -> str:
        """Run git, and return what it prints."""
        return subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env={**os.environ, **self.AUTHOR},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def make(self, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run make with these variables; without cargo, which `make check` can do without."""
        words = [f"{name}={value}" for name, value in {"PYTHON": "true", "CARGO": "", **variables}.items()]
        # what the make that runs the tests was told is not meant
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "VERSION"))}
        return subprocess.run(
            ["make", target, *words],
            cwd=self.folder,
            env={**environment, **self.AUTHOR},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("version", [__version__, "9.8.7"], ids=["first", "later"])
def test_a_release(tmp_path: Path, version: str) -> None:
    """The version is in each place, and the changelog's entries are the release's; it is a commit with a tag."""
    repository = Repository.create(tmp_path)
    done = repository.make("release", VERSION=version)
    assert done.returncode == 0, done.stderr
    texts = {name: repository.git("show", f"v{version}:{name}") for name in BUMPED}
    assert [name for name, text in texts.items() if version not in text] == []
    assert [name for name, text in texts.items() if version != __version__ and VERSION.search(text)] == []
    dated = f"\n## Unreleased\n\n## {version} - {date.today()}\n"  # noqa: DTZ011 — as the machine says it
    assert dated in repository.git("show", f"v{version}:CHANGELOG.md")
    assert repository.make("notes", VERSION=version).stdout == "\n### The chart\n\n- A value.\n\n"
    assert repository.git("log", "-1", "--format=%s") == f"Release {version}\n"
    assert repository.git("status", "--porcelain") == ""
    again = repository.make("release", VERSION=version)
    assert (again.returncode, f"the tag v{version} exists" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("version", "command", "says"),
    [
        *(
            (version, "", "Three numbers")
            for version in ("", "1.2", "v1.2.3", "01.2.3", "1.2.3-rc.1", "1.2.3 4", "1.2.x")
        ),
        ("0.0.9", "", f"0.0.9 is older than {__version__}"),
        ("9.8.7", "echo >> Makefile", "there are changes"),
        (
            "9.8.7",
            "sed -i '/^## Unreleased/,/^## /{/^- /d}' CHANGELOG.md; git commit -qam x",
            "nothing under Unreleased",
        ),
        ("9.8.7", "git tag v9.8.7", "the tag v9.8.7 exists"),
    ],
)
def test_what_is_no_release_changes_nothing(tmp_path: Path, version: str, command: str, says: str) -> None:
    """It is said before the first change."""
    repository = Repository.create(tmp_path)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, **repository.AUTHOR}, check=True)
    before = [repository.git(*words) for words in (("status", "--porcelain"), ("log",), ("tag",))]
    done = repository.make("release", VERSION=version)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert [repository.git(*words) for words in (("status", "--porcelain"), ("log",), ("tag",))] == before


def test_the_changelog_has_a_place_for_what_is_next() -> None:
    """`make release` puts the version and the date below it."""
    assert (ROOT / "CHANGELOG.md").read_text().count("## Unreleased\n") == 1
