"""Tests of webhook.playground.worker: whatever happens in the process, there is an answer or a reason."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from webhook.playground.worker import NoAnswerError, SupersededError, Worker

#: What it does is what it is asked to.
PROGRAM = """
import os, signal, sys, time
from webhook.playground.worker import serve

def answer(question):
    match question:
        case b"pid":
            return str(os.getpid()).encode()
        case b"stop":
            signal.pause()
        case b"compute":
            while True:
                pass
        case b"work":
            end = time.process_time() + 0.3
            while time.process_time() < end:
                pass
        case b"end":
            os._exit(1)
        case b"fail":
            raise ValueError
        case b"hog":
            return bytes(8 * 1024**3)
        case b"talk":
            print("this is no answer")
    return question[::-1]

serve(answer, 0.6)
"""
Ask = Callable[[Worker], Awaitable[object]]


def worker(time_limit: float = 3600) -> Worker:
    """Return a worker that runs the program."""
    return Worker([sys.executable, "-c", PROGRAM], time_limit)


def run(scene: Ask, used: Worker) -> None:
    """Play a scene with a worker."""

    async def play() -> None:
        try:
            async with asyncio.timeout(60):
                await scene(used)
        finally:
            await used.close()
            assert used._process is None

    asyncio.run(play())


def exists(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_questions_are_answered_by_one_process() -> None:
    """In their order, of any size; it ends with the worker."""
    pids = []

    async def scene(used: Worker) -> None:
        assert await used.ask(b"abc") == b"cba"
        large = os.urandom(3_000_000)
        assert await used.ask(large) == large[::-1]
        pids.extend([int(await used.ask(b"pid")), int(await used.ask(b"pid"))])
        assert exists(pids[0])

    run(scene, worker())
    assert pids[0] == pids[1]
    assert not exists(pids[0])


def test_the_newest_question_wins() -> None:
    """One that is being answered, and one that waits, make room for it."""

    async def scene(used: Worker) -> None:
        await used.ask(b"ready")
        older = [asyncio.ensure_future(used.ask(question)) for question in (b"stop", b"waits")]
        await asyncio.sleep(0)
        assert await used.ask(b"newest") == b"tsewen"
        for each in older:
            with pytest.raises(SupersededError):
                await each

    run(scene, worker())


def test_an_older_question_that_is_nearly_answered_leaves_the_process_alone() -> None:
    """It is not ended while somebody types."""

    async def scene(used: Worker) -> None:
        pid = await used.ask(b"pid")
        older = asyncio.ensure_future(used.ask(b"abc"))
        await asyncio.sleep(0)
        assert await used.ask(b"pid") == pid
        with suppress(SupersededError):
            assert await older == b"cba"

    run(scene, worker())


def test_a_process_that_hangs_is_ended() -> None:
    """After its time."""

    async def scene(used: Worker) -> None:
        with pytest.raises(NoAnswerError, match="too long"):
            await used.ask(b"stop")
        assert used._process is None

    run(scene, worker(time_limit=0.1))


@pytest.mark.parametrize(
    ("question", "said"), [(b"end", "a bug"), (b"fail", "a bug"), (b"hog", "more memory than it may")]
)
def test_a_process_that_dies_is_replaced(question: bytes, said: str) -> None:
    """Whether it ends, has a bug, or wants too much memory."""

    async def scene(used: Worker) -> None:
        with pytest.raises(NoAnswerError, match=said):
            await used.ask(question)
        assert await used.ask(b"abc") == b"cba"

    run(scene, worker())


def test_a_process_that_died_between_two_questions_is_replaced() -> None:
    """Nobody is told."""

    async def scene(used: Worker) -> None:
        await used.ask(b"abc")
        assert used._process is not None
        used._process.kill()
        await used._process.wait()
        assert await used.ask(b"abc") == b"cba"

    run(scene, worker())


def test_what_is_printed_is_no_answer() -> None:
    """A library that says something does not break what comes after it."""

    async def scene(used: Worker) -> None:
        assert await used.ask(b"talk") == b"klat"
        assert await used.ask(b"abc") == b"cba"

    run(scene, worker())


def test_a_question_that_nobody_waits_for_is_dropped() -> None:
    """Its answer is not taken for the next one's."""

    async def scene(used: Worker) -> None:
        await used.ask(b"ready")
        older = asyncio.ensure_future(used.ask(b"stop"))
        await asyncio.sleep(0)
        older.cancel()
        with pytest.raises(asyncio.CancelledError):
            await older
        assert await used.ask(b"abc") == b"cba"

    run(scene, worker())


def test_an_answer_may_take_only_so_much_of_the_processor() -> None:
    """The process ends itself, and the next question has a new one; each question has the whole time."""

    async def scene(used: Worker) -> None:
        with pytest.raises(NoAnswerError, match="too long"):
            await used.ask(b"compute")
        for _ in range(3):
            assert await used.ask(b"work") == b"krow"

    run(scene, worker())
