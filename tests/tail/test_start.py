"""Where reading begins in files that were there before the pod."""

import os
import time
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .sidecar import until


@pytest.fixture
def old(logs: Path, tmp_path: Path) -> Path:
    """Return a log file from before the pod, whose state volume is made after it."""
    append(logs / "app.log", "old 1", "old 2")
    born = (logs / "app.log").stat().st_ctime_ns
    probe = tmp_path / "probe"
    # time stamps are as coarse as a tick of the kernel
    until(lambda: probe.write_text("") == 0 and probe.stat().st_ctime_ns > born, "a later time stamp")
    (tmp_path / "state").mkdir()
    return logs / "app.log"


class TestAuto:
    """The default: at the end on volumes that outlive the pod, in what is older than the state volume."""

    def test_an_old_file_on_a_persistent_volume(self, start: Start, logs: Path, old: Path) -> None:
        """Its history is not printed again, and what comes is."""
        sidecar = start(persistent=str(logs))
        sidecar.looks()
        append(old, "new")
        append(logs / "new.log", "of this pod")
        until(lambda: len(sidecar.lines) == 2, "both lines")
        assert sorted(sidecar.end().decode().splitlines()) == ["new", "of this pod"]

    @pytest.mark.parametrize("folder", ["/nowhere", "/", "{logs}-2", "{logs}/sub"])
    def test_elsewhere(self, start: Start, logs: Path, old: Path, folder: str) -> None:
        """Only folders on such a volume count, by whole names; the root is one that has all."""
        sidecar = start(persistent=folder.format(logs=logs))
        sidecar.looks()
        append(old, "new")
        sidecar.prints(["new"] if folder == "/" else ["old 1", "old 2", "new"])

    @pytest.mark.usefixtures("old")
    def test_without_a_word(self, start: Start) -> None:
        """No volume outlives the pod unless it is said."""
        start().prints(["old 1", "old 2"])

    def test_a_file_that_this_pod_wrote_to(self, start: Start, logs: Path, old: Path) -> None:
        """Nobody knows where its lines begin: all come."""
        append(old, "written before the sidecar started")
        start(persistent=str(logs)).prints(["old 1", "old 2", "written before the sidecar started"])

    def test_a_restart_goes_on(self, start: Start, logs: Path, old: Path) -> None:
        """What came while the sidecar was down is printed."""
        sidecar = start(persistent=str(logs))
        sidecar.looks()
        sidecar.kill()
        append(old, "new")
        start(persistent=str(logs)).prints(["new"])

    def test_an_unfinished_line(self, start: Start, logs: Path, tmp_path: Path) -> None:
        """It is printed whole when its end comes."""
        (logs / "app.log").write_text("old\nbegun ")
        time.sleep(0.05)  # a tick of the kernel's clock
        (tmp_path / "state").mkdir()
        sidecar = start(persistent=str(logs))
        sidecar.looks()
        append(logs / "app.log", "and ended")
        sidecar.prints(["begun and ended"])

    def test_an_old_file_that_comes_later(self, start: Start, logs: Path, old: Path) -> None:
        """It is printed from its beginning: a clock that was set back makes all files look older than the pod."""
        elsewhere = old.rename(logs.parent / "app.log")
        append(logs / "first.log", "first")
        sidecar = start(persistent=str(logs))
        sidecar.prints(["first"])
        elsewhere.rename(logs / "app.log")
        sidecar.prints(["first", "old 1", "old 2"])

    def test_a_file_that_is_mounted_by_itself(self, start: Start, old: Path) -> None:
        """The mount is the file."""
        sidecar = start("app.log", persistent=str(old))
        sidecar.looks()
        append(old, "new")
        sidecar.prints(["new"])

    def test_rotation_goes_on(self, start: Start, logs: Path, old: Path) -> None:
        """An old file that is rotated now is followed from where it was."""
        sidecar = start("app.log", persistent=str(logs))
        sidecar.looks()
        append(old, "one")
        old.rename(logs / "app.log.1")
        append(old, "two")
        sidecar.prints(["one", "two"])


def test_what_this_pod_rotated_before_the_sidecar_started(start: Start, logs: Path, tmp_path: Path) -> None:
    """It is printed, too; what is older than the pod is not."""
    append(logs / "app.log.9", "of another pod")
    time.sleep(0.05)  # a tick of the kernel's clock
    (tmp_path / "state").mkdir()
    time.sleep(0.05)
    append(logs / "app.log", "one")
    (logs / "app.log").rename(logs / "app.log.1")
    append(logs / "app.log", "two")
    append(logs / "app.log.old", "perhaps a file of its own")
    assert start("app.log").end() == b"one\ntwo\n"


@pytest.mark.usefixtures("old")
class TestChosen:
    """By the user."""

    def test_beginning(self, start: Start, logs: Path) -> None:
        """All that is there."""
        start(persistent=str(logs), start="beginning").prints(["old 1", "old 2"])

    def test_end(self, start: Start, logs: Path) -> None:
        """On any volume; what comes later is read from its beginning, also by a successor."""
        sidecar = start(start="end")
        sidecar.looks()
        append(logs / "app.log", "new")
        append(logs / "late.log", "late")
        until(lambda: len(sidecar.lines) == 2, "both lines")
        sidecar.looks()
        sidecar.kill()
        append(logs / "later.log", "later")
        os.utime(logs / "later.log", (0, 0))
        start(start="end").prints(["later"])
