"""Tests of webhook.cli.manifests: what ``-f`` can name."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.manifests import APP, QUIET


@pytest.mark.parametrize("url", ["https://example.com/app.yaml", "http://example.com/a,b.yaml", "s3://bucket/app.yaml"])
@pytest.mark.parametrize("command", ["inject", "explain"])
def test_a_url_is_no_file(command: str, url: str, pillion: Call) -> None:
    """One sentence says what can be read, and how to read a URL."""
    code, out, err = pillion(command, "-f", url)
    assert (code, out) == (2, "")
    assert err == (
        f"pillion: {url}: no URLs, only files, folders and - can be read; "
        f"write: curl -sSfL {url} | pillion {command} -f -\n"
    )


def test_commas_name_several(pillion: Call, folder: Path) -> None:
    """As kubectl has it."""
    (folder / "a.yaml").write_text("kind: A\n")
    (folder / "b.yaml").write_text("kind: B\n")
    assert pillion("inject", "-f", "a.yaml,b.yaml").out == "kind: A\n---\nkind: B\n"
    assert pillion("inject", "-f", "a.yaml,b.yaml", "-f", "a.yaml").out.count("kind") == 3


def test_a_file_with_a_comma_wins(pillion: Call, folder: Path) -> None:
    """A name is a name."""
    (folder / "a.yaml").write_text("kind: A\n")
    (folder / "a.yaml,b.yaml").write_text("kind: C\n")
    assert pillion("inject", "-f", "a.yaml,b.yaml").out == "kind: C\n"


@pytest.mark.parametrize("command", ["inject", "explain"])
def test_every_bad_file_is_named(command: str, pillion: Call, folder: Path) -> None:
    """Whatever is wrong with each, in one run; nothing is printed."""
    (folder / "deep").mkdir()
    (folder / "a.yaml").write_text(APP)
    (folder / "b.yaml").write_bytes(b"kind: \xff\n")
    (folder / "c.yaml").write_text("kind: A\n\tbroken\n")
    (folder / "deep" / "d.yml").write_text("- kind: A\n")
    (folder / "deep" / "e.json").write_text("{")
    (folder / "deep" / "f.yaml").write_text(QUIET)
    code, out, err = pillion(command, "-R", "-f", ".", "-f", "nope.yaml")
    assert (code, out) == (2, "")
    named = sorted(line.split(":")[1].strip() for line in err.splitlines())
    assert named == ["b.yaml", "c.yaml", "deep/d.yml", "deep/e.json", "nope.yaml"]
    assert all(line.startswith("pillion: ") for line in err.splitlines())
