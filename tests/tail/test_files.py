"""Which files are printed, and how: paths, globs, folders, names, contents."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import Sidecar, until


class TestWhichFiles:
    """Arguments are paths, globs, and DIR/**/NAME."""

    def test_a_file_that_is_there(self, start: Start, logs: Path) -> None:
        """It is printed from its beginning, and as it grows."""
        append(logs / "app.log", "one", "two")
        sidecar = start("app.log")
        sidecar.prints(["one", "two"])
        append(logs / "app.log", "three")
        sidecar.prints(["one", "two", "three"])

    def test_a_late_file(self, start: Start, logs: Path) -> None:
        """It is printed as soon as it is there."""
        sidecar = start("app.log")
        sidecar.looks()
        append(logs / "app.log", "late")
        sidecar.prints(["late"])

    def test_a_late_folder(self, start: Start, logs: Path) -> None:
        """The folder of a pattern may come up later."""
        sidecar = start("deep/er/*.log")
        sidecar.looks()
        (logs / "deep/er").mkdir(parents=True)
        append(logs / "deep/er/app.log", "late")
        sidecar.prints(["late"])

    def test_a_glob(self, start: Start, logs: Path) -> None:
        """All files that match are printed, and no others."""
        append(logs / "a.log", "a")
        append(logs / "b.log", "b")
        append(logs / "c.txt", "c")
        append(logs / ".hidden.log", "hidden")
        (logs / "folder.log").mkdir()
        assert start("*.log").settled() == b"a\nb\n"

    def test_any_depth(self, start: Start, logs: Path) -> None:
        """``**/`` means the folder itself and all below it, also those that come later."""
        append(logs / "top.log", "top")
        append(logs / "top.txt", "no")
        sidecar = start("**/*.log")
        sidecar.prints(["top"])
        (logs / "a/b").mkdir(parents=True)
        append(logs / "a/b/deep.log", "deep")
        sidecar.prints(["top", "deep"])

    @pytest.mark.parametrize("pattern", ["*", "**/*"])
    def test_hidden_files(self, start: Start, logs: Path, pattern: str) -> None:
        """As a shell's, a glob means no name that begins with a dot, unless it begins with one itself."""
        for name in (".hidden", "shown", "sub/shown", "sub/.hidden", ".git/shown"):
            (logs / name).parent.mkdir(exist_ok=True)
            append(logs / name, name)
        assert set(start(pattern).settled().decode().split()) == {"shown", *(["sub/shown"] if "**" in pattern else [])}

    def test_hidden_files_by_name(self, start: Start, logs: Path) -> None:
        """Who begins with a dot gets them."""
        append(logs / ".hidden", "hidden")
        append(logs / "shown", "shown")
        assert start(".*").settled() == b"hidden\n"

    @pytest.mark.parametrize("name", ["*", "[a]", "with blank", "new\nline", "back\\slash", "-n", "$(id)"])
    def test_any_folder(self, start: Start, logs: Path, name: str) -> None:
        """A folder may be called anything, too."""
        (logs / name / name).mkdir(parents=True)
        append(logs / name / name / "app.log", "one")
        sidecar = start("**/app.log")
        sidecar.prints(["one"])
        (logs / name / name / "app.log").rename(logs / name / name / "app.log.1")
        append(logs / name / name / "app.log", "two")
        sidecar.prints(["one", "two"])
        assert not sidecar.errors

    def test_a_loop_of_folders(self, start: Start, logs: Path) -> None:
        """A symlink to the folder itself leads nowhere."""
        append(logs / "app.log", "once")
        (logs / "loop").symlink_to(logs)
        assert start("**/*.log").settled() == b"once\n"

    @pytest.mark.parametrize("suffix", ["gz", "zst", "xz", "bz2", "zip", "lz4", "lzma", "Z"])
    def test_compressed_files_match_no_glob(self, start: Start, logs: Path, suffix: str) -> None:
        """A glob that means everything doesn't mean them."""
        append(logs / f"app.log.{suffix}", "compressed")
        append(logs / "app.log", "text")
        assert start("*", "**/*").settled() == b"text\n"

    def test_a_compressed_file_by_name(self, start: Start, logs: Path) -> None:
        """Who names it gets it."""
        append(logs / "odd.gz", "text")
        assert start("odd.gz").settled() == b"text\n"

    def test_two_patterns_mean_one_file(self, start: Start, logs: Path) -> None:
        """It is printed once."""
        append(logs / "app.log", "once")
        (logs / "link.log").symlink_to("app.log")
        os.link(logs / "app.log", logs / "hard.log")
        assert start("*.log", "app.log", "**/*.log").settled() == b"once\n"

    @pytest.mark.parametrize(
        "name",
        [
            *("with blank.log", "two\nlines.log", "-n.log", "--help", "%s%d.log", "a'b\".log", "$HOME.log", "`id`.log"),
            *(
                "tab\there.log",
                "üñï.log",
                "*.log",
                "a[1].log",
                "semi;colon",
                "a // b.log",
                "x// 5 5",
                "back\\slash.log",
            ),
        ],
    )
    def test_names(self, start: Start, logs: Path, name: str) -> None:
        """A file may be called anything."""
        path = logs / name.replace("/", "|")
        append(path, "one")
        sidecar = start("*")
        sidecar.prints(["one"])
        path.rename(logs / "other")
        append(logs / "other", "two")
        sidecar.prints(["one", "two"])
        assert not sidecar.errors

    def test_a_name_that_is_not_utf8(self, start: Start, logs: Path) -> None:
        """Names are bytes."""
        with open(os.fsencode(logs) + b"/\xff\xfe.log", "wb") as file:  # noqa: PTH123 — bytes
            file.write(b"line\n")
        assert start("*.log").settled() == b"line\n"

    def test_a_hundred_files(self, start: Start, logs: Path) -> None:
        """All are printed, and all are followed."""
        sidecar = start("*.log")
        for number in range(100):
            append(logs / f"{number}.log", f"first {number}")
        until(lambda: len(sidecar.lines) == 100, "all files")
        for number in range(100):
            append(logs / f"{number}.log", f"second {number}")
        until(lambda: len(sidecar.lines) == 200, "all files again")
        assert sorted(sidecar.lines) == sorted(f"{word} {n}" for n in range(100) for word in ("first", "second"))


