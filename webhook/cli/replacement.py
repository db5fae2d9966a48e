"""A sidecar that a manifest carries already, replaced by the one that it would get now: taken out, then injected.

The webhook never does this: a pod that it is asked about keeps the sidecar that it has.
"""

import jsonpatch

from webhook.injection.reasons import Finding, Reason
from webhook.injection.verdict import WARNING_LEAD
from webhook.workloads.objects import Remark, RemarkSeverity
from webhook.workloads.reports import Review, review

__all__ = ["replaced"]

#: Nobody asks for a sidecar: that is no order to take one out.
_UNASKED = {
    Reason.OPTED_OUT: "the pod has inject: false, but still has a sidecar; pillion uninject removes it",
    Reason.NOT_REQUESTED: "injection is not requested, but the pod has a sidecar; pillion uninject removes it",
}


def replaced(found: Review) -> Review:
    """Return the review with the workload's sidecar replaced: the same review where it carries none.

    Nothing is done by halves: where the pod could not be injected anew, the old sidecar stays, and a warning says why.
    """
    workload, configuration = found.workload, found.verdict.configuration
    removed = workload.removed(configuration)
    if not removed.patch:
        return found
    if found.verdict.reason is Reason.UNREADABLE_POD:
        # what is wrong stands where this review says: without the sidecar everything has another place
        return found._replace(remarks=[_not_replaced(remark) for remark in found.remarks])
    again = review(removed.bare, configuration, namespace_opted_in=found.verdict.request.namespace_opted_in)
    again = again._replace(workload=workload, removed=removed)
    verdict = again.verdict
    if not verdict.operations:
        unasked = _UNASKED.get(verdict.reason)
        if unasked is None:
            return again._replace(remarks=[_not_replaced(remark) for remark in again.remarks])
        position = workload.position_of(verdict.findings[0], configuration.prefix)
        unmet = any(remark.unmet for remark in again.remarks)
        return again._replace(remarks=[Remark(position, RemarkSeverity.WARNING, verdict.reason, unasked, unmet)])
    if jsonpatch.apply_patch(workload.manifest, again.patch) == workload.manifest:
        verdict.operations = []
        verdict.reason = Reason.ALREADY_INJECTED
        verdict.findings = [Finding(verdict.reason)]
    return again


def _not_replaced(remark: Remark) -> Remark:
    if not remark.text.startswith(WARNING_LEAD):
        return remark
    return remark._replace(text=f"not replaced: {remark.text.removeprefix(WARNING_LEAD)}")
