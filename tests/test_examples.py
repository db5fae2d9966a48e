"""Every example in the README and in docs/: what a page says is what a reader gets.

A block with ``title=NAME`` is a file; in a ``console`` block the lines after ``$ `` are commands, run in a folder
with the page's files, and the rest is what they print. A line ``…`` stands for any lines, a ``…`` in a line for any
text. The exit code is 0, unless ``$ echo $?`` follows and shows another one. The folder also has a certificate:
``tls.crt`` and ``tls.key`` of the chart's Service, ``ca.crt``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from certs.ca import CA
from tests.pages import ROOT, files, pattern

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


#: The programs that are run, as they are in this environment.
PROGRAMS = {
    "pillion": [sys.executable, "-c", "import sys; from webhook.cli import main; sys.exit(main())"],
    "pytest": [sys.executable, "-m", "pytest"],
}
#: How a page shows the exit code of the command before.
EXIT_CODE = "echo $?"


class Example(NamedTuple):
    """A command, what it should print, the page's files, and how the command should end."""

    page: Path
    command: str
    expected: str
    files: dict[str, str]
    code: int = 0

    @property
    def real_lines(self) -> list[str]:
        """Return the lines of which at least a word must be printed."""
        return [line for line in self.expected.splitlines() if line.replace("…", "").strip()]


def _examples(page: Path, text: str) -> list[Example]:
    examples: list[Example] = []
    named = files(text)
    for block in BLOCK.finditer(text):
        if block["info"].startswith("console"):
            for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, expected = part.partition("\n")
                if command == EXIT_CODE:
                    examples[-1] = examples[-1]._replace(code=int(expected))
                else:
                    examples.append(Example(page, command, expected, named))
    return examples


EXAMPLES = [example for page in PAGES for example in _examples(page, page.read_text())]


def _certificate() -> dict[str, str]:
    now = datetime.now(UTC)
    ca = CA.create(now)
    leaf = ca.issue(("pillion.pillion-system.svc",), now)
    files = {"ca.crt": ca.certificate_pem, "tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem}
    return {name: pem.decode() for name, pem in files.items()}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page.name}: {example.command}")
def test_example(example: Example, tmp_path: Path) -> None:
    """The command prints what the page says, and ends as it says."""
    output, code = _run(example, tmp_path)
    assert re.fullmatch(pattern(example.expected), output), output
    assert code == example.code, output


def _run(example: Example, tmp_path: Path) -> tuple[str, int]:
    """Return what the command prints, and its exit code."""
    for name, text in {**_certificate(), **example.files}.items():
        (tmp_path / name).write_text(text)
    name, *words = shlex.split(example.command)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    answer = subprocess.run(
        [*PROGRAMS[name], *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return answer.stdout, answer.returncode


def test_there_are_examples() -> None:
    """The pages hold examples at all, one that fails among them."""
    assert len(EXAMPLES) >= 8
    assert any(example.code for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page.name}: {example.command}")
def test_an_example_shows_what_is_printed(example: Example) -> None:
    """One that shows nothing but ``…`` could not fail, and tells no reader anything."""
    assert example.real_lines


def test_an_example_of_dots_is_found() -> None:
    """Whatever is around them."""
    page = "```console\n$ pillion a\n…\n $ x\n$ pillion b\n … …\n…\n```\n"
    assert [bool(example.real_lines) for example in _examples(Path("page"), page)] == [True, False]


def test_a_wrong_exit_code_is_found(tmp_path: Path) -> None:
    """The page's number is the command's, not the other way round."""
    page = "```console\n$ pillion nonsense\nusage: …\n…\n$ echo $?\n2\n$ pillion --version\npillion…\n```\n"
    one, other = _examples(Path("page"), page)
    assert (one.code, other.code) == (2, 0)
    assert _run(one, tmp_path)[1] == 2
    assert _run(other, tmp_path)[1] == 0


def test_a_wrong_example_is_found() -> None:
    """The comparison itself can fail."""
    assert not re.fullmatch(pattern("one\n…\nthree\n"), "one\ntwo\n")
    assert re.fullmatch(pattern("one\n…\nthr…\n"), "one\ntwo\nthree\n")


def test_the_readmes_first_example_is_the_one_in_the_repository() -> None:
    """Who reads the page and who takes the tour see the same."""
    files = next(example.files for example in EXAMPLES if example.page.name == "README.md")
    assert files["app.yaml"] == (ROOT / "examples" / "app.yaml").read_text()
