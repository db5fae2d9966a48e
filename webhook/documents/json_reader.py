"""JSON text to the same tree that YAML gives, number by number and place by place."""

import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # C code of the standard library

from webhook.documents.nodes import MAX_DEPTH, Leaf, Mapping, Node, Pair, Sequence
from webhook.injection.reasons import shown

__all__ = ["compose_all"]

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<float>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_WORDS = {"true": True, "false": False, "null": None}
#: Python reads integers of up to 4300 digits; a JSON reader in Go makes floats of long ones and fails beyond 1e308.
_LONGEST_NUMBER = 300


def compose_all(text: str) -> list[tuple[Node, int]]:
    """Return each value of a JSON stream and where it ends; JSONDecodeError for what is none."""
    composer = _Composer(text)
    found: list[tuple[Node, int]] = []
    position = composer.skip(0)
    while position < len(text):
        node = composer.value(position, 0)
        found.append((node, node.end))
        position = composer.skip(node.end)
    return found


class _Composer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def line(self, position: int) -> int:
        return bisect_right(self.breaks, position - 1)

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
            return Leaf(value, start, end, self.line(start))
        for word, constant in _WORDS.items():
            if self.text.startswith(word, start):
                return Leaf(constant, start, start + len(word), self.line(start))
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
        return Leaf(value, start, match.end(), self.line(start))

    def sequence(self, start: int, depth: int) -> Sequence:
        items: list[Node] = []
        position = self.skip(start + 1)
        while self.text[position : position + 1] != "]":
            items.append(self.value(position, depth + 1))
            position = self.separated(items[-1].end, "]")
        return Sequence(tuple(items), -1, start, position + 1, self.line(start), 1 + sum(item.size for item in items))

    def mapping(self, start: int, depth: int) -> Mapping:
        pairs: dict[str, Pair] = {}
        position = self.skip(start + 1)
        while self.text[position : position + 1] != "}":
            if self.text[position : position + 1] != '"':
                raise self.fail("expected a key in double quotes", position)
            key, end = self.string(position)
            if key in pairs:
                raise self.fail(f"duplicate key {shown(key)}", position)
            colon = self.skip(end)
            if self.text[colon : colon + 1] != ":":
                raise self.fail("expected a colon", colon)
            value = self.value(self.skip(colon + 1), depth + 1)
            pairs[key] = Pair(key, value, False, position, end, self.line(position))
            position = self.separated(value.end, "}")
        size = 1 + sum(1 + pair.value.size for pair in pairs.values())
        return Mapping(tuple(pairs.values()), -1, start, position + 1, self.line(start), size)

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
