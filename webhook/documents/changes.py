"""JSON Patch operations on a document's tree: which of its members go, are replaced, or are added."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import jsonpatch

from webhook.documents import nodes
from webhook.documents.nodes import Mapping, Node, Pair, Sequence
from webhook.documents.scalars import Json
from webhook.injection.former_values import NULL_SPELLING_MEMBER
from webhook.json_values import as_mapping, json_pointer, parse_pointer

__all__ = ["Change", "Entry", "Members", "Operation", "Path", "at"]

#: An operation of RFC 6902: op, path, and value unless it removes; ours may have a ``NULL_SPELLING_MEMBER``.
Operation = dict[str, Any]
Path = tuple[str | int, ...]


class Entry:
    """A value in the document, or one that is added to it.

    ``node`` is where it stands in the text, None for an added one. Where ``is_written`` is set, ``value`` is what it
    says from now on; otherwise it says what the text does, with the changes in ``members`` if there are any.
    """

    __slots__ = ("is_removed", "is_written", "key", "members", "node", "null_word", "pair", "parent", "value")

    def __init__(self, node: Node | None, parent: "Members | None", key: str = "", pair: Pair | None = None) -> None:
        self.node = node
        self.parent = parent
        self.key = key
        self.pair = pair
        self.members: Members | None = None
        self.is_written = False
        self.is_removed = False
        self.value: Json = None
        #: How a null is to be written; empty for nothing at all.
        self.null_word = ""

    def write(self, value: Json, null_word: str = "") -> None:
        """Replace the value, whatever was there."""
        self.value = value
        self.null_word = null_word
        self.is_written = True
        self.members = None

    def current(self) -> Json:
        """Return the value with all changes."""
        if self.is_written or self.node is None:
            return self.value
        return nodes.plain(self.node) if self.members is None else self.members.current()

    def opened(self, step: str | int) -> "Members | None":
        """Return a collection's members, to get at the one that a step names.

        None where a change of it can only be made by writing this value anew, as an alias.
        """
        if self.is_written or not isinstance(self.node, Mapping | Sequence):
            return None
        if self.members is None:
            self.members = Members(self.node, self)
        return None if step in self.members.overridden else self.members

    def path(self) -> Path:
        """Return where in the changed document it is."""
        steps: list[str | int] = []
        entry = self
        while entry.parent is not None:
            in_mapping = isinstance(entry.parent.node, Mapping)
            steps.append(entry.key if in_mapping else entry.parent.live.index(entry))
            entry = entry.parent.owner
        return tuple(reversed(steps))


class Members:
    """The members of a collection of which some change.

    ``entries`` are those that the text has, ``live`` those that it will have: the same order, without the removed and
    with the added ones.
    """

    __slots__ = ("entries", "live", "node", "overridden", "own", "owner")

    def __init__(self, node: Mapping | Sequence, owner: Entry) -> None:
        self.node = node
        self.owner = owner
        #: A mapping's entries by key; of several the last one counts.
        self.own: dict[str, list[Entry]] = {}
        if isinstance(node, Mapping):
            self.entries = [Entry(pair.value, self, pair.key, pair) for pair in node.pairs]
            for entry in self.entries:
                if entry.pair is not None and not entry.pair.merge:
                    self.own.setdefault(entry.key, []).append(entry)
        else:
            self.entries = [Entry(item, self) for item in node.items]
        self.live = list(self.entries)
        #: Keys of a mapping that stand there, and say nothing: a ``<<`` further down has the same.
        self.overridden: set[str | int] = set()
        before: set[str] = set()
        for entry in self.entries:
            if entry.pair is not None and entry.pair.merge:
                self.overridden |= before & nodes.merged([(entry.pair, entry.current())]).keys()
            else:
                before.add(entry.key)

    def current(self) -> Json:
        """Return the value with all changes."""
        if isinstance(self.node, Sequence):
            return [entry.current() for entry in self.live]
        found = nodes.merged([(entry.pair, entry.current()) for entry in self.live if entry.pair is not None])
        return found | {entry.key: entry.value for entry in self.live if entry.node is None}

    def member(self, step: str) -> Entry:
        """Return the member that a pointer's step names; one that comes by ``<<`` becomes the mapping's own."""
        if isinstance(self.node, Sequence):
            return self.live[int(step)]
        if step not in self.own:
            inherited = self.current()
            self._add(len(self.live), inherited[step] if isinstance(inherited, dict) else None, step)
        return self.own[step][-1]

    def apply(self, operation: Operation, step: str) -> None:
        """Do what an operation says to the member that a pointer's step names."""
        removes = operation["op"] == "remove"
        if isinstance(self.node, Sequence):
            index = len(self.live) if step == "-" else int(step)
            if operation["op"] == "add":
                self._add(index, operation["value"])
            elif removes:
                self.live.pop(index).is_removed = True
            else:
                self.live[index].write(operation["value"], operation.get(NULL_SPELLING_MEMBER, ""))
        elif not removes:
            if step in self.own:
                self.own[step][-1].write(operation["value"], operation.get(NULL_SPELLING_MEMBER, ""))
            else:
                self._add(len(self.live), operation["value"], step)
        elif step in self.own:
            # with the earlier ones, which would count then
            for entry in self.own.pop(step):
                entry.is_removed = True
                self.live.remove(entry)
        else:
            self.owner.write({key: value for key, value in as_mapping(self.current()).items() if key != step})

    def _add(self, index: int, value: Json, key: str = "") -> None:
        entry = Entry(None, self, key)
        entry.write(value)
        self.live.insert(index, entry)
        if isinstance(self.node, Mapping):
            self.own[key] = [entry]


class Change:
    """A document's tree with operations on it; they are known to be such that the document's value allows them."""

    def __init__(self, root: Node, operations: Iterable[Operation]) -> None:
        self.root = Entry(root, None)
        for operation in operations:
            self.apply(copy.deepcopy(operation))

    def apply(self, operation: Operation) -> None:
        """Do what an operation says."""
        tokens = list(parse_pointer(operation["path"]))
        entry = self.root
        while tokens and (members := entry.opened(tokens[0])) is not None:
            token, *tokens = tokens
            if not tokens:
                members.apply(operation, token)
                return
            entry = members.member(token)
        if tokens:
            within = operation | {"path": json_pointer(tokens)}
            entry.write(jsonpatch.apply_patch(entry.current(), [within], in_place=True))
        else:
            entry.write(operation["value"])

    def nearest(self, path: Path) -> Entry:
        """Return what stands in the text at a path of the changed document, or the nearest above it."""
        entry = self.root
        for step in path:
            members = entry.opened(step)
            if members is None:
                break
            if isinstance(members.node, Sequence):
                found = members.live[int(step)] if int(step) < len(members.live) else None
            else:
                found = members.own[str(step)][-1] if str(step) in members.own else None
            if found is None or found.node is None:
                break
            entry = found
        return entry

    def touched(self) -> Iterator[Members]:
        """Yield the collections of which members are removed, replaced or added, the outer ones first."""
        waiting = [self.root]
        while waiting:
            members = waiting.pop().members
            if members is None:
                continue
            if len(members.live) != len(members.entries) or any(entry.is_written for entry in members.live):
                yield members
            waiting += reversed(members.live)


def at(value: Json, path: Path) -> Json:
    """Return what a path leads to."""
    for step in path:
        if isinstance(value, dict):
            value = value[str(step)]
        elif isinstance(value, list):
            value = value[int(step)]
    return value
