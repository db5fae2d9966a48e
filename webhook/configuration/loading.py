"""A configuration file to a :class:`Configuration`, or to its problems with their positions."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from webhook.configuration.document_schemas import CONFIGURATION
from webhook.configuration.merging import merge
from webhook.configuration.problems import Problems
from webhook.configuration.profiles import profile
from webhook.configuration.values import configuration_in, is_values
from webhook.documents import Document, position_of, read
from webhook.errors import ConfigurationError, ManifestError, Problem
from webhook.injection.profile import (
    DEFAULT_IGNORED_CONTAINERS,
    DEFAULT_PREFIX,
    IMAGE_PLACEHOLDER,
    SHIPPING_IMAGE_PLACEHOLDER,
    Configuration,
    Profile,
)
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE, builtins
from webhook.schema import suggestion

__all__ = ["build", "load", "parse"]

_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/")


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
        raise ConfigurationError([Problem((), f"can't be read: {error.strerror}")], str(path)) from None
    return parse(content, str(path), prefix=prefix, strict=strict, shadow=shadow)


def parse(
    content: bytes,
    source: str,
    *,
    prefix: str | None = None,
    strict: bool | None = None,
    shadow: bool | None = None,
    or_values: bool = False,
) -> Configuration:
    """Return the configuration in a file's content; ``source`` is its name for messages.

    With ``or_values`` it may also be a file of the chart's values, whose ``prefix`` counts.
    """
    try:
        document = _only_document(content, source)
        value = document.value if document is not None else None
    except ManifestError as error:
        raise ConfigurationError([Problem((), error.problem, error.position)], source) from None
    if or_values and isinstance(value, dict) and is_values(value):
        written = value.get("prefix")
        prefix = written if isinstance(written, str) else prefix
        value = configuration_in(value)
    try:
        configuration = build(value, builtins(), prefix=prefix, strict=strict, shadow=shadow)
    except ConfigurationError as error:
        raise ConfigurationError(_placed(error.problems, document), source) from None
    return replace(configuration, warnings=tuple(_placed(configuration.warnings, document)))


def _placed(problems: Iterable[Problem], document: Document | None) -> list[Problem]:
    """Return the problems with their positions in the document, in its order."""
    if document is None:
        return list(problems)
    placed = [replace(one, position=position_of(document, list(one.path))) for one in problems]
    return sorted(placed, key=lambda problem: problem.position or (0, 0))


def _only_document(content: bytes, source: str) -> Document | None:
    documents = [document for document in read(content, source) if not document.is_blank]
    if len(documents) > 1:
        problem = Problem((), f"has {len(documents)} documents; write one", (documents[1].first_line, 1))
        raise ConfigurationError([problem], source)
    # a key that is there twice is a mistake whose victim nobody sees
    twice = [Problem((), warning.message, warning.position) for found in documents for warning in found.warnings]
    if twice:
        raise ConfigurationError(twice, source)
    return documents[0] if documents else None


def build(
    document: object,
    builtins: Mapping[str, Any],
    *,
    prefix: str | None = None,
    strict: bool | None = None,
    shadow: bool | None = None,
) -> Configuration:
    """Return the configuration in a document (JSON values; None is an empty one).

    A profile with ``base``, or with the name of a built-in, starts from that built-in and is applied to it as a
    JSON Merge Patch. Settings given here win over the document's. Raises :class:`ConfigurationError` with every
    problem.
    """
    problems = Problems()
    document = _sound(document, (), problems)
    fields = CONFIGURATION.read(document if document is not None else {}, (), problems.add)
    fields = fields if isinstance(fields, dict) else {}
    written: Mapping[str, Any] = fields.get("profiles", {})
    pull_policy = {key: fields[key] for key in ("imagePullPolicy",) if key in fields}
    images = {
        IMAGE_PLACEHOLDER: {"image": fields.get("image", RELEASED_IMAGE), **pull_policy},
        SHIPPING_IMAGE_PLACEHOLDER: {"image": fields.get("shippingImage", RELEASED_SHIPPING_IMAGE), **pull_policy},
    }
    profiles: dict[str, Profile] = {}
    for name in dict.fromkeys([*builtins, *written]):
        merged = _merged(problems, name, written, builtins)
        host_path = fields.get("allowHostPath", False)
        made = profile(problems, name, merged, images=images, host_path=host_path, own=name in written)
        if made is not None:
            profiles[name] = _with_assigned_user(made) if fields.get("openshift") else made
    default = fields.get("defaultProfile", "tail")
    names = list(dict.fromkeys([*builtins, *written]))
    if default not in names:
        problems.add(("defaultProfile",), f"{default[:63]!r} does not exist; {suggestion(default, names)}")
    prefix = DEFAULT_PREFIX if prefix is None else prefix
    if not _PREFIX.fullmatch(prefix):
        problems.add(("prefix",), f"must be a DNS name and a slash such as {DEFAULT_PREFIX}, is {prefix[:60]!r}")
    if problems.found:
        raise ConfigurationError(problems.listed())
    return Configuration(
        profiles=profiles,
        default_profile=default,
        prefix=prefix,
        strict=fields.get("strict", False) if strict is None else strict,
        shadow=bool(shadow),
        ignored_containers=frozenset(fields.get("ignoredContainers", DEFAULT_IGNORED_CONTAINERS)),
        log_messages=tuple(
            f"profile {one.name}: {sentence}"
            for one in profiles.values()
            for sentence in (*one.setup_steps, *one.prerequisites)
        ),
        warnings=tuple(problems.warnings),
    )


def _with_assigned_user(made: Profile) -> Profile:
    """Return a profile whose sidecar has the user that the cluster chooses, unless the profile says one."""
    return replace(made, security_context={"runAsUser": None, "runAsGroup": None, **made.security_context})


def _merged(problems: Problems, name: str, written: Mapping[str, Any], builtins: Mapping[str, Any]) -> Any:
    """Return the profile's document, on top of its base where it has one."""
    over = written.get(name, {})
    if not isinstance(over, Mapping):
        return over
    base = over.get("base")
    if base is None:
        base = name if name in builtins else None
    if base is None or not isinstance(base, str):
        return over
    path = ("profiles", name)
    if base not in builtins:
        problems.add((*path, "base"), f"{base[:63]!r} is no built-in profile; {suggestion(base, builtins)}")
        return over
    return merge(builtins[base], over, path, problems.origins)


