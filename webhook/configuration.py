"""The configuration file to a :class:`~webhook.injection.profile.Configuration`, its problems with their lines."""

from dataclasses import replace
from pathlib import Path

from webhook.documents import Document, line_of, read
from webhook.errors import ConfigurationError, ManifestError, Problem
from webhook.injection.profile import Configuration
from webhook.injection.validation import build
from webhook.profiles import builtins

__all__ = ["load", "parse"]


def load(
    path: str | Path | None,
    *,
    prefix: str | None = None,
    strict: bool | None = None,
    shadow: bool | None = None,
) -> Configuration:
    """Return the configuration in a YAML or JSON file, or the built-in one where ``path`` is None.

    Settings given here win over the file's. Raises :class:`ConfigurationError` with every problem.
    """
    if path is None:
        return build(None, builtins(), prefix=prefix, strict=strict, shadow=shadow)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError([Problem("", f"can't be read: {error.strerror}")], str(path)) from None
    return parse(content, str(path), prefix=prefix, strict=strict, shadow=shadow)


def parse(
    content: bytes,
    source: str,
    *,
    prefix: str | None = None,
    strict: bool | None = None,
    shadow: bool | None = None,
) -> Configuration:
    """Return the configuration in a file's content; ``source`` is its name for messages."""
    document = _only_document(content, source)
    try:
        value = document.value if document is not None else None
        return build(value, builtins(), prefix=prefix, strict=strict, shadow=shadow)
    except ConfigurationError as error:
        problems = error.problems
        if document is not None:
            problems = [replace(problem, line=line_of(document, problem.path)) for problem in problems]
            problems.sort(key=lambda problem: problem.line or 0)
        raise ConfigurationError(problems, source) from None


def _only_document(content: bytes, source: str) -> Document | None:
    try:
        documents = [document for document in read(content, source) if not document.is_blank]
        problems = [
            Problem("", warning.message, warning.position.line) for found in documents[:1] for warning in found.warnings
        ]
    except ManifestError as error:
        raise ConfigurationError([Problem("", str(error).removeprefix(f"{source}:"))], source) from None
    if len(documents) > 1:
        problem = Problem("", f"has {len(documents)} documents; write one", documents[1].first_line)
        raise ConfigurationError([problem], source)
    if problems:
        raise ConfigurationError(problems, source)
    return documents[0] if documents else None
