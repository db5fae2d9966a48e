"""A profile on top of the built-in one that it is based on: a JSON Merge Patch (RFC 7386), some lists item by item."""

from collections.abc import Mapping, Sequence
from typing import Any

from webhook.json_values import Path

__all__ = ["Origins", "merge"]

#: For each merged list, by its path: the index that each item has in the document, None for the base's own.
Origins = dict[Path, list[int | None]]

#: Lists that are merged item by item, and what tells their items apart; all others are replaced.
_MERGED_LISTS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}
#: Here a null takes away what Pillion itself would add, so it is kept; elsewhere it only removes what the base has.
_KEEPS_NULL = "securityContext"


def merge(base: Any, over: Any, path: Path, origins: Origins) -> Any:
    """Return ``over`` applied to ``base``; fill in where the items of merged lists come from.

    ==================  ======================================================================
    a key in ``over``   the result
    ==================  ======================================================================
    null                the base's is removed (in a securityContext: the null stays)
    a mapping           merged with the base's, key by key
    a list of named     the base's items, each replaced by the one of its name; then the others
    anything else       replaces the base's
    ==================  ======================================================================
    """
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    merged = dict(base)
    for key, value in over.items():
        name, below = _MERGED_LISTS.get(key), (*path, key)
        if value is None and path[-1:] != (_KEEPS_NULL,):
            merged.pop(key, None)
        elif name is not None and _are_named(base.get(key), name) and _are_named(value, name):
            merged[key], origins[below] = _merge_lists(base[key], value, name)
        else:
            merged[key] = merge(base.get(key), value, below, origins)
    return merged


def _are_named(items: object, name: str) -> bool:
    return isinstance(items, list) and all(
        isinstance(item, Mapping) and isinstance(item.get(name), str) for item in items
    )


def _merge_lists(
    base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]], name: str
) -> tuple[list[Mapping[str, Any]], list[int | None]]:
    """Return the items and where they come from. Two of one name in ``over`` both stay: that is reported later."""
    items = list(base)
    origins: list[int | None] = [None] * len(items)
    place = {item[name]: number for number, item in enumerate(items)}
    for number, item in enumerate(over):
        position = place.pop(item[name], None)
        if position is None:
            items.append(item)
            origins.append(number)
        else:
            items[position], origins[position] = item, number
    return items, origins
