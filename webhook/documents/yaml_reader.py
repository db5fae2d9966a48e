"""One YAML document's text to its tree, with errors in words.

libyaml gives the events and their places: kubectl's reader, go-yaml v2, is a translation of it. What the events mean
is kubectl's reading, not PyYAML's.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from webhook.documents import scalars
from webhook.documents.nodes import (
    MAX_ALIASED,
    MAX_DEPTH,
    Alias,
    Duplicate,
    Leaf,
    Mapping,
    Node,
    Pair,
    Sequence,
    Tree,
    size_of,
)

__all__ = ["UnreadableError", "compose"]

_MERGE_TAG = "tag:yaml.org,2002:merge"
_SURROGATE = re.compile("[\ud800-\udfff]")
_FIRST_DASH = re.compile(r"^[ ]*(?=-(?:\s|$))", re.MULTILINE)
#: kubectl splits a stream at each ``---``, and a directive is refused without the one that it stands before.
_DIRECTIVE = re.compile(r"(?:\s*#[^\n]*\n|\s)*^(?=%[A-Za-z])", re.MULTILINE)
_COLON = re.compile(r"(?:\s|#[^\n]*\n)*:")

_IGNORED = "bad indentation, or --- is missing: kubectl ignores everything from here on"
_ENDED = "behind ... kubectl ignores everything up to the next ---; write --- in its place"
_NO_DIRECTIVES = "a YAML directive, which kubectl refuses; remove the line"
_TAB = "a tab; YAML is indented with spaces"
_INDENTATION = "bad indentation: the line fits neither what is above it nor its parent"
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
#: What libyaml's scanner and parser say; what helps somebody who is no YAML expert; whether the place that counts is
#: the one where it began.
_IN_WORDS = (
    ("found a tab", _TAB, False),
    ("mapping values", "a colon that fits nowhere: check the indentation, or put the value in quotes", False),
    ("could not find expected ':'", "expected `key: value`", True),
    ("expected key", _INDENTATION, False),
    ("expected '-' indicator", _INDENTATION, False),
    ("sequence entries", "a list item that fits nowhere: check the indentation", False),
    ("while scanning a quoted scalar", "a quote that is never closed", True),
    ("expected <document start>", _IGNORED, False),
    ("flow node", "a bracket that is never closed, or a value that YAML can't read", False),
    ("expected node content", "a value that YAML can't read; put it in quotes", False),
    ("expected ',' or", "a bracket that is never closed, or a comma is missing", True),
    ("cannot start any token", "a value can't begin with this character; put it in quotes", False),
    ("Unicode character escape code", "half of a character, or none (a \\u escape)", False),
    (
        "unknown escape character",
        "an escape that YAML doesn't know; write \\\\, or use single quotes",
        False,
    ),
    ("while scanning a block scalar", "behind | or > only + or -, one digit and a comment may follow", False),
    ("undefined tag handle", "a tag that YAML doesn't know; put the value in quotes", False),
    ("while scanning an alias", "* begins an alias; put the value in quotes", True),
    ("while scanning an anchor", "& begins an anchor; put the value in quotes", True),
    ("maximum nesting depth", _TOO_DEEP, False),
)
_INDENTED_WITH_TAB = re.compile(r"\s*\t")
#: What other programs put into files.
_LINES = tuple(
    (re.compile(pattern, re.MULTILINE), meaning)
    for pattern, meaning in (
        (r"^ *[\u00a0\u2002-\u200b\u3000]", "a blank that is no space; YAML is indented with spaces"),
        (r"^(?:<{7} |={7}$|>{7} )", "a merge conflict that was not resolved"),
        (r"^ *```", "a fence of Markdown; remove the line"),
        (r"^\ufeff", "a byte order mark amid the text, from a file that was appended; remove it"),
    )
)
_BEHIND_DOTS = re.compile(r"^\.\.\.(?:\s|[#%][^\n]*\n)*\Z", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{|\{%|<%")


class UnreadableError(Exception):
    """What is wrong in a text, and at which of its characters."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def compose(text: str) -> Tree:
    """Return the tree of the only document in ``text``; UnreadableError for what kubectl can't read or ignores."""
    if half := _SURROGATE.search(text):
        raise UnreadableError("half of a character", half.start())
    if directive := _DIRECTIVE.match(text):
        raise UnreadableError(_NO_DIRECTIVES, directive.end())
    # kubectl's reader ends the last line
    text = text if text.endswith("\n") else f"{text}\n"
    try:
        return _Composer(text).document()
    except ReaderError as error:
        # counted in bytes
        offset = len(text.encode()[: error.position].decode())
        raise UnreadableError(f"the character U+{ord(text[offset]):04X} is not allowed in YAML", offset) from None
    except MarkedYAMLError as error:
        raise _rendered_first(text, _in_words(text, error)) from None
    except UnreadableError as error:
        raise _rendered_first(text, error) from None
    except YAMLError as error:
        raise UnreadableError(str(error).partition("\n")[0], 0) from None


