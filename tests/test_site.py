"""The site that `make docs` builds: Sphinx accepts every page, and a browser shows them without a network."""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.pages import ROOT, anchor
from tests.playground.browser import chromium

#: As in the Makefile.
STRICT = ("--quiet", "--fresh-env", "--fail-on-warning", "--keep-going", "--nitpicky", "-c", str(ROOT / "docs"))
CODE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,4} (.+)$", re.MULTILINE)


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a folder of pages."""
    command = [sys.executable, "-m", "sphinx", *STRICT, str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site."""
    folder = tmp_path_factory.mktemp("built") / "site"
    answer = build(ROOT, folder)
    assert (answer.returncode, answer.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a window that may read files and nothing else."""
    context = browser.new_context()
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    context.route(re.compile("^(?!file:)"), refuse)
    yield context.new_page()
    context.close()
    assert asked == []


def test_every_page_is_there(site: Path) -> None:
    """Where it is in the repository; the bare address shows the README."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("charts/*/*.md"), ROOT / "tail/README.md"]
    assert len(pages) > 40
    assert [str(page) for page in pages if not (site / page.relative_to(ROOT)).with_suffix(".html").exists()] == []
    assert (site / "index.html").read_text() == (site / "README.html").read_text()


def test_addresses_of_sections_are_githubs(site: Path) -> None:
    """A message or an alert names a section once, for both."""
    for source in sorted((ROOT / "docs").glob("*.md")):
        shown = (site / "docs" / source.name).with_suffix(".html").read_text()
        wanted = {anchor(heading) for heading in HEADING.findall(CODE.sub("", source.read_text()))}
        assert {name for name in wanted if f'id="{name}"' not in shown} == set(), source.name


def test_addresses_elsewhere_are_listed(site: Path) -> None:
    """For whoever wants to ask whether they are still there."""
    listed = (site.parent / "external-links.txt").read_text().splitlines()
    assert "https://keepachangelog.com/en/1.1.0/" in listed
    assert [url for url in listed if not url.startswith(("https://", "http://"))] == []


def test_what_is_wrong_is_an_error(tmp_path: Path) -> None:
    """A page that is missing, a section that is missing, and a page that the navigation lacks."""
    (tmp_path / "README.md").write_text("# A page\n\n[one](none.md) [two](lost.md#none) [three](lost.md#lost)\n")
    (tmp_path / "lost.md").write_text("# Lost\n")
    answer = build(tmp_path, tmp_path / "site")
    assert answer.returncode == 1
    found = re.findall(r"WARNING: (.+) \[(?:myst\.xref_missing|toc\.not_included)\]", answer.stderr)
    assert found == [
        "document isn't included in any toctree",
        "'myst' cross-reference target not found: 'none.md'",
        "local id not found in doc 'lost': 'none'",
    ]


def test_search_finds_a_page(site: Path, page: Page) -> None:
    """From the page itself, with a word that one page says most about."""
    page.goto((site / "index.html").as_uri())
    page.get_by_placeholder("Search").first.fill("copytruncate")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="What changes in your log pipeline").first
    expect(link).to_be_visible()
    link.click()
    expect(page.get_by_role("heading", name="What changes in your log pipeline")).to_be_visible()


def test_a_page_is_as_wide_as_its_window(site: Path, page: Page) -> None:
    """Wide tables and code scroll by themselves. One test, so that few workers build the site."""
    for width, name in product((360, 1100, 1360), ("index", "docs/annotations", "docs/comparison", "docs/runbooks")):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_what_a_row_is_about_is_in_one_piece(site: Path, page: Page) -> None:
    """The name of a value can be read and found, and no table is wider than the page for it."""
    page.set_viewport_size({"width": 1360, "height": 800})
    page.goto((site / "charts/pillion/README.html").as_uri())
    lines = "names => names.map(name => [name.textContent, name.getClientRects().length])"
    names = dict(page.locator("article td:first-child code").evaluate_all(lines))
    assert len(names) > 80
    assert {name for name, count in names.items() if count > 1 and "-" not in name} == set()
    wider = "tables => tables.filter(table => table.scrollWidth > table.clientWidth).length"
    assert page.locator("article .table-wrapper").evaluate_all(wider) == 0
