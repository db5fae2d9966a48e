"""The one enum of reasons: why a pod was injected or not, and what was noteworthy about it.

Every text about a decision (the warning, the audit annotation, the metric label, the log line, ``explain``) is
made from a :class:`Finding`, so that they never say different things.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from webhook.untrusted_text import visible

__all__ = [
    "MAX_WARNINGS",
    "Finding",
    "NotInjectable",
    "Reason",
    "Severity",
    "as_warnings",
    "clean_untrusted",
    "quote_untrusted",
]

#: The length that the Kubernetes documentation advises: the value in a warning is cut for it, the message is not.
WARNING_LENGTH = 120
#: The API server may cut a warning at this length, and cuts all of them at 4096.
MAX_WARNING_LENGTH = 256
#: The API server passes on 4096 characters: 16 of the longest.
MAX_WARNINGS = 16
#: A value is never cut to fewer characters than this, quotes included; below, it is left out.
_MIN_SHOWN_VALUE = 10
#: A word longer than this is cut inside.
_LONGEST_WORD = 64


class Severity(StrEnum):
    """Who is told of a reason, and whether it denies the pod under ``strict``."""

    QUIET = "quiet"  # not reported to the client
    NOTE = "note"  # only explain shows it
    WARNING_IF_REQUESTED = "warning_if_requested"  # the client is warned only if the pod has inject: "true"
    WARNING = "warning"  # the client is warned
    INVALID = "invalid"  # the annotation is invalid: the client is warned, and the pod denied under ``strict``


class Reason(StrEnum):
    """A stable key for machines, a severity, and a sentence for people."""

    severity: Severity
    sentence: str

    def __new__(cls, key: str, severity: Severity, sentence: str) -> Self:
        """Make a member whose value is its key."""
        member = str.__new__(cls, key)
        member._value_ = key
        member.severity = severity
        member.sentence = sentence
        return member

    # a verdict's reason: injected, or nothing to do
    INJECTED = "injected", Severity.QUIET, "the sidecar was added"
    NOT_A_POD = "not_a_pod", Severity.QUIET, "only pods are injected"
    NOT_CREATE = "not_create", Severity.QUIET, "pods are injected only when they are created"
    NOT_REQUESTED = "not_requested", Severity.QUIET, "neither the pod nor its namespace requests injection"
    OPTED_OUT = "opted_out", Severity.QUIET, "the pod has inject: false"
    OWN_POD = "own_pod", Severity.QUIET, "Pillion's own pods are never injected"
    MIRROR_POD = "mirror_pod", Severity.WARNING_IF_REQUESTED, "a mirror pod only shows what a node already runs"
    WINDOWS = "windows", Severity.WARNING_IF_REQUESTED, "the pod runs on Windows"
    NO_LOG_LOCATION = (
        "no_log_location",
        Severity.NOTE,
        "the namespace is opted in, but nothing says where the pod has logs",
    )
    ALREADY_INJECTED = "already_injected", Severity.NOTE, "the pod already has a sidecar of Pillion"
    OTHER_INSTALLATION = (
        "other_installation",
        Severity.WARNING_IF_REQUESTED,
        "the pod already has the sidecar of another Pillion installation",
    )

    # a verdict's reason: another webhook has broken the sidecar
    LOST_RESTART_POLICY = (
        "lost_restart_policy",
        Severity.WARNING,
        "the pod's sidecar has no restartPolicy, so the pod never starts",
    )

    # a verdict's reason: an annotation is invalid
    BAD_ANNOTATION = "bad_annotation", Severity.INVALID, "an annotation has a value that can't be used"
    MISSPELT_KEY = "misspelt_key", Severity.INVALID, "an annotation's name is almost one that exists"
    UNKNOWN_PROFILE = "unknown_profile", Severity.INVALID, "there is no profile of that name"
    UNKNOWN_CONTAINER = (
        "unknown_container",
        Severity.INVALID,
        "the pod, or the annotation containers, has no container of that name",
    )
    REQUEST_ABOVE_LIMIT = "request_above_limit", Severity.INVALID, "a request is above its limit"
    ROOT_NOT_ALLOWED = "root_not_allowed", Severity.INVALID, "the profile does not allow run-as-user: 0"

    # a verdict's reason: the sidecar can't be added to this pod
    NO_CONTAINERS = "no_containers", Severity.WARNING, "no container of the pod takes part"
    PROFILE_INCOMPLETE = "profile_incomplete", Severity.WARNING, "the profile lacks what only the operator can set"
    PROFILE_PATCH = "profile_patch", Severity.WARNING, "the profile's patch does not fit the sidecar"
    NAME_TAKEN = "name_taken", Severity.WARNING, "the pod has a container or volume with a name that Pillion uses"
    PORT_TAKEN = (
        "port_taken",
        Severity.WARNING,
        "a container declares the profile's port, or is probed at it",
    )
    HOST_NETWORK = "host_network", Severity.WARNING, "the profile uses a port, and the pod uses the node's network"
    WOULD_NOT_COMPLETE = (
        "would_not_complete",
        Severity.WARNING,
        "the profile's ordinary container would keep the pod from completing",
    )
    UNWRITABLE_VOLUME = "unwritable_volume", Severity.WARNING, "the volume that is mounted there can't hold logs"
    BLOCK_DEVICE = "block_device", Severity.WARNING, "a block device is there"
    SYSTEM_DIRECTORY = "system_directory", Severity.WARNING, "a volume there would hide what the image needs"
    HIDES_PROGRAM = "hides_program", Severity.WARNING, "a volume there would hide what the container runs"
    UNKNOWN_VARIABLE = (
        "unknown_variable",
        Severity.WARNING,
        "the subPathExpr needs a variable whose value is not visible",
    )
    ROOT_UNDER_NON_ROOT = "root_under_non_root", Severity.WARNING, "the sidecar would run as root under runAsNonRoot"
    USER_NOT_MAPPED = "user_not_mapped", Severity.WARNING, "the pod's user namespace has no such user"
    TOO_MANY_LOG_SOURCES = (
        "too_many_log_sources",
        Severity.WARNING,
        "the logs are in more directories than the sidecar mounts",
    )

    # a verdict's reason: the pod was not examined to the end
    UNREADABLE_POD = "unreadable_pod", Severity.WARNING, "the pod in the request can't be read"
    DEADLINE = "deadline", Severity.WARNING, "the caller's deadline was too near"
    INTERNAL_ERROR = "internal_error", Severity.WARNING, "a bug in Pillion; the pod was left unchanged"

    # only a finding's reason, beside the verdict
    UNKNOWN_KEY = "unknown_key", Severity.WARNING, "no annotation has that name"
    NO_EFFECT = "no_effect", Severity.WARNING, "the annotation has no effect"
    LABEL_WITHOUT_EFFECT = (
        "label_without_effect",
        Severity.WARNING,
        "a label of that name has no effect; only an annotation has",
    )
    BOUNDED = "bounded", Severity.WARNING, "the value is beyond the profile's bounds"
    PROBABLY_DIRECTORY = "probably_directory", Severity.WARNING, "the last part is probably a directory"
    PROBABLY_ELSEWHERE = "probably_elsewhere", Severity.WARNING, "the logs are probably in another directory"
    HIDES_APPLICATION = "hides_application", Severity.WARNING, "the new volume probably hides the application's files"
    READ_ONLY_MOUNT = "read_only_mount", Severity.WARNING, "the container can't write there"
    MIXED_USERS = "mixed_users", Severity.WARNING, "the containers run as different users"
    UNKNOWN_USER = "unknown_user", Severity.NOTE, "the pod does not say which user writes the logs"
    HIDES_IMAGE_FILES = "hides_image_files", Severity.NOTE, "the new volume hides what the image has there"
    RELOCATED = "relocated", Severity.NOTE, "the sidecar mounts the logs at another path"
    LEFT_OUT = "left_out", Severity.NOTE, "the container of another injector does not take part"
    ANNOTATIONS_FULL = "annotations_full", Severity.NOTE, "the pod's annotations have no room for Pillion's"


def clean_untrusted(text: str, length: int = 40) -> str:
    """Return a tenant's text in a form that is safe in a warning: one printable line of at most ``length``."""
    clean = visible(text).replace('"', "'")  # so that the text can't close the quotes around it
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def as_warnings(lines: Iterable[str]) -> list[str]:
    """Return lines as the API server passes them on: each once, cut between words, and not more than fit."""
    cut = (_cut_between_words(line) for line in lines)
    return list(dict.fromkeys(cut))[:MAX_WARNINGS]