class TestWhatIsNeverPrinted:
    """Only regular files inside the volume are read."""

    def test_a_symlink_out_of_the_volume(self, start: Start, logs: Path) -> None:
        """It is not printed, and that is said once."""
        (logs / "out.log").symlink_to("/etc/passwd")
        append(logs / "app.log", "mine")
        sidecar = start()
        assert "out.log leads out of the volume" in sidecar.complains("volume")
        append(logs / "app.log", "more")
        assert sidecar.settled() == b"mine\nmore\n"
        assert len(sidecar.errors) == 1

    @pytest.mark.parametrize("secret", ["environ", "cmdline", "maps"])
    def test_a_symlink_to_its_own_proc(self, start: Start, logs: Path, secret: str) -> None:
        """The sidecar's environment is nobody's business."""
        (logs / "out.log").symlink_to(f"/proc/self/{secret}")
        append(logs / "app.log", "mine")
        assert start().settled() == b"mine\n"

    def test_a_folder_that_leads_out(self, start: Start, logs: Path) -> None:
        """A symlink on the way counts, too."""
        (logs / "etc").symlink_to("/etc")
        assert start("etc/passwd", "etc/host*").settled() == b""

    def test_a_symlink_inside_the_volume(self, start: Start, logs: Path) -> None:
        """It is printed, whether relative or absolute."""
        (logs / "store").mkdir()
        append(logs / "store/app-1", "one")
        append(logs / "store/app-2", "two")
        (logs / "a.log").symlink_to("store/app-1")
        (logs / "b.log").symlink_to(logs / "store/app-2")
        assert start().settled() == b"one\ntwo\n"

    def test_pipes_devices_and_sockets(self, start: Start, logs: Path) -> None:
        """They are never opened: opening a pipe would block, and a terminal's worse."""
        os.mkfifo(logs / "pipe.log")
        (logs / "null.log").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(logs / "s.log"))
            append(logs / "app.log", "mine")
            sidecar = start()
            sidecar.prints(["mine"])
            append(logs / "app.log", "more")
            assert sidecar.settled() == b"mine\nmore\n"

    def test_a_file_that_cant_be_read(self, program: Path) -> None:
        """It is said once, with owner, mode and our user; as soon as it can be read, it is printed."""
        user = 65532 if os.geteuid() == 0 else os.geteuid()  # root reads everything
        with tempfile.TemporaryDirectory() as scratch:  # pytest's own folder is closed to others
            folder = Path(scratch)
            folder.chmod(0o755)
            own = Path(shutil.copy(program, folder / "pillion-tail"))
            secret = folder / "secret.log"
            append(secret, "secret")
            secret.chmod(0o200)
            sidecar = Sidecar(folder, own, [f"{folder}/*.log"], {}, user=user)
            try:
                line = sidecar.complains("secret.log")
                assert f"owner {os.geteuid()}:" in line
                assert "mode 200" in line
                assert f"we are {user}:" in line
                sidecar.looks()
                secret.chmod(0o644)
                sidecar.prints(["secret"])
                assert len(sidecar.errors) == 1
            finally:
                sidecar.kill()


