"""The verdict on a request: what is answered, and what people are told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION
from webhook.injection.edit import Operation
from webhook.injection.outcome import Outcome
from webhook.injection.reasons import MAX_WARNINGS, Finding, Reason
from webhook.injection.review import Request
from webhook.injection.verdict import Verdict, unexamined_verdict

OPERATION = Operation("add", "/a", 1)
BAD = Finding(Reason.BAD_ANNOTATION, "is bad", annotation="logs", value="x")
NOTE = Finding(Reason.LEFT_OUT, "takes no part", value="istio-proxy")


def verdict(*findings: Finding, strict: bool = False, shadow: bool = False, **fields: Any) -> Verdict:
    """Return a verdict whose reason is that of its first finding, or an injection without any."""
    configuration = replace(CONFIGURATION, strict=strict, shadow=shadow)
    reason = findings[0].reason if findings else Reason.INJECTED
    return Verdict(Request("u"), configuration, **{"reason": reason, "findings": list(findings), **fields})


def injected(**fields: Any) -> Verdict:
    """Return the verdict on a pod that is injected."""
    return verdict(profile_name="tail", revision="abc", operations=[OPERATION], **fields)


def test_an_injection_is_answered_with_its_patch() -> None:
    """And with audit annotations that say by which profile."""
    response = injected().response()
    assert (response.uid, response.allowed, response.patchType) == ("u", True, "JSONPatch")
    assert json.loads(response.patch or b"") == [{"op": "add", "path": "/a", "value": 1}]
    assert response.auditAnnotations == {"outcome": "injected", "reason": "injected", "profile": "tail@abc"}
    assert response.warnings is None
    assert response.status is None


def test_shadow_mode_answers_without_a_patch() -> None:
    """It says what it would have done."""
    answer = injected(shadow=True)
    response = answer.response()
    assert answer.injected
    assert answer.outcome is Outcome.SHADOWED
    assert (response.patch, response.patchType) == (None, None)
    assert response.auditAnnotations is not None
    assert response.auditAnnotations["shadow"] == "true"


def test_a_pod_that_is_left_alone_gets_no_patch() -> None:
    """It is created all the same."""
    response = verdict(BAD).response()
    assert (response.allowed, response.patch, response.patchType) == (True, None, None)
    assert response.auditAnnotations == {"outcome": "not_injectable", "reason": "bad_annotation"}
    assert response.warnings == ['not injected: pillion.dev/logs "x": is bad']


def test_strict_denies_with_the_same_text() -> None:
    """What is wrong is the message that people see, and there is nothing about an injection in it."""
    other = Finding(Reason.UNKNOWN_KEY, "is unknown", annotation="lgs")
    response = verdict(BAD, other, strict=True).response()
    assert not response.allowed
    said = ['pillion.dev/logs "x": is bad', "pillion.dev/lgs: is unknown"]
    assert response.status == {"code": 400, "reason": "BadRequest", "message": "; ".join(said)}
    assert response.warnings == said


def test_strict_denies_nothing_else() -> None:
    """A plan that is impossible is not the annotation's mistake."""
    assert verdict(Finding(Reason.HIDES_PROGRAM), strict=True).response().allowed


def test_a_profile_without_a_revision_is_named_alone() -> None:
    """No pod was injected with it."""
    response = verdict(BAD, profile_name="tail").response()
    assert response.auditAnnotations is not None
    assert response.auditAnnotations["profile"] == "tail"


def test_only_the_decisive_warning_says_that_nothing_was_injected() -> None:
    """The others were found on the way."""
    other = Finding(Reason.UNKNOWN_KEY, "is unknown", annotation="lgs")
    assert verdict(BAD, other).warnings == [
        'not injected: pillion.dev/logs "x": is bad',
        "pillion.dev/lgs: is unknown",
    ]
    assert verdict(other, reason=Reason.INJECTED).warnings == ["pillion.dev/lgs: is unknown"]


@pytest.mark.parametrize(("asked", "number"), [(True, 1), (False, 0)])
def test_some_warnings_are_for_those_who_asked(*, asked: bool, number: int) -> None:
    """A namespace's pods that run on Windows are nobody's mistake."""
    assert len(verdict(Finding(Reason.WINDOWS), requested_by_pod=asked).warnings) == number


def test_a_warning_is_said_once_and_not_more_than_fit() -> None:
    """The API server cuts all warnings of a request at 4096 characters."""
    assert len(verdict(BAD, reason=Reason.INJECTED, findings=[BAD, BAD]).warnings) == 1
    many = [Finding(Reason.UNKNOWN_KEY, annotation=f"k{number}") for number in range(MAX_WARNINGS + 1)]
    assert len(verdict(*many).warnings) == MAX_WARNINGS


def test_notes_are_no_warnings() -> None:
    """What decided is no note, and what is noted of the plan comes last."""
    hidden = Finding(Reason.HIDES_IMAGE_FILES)
    found = verdict(BAD, NOTE, plan_notes=[hidden])
    assert found.notes == [NOTE, hidden]
    assert NOTE.text() not in found.warnings
    assert verdict(Finding(Reason.ALREADY_INJECTED)).notes == []


def test_a_patch_is_gone_with_its_operations() -> None:
    """Who takes a verdict's operations away finds no patch, also where it was encoded before."""
    found = injected()
    assert found.patch
    found.operations = []
    assert found.patch == b""
    assert found.response().patch is None


def test_a_patch_is_encoded_once() -> None:
    """The log and the response ask for the same bytes."""
    found = injected()
    assert found.patch is found.patch


def test_a_server_that_can_not_look_at_a_pod_lets_it_pass() -> None:
    """With the reason, as a warning."""
    found = unexamined_verdict(Request("u"), Reason.DEADLINE, CONFIGURATION)
    response = found.response()
    assert (response.uid, response.allowed, response.patch) == ("u", True, None)
    assert response.warnings == ["not injected: the caller's deadline was too near"]
    assert found.outcome is Outcome.FAILED
