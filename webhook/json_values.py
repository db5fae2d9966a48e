"""Access to JSON values of any shape by paths and JSON pointers."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Path", "as_list", "as_mapping", "at", "exists", "json_pointer", "parse_pointer", "with_indexes"]

#: Keys and list indexes, from the root.
Path = tuple[str | int, ...]


def json_pointer(path: Iterable[str | int]) -> str:
    """Return a path as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in path)


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """Return the path of a JSON pointer; the indexes of lists are text."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def with_indexes(value: Any, path: Sequence[str]) -> Path:
    """Return a parsed pointer's path with numbers for the indexes of lists."""
    found: list[str | int] = []
    for key in path:
        found.append(int(key) if isinstance(value, list) and key.isdecimal() else key)
        value = _child(value, key)[1]
    return tuple(found)


def exists(value: Any, path: Iterable[str | int]) -> bool:
    """Return whether there is a value at a path, which may be null."""
    for key in path:
        found, value = _child(value, key)
        if not found:
            return False
    return True


def at(value: Any, path: Iterable[str | int]) -> Any:
    """Return the value at a path, None if there is none."""
    for key in path:
        value = _child(value, key)[1]
    return value


def _child(value: Any, key: str | int) -> tuple[bool, Any]:
    if isinstance(value, dict) and key in value:
        return True, value[key]
    if isinstance(value, list) and str(key).isdecimal() and int(key) < len(value):
        return True, value[int(key)]
    return False, None


def as_mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
