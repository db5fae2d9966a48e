"""What a new, empty volume would hide of a container's image: where it is refused, and where it is worth a warning."""

import re
from collections.abc import Sequence
from itertools import pairwise

from webhook.injection.annotations import LogFiles, NotInjectable
from webhook.injection.paths import (
    OWNED_DIRECTORIES,
    PATH_MAX,
    SYSTEM_DIRECTORIES,
    components,
    holds_data,
    probably_holds_application,
    remembered,
    within,
)
from webhook.injection.pod import Container
from webhook.injection.reasons import Finding, Reason, clean_untrusted, quote_untrusted
from webhook.injection.targets import Target, nearest_mount

__all__ = ["application_hidden", "reject_hidden_program", "reject_system_directory"]

#: Longer paths are no help in a warning of 120 characters.
LONGEST_EXAMPLE = 28
_SHELL_OPTION = re.compile(r"-[a-z]*c")


@remembered
def _is_system(directory: str) -> bool:
    """Return whether no container can do without what it has in the directory."""
    return SYSTEM_DIRECTORIES.within(directory) or OWNED_DIRECTORIES.hold(directory)


def reject_system_directory(entry: LogFiles) -> None:
    """Raise :class:`NotInjectable` for a directory in which an empty volume must break every container."""
    if _is_system(entry.directory):
        message = "nothing can be mounted there; write for example /var/log/app/*.log"
        raise NotInjectable(Finding(Reason.SYSTEM_DIRECTORY, "logs", entry.text, message))


def reject_hidden_program(target: Target) -> None:
    """Raise :class:`NotInjectable` where an empty volume at the directory would hide what the container needs."""
    participant, directory, entries = target.participant, target.directory, target.entries
    name = directory[-1]
    for what, path in _programs(participant.container, name):
        if name not in path or len(path) > PATH_MAX:
            # it can't lie there, however it is written; or no kernel opens it, and comparing costs its square
            continue
        parts = participant.resolve(path)
        # what lies in a mount of the container's own stays where it is
        if not within(parts, directory) or nearest_mount(parts, participant.own) is not None:
            continue
        if what == "argument" and (parts == directory or any(entry.matches(components(path)) for entry in entries)):
            continue
        container = quote_untrusted(participant.container.name, 20)
        message = f"would hide {quote_untrusted(path, 30)}, the {what} of {container}; log elsewhere"
        raise NotInjectable(Finding(Reason.HIDES_PROGRAM, "logs", entries[0].text, message))


def application_hidden(directory: str) -> Finding | None:
    """Return the warning for a new volume where an image probably has what it runs, None for any other."""
    if not probably_holds_application(directory):
        return None
    nowhere_inside = components(directory) == ("var", "log") or holds_data(directory)
    own = "/var/log/app" if nowhere_inside else f"{directory}/logs"
    example = f", as {own}" if len(own) <= LONGEST_EXAMPLE and own.isprintable() else ""
    message = f"hides what the image has in {clean_untrusted(directory, 30)}; log into a folder of its own{example}"
    return Finding(Reason.HIDES_APPLICATION, "logs", "", message)


def _programs(container: Container, name: str) -> list[tuple[str, str]]:
    """Return what the container is told to run or to read, as far as the pod says: what it is, and its path.

    Of its arguments only those with the name in them are looked at.
    """
    command, folder, lifecycle = container.command, container.workingDir, container.lifecycle
    found = [("workingDir", folder)] if folder else []
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None and probe.run is not None and probe.run.command:
            found.append(("probe", _program(probe.run.command[0], folder)))
    for hook in (lifecycle.postStart, lifecycle.preStop) if lifecycle is not None else ():
        if hook is not None and hook.run is not None and hook.run.command:
            found.append(("hook", _program(hook.run.command[0], folder)))
    arguments: Sequence[str] = container.args or ()
    if command:
        found.append(("command", _program(command[0], folder)))
        arguments = (*command[1:], *arguments)
    for previous, text in pairwise(("", *arguments)):
        if name in text and text[0] == "/" and not _is_program_text(text, previous):
            found.append(("argument", text))
    return found


def _program(path: str, folder: str | None) -> str:
    """Return a program's path, or nothing for a name that is looked up in PATH or in a folder that we don't know."""
    if path.startswith("/"):
        return path
    return f"{folder}/{path}" if "/" in path and folder else ""


def _is_program_text(text: str, previous: str) -> bool:
    """Return whether an argument is a shell's program, in which a path means nothing certain."""
    return bool(_SHELL_OPTION.fullmatch(previous)) and any(
        character.isspace() or character in ";|&<>" for character in text
    )
