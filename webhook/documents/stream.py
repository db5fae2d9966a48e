"""A stream's bytes to its documents, split where kubectl splits it."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from json import JSONDecodeError
from typing import NamedTuple

from webhook.documents import json_reader, yaml_reader
from webhook.documents.nodes import Alias, Leaf, Node, Tree, plain
from webhook.documents.positions import Position, descend
from webhook.documents.scalars import Json
from webhook.errors import ManifestError
from webhook.injection.reasons import quote_untrusted

__all__ = ["BYTE_ORDER_MARK", "Document", "DocumentWarning", "position_of", "read", "written_at"]

BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile("\n")
_SEPARATOR = re.compile(r"^---(?P<rest>[^\n]*)(?:\n|\Z)", re.MULTILINE)
# in YAML a CR alone ends a comment, too
_BLANK = re.compile(r"\s*(?:#[^\r\n]*(?:[\r\n]\s*|\Z))*")
_KIND = re.compile(r"""^kind:[ \t]*["']?(?P<kind>[A-Za-z0-9]+)["']?[ \t]*(?:#[^\n]*)?\r?$""", re.MULTILINE)
#: What is no UTF-8 by its first bytes, and what to do.
_ENCODINGS = (
    (b"\xff\xfe", "this is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "this is UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "this is a gzip file; unpack it"),
)


class DocumentWarning(NamedTuple):
    """What a document's author should know, and where."""

    position: Position
    message: str


@dataclass(frozen=True)
class Document:
    """One document of a file.

    ``separator + text`` is exactly what stands in the file; a byte order mark belongs to the separator. ``number``
    counts the documents that hold something, from 1; ``start`` is the place in the file where ``text`` begins. The
    text is read when it is asked for: a stream may hold megabytes of other kinds.
    """

    source: str
    number: int
    start: Position
    separator: str
    text: str
    is_json: bool = False

    @property
    def first_line(self) -> int:
        """Return the file's line, from 1, on which the text begins."""
        return self.start.line

    @property
    def is_blank(self) -> bool:
        """Return whether there is nothing but blanks and comments."""
        return _BLANK.fullmatch(self.text) is not None

    @property
    def first_content(self) -> int:
        """Return the offset of the text's first character that is neither blank nor part of a comment."""
        match = _BLANK.match(self.text)
        return match.end() if match else 0

    @cached_property
    def tree(self) -> Tree:
        """Return the tree, without root for a blank document; ManifestError for what kubectl can't read as a whole."""
        try:
            if self.is_json:
                return json_reader.compose_all(self.text)[0]
            return Tree(None) if self.is_blank else yaml_reader.compose(self.text)
        except JSONDecodeError as error:
            raise self.error(error.msg, error.pos) from None
        except yaml_reader.UnreadableError as error:
            raise self.error(error.message, error.offset) from None

    @property
    def root(self) -> Node | None:
        """Return the tree's root; None for a blank document."""
        return self.tree.root

    @property
    def warnings(self) -> list[DocumentWarning]:
        """Return what kubectl reads, but what its author can't mean: keys that stand there twice."""
        return [
            DocumentWarning(
                self.position(found.second),
                f"duplicate key {quote_untrusted(found.key)}: the last one counts; the one before is at "
                f"{self.position(found.first)}",
            )
            for found in self.tree.duplicates
        ]

    @cached_property
    def line_starts(self) -> list[int]:
        """Return where in the text each of its lines begins."""
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def position(self, offset: int) -> Position:
        """Return the place in the file of one of the text's characters."""
        line = bisect_right(self.line_starts, offset) - 1
        before = 0 if line else self.start.column - 1
        return Position(self.start.line + line, before + offset - self.line_starts[line] + 1)

    @property
    def value(self) -> Json:
        """Return a fresh copy of the document as the JSON that kubectl sends."""
        return None if self.root is None else plain(self.root)

    @property
    def kind_at_a_glance(self) -> str:
        """Return the kind without reading the whole, empty where a glance does not tell."""
        found = _KIND.findall(self.text, 0)
        return found[0] if len(found) == 1 and not self.is_json else ""

    def error(self, message: str, offset: int) -> ManifestError:
        """Return an error at one of the text's characters."""
        return _error(self.source, self.position(offset), message)


def _error(source: str, position: Position, message: str) -> ManifestError:
    return ManifestError(f"{source}:{position}: {message}", message, position)


def read(content: bytes | str, source: str) -> list[Document]:
    """Return the documents of a file's content, blank ones too; ``source`` is its name for messages.

    ManifestError for bytes that are no UTF-8 text, YAML whose lines end with CR alone, and separators that kubectl
    refuses; what is wrong inside a document is said when its ``root`` or ``value`` is asked for.
    """
    text = content if isinstance(content, str) else _decoded(content, source)
    if text.removeprefix(BYTE_ORDER_MARK).lstrip().startswith("{"):
        try:
            return _json_stream(text, source)
        except JSONDecodeError as error:
            if source.endswith(".json"):
                raise _error(source, Position(error.lineno, error.colno), error.msg) from None
            # as kubectl does: a stream that begins with { may still be YAML
    if "\r" in text and "\n" not in text:
        # kubectl takes all of it for one line when it looks for ---, and no editor of today shows it otherwise
        raise _error(source, Position(1, 1), "the lines end with CR alone; save the file with LF or CRLF")
    return _yaml_stream(text, source)


def _decoded(content: bytes, source: str) -> str:
    for first, said in _ENCODINGS:
        if content.startswith(first):
            raise _error(source, Position(1, 1), said)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        position = Position(1 + before.count("\n"), len(before) - before.rfind("\n"))
        said = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _error(source, position, said) from None


def _json_stream(text: str, source: str) -> list[Document]:
    mark, text = _without_mark(text)
    ends = [tree.root.end for tree in json_reader.compose_all(text) if tree.root is not None]
    documents: list[Document] = []
    start, place = 0, Position(1, 1)
    for number, end in enumerate(ends, 1):
        stop = len(text) if number == len(ends) else end
        document = Document(source, number, place, "" if documents else mark, text[start:stop], is_json=True)
        documents.append(document)
        start, place = stop, document.position(stop - start)
    return documents


def _yaml_stream(text: str, source: str) -> list[Document]:
    documents: list[Document] = []
    separator, text = _without_mark(text)
    number, start, line = 1, 0, 1
    # a final "match" at the end closes the last document
    for match in [*_SEPARATOR.finditer(text), None]:
        end = match.start() if match else len(text)
        mark, chunk = _without_mark(text[start:end])
        document = Document(source, number, Position(line, 1), separator + mark, chunk, is_json=_is_json(chunk))
        documents.append(document)
        number += not document.is_blank
        if match:
            line += chunk.count("\n")
            rest = match["rest"].strip()
            if rest and not rest.startswith("#"):
                raise _error(source, Position(line, 1), "after --- only a comment may follow")
            separator, start, line = match[0], match.end(), line + 1
    return documents


def _without_mark(text: str) -> tuple[str, str]:
    """Return a byte order mark, empty where there is none, and what is behind it."""
    behind = text.removeprefix(BYTE_ORDER_MARK)
    return text[: len(text) - len(behind)], behind


def _is_json(chunk: str) -> bool:
    if not chunk.lstrip().startswith("{"):
        return False
    try:
        return len(json_reader.compose_all(chunk)) == 1
    except JSONDecodeError:
        return False


def position_of(document: Document, path: str | list[str | int]) -> Position:
    """Return where in the file stands what a path names, or the nearest that exists above it.

    ``path`` is a list of keys and indexes, or a string such as ``profiles.tail.sidecar.env[0].name``. A key's place
    is that of the key itself, not of its value.
    """
    return document.position(descend(document.root, path).offset)


def written_at(document: Document, path: list[str | int]) -> str:
    """Return how a scalar is written in the file: ``0o17``, ``Yes``. Empty where the path leads to none."""
    found = descend(document.root, path)
    node = found.node.target if isinstance(found.node, Alias) else found.node
    return document.text[node.start : node.end] if isinstance(node, Leaf) and not found.rest else ""
