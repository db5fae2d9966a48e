"""``pillion playground`` as a process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2

__all__ = ["Playground", "ask", "playground"]


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
    *arguments: str,
    program: Sequence[str | Path] = (sys.executable, "-P", "-c", "import pillion; raise SystemExit(pillion.main())"),
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Playground]:
    """Start one on a free port, and end it."""
    with subprocess.Popen(
        [*program, "playground", "--port", "0", *arguments],
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


def ask(server: Playground, text: str) -> httpx2.Response:
    """Ask as the page does."""
    headers = {"origin": server.address.rstrip("/")}
    return httpx2.post(f"{server.address}ask", json={"text": text}, headers=headers, timeout=30)
