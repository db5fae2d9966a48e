"""The errors whose text is shown to a person.

Control-flow exceptions, and the errors of ``certs/``, are defined where they are raised.

::

    PillionError
    ├── ReviewError         a request for a review that can't be answered with 200
    ├── ConfigurationError  the configuration can't be used; holds every problem at once
    ├── CertificateError    certificates can't be read, or are not what a command needs
    ├── ClusterError        a cluster can't be read or changed through kubectl
    ├── ManifestError       a manifest can't be read: says file, line and column
    ├── MissingPackageError a command needs a Python package that is not installed
    ├── OutputError         a result can't be written, for example to a full disk
    ├── SettingsError       an option or environment variable has a value that can't be used
    └── StartError          the server can't start
"""

from dataclasses import dataclass

from webhook.untrusted_text import visible

__all__ = [
    "CertificateError",
    "ClusterError",
    "ConfigurationError",
    "ManifestError",
    "MissingPackageError",
    "OutputError",
    "PillionError",
    "Problem",
    "ReviewError",
    "SettingsError",
    "StartError",
]


class PillionError(Exception):
    """The base of all errors below; its text is meant to be shown to a person."""


class ReviewError(PillionError):
    """The body is not an AdmissionReview that can be answered with 200, or the server can't answer any.

    ``status`` is the HTTP status of the response: 400, 405, 413, 415, 429 or 503.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a configuration: where (``profiles.tail.sidecar.image``), what is wrong, and what to write.

    ``path`` holds keys and list indexes, ``position`` is a line and a column, both from 1.
    """

    path: tuple[str | int, ...]
    message: str
    position: tuple[int, int] | None = None

    @property
    def dotted_path(self) -> str:
        """Return the path as text: ``profiles.tail.sidecar.env[0].name``."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{_shown(step)}" for step in self.path)
        return "".join(steps).removeprefix(".") or "configuration"

    def __str__(self) -> str:
        """Return ``12:5: profiles.tail.order: …``."""
        where = f"{self.position[0]}:{self.position[1]}: " if self.position is not None else ""
        return f"{where}{self.dotted_path}: {self.message}"


def _shown(key: str) -> str:
    """Return a key in a form that is safe in a line of text."""
    clean = visible(key)
    return clean if len(clean) <= _MAX_KEY_LENGTH else f"{clean[: _MAX_KEY_LENGTH - 1]}…"


_MAX_KEY_LENGTH = 63


class ConfigurationError(PillionError):
    """The configuration can't be used. ``problems`` are in the order of the document."""

    def __init__(self, problems: list[Problem], source: str = "") -> None:
        self.problems = problems
        self.source = source
        lines = []
        for problem in problems:
            lead = "" if not source else f"{source}:" if problem.position is not None else f"{source}: "
            lines.append(f"{lead}{problem}")
        super().__init__("\n".join(lines))


class CertificateError(PillionError):
    """Certificates can't be read, or are not what a command needs; the text says which and why."""


class ClusterError(PillionError):
    """A cluster can't be read or changed through kubectl.

    ``reason`` is the API server's (``Forbidden``, ``NotFound``), empty where it was not the API server that refused;
    ``sentence`` is why, in its or in kubectl's words, cleaned: ``pods is forbidden: User "a" cannot list resource …``.
    """

    def __init__(self, text: str, reason: str = "", sentence: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.sentence = sentence or text


class ManifestError(PillionError):
    """A manifest can't be read; the text names file, line and column.

    ``problem`` is the text without the file, ``position`` is line and column, both from 1, or None if unknown.
    """

    def __init__(self, text: str, problem: str = "", position: tuple[int, int] | None = None) -> None:
        super().__init__(text)
        self.problem = problem or text
        self.position = position


class MissingPackageError(PillionError):
    """A command needs a Python package that an installation may lack; the text says how to install it."""


class OutputError(PillionError):
    """A command's result can't be written where it should go."""


class SettingsError(PillionError):
    """An option or environment variable has a value that can't be used."""


class StartError(PillionError):
    """The server can't start; the message says why."""