class TestContent:
    """Bytes are printed as they were written."""

    def test_one_file_is_copied_byte_by_byte(self, start: Start, logs: Path) -> None:
        """Any bytes, also NUL, carriage returns and no newline at the end."""
        content = bytes(range(256)) * 100 + b"\n\n\r\n\0\0\n" + b"end without newline\0"
        (logs / "app.log").write_bytes(content)
        assert start("app.log").end() == content

    def test_an_unfinished_line_waits_for_its_end(self, start: Start, logs: Path) -> None:
        """It is printed in one piece."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.prints(["one"])
        with (logs / "app.log").open("a") as file:
            file.write("un")
            file.flush()
            append(logs / "other.log", "other")
            sidecar.prints(["one", "other"])
            file.write("finished\n")
        sidecar.prints(["one", "other", "unfinished"])

    def test_lines_of_several_files_never_mix(self, start: Start, logs: Path) -> None:
        """Files that end without a newline are each on a line of their own."""
        for name in "abc":
            (logs / f"{name}.log").write_text(f"{name} one\n{name} two")
        assert sorted(start().end().decode().splitlines()) == [f"{name} {n}" for name in "abc" for n in ("one", "two")]

    def test_long_lines(self, start: Start, logs: Path) -> None:
        """Lines of a mebibyte are whole, also beside other files."""
        lines = {letter: [letter * length for length in (1, 2**20, 70_000, 2**21, 5)] for letter in "abc"}
        sidecar = start()
        for number in range(5):
            for letter, its in lines.items():
                append(logs / f"{letter}.log", its[number])
        printed = sidecar.end().decode().splitlines()
        for letter, its in lines.items():
            assert [line for line in printed if line[0] == letter] == its
        assert len(printed) == 15

    def test_a_line_longer_than_a_chunk(self, start: Start, logs: Path) -> None:
        """Its bytes are all there, too."""
        content = b"x" * (10 * 2**20) + b"\nshort\n"
        (logs / "app.log").write_bytes(content)
        assert start().settled() == content

    def test_empty_lines(self, start: Start, logs: Path) -> None:
        """They are lines."""
        (logs / "app.log").write_bytes(b"\n\na\n\n")
        assert start().settled() == b"\n\na\n\n"

    def test_a_name_before_each_line(self, start: Start, logs: Path) -> None:
        """With the profile's `prefix`, it is the path by which the file was found."""
        append(logs / "a & b|c.log", "one", "", "two")
        (logs / "d.log").write_text("no newline")
        path = logs / "a & b|c.log"
        printed = start(prefix="true").end().decode()
        assert printed == f"{path}: one\n{path}: \n{path}: two\n{logs / 'd.log'}: no newline"

    def test_a_rewritten_file_with_a_name_before_each_line(self, start: Start, logs: Path) -> None:
        """What has no newline has the name, too."""
        (logs / "a.log").write_text("one")
        sidecar = start(prefix="true")
        sidecar.looks()
        (logs / "a.log").write_text("")
        (logs / "a.log").write_text("2\n")
        sidecar.prints([f"{logs / 'a.log'}: one", f"{logs / 'a.log'}: 2"])
