"""The hook that .pre-commit-hooks.yaml defines, run by pre-commit as its users do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.manifests import APP, BAD, QUIET

ROOT = Path(__file__).parent.parent.parent
#: What installing the package needs.
SOURCES = (".pre-commit-hooks.yaml", "LICENSE", "README.md", "certs", "pillion", "pyproject.toml", "webhook")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what runs a program in a folder, without the git hook that may be running these tests."""
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"PRE_COMMIT_HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "test", f"GIT_{who}_EMAIL": "test@example.com"}

    def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert command[0] != "git" or done.returncode == 0, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def revision(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a repository with this working tree's package, and its commit."""
    folder = tmp_path_factory.mktemp("pillion")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "Pillion")
    return folder, run(folder, "git", "rev-parse", "HEAD").stdout.strip()


@pytest.mark.minutes
def test_the_hook_checks_what_is_committed(run: Run, revision: tuple[Path, str], folder: Path) -> None:
    """It fails with lint's lines, passes where nothing is wrong, and takes options."""
    source, commit = revision
    hook = f"repos:\n  - repo: {source}\n    rev: {commit}\n    hooks:\n      - id: pillion-lint\n"

    def hooked(config: str, text: str) -> tuple[int, str]:
        (folder / ".pre-commit-config.yaml").write_text(config)
        (folder / "shop.yaml").write_text(text)
        run(folder, "git", "add", "--all")
        done = run(folder, sys.executable, "-m", "pre_commit", "run", "--all-files", "--color", "never")
        return done.returncode, done.stdout + done.stderr

    run(folder, "git", "init", "--quiet")
    (folder / "app.yaml").write_text(APP)
    (folder / "notes.txt").write_text("{no manifest\n")
    code, said = hooked(hook, BAD)
    assert code == 1, said
    assert "- exit code: 1\n" in said
    assert 'shop.yaml:7:5: warning: Pod/bad: not injected: pillion.dev/logs "shop.log": must begin with' in said
    assert "app.yaml" not in said

    code, said = hooked(hook, QUIET)
    assert (code, "pillion lint....." in said) == (0, True), said

    theirs = BAD.replace("pillion.dev/", "logs.example.com/")
    assert hooked(hook, theirs)[0] == 0
    code, said = hooked(f"{hook}        args: [--prefix, logs.example.com/, -f]\n", theirs)
    assert (code, "logs.example.com/logs" in said) == (1, True), said
