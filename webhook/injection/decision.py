"""Whether a pod is injected: rules in order, of which the first that the pod does not pass decides.

A pod that does not pass a rule is *declined*: it is created without the sidecar. Only ``strict`` denies a pod, by its
verdict (:mod:`webhook.injection.verdict`).

Whether injection is requested, by the pod's annotation ``inject`` and by the namespace's label:

===========  ===============  ================
annotation   not opted in     namespace opted in
===========  ===============  ================
absent       not_requested    requested
"true"       requested        requested
"false"      opted_out        opted_out
other        bad_annotation   bad_annotation
===========  ===============  ================
"""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from webhook.injection.annotations import KEYS, STATUS, RequestedOptions, parse_options
from webhook.injection.log_detection import has_log_location, probable_log_directory
from webhook.injection.ownership import is_sidecar
from webhook.injection.pod import Container, ObjectMeta, Pod, PodSpec
from webhook.injection.profile import Configuration, Profile
from webhook.injection.reasons import Finding, Reason, clean_untrusted, quote_untrusted
from webhook.injection.review import Request
from webhook.injection.status import other_installation
from webhook.injection.windows import windows_evidence

__all__ = ["OWN_POD_LABEL", "RULES", "PodFacts", "Rule", "declining_finding"]

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
#: The key, under the prefix, of the label on Pillion's own pods; its value does not matter.
OWN_POD_LABEL = "component"

_decode_spec = msgspec.json.Decoder(PodSpec | None).decode


class PodFacts(Struct):
    """What is known about a pod. Rules fill it in as they need more: most pods are decided by their first rules."""

    request: Request
    configuration: Configuration
    pod: Pod | None = None
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    options: RequestedOptions = msgspec.field(default_factory=RequestedOptions)
    profile_name: str = ""
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    #: Ordinary and init containers, and the volumes by name.
    containers: list[Container] = []
    volumes: dict[str, dict[str, Any]] = {}
    #: How many rules the pod has passed.
    rules_passed: int = 0

    @property
    def profile(self) -> Profile:
        """Return the profile. Only after the rule that declines pods with unknown profiles."""
        return self.configuration.profiles[self.profile_name]


def _no_explanation(_: PodFacts) -> str:
    return ""


class Rule(NamedTuple):
    """A question about the pod; ``check`` returns the finding that declines the pod, or None.

    An error of msgspec that it raises means ``unreadable_pod``, see ``Admission.run``. ``explain`` returns why the pod
    passed, for ``pillion explain``. It is called only if ``check`` returned None.
    """

    question: str
    check: Callable[[PodFacts], Finding | None]
    explain: Callable[[PodFacts], str] = _no_explanation


def _decline_non_pod(facts: PodFacts) -> Finding | None:
    kind = facts.request.kind
    if kind.kind == "Pod" and not kind.group:
        return None
    return Finding(Reason.NOT_A_POD, f"only pods are injected, not kind {quote_untrusted(kind.kind)}")


def _decline_non_creation(facts: PodFacts) -> Finding | None:
    request = facts.request
    if request.operation == "CREATE" and not request.subResource:
        return None
    return Finding(Reason.NOT_CREATE)


def _decline_unrequested(facts: PodFacts) -> Finding | None:
    """Decline a pod for which nobody requests injection.

    This is the first rule that reads the pod: it decodes the metadata and parses the annotations for all later ones.
    Without an object the pod is unreadable.
    """
    if not _load_metadata(facts):
        return Finding(Reason.UNREADABLE_POD, "the request has no object")
    options = facts.options
    if options.inject is not None:
        return None if options.inject else Finding(Reason.OPTED_OUT)
    invalid = next((finding for finding in options.invalid if finding.annotation == "inject"), None)
    if invalid is not None:
        return invalid
    if facts.request.namespace_opted_in:
        return None
    # one hint is enough: a misspelt key or a label explains more
    if not options.warnings:
        options.warnings = _annotation_without_effect(facts)
    return Finding(Reason.NOT_REQUESTED)


