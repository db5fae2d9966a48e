"""A real Elasticsearch, of its jars in Maven Central, as a program of this machine; and who stands before a store."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.tail.stores import free_port

from . import programs
from .processes import Daemon, start, wait_ready

__all__ = ["Elasticsearch", "missing"]

FOLDER = programs.HERE / "elasticsearch"
CHECKSUMS = FOLDER / "jars.sha256"
READY_SECONDS = 120.0  # five on an idle machine
STOP_SECONDS = 30.0
PAGE = 10_000  # the largest that it gives
NEEDS = {"mvn": "maven", "javac": "openjdk-17-jdk-headless"}


def missing() -> list[str]:
    """Return what this machine lacks for it, in words for people."""
    packages = sorted({package for name, package in NEEDS.items() if programs.on_path(name) is None})
    return [f"Debian packages: apt-get install {' '.join(packages)}"] if packages else []


class Elasticsearch:
    """One that runs on a port of this machine, until `stop`; what it has survives `stop` and `start`."""

    def __init__(self, folder: Path, say: programs.Say = programs.say_on_stderr) -> None:
        self._home = folder / "elasticsearch"
        (self._home / "config").mkdir(parents=True, exist_ok=True)
        self._jars = _jars(say)
        self._log = folder / "elasticsearch.log"
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait for it."""
        memory = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"]
        classes = f"{self._jars / 'classes'}:{self._jars}/*"
        command = ["java", *memory, "-cp", classes, "RunNode", str(self._home), str(self.port)]
        self._daemon: Daemon = start("elasticsearch", command, self._log)
        wait_ready(self._daemon, self._answers, READY_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._daemon.process.terminate()
        try:
            self._daemon.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._daemon.process.kill()
            self._daemon.process.wait()

    def records(self, index: str) -> Iterator[dict[str, Any]]:
        """Yield what an index has, oldest first; nothing if it is not there."""
        if not self._exists(index):
            return
        self.ask(f"/{index}/_refresh", method="POST")
        # an index that was made just now has no fields yet
        order = [{"@timestamp": {"unmapped_type": "date"}}, {"log.offset": {"unmapped_type": "long"}}]
        query = {"size": PAGE, "sort": order}
        answer = self.ask(f"/{index}/_search?scroll=1m", query)
        while answer["hits"]["hits"]:
            yield from (hit["_source"] for hit in answer["hits"]["hits"])
            answer = self.ask("/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]})

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Return the answer to a request; raise HTTPError if it refuses."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            content,
            {"Content-Type": "application/json"},
            method=method or ("POST" if content else "GET"),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _exists(self, index: str) -> bool:
        try:
            return bool(self.ask(f"/{index}"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise

    def _answers(self) -> bool:
        try:
            return bool(self.ask("/")["version"])
        except (OSError, KeyError):
            return False


def _jars(say: programs.Say) -> Path:
    """Return the folder with the jars and the class that runs them; fetch them first if the cache has none."""
    pinned = CHECKSUMS.read_bytes()
    edition = hashlib.sha256(pinned + (FOLDER / "RunNode.java").read_bytes()).hexdigest()[:8]
    target = programs.cache() / f"elasticsearch-{edition}"
    with programs.locked("elasticsearch"):
        if target.exists():
            return target
        with tempfile.TemporaryDirectory(dir=programs.cache()) as scratch:
            jars = Path(scratch) / "jars"
            options = ("-B", "-ntp", "-q", "-f", str(FOLDER / "pom.xml"), f"-DoutputDirectory={jars}")
            programs.run("Elasticsearch", ["mvn", *options, "dependency:copy-dependencies"], say)
            _verify(jars, pinned.decode())
            classes = jars / "classes"
            command = ["javac", "-proc:none", "-cp", f"{jars}/*", "-d", str(classes), str(FOLDER / "RunNode.java")]
            programs.run("RunNode", command, say)
            shutil.move(jars, target)
    return target


def _verify(folder: Path, pinned: str) -> None:
    """Raise BuildError unless the folder holds exactly these files, written as `sha256sum` writes them."""
    found = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.glob("*.jar"))
    )
    if found != pinned:
        raise programs.BuildError(f"the jars are not those of {os.path.relpath(CHECKSUMS)}; they are\n{found}")
