"""The verdict, the result of a review: the response, and what the log, the metrics and ``explain`` show of it."""

from msgspec import Struct

from webhook.injection.edit import Operation, encode_patch
from webhook.injection.outcome import Outcome
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason, Severity, as_warnings
from webhook.injection.review import Request, Response

__all__ = ["WARNING_LEAD", "Verdict", "unexamined_verdict"]

#: Begins the warning that says why an injection was not done.
WARNING_LEAD = "not injected: "
_WARNED = frozenset({Severity.WARNING, Severity.INVALID})


class Verdict(Struct):
    """The result of a review, and why.

    For a pod that was not injected, ``findings`` begins with the finding that decided it; otherwise it holds only
    warnings and notes.
    """

    request: Request
    configuration: Configuration
    reason: Reason
    findings: list[Finding]
    #: The profile's name; empty if a rule declined the pod.
    profile_name: str = ""
    #: The profile's revision; empty where the name is.
    revision: str = ""
    operations: list[Operation] = []
    #: Cache of :attr:`patch`.
    _patch: bytes | None = None
    #: Whether the pod has ``inject: "true"``.
    requested_by_pod: bool = False
    #: Notes on the volume plan, shown by ``explain`` only.
    plan_notes: list[Finding] = []
    #: The exception behind an ``internal_error``, for the log.
    error: BaseException | None = None

    @property
    def injected(self) -> bool:
        """Return whether the injection succeeded. In shadow mode its patch is not sent: the outcome says so."""
        return self.reason is Reason.INJECTED

    @property
    def allowed(self) -> bool:
        """Return whether the pod may be created: only ``strict`` denies one, and only for an invalid annotation."""
        return self.outcome is not Outcome.DENIED

    @property
    def outcome(self) -> Outcome:
        """Return the outcome."""
        return Outcome.from_reason(self.reason, strict=self.configuration.strict, shadow=self.configuration.shadow)

    @property
    def warned_findings(self) -> list[Finding]:
        """Return the findings that the client is warned of."""
        return [
            finding
            for finding in self.findings
            if (severity := finding.reason.severity) in _WARNED
            or (severity is Severity.WARNING_IF_REQUESTED and self.requested_by_pod)
        ]

    @property
    def warnings(self) -> list[str]:
        """Return the admission warnings."""
        prefix = self.configuration.prefix
        # a pod whose sidecar has lost its restartPolicy does have a sidecar
        led = not self.injected and self.allowed and self.reason is not Reason.LOST_RESTART_POLICY
        lead = WARNING_LEAD if led else ""
        # only the first finding is why the pod was not injected
        return as_warnings(
            finding.warning(prefix, lead if finding is self.findings[0] else "") for finding in self.warned_findings
        )

    @property
    def notes(self) -> list[Finding]:
        """Return the findings of severity ``note`` beside the verdict's own reason; ``explain`` shows them."""
        lines = [
            finding
            for finding in self.findings
            if finding.reason.severity is Severity.NOTE and finding.reason is not self.reason
        ]
        return [*lines, *self.plan_notes]

    @property
    def patch(self) -> bytes:
        """Return the operations as a JSON Patch document, empty where there are none."""
        if not self.operations:
            return b""
        if self._patch is None:
            self._patch = encode_patch(self.operations)
        return self._patch

    def response(self) -> Response:
        """Return the response to a pod's review."""
        audit = {"outcome": self.outcome.value, "reason": self.reason.value}
        if self.profile_name:
            audit["profile"] = f"{self.profile_name}@{self.revision}" if self.revision else self.profile_name
        if self.configuration.shadow:
            audit["shadow"] = "true"
        response = Response(
            uid=self.request.uid,
            allowed=self.allowed,
            warnings=self.warnings or None,
            auditAnnotations=audit,
        )
        if self.operations and not self.configuration.shadow:
            response.patchType = "JSONPatch"
            response.patch = self.patch
        if not response.allowed:
            response.status = {"code": 400, "reason": "BadRequest", "message": "; ".join(self.warnings)}
        return response


def unexamined_verdict(request: Request, reason: Reason, configuration: Configuration) -> Verdict:
    """Return a verdict for a pod that was not examined."""
    return Verdict(request, configuration, reason, [Finding(reason)])