def _load_metadata(facts: PodFacts) -> bool:
    """Decode the pod's metadata and parse its annotations; return False if the request has no object."""
    facts.pod = facts.request.decode_pod()
    if facts.pod is None:
        return False
    facts.metadata = facts.pod.metadata or ObjectMeta()
    configuration = facts.configuration
    options = facts.options = parse_options(facts.metadata.annotations, configuration.prefix)
    options.warnings = (*_labels_without_effect(facts), *options.warnings)
    facts.profile_name = options.profile or configuration.default_profile
    return True


def _annotation_without_effect(facts: PodFacts) -> tuple[Finding, ...]:
    """Return a warning for the first annotation that has no effect because injection is not requested."""
    prefix = facts.configuration.prefix
    for name in facts.metadata.annotations or ():
        key = name.removeprefix(prefix)
        if name.startswith(prefix) and key != STATUS:
            message = f'has no effect without {prefix}inject: "true"'
            return (Finding(Reason.NO_EFFECT, message, annotation=clean_untrusted(key)),)
    return ()


def _labels_without_effect(facts: PodFacts) -> tuple[Finding, ...]:
    """Return a warning for each key that is a label of the pod, where only an annotation is read."""
    labels, annotations = facts.metadata.labels, facts.metadata.annotations or {}
    prefix, opted_in = facts.configuration.prefix, facts.request.namespace_opted_in
    findings = []
    for name, value in (labels or {}).items():
        if not name.startswith(prefix) or name in annotations:
            continue
        key = name.removeprefix(prefix)
        # no warning for the label inject: "true" in an opted-in namespace: the pod is injected, as its author expects
        if key in KEYS and not (key == "inject" and value == "true" and opted_in):
            message = "has no effect as a label of the pod; write it as an annotation"
            findings.append(Finding(Reason.LABEL_WITHOUT_EFFECT, message, annotation=key))
    return tuple(findings)


def _decline_own_pod(facts: PodFacts) -> Finding | None:
    labels = facts.metadata.labels
    return Finding(Reason.OWN_POD) if labels and f"{facts.configuration.prefix}{OWN_POD_LABEL}" in labels else None


def _decline_mirror_pod(facts: PodFacts) -> Finding | None:
    return Finding(Reason.MIRROR_POD) if MIRROR_ANNOTATION in (facts.metadata.annotations or {}) else None


def _load_spec(facts: PodFacts) -> Finding | None:
    """Decode the spec for the later rules.

    Never returns a finding: an unreadable spec raises msgspec's error, which ``Admission.run`` turns into
    ``unreadable_pod``.
    """
    raw = facts.pod.spec if facts.pod is not None else b""
    spec = facts.spec = (_decode_spec(raw) if raw else None) or PodSpec()
    for volume in spec.volumes or ():
        name = volume.get("name")
        if type(name) is not str:
            raise msgspec.ValidationError("a volume has no name")
        facts.volumes[name] = volume
    facts.containers = [*(spec.containers or ()), *(spec.initContainers or ())]
    return None


def _decline_windows(facts: PodFacts) -> Finding | None:
    evidence = windows_evidence(facts.spec)
    return Finding(Reason.WINDOWS, f"the pod runs on Windows, by its {evidence}") if evidence else None


def _decline_invalid_annotation(facts: PodFacts) -> Finding | None:
    invalid = facts.options.invalid
    if invalid:
        return invalid[0]
    # what its author meant is only guessed: without ``strict`` the pod is injected, with a warning
    misspelt = (finding for finding in facts.options.warnings if finding.reason is Reason.MISSPELT_KEY)
    return next(misspelt, None) if facts.configuration.strict else None


