"""Functions of a short text that remember what they returned: workloads repeat their paths, lists and quantities."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["memoised"]

_T = TypeVar("_T")


class _Cache(dict[str, _T]):
    """What a function returned for short texts; when it is full, it begins anew."""

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
    """Return a decorator for a function of one text, whose value must not be changed by callers.

    Texts of more than ``max_length`` characters are not remembered, and at most ``max_entries`` are: a tenant writes them,
    and could fill the memory with them. What is remembered is found without a call of Python's.
    """

    def decorate(function: Callable[[str], _T]) -> Callable[[str], _T]:
        return _Cache(function, max_length, max_entries).__getitem__

    return decorate
