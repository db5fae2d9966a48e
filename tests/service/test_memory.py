"""When memory is given back."""

import asyncio

import pytest

from webhook.service import memory
from webhook.service.memory import SLACK, Memory


@pytest.mark.parametrize(("grown", "given"), [(0, False), (SLACK, False), (SLACK + 1, True), (-SLACK, False)])
def test_memory_is_given_back_where_much_more_is_held(monkeypatch: pytest.MonkeyPatch, grown: int, given: bool) -> None:
    """Above what there was at first and some slack; that it helps is shown in tests/fuzz."""
    sizes = iter([100 << 20, (100 << 20) + grown])
    calls: list[None] = []
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))
    monkeypatch.setattr(memory, "give_back", lambda: calls.append(None))
    asyncio.run(Memory().look())
    assert bool(calls) is given


def test_what_is_resident_is_known() -> None:
    """More than an interpreter needs, less than a machine has; and giving back is always possible."""
    assert 1 << 20 < memory.resident() < 1 << 40
    memory.give_back()
