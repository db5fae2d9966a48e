"""``pillion playground`` as a process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Playground", "playground"]


class Playground(NamedTuple):
    """A process that serves, and the address that it printed."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        """Return its port."""
        return int(self.address.rstrip("/").rpartition(":")[2])


@contextmanager
def playground(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Playground]:
    """Start one on a free port, and end it."""
    program = "import sys; from webhook.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", program, "playground", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", line), line
            yield Playground(process, line.strip())
        finally:
            process.kill()