def quote_untrusted(text: str, length: int = 40) -> str:
    """Return a tenant's text, cleaned and cut to ``length`` characters, in quotes."""
    return f'"{clean_untrusted(text, length)}"'


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason, the annotation that it is about, and what to write instead.

    ``message`` says in few words what is wrong and what to write; untrusted text in it has already been through
    :func:`clean_untrusted`. Without one, the reason's sentence stands in. ``annotation`` is the key of the annotation,
    without prefix (``logs``), or empty; ``value`` is what the finding is about, as the tenant wrote it: the
    annotation's text or the wrong part of it, a path, or a container's name.
    """

    reason: Reason
    message: str = ""
    annotation: str = field(default="", kw_only=True)
    value: str = field(default="", kw_only=True)

    def text(self, prefix: str = "") -> str:
        """Return one line of any length: ``pillion.dev/logs "x.log": must begin with /; write /var/log/app/x.log``."""
        place = f"{prefix}{self.annotation}" if self.annotation else ""
        if self.value:
            place = f"{place} {quote_untrusted(self.value)}".strip()
        message = self.message or self.reason.sentence
        return f"{place}: {message}" if place else message

    def warning(self, prefix: str = "", lead: str = "") -> str:
        """Return the line as an admission warning.

        In a line of more than 120 characters the value is cut or left out. The message says what to write: it is cut
        only beyond 256 characters, between two words.
        """
        line = lead + self.text(prefix)
        if self.value and len(line) > WARNING_LENGTH:
            bare = replace(self, value="").text(prefix)
            spare = WARNING_LENGTH - len(lead) - len(bare) - 1
            line = lead + (bare if spare < _MIN_SHOWN_VALUE else self._text_with_cut_value(prefix, spare))
        return _cut_between_words(line)

    def _text_with_cut_value(self, prefix: str, length: int) -> str:
        place = f"{prefix}{self.annotation} {quote_untrusted(self.value, length - 2)}".strip()
        return f"{place}: {self.message or self.reason.sentence}"


def _cut_between_words(line: str) -> str:
    if len(line) <= MAX_WARNING_LENGTH:
        return line
    blank = line.rfind(" ", MAX_WARNING_LENGTH - _LONGEST_WORD, MAX_WARNING_LENGTH)
    return line[: MAX_WARNING_LENGTH - 1 if blank < 0 else blank] + "…"


class NotInjectable(Exception):  # noqa: N818 — no error: the reason why a pod is left as it was
    """Ends an injection: ``finding`` says why.

    Planning and building raise it. The rules of :mod:`webhook.injection.decision` return their finding instead.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text())
        self.finding = finding
