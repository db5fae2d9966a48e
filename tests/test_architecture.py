"""docs/architecture.md shows the code and the dependencies as they are."""

import re
import tomllib
from itertools import chain
from pathlib import Path

from webhook.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text()
#: The tree of folders; behind the two spaces that end a name comes what it holds.
PICTURE = PAGE.partition("```\n")[2].partition("\n```")[0]
#: Named as a whole in the picture.
WHOLE = {"webhook/documents", "webhook/profiles"}


def test_the_picture_has_every_module() -> None:
    """A module that is missing, and one that is gone, are both found."""
    # they are named in one line
    commands = {ROOT / "webhook/cli" / f"{command}.py" for command in COMMANDS}
    modules = {
        path.name
        for package in ("webhook", "certs")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and path not in commands and str(path.parent.relative_to(ROOT)) not in WHOLE
    }
    assert set(re.findall(r"\b\w+\.py\b", PICTURE)) == modules
    assert all(command in PICTURE for command in COMMANDS)


def test_the_picture_has_every_folder_there_is() -> None:
    """Each folder that it names exists below one that it names."""
    named = re.findall(r"^ *([\w/]+)/(?: |$)", PICTURE, re.MULTILINE)
    assert {"webhook", "injection", "certs", "charts/pillion", "tail"} <= set(named)
    folders = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/") if path.is_dir()}
    folders |= {path.name for top in ("webhook", "certs", "tests") for path in (ROOT / top).rglob("*") if path.is_dir()}
    folders.add("charts/pillion")
    assert set(named) <= folders


def test_every_dependency_has_its_reason() -> None:
    """Those of the program and those for development."""
    table = PAGE.partition("## Dependencies")[2].lower()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = chain(project["project"]["dependencies"], *extras, *project["dependency-groups"].values())
    names = {re.split(r"[<>=[]", each)[0] for each in wanted}
    short = {name: name.removeprefix("pytest") or name for name in names}
    assert len(names) > 15
    assert sorted(name for name in names if short[name] not in table) == []
