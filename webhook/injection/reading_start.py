"""Where reading begins in log files that were there before the pod."""

from webhook.injection.annotations import RequestedOptions
from webhook.injection.log_sources import LogSource
from webhook.injection.profile import Profile
from webhook.injection.reasons import Finding, Reason, quote_untrusted

__all__ = ["effective_start", "start_in_words"]


def effective_start(profile: Profile, options: RequestedOptions, findings: list[Finding]) -> str:
    """Return ``beginning`` or ``end``, from the annotation or else the profile; empty if the sidecar decides.

    Appends a warning to ``findings`` if the annotation has no effect, because the profile does not pass it on.
    """
    if not profile.passes_start and options.start is not None:
        message = f"has no effect: the sidecar of profile {quote_untrusted(profile.name)} does not take it"
        findings.append(Finding(Reason.NO_EFFECT, message, annotation="start", value=options.start))
    return _start(profile, options)


def _start(profile: Profile, options: RequestedOptions) -> str:
    return (options.start or profile.start) if profile.passes_start else ""


def start_in_words(source: LogSource, profile: Profile, options: RequestedOptions) -> str:
    """Return where reading a log source begins and why; an empty text if the profile does not use it.

    ==============================  ==================  ==================================
    the annotation, or the profile  the volume          reading begins
    ==============================  ==================  ==================================
    beginning                       any                 at the beginning
    end                             any                 at the end of files that are there
    nothing                         outlives the pod    at the end of files that are older
    nothing                         ends with the pod   at the beginning
    ==============================  ==================  ==================================
    """
    if not profile.passes_start:
        return ""
    start = _start(profile, options)
    if start:
        who = "the annotation start says so" if options.start else "the profile's start says so"
        return f"at the beginning: {who}" if start == "beginning" else f"at the end of files that are there: {who}"
    if source.persistent:
        return "at the end of files older than the pod: the volume outlives it"
    return "at the beginning: the volume ends with the pod"
