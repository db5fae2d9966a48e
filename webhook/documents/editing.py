"""A document's text, changed only where its values change.

Nothing is written anew that need not be: comments, quotes, indentation and order stay as the author has them, and a
diff shows what was added and nothing else. The result is read again; where it does not say what it should (an
anchor in the way, a layout that nobody foresaw), the document is written anew from its values.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass

from webhook.documents import nodes
from webhook.documents.nodes import Alias, Leaf, Mapping, Node, Pair, Sequence
from webhook.documents.rendering import Layout, as_json, as_yaml, block, flow
from webhook.documents.scalars import Json
from webhook.documents.stream import Document
from webhook.errors import ManifestError

__all__ = ["edited"]

_COMMENT = re.compile(r"(?P<pad>[ ]*)#[^\n]*(?:\n|\Z)")
_COMPACT = re.compile(r'":\S')
_PROLOGUE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")


class _NotInPlace(Exception):  # noqa: N818 — no error: the collection around it is written anew
    """A change that can't be made where it stands."""


def edited(document: Document, wanted: Json) -> str:
    """Return the document's text with the values that are wanted: the same text if they are those it has."""
    if document.root is None or _same(document.value, wanted):
        return document.text
    editor = _Editor(document)
    try:
        text = editor.text(wanted)
    except _NotInPlace:
        text = ""
    if text and _says(document, text, wanted):
        return text
    return _anew(document, wanted)


