"""What came of a review: the one list that the audit annotation, the log, the metrics and the documents use."""

from enum import StrEnum
from typing import Self

from webhook.injection.reasons import Reason, Severity

__all__ = ["FAILURES", "Outcome"]

#: Reasons that are ours, not the pod's.
FAILURES = frozenset({Reason.DEADLINE, Reason.OVERLOADED, Reason.INTERNAL_ERROR})


class Outcome(StrEnum):
    """What came of a review; the pods of all but the first were created unchanged, or not at all."""

    INJECTED = "injected"
    SHADOWED = "shadowed"  # would have been injected, but for shadow mode
    SKIPPED = "skipped"  # not requested, or nothing to do
    NOT_INJECTABLE = "not_injectable"  # requested in a way that can't be followed; created without the sidecar
    DENIED = "denied"  # the same under strict
    FAILED = "failed"  # our fault: a deadline, too many requests, a bug

    @classmethod
    def of(cls, reason: Reason, *, strict: bool, shadow: bool) -> Self:
        """Return what comes of a review that ends with this reason.

        ====================================================  ========
        reason                                                outcome
        ====================================================  ========
        the sidecar was added; in shadow mode                 injected; shadowed
        an annotation that can't be used, under ``strict``    denied
        a deadline, too many requests, a bug of ours          failed
        an annotation or a plan that can't be followed        declined
        anything else                                         skipped
        ====================================================  ========
        """
        if reason is Reason.INJECTED:
            return cls.SHADOWED if shadow else cls.INJECTED
        if strict and reason.severity is Severity.INVALID:
            return cls.DENIED
        if reason in FAILURES:
            return cls.FAILED
        if reason.severity in {Severity.WARNING, Severity.INVALID}:
            return cls.NOT_INJECTABLE
        return cls.SKIPPED
