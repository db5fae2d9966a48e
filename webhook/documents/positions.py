"""Places in a file: line and column of what a path names."""

from typing import NamedTuple

from webhook.documents.nodes import Alias, Mapping, Node, Sequence

__all__ = ["Found", "Position", "descend"]


class Position(NamedTuple):
    """A place in a file, both numbers from 1, as compilers name it."""

    line: int
    column: int

    def __str__(self) -> str:
        """Return ``12:5``."""
        return f"{self.line}:{self.column}"


class Found(NamedTuple):
    """The last node on a path that exists, where it or its key stands in the text, and the rest of the path."""

    node: Node | None
    offset: int
    rest: str | list[str | int]


def descend(root: Node | None, path: str | list[str | int]) -> Found:
    """Return what a path leads to, or the nearest that exists above it."""
    found = Found(root, root.start if root is not None else 0, path)
    while found.node is not None and found.rest:
        node = found.node.target if isinstance(found.node, Alias) else found.node
        step = _child(node, found.rest) if isinstance(found.rest, list) else _named(node, found.rest)
        if step is None:
            break
        found = step
    return found


def _child(node: Node, path: list[str | int]) -> Found | None:
    """Return the child that the path begins with."""
    first, *rest = path
    if isinstance(node, Sequence):
        if isinstance(first, int) and 0 <= first < len(node.items):
            return Found(node.items[first], node.items[first].start, rest)
    elif isinstance(node, Mapping):
        # of a key that stands there twice the last one counts
        for pair in reversed(node.pairs):
            if pair.key == str(first):
                return Found(pair.value, pair.start, rest)
    return None


def _named(node: Node, path: str) -> Found | None:
    """Return the child that the text begins with."""
    children: list[tuple[str, Node, int]] = []
    if isinstance(node, Mapping):
        children = [(pair.key, pair.value, pair.start) for pair in reversed(node.pairs)]
    elif isinstance(node, Sequence):
        children = [(f"[{number}]", item, item.start) for number, item in enumerate(node.items)]
    # the longest name first: a key may hold dots
    for name, child, start in sorted(children, key=lambda entry: -len(entry[0])):
        rest = path.removeprefix(".")
        if rest.startswith(name) and rest[len(name) : len(name) + 1] in ("", ".", "["):
            return Found(child, start, rest[len(name) :])
    return None
