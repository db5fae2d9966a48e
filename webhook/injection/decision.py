"""Whether a pod is injected: rules in order, the first that objects decides.

Who asks (``inject`` is the pod's annotation, the namespace's label is the other column):

===========  ===============  ================
inject       not opted in     namespace opted in
===========  ===============  ================
absent       not_asked        inject
"true"       inject           inject
"false"      opted_out        opted_out
other        bad_annotation   bad_annotation
===========  ===============  ================
"""

import difflib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from webhook.injection.annotations import KEYS, STATUS, Wishes, read
from webhook.injection.location import has_log_location, probable_log_folder
from webhook.injection.pod import Container, Metadata, Pod, PodSpec
from webhook.injection.profile import EMPTY_VOLUME, LOG_VOLUME, NAME_PREFIX, Configuration, Profile
from webhook.injection.reasons import Finding, Reason, shown
from webhook.injection.review import Request
from webhook.injection.variables import has_sidecar_variables
from webhook.injection.windows import windows_evidence

__all__ = ["RULES", "Rule", "Subject", "first_objection"]

MIRROR = "kubernetes.io/config.mirror"
#: Pillion's own pods carry this label, whatever its value.
COMPONENT = "component"

_decode_spec = msgspec.json.Decoder(PodSpec | None).decode


class Subject(Struct):
    """What a decision looks at. Each rule fills in what it finds out, for those behind it: most pods need few."""

    request: Request
    configuration: Configuration
    pod: Pod | None = None
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    wishes: Wishes | None = None
    profile_name: str = ""
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    #: Ordinary and init containers, and the volumes by name.
    containers: list[Container] = []
    volumes: dict[str, dict[str, Any]] = {}

    @property
    def profile(self) -> Profile:
        """Return the profile; the rules have seen to it that there is one."""
        return self.configuration.profiles[self.profile_name]


def _nothing(_: Subject) -> str:
    return ""


class Rule(NamedTuple):
    """A question about the pod; ``objection`` returns why it is not injected, or None.

    ``found`` says for ``explain`` what let the pod pass, once the rule was asked.
    """

    question: str
    objection: Callable[[Subject], Finding | None]
    found: Callable[[Subject], str] = _nothing


def _is_pod(subject: Subject) -> Finding | None:
    kind = subject.request.kind
    if kind.kind == "Pod" and not kind.group:
        return None
    return Finding(Reason.NOT_A_POD, "", "", f"only pods are injected, this is a {shown(kind.kind)}")


def _is_created(subject: Subject) -> Finding | None:
    request = subject.request
    if request.operation == "CREATE" and not request.subResource:
        return None
    return Finding(Reason.NOT_CREATE)


def _asks(subject: Subject) -> Finding | None:
    """Read the pod's metadata and its annotations: from here on they are known."""
    subject.pod = subject.request.pod()
    if subject.pod is None:
        return Finding(Reason.UNREADABLE_POD, "", "", "the request has no object")
    subject.metadata = subject.pod.metadata or Metadata()
    configuration = subject.configuration
    wishes = read(subject.metadata.annotations, configuration.prefix)
    labels = _labels_without_effect(subject)
    if labels:
        wishes = wishes or Wishes()
        wishes.notes = (*labels, *wishes.notes)
    subject.wishes = wishes
    subject.profile_name = (wishes.profile if wishes is not None else None) or configuration.default_profile
    if wishes is not None and wishes.inject is not None:
        return None if wishes.inject else Finding(Reason.OPTED_OUT)
    unusable = next((finding for finding in wishes.refused if finding.where == "inject"), None) if wishes else None
    if unusable is not None:
        return unusable
    if subject.request.namespace_opted_in:
        subject.wishes = wishes or Wishes()
        return None
    if wishes is not None and not wishes.notes:
        wishes.notes = _annotations_without_effect(subject)
    return Finding(Reason.NOT_ASKED)


def _annotations_without_effect(subject: Subject) -> tuple[Finding, ...]:
    """Return the first annotation of ours that chooses something in a pod that does not ask."""
    prefix = subject.configuration.prefix
    for name in subject.metadata.annotations or ():
        key = name.removeprefix(prefix)
        if key not in (name, STATUS):
            remedy = f'has no effect without {prefix}inject: "true"'
            return (Finding(Reason.NO_EFFECT, shown(key)[1:-1], "", remedy),)
    return ()


