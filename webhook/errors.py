"""Every error that Pillion raises on purpose.

::

    PillionError
    ├── ReviewError         the body is no AdmissionReview that could be answered (HTTP 4xx)
    ├── ConfigurationError  the configuration can't be used; holds every problem at once
    ├── CertificateError    certificates in files or in a cluster can't be read
    ├── ManifestError       a manifest can't be read: says file, line and column
    └── SettingsError       an option or environment variable has a value that can't be used
"""

from dataclasses import dataclass

__all__ = [
    "CertificateError",
    "ConfigurationError",
    "ManifestError",
    "PillionError",
    "Problem",
    "ReviewError",
    "SettingsError",
]


class PillionError(Exception):
    """The base of all errors below; its text is meant to be shown to a person."""


class ReviewError(PillionError):
    """The body is no AdmissionReview that could be answered with 200.

    ``status`` is the HTTP status to answer with: 400, 413 or 415.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration: where (``profiles.tail.sidecar.image``), what, what instead."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        """Return ``line 12: profiles.tail.order: …``."""
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path or 'configuration'}: {self.message}"


class ConfigurationError(PillionError):
    """The configuration can't be used. ``problems`` holds all of them, in the order of the document."""

    def __init__(self, problems: list[Problem], source: str = "") -> None:
        self.problems = problems
        self.source = source
        head = f"{source}: " if source else ""
        super().__init__("\n".join(f"{head}{problem}" for problem in problems))


class CertificateError(PillionError):
    """Certificates can't be read: a file, the kubeconfig, or the cluster; the text says which and why."""


class ManifestError(PillionError):
    """A manifest can't be read; the text names file, line and column."""


class SettingsError(PillionError):
    """An option or environment variable has a value that can't be used."""
