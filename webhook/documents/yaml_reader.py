"""One YAML document's text to its tree, with errors in words.

ruamel.yaml gives the events and their places; what they mean is kubectl's reading, not ruamel's.
"""

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

from webhook.documents import scalars
from webhook.documents.nodes import MAX_ALIASED, MAX_DEPTH, Alias, Leaf, Mapping, Node, Pair, Sequence
from webhook.injection.reasons import shown

__all__ = ["UnreadableError", "compose"]

_MERGE_TAG = "tag:yaml.org,2002:merge"
_LINE_ENDS = "\r\n\x85\u2028\u2029"
_SURROGATE = re.compile("[\ud800-\udfff]")
_FIRST_DASH = re.compile(r"^[ ]*(?=-(?:\s|$))", re.MULTILINE)

_IGNORED = "bad indentation, or --- is missing: kubectl ignores everything from here on"
#: What ruamel's scanner and parser say; what helps somebody who is no YAML expert; whether the line that counts is
#: the one where it began.
_IN_WORDS = (
    ("'\\t'", "a tab; YAML is indented with spaces", False),
    ("mapping values", "a colon that fits nowhere: check the indentation, or put the value in quotes", False),
    ("could not find expected ':'", "expected `key: value`", True),
    ("expected <block end>", "bad indentation: the line fits neither what is above it nor its parent", False),
    ("sequence entries", "a list item that fits nowhere: check the indentation", False),
    ("while scanning a quoted scalar", "a quote that is never closed", True),
    ("expected '<document start>'", _IGNORED, False),
    ("expected the node content", "a value that YAML can't read; put it in quotes", False),
    ("expected ',' or", "a bracket that is never closed, or a comma is missing", True),
    ("cannot start any token", "a value can't begin with this character; put it in quotes", False),
)


