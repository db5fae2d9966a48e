"""Every link in the README and in docs/, and every page that the code and the chart name."""

import re
from pathlib import Path

import pytest

from tests.pages import ROOT, anchor

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "charts/pillion/README.md",
    ROOT / "tail/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: As comments, help texts and alerts name a page.
NAMED = re.compile(r"\bdocs/[\w/.-]*\.md(?:#[\w-]+)?")
SOURCES = [
    path
    for folder in ("webhook", "certs", "pillion", "charts", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".sh", ".yaml", ".json", ".tpl", ".txt", ".md"}
]


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = HEADING.findall(CODE.sub("", text))
    return {anchor(heading) for heading in headings}


def _broken(page: Path, links: list[str]) -> list[str]:
    """Return the links that lead nowhere."""
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """The file is there, and so is the section."""
    links = [link for link in LINK.findall(CODE.sub("", page.read_text())) if "://" not in link]
    assert _broken(page, links) == []


def test_every_page_that_is_named_is_there() -> None:
    """In a comment, a help text, an alert or a message."""
    named = {path: NAMED.findall(path.read_text()) for path in SOURCES}
    assert sum(map(len, named.values())) > 20
    broken = {str(path): _broken(ROOT / "README.md", names) for path, names in named.items()}
    assert {path: names for path, names in broken.items() if names} == {}


def test_contributing_names_files_that_are_there() -> None:
    """Its worked examples are of the code as it is; a name without a folder is in the folder named before it."""
    named = re.findall(r"`([\w./*-]+\.(?:py|md|yaml)|\w+/[\w/*-]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 20
    folder, missing = ROOT, []
    for name in named:
        whole = ROOT / name if "/" in name else folder / name
        if not list(whole.parent.glob(whole.name)) and not (ROOT / name).exists():
            missing.append(name)
        folder = whole.parent
    assert missing == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A file that is missing, and a section that is missing; a heading in a code block is none."""
    (tmp_path / "page.md").write_text("# A page, and `more`\n```sh\n# no heading\n```\n")
    links = ["page.md", "page.md#a-page-and-more", "other.md", "page.md#no-heading", "#a-page"]
    assert _broken(tmp_path / "page.md", links) == ["other.md", "page.md#no-heading", "#a-page"]
