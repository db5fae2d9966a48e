"""Every annotation's name and grammar: from text that a tenant wrote to values that can be trusted.

Values are trimmed, then typed and strict. A value that does not fit is a :class:`Finding` that says what to write.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from webhook.injection import mistakes
from webhook.injection.memoised import memoised
from webhook.injection.names import is_dns_label
from webhook.injection.paths import Components, components
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import Finding, NotInjectable, Reason, clean_untrusted

__all__ = ["KEYS", "STATUS", "LogEntry", "RequestedOptions", "parse_logs", "parse_options"]

STATUS = "status"

_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)

MAX_DIRECTORIES = 16
#: All patterns become arguments of the sidecar; the kernel takes 128 KiB each and some MiB in all.
MAX_ENTRIES = 128
#: PATH_MAX is 4096, and the runtime puts its own directories before a mount's path.
MAX_PATH_BYTES = 2048
MAX_COMPONENT_BYTES = 255
#: k8s.io/apimachinery IsValidUserID
MAX_USER_ID = 2**31 - 1

#: So many unknown keys are named.
MAX_UNKNOWN_KEYS = 8

_WILDCARDS = frozenset("*?[]")
#: Characters that print as nothing, or as a blank, and yet count as printable.
_BLANKS = frozenset("\u00a0\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(n) for n in range(0xFE00, 0xFE10)}


class LogEntry(Struct, frozen=True, gc=False):
    """One entry of ``logs``: which files of which container.

    ``/var/log/app/**/*.log`` is directory ``/var/log/app``, name ``*.log``, recursive. ``container`` is empty
    where every container that takes part is meant. ``text`` is the entry as it was written, ``directory_parts`` are the
    directory's components, and ``is_glob`` says that more than one file can be meant.
    """

    text: str
    container: str
    directory: str
    file_glob: str
    recursive: bool
    directory_parts: Components
    is_glob: bool

    def matches(self, path: Components) -> bool:
        """Return whether a file of that path is meant."""
        own = self.directory_parts
        below = len(path) - len(own)
        if below < 1 or path[: len(own)] != own or (below > 1 and not self.recursive):
            return False
        return fnmatchcase(path[-1], self.file_glob)


class RequestedOptions(Struct):
    """What a pod's annotations ask for. None stands where the pod says nothing."""

    inject: bool | None = None
    profile: str | None = None
    logs: tuple[LogEntry, ...] | None = None
    containers: tuple[str, ...] | None = None
    add_variables: bool = True
    volume_size_limit: str | None = None
    run_as_user: int | None = None
    #: Where reading begins in files from before the pod: ``beginning`` or ``end``.
    start: str | None = None
    #: The sidecar's resources, by the annotations' keys.
    resource_annotations: dict[str, str] = {}
    #: Values that can't be used, in the order of the annotations.
    invalid: tuple[Finding, ...] = ()
    #: Worth a warning, and no more.
    warnings: tuple[Finding, ...] = ()

    @property
    def chooses_logs(self) -> bool:
        """Return whether the pod itself says that something is to be read, and not only its namespace."""
        return bool(self.inject) or (self.logs, self.profile, self.containers) != (None, None, None)


def _invalid(text: str, message: str) -> NotInjectable:
    return NotInjectable(Finding(Reason.BAD_ANNOTATION, message, value=text))


def _parse_boolean(text: str) -> bool:
    if text == "true":
        return True
    if text == "false":
        return False
    raise _invalid(text, 'write "true" or "false"')


def _parse_profile_name(text: str) -> str:
    if not text:
        raise _invalid(text, "is empty; write a profile's name, or remove it")
    if not is_dns_label(text):
        lower = text.lower()
        raise _invalid(text, f"write {lower}" if is_dns_label(lower) else "write a name of small letters, digits and -")
    return text


def _parse_container_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for part in re.split(r"[,\n]", text) if (name := part.strip())))
    if not names:
        raise _invalid(text, "write container names with commas between them, or leave it out")
    for name in names:
        if not is_dns_label(name):
            raise _invalid(name, mistakes.no_container_name(name, text))
    return names


def _parse_positive_quantity(example: str) -> Callable[[str], str]:
    """Return a reader of positive quantities."""

    def parse(text: str) -> str:
        value = parse_quantity(text)
        if value is None:
            raise _invalid(text, f"is not a quantity; write for example {example}")
        if value <= 0:
            raise _invalid(text, f"must be above 0; write for example {example}")
        return text

    return parse


def _parse_user_id(text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) > MAX_USER_ID:
        raise _invalid(text, f"write a user id from 0 to {MAX_USER_ID}")
    return int(text)


def _start(text: str) -> str:
    if text not in ("beginning", "end"):
        raise _invalid(text, "write beginning or end: where reading begins in files from before the pod")
    return text


def _is_invisible(character: str) -> bool:
    return character in _BLANKS or not character.isprintable()


def _check_path(path: str, entry: str) -> None:
    """Raise for a path that no volume should be mounted at, whatever the pod looks like."""
    if ":" in path:
        raise _invalid(entry, "no volume can be mounted at a path with a colon; write another directory")
    if "{" in path:
        raise _invalid(entry, "has a {; write one entry for each alternative")
    if "\\" in path:
        raise _invalid(entry, "has a \\; write ? in its place")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise _invalid(entry, f"is longer than {MAX_PATH_BYTES} bytes")
    for part in path.split("/"):
        if part == "..":
            raise _invalid(entry, "has a ..; write the path without it")
        if len(part.encode()) > MAX_COMPONENT_BYTES:
            raise _invalid(entry, f"has a component longer than {MAX_COMPONENT_BYTES} bytes; shorten it")


