"""A document's text with JSON Patch operations applied to it, changed only where they act.

Comments, quotes, indentation and order stay as the author has them, and a diff shows what was added or removed and
nothing else. The result is read again; where it does not say what it should (an anchor in the way, a layout that
nobody foresaw), the smallest collection around that place is written anew from its values.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace

import jsonpatch

from webhook.documents.aliases import write_out_aliases
from webhook.documents.changes import Change, Entry, Members, Operation, Path, at
from webhook.documents.rendering import as_json, as_yaml
from webhook.documents.scalars import Json, same
from webhook.documents.stream import Document
from webhook.documents.writing import NotInPlaceError, prologue, written
from webhook.errors import ManifestError

__all__ = ["edited"]


def edited(document: Document, operations: Sequence[Operation]) -> str:
    """Return the document's text with operations of RFC 6902 (add, remove, replace) applied to it.

    Paths are those of the document's value. jsonpatch.JsonPatchException or JsonPointerException for operations
    that can't be applied to it; ManifestError where no text would say what they make of it.
    """
    if not operations:
        return document.text
    wanted: Json = jsonpatch.apply_patch(document.value, copy.deepcopy(list(operations)), in_place=True)
    root = document.root
    if root is None:
        return _anew(document, wanted)
    change = Change(root, operations)
    # each round writes at least one collection more anew, at last the whole document
    first = True
    while not change.root.is_written:
        if document.tree.aliases:
            write_out_aliases(change, wanted, share=first)
        first = False
        found, text = _attempt(document, change, wanted)
        if text is not None:
            return text
        for path in found:
            _write_anew(change, path, wanted)
    return _anew(document, wanted)


def _attempt(document: Document, change: Change, wanted: Json) -> tuple[list[Path], str | None]:
    """Return the edited text, or the paths of what must be written anew."""
    try:
        text = written(document, change)
    except NotInPlaceError as error:
        return [error.owner.path()], None
    value = _read(document, text) if text is not None else None
    if text is not None and value is not None:
        paths = list(_differences(value, wanted, ()))
        return paths, None if paths else text
    return [members.owner.path() for members in _culprits(document, change)], None


def _culprits(document: Document, change: Change) -> list[Members]:
    """Return the collections whose edits make the text unreadable, by halving them."""

    def culprits(suspects: list[Members]) -> list[Members]:
        text = written(document, change, only=suspects)
        if text is not None and _read(document, text) is not None:
            return []
        if len(suspects) == 1:
            return suspects
        half = len(suspects) // 2
        return [*culprits(suspects[:half]), *culprits(suspects[half:])] or suspects

    return culprits(list(change.touched()))


def _write_anew(change: Change, path: Path, wanted: Json) -> None:
    """Let the smallest collection at or above a path that is not yet written anew be so."""
    entry: Entry = change.nearest(path)
    while entry.parent is not None and (entry.is_written or entry.node is None):
        entry = entry.parent.owner
    entry.write(at(wanted, entry.path()))


def _read(document: Document, text: str) -> Json:
    """Return what a text says, None where it can't be read."""
    try:
        return replace(document, text=text).value
    except ManifestError:
        return None


def _differences(one: Json, other: Json, path: Path) -> list[Path]:
    """Return where two values differ: True is not 1 in JSON, 1.0 is; of a collection the smallest part."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return [path]
        return [found for key, item in one.items() for found in _differences(item, other[key], (*path, key))]
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for index, (item, its) in pairs for found in _differences(item, its, (*path, index))]
    return [] if same(one, other) else [path]


def _anew(document: Document, wanted: Json) -> str:
    """Return the document written from its values, behind the comments that it begins with."""
    text = as_json(wanted) if document.is_json else prologue(document.text) + as_yaml(wanted)
    if _differences(_read(document, text), wanted, ()):
        raise document.error("the changes can't be written into this document", 0)
    return text
