"""Aliases in a changed document: those that no longer stand for what is wanted are written out."""

from dataclasses import dataclass, field
from typing import NamedTuple

from webhook.documents.changes import Change, Entry, Path, at
from webhook.documents.nodes import Alias, Mapping, Node, Sequence, plain
from webhook.documents.scalars import Json, same

__all__ = ["write_out_aliases"]


def write_out_aliases(change: Change, wanted: Json, *, share: bool) -> None:
    """Write out each alias of which the target is gone or says something else than is wanted at the alias.

    With ``share`` one that operations reach into stays an alias if its target says the same. A mapping that takes
    keys of such a target by ``<<`` is written anew.
    """
    found = _Found()
    _visit(found, change.root, ())
    for place in found.places:
        target = found.targets.get(id(place.alias.target))
        reached = place.entry is not None and place.entry.is_written
        if target is _UNTOUCHED and not reached:
            continue
        before = plain(place.alias.target)
        says = before if target is _UNTOUCHED or target is None else target.current()
        stays = target is not None and same(says, before if place.is_merge else at(wanted, place.path))
        if place.entry is not None and reached:
            place.entry.is_written = not (stays and share)
        elif not stays:
            nearest = change.nearest(place.path)
            nearest.write(at(wanted, nearest.path()))


#: Stands for every node that says what it did.
_UNTOUCHED = Entry(None, None)


class _Place(NamedTuple):
    """An alias: where it is, or the mapping that merges it, and its entry if there is one."""

    path: Path
    is_merge: bool
    alias: Alias
    entry: Entry | None


@dataclass(slots=True)
class _Found:
    """The nodes that stay in the text, by identity, and the aliases among them."""

    targets: dict[int, Entry] = field(default_factory=dict)
    places: list[_Place] = field(default_factory=list)


def _visit(found: _Found, entry: Entry, path: Path, *, is_merge: bool = False) -> None:
    if entry.node is None:
        return
    if isinstance(entry.node, Alias):
        found.places.append(_Place(path, is_merge, entry.node, entry))
    elif entry.members is not None:
        found.targets[id(entry.node)] = entry
        in_mapping = isinstance(entry.node, Mapping)
        for index, member in enumerate(entry.members.live):
            merges = member.pair is not None and member.pair.merge
            step = () if merges else (member.key if in_mapping else index,)
            _visit(found, member, path + step, is_merge=merges)
    elif entry.is_written:
        found.targets[id(entry.node)] = entry
    else:
        _visit_untouched(found, entry.node, path, is_merge=is_merge)


def _visit_untouched(found: _Found, node: Node, path: Path, *, is_merge: bool) -> None:
    found.targets[id(node)] = _UNTOUCHED
    match node:
        case Alias():
            found.places.append(_Place(path, is_merge, node, None))
        case Mapping():
            for pair in node.pairs:
                step = () if pair.merge else (pair.key,)
                _visit_untouched(found, pair.value, path + step, is_merge=is_merge or pair.merge)
        case Sequence():
            for index, item in enumerate(node.items):
                _visit_untouched(found, item, path if is_merge else (*path, index), is_merge=is_merge)
