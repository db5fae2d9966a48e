"""A file to a configuration: whatever is in it, and what is said of it."""

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.configuration.examples import FULL, VALUES, paths, pretty, replaced
from tests.configuration.judge import judge
from webhook.configuration import load, parse
from webhook.configuration.loading import MAX_DEPTH, build
from webhook.errors import ConfigurationError
from webhook.profiles import builtins

#: Of each path that many values are tried: all of them in make properties.
TRIED = int(os.environ.get("PILLION_EXAMPLES", "400")) // 100
PATHS = list(paths(FULL))


def problems(document: Any, **settings: Any) -> list[str]:
    """Return what is wrong with a document."""
    with pytest.raises(ConfigurationError) as raised:
        build(document, builtins(), **settings)
    return [str(problem) for problem in raised.value.problems]


def test_the_full_example_is_good() -> None:
    """Otherwise all that is changed in it would be refused for one reason."""
    assert judge(FULL)


@pytest.mark.parametrize("number", range(len(PATHS)), ids=lambda number: "/".join(map(str, PATHS[number])) or "root")
def test_every_key_survives_every_value(number: int) -> None:
    """A problem or a configuration that works, and nothing else, whatever is where."""
    path = PATHS[number]
    for value in Random(number).sample(VALUES, min(TRIED, len(VALUES))):
        document = replaced(FULL, path, value)
        try:
            judge(document)
        except Exception:
            print(pretty(document))  # noqa: T201 — what pytest shows of a failure
            raise


@pytest.mark.parametrize(
    "profile",
    [
        {"base": ["x"]},
        {"base": "tail", "volumes": [{"name": ["x"]}]},
        {"base": "tail", "sidecar": {"env": [{"name": "A", "valueFrom": {"fieldRef": 5}}]}},
        {"base": "tail", "sidecar": {"env": [{"name": "A\0"}]}},
        {"base": "tail", "sidecar": {"image": "\ud800"}},
        {"base": "tail", "patch": [{"op": "test", "path": "", "value": 1}]},
        {"base": "tail", "guaranteedCpu": 10**5000},
    ],
    ids=["base", "volume", "env", "NUL", "surrogate", "patch", "number"],
)
def test_what_raised_once_is_a_problem(profile: dict[str, Any]) -> None:
    """Not a traceback at the start, nor a reload that fails without a word."""
    with pytest.raises(ConfigurationError):
        build({"profiles": {"own": profile}}, builtins())


def test_a_problem_has_its_position() -> None:
    """File, line and column, as compilers write them: of the key that is wrong, in the order of the document."""
    text = """\
strict: maybe
profiles:
  own:
    base: tail
    volumes:
      - {name: more, emptyDir: {}}
      - {name: More}
    order: {}
"""
    wrong = "must be a name of lower-case letters, digits and -, at most 55 long"
    with pytest.raises(ConfigurationError) as raised:
        parse(text.encode(), "pillion.yaml")
    assert str(raised.value).splitlines() == [
        "pillion.yaml:1:1: strict: must be true or false, is text",
        f"pillion.yaml:7:10: profiles.own.volumes[1].name: {wrong}",
        "pillion.yaml:8:5: profiles.own.order: must be text, is a mapping",
    ]


def test_json_is_read_as_well() -> None:
    """A configuration need not be YAML."""
    assert parse(json.dumps({"strict": True}).encode(), "pillion.json").strict


def test_every_built_in_that_is_complete_starts() -> None:
    """They are tried out here, and not at each start."""
    addresses = {
        "elasticsearch": "PILLION_URL",
        "otlp": "PILLION_URL",
        "filebeat": "ELASTICSEARCH_HOSTS",
        "otel": "OTEL_EXPORTER_OTLP_ENDPOINT",
    }
    complete: dict[str, Any] = {name: {} for name in load(None).profiles}
    for name, variable in addresses.items():
        complete[name] = {"sidecar": {"env": [{"name": variable, "value": "http://store:9200"}]}}
    assert build({"profiles": complete}, builtins()).profiles.keys() == complete.keys()


@pytest.mark.parametrize(
    "profile",
    [
        {"sidecar": {"args": [5] * 2_000}},
        {"volumes": [{"name": "v"}] * 2_000},
        {"sidecar": {"ports": [{"name": "p", "containerPort": 1}] * 2_000}},
        {"logs": ["x"] * 2_000},
    ],
    ids=["args", "volumes", "ports", "logs"],
)
def test_thousands_of_problems_are_counted(profile: dict[str, Any]) -> None:
    """The first are named; positions cost time."""
    document = {"profiles": {"own": {"base": "tail", **profile}}}
    with pytest.raises(ConfigurationError, match=r"has [0-9]+ problems; the first 100 are named") as raised:
        parse(json.dumps(document).encode(), "pillion.yaml")
    assert len(raised.value.problems) == 101


