"""What containers print, read as a node agent does: from the kubelet's own files, through every rotation."""

import os
import threading
from collections import defaultdict
from io import FileIO
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.05


class NodeLogs:
    """Follows one container's log files in all pods of a namespace, from now on, until the end of a `with`.

    ``kubectl logs`` shows only the newest file; the kubelet removes older ones, and all of a deleted pod.
    """

    def __init__(self, pod_logs: Path, namespace: str, container: str) -> None:
        self._pattern = f"{namespace}_*/{container}/*.log*"
        self._folder = pod_logs
        self._files: dict[tuple[int, int], FileIO] = {}
        self._runs: dict[tuple[int, int], tuple[str, str]] = {}  # pod, and which start of its container
        self._read: dict[tuple[int, int], bytearray] = defaultdict(bytearray)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read to the end and stop."""
        self._stop.set()
        self._thread.join()
        self._look()
        for file in self._files.values():
            file.close()

    def lines(self, pod: str) -> list[str]:
        """Return what the container of this pod has printed so far, its restarts one after the other."""
        runs: dict[tuple[str, str], bytes] = defaultdict(bytes)
        for identity, content in list(self._read.items()):
            if self._runs[identity][0] == pod:
                runs[self._runs[identity]] += content
        return [line for content in runs.values() for line in _messages(content)]

    @property
    def pods(self) -> list[str]:
        """The pods that have printed something."""
        return list(dict.fromkeys(self._runs[identity][0] for identity, content in self._read.items() if content))

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        for path in sorted(self._folder.glob(self._pattern)):
            if path.suffix in (".gz", ".tmp"):  # a copy of what was read
                continue
            try:
                file = FileIO(path)
            except FileNotFoundError:  # renamed just now
                continue
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity in self._files:
                file.close()
                continue
            self._files[identity] = file
            self._runs[identity] = path.parts[-3].split("_")[1], path.name.partition(".")[0]
        for identity, file in self._files.items():
            self._read[identity] += file.readall() or b""


def _messages(content: bytes) -> list[str]:
    """Return the lines of a log in the CRI's format: ``time stream F|P text``, P for a part.

    The rest of a part may be in the next file: the runtime cuts where it is when the kubelet rotates.
    """
    lines, begun = [], ""
    for record in content.decode().splitlines():
        _, _, tag, text = record.split(" ", 3)
        begun += text
        if tag == "F":
            lines.append(begun)
            begun = ""
    return [*lines, begun] if begun else lines