def _decline_unusable_profile(facts: PodFacts) -> Finding | None:
    name, profiles = facts.profile_name, facts.configuration.profiles
    profile = profiles.get(name)
    if profile is None:
        near = difflib.get_close_matches(name, profiles, n=1)
        usable = " or ".join(name for name, profile in profiles.items() if not profile.setup_steps)
        message = f"does not exist; did you mean {near[0]}?" if near else f"does not exist; write {usable}"
        return Finding(Reason.UNKNOWN_PROFILE, message, annotation="profile", value=name)
    if profile.setup_steps:
        message = f"is not complete; ask your operator to {profile.setup_steps[0]}"
        return Finding(Reason.PROFILE_INCOMPLETE, message, annotation="profile", value=name)
    return None


def _decline_pod_without_logs(facts: PodFacts) -> Finding | None:
    """Decline a pod without logs if only its namespace asks: most of these pods write no log files.

    ``has_log_location`` is true if the pod's author wants logs read: such a pod always passes.
    """
    options, profile = facts.options, facts.profile
    others = facts.configuration.ignored_containers
    app_containers = [container for container in facts.spec.containers or () if container.name not in others]
    if has_log_location(options, profile, app_containers, facts.volumes):
        return None
    # a profile without logs has passed above
    directory = profile.logs[0].directory_path
    elsewhere = probable_log_directory(app_containers, facts.volumes)
    instead = f"{facts.configuration.prefix}logs: {elsewhere or '/dir'}/*.log"
    message = f"nothing is mounted at {clean_untrusted(directory, 40)}; if the pod writes log files, write {instead}"
    return Finding(Reason.NO_LOG_LOCATION, message)


def _decline_injected(facts: PodFacts) -> Finding | None:
    """Decline a pod that has a sidecar of ours, of any profile and revision, or somebody else's container of its name.

    A sidecar of ours has our name, and our volumes or variables. The status annotation never makes a container ours; it
    only says which installation added it.
    """
    taken = False
    for container in facts.containers:
        if is_sidecar(container, facts.configuration):
            return (
                _other_installation(facts, container.name)
                or _lost_restart_policy(facts, container)
                or Finding(Reason.ALREADY_INJECTED)
            )
        taken = taken or container.name == facts.profile.container_name
    if not taken:
        return None
    name = quote_untrusted(facts.profile.container_name, 63)
    message = f"the pod has a container {name} that is not Pillion's; rename it"
    return Finding(Reason.NAME_TAKEN, message)


def _other_installation(facts: PodFacts, sidecar_name: str) -> Finding | None:
    """Return the finding if another installation added the sidecar."""
    found = other_installation(facts.metadata.annotations or {}, facts.configuration.prefix, (sidecar_name,))
    if found is None:
        return None
    prefix, status = found
    whose = f"{clean_untrusted(prefix)} (profile {quote_untrusted(status.profile)})"
    message = f'the pod has the sidecar of {whose}; write inject: "false" under one of the prefixes'
    return Finding(Reason.OTHER_INSTALLATION, message)


def _lost_restart_policy(facts: PodFacts, sidecar: Container) -> Finding | None:
    """Return the finding if the sidecar is an init container for whose end the kubelet waits: it never ends.

    Webhooks that were built with a library older than Kubernetes 1.28 remove ``restartPolicy``, which they don't know.
    """
    if sidecar.restartPolicy == "Always" or not any(sidecar is one for one in facts.spec.initContainers or ()):
        return None
    name = quote_untrusted(sidecar.name, 63)
    message = f"{name} has no restartPolicy: Always, so the pod never starts; another webhook may have removed it"
    return Finding(Reason.LOST_RESTART_POLICY, message)


def _decline_would_not_complete(facts: PodFacts) -> Finding | None:
    if facts.profile.native or (facts.spec.restartPolicy or "Always") == "Always":
        return None
    policy = clean_untrusted(facts.spec.restartPolicy or "")
    profile = quote_untrusted(facts.profile_name)
    message = f"with profile {profile} a pod with restartPolicy {policy} never completes; use another profile"
    return Finding(Reason.WOULD_NOT_COMPLETE, message)