def _labels_without_effect(subject: Subject) -> tuple[Finding, ...]:
    """Return what was written as a label of the pod though only an annotation is read."""
    labels, annotations = subject.metadata.labels, subject.metadata.annotations or {}
    prefix, opted_in = subject.configuration.prefix, subject.request.namespace_opted_in
    findings = []
    for name, value in (labels or {}).items():
        if not name.startswith(prefix) or name in annotations:
            continue
        key = name.removeprefix(prefix)
        # a pod that is labelled as its namespace is gets what it asks for
        if key in KEYS and not (key == "inject" and value == "true" and opted_in):
            remedy = "does nothing as a label of the pod; write it as an annotation"
            findings.append(Finding(Reason.LABEL_WITHOUT_EFFECT, key, "", remedy))
    return tuple(findings)


def _is_foreign(subject: Subject) -> Finding | None:
    labels = subject.metadata.labels
    return Finding(Reason.OWN_POD) if labels and f"{subject.configuration.prefix}{COMPONENT}" in labels else None


def _is_no_mirror(subject: Subject) -> Finding | None:
    return Finding(Reason.MIRROR_POD) if MIRROR in (subject.metadata.annotations or {}) else None


def _can_be_read(subject: Subject) -> Finding | None:
    refused = subject.wishes.refused if subject.wishes is not None else ()
    return refused[0] if refused else None


def _has_profile(subject: Subject) -> Finding | None:
    name, profiles = subject.profile_name, subject.configuration.profiles
    profile = profiles.get(name)
    if profile is None:
        near = difflib.get_close_matches(name, profiles, n=1)
        usable = " or ".join(name for name, profile in profiles.items() if not profile.missing)
        remedy = f"is no profile; did you mean {near[0]}?" if near else f"is no profile; write {usable}"
        return Finding(Reason.UNKNOWN_PROFILE, "profile", name, remedy)
    if profile.missing:
        remedy = f"is not set up; ask your operator to {profile.missing[0]}"
        return Finding(Reason.PROFILE_INCOMPLETE, "profile", name, remedy)
    return None


def _is_readable(subject: Subject) -> Finding | None:
    """Decode the spec: from here on it is known. What no pod has raises msgspec's error."""
    raw = subject.pod.spec if subject.pod is not None else b""
    spec = subject.spec = (_decode_spec(raw) if raw else None) or PodSpec()
    for volume in spec.volumes or ():
        name = volume.get("name")
        if type(name) is not str:
            raise msgspec.ValidationError("a volume has no name")
        subject.volumes[name] = volume
    subject.containers = [*(spec.containers or ()), *(spec.initContainers or ())]
    return None


def _runs_on_linux(subject: Subject) -> Finding | None:
    evidence = windows_evidence(subject.spec)
    return Finding(Reason.WINDOWS, "", "", f"the pod runs on Windows, by its {evidence}") if evidence else None


def _has_log_location(subject: Subject) -> Finding | None:
    """Look for logs where only the namespace asks: most of its pods have no log file, and no use for a sidecar."""
    wishes, profile = subject.wishes or Wishes(), subject.profile
    ignored = subject.configuration.ignored_containers
    own = [container for container in subject.spec.containers or () if container.name not in ignored]
    if wishes.inject or has_log_location(wishes, profile, own, subject.volumes):
        return None
    folder = profile.logs[0].directory
    elsewhere = probable_log_folder(own, subject.volumes)
    instead = f"{subject.configuration.prefix}logs: {elsewhere or '/dir'}/*.log"
    remedy = f"nothing is mounted at {shown(folder, 40)[1:-1]}; if the pod writes log files, write {instead}"
    return Finding(Reason.NO_LOG_LOCATION, "", "", remedy)


def _is_without_ours(subject: Subject) -> Finding | None:
    """Ours has our name, and our mounts or variables, of any revision and profile; the status is never asked."""
    taken = False
    for container in subject.containers:
        if not container.name.startswith(NAME_PREFIX):
            continue
        ours = any(_is_our_volume(mount.name, subject.configuration) for mount in container.volumeMounts or ())
        # one may mount nothing but the pod's own volumes
        if ours or has_sidecar_variables(container):
            return Finding(Reason.ALREADY_INJECTED)
        taken = taken or container.name == subject.profile.container_name
    if not taken:
        return None
    remedy = f"the pod has a container {shown(subject.profile.container_name, 63)} that is not ours; rename it"
    return Finding(Reason.NAME_TAKEN, "", "", remedy)


