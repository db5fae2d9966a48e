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
    said = "pillion.yaml: valid; profiles elasticsearch, filebeat, mine, otel, otlp, tail, web; default mine\n"
    assert pillion("config", "check", "-f", "pillion.yaml") == (0, said, "")


NEEDS = "needs the Secret s in the namespace of each pod, which does not start without it; optional: true lets it start"


ENV = """\
profiles:
  mine:
    base: otlp
    sidecar:
      env:
        - {name: PILLION_URL, value: http://c}
        - {name: PILLION_TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}
"""
VOLUME = "profiles:\n  mine:\n    base: tail\n    volumes:\n      - {name: v, secret: {secretName: s}}\n"
PATCH = """\
profiles:
  mine:
    base: tail
    patch:
      - {op: add, path: /envFrom, value: [{secretRef: {name: s}}]}
"""


@pytest.mark.parametrize(
    ("text", "reference", "warning"),
    [
        (ENV, "key: k", f"7:11: warning: profiles.mine.sidecar.env[1]: sidecar.env PILLION_TOKEN {NEEDS}"),
        (VOLUME, "secretName: s", f"5:9: warning: profiles.mine.volumes[0]: volume v {NEEDS}"),
        (PATCH, "{name: s", f"4:5: warning: profiles.mine.patch: sidecar.envFrom[0] {NEEDS}"),
    ],
    ids=["env", "volume", "patch"],
)
def test_what_each_namespace_must_have_is_a_warning(
    pillion: Call, folder: Path, text: str, reference: str, warning: str
) -> None:
    """Without that Secret no pod with the profile starts; it may be there, so the file is valid."""
    (folder / "file.yaml").write_text(text)
    code, out, err = pillion("config", "check", "-f", "file.yaml")
    assert (code, err) == (0, f"file.yaml:{warning}\n")
    assert out.startswith("file.yaml: valid; ")
    (folder / "file.yaml").write_text(text.replace(reference, f"{reference}, optional: true"))
    assert pillion("config", "check", "-f", "file.yaml")[2] == ""


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
