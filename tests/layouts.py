"""Strategies for documents in every layout that people and programs write, and for JSON Patch operations on them."""

import copy
import json
from typing import Any

import jsonpatch
from hypothesis import strategies as st

from webhook.documents.rendering import flow
from webhook.documents.scalars import is_literal, quoted, text_of

__all__ = ["added_members", "json_texts", "operations", "yaml_texts"]

_WORDS = (
    "a",
    "b",
    "name",
    "x/y",
    "~",
    "",
    "yes",
    "1",
    "null",
    "# c",
    "- d",
    "e: f",
    "g\nh\n",
    "i\n",
    "é😀",
    "{",
    "k l",
)
_SCALARS = st.one_of(
    st.sampled_from(_WORDS), st.integers(-3, 300), st.booleans(), st.none(), st.floats(allow_nan=False, width=16)
).filter(lambda value: not isinstance(value, float) or abs(value) < 1e9)
_KEYS = st.one_of(st.sampled_from(["a", "b", "c", "name", "volumes", "env"]), st.sampled_from(_WORDS))
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=10,
)


class _Layout:
    """Writes a value as somebody might: every choice is drawn."""

    def __init__(self, draw: st.DrawFn, *, aliases: bool) -> None:
        self.draw = draw
        self.aliases = aliases
        self.count = 0
        self.anchors: list[str] = []
        self.mappings: list[str] = []
        self.step = draw(st.sampled_from([2, 2, 4, 3]))
        self.dash = draw(st.sampled_from([0, 2, 1]))

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def comment(self) -> str:
        return self.draw(st.sampled_from([" # c", "   # 'd", "  # - e: f"])) if self.chance(15) else ""

    def between(self, column: int) -> list[str]:
        """Return comments and blank lines that stand before a member."""
        found = []
        while self.chance(15):
            pad = " " * self.draw(st.sampled_from([column, column, 0, column + 2]))
            found.append(self.draw(st.sampled_from(["", f"{pad}# above", f"{pad}#- x"])))
        return found

    def block(self, value: Any, column: int) -> list[str]:
        """Return the lines of a collection that is not empty; the first one begins with its member, not with blanks."""
        pad = " " * column
        lines: list[str] = []
        members: list[tuple[str | None, Any]]
        members = list(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
        if self.aliases and isinstance(value, dict) and self.chance(5):
            members += members[:1]
        for key, item in members:
            if lines:
                lines += self.between(column)
            if key is not None and self.mappings and self.chance(20):
                lines.append((pad if lines else "") + f"<<: *{self.draw(st.sampled_from(self.mappings))}")
            lead = "-" if key is None else f"{self.key(key)}:"
            first, *rest = self.member(lead, item, column, in_list=key is None)
            lines += [(pad if lines else "") + first, *rest]
        return lines

    def key(self, key: str) -> str:
        return quoted(key) if self.chance(10) else text_of(key)

    def member(self, lead: str, value: Any, column: int, *, in_list: bool) -> list[str]:
        """Return the lines of a member; the first one without its indentation."""
        if self.aliases and self.anchors and self.chance(10):
            return [f"{lead} *{self.draw(st.sampled_from(self.anchors))}{self.comment()}"]
        anchor = ""
        name = ""
        if self.aliases and self.chance(10) and value is not None:
            self.count += 1
            name = f"n{self.count}"
            anchor = f" &{name}"
        found = self.anchored(f"{lead}{anchor}", value, column, in_list=in_list, anchor=anchor)
        if name:
            self.anchors.append(name)
            self.mappings += [name] * isinstance(value, dict)
        return found

    def anchored(self, lead: str, value: Any, column: int, *, in_list: bool, anchor: str) -> list[str]:
        if isinstance(value, dict | list) and value and not self.chance(20):
            if in_list and not anchor and not self.chance(10):
                return self.behind_dash(lead, value, column)
            inner = column + (self.dash if isinstance(value, list) and not in_list else self.step)
            first, *rest = self.block(value, inner)
            return [f"{lead}{self.comment()}", *self.between(inner), " " * inner + first, *rest]
        if isinstance(value, str) and is_literal(value) and not self.chance(20):
            pad = " " * (column + self.step)
            keep = self.draw(st.sampled_from(["", "-", "+"]))
            return [
                f"{lead} |{keep}{self.comment()}",
                *(f"{pad}{line}" if line else "" for line in value.split("\n")[:-1]),
            ]
        return [f"{lead}{self.inline(value, column)}{self.comment()}"]

    def behind_dash(self, lead: str, value: Any, column: int) -> list[str]:
        blanks = self.draw(st.sampled_from([" ", " ", "   "]))
        first, *rest = self.block(value, column + 1 + len(blanks))
        return [f"{lead}{blanks}{first}", *rest]

    def inline(self, value: Any, column: int) -> str:
        """Return a value on one line, or in brackets on several, with a blank before it."""
        blank = self.draw(st.sampled_from([" ", " ", " ", "  "]))
        if value is None:
            return self.draw(st.sampled_from(["", f"{blank}null", f"{blank}~"]))
        if value in ([], {}):
            brackets = "[]" if value == [] else "{}"
            return blank + (f"{brackets[0]} {brackets[1]}" if self.chance(20) else brackets)
        text = flow(value)
        if isinstance(value, list) and self.chance(30):
            pad = "\n" + " " * (column + 5)
            text = f"[{pad}" + f",{pad}".join(map(flow, value)) + self.draw(st.sampled_from(["", ",", pad])) + "]"
        elif isinstance(value, str) and self.chance(20):
            text = quoted(value)
        return blank + text


@st.composite
def yaml_texts(draw: st.DrawFn, value: Any = None, *, aliases: bool = False) -> str:
    """Return a YAML document that is a mapping: that of the value, or any."""
    if value is None:
        value = draw(st.dictionaries(_KEYS, VALUES, min_size=1, max_size=4))
    layout = _Layout(draw, aliases=aliases)
    lines = [*layout.between(0), *layout.block(value, 0), *layout.between(0)]
    return _ended(draw, "\n".join(lines))


@st.composite
def json_texts(draw: st.DrawFn, value: Any = None) -> str:
    """Return a JSON document that is an object: that of the value, or any."""
    if value is None:
        value = draw(st.dictionaries(_KEYS, VALUES, max_size=4))
    form: dict[str, Any] = draw(st.sampled_from([{"indent": 2}, {"indent": "\t"}, {}, {"separators": (",", ":")}]))
    return _ended(draw, json.dumps(value, ensure_ascii=draw(st.booleans()), **form))


def _ended(draw: st.DrawFn, text: str) -> str:
    """Return a text with line ends of one kind or another, the last one there or not."""
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return text.replace("\n", newline) + draw(st.sampled_from([newline, newline, ""]))


def _pointer(path: tuple[Any, ...]) -> str:
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def _collections(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Return every collection in a value with its path."""
    if not isinstance(value, dict | list):
        return []
    members = value.items() if isinstance(value, dict) else enumerate(value)
    return [(path, value), *(found for key, item in members for found in _collections(item, (*path, key)))]


@st.composite
def operations(draw: st.DrawFn, value: Any) -> list[dict[str, Any]]:
    """Return operations that can be applied to a value one after the other: add, remove and replace."""
    value = copy.deepcopy(value)
    found: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        path, collection = draw(st.sampled_from(_collections(value)))
        kind = draw(st.sampled_from(["add", "add", "remove", "replace"])) if collection else "add"
        step: Any
        if kind == "add":
            places: list[Any] | None = [*range(len(collection) + 1), "-"] if isinstance(collection, list) else None
            step = draw(st.sampled_from(places)) if places else draw(_KEYS)
        else:
            step = draw(st.sampled_from(sorted(collection) if isinstance(collection, dict) else range(len(collection))))
        operation: dict[str, Any] = {"op": kind, "path": _pointer((*path, step))}
        if kind != "remove":
            operation["value"] = draw(VALUES)
        found.append(operation)
        value = jsonpatch.apply_patch(value, [copy.deepcopy(operation)])
    return found


@st.composite
def added_members(draw: st.DrawFn, value: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return operations that add new members, as injecting does, and those that take them out again."""
    value = copy.deepcopy(value)
    adding: list[dict[str, Any]] = []
    removing: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        path, collection = draw(st.sampled_from(_collections(value)))
        if isinstance(collection, list):
            place: Any = draw(st.integers(0, len(collection)))
        else:
            place = f"new-{number}"
        pointer = _pointer((*path, place))
        adding.append({"op": "add", "path": pointer, "value": draw(VALUES)})
        removing.insert(0, {"op": "remove", "path": pointer})
        value = jsonpatch.apply_patch(value, [copy.deepcopy(adding[-1])])
    return adding, removing