def _in_words(text: str, error: MarkedYAMLError) -> UnreadableError:
    """Return the parser's complaint for people."""
    mark = error.problem_mark or error.context_mark
    offset = mark.index if mark is not None else 0
    if text[offset : offset + 1] == "\t" or _INDENTED_WITH_TAB.match(_line_at(text, offset)):
        return UnreadableError(_TAB, offset)
    # a line that is taken for a text is an error only with the next one
    above = text.rfind("\n", 0, max(text.rfind("\n", 0, offset), 0)) + 1
    for pattern, meaning in _LINES:
        if found := pattern.search(text[above : offset + len(_line_at(text, offset))]):
            return UnreadableError(meaning, above + found.start())
    said = f"{error.context or ''} {error.problem or ''}"
    for words, meaning, where_it_began in _IN_WORDS:
        if words in said:
            if meaning is _INDENTATION and text[text.rfind("\n", 0, offset) + 1 : offset].strip():
                return UnreadableError("text behind a value that has ended; put all of it in quotes", offset)
            if meaning is _IGNORED and _BEHIND_DOTS.search(text[:offset]):
                return UnreadableError(_ENDED, offset)
            began = error.context_mark if where_it_began else None
            return UnreadableError(meaning, offset if began is None else began.index)
    return UnreadableError(said.strip() or "not YAML", offset)


def _rendered_first(text: str, error: UnreadableError) -> UnreadableError:
    """Return the error, or what it comes from where the line is a template's: Helm's are no YAML."""
    if _TEMPLATE.search(_line_at(text, error.offset)):
        said = "a template, not a manifest; render it first: helm template … | pillion …"
        return UnreadableError(said, error.offset)
    return error


def _line_at(text: str, offset: int) -> str:
    return text[text.rfind("\n", 0, offset) + 1 :].partition("\n")[0]


