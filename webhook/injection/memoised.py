"""Memoised functions of a short text: workloads repeat their paths, lists and quantities."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["memoised"]

_T = TypeVar("_T")


class _Cache(dict[str, _T]):
    """The results of a function for short texts; emptied when it is full."""

    def __init__(self, function: Callable[[str], _T], max_length: int, max_entries: int) -> None:
        self.function = function
        self.max_length = max_length
        self.max_entries = max_entries

    def __missing__(self, text: str) -> _T:
        value = self.function(text)
        if len(text) <= self.max_length:
            if len(self) >= self.max_entries:
                self.clear()
            self[text] = value
        return value


def memoised(*, max_length: int, max_entries: int) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Return a decorator for a function of one text, whose result callers must not change.

    Texts of more than ``max_length`` characters are not cached, and at most ``max_entries`` are: tenants write the
    texts, and could fill the memory. A cache hit costs one dict lookup: no Python function is called.
    """

    def decorate(function: Callable[[str], _T]) -> Callable[[str], _T]:
        return _Cache(function, max_length, max_entries).__getitem__

    return decorate
