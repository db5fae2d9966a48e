"""Tests of webhook.cli.manifests: what ``-f`` can name."""

import os
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.manifests import APP, QUIET


@pytest.mark.parametrize(
    ("names", "url", "instead"),
    [
        (["https://x.org/a.yaml"], "https://x.org/a.yaml", "write: curl -sSfL https://x.org/a.yaml | pillion {} -f -"),
        (["HTTP://x.org/a?b&c"], "HTTP://x.org/a?b&c", "write: curl -sSfL 'HTTP://x.org/a?b&c' | pillion {} -f -"),
        (["s3://b/a.yaml"], "s3://b/a.yaml", "write: aws s3 cp s3://b/a.yaml - | pillion {} -f -"),
        (["gs://b/a.yaml"], "gs://b/a.yaml", "write: gcloud storage cat gs://b/a.yaml | pillion {} -f -"),
        (["oci://x.org/a"], "oci://x.org/a", "download it, and write the file's name"),
        (["file:///srv/a.yaml"], "file:///srv/a.yaml", "write: -f /srv/a.yaml"),
        (
            ["https://x.org/a.yaml,b.yaml"],
            "https://x.org/a.yaml",
            "write: curl -sSfL https://x.org/a.yaml | pillion {} -f - -f b.yaml",
        ),
        (
            ["b.yaml", "https://x.org/a.yaml"],
            "https://x.org/a.yaml",
            "write: curl -sSfL https://x.org/a.yaml | pillion {} -f b.yaml -f -",
        ),
        (["-", "https://x.org/a.yaml"], "https://x.org/a.yaml", "download it, and write the file's name"),
    ],
)
@pytest.mark.parametrize("command", ["inject", "uninject", "explain", "lint"])
@pytest.mark.usefixtures("folder")
def test_a_url_is_no_file(command: str, names: list[str], url: str, instead: str, pillion: Call) -> None:
    """One sentence says what can be read, and what to write instead, the other files included."""
    Path("b.yaml").write_text("kind: B\n")
    code, out, err = pillion(command, *(part for name in names for part in ("-f", name)))
    assert (code, out) == (2, "")
    assert err == f"pillion: {url}: no URLs, only files, directories and - can be read; {instead.format(command)}\n"


def test_two_urls_are_no_pipe(pillion: Call) -> None:
    """A pipe would put one document's end and the other's beginning together."""
    err = pillion("inject", "-f", "https://x.org/a.yaml,https://x.org/b.yaml").err
    assert [line.partition("; ")[2] for line in err.splitlines()] == ["download it, and write the file's name"] * 2


@pytest.mark.parametrize("name", ["", ",", ",,"])
def test_an_empty_name_is_no_folder(name: str, pillion: Call, folder: Path) -> None:
    """A variable that is not set does not stand for the working directory."""
    (folder / "a.yaml").write_text(APP)
    code, out, err = pillion("inject", "-f", name)
    assert (code, out) == (2, "")
    assert err == f"pillion: -f {shlex.quote(name)}: names nothing; write a file, a directory or -\n"


def test_a_pattern_names_files(pillion: Call, folder: Path) -> None:
    """As for kubectl; a file of that very name wins, and a pattern of nothing is a file that is not there."""
    (folder / "b.yaml").write_text("kind: B\n")
    (folder / "a.yaml").write_text("kind: A\n")
    assert pillion("inject", "-f", "*.yaml").out == "kind: A\n---\nkind: B\n"
    (folder / "[ab].yaml").write_text("kind: C\n")
    assert pillion("inject", "-f", "[ab].yaml").out == "kind: C\n"
    assert pillion("inject", "-f", "*.yml").err == "pillion: *.yml: can't be read: No such file or directory\n"


def test_several_may_follow(pillion: Call, folder: Path) -> None:
    """As a shell writes them for a pattern without quotes; options may come in between."""
    for name in "abc":
        (folder / f"{name}.yaml").write_text(f"kind: {name}\n")
    out = pillion("inject", "-f", "b.yaml", "a.yaml", "-o", "yaml", "-f", "c.yaml").out
    assert out == "kind: b\n---\nkind: a\n---\nkind: c\n"


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


@pytest.mark.parametrize("command", ["inject", "explain", "lint"])
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


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000, "absent/" + "b" * 300], ids=["long", "deep", "long name"])
def test_what_can_be_no_name_is_one_sentence(name: str, pillion: Call) -> None:
    """As the file system has it."""
    code, out, err = pillion("lint", "-f", name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert ": can't be read: " in err


@pytest.mark.parametrize("options", [(), ("-R",)])
def test_a_folder_that_may_not_be_read(
    options: tuple[str, ...], pillion: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named; root, who runs tests in containers, may read all."""
    (folder / "closed").mkdir()

    def refuse(path: object, *_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    code, out, err = pillion("lint", "-f", "closed", *options)
    assert (code, out) == (2, "")
    assert err.startswith("pillion: closed: ")
    assert len(err.splitlines()) == 1
