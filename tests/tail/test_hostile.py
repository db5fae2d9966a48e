"""What an application, or somebody who means harm, can put into a log folder or do to the files in it."""

import os
import threading
import time
from pathlib import Path

import pytest

from .conftest import Start
from .sidecar import until
from .test_files import append

SPARSE = 1 << 40


@pytest.mark.parametrize("before", [b"", b"one\n", b"one\nhalf a line"], ids=["nothing", "a line", "half a line"])
def test_a_hole_of_a_terabyte(start: Start, logs: Path, before: bytes) -> None:
    """It costs no reading: other files are printed meanwhile, and SIGTERM is heard."""
    (logs / "hole.log").write_bytes(before)
    sidecar = start()
    sidecar.looks()
    os.truncate(logs / "hole.log", SPARSE)
    append(logs / "other.log", "two")
    until(lambda: "two" in sidecar.lines, "the other file's line", seconds=5)
    sidecar.looks()
    expected = sorted([*before.decode().splitlines(), "two"])
    assert sorted(sidecar.end(seconds=5).decode().splitlines()) == expected


def test_a_time_that_is_changed_alone(start: Start, logs: Path) -> None:
    """A large file is not printed again: a backup touched it, or the disk holds its writer up."""
    lines = [f"line {number}" for number in range(20_000)]
    append(logs / "app.log", *lines)
    sidecar = start()
    sidecar.prints(lines)
    sidecar.looks()
    os.utime(logs / "app.log", (0, 1))
    sidecar.looks(3)
    append(logs / "app.log", "new")
    sidecar.prints([*lines, "new"])


def test_an_application_that_writes_on_faster_than_is_read(start: Start, logs: Path) -> None:
    """A native sidecar that is replaced prints what was there at the signal, looks once more, and ends."""
    append(logs / "app.log", "first")
    sidecar = start(native="true")
    sidecar.prints(["first"])
    sidecar.valve.clear()
    going = True

    def write() -> None:
        line = "x" * 1000 + "\n"
        with (logs / "app.log").open("a") as file:
            while going:
                file.write(line * 100)
                file.flush()
                time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.3)
        sidecar.process.terminate()

        def trickle() -> bool:
            sidecar.valve.set()
            time.sleep(0.001)
            sidecar.valve.clear()
            return sidecar.process.poll() is not None

        until(trickle, "its end", seconds=15)
    finally:
        going = False
        writer.join()
        sidecar.valve.set()
    assert sidecar.process.returncode == 0


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a device", "terabyte"])
def test_a_checkpoint_that_is_something_else(start: Start, logs: Path, tmp_path: Path, kind: str) -> None:
    """It neither waits nor reads without end; it says so and prints."""
    state = tmp_path / "state"
    state.mkdir()
    if kind == "pipe":
        os.mkfifo(state / "checkpoint")
    elif kind == "folder":
        (state / "checkpoint").mkdir()
    elif kind == "link to a device":
        (state / "checkpoint").symlink_to("/dev/zero")
    else:
        (state / "checkpoint").touch()
        os.truncate(state / "checkpoint", SPARSE)
    append(logs / "app.log", "one")
    sidecar = start()
    sidecar.prints(["one"])
    assert any("checkpoint" in error for error in sidecar.errors)
    assert sidecar.heap() < 8 << 10
