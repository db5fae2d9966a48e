"""Answers questions in a process of its own, within a time limit: whatever a text does there, the page stays alive.

A question and its answer are bytes; over the pipes each has its length in front. One is answered at a time, and the
newest wins: a person who types wants no answer about the text before.
"""

import asyncio
import os
import resource
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress

__all__ = ["NoAnswerError", "SupersededError", "Worker", "serve"]

_LENGTH = struct.Struct(">I")
#: How long an older question is still worked on when there is a newer one: most need far less.
GRACE = 0.3
TOO_LONG = "This takes too long"
FAILED = "This is a bug in Pillion: the process that should answer has ended"
#: The exit code of a process that gets no more memory.
_NO_MEMORY = 3
#: Why there is no answer, by how the process ended; the timer of :func:`serve` sends a signal.
_REASONS = {-signal.SIGPROF: TOO_LONG, _NO_MEMORY: "This takes more memory than it may"}
#: How long a process that has closed its pipe may take to end.
EXIT_TIMEOUT = 5.0
#: Address space of the process; it needs a tenth of that for a text of the largest size.
MAX_MEMORY = 2 * 1024**3


class SupersededError(Exception):
    """There is a newer question."""


class NoAnswerError(Exception):
    """There is no answer; the text says why, and is meant to be shown to a person."""


class Worker:
    """Asks a program that calls :func:`serve`: starts it when it is needed, and ends it when it takes too long.

    ``time_limit`` is for a process that hangs, in seconds; what it may compute is the program's to say.
    """

    def __init__(self, command: Sequence[str], time_limit: float) -> None:
        self._command = command
        self._time_limit = time_limit
        self._process: Process | None = None
        self._lock = asyncio.Lock()
        self._newest = 0
        self._limit: asyncio.Timeout | None = None

    async def ask(self, question: bytes) -> bytes:
        """Return the answer; raise :class:`SupersededError` or :class:`NoAnswerError`."""
        self._newest += 1
        own = self._newest
        self._hurry()
        async with self._lock:
            self._raise_if_older(own)
            try:
                async with asyncio.timeout(self._time_limit) as self._limit:
                    return await self._exchange(question)
            except TimeoutError:
                await self._kill()
                self._raise_if_older(own)
                raise NoAnswerError(TOO_LONG) from None
            except (OSError, asyncio.IncompleteReadError):
                raise NoAnswerError(_REASONS.get(await self._ended(), FAILED)) from None
            except asyncio.CancelledError:
                # the answer to this question would be taken for one to the next
                await self._kill()
                raise
            finally:
                self._limit = None

    async def close(self) -> None:
        """End the process."""
        await self._kill()

    def _hurry(self) -> None:
        """Let a question that is being answered go on for the time of grace only."""
        if self._limit is not None and (end := self._limit.when()) is not None and not self._limit.expired():
            self._limit.reschedule(min(end, asyncio.get_running_loop().time() + GRACE))

    def _raise_if_older(self, own: int) -> None:
        if own != self._newest:
            raise SupersededError

    async def _exchange(self, question: bytes) -> bytes:
        if self._process is None or self._process.returncode is not None:
            # a session of its own: Ctrl-C at the terminal is for the server, which then closes the pipe
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 — both are pipes
        stdin.write(_LENGTH.pack(len(question)) + question)
        await stdin.drain()
        (length,) = _LENGTH.unpack(await stdout.readexactly(_LENGTH.size))
        return await stdout.readexactly(length)

    async def _ended(self) -> int:
        """Return how a process ended that has closed its pipe."""
        if self._process is not None:
            # by itself: asyncio can't tell how a process ended that is killed in that moment
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), EXIT_TIMEOUT)
        return await self._kill()

    async def _kill(self) -> int:
        """End the process, if it still runs, and return how it ended."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def serve(answer: Callable[[bytes], bytes], cpu_limit: float) -> None:
    """Answer the questions on standard input until it ends: the other side of :class:`Worker`.

    The process ends where an answer takes more than ``cpu_limit`` seconds of its own time: a machine with a lot else
    to do needs longer, and a server that is gone ends nothing any more.
    """
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with suppress(OSError, ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    while head := questions.read(_LENGTH.size):
        signal.setitimer(signal.ITIMER_PROF, cpu_limit)
        try:
            found = answer(questions.read(*_LENGTH.unpack(head)))
        except MemoryError:
            # at once: whoever reads the pipe ends a process that has closed it
            os._exit(_NO_MEMORY)
        answers.write(_LENGTH.pack(len(found)) + found)
        answers.flush()
        signal.setitimer(signal.ITIMER_PROF, 0)