_LOG_VOLUME = re.compile(rf"{NAME_PREFIX}{LOG_VOLUME}-[0-9]+")


def _is_our_volume(name: str, configuration: Configuration) -> bool:
    return name.startswith(NAME_PREFIX) and (
        name == f"{NAME_PREFIX}{EMPTY_VOLUME}"
        or _LOG_VOLUME.fullmatch(name) is not None
        or any(volume["name"] == name for profile in configuration.profiles.values() for volume in profile.volumes)
    )


def _would_end(subject: Subject) -> Finding | None:
    if subject.profile.native or (subject.spec.restartPolicy or "Always") == "Always":
        return None
    policy = shown(subject.spec.restartPolicy or "")[1:-1]
    remedy = (
        f"with profile {shown(subject.profile_name)} a pod with restartPolicy {policy} would never end; use another"
    )
    return Finding(Reason.WOULD_NOT_COMPLETE, "", "", remedy)


def _has_free_port(subject: Subject) -> Finding | None:
    ports = subject.profile.ports
    if not ports:
        return None
    if subject.spec.hostNetwork:
        remedy = (
            f"profile {shown(subject.profile_name)} listens on a port: not on the node's network; use another profile"
        )
        return Finding(Reason.HOST_NETWORK, "", "", remedy)
    for container in subject.containers:
        taken = ports & _ports(container)
        if taken:
            remedy = f"{shown(container.name)} has port {min(taken)}, as the profile has; use another profile"
            return Finding(Reason.PORT_TAKEN, "", "", remedy)
    return None


def _ports(container: Container) -> set[int]:
    """Return the TCP ports that a container declares, or is probed at: nobody has to declare one."""
    declared = {port.containerPort for port in container.ports or () if (port.protocol or "TCP") == "TCP"}
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None:
            endpoints = (probe.httpGet, probe.tcpSocket, probe.grpc)
            declared |= {endpoint.port for endpoint in endpoints if endpoint and isinstance(endpoint.port, int)}
    return declared


def _who_asks(subject: Subject) -> str:
    prefix = subject.configuration.prefix
    said = subject.wishes is not None and subject.wishes.inject is not None
    return f'{prefix}inject: "true"' if said else f'the namespace is labelled {prefix}inject: "true"'


def _which_annotations(subject: Subject) -> str:
    prefix = subject.configuration.prefix
    keys = [key.removeprefix(prefix) for key in subject.metadata.annotations or {} if key.startswith(prefix)]
    return ", ".join(keys) or "there is none"


def _which_profile(subject: Subject) -> str:
    asked = subject.wishes is not None and subject.wishes.profile
    return f"{subject.profile_name}, revision {subject.profile.revision}" + ("" if asked else ", the default")


def _which_system(subject: Subject) -> str:
    return "it says so" if subject.spec.os is not None else "nothing says Windows"


def _which_ports(subject: Subject) -> str:
    ports = sorted(subject.profile.ports)
    return f"it listens on {', '.join(map(str, ports))}" if ports else "it listens on none"


#: Every rule that can say no before the volumes are planned, cheapest first.
RULES = (
    Rule("Is it a pod?", _is_pod, lambda subject: subject.request.pod_name),
    Rule("Is it being created?", _is_created),
    Rule("Does the pod or its namespace ask?", _asks, _who_asks),
    Rule("Is it none of Pillion's own pods?", _is_foreign),
    Rule("Is it no mirror pod?", _is_no_mirror),
    Rule("Can its spec be read?", _is_readable),
    Rule("Does it run on Linux?", _runs_on_linux, _which_system),
    Rule("Can every annotation be used?", _can_be_read, _which_annotations),
    Rule("Is there such a profile, and is it set up?", _has_profile, _which_profile),
    Rule("Does it say where its logs are?", _has_log_location),
    Rule("Is it without our sidecar so far?", _is_without_ours),
    Rule("Can it end with the sidecar in it?", _would_end),
    Rule("Is the profile's port free?", _has_free_port, _which_ports),
)


_OBJECTIONS = tuple(rule.objection for rule in RULES)


def first_objection(subject: Subject) -> Finding | None:
    """Return why the pod is not injected, or None where every rule agrees."""
    for objects in _OBJECTIONS:
        objection = objects(subject)
        if objection is not None:
            return objection
    return None
