"""``pillion config``."""

from pathlib import Path

import pytest

from tests.cli.conftest import Call

BAD = "replicas: 2\ndefaultProfile: tial\nprofiles:\n  mine:\n    base: tail\n    order: middle\n"
PROBLEMS = [
    "values.yaml:2:1: defaultProfile: 'tial' does not exist; did you mean tail?",
    "values.yaml:6:5: profiles.mine.order: must be first or last, is 'middle'",
]


def test_everything_that_is_wrong_with_values_is_said(pillion: Call, folder: Path) -> None:
    """By path, with its place in the file, on standard output; exit code 1."""
    (folder / "values.yaml").write_text(BAD)
    code, out, err = pillion("config", "check", "-f", "values.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines() == PROBLEMS


def test_standard_input_is_read(pillion: Call) -> None:
    """As from `helm get values`."""
    code, out, _ = pillion("config", "check", "-f", "-", stdin=BAD)
    assert code == 1
    assert out.splitlines() == [line.replace("values.yaml", "stdin") for line in PROBLEMS]


@pytest.mark.parametrize(
    "text",
    [
        "replicas: 3\nimage: {tag: v1}\nprofiles: {mine: {base: tail}}\ndefaultProfile: mine\n",
        "image: registry.example.com/pillion:1-tail\nprofiles: {mine: {base: tail}}\ndefaultProfile: mine\n",
    ],
    ids=["values", "configuration"],
)
def test_what_is_valid_is_said_with_its_profiles(pillion: Call, folder: Path, text: str) -> None:
    """Exit code 0, also for a configuration file."""
    (folder / "pillion.yaml").write_text(text)
    said = "pillion.yaml: valid; profiles filebeat, mine, otel, tail, web; default mine\n"
    assert pillion("config", "check", "-f", "pillion.yaml") == (0, said, "")


def test_a_key_that_neither_has_is_found(pillion: Call, folder: Path) -> None:
    """In values and in a configuration."""
    for text in ("replicas: 1\nprofils: {}\n", "image: a\nprofils: {}\n"):
        (folder / "file.yaml").write_text(text)
        code, out, _ = pillion("config", "check", "-f", "file.yaml")
        assert (code, out) == (1, "file.yaml:2:1: profils: is unknown; did you mean profiles?\n")


def test_a_file_that_is_no_yaml_is_wrong(pillion: Call, folder: Path) -> None:
    """And the place is said."""
    (folder / "values.yaml").write_text("a: [\n")
    code, out, _ = pillion("config", "check", "-f", "values.yaml")
    assert code == 1
    assert out.startswith("values.yaml:2:1: ")


def test_a_file_that_is_not_there_is_2(pillion: Call, folder: Path) -> None:
    """As in the other commands."""
    code, out, err = pillion("config", "check", "-f", str(folder / "missing.yaml"))
    assert (code, out) == (2, "")
    assert "missing.yaml: configuration: can't be read: No such file or directory" in err