def _check_pattern(name: str, entry: str) -> None:
    if "**" in name:
        raise _invalid(entry, f"has ** inside a name; write **/{clean_untrusted(name.replace('**', '*'), 24)}")
    if name.count("[") != name.count("]"):
        missing = "a [ without its ]" if name.count("[") > name.count("]") else "a ] without its ["
        raise _invalid(entry, f"has {missing}; write ? for one character")


def _check_directory(above: list[str], name: str, entry: str) -> None:
    wild = next((number for number, part in enumerate(above) if not _WILDCARDS.isdisjoint(part)), None)
    if wild is not None:
        better = clean_untrusted("/".join(("", *above[:wild], "**", name)), 40)
        raise _invalid(entry, f"has a wildcard in its directory; write {better}")


def _parse_log_entry(entry: str) -> LogEntry:
    """Read ``[container:]/abs/dir/pattern``."""
    mistake = mistakes.advice_on_entry(entry)
    if mistake:
        raise _invalid(entry, mistake)
    if any(map(_is_invisible, entry)):
        raise _invalid(entry, "has a control or invisible character; remove it")
    container, colon, path = entry.partition(":") if not entry.startswith("/") else ("", "", entry)
    container, path = container.strip(), path.strip()
    if colon and not is_dns_label(container):
        if container in mistakes.EVERY:
            raise _invalid(entry, mistakes.WITHOUT_PREFIX)
        raise _invalid(entry, "has no container name before the colon; write container:/dir/pattern")
    if not path.startswith("/"):
        raise _invalid(entry, f"must have an absolute path; write {clean_untrusted(container, 24)}:/dir/pattern")
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
    """Return the entries of a ``logs`` value. One bad entry refuses all: raises :class:`NotInjectable`."""
    mistake = mistakes.advice_on_value(text)
    if mistake:
        raise _invalid(text, mistake)
    entries = [entry for line in text.split("\n") for part in line.split(",") if (entry := part.strip())]
    if not entries:
        raise _invalid(text, f"names no file; write for example {mistakes.EXAMPLE}")
    if len(entries) > MAX_ENTRIES:
        raise _invalid(text, f"has {len(entries)} entries; {MAX_ENTRIES} are allowed, use wildcards")
    files = tuple(dict.fromkeys(map(_parse_log_entry, entries)))
    directories = len({entry.directory_parts for entry in files})
    if directories > MAX_DIRECTORIES:
        raise _invalid(text, f"has {directories} directories; {MAX_DIRECTORIES} are allowed, use **/ in a parent")
    return files


_parse_logs_memoised = memoised(max_length=512, max_entries=256)(parse_logs)


def _probably_directory(files: LogEntry) -> bool:
    return not files.is_glob and "." not in files.file_glob


_GRAMMAR: dict[str, tuple[str, Callable[[str], Any] | None]] = {
    "inject": ("inject", _parse_boolean),
    "profile": ("profile", _parse_profile_name),
    "logs": ("logs", _parse_logs_memoised),
    "containers": ("containers", _parse_container_names),
    "env": ("add_variables", _parse_boolean),
    "volume-size-limit": ("volume_size_limit", _parse_positive_quantity("1Gi")),
    "cpu-request": ("resource_annotations", _parse_positive_quantity("50m")),
    "cpu-limit": ("resource_annotations", _parse_positive_quantity("500m")),
    "memory-request": ("resource_annotations", _parse_positive_quantity("32Mi")),
    "memory-limit": ("resource_annotations", _parse_positive_quantity("64Mi")),
    "run-as-user": ("run_as_user", _parse_user_id),
    "start": ("start", _start),
    STATUS: ("", None),
}

#: Every key that a pod may have under the prefix.
KEYS = tuple(_GRAMMAR)


def _unknown(key: str, prefix: str) -> Finding:
    known = [known for known in KEYS if known != STATUS]
    near = difflib.get_close_matches(key[:64].lower(), known, n=1, cutoff=0.5)
    message = f"is unknown; did you mean {prefix}{near[0]}?" if near else f"is unknown; known: {', '.join(KEYS[:4])}, …"
    return Finding(Reason.UNKNOWN_KEY, message, annotation=clean_untrusted(key))


def parse_options(annotations: Mapping[str, str] | None, prefix: str) -> RequestedOptions | None:
    """Return what the annotations under ``prefix`` ask for, or None where there are none.

    Never raises for a bad value: all of them are in ``invalid``.
    """
    options: RequestedOptions | None = None
    invalid: list[Finding] = []
    warnings: list[Finding] = []
    start = len(prefix)
    for name, text in (annotations or {}).items():
        if not name.startswith(prefix):
            continue
        options = options or RequestedOptions()
        key = name[start:]
        if key not in _GRAMMAR:
            # guessing what was meant takes longer than all the rest; thousands of keys are no typing errors
            if len(warnings) < MAX_UNKNOWN_KEYS:
                warnings.append(_unknown(key, prefix))
            continue
        try:
            _apply_annotation(options, key, text)
        except NotInjectable as error:
            invalid.append(error.finding._replace(annotation=key))
    if options is None:
        return None
    for files in options.logs or ():
        if _probably_directory(files):
            message = "is read as a file; if it is a directory, write a / at the end"
            warnings.append(Finding(Reason.PROBABLY_DIRECTORY, message, annotation="logs", value=files.text))
    options.invalid = tuple(invalid)
    options.warnings = tuple(warnings)
    return options


def _apply_annotation(options: RequestedOptions, key: str, text: str) -> None:
    """Put what an annotation says among the options; raise :class:`NotInjectable` where it can't be used."""
    field, parse = _GRAMMAR[key]
    if parse is None:
        return
    value = parse(text.strip())
    if field == "resource_annotations":
        options.resource_annotations[key] = value
    else:
        setattr(options, field, value)
