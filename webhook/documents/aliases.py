"""Aliases in a changed document: those that no longer stand for what is wanted are written out."""

from dataclasses import dataclass, field

from webhook.documents.changes import Change, Entry, Path, at
from webhook.documents.nodes import Alias, Mapping, Node, Sequence
from webhook.documents.scalars import Json, same

__all__ = ["write_out_aliases"]


def write_out_aliases(change: Change, wanted: Json, *, share: bool) -> None:
    """Write out each alias of which the target is gone or says something else than is wanted at the alias.

    With ``share`` one that operations reach into stays an alias if its target says the same.
    """
    found = _Found()
    _visit(found, change.root, ())
    for path, alias, entry in found.aliases:
        target = found.targets.get(id(alias.target))
        stays = target is not None and (target is _UNTOUCHED or same(target.current(), at(wanted, path)))
        if entry is not None and entry.is_written:
            entry.is_written = not (stays and share)
        elif not stays:
            nearest = change.nearest(path)
            nearest.write(at(wanted, nearest.path()))


#: Stands for every node that says what it did.
_UNTOUCHED = Entry(None, None)


@dataclass(slots=True)
class _Found:
    """The nodes that stay in the text, by identity, and the aliases among them."""

    targets: dict[int, Entry] = field(default_factory=dict)
    aliases: list[tuple[Path, Alias, Entry | None]] = field(default_factory=list)


def _visit(found: _Found, entry: Entry, path: Path) -> None:
    if entry.node is None:
        return
    if isinstance(entry.node, Alias):
        found.aliases.append((path, entry.node, entry))
    elif entry.members is not None:
        found.targets[id(entry.node)] = entry
        in_mapping = isinstance(entry.node, Mapping)
        for index, member in enumerate(entry.members.live):
            _visit(found, member, (*path, member.key if in_mapping else index))
    elif entry.is_written:
        found.targets[id(entry.node)] = entry
    else:
        _visit_untouched(found, entry.node, path)


def _visit_untouched(found: _Found, node: Node, path: Path) -> None:
    found.targets[id(node)] = _UNTOUCHED
    match node:
        case Alias():
            found.aliases.append((path, node, None))
        case Mapping():
            for pair in node.pairs:
                _visit_untouched(found, pair.value, (*path, pair.key))
        case Sequence():
            for index, item in enumerate(node.items):
                _visit_untouched(found, item, (*path, index))
