"""What an application, or somebody who means harm, can put into a log folder or do to the files in it."""

import os
import re
import resource
import select
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import SECONDS, until

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


@pytest.mark.parametrize("before", [b"", b"one\n", b"one\nhalf a line"], ids=["nothing", "a line", "half a line"])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_lines_behind_a_hole_of_a_terabyte(start: Start, logs: Path, before: bytes, when: str) -> None:
    """They are printed, and the hole is not."""
    (logs / "hole.log").write_bytes(before)
    os.truncate(logs / "hole.log", SPARSE)
    if when == "at once":
        append(logs / "hole.log", "behind")
    sidecar = start()
    if when == "later":
        sidecar.looks()
        append(logs / "hole.log", "behind")
    sidecar.prints(before + b"behind\n")
    append(logs / "hole.log", "more")
    sidecar.prints(before + b"behind\nmore\n")


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


def test_an_application_that_writes_on_faster_than_is_read(logs: Path, tmp_path: Path, program: Path) -> None:
    """A native sidecar that is replaced prints what was there at the signal, looks once more, and ends."""
    (tmp_path / "state").mkdir()
    lines = ("x" * 1000 + "\n") * 40
    ended = threading.Event()

    def write() -> None:
        with (logs / "app.log").open("a") as file:
            while not ended.wait(0.01):
                file.write(lines)
                file.flush()

    append(logs / "app.log", *["x" * 1000] * 500)
    with subprocess.Popen(
        [program, f"{logs}/*.log", "--native", "--state", str(tmp_path / "state")], stdout=subprocess.PIPE
    ) as sidecar:
        writer = threading.Thread(target=write)
        writer.start()
        assert sidecar.stdout is not None
        output = sidecar.stdout.fileno()
        os.read(output, 1)
        sidecar.terminate()
        deadline = time.monotonic() + SECONDS / 2
        while os.read(output, 16 << 10) and time.monotonic() < deadline:
            ended.wait(0.008)  # half as fast as it is written
        ended.set()
        writer.join()
        assert time.monotonic() < deadline
        assert sidecar.wait(SECONDS) == 0


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


def deep(folder: Path) -> Path:
    """Return a folder whose path has some 3,000 bytes."""
    for _ in range(12):
        folder /= "d" * 240
    folder.mkdir(parents=True)
    return folder


def test_a_standard_error_that_nobody_reads(logs: Path, tmp_path: Path, program: Path) -> None:
    """What can't be said is left out; lines are printed all the same."""
    folder = deep(logs)
    for number in range(150):
        (folder / f"{number}.log").symlink_to("/etc/passwd")
    append(logs / "app.log", "one")
    (tmp_path / "state").mkdir()
    with subprocess.Popen(
        [program, f"{logs}/**/*.log", "--state", str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as sidecar:
        assert sidecar.stdout is not None
        ready, _, _ = select.select([sidecar.stdout], [], [], SECONDS)
        sidecar.terminate()
        # the pipe of standard error is full until here
        printed, said = sidecar.communicate(timeout=SECONDS)
    assert ready
    assert printed == b"one\n"
    assert all(len(line) < 4096 for line in said.splitlines())
    assert sidecar.returncode == 0


@pytest.mark.parametrize("kind", ["hard links", "symlinks", "symlinks that can't be followed", "folders"])
def test_names_fill_no_memory(start: Start, logs: Path, kind: str) -> None:
    """Names that add no file are not all remembered either."""
    folder = deep(logs)
    append(folder / "a.log", "one")
    place = os.open(folder, os.O_RDONLY)
    for number in range(20_000):
        if kind == "hard links":
            os.link("a.log", f"{number}.log", src_dir_fd=place, dst_dir_fd=place)
        elif kind == "folders":
            os.mkdir(str(number), dir_fd=place)
        else:
            # a path that goes through a file, or on to a name that is too long
            target = "nowhere" if kind == "symlinks" else "x" * 256
            os.symlink(target, f"{number}.log", dir_fd=place)
    os.close(place)
    sidecar = start("**/*.log")
    sidecar.prints(["one"])
    sidecar.looks()
    append(folder / "a.log", "two")
    sidecar.prints(["one", "two"])
    assert sidecar.peak() < 48 << 10


def test_descriptors_that_run_short_for_a_while(start: Start, logs: Path) -> None:
    """When there are some again they are used."""
    sidecar = start()
    sidecar.looks()
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (14, 1024))
    for number in range(40):
        append(logs / f"{number}.log", f"line {number}")
    until(lambda: len(sidecar.lines) == 40, "all files")
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))

    def all_open() -> bool:
        for number in range(40):
            append(logs / f"{number}.log", "more")
        return sum(".log" in path for path in sidecar.open_files) == 40

    until(all_open, "all files are open")


