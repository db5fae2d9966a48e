"""Shapes of JSON values: a value is read as what fits its shape, and all that does not fit is reported by its path."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "ANYTHING",
    "FLAG",
    "TEXT",
    "UNFIT",
    "ListOf",
    "MapOf",
    "Object",
    "Path",
    "Report",
    "Scalar",
    "Shape",
    "choice",
    "kind",
    "matching",
    "number",
    "suggestion",
]

#: Keys and list indexes, from the document's root.
Path = tuple[str | int, ...]
#: Takes a path and what is wrong there.
Report = Callable[[Path, str], None]

#: What a value is read as that does not fit.
UNFIT: Any = object()

_WORDS = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    type(None): "empty",
}


def kind(value: object) -> str:
    """Return what a value is, in the words of a YAML document."""
    return _WORDS.get(type(value), "something else")


def suggestion(name: str, known: Collection[str]) -> str:
    """Return what to write instead of an unknown name."""
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"


class Shape(Protocol):
    """What a value may be."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """Return the value without what does not fit, :data:`UNFIT` if nothing is left; report all that does not."""


def _accept(_: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value of some types; ``reject`` returns what is wrong with one, or nothing."""

    words: str
    types: tuple[type, ...]
    reject: Callable[[Any], str] = _accept

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Shape`."""
        # True is an int of Python's, and no number of JSON's
        wrong = self.reject(value) if type(value) in self.types else f"must be {self.words}, is {kind(value)}"
        if wrong:
            report(path, wrong)
            return UNFIT
        return value


TEXT = Scalar("text", (str,))
FLAG = Scalar("true or false", (bool,))


def matching(pattern: str, words: str, longest: int = 253) -> Scalar:
    """Return text that matches a pattern; ``words`` say what it must be."""
    compiled = re.compile(pattern, re.ASCII)

    def reject(value: str) -> str:
        fits = len(value) <= longest and compiled.fullmatch(value) is not None
        return "" if fits else f"must be {words}, is {value[:60]!r}"

    return Scalar("text", (str,), reject)


def choice(*allowed: str) -> Scalar:
    """Return one of some texts."""
    words = " or ".join(one or "empty" for one in allowed)
    return Scalar("text", (str,), lambda value: "" if value in allowed else f"must be {words}, is {value[:60]!r}")


def number(least: int, most: int) -> Scalar:
    """Return a whole number within bounds."""
    words = f"a whole number from {least} to {most}"
    return Scalar(words, (int,), lambda value: "" if least <= value <= most else f"must be {words}, is {value}")


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value."""

    def read(self, value: Any, path: Path, report: Report) -> Any:  # noqa: ARG002 — a shape's signature
        """See :class:`Shape`."""
        return value


ANYTHING = Anything()


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items have one shape."""

    item: Shape
    least: int = 0

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Shape`."""
        if not isinstance(value, list):
            report(path, f"must be a list, is {kind(value)}")
            return UNFIT
        if len(value) < self.least:
            report(path, "must not be empty")
        items = [self.item.read(item, (*path, number), report) for number, item in enumerate(value)]
        # an object that does not fit leaves an empty one, so that those behind it keep their indexes
        blank = {} if isinstance(self.item, Object) else UNFIT
        items = [blank if item is UNFIT else item for item in items]
        return [item for item in items if item is not UNFIT]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys and values have one shape each; empty values count as absent."""

    item: Shape
    key: Shape = TEXT

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Shape`."""
        if not isinstance(value, Mapping):
            report(path, f"must be a mapping, is {kind(value)}")
            return UNFIT
        read = {}
        for key, item in value.items():
            if item is not None and self.key.read(key, (*path, key), report) is not UNFIT:
                read[key] = self.item.read(item, (*path, key), report)
        return {key: item for key, item in read.items() if item is not UNFIT}


#: Checks keys against each other; called with the fields that fit.
Rule = Callable[[dict[str, Any], Path, Report], None]


@dataclass(frozen=True, slots=True)
class Object:
    """A mapping of known keys; empty values count as absent, but for ``keeps_null``, where they mean something."""

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    #: Exactly one of these keys.
    one_of: tuple[str, ...] = ()
    keeps_null: bool = False
    rule: Rule | None = None

    def read(self, value: Any, path: Path, report: Report) -> Any:
        """See :class:`Shape`."""
        if not isinstance(value, Mapping):
            report(path, f"must be a mapping, is {kind(value)}")
            return UNFIT
        read: dict[str, Any] = {}
        for key, item in value.items():
            if key not in self.fields:
                report((*path, key), f"is unknown; {suggestion(key, self.fields)}")
            elif item is not None:
                fitting = self.fields[key].read(item, (*path, key), report)
                if fitting is not UNFIT:
                    read[key] = fitting
            elif self.keeps_null:
                read[key] = None
        for wrong in self._missing(value):
            report(path, wrong)
        if self.rule is not None:
            self.rule(read, path, report)
        return read

    def _missing(self, value: Mapping[str, Any]) -> Iterator[str]:
        for key in self.required:
            if value.get(key) is None:
                yield f"has no {key}; add it"
        present = [key for key in self.one_of if value.get(key) is not None]
        if self.one_of and not present:
            yield f"must have one of {', '.join(self.one_of)}"
        elif len(present) > 1:
            yield f"has both {present[0]} and {present[1]}; remove one"
