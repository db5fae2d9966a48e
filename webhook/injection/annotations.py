"""Every annotation's name and grammar: parses a tenant's text into values that can be trusted.

Values are trimmed, then parsed strictly. An invalid value becomes a :class:`Finding` that says what to write.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from msgspec import Struct

from webhook.injection import mistakes
from webhook.injection.dns_labels import is_dns_label
from webhook.injection.memoised import memoised
from webhook.injection.paths import Components, components
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import Finding, Reason, clean_untrusted, quote_untrusted

__all__ = [
    "KEYS",
    "MAX_COMPONENT_BYTES",
    "OPTIONS",
    "STATUS",
    "InvalidValueError",
    "LogEntry",
    "Option",
    "RequestedOptions",
    "parse_logs",
    "parse_options",
]

STATUS = "status"

_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)

MAX_DIRECTORIES = 16
#: Each entry becomes an argument of the sidecar; the kernel accepts 128 KiB for each and a few MiB in all.
MAX_ENTRIES = 128
#: PATH_MAX is 4096, and the runtime puts its own directories before a mount's path.
MAX_PATH_BYTES = 2048
MAX_COMPONENT_BYTES = 255
#: k8s.io/apimachinery IsValidUserID
MAX_USER_ID = 2**31 - 1

#: At most this many unknown keys are reported.
MAX_UNKNOWN_KEYS = 8

#: How similar two keys must be, by difflib's ratio: for a hint, and to count as a misspelling, which ``strict`` denies.
#: A key of a newer Pillion must not count as one: after a rollback it is unknown, and pods that have it are created.
HINT_RATIO, MISSPELT_RATIO = 0.5, 0.8

BOOLEANS = ("true", "false")
STARTS = ("beginning", "end")

_WILDCARDS = frozenset("*?[]")
#: Characters that look like nothing or like a blank, although Unicode counts them as printable.
_BLANKS = frozenset("\u00a0\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(n) for n in range(0xFE00, 0xFE10)}


class InvalidValueError(ValueError):
    """An annotation's value can't be used; ``value`` is the part that is wrong, ``message`` says what to write."""

    def __init__(self, value: str, message: str) -> None:
        super().__init__(message)
        self.value = value
        self.message = message


class LogEntry(Struct, frozen=True, gc=False):
    """One entry of ``logs``: which files of which container.

    ``/var/log/app/**/*.log`` has the directory ``/var/log/app`` and the glob ``*.log``, and is recursive. ``container``
    is empty in an entry that names none; ``Candidate.takes_general_entries`` says to which containers it applies.
    ``text`` is the entry as it was written, ``directory_parts`` are the directory's components, and ``is_glob`` says
    that more than one file can match.
    """

    text: str
    container: str
    directory_path: str
    file_glob: str
    recursive: bool
    directory_parts: Components
    is_glob: bool

    def matches(self, path: Components) -> bool:
        """Return whether the entry matches a file of that path."""
        directory = self.directory_parts
        below = len(path) - len(directory)
        if below < 1 or path[: len(directory)] != directory or (below > 1 and not self.recursive):
            return False
        return fnmatchcase(path[-1], self.file_glob)


class RequestedOptions(Struct):
    """What a pod's annotations ask for. None: not set."""

    inject: bool | None = None
    profile: str | None = None
    logs: tuple[LogEntry, ...] | None = None
    containers: tuple[str, ...] | None = None
    add_variables: bool = True
    volume_size_limit: str | None = None
    run_as_user: int | None = None
    #: Where reading begins in files from before the pod: ``beginning`` or ``end``.
    start: str | None = None
    #: The resource annotations by their keys: ``cpu-request``, ``memory-limit``, …
    resource_annotations: dict[str, str] = {}
    #: A finding for each invalid value, in the order of the annotations.
    invalid: tuple[Finding, ...] = ()
    #: Findings that do not end the injection; a misspelt key does under ``strict``.
    warnings: tuple[Finding, ...] = ()

    @property
    def author_wants_logs(self) -> bool:
        """Return whether the pod has ``inject: "true"``, ``logs``, ``profile`` or ``containers``.

        Any of them shows that its author wants logs read.
        """
        return bool(self.inject) or (self.logs, self.profile, self.containers) != (None, None, None)


def _parse_boolean(text: str) -> bool:
    if text not in BOOLEANS:
        raise InvalidValueError(text, 'write "true" or "false"')
    return text == "true"


def _parse_profile_name(text: str) -> str:
    if not text:
        raise InvalidValueError(text, "is empty; write a profile's name, or remove it")
    if not is_dns_label(text):
        lower = text.lower()
        raise InvalidValueError(
            text, f"write {lower}" if is_dns_label(lower) else "write a name of lower-case letters, digits and -"
        )
    return text


def _parse_container_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for part in re.split(r"[,\n]", text) if (name := part.strip())))
    if not names:
        raise InvalidValueError(text, "write container names with commas between them, or leave it out")
    for name in names:
        if not is_dns_label(name):
            raise InvalidValueError(name, mistakes.advice_on_container_name(name, text))
    return names


