"""A stream's bytes to its documents, split where kubectl splits it."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from json import JSONDecodeError
from typing import NamedTuple

from webhook.documents import json_reader, yaml_reader
from webhook.documents.nodes import Alias, Leaf, Mapping, Node, Sequence, plain
from webhook.documents.scalars import Json
from webhook.errors import ManifestError

__all__ = ["Document", "Position", "line_of", "position_of", "read", "written_at"]

_LINE_END = re.compile("\n")
_SEPARATOR = re.compile(r"^---(?P<rest>[^\n]*)(?:\n|\Z)", re.MULTILINE)
_BLANK = re.compile(r"\s*(?:#[^\n]*(?:\n\s*|\Z))*")
_KIND = re.compile(r"""^kind:[ \t]*["']?(?P<kind>[A-Za-z0-9]+)["']?[ \t]*(?:#[^\n]*)?\r?$""", re.MULTILINE)
#: What is no UTF-8 by its first bytes, and what to do.
_ENCODINGS = (
    (b"\xff\xfe", "this is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "this is UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "this is a gzip file; unpack it"),
)


@dataclass(frozen=True)
class Document:
    """One document of a file.

    ``separator + text`` is exactly what stands in the file. ``number`` counts the documents that hold something,
    from 1; ``first_line`` is the file's line, from 1, on which ``text`` begins. The text is read when it is asked
    for: a stream may hold megabytes of other kinds.
    """

    source: str
    number: int
    first_line: int
    separator: str
    text: str
    is_json: bool = False

    @property
    def is_blank(self) -> bool:
        """Say whether there is nothing but blanks and comments."""
        return _BLANK.fullmatch(self.text) is not None

    @property
    def first_content(self) -> int:
        """Return the text's first line, from 0, that is neither blank nor a comment."""
        match = _BLANK.match(self.text)
        return self.text.count("\n", 0, match.end()) if match else 0

    @cached_property
    def root(self) -> Node | None:
        """Return the tree, None for a blank document; ManifestError for what kubectl can't read or reads in part."""
        try:
            if self.is_json:
                return json_reader.compose_all(self.text)[0][0]
            return None if self.is_blank else yaml_reader.compose(self.text)
        except JSONDecodeError as error:
            raise self.error(error.msg, error.lineno - 1) from None
        except yaml_reader.UnreadableError as error:
            first = "" if error.first is None else f"; the first is on line {self.first_line + error.first}"
            raise self.error(error.message + first, error.line) from None

    @cached_property
    def line_starts(self) -> list[int]:
        """Return where in the text each of its lines begins."""
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    @property
    def value(self) -> Json:
        """Return a fresh copy of the document as the JSON that kubectl sends."""
        return None if self.root is None else plain(self.root)

    @property
    def kind_at_a_glance(self) -> str:
        """Return the kind without reading the whole, empty where a glance does not tell."""
        found = _KIND.findall(self.text, 0)
        return found[0] if len(found) == 1 and not self.is_json else ""

    def error(self, message: str, line: int) -> ManifestError:
        """Return an error on one of the text's lines, from 0."""
        return ManifestError(f"{self.source}: document {self.number}, line {self.first_line + line}: {message}")


def read(content: bytes | str, source: str) -> list[Document]:
    """Return the documents of a file's content, blank ones too; ``source`` is its name for messages.

    ManifestError for bytes that are no UTF-8 text and separators that kubectl refuses; what is wrong inside a
    document is said when its ``root`` or ``value`` is asked for.
    """
    text = content if isinstance(content, str) else _decoded(content, source)
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        try:
            return _json_stream(text, source)
        except JSONDecodeError as error:
            if source.endswith(".json"):
                raise ManifestError(f"{source}: document 1, line {error.lineno}: {error.msg}") from None
            # as kubectl does: a stream that begins with { may still be YAML
    return _yaml_stream(text, source)


def _decoded(content: bytes, source: str) -> str:
    for first, said in _ENCODINGS:
        if content.startswith(first):
            raise ManifestError(f"{source}: document 1, line 1: {said}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        number = 1 + len(re.findall(rb"^---", before, re.MULTILINE))
        line = 1 + before.count(b"\n")
        said = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ManifestError(f"{source}: document {number}, line {line}: {said}") from None


def _json_stream(text: str, source: str) -> list[Document]:
    ends = [end for _, end in json_reader.compose_all(text)]
    documents: list[Document] = []
    start = 0
    for number, end in enumerate(ends, 1):
        stop = len(text) if number == len(ends) else end
        documents.append(Document(source, number, 1 + text.count("\n", 0, start), "", text[start:stop], is_json=True))
        start = stop
    return documents


def _yaml_stream(text: str, source: str) -> list[Document]:
    documents: list[Document] = []
    number, start, separator = 1, 0, ""
    # a final "match" at the end closes the last document
    for match in [*_SEPARATOR.finditer(text), None]:
        end = match.start() if match else len(text)
        chunk = text[start:end]
        document = Document(source, number, 1 + text.count("\n", 0, start), separator, chunk, is_json=_is_json(chunk))
        documents.append(document)
        number += not document.is_blank
        if match:
            rest = match["rest"].strip()
            if rest and not rest.startswith("#"):
                line = 1 + text.count("\n", 0, end)
                raise ManifestError(f"{source}: document {number}, line {line}: after --- only a comment may follow")
            separator, start = match[0], match.end()
    return documents


def _is_json(chunk: str) -> bool:
    if not chunk.lstrip().startswith("{"):
        return False
    try:
        return len(json_reader.compose_all(chunk)) == 1
    except JSONDecodeError:
        return False


class Position(NamedTuple):
    """A place in a file, both numbers from 1, as compilers name it."""

    line: int
    column: int

    def __str__(self) -> str:
        """Return ``12:5``."""
        return f"{self.line}:{self.column}"


def line_of(document: Document, path: str | list[str | int]) -> int:
    """Return the line of :func:`position_of`."""
    return position_of(document, path).line


def position_of(document: Document, path: str | list[str | int]) -> Position:
    """Return where in the file stands what a path names, or the nearest that exists above it.

    ``path`` is a list of keys and indexes, or a string such as ``profiles.tail.sidecar.env[0].name``. A key's place
    is that of the key itself, not of its value.
    """
    _, offset, _ = _descend(document, path)
    number = bisect_right(document.line_starts, offset)
    return Position(document.first_line + number - 1, offset - document.line_starts[number - 1] + 1)


def written_at(document: Document, path: list[str | int]) -> str:
    """Return how a scalar is written in the file: ``0o17``, ``Yes``. Empty where the path leads to none."""
    node, _, rest = _descend(document, path)
    if isinstance(node, Alias):
        node = node.target
    return document.text[node.start : node.end] if isinstance(node, Leaf) and not rest else ""


def _descend(document: Document, path: str | list[str | int]) -> tuple[Node | None, int, str | list[str | int]]:
    """Return the last node on a path that exists, where it (or its key) stands, and the rest of the path."""
    node = document.root
    offset = node.start if node is not None else 0
    while node is not None and path:
        inner = node.target if isinstance(node, Alias) else node
        step = _step(inner, path) if isinstance(path, str) else _child(inner, path)
        if step is None:
            break
        node, offset, path = step
    return node, offset, path


def _child(node: Node, path: list[str | int]) -> tuple[Node, int, list[str | int]] | None:
    """Return the child that the path begins with, where it stands in the text, and the rest of the path."""
    first = path[0]
    if isinstance(node, Sequence):
        if isinstance(first, int) and first < len(node.items):
            return node.items[first], node.items[first].start, path[1:]
    elif isinstance(node, Mapping):
        # the last of two that are the same is the one that counts
        for pair in reversed(node.pairs):
            if pair.key == str(first):
                return pair.value, pair.start, path[1:]
    return None


def _step(node: Node, path: str) -> tuple[Node, int, str] | None:
    """Return the child that the text begins with, where it stands in the document, and the rest of the text."""
    children: list[tuple[str, Node, int]] = []
    if isinstance(node, Mapping):
        children = [(pair.key, pair.value, pair.start) for pair in node.pairs]
    elif isinstance(node, Sequence):
        children = [(str(number), item, item.start) for number, item in enumerate(node.items)]
    # the longest name first: a key may hold dots
    for name, child, start in sorted(children, key=lambda entry: -len(entry[0])):
        form = f"[{name}]" if isinstance(node, Sequence) else name
        rest = path.removeprefix(".")
        if rest.startswith(form) and rest[len(form) : len(form) + 1] in ("", ".", "["):
            return child, start, rest[len(form) :]
    return None
