"""A transport that gathers what is written within a turn of the loop."""

import asyncio
from typing import Any

import pytest

from webhook.service.http.connection import CoalescingTransport


class Transport:
    """Remembers what is done to it."""

    pause_reading = resume_reading = get_extra_info = get_write_buffer_size = None

    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        """Remember; a closed one refuses, as uvloop's does."""
        assert not self.is_closing()
        self.done.append(data)

    def close(self) -> None:
        """Remember."""
        self.done.append("close")

    def abort(self) -> None:
        """Remember."""
        self.done.append("abort")

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return not {"close", "abort"}.isdisjoint(self.done)


@pytest.mark.parametrize(
    ("acts", "done"),
    [
        ([b"head ", b"body"], [b"head body"]),
        ([b"head ", "turn", b"one ", b"two"], [b"head ", b"one two"]),
        ([b"head ", "close"], [b"head ", "close"]),
        ([b"head ", "abort"], ["abort"]),
        ([b"head ", "close", b"body"], [b"head ", "close"]),
    ],
    ids=["one turn", "two turns", "close", "abort", "after the end"],
)
def test_writes_of_a_turn_are_one(acts: list[bytes | str], done: list[bytes | str]) -> None:
    """Closing writes what waits; aborting does not. What was written is told before."""
    transport: Any = Transport()
    told: list[int] = []

    async def run() -> None:
        gathering = CoalescingTransport(transport, told.append)
        for act in acts:
            if isinstance(act, bytes):
                gathering.write(act)
            elif act == "turn":
                await asyncio.sleep(0)
            else:
                getattr(gathering, act)()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert transport.done == done
    assert told == [len(each) for each in done if isinstance(each, bytes)]
