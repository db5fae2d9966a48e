"""The sidecar of the profile `web` as a process: Debian's nginx runs the program that a pod carries."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from webhook.profiles import builtins

__all__ = ["Reply", "Web", "missing"]

MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
SECONDS = 20.0
_OF_NJS = re.compile(r"js vm init njs|r\.\w+ is deprecated and will be removed")
#: Where the profile's own volume is mounted.
FOLDER = "/pillion/web"


def missing() -> str:
    """Return what to install where this machine lacks the programs, else an empty text."""
    lacks = shutil.which("nginx", path=_path()) is None or not MODULE.exists()
    return "there is no nginx with njs; on Debian or Ubuntu: apt-get install nginx-light libnginx-mod-http-js" * lacks


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


class Reply(NamedTuple):
    """What nginx answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class _Links(HTMLParser):
    """Collects the links of a page, with their texts, and its other tags."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.tags: set[str] = set()
        self._address: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, or another tag."""
        self.tags.add(tag)
        if tag == "a":
            self._address = dict(attrs)["href"]
            self.links[self._address or ""] = ""

    def handle_endtag(self, tag: str) -> None:
        """End a link."""
        if tag == "a":
            self._address = None

    def handle_data(self, data: str) -> None:
        """Add to a link's text."""
        if self._address is not None:
            self.links[self._address] += data


class Web:
    """One run of it."""

    def __init__(self, folder: Path, files: Sequence[str], mounts: Sequence[Path], *, user: int | None = None) -> None:
        self._errors = folder / "stderr"
        work = folder / "web"
        work.mkdir()
        if user is not None:
            os.chown(work, user, user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        command = [
            item.replace("$$(", "$(").replace(FOLDER, str(work)) for item in builtins()["web"]["sidecar"]["command"]
        ]
        environment = {
            "PATH": _path(),
            "PORT": str(self.port),
            "LOG_FILES": json.dumps(files),
            "LOG_MOUNTS": json.dumps([str(mount) for mount in mounts]),
        }
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        deadline = time.monotonic() + SECONDS
        while not self._listens():
            assert self._process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def errors(self) -> str:
        """Return what it wrote to standard error, but for what njs says about itself: 0.8 at its start, 0.7 later."""
        lines = self._errors.read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if not _OF_NJS.search(line))

    def peak(self) -> int:
        """Return the most memory that the process which answers ever had, in KiB."""
        (worker,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        (peak,) = re.findall(r"^VmHWM:\s*(\d+) kB$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
        return int(peak)

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Reply:
        """Send a request for exactly this target, and return the reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, target)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def status(self, path: str) -> int:
        """Return the status for a path, of which no character has a meaning."""
        return self.ask(quote(path)).status

    def page(self) -> _Links:
        """Return the page that lists the files."""
        reply = self.ask("/")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        parser = _Links()
        parser.feed(reply.body.decode())
        return parser

    def listed(self) -> set[str]:
        """Return the names that the page shows."""
        return set(self.page().links.values())

    def end(self) -> None:
        """End it as the kubelet does."""
        self._process.terminate()
        self._process.wait(SECONDS)