def _same(one: Json, other: Json) -> bool:
    """Say whether two values are the same JSON: True is not 1 there, 1.0 is."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, int):
        return one == float(other)
    if isinstance(one, int) and isinstance(other, float):
        return float(one) == other
    return one == other


def _says(document: Document, text: str, wanted: Json) -> bool:
    """Say whether a text, read as kubectl reads it, has the values that are wanted."""
    again = Document(document.source, document.number, document.first_line, "", text, document.is_json)
    try:
        return _same(again.value, wanted)
    except ManifestError:
        return False


def _anew(document: Document, wanted: Json) -> str:
    """Return the document written from its values, behind the comments that it begins with."""
    if document.is_json:
        return as_json(wanted)
    prologue = _PROLOGUE.match(document.text)
    return (prologue[0] if prologue else "") + as_yaml(wanted)


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


class _Editor:
    """Walks a document beside the values that are wanted, and collects edits of its text."""

    def __init__(self, document: Document) -> None:
        self.original = document.text
        self.root = document.root
        self.is_json = document.is_json
        self.newline = "\r\n" if "\r\n" in document.text else "\n"
        self.layout = _layout(self.root)
        self.edits: list[_Edit] = []
        #: What an alias's target says once it is edited.
        self.after: dict[Node, Json] = {}

    def text(self, wanted: Json) -> str:
        """Return the edited text."""
        if self.root is None:
            raise _NotInPlace
        self.change(self.root, wanted)
        parts: list[str] = []
        position = 0
        # the sort is stable: of two insertions at one place the inner one was made first
        for edit in sorted(self.edits, key=lambda edit: (edit.start, edit.end)):
            if edit.start < position:
                raise _NotInPlace
            parts += [self.original[position : edit.start], edit.text]
            position = edit.end
        parts.append(self.original[position:])
        return "".join(parts)

    # what changes

    def change(self, node: Node, wanted: Json) -> None:
        """Make a node's text say what is wanted; _NotInPlace where only writing it anew can do that."""
        self.after[node] = wanted
        match node:
            case Mapping() if isinstance(wanted, dict):
                self.change_mapping(node, wanted)
            case Sequence() if isinstance(wanted, list):
                self.change_sequence(node, wanted)
            case _ if not _same(self.now(node), wanted):
                raise _NotInPlace

    def now(self, node: Node) -> Json:
        """Return what a node says, its aliases' targets being edited already: they stand before it."""
        match node:
            case Leaf():
                return node.value
            case Alias():
                return self.after[node.target] if node.target in self.after else self.now(node.target)
            case Sequence():
                return [self.now(item) for item in node.items]
            case Mapping():
                return nodes.merged([(pair, self.now(pair.value)) for pair in node.pairs])

    def change_mapping(self, node: Mapping, wanted: dict[str, Json]) -> None:
        own = {pair.key: pair for pair in node.pairs if not pair.merge}
        present = self.now(Mapping(tuple(pair for pair in node.pairs if pair.merge), -1, 0, 0, 0, 0))
        for pair in node.pairs:
            if pair.merge:
                self.after_of(pair.value)
            elif pair.key in wanted:
                self.change_pair(node, pair, wanted[pair.key])
        inherited = present if isinstance(present, dict) else {}
        if (own.keys() | inherited.keys()) - wanted.keys():
            raise _NotInPlace
        added = {
            key: value
            for key, value in wanted.items()
            if key not in own and not (key in inherited and _same(inherited[key], value))
        }
        if added:
            self.add_pairs(node, added)

    def after_of(self, node: Node) -> None:
        """Note what a node that stays as it is says."""
        self.after[node] = self.now(node)

    def change_pair(self, parent: Mapping, pair: Pair, wanted: Json) -> None:
        """Change a value within, or write it anew behind its key."""
        mark = len(self.edits)
        try:
            if not (_is_empty(pair.value) and wanted):
                return self.change(pair.value, wanted)
        except _NotInPlace:
            del self.edits[mark:]
        self.after[pair.value] = wanted
        return self.replace(parent, pair, wanted)

    def change_sequence(self, node: Sequence, wanted: list[Json]) -> None:
        """Change the items that stay and insert the new ones; one that goes is _NotInPlace."""
        position = 0
        for index, item in enumerate(node.items):
            place = _find(self.now(item), wanted, position)
            self.insert(node, index, wanted[position:place])
            mark = len(self.edits)
            try:
                self.change(item, wanted[place])
            except _NotInPlace:
                del self.edits[mark:]
                self.after[item] = wanted[place]
                self.replace_item(node, item, wanted[place])
            position = place + 1
        self.insert(node, len(node.items), wanted[position:])

    # how the text changes

    def add_pairs(self, node: Mapping, added: dict[str, Json]) -> None:
        if node.column >= 0:
            self.add_lines(self.behind(node.end, node.column), block(added, node.column, self.layout))
            return
        inner = [f"{self.flow_key(key)}{self.flow_value(value, self.lead(node))}" for key, value in added.items()]
        self.add_inside(node, node.pairs[-1].value.end if node.pairs else None, inner)

    def insert(self, node: Sequence, index: int, items: list[Json]) -> None:
        """Insert items before the one at ``index``, or behind the last."""
        if not items:
            return
        if node.column < 0:
            inner = [self.flow_value(item, self.lead(node)) for item in items]
            if index < len(node.items):
                lead = self.lead(node)
                between = f",{self.newline}{lead}" if lead is not None else self.comma()
                start = node.items[index].start
                self.edits.append(_Edit(start, start, "".join(f"{text}{between}" for text in inner)))
            else:
                self.add_inside(node, node.items[-1].end if node.items else None, inner)
            return
        lines = block(items, node.column, self.layout)
        if index < len(node.items):
            self.add_lines(self.before(node, node.items[index]), lines)
        else:
            self.add_lines(self.behind(node.end, node.column + 1), lines)

    def add_inside(self, node: Mapping | Sequence, last: int | None, inner: list[str]) -> None:
        """Put members at the end of a collection in brackets."""
        lead = self.lead(node)
        between = f",{self.newline}{lead}" if lead is not None else self.comma()
        if last is None:
            self.edits.append(_Edit(node.start + 1, node.start + 1, between.join(inner)))
        else:
            self.edits.append(_Edit(last, last, "".join(f"{between}{text}" for text in inner)))

    def replace(self, parent: Mapping, pair: Pair, wanted: Json) -> None:
        """Write a pair's value anew."""
        value = pair.value
        colon = self.original.index(":", pair.end) + 1
        if parent.column < 0:
            self.edits.append(_Edit(value.start, value.end, self.flow_value(wanted, self.lead(parent))))
            return
        first, *lines = block({"": wanted}, parent.column, self.layout)
        behind = first.partition(":")[2]
        if lines and "\n" not in self.original[colon : value.end]:
            # a comment behind the key stays there
            self.edits.append(_Edit(colon, value.end, behind))
            self.add_lines(self.line_end(value.end), lines)
        else:
            self.edits.append(_Edit(colon, value.end, self.newline.join([behind, *lines])))

    def replace_item(self, parent: Sequence, item: Node, wanted: Json) -> None:
        """Write an item anew."""
        if parent.column < 0:
            text = self.flow_value(wanted, self.lead(parent))
        else:
            first, *lines = block([wanted], parent.column, self.layout)
            text = self.newline.join([first.lstrip(" ").removeprefix("- "), *lines])
        self.edits.append(_Edit(item.start, item.end, text))

    def add_lines(self, position: int, lines: list[str]) -> None:
        text = "".join(f"{line}{self.newline}" for line in lines)
        if position == len(self.original) and not self.original.endswith("\n"):
            # the file's last line has no end: neither have ours
            text = self.newline + text.removesuffix(self.newline)
        self.edits.append(_Edit(position, position, text))

    # where in the text

    def line_start(self, position: int) -> int:
        return self.original.rfind("\n", 0, position) + 1

    def line_end(self, position: int) -> int:
        found = self.original.find("\n", position)
        return len(self.original) if found < 0 else found + 1

    def behind(self, end: int, column: int) -> int:
        """Return where lines go behind a collection: below the comments that are indented as its members are."""
        position = self.line_end(end)
        while (match := _COMMENT.match(self.original, position)) and len(match["pad"]) >= column and match[0]:
            position = match.end()
        return position

    def before(self, node: Sequence, item: Node) -> int:
        """Return where lines go before an item: above the comments that stand right above its dash."""
        pad = " " * node.column
        start = self.line_start(item.start)
        while not re.match(rf"{pad}-[ \r\n]", self.original[start : start + node.column + 2] + "\n"):
            if start == 0:
                raise _NotInPlace
            start = self.line_start(start - 1)
        while start and self.original.startswith(f"{pad}#", above := self.line_start(start - 1)):
            start = above
        return start

    # collections in brackets

    def lead(self, node: Mapping | Sequence) -> str | None:
        """Return what stands before each member of a collection with a line for each; None where they share one."""
        children = node.pairs if isinstance(node, Mapping) else node.items
        if not children:
            return None
        start = self.line_start(children[0].start)
        before = self.original[start : children[0].start]
        return None if before.strip() else before

    def comma(self) -> str:
        return "," if self.is_json and _COMPACT.search(self.original) else ", "

    def flow_key(self, key: str) -> str:
        if self.is_json:
            return json.dumps(key, ensure_ascii=False) + self.comma().replace(",", ":")
        return f"{flow(key)}: "

    def flow_value(self, value: Json, lead: str | None) -> str:
        if not self.is_json:
            return flow(value)
        if lead is None:
            comma = self.comma()
            return json.dumps(value, ensure_ascii=False, separators=(comma, comma.replace(",", ":")))
        lines = json.dumps(value, ensure_ascii=False, indent=self.indent()).split("\n")
        return f"{self.newline}{lead}".join(lines)

    def indent(self) -> str:
        """Return what one level of a JSON document is indented by."""
        match = re.match(r"\s*\{\r?\n([ \t]+)", self.original)
        return match[1] if match else "  "


