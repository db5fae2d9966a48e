"""What a new, empty volume would hide from a container, and what would hide the volume.

If either hides what is needed, the pod is declined or its author warned.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from webhook.injection.annotations import LogEntry
from webhook.injection.mount_checks import TERMINATION_LOG
from webhook.injection.paths import (
    IMAGE_SYSTEM_DIRECTORIES,
    PATH_MAX,
    RUNTIME_DIRECTORIES,
    components,
    is_database_directory,
    memoised_by_path,
    probably_holds_application,
    within,
)
from webhook.injection.pod import Container
from webhook.injection.reasons import Finding, NotInjectable, Reason, clean_untrusted, quote_untrusted
from webhook.injection.targets import Target, enclosing_mount_path

__all__ = [
    "ensure_no_termination_message",
    "ensure_not_system_directory",
    "ensure_program_visible",
    "warning_if_application_hidden",
]

#: A longer example does not fit into a warning of 120 characters.
MAX_EXAMPLE_LENGTH = 28
_SHELL_OPTION = re.compile(r"-[a-z]*c")
#: An argument that is a file's path relative to the working directory: ``server/main.py``.
_RELATIVE_FILE = re.compile(r"(?:\./)?\w[\w.@+-]*(?:/[\w.@+-]+)*/[\w@+-][\w@+.-]*\.\w+")


@memoised_by_path
def _is_system_directory(path: str) -> bool:
    """Return whether every container needs its image's files in the directory."""
    return IMAGE_SYSTEM_DIRECTORIES.any_at_or_below(path) or RUNTIME_DIRECTORIES.any_at_or_above(path)


def ensure_not_system_directory(entry: LogEntry) -> None:
    """Raise :class:`NotInjectable` for a directory where an empty volume would break every container."""
    if _is_system_directory(entry.directory_path):
        message = "nothing can be mounted there; write for example /var/log/app/*.log"
        raise NotInjectable(Finding(Reason.SYSTEM_DIRECTORY, message, annotation="logs", value=entry.text))


def ensure_program_visible(target: Target) -> None:
    """Raise :class:`NotInjectable` if an empty volume at the directory would hide what the container runs or reads."""
    candidate, directory, entries = target.candidate, target.directory, target.entries
    name = directory[-1]
    for what, path in _needed_paths(candidate.container, name):
        if name not in path or len(path) > PATH_MAX:
            continue  # the directory's name is not in it, so it is elsewhere; or the kernel could not open it
        parts = candidate.parse_path(path)
        # a path in a mount of the container is not hidden
        if not within(parts, directory) or enclosing_mount_path(parts, candidate.own_mounts) is not None:
            continue
        # an argument that names the log directory or a log file tells the application where to log
        if what == "argument" and (parts == directory or any(entry.matches(components(path)) for entry in entries)):
            continue
        container = quote_untrusted(candidate.container.name, 20)
        message = f"would hide {quote_untrusted(path, 30)}, the {what} of {container}; log elsewhere"
        raise NotInjectable(Finding(Reason.HIDES_PROGRAM, message, annotation="logs", value=entries[0].text))


def ensure_no_termination_message(target: Target) -> None:
    """Raise :class:`NotInjectable` if the kubelet mounts the container's termination message over the logs.

    It mounts a file: no directory can be there or below, and what is written into that file is in no volume.
    """
    candidate = target.candidate
    message_path = candidate.container.terminationMessagePath
    if not message_path or message_path == TERMINATION_LOG:
        return
    parts = candidate.parse_path(message_path)
    for entry in target.entries:
        if within(target.directory, parts) or (not entry.is_glob and entry.matches(components(message_path))):
            container = quote_untrusted(candidate.container.name, 20)
            message = f"the kubelet mounts a file there, the terminationMessagePath of {container}; log elsewhere"
            raise NotInjectable(Finding(Reason.UNWRITABLE_VOLUME, message, annotation="logs", value=entry.text))


def warning_if_application_hidden(directory_path: str) -> Finding | None:
    """Return a warning if an image probably has its application in the directory, None otherwise."""
    if not probably_holds_application(directory_path):
        return None
    suggest_default = components(directory_path) == ("var", "log") or is_database_directory(directory_path)
    suggested = "/var/log/app" if suggest_default else f"{directory_path}/logs"
    example = f", such as {suggested}" if len(suggested) <= MAX_EXAMPLE_LENGTH and suggested.isprintable() else ""
    where = clean_untrusted(directory_path, 30)
    message = f"hides what the image has in {where}; use a directory for logs{example}"
    return Finding(Reason.HIDES_APPLICATION, message, annotation="logs")


def _needed_paths(container: Container, name: str) -> list[tuple[str, str]]:
    """Return what the pod tells the container to run or to read: what it is, and its path.

    Arguments are included only if ``name``, the last component of the log directory, is in them.
    """
    command, directory, lifecycle = container.command, container.workingDir, container.lifecycle
    found = [("workingDir", directory)] if directory else []
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None and probe.exec_action is not None and probe.exec_action.command:
            found += [("probe", _program(path, directory)) for path in _programs(probe.exec_action.command)]
    for hook in (lifecycle.postStart, lifecycle.preStop) if lifecycle is not None else ():
        if hook is not None and hook.exec_action is not None and hook.exec_action.command:
            found += [("hook", _program(path, directory)) for path in _programs(hook.exec_action.command)]
    arguments: Sequence[str] = container.args or ()
    if command:
        found.append(("command", _program(command[0], directory)))
        arguments = (*command[1:], *arguments)
    for previous, text in pairwise(("", *arguments)):
        if name not in text or _is_inline_script(text, previous):
            continue
        if text[0] == "/":
            found.append(("argument", text))
        elif directory and len(text) <= PATH_MAX and _RELATIVE_FILE.fullmatch(text):
            found.append(("argument", f"{directory}/{text}"))
    return found


#: Programs whose first argument is a script.
_INTERPRETER = re.compile(r"(?:.*/)?(?:(?:ba|da|a|z|k)?sh|python[0-9.]*|perl|ruby|node|php)")
#: A word that is the name of a script, wherever it stands: behind ``timeout 5``, ``env``, ``java -jar``.
_SCRIPT = re.compile(r"\S+\.(?:ba?sh|jar|js|php|pl|py|rb|sh)")


def _programs(command: Sequence[str]) -> list[str]:
    """Return the program that a probe or a hook runs, the script that an interpreter runs, and scripts behind it."""
    found = [command[0], *filter(_SCRIPT.fullmatch, command[1:])]
    if len(command[0]) <= PATH_MAX and _INTERPRETER.fullmatch(command[0]):
        scripts = [word for word in command[1:] if not word.startswith("-")][:1]
        found += [script for script in scripts if not any(map(str.isspace, script))]
    return found


def _program(path: str, directory: str | None) -> str:
    """Return a program's path, or "" if it is looked up in PATH or in an unknown working directory."""
    if path.startswith("/"):
        return path
    return f"{directory}/{path}" if "/" in path and directory else ""


def _is_inline_script(text: str, previous: str) -> bool:
    """Return whether an argument is the script of an option such as ``-c``, in which a path may mean anything."""
    return bool(_SHELL_OPTION.fullmatch(previous)) and any(
        character.isspace() or character in ";|&<>" for character in text
    )
