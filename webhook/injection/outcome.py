"""The outcomes of a review, as the audit annotation, the log, the metrics and the docs name them."""

from enum import StrEnum
from typing import Self

from webhook.injection.reasons import Reason, Severity

__all__ = ["FAILURES", "Outcome"]

#: Reasons that are the server's fault, not the pod's.
FAILURES = frozenset({Reason.DEADLINE, Reason.INTERNAL_ERROR})


class Outcome(StrEnum):
    """The outcome of a review. Only INJECTED pods were changed; DENIED ones were not created."""

    INJECTED = "injected"
    SHADOWED = "shadowed"  # shadow mode: it would have been injected
    SKIPPED = (
        "skipped"  # not requested, nothing to be done, or a kind of pod that is never injected (a mirror pod, Windows)
    )
    # requested but not possible, an unreadable pod, or a sidecar that another webhook broke; left as it was
    NOT_INJECTABLE = "not_injectable"
    DENIED = "denied"  # an invalid annotation, under strict
    FAILED = "failed"  # the server's fault: a deadline, a bug

    @classmethod
    def from_reason(cls, reason: Reason, *, strict: bool, shadow: bool) -> Self:
        """Return the outcome of a review that ends with this reason.

        ===============================================  ===========================
        reason                                           outcome
        ===============================================  ===========================
        the sidecar was added; in shadow mode            injected; shadowed
        an invalid annotation, under ``strict``          denied, in shadow mode, too
        a deadline, a bug                                failed
        an invalid annotation, an impossible injection   not_injectable
        an unreadable pod                                not_injectable
        a sidecar that lost its restartPolicy            not_injectable
        anything else                                    skipped
        ===============================================  ===========================
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
