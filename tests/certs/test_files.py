"""Unit tests of certs.files."""

import os
from pathlib import Path

import pytest

from certs import files
from certs.files import ReadFailure


def test_a_file_is_read(tmp_path: Path) -> None:
    """Its bytes, whatever they are."""
    (tmp_path / "file").write_bytes(b"\x00\xff\n")
    assert files.read(tmp_path / "file") == b"\x00\xff\n"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "No such file or directory"),
        (Path.mkdir, "Is a directory"),
        (os.mkfifo, "Not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["missing", "folder", "pipe", "loop"],
)
def test_what_can_not_be_read_has_a_reason(tmp_path: Path, make: object, reason: str) -> None:
    """Nothing is raised, and a pipe that nobody writes to is not waited for."""
    assert callable(make)
    make(tmp_path / "file")
    assert files.read(tmp_path / "file") == ReadFailure(reason)


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """Who has the former file open goes on reading it; nobody but the owner may read the new one."""
    path = tmp_path / "file"
    path.write_bytes(b"former")
    path.chmod(0o644)
    with path.open("rb") as former:
        files.write_atomically(path, b"new")
        assert former.read() == b"former"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_that_can_not_be_replaced_stays(tmp_path: Path) -> None:
    """The error is raised, and nothing is left beside it."""
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_atomically(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
