"""The version stands where `make release` changes it, and nowhere else."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from webhook import __version__
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
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
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    [script] = [step["run"] for step in jobs["wheel"]["steps"] if "README.md" in step.get("run", "")]
    page = (ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(page)
    github = {"SERVER_URL": "https://github.com", "REPOSITORY": "owner/pillion", "REF_NAME": "v1.2.3"}
    environment = {**os.environ, **{f"GITHUB_{name}": value for name, value in github.items()}}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=True)
    changed = (tmp_path / "README.md").read_text()
    link = re.compile(r"\]\(([^)]+)\)")
    base = "https://github.com/owner/pillion"
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
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    published = workflow["jobs"]["images"]["strategy"]["matrix"]["include"]
    expected = [("", ""), *((f"--target={target}", f"-{target}") for target in targets)]
    assert [(each["flags"], each["suffix"]) for each in published] == expected


def test_the_changelog_has_a_place_for_what_is_next() -> None:
    """`make release` puts the version and the date below it."""
    assert (ROOT / "CHANGELOG.md").read_text().count("## Unreleased\n") == 1