class _Composer:
    """Makes the tree from events; a name is an anchor from where it stands until it is given again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.anchors: dict[str, Node | None] = {}
        self.duplicates: list[Duplicate] = []
        self.aliased = 0

    def document(self) -> Tree:
        """Return the tree; a second document in the text is an error: kubectl would ignore it."""
        root: Node | None = None
        count = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                count += 1
                if count > 1:
                    raise UnreadableError(_IGNORED, _start(event))
                root = _checked(self.node(next(self.events), 0))
        return Tree(root, tuple(self.duplicates), aliases=self.aliased > 0)

    def node(self, event: Any, depth: int) -> Node:
        """Return the node that begins with the event."""
        if depth > MAX_DEPTH:
            raise UnreadableError(_TOO_DEEP, _start(event))
        if isinstance(event, AliasEvent):
            return self.alias(event)
        if event.anchor:
            self.anchors[event.anchor] = None  # until it is complete, an alias to it would be endless
        node: Node
        if isinstance(event, ScalarEvent):
            node = self.leaf(event)
        elif isinstance(event, SequenceStartEvent):
            node = self.sequence(event, depth)
        else:
            node = self.mapping(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any) -> Alias:
        start = _start(event)
        target = self.anchors.get(event.anchor)
        if target is None:
            said = (
                "contains itself"
                if event.anchor in self.anchors
                else "stands for nothing: no anchor of that name above"
            )
            raise UnreadableError(f"*{event.anchor} {said}", start)
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            raise UnreadableError(f"aliases stand for more than {MAX_ALIASED} values", start)
        return Alias(target, start, _end(event), target.size)

    def leaf(self, event: Any) -> Leaf:
        start, end = _start(event), _end(event)
        value: scalars.Scalar = event.value
        try:
            if event.tag and event.tag != "!":
                value = scalars.resolve_tagged(event.tag, event.value)
            elif not event.style and event.tag is None:
                value = scalars.resolve(event.value)
        except ValueError as error:
            raise UnreadableError(str(error), start) from None
        if event.style in ("|", ">"):
            end = _last(self.text, start, end)
        return Leaf(value, start, end)

    def sequence(self, event: Any, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(following := next(self.events), SequenceEndEvent):
            items.append(_checked(self.node(following, depth + 1)))
        start = _start(event)
        if event.flow_style:
            return Sequence(tuple(items), -1, start, _end(following), size_of(items))
        column = event.start_mark.column
        if event.anchor or event.tag:
            dash = _FIRST_DASH.search(self.text, start)
            column = len(dash[0]) if dash else 0
        return Sequence(tuple(items), column, start, items[-1].end, size_of(items))

    def mapping(self, event: Any, depth: int) -> Mapping:
        pairs: list[Pair] = []
        seen: dict[str, int] = {}
        # what begins with ? has its column, not the key's
        column = -1 if event.anchor or event.tag else event.start_mark.column
        while not isinstance(following := next(self.events), MappingEndEvent):
            if column < 0:
                column = following.start_mark.column
            merge = _is_merge(following)
            key = self.node(following, depth + 1)
            name = "<<" if merge else self.key(key, seen)
            value = _checked(self.node(next(self.events), depth + 1))
            if merge:
                _check_merge(value, key.start)
            pairs.append(Pair(name, self.placed(key, value), merge, key.start, key.end))
        start = _start(event)
        size = size_of([pair.value for pair in pairs]) + len(pairs)
        if event.flow_style:
            return Mapping(tuple(pairs), -1, start, _end(following), size)
        return Mapping(tuple(pairs), column, start, pairs[-1].value.end, size)

    def key(self, node: Node, seen: dict[str, int]) -> str:
        """Return the key as JSON has it, and note that it stands there twice."""
        target = node.target if isinstance(node, Alias) else node
        if not isinstance(target, Leaf):
            raise UnreadableError("a key is a list or a mapping; JSON has only strings as keys", node.start)
        try:
            name = scalars.key_text(target.value)
        except ValueError as error:
            raise UnreadableError(str(error), node.start) from None
        if name in seen:
            self.duplicates.append(Duplicate(name, seen[name], node.start))
        seen[name] = node.start
        return name

    def placed(self, key: Node, value: Node) -> Node:
        """Return the value; one that is left out stands behind its key's colon, or behind the key that has none."""
        if isinstance(value, Leaf) and value.start == value.end:
            colon = _COLON.match(self.text, key.end)
            place = colon.end() if colon and colon.end() <= value.start else key.end
            return Leaf(value.value, place, place)
        return value


def _start(event: Any) -> int:
    index: int = event.start_mark.index
    return index


def _end(event: Any) -> int:
    index: int = event.end_mark.index
    return index


def _last(text: str, start: int, end: int) -> int:
    """Return where a block scalar's last line ends: the blank lines behind it are its own only if it keeps them."""
    written = text[start:end]
    keeps = "+" in written.partition("\n")[0].partition("#")[0]
    return start + len(written.removesuffix("\n").removesuffix("\r") if keeps else written.rstrip())


def _checked(node: Node) -> Node:
    """Return the node; only a key may be a scalar that JSON has not."""
    if isinstance(node, Leaf):
        try:
            scalars.in_json(node.value)
        except ValueError as error:
            raise UnreadableError(str(error), node.start) from None
    return node


def _is_merge(event: Any) -> bool:
    """Return whether the key means ``<<``; in quotes it is a key as any other."""
    if not isinstance(event, ScalarEvent) or event.value != "<<":
        return False
    return event.tag == _MERGE_TAG or (not event.style and not event.tag)


def _check_merge(value: Node, offset: int) -> None:
    bases = value.items if isinstance(value, Sequence) else (value,)
    for base in bases:
        if not isinstance(base.target if isinstance(base, Alias) else base, Mapping):
            raise UnreadableError("<< needs a mapping, or a list of mappings", offset)
