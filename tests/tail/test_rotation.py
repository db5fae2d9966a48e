"""Files that are renamed, removed, truncated, written anew, copied and switched while they are followed."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append, rotate
from .sidecar import until


class TestRename:
    """A file is known by its inode."""

    @pytest.mark.parametrize("pattern", ["app.log", "*.log", "app*", "*", "**/*.log", "**/*"])
    def test_what_was_renamed_is_not_printed_again(self, start: Start, logs: Path, pattern: str) -> None:
        """It goes on under its new name, and so does its successor under the old one."""
        append(logs / "app.log", "one")
        sidecar = start(pattern)
        sidecar.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log.1", "two")
        append(logs / "app.log", "three")
        sidecar.prints(["one", "two", "three"])
        append(logs / "app.log.1", "four")
        sidecar.prints(["one", "two", "three", "four"])

    @pytest.mark.parametrize("pattern", ["app.log", "*.log", "app*", "**/app.log"])
    @pytest.mark.parametrize(
        "names", [("app.log.1", "app.log.2"), ("app.log-1", "app.log-0"), ("app.1.log", "app.2.log")]
    )
    def test_twice_between_two_looks(self, start: Start, logs: Path, pattern: str, names: tuple[str, str]) -> None:
        """The file that never was seen under its own name is printed all the same, and in order."""
        app, first, second = logs / "app.log", logs / names[0], logs / names[1]
        append(app, "one")
        sidecar = start(pattern)
        sidecar.prints(["one"])
        sidecar.looks()
        append(app, "two")
        app.rename(first)
        append(app, "three")
        first.rename(second)
        app.rename(first)
        append(app, "four")
        sidecar.prints(["one", "two", "three", "four"])

    def test_twice_within_one_tick_of_the_clock(self, start: Start, logs: Path) -> None:
        """What has the name comes last, even if all have one time stamp."""
        append(logs / "app.log", "one")
        sidecar = start("app*")
        sidecar.prints(["one"])
        sidecar.looks()
        (logs / "app.log").rename(logs / "app.log.2")
        for name, line in (("prepared.1", "two"), ("prepared.2", "three")):
            append(logs / name, line)
            os.utime(logs / name, (0, 0))
        (logs / "prepared.1").rename(logs / "app.log.1")
        (logs / "prepared.2").rename(logs / "app.log")
        sidecar.prints(["one", "two", "three"])

    def test_an_app_that_goes_on_after_a_while(self, start: Start, logs: Path) -> None:
        """In a renamed file whose name nobody has taken: nothing comes again, and what it writes is printed."""
        append(logs / "app.log", "one")
        sidecar = start("app.log", patience="0")
        sidecar.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        sidecar.looks(5)
        append(logs / "app.log.1", "two")
        sidecar.prints(["one", "two"])
        append(logs / "app.log", "three")
        sidecar.prints(["one", "two", "three"])
        assert sidecar.settled() == b"one\ntwo\nthree\n"

    def test_not_all_renamed_files_stay_open(self, start: Start, logs: Path) -> None:
        """A hundred do, and none is printed again."""
        sidecar = start("*.log", patience="0")
        for number in range(130):
            append(logs / f"{number}.log", f"line {number}")
        until(lambda: len(sidecar.lines) == 130, "all lines")
        for number in range(130):
            (logs / f"{number}.log").rename(logs / f"{number}.log.1")
        until(lambda: sum(".log" in path for path in sidecar.open_files) == 100, "a hundred open files")
        sidecar.settled()
        assert len(sidecar.lines) == 130

    def test_overwritten_after_it_was_renamed(self, start: Start, logs: Path) -> None:
        """As shred does before it removes a file: that is no log any more."""
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "two")
        sidecar.prints(["one", "two"])
        sidecar.looks()
        for fill in (b"a", b"b"):
            with (logs / "app.log.1").open("r+b") as file:
                file.write(fill * 4095 + b"\n")
            sidecar.looks()
        (logs / "app.log.1").unlink()
        append(logs / "app.log", "three")
        sidecar.prints(["one", "two", "three"])

    def test_old_rotated_files_are_not_printed(self, start: Start, logs: Path) -> None:
        """What was rotated before the sidecar started is not meant by the pattern."""
        append(logs / "app.log.1", "old")
        append(logs / "app.log.2", "older")
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        (logs / "app.log.2").unlink()
        (logs / "app.log.1").rename(logs / "app.log.2")
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "two")
        assert sidecar.settled() == b"one\ntwo\n"

    def test_the_old_one_is_compressed(self, start: Start, logs: Path) -> None:
        """Its last lines are read although it is gone, and the compressed file is not printed."""
        append(logs / "app.log", "one")
        sidecar = start("app*")
        sidecar.prints(["one"])
        for number in range(2, 6):
            append(logs / "app.log", str(number))
            sidecar.looks(1)
            append(logs / "app.log", f"and {number}")
            (logs / "app.log").rename(logs / "app.log.1")
            (logs / f"app.log.{number}.gz").write_bytes(gzip.compress((logs / "app.log.1").read_bytes()))
            (logs / "app.log.1").unlink()
            sidecar.looks()
        assert sidecar.settled() == b"one\n" + b"".join(b"%d\nand %d\n" % (n, n) for n in range(2, 6))

    def test_the_new_one_waits_for_the_end_of_the_old_one(self, start: Start, logs: Path) -> None:
        """However much there is to read in it."""
        old = [f"old {number} {'x' * 100}" for number in range(300_000)]
        append(logs / "app.log", "first")
        sidecar = start("app.log")
        sidecar.prints(["first"])
        append(logs / "app.log", *old)
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "new")
        sidecar.prints(["first", *old, "new"])

    def test_an_unfinished_line_before_a_rotation(self, start: Start, logs: Path) -> None:
        """It is a line of its own."""
        (logs / "app.log").write_text("one\nunfinished")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "two")
        sidecar.prints(["one", "unfinished", "two"])

    def test_many_rotations(self, start: Start, logs: Path) -> None:
        """Lines stay in order, whatever the moment of a look."""
        sidecar = start("app.log")
        sidecar.looks()
        expected = []
        for number in range(90):
            append(logs / "app.log", f"line {number}")
            expected.append(f"line {number}")
            if number % 3 == 0:
                rotate(logs / "app.log", keep=4)
                sidecar.looks(1)
        sidecar.prints(expected)


class TestRemoval:
    """A removed file is read to its end."""

    def test_lines_written_before_it_was_removed(self, start: Start, logs: Path) -> None:
        """They are printed, and the file that has its name then is another."""
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log").unlink()
        append(logs / "app.log", "three")
        sidecar.prints(["one", "two", "three"])

    def test_lines_written_after_it_was_removed(self, start: Start, logs: Path) -> None:
        """An app that holds it open goes on."""
        with (logs / "app.log").open("a", buffering=1) as file:
            file.write("one\n")
            sidecar = start("app.log")
            sidecar.prints(["one"])
            (logs / "app.log").unlink()
            sidecar.looks()
            file.write("two\n")
            sidecar.prints(["one", "two"])

    def test_the_folder_is_removed(self, start: Start, logs: Path) -> None:
        """And made again."""
        (logs / "sub").mkdir()
        append(logs / "sub/app.log", "one")
        sidecar = start("sub/*.log")
        sidecar.prints(["one"])
        shutil.rmtree(logs / "sub")
        sidecar.looks()
        (logs / "sub").mkdir()
        append(logs / "sub/app.log", "two")
        sidecar.prints(["one", "two"])

    def test_removed_files_are_let_go(self, start: Start, logs: Path) -> None:
        """After a while without growth they take no more space on the disk."""
        append(logs / "app.log", "one")
        sidecar = start("app.log", patience="1")
        sidecar.prints(["one"])
        inode = f"{logs / 'app.log'} (deleted)"
        (logs / "app.log").unlink()
        until(lambda: inode in sidecar.open_files, "the removed file is held")
        until(lambda: inode not in sidecar.open_files, "the removed file is let go")


class TestRewriting:
    """Each version of a file that stood for a while is printed once."""

    @pytest.mark.parametrize(
        "versions",
        [
            pytest.param(["long one\n", "short\n"], id="shorter"),
            pytest.param(["version 1\n", "version 2\n"], id="equally long"),
            pytest.param(["short\n", "now longer\n"], id="longer"),
            pytest.param(["same\n", "same\n", "same\n"], id="the same"),
            pytest.param(["1\nend\n", "2\nend\nmore\n"], id="the same end in the same place"),
            pytest.param(["no newline", "none either", "1"], id="without newlines"),
            pytest.param(["same", "same"], id="the same without newlines"),
            pytest.param(["head\nno newline", "head\nother\n"], id="the same head"),
            pytest.param(["a\n" * 50_000, "b\n" * 60_000, "c\n" * 70_000], id="big ones"),
            pytest.param(["", "", "x\n"], id="empty"),
        ],
    )
    def test_truncated_and_written_anew(self, start: Start, logs: Path, versions: list[str]) -> None:
        """As ``>`` of a shell does."""
        (logs / "app.log").touch()
        sidecar = start("app.log")
        for version in versions:
            (logs / "app.log").write_text(version)
            sidecar.looks()
        lines = [line for version in versions for line in version.splitlines()]
        until(lambda: len(sidecar.lines) >= len(lines) or not versions[-1].endswith("\n"), "every version")
        assert sidecar.end().decode().splitlines() == lines

    def test_replaced_by_rename(self, start: Start, logs: Path) -> None:
        """As programs do that write atomically."""
        sidecar = start("app.log")
        for number in range(5):
            append(logs / "temporary", f"version {number}")
            (logs / "temporary").rename(logs / "app.log")
            sidecar.looks()
        assert sidecar.settled().decode().splitlines() == [f"version {number}" for number in range(5)]

    def test_its_beginning_is_cut_off(self, start: Start, logs: Path) -> None:
        """What is left of it is another version."""
        lines = [f"{number} {'x' * 100}" for number in range(10)]
        append(logs / "app.log", *lines)
        sidecar = start("app.log")
        sidecar.prints(lines)
        (logs / "app.log").write_text("".join(f"{line}\n" for line in lines[-3:]))
        append(logs / "app.log", "more")
        sidecar.prints([*lines, *lines[-3:], "more"])

    def test_touch_prints_nothing(self, start: Start, logs: Path) -> None:
        """Nothing was written."""
        append(logs / "app.log", "one")
        sidecar = start("app.log")
        sidecar.prints(["one"])
        sidecar.looks()
        (logs / "app.log").touch()
        sidecar.looks()
        assert sidecar.settled() == b"one\n"

    def test_truncated_while_its_backlog_is_printed(self, start: Start, logs: Path) -> None:
        """What is left of it is not printed; what comes then is, from its beginning."""
        append(logs / "app.log", *(f"old {number} {'x' * 100}" for number in range(200_000)))
        sidecar = start("app.log", stalled=True)
        sidecar.looks_while_stalled()
        (logs / "app.log").write_text("new 1\nnew 2\n")
        sidecar.looks_while_stalled()
        sidecar.valve.set()
        until(lambda: sidecar.printed.endswith(b"new 1\nnew 2\n"), "the new lines")
        append(logs / "app.log", "new 3")
        until(lambda: sidecar.printed.endswith(b"new 1\nnew 2\nnew 3\n"), "the next line")

    def test_copytruncate(self, start: Start, logs: Path) -> None:
        """The copy is not printed, and what is appended after the truncation is."""
        with (logs / "app.log").open("a", buffering=1) as file:
            file.write("one\ntwo\n")
            sidecar = start("app.log")
            sidecar.prints(["one", "two"])
            sidecar.looks()
            shutil.copy(logs / "app.log", logs / "app.log.1")
            os.truncate(logs / "app.log", 0)
            file.write("three\n")
            sidecar.prints(["one", "two", "three"])
            sidecar.looks()
            (logs / "app.log.1").rename(logs / "app.log.2")
            shutil.copy(logs / "app.log", logs / "app.log.1")
            os.truncate(logs / "app.log", 0)
            file.write("four, and longer than it was\n")
            sidecar.prints(["one", "two", "three", "four, and longer than it was"])
        assert sidecar.settled() == b"one\ntwo\nthree\nfour, and longer than it was\n"


class TestSymlinks:
    """A symlink is followed when it is switched."""

    @pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
    def test_switched(self, start: Start, logs: Path, absolute: bool) -> None:
        """The old file is printed to its end, then the new one."""
        append(logs / "app-1", "one")
        (logs / "current").symlink_to(logs / "app-1" if absolute else "app-1")
        sidecar = start("current")
        sidecar.prints(["one"])
        append(logs / "app-1", "two")
        append(logs / "app-2", "three")
        (logs / "next").symlink_to(logs / "app-2" if absolute else "app-2")
        (logs / "next").rename(logs / "current")
        sidecar.prints(["one", "two", "three"])
        append(logs / "app-1", "four")
        sidecar.prints(["one", "two", "three", "four"])

    def test_switched_out_of_the_volume(self, start: Start, logs: Path) -> None:
        """It is not followed there, but back."""
        append(logs / "app-1", "one")
        (logs / "current").symlink_to("app-1")
        sidecar = start("current")
        sidecar.prints(["one"])
        for target in ("/etc/passwd", "app-1"):
            (logs / "next").symlink_to(target)
            (logs / "next").rename(logs / "current")
            sidecar.looks()
        append(logs / "app-1", "two")
        sidecar.prints(["one", "two"])

    def test_dangling(self, start: Start, logs: Path) -> None:
        """Its file may come later."""
        (logs / "current").symlink_to("app-1")
        sidecar = start("current")
        sidecar.looks()
        append(logs / "app-1", "one")
        sidecar.prints(["one"])
