"""Schemas of JSON values: reading a value returns its valid part, and reports all errors by their paths."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from webhook.json_values import Path

__all__ = [
    "ANYTHING",
    "BOOL",
    "INVALID",
    "STRING",
    "ListOf",
    "MapOf",
    "Object",
    "Report",
    "Scalar",
    "Schema",
    "matching",
    "number",
    "one_of",
    "suggestion",
    "type_name",
]

#: Called with a path and the error there.
Report = Callable[[Path, str], None]

#: Returned in place of a value that does not match its schema.
INVALID: Any = object()

_TYPE_NAMES = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    type(None): "empty",
}


def type_name(value: object) -> str:
    """Return the name of a value's type, in the words of YAML."""
    return _TYPE_NAMES.get(type(value), "something else")


def suggestion(name: str, known: Collection[str]) -> str:
    """Return what to write instead of an unknown name."""
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


class Schema(Protocol):
    """A schema of values."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """Return the valid part of the value, :data:`INVALID` if there is none; report every error."""


def _no_error(_: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value of one of the types; ``error_in`` returns what is wrong with it, or ""."""

    description: str
    types: tuple[type, ...]
    error_in: Callable[[Any], str] = _no_error

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Schema`."""
        # bool is a subclass of int in Python, but not a number in JSON
        error = (
            self.error_in(value) if type(value) in self.types else f"must be {self.description}, is {type_name(value)}"
        )
        if error:
            report(path, error)
            return INVALID
        return value


STRING = Scalar("text", (str,))
BOOL = Scalar("true or false", (bool,))


def matching(pattern: str, description: str, max_length: int = 253) -> Scalar:
    """Return the schema of text that matches a pattern; ``description`` says what it must be."""
    compiled = re.compile(pattern, re.ASCII)

    def error_in(value: str) -> str:
        matches = len(value) <= max_length and compiled.fullmatch(value) is not None
        return "" if matches else f"must be {description}, is {value[:60]!r}"

    return Scalar("text", (str,), error_in)


def one_of(*allowed: str) -> Scalar:
    """Return the schema of a text that is one of the given ones."""
    description = " or ".join(one or "empty" for one in allowed)
    return Scalar("text", (str,), lambda value: "" if value in allowed else f"must be {description}, is {value[:60]!r}")


def number(minimum: int, maximum: int) -> Scalar:
    """Return the schema of a whole number within bounds."""
    description = f"a whole number from {minimum} to {maximum}"
    return Scalar(
        description, (int,), lambda value: "" if minimum <= value <= maximum else f"must be {description}, is {value}"
    )


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""

    def read(self, value: Any, path: Path, report: Report) -> Any:  # noqa: ARG002 — the signature of a schema
        """See :class:`Schema`."""
        return value


ANYTHING = Anything()


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of items of one schema."""

    item: Schema
    min_items: int = 0

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Schema`."""
        if not isinstance(value, list):
            report(path, f"must be a list, is {type_name(value)}")
            return INVALID
        if len(value) < self.min_items:
            report(path, "must not be empty")
        items = [self.item.read(item, (*path, number), report) for number, item in enumerate(value)]
        # an invalid object becomes an empty one, so that the items behind it keep their indexes
        blank = {} if isinstance(self.item, Object) else INVALID
        items = [blank if item is INVALID else item for item in items]
        return [item for item in items if item is not INVALID]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping with one schema for all keys and one for all values; empty values count as absent."""

    item: Schema
    key: Schema = STRING

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Schema`."""
        if not isinstance(value, Mapping):
            report(path, f"must be a mapping, is {type_name(value)}")
            return INVALID
        read = {}
        for key, item in value.items():
            if item is not None and self.key.read(key, (*path, key), report) is not INVALID:
                read[key] = self.item.read(item, (*path, key), report)
        return {key: item for key, item in read.items() if item is not INVALID}


#: Checks keys against each other; called with the valid fields.
Check = Callable[[dict[str, Any], Path, Report], None]


@dataclass(frozen=True, slots=True)
class Object:
    """A mapping of known keys. Empty values count as absent unless ``keeps_null``."""

    fields: Mapping[str, Schema]
    required: tuple[str, ...] = ()
    #: Exactly one of these keys.
    exactly_one_of: tuple[str, ...] = ()
    keeps_null: bool = False
    check: Check | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Schema`."""
        if not isinstance(value, Mapping):
            report(path, f"must be a mapping, is {type_name(value)}")
            return INVALID
        read: dict[str, Any] = {}
        for key, item in value.items():
            if key not in self.fields:
                report((*path, key), f"is unknown; {suggestion(key, self.fields)}")
            elif item is not None:
                valid = self.fields[key].read(item, (*path, key), report)
                if valid is not INVALID:
                    read[key] = valid
            elif self.keeps_null:
                read[key] = None
        for error in self._key_errors(value):
            report(path, error)
        if self.check is not None:
            self.check(read, path, report)
        return read

    def _key_errors(self, value: Mapping[str, Any]) -> Iterator[str]:
        for key in self.required:
            if value.get(key) is None:
                yield f"has no {key}; add it"
        present = [key for key in self.exactly_one_of if value.get(key) is not None]
        if self.exactly_one_of and not present:
            yield f"must have one of {', '.join(self.exactly_one_of)}"
        elif len(present) > 1:
            yield f"has both {present[0]} and {present[1]}; remove one"