def test_a_folder_that_cant_be_listed_for_a_moment(start: Start, logs: Path) -> None:
    """Its files are not gone: each goes on where it was."""
    sidecar = start(patience="0")
    for number in range(130):  # more than stay open when they are renamed
        append(logs / f"{number}.log", f"line {number}")
    until(lambda: len(sidecar.lines) == 130, "all lines")
    sidecar.looks()
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (3, 1024))
    (logs / "new.log").touch()
    sidecar.complains(f"can't read {logs}: ")
    sidecar.looks(4)
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    sidecar.looks()
    for number in range(130):
        append(logs / f"{number}.log", f"more {number}")
    words = ("line", "more")
    assert sorted(sidecar.end().decode().splitlines()) == sorted(f"{word} {n}" for word in words for n in range(130))


@pytest.mark.parametrize("kind", ["files", "directories"])
def test_long_paths_fill_no_memory(start: Start, logs: Path, kind: str) -> None:
    """Files and folders are followed as long as there is memory for them, and what is left out is said."""
    folder = deep(logs)
    for number in range(4_000):
        if kind == "files":
            (folder / f"{number}.log").touch()
        else:
            (folder / str(number)).mkdir()
    append(logs / "app.log", "one")
    os.utime(logs / "app.log", (0, 0))  # older ones come first
    sidecar = start("**/*.log")
    sidecar.prints(["one"])
    until(lambda: any(f"too many {kind}" in error for error in sidecar.errors), "what is left out")
    assert sidecar.heap() < 48 << 10


def test_names_of_nothing_but_numbers(start: Start, logs: Path) -> None:
    """A name that may come from a hundred others takes no longer than any other."""
    for number in range(3_000):
        (logs / ("1-" * 115 + f"{number}.log")).touch()
    append(logs / "app.log", "one")
    start().prints(["one"], seconds=5)


def test_a_file_that_lives_between_two_looks(start: Start, logs: Path) -> None:
    """Nobody sees it, and nothing else suffers."""
    append(logs / "app.log", "one")
    sidecar = start(poll="1")
    sidecar.prints(["one"])
    sidecar.looks(1)
    append(logs / "short.log", "never seen")
    (logs / "short.log").unlink()
    append(logs / "app.log", "two")
    sidecar.prints(["one", "two"])


def test_a_file_that_is_removed_while_it_has_no_descriptor(start: Start, logs: Path) -> None:
    """It says how much was not read, and status counts it."""
    for number in range(20):
        append(logs / f"{number:02}.log", f"first of {number}")
    sidecar = start(descriptors=16)  # four of them for log files
    until(lambda: len(sidecar.lines) == 20, "the first lines")
    sidecar.looks()
    sidecar.valve.clear()
    filler = "x" * 1000
    for number in range(20):
        append(logs / f"{number:02}.log", *[filler] * 100)
    sidecar.looks_while_stalled()
    for file in logs.iterdir():
        file.unlink()
    until(lambda: any("too few descriptors" in error for error in sidecar.errors), "what was lost")
    assert re.search(r"too few descriptors: .* was removed before its last \d+ bytes were read", sidecar.errors[0])


def test_the_output_of_a_sidecar_on_the_node(start: Start, logs: Path) -> None:
    """Who reads the node's folder of container logs does not print again what it prints itself, without end."""
    pod = logs / "shop_shop-7d4b_0a1b2c3d-0000-4000-8000-000000000000"
    for container in ("shop", "pillion-tail", "pillion-web"):
        (pod / container).mkdir(parents=True)
        append(pod / container / "0.log", container)
    (logs / "pillion-x").mkdir()
    append(logs / "pillion-x" / "0.log", "a folder of the application")
    (logs / "link.log").symlink_to(pod / "pillion-tail" / "0.log")
    sidecar = start("**/*.log")
    until(lambda: len(sidecar.lines) == 2, "what is no sidecar's")
    sidecar.complains(
        "shop_shop-7d4b_0a1b2c3d-0000-4000-8000-000000000000/pillion-tail/0.log is what a sidecar printed"
    )
    assert sorted(sidecar.end().decode().splitlines()) == ["a folder of the application", "shop"]
