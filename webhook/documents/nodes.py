"""The tree of a document's text: values as kubectl sees them, and where each stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from webhook.documents import scalars
from webhook.documents.scalars import Json

__all__ = [
    "MAX_ALIASED",
    "MAX_DEPTH",
    "Alias",
    "Duplicate",
    "Leaf",
    "Mapping",
    "Node",
    "Pair",
    "Sequence",
    "Tree",
    "merged",
    "plain",
    "size_of",
]

#: Levels of nesting. Manifests have some 20, the schemas in a CRD some 60; Python's own stack ends near 1000.
MAX_DEPTH = 128
#: Nodes that a document's aliases may stand for: kubectl's own limit is of this order.
MAX_ALIASED = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A scalar; ``text[start:end]`` is how it is written, empty for a value that is left out."""

    value: scalars.Scalar
    start: int
    end: int
    size: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, eq=False)
class Alias:
    """``*name``: the target once more."""

    target: "Node"
    start: int
    end: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A sequence; ``column`` is where its dashes stand, -1 where it is written ``[…]``."""

    items: tuple["Node", ...]
    column: int
    start: int
    end: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A key and its value; ``merge`` where the key is ``<<``."""

    key: str
    value: "Node"
    merge: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A mapping; ``column`` is where its keys stand, -1 where it is written ``{…}``."""

    pairs: tuple[Pair, ...]
    column: int
    start: int
    end: int
    size: int


Node = Leaf | Alias | Sequence | Mapping


class Duplicate(NamedTuple):
    """A key that stands twice in a mapping; ``first`` and ``second`` are where. The last one counts."""

    key: str
    first: int
    second: int


class Tree(NamedTuple):
    """A document's tree, None where there is none; ``aliases`` says whether one value stands at several places."""

    root: Node | None
    duplicates: tuple[Duplicate, ...] = ()
    aliases: bool = False


def size_of(nodes: Iterable[Node]) -> int:
    """Return how many nodes a collection of these is."""
    return 1 + sum(node.size for node in nodes)


def plain(node: Node) -> Json:
    """Return the value as JSON; nothing in it is shared, so an edit at one place stays there."""
    match node:
        case Leaf():
            return scalars.in_json(node.value)
        case Alias():
            return plain(node.target)
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return merged([(pair, plain(pair.value)) for pair in node.pairs])


def merged(pairs: list[tuple[Pair, Json]]) -> dict[str, Json]:
    """Return the mapping that pairs make, in order: as in go-yaml v2 a ``<<`` overrides what stands before it."""
    found: dict[str, Json] = {}
    for pair, value in pairs:
        if not pair.merge:
            found[pair.key] = value
            continue
        # in a list of mappings the first has precedence
        for base in reversed(value if isinstance(value, list) else [value]):
            found |= base if isinstance(base, dict) else {}
    return found
