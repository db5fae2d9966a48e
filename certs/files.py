"""Reading and atomically replacing whole files, such as keys and certificates."""

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

__all__ = ["Content", "ReadFailure", "read", "write_atomically"]


class ReadFailure(NamedTuple):
    """Returned in place of a file's bytes: the reason why it can't be read."""

    reason: str


Content = bytes | ReadFailure


def read(path: Path) -> Content:
    """Return a file's bytes, or why it can't be read. Never raises and never blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            # regular files only: reading a pipe would empty it, and might never end
            if stat.S_ISREG(mode):
                return file.read()
            return ReadFailure(os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "Not a regular file")
    except OSError as error:
        return ReadFailure(error.strerror or str(error))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file atomically, with mode 0600; raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
