"""A sidecar that was killed: the next one goes on from the checkpoint."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import Sidecar, until


def status(program: Path, sidecar: Sidecar) -> str:
    """Return the last line of what `pillion-tail status` says."""
    words = [str(program), "status", "--state", str(sidecar.state)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()[-1]


class TestCheckpoint:
    """At least once, and at most one poll interval again."""

    def test_nothing_again_after_a_pause(self, start: Start, logs: Path) -> None:
        """What was written down is not printed again."""
        append(logs / "app.log", "one")
        start().kill_after(["one"])
        append(logs / "app.log", "two")
        start().prints(["two"])

    def test_nothing_again_after_sigterm(self, start: Start, logs: Path) -> None:
        """The end writes it, too."""
        append(logs / "app.log", "one")
        start().end()
        append(logs / "app.log", "two")
        start().prints(["two"])

    def test_many_kills(self, start: Start, logs: Path) -> None:
        """Every line is printed; again are at most those of one interval, from the beginning of a line."""
        printed: list[str] = []
        for round_ in range(8):
            append(logs / "app.log", *(f"{round_} {number} {'x' * 50}" for number in range(1000)))
            sidecar = start()
            until(lambda sidecar=sidecar: len(sidecar.printed) > 1000, "some lines")  # type: ignore[misc]
            printed += sidecar.kill().decode().split("\n")[:-1]
        printed += start().end().decode().splitlines()
        wanted = [f"{round_} {number} {'x' * 50}" for round_ in range(8) for number in range(1000)]
        assert set(printed) == set(wanted)
        assert len(printed) <= len(wanted) + 8 * 2000

    def test_rotation_while_it_was_down(self, start: Start, logs: Path) -> None:
        """The old file is printed to its end, then those that came, in order."""
        append(logs / "app.log.1", "not ours")
        append(logs / "app.log", "one")
        start("app.log").kill_after(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log.1").rename(logs / "app.log.4")
        (logs / "app.log").rename(logs / "app.log.3")
        append(logs / "app.log.2", "three")
        append(logs / "app.log.1", "four")
        append(logs / "app.log", "five")
        start("app.log").prints(["two", "three", "four", "five"])

    @pytest.mark.parametrize("name", ["app.log.old", "app-2026-01-01T00-00-00.000.log", "app_1.log"])
    def test_rotation_while_it_was_down_and_the_first_is_gone(self, start: Start, logs: Path, name: str) -> None:
        """The checkpoint tells that it was there: what has such a name comes from it."""
        append(logs / "app.log", "one")
        start("app.log").kill_after(["one"])
        (logs / "app.log").unlink()
        append(logs / name, "two")
        append(logs / "app.log", "three")
        start("app.log").prints(["two", "three"])

    @pytest.mark.parametrize("name", ["app1.log", "app.log00001", "@4000000065e5.u", "app.log.tmp", "moved"])
    def test_a_name_that_tells_nothing(self, start: Start, logs: Path, name: str) -> None:
        """A file that was renamed while it was down is known by its number."""
        append(logs / "app.log", "one")
        start("app.log").kill_after(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log").rename(logs / name)
        append(logs / "app.log", "three")
        second = start("app.log")
        second.prints(["two", "three"])
        append(logs / name, "four")
        second.prints(["two", "three", "four"])

    def test_removed_while_it_was_down(self, start: Start, logs: Path) -> None:
        """Nobody has what was not printed of it."""
        append(logs / "app.log", "one")
        start("app.log").kill_after(["one"])
        append(logs / "app.log", "two")
        (logs / "app.log").unlink()
        append(logs / "app.log", "three")
        start("app.log").prints(["three"])

    def test_a_file_that_cant_be_read_for_a_while(self, program: Path) -> None:
        """Its position is kept until it can be read again."""
        user = 65532 if os.geteuid() == 0 else os.geteuid()  # root reads everything
        with tempfile.TemporaryDirectory() as scratch:  # pytest's own folder is closed to others
            folder = Path(scratch)
            folder.chmod(0o755)
            own = Path(shutil.copy(program, folder / "pillion-tail"))
            append(folder / "app.log", "one")
            Sidecar(folder, own, [f"{folder}/*.log"], {}, user=user).kill_after(["one"])
            append(folder / "app.log", "two")
            (folder / "app.log").chmod(0)
            second = Sidecar(folder, own, [f"{folder}/*.log"], {}, user=user)
            try:
                second.complains("can't read")
                second.looks(3)
                (folder / "app.log").chmod(0o644)
                second.prints(["two"])
            finally:
                second.kill()

    def test_a_renamed_file_goes_on(self, start: Start, logs: Path) -> None:
        """It is still followed after a restart."""
        append(logs / "app.log", "one")
        first = start("app.log")
        first.prints(["one"])
        (logs / "app.log").rename(logs / "app.log.1")
        first.looks()
        first.kill()
        append(logs / "app.log.1", "two")
        append(logs / "app.log", "three")
        start("app.log").prints(["two", "three"])

    @pytest.mark.parametrize("content", ["two\n", "longer than it was\n"])
    def test_another_file_with_its_inode(self, start: Start, logs: Path, content: str) -> None:
        """File systems give a removed file's number to the next one: it is printed from its beginning."""
        append(logs / "app.log", "one")
        start().kill_after(["one"])
        (logs / "app.log").write_text(content)  # the same inode with other content
        start().prints(content)

    def test_an_unfinished_line(self, start: Start, logs: Path) -> None:
        """It is printed once, in one piece."""
        (logs / "app.log").write_text("one\nun")
        start().kill_after(["one"])
        with (logs / "app.log").open("a") as file:
            file.write("finished\n")
        start().prints(["unfinished"])

    def test_copytruncate_while_it_was_down(self, start: Start, logs: Path) -> None:
        """What is shorter than it was is printed from its beginning."""
        append(logs / "app.log", "one", "two")
        start().kill_after(["one", "two"])
        os.truncate(logs / "app.log", 0)
        append(logs / "app.log", "three")
        start().prints(["three"])

    def test_it_never_grows(self, start: Start, logs: Path, program: Path) -> None:
        """Files that are gone leave nothing behind."""
        sidecar = start("app.log", poll="0.005", patience="1")
        for number in range(15):
            append(logs / "app.log", f"line {number}")
            sidecar.looks(1)
            (logs / "app.log").unlink()
        append(logs / "app.log", "last")
        until(lambda: status(program, sidecar).startswith("1 files, 0 bytes behind"), "only the last file")
        assert len(list(sidecar.state.iterdir())) == 1

    def test_it_is_written_only_if_there_is_something_new(self, start: Start, logs: Path) -> None:
        """At rest the disk is left alone."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.prints(["one"])
        sidecar.looks()
        (checkpoint,) = sidecar.state.iterdir()
        before = checkpoint.stat()
        sidecar.looks(5)
        assert checkpoint.stat() == before

    def test_it_stays_small(self, start: Start, logs: Path) -> None:
        """However often a file grows."""
        sidecar = start(poll="0.0005")
        with (logs / "app.log").open("a", buffering=1) as file:
            for number in range(3000):
                file.write(f"line {number}\n")
                until(lambda number=number: len(sidecar.lines) > number, "the line")  # type: ignore[misc]
        (checkpoint,) = sidecar.state.iterdir()
        assert checkpoint.stat().st_size < 70_000