def _decline_taken_port(facts: PodFacts) -> Finding | None:
    ports = facts.profile.ports
    if not ports:
        return None
    if facts.spec.hostNetwork:
        profile = quote_untrusted(facts.profile_name)
        message = f"profile {profile} uses a port, so it can't run with hostNetwork; use another profile"
        return Finding(Reason.HOST_NETWORK, message)
    for container in facts.containers:
        taken = ports & _ports(container)
        if taken:
            name = quote_untrusted(container.name)
            message = f"{name} uses port {min(taken)}, which the profile needs; use another profile"
            return Finding(Reason.PORT_TAKEN, message)
    return None


def _ports(container: Container) -> set[int]:
    """Return the TCP ports that a container declares or is probed at: it need not declare a port that it uses."""
    declared = {port.containerPort for port in container.ports or () if (port.protocol or "TCP") == "TCP"}
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None:
            endpoints = (probe.httpGet, probe.tcpSocket, probe.grpc)
            declared |= {endpoint.port for endpoint in endpoints if endpoint and isinstance(endpoint.port, int)}
    return declared


def _who_asks(facts: PodFacts) -> str:
    prefix = facts.configuration.prefix
    return (
        f'{prefix}inject: "true"'
        if facts.options.inject is not None
        else f'the namespace is labelled {prefix}inject: "true"'
    )


def _which_annotations(facts: PodFacts) -> str:
    prefix = facts.configuration.prefix
    keys = [key.removeprefix(prefix) for key in facts.metadata.annotations or {} if key.startswith(prefix)]
    return ", ".join(keys) or "none"


def _which_profile(facts: PodFacts) -> str:
    return f"{facts.profile_name}, revision {facts.profile.revision}" + (
        "" if facts.options.profile else ", the default"
    )


def _which_os(facts: PodFacts) -> str:
    return "spec.os says so" if facts.spec.os is not None and facts.spec.os.name else "nothing says Windows"


def _which_ports(facts: PodFacts) -> str:
    ports = sorted(facts.profile.ports)
    return f"it uses {', '.join(map(str, ports))}" if ports else "it uses none"


#: The rules, in order. Each may rely on what those before it stored in the facts.
RULES = (
    Rule("Is it a pod?", _decline_non_pod, lambda facts: facts.request.pod_name),
    Rule("Is it being created?", _decline_non_creation),
    Rule("Is injection requested?", _decline_unrequested, _who_asks),
    Rule("Is it somebody else's pod, not Pillion's?", _decline_own_pod),
    Rule("Is it a real pod, not a mirror pod?", _decline_mirror_pod),
    Rule("Can its spec be read?", _load_spec),
    Rule("Does it run on Linux?", _decline_windows, _which_os),
    Rule("Is every annotation valid?", _decline_invalid_annotation, _which_annotations),
    Rule("Does the profile exist, and is it complete?", _decline_unusable_profile, _which_profile),
    Rule("Is it known where the logs are?", _decline_pod_without_logs),
    Rule("Is it still without a sidecar?", _decline_injected),
    Rule("Can the pod complete with the sidecar?", _decline_would_not_complete),
    Rule("Is the profile's port free?", _decline_taken_port, _which_ports),
)


#: The rules' checks alone, for speed: every pod of a cluster comes here.
_CHECKS = tuple(rule.check for rule in RULES)


def declining_finding(facts: PodFacts) -> Finding | None:
    """Return the finding that declines the pod, or None; ``facts.rules_passed`` counts the rules that it passed."""
    for number, check in enumerate(_CHECKS):
        facts.rules_passed = number
        finding = check(facts)
        if finding is not None:
            return finding
    facts.rules_passed = len(_CHECKS)
    return None
