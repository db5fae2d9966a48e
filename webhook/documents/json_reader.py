"""JSON text to the same tree that YAML gives, number by number and place by place."""

import re
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # C code of the standard library

from webhook.documents.nodes import MAX_DEPTH, Duplicate, Leaf, Mapping, Node, Pair, Sequence, Tree, size_of

__all__ = ["compose_all"]

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<float>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_WORDS = {"true": True, "false": False, "null": None}
#: Python reads integers of up to 4300 digits; a JSON reader in Go makes floats of long ones and fails beyond 1e308.
_LONGEST_NUMBER = 300


def compose_all(text: str) -> list[Tree]:
    """Return each value of a JSON stream; JSONDecodeError for what is none."""
    composer = _Composer(text)
    found: list[Tree] = []
    position = composer.skip(0)
    while position < len(text):
        root = composer.value(position, 0)
        found.append(Tree(root, tuple(composer.duplicates)))
        composer.duplicates.clear()
        position = composer.skip(root.end)
    return found


class _Composer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.duplicates: list[Duplicate] = []

    def skip(self, position: int) -> int:
        """Return where the next token begins."""
        match = _BLANK.match(self.text, position)
        return match.end() if match else position

    def fail(self, message: str, position: int) -> JSONDecodeError:
        return JSONDecodeError(message, self.text, position)

    def value(self, start: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH} levels", start)
        first = self.text[start : start + 1]
        if first == "{":
            return self.mapping(start, depth)
        if first == "[":
            return self.sequence(start, depth)
        if first == '"':
            value, end = self.string(start)
            return Leaf(value, start, end)
        for word, constant in _WORDS.items():
            if self.text.startswith(word, start):
                return Leaf(constant, start, start + len(word))
        return self.number(start)

    def string(self, start: int) -> tuple[str, int]:
        """Return the string and its end; half a surrogate pair becomes U+FFFD, as in Go."""
        value, end = scanstring(self.text, start + 1, True)
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), end

    def number(self, start: int) -> Leaf:
        match = _NUMBER.match(self.text, start)
        if match is None:
            raise self.fail("expected a value", start)
        if len(match[0]) > _LONGEST_NUMBER:
            raise self.fail("a number too long", start)
        value = float(match[0]) if match["float"] else int(match[0])
        if value in (float("inf"), float("-inf")):
            raise self.fail("a number too big", start)
        return Leaf(value, start, match.end())

    def sequence(self, start: int, depth: int) -> Sequence:
        items: list[Node] = []
        position = self.skip(start + 1)
        while self.text[position : position + 1] != "]":
            items.append(self.value(position, depth + 1))
            position = self.separated(items[-1].end, "]")
        return Sequence(tuple(items), -1, start, position + 1, size_of(items))

    def mapping(self, start: int, depth: int) -> Mapping:
        pairs: list[Pair] = []
        seen: dict[str, int] = {}
        position = self.skip(start + 1)
        while self.text[position : position + 1] != "}":
            if self.text[position : position + 1] != '"':
                raise self.fail("expected a key in double quotes", position)
            key, end = self.string(position)
            if key in seen:
                self.duplicates.append(Duplicate(key, seen[key], position))
            seen[key] = position
            colon = self.skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self.fail("expected a colon", colon)
            value = self.value(self.skip(colon + 1), depth + 1)
            pairs.append(Pair(key, value, False, position, end))
            position = self.separated(value.end, "}")
        size = size_of(pair.value for pair in pairs) + len(pairs)
        return Mapping(tuple(pairs), -1, start, position + 1, size)

    def separated(self, end: int, closing: str) -> int:
        """Return where the next member or the end is."""
        position = self.skip(end)
        found = self.text[position : position + 1]
        if found == closing:
            return position
        if found != ",":
            raise self.fail(f"expected a comma or {closing}", position)
        position = self.skip(position + 1)
        if self.text[position : position + 1] == closing:
            raise self.fail("a comma before the end", position)
        return position