def _is_empty(node: Node) -> bool:
    """Say whether a value is null, or brackets with nothing in them."""
    if isinstance(node, Leaf):
        return node.value is None
    return isinstance(node, Sequence | Mapping) and node.size == 1


def _find(item: Json, wanted: list[Json], start: int) -> int:
    """Return where an item is among those wanted: the same one, or else the one of its name."""
    for place in range(start, len(wanted)):
        if _same(item, wanted[place]):
            return place
    for place in range(start, len(wanted)):
        other = wanted[place]
        if isinstance(item, dict) and isinstance(other, dict) and "name" in item and item["name"] == other.get("name"):
            return place
    raise _NotInPlace


def _layout(root: Node | None) -> Layout:
    """Return how the document itself is indented, as most of it is."""
    steps: Counter[int] = Counter()
    dashes: Counter[int] = Counter()
    waiting: list[Node] = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Sequence):
            waiting += node.items
        elif isinstance(node, Mapping):
            for pair in node.pairs:
                waiting.append(pair.value)
                value = pair.value
                if node.column < 0 or not isinstance(value, Sequence | Mapping) or value.column < 0:
                    continue
                (dashes if isinstance(value, Sequence) else steps)[value.column - node.column] += 1
    step = steps.most_common(1)[0][0] if steps else 2
    return Layout(max(step, 1), dashes.most_common(1)[0][0] if dashes else 0)
