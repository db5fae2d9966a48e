"""A changed tree to edits of the document's text."""

import json
import re
from collections import Counter
from collections.abc import Collection
from functools import cached_property
from typing import NamedTuple

from webhook.documents.changes import Change, Entry, Members
from webhook.documents.nodes import Mapping, Node, Pair, Sequence
from webhook.documents.rendering import Layout, block, flow
from webhook.documents.scalars import Json
from webhook.documents.stream import Document

__all__ = ["NotInPlaceError", "prologue", "written"]

_COMMENT = re.compile(r"(?P<pad>[ ]*)#[^\n]*(?:\n|\Z)")
_COMPACT = re.compile(r'":\S')
_PROLOGUE = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r?\n|\r))*")
_COLON = re.compile(r"(?:\s|#[^\n]*\n)*:")
_ANCHOR = re.compile(r"(?:!\S*\s+)?(?P<anchor>&\S+)")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s*)*")
_BLANKS = re.compile(r"\s*")


class NotInPlaceError(Exception):
    """A change that can't be made where it stands; ``owner`` is the collection that must be written anew."""

    def __init__(self, owner: Entry) -> None:
        super().__init__()
        self.owner = owner


def written(document: Document, change: Change, only: Collection[Members] | None = None) -> str | None:
    """Return the text with the changes, or only those of some collections; None where edits overlap."""
    writer = _Writer(document, only)
    if document.root is not None:
        writer.entry(change.root)
    return writer.text()


def prologue(text: str) -> str:
    """Return the comments and blank lines with which a text begins."""
    match = _PROLOGUE.match(text)
    return match[0] if match else ""


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


