"""Files that are read and replaced whole: keys, certificates, and whatever else changes while a process runs."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

__all__ = ["Content", "ReadFailure", "read", "replace"]


class ReadFailure(NamedTuple):
    """In place of a file's bytes: why there are none."""

    reason: str


Content = bytes | ReadFailure


def read(path: Path) -> Content:
    """Return a file's bytes, or why it can't be read. Nothing is raised, and nothing is waited for."""
    try:
        # a pipe would be empty the next time, and may never end
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode):
                return file.read()
            return ReadFailure(os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "Not a regular file")
    except OSError as error:
        return ReadFailure(error.strerror or str(error))


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner's eyes only; raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