def _parse_positive_quantity(example: str) -> Callable[[str], str]:
    """Return a parser of positive quantities."""

    def parse(text: str) -> str:
        value = parse_quantity(text)
        if value is None:
            raise InvalidValueError(text, f"is not a quantity; write for example {example}")
        if value <= 0:
            raise InvalidValueError(text, f"must be above 0; write for example {example}")
        return text

    return parse


def _parse_user_id(text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) > MAX_USER_ID:
        raise InvalidValueError(text, f"write a user id from 0 to {MAX_USER_ID}")
    return int(text)


def _parse_start(text: str) -> str:
    if text not in STARTS:
        raise InvalidValueError(text, "write beginning or end: where reading begins in files from before the pod")
    return text


def _is_invisible(character: str) -> bool:
    return character in _BLANKS or not character.isprintable()


def _check_path(path: str, entry: str) -> None:
    """Raise for a path at which no volume can be mounted, or none should be, in any pod."""
    if ":" in path:
        raise InvalidValueError(entry, "no volume can be mounted at a path with a colon; write another directory")
    if "{" in path:
        raise InvalidValueError(entry, "has a {; write one entry for each alternative")
    if "\\" in path:
        raise InvalidValueError(entry, "has a \\; write ? in its place")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidValueError(entry, f"is longer than {MAX_PATH_BYTES} bytes")
    for part in path.split("/"):
        if part == "..":
            raise InvalidValueError(entry, "has a ..; write the path without it")
        if len(part.encode()) > MAX_COMPONENT_BYTES:
            raise InvalidValueError(entry, f"has a component longer than {MAX_COMPONENT_BYTES} bytes; shorten it")


def _check_pattern(name: str, entry: str) -> None:
    if "**" in name:
        raise InvalidValueError(entry, f"has ** inside a name; write **/{clean_untrusted(name.replace('**', '*'), 24)}")
    if name.count("[") != name.count("]"):
        missing = "a [ without its ]" if name.count("[") > name.count("]") else "a ] without its ["
        raise InvalidValueError(entry, f"has {missing}; write ? for one character")


def _check_directory(above: list[str], name: str, entry: str) -> None:
    wild = next((number for number, part in enumerate(above) if not _WILDCARDS.isdisjoint(part)), None)
    if wild is not None:
        better = clean_untrusted("/".join(("", *above[:wild], "**", name)), 40)
        raise InvalidValueError(entry, f"has a wildcard in its directory; write {better}")


def _parse_log_entry(entry: str) -> LogEntry:
    """Parse ``[container:]/abs/dir/pattern``."""
    mistake = mistakes.advice_on_entry(entry)
    if mistake:
        raise InvalidValueError(entry, mistake)
    if any(map(_is_invisible, entry)):
        raise InvalidValueError(entry, "has a control or invisible character; remove it")
    container, colon, path = entry.partition(":") if not entry.startswith("/") else ("", "", entry)
    container, path = container.strip(), path.strip()
    if colon and not is_dns_label(container):
        if container in mistakes.WORDS_FOR_ALL:
            raise InvalidValueError(entry, mistakes.ADVICE_TO_OMIT_CONTAINER)
        if container:
            name = quote_untrusted(container, 24)
            raise InvalidValueError(
                entry, f"{name} is not a valid container name; write lower-case letters, digits and -"
            )
        raise InvalidValueError(entry, "has no container name before the colon; write container:/dir/pattern")
    if not path.startswith("/"):
        raise InvalidValueError(
            entry, f"must have an absolute path; write {clean_untrusted(container, 24)}:/dir/pattern"
        )
    _check_path(path, entry)
    parts = path.split("/")[1:]
    last = parts.pop()
    if last == ".":
        last = ""
    above = [part for part in parts if part not in ("", ".")]
    recursive = last == "**" or above[-1:] == ["**"]
    if above[-1:] == ["**"]:
        above.pop()
    name = "*" if last in ("", "**") else last
    _check_directory(above, name, entry)
    _check_pattern(name, entry)
    directory = "/" + "/".join(above)
    is_glob = recursive or not _WILDCARDS.isdisjoint(name)
    return LogEntry(entry, container, directory, name, recursive, components(directory), is_glob)


def parse_logs(text: str) -> tuple[LogEntry, ...]:
    """Return the entries of a ``logs`` value. One invalid entry makes all of it invalid: :class:`InvalidValueError`."""
    mistake = mistakes.advice_on_value(text)
    if mistake:
        raise InvalidValueError(text, mistake)
    entries = [entry for line in text.split("\n") for part in line.split(",") if (entry := part.strip())]
    if not entries:
        raise InvalidValueError(text, f"names no file; write for example {mistakes.EXAMPLE}")
    if len(entries) > MAX_ENTRIES:
        raise InvalidValueError(text, f"has {len(entries)} entries; {MAX_ENTRIES} are allowed, use wildcards")
    parsed = tuple(dict.fromkeys(map(_parse_log_entry, entries)))
    directories = len({entry.directory_parts for entry in parsed})
    if directories > MAX_DIRECTORIES:
        raise InvalidValueError(
            text, f"has {directories} directories; {MAX_DIRECTORIES} are allowed, use **/ in a parent"
        )
    return parsed