class _Writer:
    """Collects edits: of two insertions at one place the inner one is made first."""

    def __init__(self, document: Document, only: Collection[Members] | None) -> None:
        #: A last line without end gets one, which the result has not.
        self.missing_end = "" if document.text.endswith("\n") else _line_end(document.text)
        self.original = document.text + self.missing_end
        self.root = document.root
        self.is_json = document.is_json
        self.only = only
        self.edits: list[_Edit] = []

    def text(self) -> str | None:
        """Return the edited text, None where edits overlap."""
        parts: list[str] = []
        position = 0
        # the sort is stable
        for edit in sorted(self.edits, key=lambda edit: edit[:2]):
            if edit.start < position:
                return None
            parts += [self.original[position : edit.start], edit.text]
            position = edit.end
        parts.append(self.original[position:])
        return "".join(parts).removesuffix(self.missing_end)

    def edit(self, start: int, end: int, text: str) -> None:
        self.edits.append(_Edit(start, end, text))

    # the tree

    def entry(self, entry: Entry) -> None:
        """Make the edits of what is below an entry that stays."""
        members = entry.members
        if members is None:
            return
        if self.only is None or members in self.only:
            if not members.entries:
                self.write(entry, members.current())
            elif not members.live:
                self.empty(members)
            elif members.node.column < 0:
                self.change_flow(members)
            else:
                self.change_block(members)
            return
        for member in members.live:
            self.entry(member)

    def change_block(self, members: Members) -> None:
        """Make the edits of a collection that has a line or more for each member."""
        self.remove_lines(members)
        added: list[Entry] = []
        for member in members.live:
            if member.node is None:
                added.append(member)
                continue
            if added:
                self.add_lines(self.above(members, member), self.block(members, added))
                added = []
            self.member(member)
        if added:
            column = members.node.column + isinstance(members.node, Sequence)
            self.add_lines(self.below(members.node.end, column), self.block(members, added))

    def change_flow(self, members: Members) -> None:
        """Make the edits of a collection in brackets, of which something stays or comes."""
        node = members.node
        starts, ends = _places(node)
        lead = self.lead(starts[0])
        between = f",{self.newline(starts[0])}{lead}" if lead is not None else self.comma
        kept = [index for index, entry in enumerate(members.entries) if not entry.is_removed]
        if not kept:
            self.edit(starts[0], ends[-1], between.join(self.flow_member(node, each, lead) for each in members.live))
            return
        for index, entry in enumerate(members.entries):
            if entry.is_removed and index < kept[-1]:
                self.edit(starts[index], starts[index + 1], "")
        if kept[-1] < len(ends) - 1:
            self.edit(ends[kept[-1]], ends[-1], "")
        place = iter(kept)
        added: list[str] = []
        for member in members.live:
            if member.node is None:
                added.append(self.flow_member(node, member, lead))
                continue
            index = next(place)
            if added:
                self.edit(starts[index], starts[index], "".join(f"{text}{between}" for text in added))
                added = []
            self.member(member)
        if added:
            self.edit(ends[-1], ends[-1], "".join(f"{between}{text}" for text in added))

    def member(self, member: Entry) -> None:
        """Make the edits of a member that stays, itself written anew or not."""
        if member.is_written:
            self.write(member, member.value)
        else:
            self.entry(member)

    # what goes

    def empty(self, members: Members) -> None:
        """Leave brackets where all members go."""
        node = members.node
        brackets = "{}" if isinstance(node, Mapping) else "[]"
        pair = members.owner.pair
        if node.column < 0:
            self.clear(node)
        elif pair is not None:
            header = self.header(members.owner, pair)
            self.edit(header, header, f" {brackets}")
            self.remove_lines(members)
        else:
            self.edit(self.bracket(node), node.end, brackets)

    def clear(self, node: Mapping | Sequence) -> None:
        """Take all members out of brackets."""
        brackets = "{}" if isinstance(node, Mapping) else "[]"
        starts, ends = _places(node)
        opening = self.bracket(node)
        before = self.original[opening + 1 : starts[0]]
        behind = self.original[ends[-1] : node.end - 1]
        if "\n" in before and not (before + behind.replace(",", "")).strip():
            self.edit(opening, node.end, brackets)
        else:
            self.edit(starts[0], node.end - 1 if behind.strip() == "," else ends[-1], "")

    def remove_lines(self, members: Members) -> None:
        """Remove the lines of the members that go."""
        node = members.node
        starts, ends = _places(node)
        moved_up = -1
        stays = max((index for index, entry in enumerate(members.entries) if not entry.is_removed), default=-1)
        for index, entry in enumerate(members.entries):
            if not entry.is_removed:
                continue
            start = starts[index] if isinstance(node, Mapping) else self.dash(members, entry)
            line = self.line_start(start)
            stop = self.line_end(ends[index])
            if start == moved_up or self.original[line:start].strip(" \t?"):
                # the line begins with the dash of the collection itself: what follows moves up to it
                if stays < index:
                    raise NotInPlaceError(members.owner)
                moved_up = self.content(stop)
                self.edit(start, moved_up, "")
            else:
                self.edit(line, stop, "")

    # what is written anew

    def write(self, entry: Entry, value: Json) -> None:
        """Write a value anew where the text has one."""
        node, parent = entry.node, entry.parent
        if node is None:
            raise NotInPlaceError(entry)
        if _is_empty(node) and value and isinstance(value, _type(node)) and not self.is_canonical(entry, node):
            self.fill(node, value)
        elif parent is None:
            raise NotInPlaceError(entry)
        elif isinstance(node, Mapping | Sequence) and node.column < 0 and node.size > 1 and value == _type(node)():
            self.clear(node)
        elif parent.node.column < 0:
            self.write_in_flow(parent, entry, node, value)
        elif entry.pair is not None:
            self.write_pair(entry, entry.pair, node, value)
        else:
            self.write_item(parent, node, value)

    def is_canonical(self, entry: Entry, node: Node) -> bool:
        """Return whether empty brackets are written as they would be again once all that is added goes."""
        if entry.parent is None:
            return False
        brackets = "{}" if isinstance(node, Mapping) else "[]"
        if entry.parent.node.column < 0:
            return self.is_json and self.original[node.start : node.end] == brackets
        return entry.pair is not None and self.original[entry.pair.end : node.end] == f": {brackets}"

    def fill(self, node: Node, value: Json) -> None:
        """Write members between empty brackets."""
        start = self.bracket(node) + 1
        texts: list[str] = []
        if isinstance(value, dict):
            texts = [f"{self.flow_key(key)}{self.flow_value(item, None, start)}" for key, item in value.items()]
        elif isinstance(value, list):
            texts = [self.flow_value(item, None, start) for item in value]
        self.edit(start, start, self.comma.join(texts))

    def write_in_flow(self, parent: Members, entry: Entry, node: Node, value: Json) -> None:
        pair = entry.pair
        lead = self.lead(_places(parent.node)[0][0])
        written = entry.null_word if value is None else ""
        if value is None and not written and pair is not None and not self.is_json:
            self.edit(self.colon(entry, pair), node.end, f" {self.anchor(node)}".rstrip())
            return
        text = self.anchor(node) + (written or self.flow_value(value, lead, node.start))
        if pair is not None and node.start == node.end:
            colon = "" if self.original[pair.end : node.end].endswith(":") else ":"
            text = f"{colon} {text}"
        self.edit(node.start, node.end, text)

    def write_pair(self, entry: Entry, pair: Pair, node: Node, value: Json) -> None:
        """Write a value behind its key and below it."""
        colon = self.colon(entry, pair)
        anchor = f" {self.anchor(node)}".rstrip()
        column = entry.parent.node.column if entry.parent else 0
        first, *lines = block({"": value}, column, self.layout)
        behind = first.partition(":")[2] if value is not None else f" {entry.null_word}".rstrip()
        if isinstance(node, Mapping | Sequence) and node.column >= 0:
            header = self.header(entry, pair)
            self.edit(header, header, behind)
            below = self.line_end(header)
            self.edit(below, self.line_end(node.end), self.lines(below, lines))
        elif lines and "\n" not in self.original[colon : node.end]:
            # a comment behind the key stays there
            self.edit(colon, node.end, anchor + behind)
            self.add_lines(self.line_end(node.end), lines)
        elif lines or node.start == node.end or not behind:
            self.edit(colon, node.end, self.newline(colon).join([anchor + behind, *lines]))
        else:
            self.edit(node.start, node.end, (anchor + behind).removeprefix(" "))

    def write_item(self, parent: Members, node: Node, value: Json) -> None:
        first, *lines = block([value], parent.node.column, self.layout)
        first = first.lstrip(" ").removeprefix("- ")
        anchor = self.anchor(node)
        if anchor and isinstance(value, dict | list) and value:
            # an anchor before a mapping's first key would be the key's
            first = f"{self.newline(node.start)}{' ' * (parent.node.column + 2)}{first}"
            anchor = anchor.rstrip()
        behind_dash = self.original.rindex("-", 0, node.start) + 1
        start = node.start if self.original[behind_dash : node.start].strip(" ") else behind_dash
        blank = " " if start == behind_dash else ""
        self.edit(start, node.end, self.newline(start).join([f"{blank}{anchor}{first}", *lines]))

    # texts

    def block(self, members: Members, added: list[Entry]) -> list[str]:
        """Return the lines of added members."""
        values: Json = [entry.value for entry in added]
        if isinstance(members.node, Mapping):
            values = {entry.key: entry.value for entry in added}
        return block(values, members.node.column, self.layout)

    def flow_member(self, node: Mapping | Sequence, member: Entry, lead: str | None) -> str:
        key = self.flow_key(member.key) if isinstance(node, Mapping) else ""
        return key + self.flow_value(member.value, lead, node.start)

    def flow_key(self, key: str) -> str:
        if self.is_json:
            return json.dumps(key, ensure_ascii=False) + self.comma.replace(",", ":")
        return f"{flow(key)}: "

    def flow_value(self, value: Json, lead: str | None, position: int) -> str:
        if not self.is_json:
            return flow(value)
        if lead is None:
            separators = (self.comma, self.comma.replace(",", ":"))
            return json.dumps(value, ensure_ascii=False, separators=separators)
        lines = json.dumps(value, ensure_ascii=False, indent=self.indent).split("\n")
        return f"{self.newline(position)}{lead}".join(lines)

    def add_lines(self, position: int, lines: list[str]) -> None:
        """Insert lines where one begins, or before a dash."""
        before = position - self.line_start(position)
        text = self.lines(position, lines)
        self.edit(position, position, text.lstrip(" ") + " " * before if before else text)

    def lines(self, position: int, lines: list[str]) -> str:
        newline = self.newline(position)
        return "".join(f"{line}{newline}" for line in lines)

    # places in the text

    def colon(self, entry: Entry, pair: Pair) -> int:
        """Return where a key's colon ends."""
        match = _COLON.match(self.original, pair.end)
        if match is None:
            raise NotInPlaceError(entry.parent.owner if entry.parent else entry)
        return match.end()

    def anchor(self, node: Node) -> str:
        """Return a value's anchor, which aliases need, and a space; empty where it has none."""
        match = _ANCHOR.match(self.original, node.start, node.end)
        return f"{match['anchor']} " if match else ""

    def bracket(self, node: Node) -> int:
        """Return where a collection's bracket is, behind its anchor and tag."""
        match = _PROPERTIES.match(self.original, node.start)
        return match.end() if match else node.start

    def header(self, entry: Entry, pair: Pair) -> int:
        """Return where the line of a key above a collection has its end: behind the colon, or anchor and tag."""
        colon = self.colon(entry, pair)
        start = entry.node.start if entry.node is not None else colon
        match = _PROPERTIES.match(self.original, start)
        end = start + len(match[0].rstrip()) if match else start
        return colon if "\n" in self.original[colon:end] else end

    def line_start(self, position: int) -> int:
        return self.original.rfind("\n", 0, position) + 1

    def line_end(self, position: int) -> int:
        found = self.original.find("\n", position)
        return len(self.original) if found < 0 else found + 1

    def content(self, position: int) -> int:
        match = _BLANKS.match(self.original, position)
        return match.end() if match else position

    def newline(self, position: int) -> str:
        """Return how the line before a place ends, or the one behind it if that is the first."""
        return _line_end(self.original, position)

    def below(self, end: int, column: int) -> int:
        """Return where lines go below a collection: below the comments that are indented as its members are."""
        position = self.line_end(end)
        while (match := _COMMENT.match(self.original, position)) and len(match["pad"]) >= column and match[0]:
            position = match.end()
        return position

    def above(self, members: Members, member: Entry) -> int:
        """Return where lines go before a member: above the comments that stand right above its dash."""
        dash = self.dash(members, member)
        start = self.line_start(dash)
        pad = " " * members.node.column
        if self.original[start:dash] != pad:
            return dash
        while start and self.original.startswith(f"{pad}#", above := self.line_start(start - 1)):
            start = above
        return start

    def dash(self, members: Members, member: Entry) -> int:
        """Return where an item's dash is."""
        start = member.node.start if member.node is not None else 0
        line = self.line_start(start)
        while True:
            dash = line + members.node.column
            if dash < start and self.original[dash] == "-" and not self.original[line:dash].strip("- \t?"):
                return dash
            if line == 0:
                raise NotInPlaceError(members.owner)
            line = self.line_start(line - 1)

    # how the document is laid out

    @cached_property
    def comma(self) -> str:
        return "," if self.is_json and _COMPACT.search(self.original) else ", "

    @cached_property
    def indent(self) -> str:
        """Return what one level of a JSON document is indented by."""
        match = re.match(r"\s*\{\r?\n([ \t]+)", self.original)
        return match[1] if match else "  "

    def lead(self, start: int) -> str | None:
        """Return what stands before a member with a line of its own; None where something else does."""
        position = start
        while position and self.original[position - 1] in " \t":
            position -= 1
        return self.original[position:start] if not position or self.original[position - 1] == "\n" else None

    @cached_property
    def layout(self) -> Layout:
        """Return how the document itself is indented, as most of it is."""
        steps: Counter[int] = Counter()
        dashes: Counter[int] = Counter()
        waiting: list[Node] = [] if self.root is None else [self.root]
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


def _line_end(text: str, position: int | None = None) -> str:
    """Return how the line before a place ends, at last the text's; the one behind it if that is the first."""
    found = text.rfind("\n", 0, position)
    if found < 0 and position is not None:
        found = text.find("\n", position)
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"


def _places(node: Mapping | Sequence) -> tuple[list[int], list[int]]:
    """Return where the members of a collection begin and end."""
    if isinstance(node, Mapping):
        return [pair.start for pair in node.pairs], [max(pair.end, pair.value.end) for pair in node.pairs]
    return [item.start for item in node.items], [item.end for item in node.items]


def _type(node: Node) -> type:
    return dict if isinstance(node, Mapping) else list


def _is_empty(node: Node) -> bool:
    """Return whether a value is brackets with nothing in them."""
    return isinstance(node, Sequence | Mapping) and node.size == 1
