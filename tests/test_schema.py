"""Shapes: what fits is kept, and all that does not is reported by its path."""

from typing import Any

import pytest

from webhook.json_values import Path
from webhook.schema import (
    ANYTHING,
    BOOL,
    INVALID,
    STRING,
    ListOf,
    MapOf,
    Object,
    Schema,
    matching,
    number,
    one_of,
)

_POINT = Object({"x": number(0, 9), "note": STRING}, ("x",))

ROWS: dict[str, tuple[Schema, Any, Any, list[str]]] = {
    "text": (STRING, "a", "a", []),
    "no text": (STRING, 5, INVALID, ["must be text, is a number"]),
    "a flag": (BOOL, True, True, []),
    "a number is no flag": (BOOL, 1, INVALID, ["must be true or false, is a number"]),
    "a flag is no number": (number(0, 9), True, INVALID, ["must be a whole number from 0 to 9, is true or false"]),
    "beyond": (number(0, 9), 10, INVALID, ["must be a whole number from 0 to 9, is 10"]),
    "a choice": (one_of("a", "b"), "c", INVALID, ["must be a or b, is 'c'"]),
    "a pattern": (matching("[a-z]+", "small letters"), "A", INVALID, ["must be small letters, is 'A'"]),
    "too long for a pattern": (matching("[a-z]+", "short", 2), "abc", INVALID, ["must be short, is 'abc'"]),
    "anything": (ANYTHING, [None], [None], []),
    "a list": (ListOf(STRING), ["a", 5, None], ["a"], ["1 must be text, is a number", "2 must be text, is empty"]),
    "objects keep their place": (ListOf(_POINT), [5, {"x": 1}], [{}, {"x": 1}], ["0 must be a mapping, is a number"]),
    "an empty list": (ListOf(STRING, min_items=1), [], [], ["must not be empty"]),
    "a map": (MapOf(STRING), {"a": "b", "c": 5, "d": None}, {"a": "b"}, ["c must be text, is a number"]),
    "an object": (_POINT, {"x": 1, "note": None}, {"x": 1}, []),
    "all that is wrong": (
        _POINT,
        {"nose": "a", "note": 5},
        {},
        ["nose is unknown; did you mean note?", "note must be text, is a number", "has no x; add it"],
    ),
    "one of": (Object({"a": STRING, "b": STRING}, exactly_one_of=("a", "b")), {}, {}, ["must have one of a, b"]),
    "both of": (
        Object({"a": STRING, "b": STRING}, exactly_one_of=("a", "b")),
        {"a": "", "b": ""},
        {"a": "", "b": ""},
        ["has both a and b; remove one"],
    ),
    "a null that means something": (Object({"a": STRING}, keeps_null=True), {"a": None}, {"a": None}, []),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_value_is_read_as_what_fits(row: str) -> None:
    """And everything else is told."""
    shape, value, expected, wrong = ROWS[row]
    told: list[str] = []

    def report(path: Path, message: str) -> None:
        told.append(f"{'.'.join(map(str, path))} {message}".strip())

    assert shape.read(value, (), report) == expected
    assert told == wrong
