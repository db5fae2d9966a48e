"""What came of a review: by its reason and the mode."""

from __future__ import annotations

import pytest

from webhook.injection.outcome import Outcome
from webhook.injection.reasons import Reason


@pytest.mark.parametrize(("strict", "shadow", "reason", "expected"), [
    (False, False, Reason.INJECTED, Outcome.INJECTED),
    (True, True, Reason.INJECTED, Outcome.SHADOWED),
    (True, True, Reason.BAD_ANNOTATION, Outcome.DENIED),
    (False, False, Reason.BAD_ANNOTATION, Outcome.NOT_INJECTABLE),
    (True, False, Reason.INTERNAL_ERROR, Outcome.FAILED),
    (False, True, Reason.DEADLINE, Outcome.FAILED),
    (True, False, Reason.HIDES_PROGRAM, Outcome.NOT_INJECTABLE),
    (True, False, Reason.NOT_REQUESTED, Outcome.SKIPPED),
    (True, False, Reason.WINDOWS, Outcome.SKIPPED),
    (True, False, Reason.ALREADY_INJECTED, Outcome.SKIPPED),
])  # fmt: skip
def test_each_row_of_the_table(strict: bool, shadow: bool, reason: Reason, expected: Outcome) -> None:
    """The table in ``Outcome.of``."""
    assert Outcome.of(reason, strict=strict, shadow=shadow) is expected


@pytest.mark.parametrize("reason", Reason)
def test_only_strict_denies_and_only_shadow_mode_shadows(reason: Reason) -> None:
    """Whatever the reason."""
    for strict in (False, True):
        for shadow in (False, True):
            outcome = Outcome.of(reason, strict=strict, shadow=shadow)
            assert strict or outcome is not Outcome.DENIED
            assert shadow or outcome is not Outcome.SHADOWED
