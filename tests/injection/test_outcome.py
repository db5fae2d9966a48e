"""What came of a review: by its reason and the mode."""

from __future__ import annotations

import pytest

from tests.tables import flat, rows
from webhook.injection.outcome import Outcome
from webhook.injection.reasons import Reason

#: By the row of the table: strict, shadow mode, the reason, and what comes of it.
CASES: dict[str, dict[str, tuple[bool, bool, Reason, Outcome]]] = {
    "the sidecar was added; in shadow mode": {
        "": (False, False, Reason.INJECTED, Outcome.INJECTED),
        "shadow": (True, True, Reason.INJECTED, Outcome.SHADOWED),
    },
    "an invalid annotation, under strict": {"": (True, True, Reason.BAD_ANNOTATION, Outcome.DENIED)},
    "a deadline, a bug": {
        "deadline": (False, True, Reason.DEADLINE, Outcome.FAILED),
        "bug": (True, False, Reason.INTERNAL_ERROR, Outcome.FAILED),
    },
    "an invalid annotation, an impossible injection": {
        "annotation": (False, False, Reason.BAD_ANNOTATION, Outcome.NOT_INJECTABLE),
        "plan": (True, False, Reason.HIDES_PROGRAM, Outcome.NOT_INJECTABLE),
    },
    "an unreadable pod": {"": (True, False, Reason.UNREADABLE_POD, Outcome.NOT_INJECTABLE)},
    "a sidecar that lost its restartPolicy": {"": (True, False, Reason.LOST_RESTART_POLICY, Outcome.NOT_INJECTABLE)},
    "anything else": {
        "quiet": (True, False, Reason.NOT_REQUESTED, Outcome.SKIPPED),
        "asked": (True, False, Reason.WINDOWS, Outcome.SKIPPED),
        "note": (True, False, Reason.ALREADY_INJECTED, Outcome.SKIPPED),
    },
}


def test_each_row_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(Outcome.from_reason)


@pytest.mark.parametrize(("strict", "shadow", "reason", "expected"), flat(CASES))
def test_each_row_of_the_table(strict: bool, shadow: bool, reason: Reason, expected: Outcome) -> None:
    """The table in ``Outcome.from_reason``."""
    assert Outcome.from_reason(reason, strict=strict, shadow=shadow) is expected


@pytest.mark.parametrize("reason", Reason)
def test_only_strict_denies_and_only_shadow_mode_shadows(reason: Reason) -> None:
    """Whatever the reason."""
    for strict in (False, True):
        for shadow in (False, True):
            outcome = Outcome.from_reason(reason, strict=strict, shadow=shadow)
            assert strict or outcome is not Outcome.DENIED
            assert shadow or outcome is not Outcome.SHADOWED
