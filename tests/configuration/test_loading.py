"""A file to a configuration: whatever is in it, and what is said of it."""

import json
import os
from random import Random
from typing import Any

import pytest

from tests.configuration.examples import FULL, VALUES, paths, pretty, replaced
from tests.configuration.judge import judge
from webhook.configuration import load, parse
from webhook.configuration.loading import build
from webhook.errors import ConfigurationError
from webhook.profiles import builtins

#: Of each path that many values are tried: all of them in make properties.
TRIED = int(os.environ.get("PILLION_EXAMPLES", "400")) // 100
PATHS = list(paths(FULL))


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


def test_a_secret_that_an_operator_names_reaches_the_sidecar() -> None:
    """Its name and key: without them the API server refuses the pod."""
    reference = {"secretKeyRef": {"name": "store", "key": "token", "optional": True}}
    profile = {"base": "tail", "sidecar": {"env": [{"name": "TOKEN", "valueFrom": reference}]}}
    variable = build({"profiles": {"own": profile}}, builtins()).profiles["own"].env[-1]
    assert variable.valueFrom is not None
    assert variable.valueFrom.secretKeyRef == reference["secretKeyRef"]


NOTES: dict[str, tuple[dict[str, Any], str]] = {
    "a Secret in env": (
        {"sidecar": {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}},
        "sidecar.env T needs the Secret s in the namespace of each pod, which does not start without it",
    ),
    "a ConfigMap in envFrom": (
        {"sidecar": {"envFrom": [{"configMapRef": {"name": "m"}}]}},
        "sidecar.envFrom[0] needs the ConfigMap m in the namespace of each pod",
    ),
    "a Secret as a volume": (
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        "volume v needs the Secret s in the namespace of each pod",
    ),
    "a projected ConfigMap": (
        {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "m"}}]}}]},
        "volume v needs the ConfigMap m in the namespace of each pod",
    ),
    "a claim": (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        "volume v needs the claim c in the namespace of each pod",
    ),
    "no user": (
        {"sidecar": {"securityContext": {"runAsUser": None}}},
        "without runAsUser the cluster must choose the user",
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_must_be_there_for_a_pod_to_start_is_a_note(case: str) -> None:
    """It may be there, so the profile is taken."""
    profile, expected = NOTES[case]
    notes = build({"profiles": {"own": {"base": "tail", **profile}}}, builtins()).notes
    assert any(note.startswith(f"profile own: {expected}") for note in notes), notes


def test_optional_references_are_no_note() -> None:
    """A pod starts without them."""
    profile = {"base": "tail", "sidecar": {"envFrom": [{"secretRef": {"name": "s", "optional": True}}]}}
    notes = build({"profiles": {"own": profile}}, builtins()).notes
    assert not any(note.startswith("profile own") for note in notes)


def test_null_takes_a_default_of_the_security_context_away() -> None:
    """It reaches the profile as None, whether the base has the key or not."""
    profile = {
        "base": "tail",
        "sidecar": {"securityContext": {"runAsUser": None, "runAsGroup": None, "privileged": False}},
    }
    made = build({"profiles": {"own": profile}}, builtins()).profiles["own"]
    assert made.security_context == {"runAsUser": None, "runAsGroup": None, "privileged": False}


def test_json_is_read_as_well() -> None:
    """A configuration need not be YAML."""
    assert parse(json.dumps({"strict": True}).encode(), "pillion.json").strict


def test_every_built_in_that_is_complete_starts() -> None:
    """They are tried out here, and not at each start."""
    complete = {
        "filebeat": {"sidecar": {"env": [{"name": "ELASTICSEARCH_HOSTS", "value": "http://store:9200"}]}},
        "otel": {"sidecar": {"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://store:4318"}]}},
        **{name: {} for name in load(None).profiles if name not in ("filebeat", "otel")},
    }
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
