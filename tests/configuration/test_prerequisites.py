"""What a pod's namespace or node must have is told: to the log, and as a warning where it is written."""

from typing import Any

import pytest

from webhook.configuration.loading import build
from webhook.profiles import builtins

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
    "a profile for seccomp": (
        {"sidecar": {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}}}},
        "sidecar.securityContext.seccompProfile needs a.json on every node",
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
    notes = build({"profiles": {"own": {"base": "tail", **profile}}}, builtins()).log_messages
    assert any(note.startswith(f"profile own: {expected}") for note in notes), notes


@pytest.mark.parametrize(
    "context",
    [{"runAsUser": None, "runAsNonRoot": False}, {"runAsUser": 5}, {"seccompProfile": {"type": "RuntimeDefault"}}],
    ids=str,
)
def test_a_security_context_that_needs_nothing_is_no_note(context: dict[str, Any]) -> None:
    """Every cluster starts it."""
    notes = build(
        {"profiles": {"own": {"base": "tail", "sidecar": {"securityContext": context}}}}, builtins()
    ).log_messages
    assert not any(note.startswith("profile own") for note in notes)


def test_optional_references_are_no_note() -> None:
    """A pod starts without them."""
    profile = {"base": "tail", "sidecar": {"envFrom": [{"secretRef": {"name": "s", "optional": True}}]}}
    notes = build({"profiles": {"own": profile}}, builtins()).log_messages
    assert not any(note.startswith("profile own") for note in notes)


def test_the_built_in_profiles_need_nothing_of_a_namespace() -> None:
    """Else a pod would not start in one that lacks it."""
    assert [name for name, one in build(None, builtins()).profiles.items() if one.prerequisites] == []


def test_what_a_patch_adds_is_told_once() -> None:
    """As if it stood in the profile; what stands there is not told again."""
    reference = {"secretRef": {"name": "s"}}
    variable = {"name": "T", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}
    patch = [{"op": "add", "path": "/envFrom", "value": [reference]}]
    document = {"profiles": {"own": {"base": "tail", "sidecar": {"env": [variable]}, "patch": patch}}}
    configuration = build(document, builtins())
    assert [(warning.dotted_path, warning.message.partition(" in the")[0]) for warning in configuration.warnings] == [
        ("profiles.own.sidecar.env[0]", "sidecar.env T needs the ConfigMap m"),
        ("profiles.own.patch", "sidecar.envFrom[0] needs the Secret s"),
    ]
    assert len([message for message in configuration.log_messages if message.startswith("profile own: ")]) == 2


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/env/-", "value": {"name": "A", "valueFrom": None}},
        {"op": "replace", "path": "/env", "value": None},
        {"op": "add", "path": "/envFrom", "value": None},
        {"op": "replace", "path": "/securityContext", "value": None},
    ],
    ids=str,
)
def test_a_null_that_a_patch_writes_needs_nothing(operation: dict[str, Any]) -> None:
    """The API server reads it as nothing."""
    assert build({"profiles": {"own": {"base": "tail", "patch": [operation]}}}, builtins()).warnings == ()
