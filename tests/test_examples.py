"""Every example in the README and in docs/: what a page says is what a reader gets.

A block ``yaml title=NAME`` is a file; in a ``console`` block the lines after ``$ `` are commands, run in a folder
with the page's files, and the rest is what they print. A line ``…`` stands for any lines, a ``…`` at a line's end
for its rest. The folder also has a certificate: ``tls.crt`` and ``tls.key`` of the chart's Service, ``ca.crt``.
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

from certs.authority import Authority

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r"title=(\S+)")


class Example(NamedTuple):
    """A command, what it should print, and the page's files."""

    page: Path
    command: str
    expected: str
    files: dict[str, str]


def _examples() -> list[Example]:
    examples = []
    for page in PAGES:
        files: dict[str, str] = {}
        for block in BLOCK.finditer(page.read_text()):
            title = TITLE.search(block["info"])
            if title:
                files[title[1]] = block["text"]
            elif block["info"] == "console":
                for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                    command, _, expected = part.partition("\n")
                    examples.append(Example(page, command, expected, files))
    return examples


EXAMPLES = _examples()


def _certificate() -> dict[str, str]:
    now = datetime.now(UTC)
    authority = Authority.create(now)
    leaf = authority.issue(("pillion.pillion-system.svc",), now)
    files = {"ca.crt": authority.certificate_pem, "tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem}
    return {name: pem.decode() for name, pem in files.items()}


def _pattern(expected: str) -> str:
    lines = [
        "(?:.*\n)*?" if line == "…" else ".*".join(re.escape(piece) for piece in line.split("…")) + "\n"
        for line in expected.splitlines()
    ]
    return "".join(lines)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page.name}: {example.command}")
def test_example(example: Example, tmp_path: Path) -> None:
    """The command prints what the page says."""
    for name, text in {**_certificate(), **example.files}.items():
        (tmp_path / name).write_text(text)
    words = shlex.split(example.command)
    assert words[0] == "pillion", "only our own commands are run"
    program = [sys.executable, "-c", "import sys; from webhook.cli import main; sys.exit(main())", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    answer = subprocess.run(
        program, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert re.fullmatch(_pattern(example.expected), answer.stdout), answer.stdout


def test_there_are_examples() -> None:
    """The pages hold examples at all."""
    assert len(EXAMPLES) >= 8


def test_a_wrong_example_is_found() -> None:
    """The comparison itself can fail."""
    assert not re.fullmatch(_pattern("one\n…\nthree\n"), "one\ntwo\n")
    assert re.fullmatch(_pattern("one\n…\nthr…\n"), "one\ntwo\nthree\n")