class UnreadableError(Exception):
    """What is wrong in a text, and on which of its lines (from 0).

    ``first`` is the line of what came first, where it is wrong that there is a second.
    """

    def __init__(self, message: str, line: int, first: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.first = first


def compose(text: str) -> Node | None:
    """Return the tree of the only document in ``text``, None if there is none; UnreadableError otherwise."""
    reader = YAML(typ="safe", pure=True)
    reader.Scanner = _Scanner
    reader.version = (1, 1)  # the scanner's rules are those of kubectl's
    # kubectl's reader ends the last line
    text = text if text.endswith("\n") else f"{text}\n"
    try:
        return _Composer(text, reader.parse(text)).document()
    except ReaderError as error:
        found = text[error.position]
        line = text.count("\n", 0, error.position)
        raise UnreadableError(f"the character U+{ord(found):04X} is not allowed in YAML", line) from None
    except MarkedYAMLError as error:
        raise _rendered_first(text, _in_words(text, error)) from None
    except UnreadableError as error:
        raise _rendered_first(text, error) from None
    except YAMLError as error:
        raise UnreadableError(str(error).partition("\n")[0], 0) from None


def _in_words(text: str, error: MarkedYAMLError) -> UnreadableError:
    """Return the parser's complaint for people."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else 0
    here = _text_of(text, line)
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return UnreadableError("a tab; YAML is indented with spaces", line)
    said = f"{error.context or ''} {error.problem or ''}"
    for words, meaning, where_it_began in _IN_WORDS:
        if words in said:
            began = error.context_mark.line if where_it_began and error.context_mark is not None else line
            return UnreadableError(meaning, began)
    return UnreadableError(said.strip() or "not YAML", line)


def _rendered_first(text: str, error: UnreadableError) -> UnreadableError:
    """Return the error, or what it comes from where the line is a template's: Helm's are no YAML."""
    if "{{" in _text_of(text, error.line):
        return UnreadableError("a template, not a manifest; render it first: helm template … | pillion …", error.line)
    return error


def _text_of(text: str, line: int) -> str:
    lines = text.split("\n")
    return lines[line] if line < len(lines) else ""


class _Scanner(Scanner):
    """ruamel's scanner, with tabs where go-yaml allows them: behind a colon, in and behind a plain scalar."""

    def scan_to_next_token(self) -> None:
        """Skip blanks and comments."""
        super().scan_to_next_token()
        while self.reader.peek() == "\t" and not self.allow_simple_key:
            self.reader.forward()
            super().scan_to_next_token()

    def scan_plain_spaces(self, indent: Any, start_mark: Any) -> Any:
        """Return what stands between two words of a plain scalar."""
        length = 0
        while self.reader.peek(length) in (" ", "\t"):
            length += 1
        blanks = self.reader.prefix(length)
        if "\t" not in blanks:
            return super().scan_plain_spaces(indent, start_mark)
        self.reader.forward(length)
        if self.reader.peek() in _LINE_ENDS:
            return super().scan_plain_spaces(indent, start_mark)
        return [blanks]


class _Composer:
    """Makes the tree from events; a name is an anchor from where it stands until it is given again."""

    def __init__(self, text: str, stream: Iterator[Any]) -> None:
        self.text = text
        self.stream = stream
        self.anchors: dict[str, Node | None] = {}
        self.aliased = 0

    def document(self) -> Node | None:
        """Return the tree; a second document in the text is an error: kubectl would ignore it."""
        root: Node | None = None
        count = 0
        for event in self.stream:
            if isinstance(event, events.DocumentStartEvent):
                count += 1
                if count > 1:
                    raise UnreadableError(_IGNORED, _line(event))
                root = _checked(self.node(next(self.stream), 0))
        return root

    def node(self, event: Any, depth: int) -> Node:
        """Return the node that begins with the event."""
        if depth > MAX_DEPTH:
            raise UnreadableError(f"nested deeper than {MAX_DEPTH} levels", _line(event))
        if isinstance(event, events.AliasEvent):
            return self.alias(event)
        if event.anchor:
            self.anchors[event.anchor] = None  # until it is complete, an alias to it would be endless
        node: Node
        if isinstance(event, events.ScalarEvent):
            node = self.leaf(event)
        elif isinstance(event, events.SequenceStartEvent):
            node = self.sequence(event, depth)
        else:
            node = self.mapping(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any) -> Alias:
        target = self.anchors.get(event.anchor)
        if target is None:
            said = (
                "contains itself"
                if event.anchor in self.anchors
                else "stands for nothing: no anchor of that name above"
            )
            raise UnreadableError(f"*{event.anchor} {said}", _line(event))
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            raise UnreadableError(f"aliases stand for more than {MAX_ALIASED} values", _line(event))
        return Alias(target, event.start_mark.index, event.end_mark.index, _line(event), target.size)

    def leaf(self, event: Any) -> Leaf:
        start, end = event.start_mark.index, event.end_mark.index
        try:
            if event.tag and event.tag != "!":
                value = scalars.resolve_tagged(event.tag, event.value)
            elif event.style is None and event.tag is None:
                value = scalars.resolve(event.value)
            else:
                value = event.value
        except ValueError as error:
            raise UnreadableError(str(error), _line(event)) from None
        if isinstance(value, str) and _SURROGATE.search(value):
            raise UnreadableError("half of a character (a \\u escape between d800 and dfff)", _line(event))
        if event.style in ("|", ">"):
            end = _last(self.text, start, end)
        return Leaf(value, start, end, _line(event))

    def sequence(self, event: Any, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(following := next(self.stream), events.SequenceEndEvent):
            items.append(_checked(self.node(following, depth + 1)))
        start = event.start_mark.index
        if event.flow_style:
            return Sequence(tuple(items), -1, start, following.end_mark.index, _line(event), _size(items))
        column = event.start_mark.column
        if event.anchor or event.tag:
            dash = _FIRST_DASH.search(self.text, start)
            column = len(dash[0]) if dash else 0
        return Sequence(tuple(items), column, start, self.end(items[-1]), _line(event), _size(items))

    def mapping(self, event: Any, depth: int) -> Mapping:
        pairs: list[Pair] = []
        seen: dict[str, int] = {}
        columns: list[int] = []
        while not isinstance(following := next(self.stream), events.MappingEndEvent):
            columns.append(following.start_mark.column)
            merge = _is_merge(following)
            key = self.node(following, depth + 1)
            name = "<<" if merge else self.key(key, seen)
            value = _checked(self.node(next(self.stream), depth + 1))
            if merge:
                _check_merge(value, key.line)
            pairs.append(Pair(name, self.placed(key, value), merge, key.start, key.end, key.line))
        start = event.start_mark.index
        size = _size([pair.value for pair in pairs]) + len(pairs)
        if event.flow_style:
            return Mapping(tuple(pairs), -1, start, following.end_mark.index, _line(event), size)
        return Mapping(tuple(pairs), columns[0], start, self.end(pairs[-1].value), _line(event), size)

    def key(self, node: Node, seen: dict[str, int]) -> str:
        """Return the key as JSON has it; a second one of the name is an error."""
        target = node.target if isinstance(node, Alias) else node
        if not isinstance(target, Leaf):
            raise UnreadableError("a key is a list or a mapping; JSON has only strings as keys", node.line)
        try:
            name = scalars.key_text(target.value)
        except ValueError as error:
            raise UnreadableError(str(error), node.line) from None
        if name in seen:
            raise UnreadableError(f"duplicate key {shown(name)}", node.line, seen[name])
        seen[name] = node.line
        return name

    def placed(self, key: Node, value: Node) -> Node:
        """Return the value; one that is left out stands behind its key's colon, not before the next token."""
        if isinstance(value, Leaf) and value.start == value.end:
            colon = self.text.find(":", key.end) + 1
            return Leaf(value.value, colon, colon, key.line)
        return value

    def end(self, last: Node) -> int:
        """Return where a block collection ends: with its last child, whose mark may be the next token's."""
        if isinstance(last, Leaf) and last.start == last.end:
            return len(self.text[: last.end].rstrip())
        return last.end


def _last(text: str, start: int, end: int) -> int:
    """Return where a block scalar's last line ends: the blank lines behind it are its own only if it keeps them."""
    written = text[start:end]
    keeps = "+" in written.partition("\n")[0].partition("#")[0]
    return start + len(written.removesuffix("\n") if keeps else written.rstrip())


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line


def _checked(node: Node) -> Node:
    """Return the node; only a key may be a scalar that JSON has not."""
    if isinstance(node, Leaf):
        try:
            scalars.in_json(node.value)
        except ValueError as error:
            raise UnreadableError(str(error), node.line) from None
    return node


def _size(nodes: list[Node]) -> int:
    return 1 + sum(node.size for node in nodes)


def _is_merge(event: Any) -> bool:
    """Say whether the key means ``<<``; in quotes it is a key as any other."""
    if not isinstance(event, events.ScalarEvent) or event.value != "<<":
        return False
    return event.tag == _MERGE_TAG or (event.style is None and not event.tag)


def _check_merge(value: Node, line: int) -> None:
    bases = value.items if isinstance(value, Sequence) else (value,)
    for base in bases:
        if not isinstance(base.target if isinstance(base, Alias) else base, Mapping):
            raise UnreadableError("<< needs a mapping, or a list of mappings", line)