def test_no_mistake_hides_another() -> None:
    """All of them are reported at once."""
    document = {"strict": 1, "profiles": {"a": {"order": "x"}, "b": {"base": "tail", "native": "x"}}}
    paths = [problem.partition(":")[0] for problem in problems(document)]
    assert paths == ["strict", "profiles.a.order", "profiles.a.sidecar.image", "profiles.b.native"]


def test_a_prefix_is_a_dns_name_and_a_slash() -> None:
    """It becomes the beginning of annotation keys."""
    assert problems(None, prefix="pillion.dev")[0].startswith("prefix: must be a DNS name and a slash")


def refusal(text: str) -> list[str]:
    """Return the lines that say why a file is refused."""
    with pytest.raises(ConfigurationError) as raised:
        parse(text.encode(), "pillion.yaml")
    return str(raised.value).splitlines()


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ConfigurationError, match=r"nosuch.yaml: configuration: can't be read: No such file"):
        load(tmp_path / "nosuch.yaml")


def test_a_file_is_read(tmp_path: Path) -> None:
    """Settings that are given win over it."""
    (tmp_path / "pillion.yaml").write_text("strict: true\ndefaultProfile: web\nignoredContainers: [a]\n")
    configuration = load(tmp_path / "pillion.yaml")
    assert (configuration.strict, configuration.default_profile) == (True, "web")
    assert configuration.ignored_containers == {"a"}
    other = load(tmp_path / "pillion.yaml", strict=False, shadow=True, prefix="x.example/")
    assert (other.strict, other.shadow, other.prefix) == (False, True, "x.example/")


def test_a_cluster_may_choose_the_users() -> None:
    """Of every profile that says nothing else, built in or not."""
    own = "mine: {base: web}, fixed: {base: tail, sidecar: {securityContext: {runAsUser: 7}}}"
    profiles = parse(f"openshift: true\nprofiles: {{{own}}}\n".encode(), "pillion.yaml").profiles
    nobody = {"runAsUser": None, "runAsGroup": None}
    found = {name: each.security_context for name, each in profiles.items()}
    assert found == dict.fromkeys(profiles, nobody) | {"fixed": {"runAsUser": 7, "runAsGroup": None}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "null\n"])
def test_an_empty_file_is_the_built_in_configuration(text: str) -> None:
    """There is nothing that one must say."""
    assert parse(text.encode(), "pillion.yaml").default_profile == "tail"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strict: [\n", "pillion.yaml:2:1: configuration: "),
        ("strict: true\n---\nstrict: false\n", "pillion.yaml:3:1: configuration: has 2 documents; write one"),
        ("strict: true\nstrict: false\n", "pillion.yaml:2:1: configuration: "),
        ("defaultProfile: tial\n", "pillion.yaml:1:1: defaultProfile: 'tial' does not exist; did you mean tail?"),
        (
            "profiles: {own: {base: wbe}}\n",
            "pillion.yaml:1:18: profiles.own.base: 'wbe' is no built-in profile; did you",
        ),
        ("profiles: {own: x}\n", "pillion.yaml:1:12: profiles.own: must be a mapping, is text"),
        ("profiles: {own: {base: [x]}}\n", "pillion.yaml:1:18: profiles.own.base: must be text, is a list"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, said: str) -> None:
    """With line and column."""
    assert any(line.startswith(said) for line in refusal(text)), refusal(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\0b", "has a NUL character, which no program can be given; remove it"),
        ("x" * 524_289, "is longer than 524288 characters"),
        ("\ud800", "has half of a character (a lone surrogate); remove it"),
        (float("inf"), "must be a finite number"),
        (2**63, "is too large a number"),
        (-(2**63), "is too large a number"),
        ({"\0": 1}, "a key of it has a NUL character, which no program can be given; remove it"),
    ],
    ids=["NUL", "long", "surrogate", "infinite", "large", "small", "key"],
)
def test_a_value_that_nothing_can_be_made_of_is_a_problem(value: Any, said: str) -> None:
    """Wherever it stands."""
    assert f"profiles.own.description: {said}" in problems(
        {"profiles": {"own": {"base": "tail", "description": value}}}
    )


def test_values_may_be_nested_so_deep_and_no_deeper() -> None:
    """Each level costs one of Python's own stack."""
    value: Any = "x"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert not any("nested" in problem for problem in problems({"nosuch": value[0]}))
    assert any(problem.endswith("is nested too deeply") for problem in problems({"nosuch": value}))
