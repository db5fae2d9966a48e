"""Functions that remember."""

from __future__ import annotations

import pytest

from webhook.injection.memoised import memoised


def test_short_texts_are_remembered_until_there_is_no_more_room() -> None:
    """Then the memory begins anew; longer texts are worked out each time."""
    asked: list[str] = []

    @memoised(max_length=3, max_entries=2)
    def shout(text: str) -> str:
        asked.append(text)
        return text.upper()

    assert [shout(text) for text in ("abc", "abc", "long", "long", "b", "abc")] == [
        "ABC",
        "ABC",
        "LONG",
        "LONG",
        "B",
        "ABC",
    ]
    assert asked == ["abc", "long", "long", "b"]
    shout("c")
    shout("c")
    shout("abc")
    assert asked[4:] == ["c", "abc"]


def test_an_error_is_not_remembered() -> None:
    """A text that can't be used is looked at again."""
    asked: list[str] = []

    @memoised(max_length=9, max_entries=9)
    def number(text: str) -> int:
        asked.append(text)
        return int(text)

    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            number("x")
    assert asked == ["x", "x"]
