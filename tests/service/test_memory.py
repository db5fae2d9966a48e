"""When memory is given back; that it helps is shown by tests/fuzz."""

import asyncio

import pytest

from webhook.service import memory
from webhook.service.memory import ALLOWED_GROWTH, TRIM_INTERVAL, MemoryTrimmer


def test_much_more_than_at_first_is_trimmed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not below the slack, and not again before the interval is over."""
    resident, now, trimmed = [100 << 20], [0.0], [0]
    monkeypatch.setattr(memory, "resident", lambda: resident[0])
    monkeypatch.setattr(memory, "trim", lambda: trimmed.append(trimmed.pop() + 1))
    trimmer = MemoryTrimmer(clock=lambda: now[0])
    counts = []
    for more, at in (
        (ALLOWED_GROWTH, 0.0),
        (ALLOWED_GROWTH + 1, 1.0),
        (ALLOWED_GROWTH + 1, TRIM_INTERVAL),
        (ALLOWED_GROWTH + 1, 1.0 + TRIM_INTERVAL),
    ):
        resident[0], now[0] = (100 << 20) + more, at
        asyncio.run(trimmer.run())
        counts.append(trimmed[0])
    assert counts == [0, 1, 1, 2]


def test_what_is_resident_is_known() -> None:
    """More than an interpreter needs, less than a machine has; and trimming is always possible."""
    assert 1 << 20 < memory.resident() < 1 << 40
    memory.trim()
