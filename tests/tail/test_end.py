"""SIGTERM, a slow or closed standard output, and all that goes wrong."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import until


class TestSigterm:
    """All that was written is printed, however long it takes; a second without growth is the end.

    A native sidecar prints what is there at the signal and looks once more: the kubelet asks it after all others have
    ended, or replaces just the sidecar, and then the next one goes on.
    """

    @pytest.mark.parametrize(("native", "least"), [("true", 0.2), ("false", 1.0)])
    def test_with_nothing_to_print(self, start: Start, logs: Path, native: str, least: float) -> None:
        """It is gone within 1.5 s, and waits for more."""
        append(logs / "app.log", "one")
        sidecar = start(poll="0.5", native=native)
        sidecar.prints(["one"])
        sidecar.looks(1)
        begin = time.monotonic()
        sidecar.end()
        assert least <= time.monotonic() - begin < 1.5

    def test_of_a_native_sidecar(self, start: Start, logs: Path) -> None:
        """What is written in the last moment is printed all the same."""
        sidecar = start(poll="0.5", native="true")
        sidecar.looks(1)
        append(logs / "app.log", "before")
        sidecar.process.send_signal(signal.SIGTERM)
        until(lambda: sidecar.lines == ["before"], "what was there at the signal")
        append(logs / "app.log", "after")
        assert sidecar.end() == b"before\nafter\n"

    def test_of_a_native_sidecar_while_the_app_goes_on(self, start: Start, logs: Path) -> None:
        """It does not wait for calm; its successor goes on where it ended."""
        writing = threading.Event()
        with (logs / "app.log").open("a", buffering=1) as file:

            def write() -> None:
                number = 0
                while not writing.wait(0.002):
                    file.write(f"line {number}\n")
                    number += 1

            writer = threading.Thread(target=write)
            writer.start()
            try:
                sidecar = start(native="true")
                until(lambda: sidecar.lines, "a line")
                first = sidecar.end(5).decode().splitlines()
                size = (logs / "app.log").stat().st_size
                until(lambda: (logs / "app.log").stat().st_size > size, "a line after its end")
            finally:
                writing.set()
                writer.join()
        rest = start(native="true").end().decode().splitlines()
        assert first + rest == [f"line {number}" for number in range(len(first + rest))]
        assert rest

    def test_without_any_file(self, start: Start) -> None:
        """It is gone as quickly."""
        sidecar = start(poll="0.5")
        sidecar.looks(1)
        begin = time.monotonic()
        assert sidecar.end() == b""
        assert time.monotonic() - begin < 1.5

    def test_lines_at_the_last_moment(self, start: Start, logs: Path) -> None:
        """What was written and not yet seen is printed."""
        sidecar = start(poll="0.5")
        sidecar.looks(1)
        append(logs / "app.log", "one")
        append(logs / "new.log", "two")
        assert sorted(sidecar.end().splitlines()) == [b"one", b"two"]

    def test_a_backlog(self, start: Start, logs: Path) -> None:
        """However long it takes to print it."""
        lines = [f"{number} {'x' * 100}" for number in range(100_000)]
        sidecar = start(stalled=True)
        append(logs / "app.log", *lines)
        sidecar.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            sidecar.process.wait(1.3)
        sidecar.valve.set()
        assert sidecar.process.wait(20) == 0
        assert sidecar.kill().decode().splitlines() == lines

    def test_an_app_that_still_writes(self, start: Start, logs: Path) -> None:
        """It is followed as long as it does not pause for a second."""
        sidecar = start()
        sidecar.looks(1)
        sidecar.process.send_signal(signal.SIGTERM)
        for number in range(4):
            time.sleep(0.4)  # the app's own pace
            append(logs / "app.log", str(number))
        assert sidecar.process.wait(5) == 0
        assert sidecar.kill().split() == [b"%d" % number for number in range(4)]

    def test_a_rotation_at_the_end(self, start: Start, logs: Path) -> None:
        """Old and new are printed."""
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "three")
        assert sidecar.end() == b"one\ntwo\nthree\n"

    def test_twice(self, start: Start, logs: Path) -> None:
        """The second signal changes nothing."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.end() == b"one\n"

    @pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1", "SIGUSR2"])
    def test_signals_of_rotations(self, start: Start, logs: Path, name: str) -> None:
        """They are for the application, and change nothing."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.prints(["one"])
        sidecar.process.send_signal(signal.Signals[name])
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])
        assert sidecar.end() == b"one\ntwo\n"

    def test_sigint(self, start: Start, logs: Path) -> None:
        """People press ^C, and lose no line either."""
        append(logs / "app.log", "one")
        sidecar = start(native="true")
        sidecar.process.send_signal(signal.SIGINT)
        assert sidecar.process.wait(5) == 0
        assert sidecar.kill() == b"one\n"


class TestSlowOutput:
    """While nobody reads, files are still found and opened."""

    def test_files_that_come_and_go_meanwhile(self, start: Start, logs: Path) -> None:
        """They are printed afterwards, in order."""
        first = [f"{number} {'x' * 100}" for number in range(10_000)]
        append(logs / "app.log", *first)
        sidecar = start("app.log", stalled=True)
        sidecar.looks_while_stalled()
        for number in range(5):
            (logs / "app.log").rename(logs / "app.log.1")
            append(logs / "app.log", f"later {number}")
            sidecar.looks_while_stalled()
            (logs / "app.log.1").unlink()
            sidecar.looks_while_stalled()
        sidecar.valve.set()
        sidecar.prints([*first, *(f"later {number}" for number in range(5))])

    def test_removed_files_are_capped(self, start: Start, logs: Path) -> None:
        """The oldest are dropped, and how much is said."""
        first = [f"{number} {'x' * 100}" for number in range(10_000)]
        append(logs / "app.log", *first)
        sidecar = start("app.log", held_bytes="2500000", stalled=True)
        sidecar.looks_while_stalled()
        for number in range(5):
            (logs / "app.log").rename(logs / "app.log.1")
            append(logs / "app.log", *[f"{number} {'y' * 100}"] * 10_000)
            sidecar.looks_while_stalled(6)
            (logs / "app.log.1").unlink()
            sidecar.looks_while_stalled(6)
        line = sidecar.complains("dropped")
        assert "dropped 1030000 bytes of" in line
        held = [path for path in sidecar.open_files if path.endswith("(deleted)")]
        sidecar.valve.set()
        until(lambda: sidecar.lines.count(f"4 {'y' * 100}") == 10_000, "the last file")
        numbers = [line.split()[0] for line in sidecar.lines if "y" in line]
        assert 1 <= len(held) <= 3
        assert numbers == sorted(numbers)
        assert all(numbers.count(number) in (0, 10_000) for number in "01234")

    def test_what_was_dropped_is_not_held(self, start: Start, logs: Path) -> None:
        """The disk space is free."""
        append(logs / "app.log", *["x" * 100] * 10_000)
        sidecar = start(held_bytes="1", stalled=True)
        sidecar.looks_while_stalled(6)
        append(logs / "other.log", *["x" * 100] * 10_000)
        until(lambda: str(logs / "other.log") in sidecar.open_files, "the other file is held")
        (logs / "other.log").unlink()
        sidecar.complains("dropped")
        assert not any("other.log" in path for path in sidecar.open_files)


class TestTrouble:
    """Whatever goes wrong, it says so and goes on."""

    def test_a_closed_standard_output(self, start: Start, logs: Path) -> None:
        """It says so once and stays."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.prints(["one"])
        sidecar.close_output()
        append(logs / "app.log", "two")
        sidecar.complains("can't write to standard output")
        sidecar.looks(3)
        assert len(sidecar.errors) == 1

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_a_full_disk(self, start: Start, logs: Path, tmp_path: Path) -> None:
        """Without a checkpoint lines are printed all the same; when there is room, there is one again."""
        state = tmp_path / "state"
        state.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(state)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("this machine can't mount a tmpfs")
        try:
            (state / "ballast").write_bytes(b"x" * 65536)
            sidecar = start("app.log")
            append(logs / "app.log", "one")
            sidecar.prints(["one"])
            sidecar.complains("checkpoint")
            append(logs / "app.log", "two")
            sidecar.prints(["one", "two"])
            sidecar.looks()
            tried = state.stat().st_mtime_ns
            sidecar.looks(3)
            assert state.stat().st_mtime_ns == tried  # at rest it does not try again and again
            (state / "ballast").unlink()
            append(logs / "app.log", "three")
            sidecar.prints(["one", "two", "three"])
            sidecar.looks()
            sidecar.kill()
            append(logs / "app.log", "four")
            last = start("app.log")
            last.prints(["four"])
            last.kill()
        finally:
            subprocess.run(["umount", str(state)], check=True)

    def test_without_a_place_for_the_checkpoint(self, start: Start, logs: Path) -> None:
        """It prints, and says what is missing."""
        append(logs / "app.log", "one")
        sidecar = start(state="/nowhere")
        sidecar.prints(["one"])
        assert "a restart prints lines again" in sidecar.complains("/nowhere")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "damaged"),
            (b"\0\xff - 1:2 x y z $(exit) a// \n1:1 -1 0 0 /x// y\n", "damaged"),
            (b"pillion-tail checkpoint 999\nwhatever\n", "newer"),
        ],
        ids=["empty", "garbage", "a newer version"],
    )
    def test_a_checkpoint_that_is_none(self, start: Start, logs: Path, content: bytes, told: str) -> None:
        """It says so, and begins as in a new pod."""
        append(logs / "app.log", "one")
        append(logs / "app.log.1", "old")
        first = start()
        first.prints(["one"])
        first.end()
        (checkpoint,) = first.state.iterdir()
        checkpoint.write_bytes(content)
        sidecar = start()
        sidecar.prints(["one"])
        assert "as in a new pod" in sidecar.complains(told)
        sidecar.end()
        append(logs / "app.log", "two")
        start().prints(["two"])

    @pytest.mark.parametrize("keep", [0.3, 0.9, 0.99])
    def test_a_torn_checkpoint(self, start: Start, logs: Path, keep: float) -> None:
        """Lines may come again, and none is lost."""
        for number in range(20):
            append(logs / f"{number}.log", f"line {number}")
        first = start()
        until(lambda: len(first.lines) == 20, "all lines")
        first.end()
        (checkpoint,) = first.state.iterdir()
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: int(len(content) * keep)])
        for number in range(20):
            append(logs / f"{number}.log", f"more {number}")
        assert {f"more {number}" for number in range(20)} <= set(start().end().decode().splitlines())

    def test_more_files_than_descriptors(self, start: Start, logs: Path) -> None:
        """All are printed, and all are followed: idle ones are closed and known again."""
        sidecar = start(descriptors=20)
        for number in range(40):
            append(logs / f"{number:02}.log", f"line {number}")
        until(lambda: len(sidecar.lines) == 40, "all files")
        for number in range(40):
            append(logs / f"{number:02}.log", f"more {number}")
        until(lambda: len(sidecar.lines) == 80, "all files again")
        assert sum(".log" in path for path in sidecar.open_files) < 20
        for number in range(40):
            (logs / f"{number:02}.log").rename(logs / f"{number:02}.log.1")
            append(logs / f"{number:02}.log.1", f"last {number}")
            append(logs / f"{number:02}.log", f"new {number}")
        printed = sidecar.end().decode().splitlines()
        words = ("line", "more", "last", "new")
        assert sorted(printed) == sorted(f"{word} {number}" for word in words for number in range(40))
        for number in range(40):
            assert [line.split()[0] for line in printed if line.endswith(f" {number}")] == list(words)
        assert not sidecar.errors


def test_memory_does_not_grow(start: Start, logs: Path) -> None:
    """A thousand looks with something to print leave it as small as it was."""
    with (logs / "app.log").open("a", buffering=1) as file:
        stop = threading.Event()

        def write() -> None:
            number = 0
            while not stop.wait(0.002):
                number += 1
                file.write(f"line {number}\n")

        sidecar = start(poll="0.001")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            until(lambda: len(sidecar.lines) > 200, "a warm start")
            before = sidecar.heap()
            until(lambda: len(sidecar.lines) > 1000, "lines", 60)
            assert sidecar.heap() <= before + 16
        finally:
            stop.set()
            writer.join()
