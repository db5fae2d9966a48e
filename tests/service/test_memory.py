"""When memory is given back."""

import asyncio
import platform
import subprocess
import sys

import pytest

from webhook.service import memory
from webhook.service.memory import SLACK, Memory

START = 100 << 20


class Process:
    """How much it has resident, and how much of that can be given back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = self.resident = START
        self.given_back = 0
        monkeypatch.setattr(memory, "resident", lambda: self.resident)
        monkeypatch.setattr(memory, "give_back", self._give_back)

    def _give_back(self) -> None:
        self.given_back += 1
        self.resident = self.used


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    """Return a process as it is after its start."""
    return Process(monkeypatch)


def looks(looking: Memory, number: int) -> None:
    """Look so many times."""
    for _ in range(number):
        asyncio.run(looking.look())


@pytest.mark.parametrize(("grown", "given"), [(0, False), (SLACK, False), (SLACK + 1, True), (-SLACK, False)])
def test_memory_is_given_back_where_much_more_is_held(process: Process, grown: int, given: bool) -> None:
    """Above what there was at first and some slack; that it helps is shown in tests/fuzz."""
    looking = Memory()
    process.resident += grown
    looks(looking, 1)
    assert bool(process.given_back) is given


def test_what_is_in_use_is_not_asked_for_again_and_again(process: Process) -> None:
    """Each time in vain doubles the pause, up to a minute; a burst that is over is noticed within that time."""
    looking = Memory()
    process.used = process.resident = START + 2 * SLACK
    looks(looking, 1000)
    assert 1000 / 61 <= process.given_back < 1000 / 61 + 6
    process.used = START
    looks(looking, 61)
    assert process.resident == START
    before = process.given_back
    for _ in range(3):  # it helped, so the next burst is given back at once
        process.resident = START + 2 * SLACK
        looks(looking, 1)
    assert process.given_back == before + 3


def test_what_is_resident_is_known() -> None:
    """More than an interpreter needs, less than a machine has; and giving back is always possible."""
    assert 1 << 20 < memory.resident() < 1 << 40
    memory.give_back()


READS = """
import resource, socket, sys
from webhook.service import memory
if sys.argv[1:]:
    memory.settle()
one, other = socket.socketpair()
def read(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        one.send(b"x")
        other.recv(256 << 10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
read(10)
print(read(1000))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_read_takes_no_page_faults() -> None:
    """As large as uvloop's; as the C library comes, each is a mapping of its own."""

    def faults(*arguments: str) -> int:
        command = [sys.executable, "-c", READS, *arguments]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("settled") < 100
    assert faults() >= 1000  # or there is nothing to settle