_parse_logs_memoised = memoised(max_length=512, max_entries=256)(parse_logs)


def _probably_directory(entry: LogEntry) -> bool:
    return not entry.is_glob and "." not in entry.file_glob


class Option(NamedTuple):
    """An annotation: the parser of its value, and what people are told of it.

    ``field`` is the one of :class:`RequestedOptions` that it sets. ``choices`` are all valid values, none where there
    are too many to name; ``is_list`` says that a value may have several items, each on a line of its own.
    """

    field: str
    parse: Callable[[str], Any]
    meaning: str
    example: str = ""
    choices: tuple[str, ...] = ()
    is_list: bool = False


def _resource(meaning: str, example: str) -> Option:
    return Option("resource_annotations", _parse_positive_quantity(example), meaning, example)


_OTHER_OPTIONS = {
    "inject": Option("inject", _parse_boolean, "whether the pod gets the sidecar", choices=BOOLEANS),
    "profile": Option("profile", _parse_profile_name, "which sidecar it gets", "tail"),
    "logs": Option("logs", _parse_logs_memoised, "the log files, each on a line", mistakes.EXAMPLE, is_list=True),
    "containers": Option(
        "containers", _parse_container_names, "whose logs are read, each on a line", "app", is_list=True
    ),
    "env": Option(
        "add_variables", _parse_boolean, "whether containers get POD_NAME and POD_NAMESPACE", choices=BOOLEANS
    ),
    "volume-size-limit": Option(
        "volume_size_limit", _parse_positive_quantity("1Gi"), "how large a new log volume may become", "1Gi"
    ),
    "run-as-user": Option("run_as_user", _parse_user_id, "the user id of the sidecar", "1000"),
    "start": Option("start", _parse_start, "where reading begins in files from before the pod", choices=STARTS),
}
_RESOURCE_OPTIONS = {
    "cpu-request": _resource("the sidecar's CPU request", "50m"),
    "cpu-limit": _resource("the sidecar's CPU limit", "500m"),
    "memory-request": _resource("the sidecar's memory request", "32Mi"),
    "memory-limit": _resource("the sidecar's memory limit", "64Mi"),
}

#: Every key that a pod's author may write under the prefix.
OPTIONS: Mapping[str, Option] = {**_OTHER_OPTIONS, **_RESOURCE_OPTIONS}
#: Every key that a pod may have under the prefix.
KEYS = (*OPTIONS, STATUS)


def _unknown_key_finding(key: str, prefix: str) -> Finding:
    known, text = list(OPTIONS), key[:64].lower()
    near = difflib.get_close_matches(text, known, n=1, cutoff=HINT_RATIO)
    message = f"is unknown; did you mean {prefix}{near[0]}?" if near else f"is unknown; known: {', '.join(KEYS[:4])}, …"
    misspelt = difflib.get_close_matches(text, near, cutoff=MISSPELT_RATIO)
    return Finding(Reason.MISSPELT_KEY if misspelt else Reason.UNKNOWN_KEY, message, annotation=clean_untrusted(key))


def parse_options(annotations: Mapping[str, str] | None, prefix: str) -> RequestedOptions:
    """Return the options that the annotations under ``prefix`` ask for.

    Never raises for an invalid value: ``invalid`` has a finding for each.
    """
    options = RequestedOptions()
    invalid: list[Finding] = []
    warnings: list[Finding] = []
    start = len(prefix)
    for name, text in (annotations or {}).items():
        if not name.startswith(prefix):
            continue
        key = name[start:]
        if key not in KEYS:
            # finding the nearest known key is slow, and thousands of keys are not typing errors
            if len(warnings) < MAX_UNKNOWN_KEYS:
                warnings.append(_unknown_key_finding(key, prefix))
            continue
        try:
            _apply_annotation(options, key, text)
        except InvalidValueError as error:
            invalid.append(Finding(Reason.BAD_ANNOTATION, error.message, annotation=key, value=error.value))
    for entry in options.logs or ():
        if _probably_directory(entry):
            message = "is read as a file; if it is a directory, write a / at the end"
            warnings.append(Finding(Reason.PROBABLY_DIRECTORY, message, annotation="logs", value=entry.text))
    options.invalid = tuple(invalid)
    options.warnings = tuple(warnings)
    return options


def _apply_annotation(options: RequestedOptions, key: str, text: str) -> None:
    """Parse one annotation and store its value; raise :class:`InvalidValueError` for one that can't be used."""
    if key in _OTHER_OPTIONS:
        option = _OTHER_OPTIONS[key]
        setattr(options, option.field, option.parse(text.strip()))
    elif key in _RESOURCE_OPTIONS:
        options.resource_annotations[key] = _RESOURCE_OPTIONS[key].parse(text.strip())