# --- values that nothing can be made of ------------------------------------------------------------------------

#: A profile has some ten levels; each value costs a level of Python's own stack.
MAX_DEPTH = 64
#: etcd takes objects of at most 1.5 MiB, and a ConfigMap is at most 1 MiB: a value beyond comes from nowhere.
MAX_TEXT = 512 * 1024
MAX_NUMBER = 2**63 - 1


def _sound(value: Any, path: tuple[str | int, ...], problems: Problems) -> Any:
    """Return the value with all replaced that can't be handed on to a pod; report what that is."""
    wrong, instead = "", value
    if len(path) > MAX_DEPTH:
        wrong, instead = "is nested too deeply", None
    elif isinstance(value, dict):
        return {_key(key, path, problems): _sound(item, (*path, key), problems) for key, item in value.items()}
    elif isinstance(value, list):
        return [_sound(item, (*path, number), problems) for number, item in enumerate(value)]
    elif isinstance(value, str):
        wrong, instead = _unsound(value), value.encode(errors="replace").decode().replace("\0", "?")[:MAX_TEXT]
    elif isinstance(value, float) and not math.isfinite(value):
        wrong, instead = "must be a finite number", 1
    elif isinstance(value, int) and abs(value) > MAX_NUMBER:
        wrong, instead = "is too large a number", 1
    if wrong:
        problems.add(path, wrong)
    return instead


def _key(key: str, path: tuple[str | int, ...], problems: Problems) -> str:
    wrong = _unsound(key)
    if wrong:
        problems.add(path, f"a key of it {wrong}")
    return key.encode(errors="replace").decode()


def _unsound(text: str) -> str:
    if "\0" in text:
        return "has a NUL character, which no program can be given; remove it"
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "has half of a character (a lone surrogate); remove it"
    return ""
