"""Numbered lines on their way from pods into a real store: the stores, who writes the lines, and what arrived."""

import base64
import collections
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.tail.stores import VictoriaLogs

from . import programs
from .elasticsearch import Elasticsearch
from .front import Front

__all__ = [
    "API_KEY",
    "BEARER",
    "BUSYBOX",
    "PASSWORD",
    "USER",
    "Arrived",
    "ElasticsearchByFilebeat",
    "Record",
    "VictoriaLogsByOtel",
    "injected",
    "writer",
]

BUSYBOX = "docker.io/library/busybox:1.36"
API_KEY = "pillion:c2VjcmV0"
USER, PASSWORD = "shop", "a, 'b' [c] \"d\" \\e ${f} #g"
"""A password of everything that a configuration file or a shell could take for its own."""
CA_FILE = "/pillion/ca/ca.crt"
BEARER = "Bearer c2VjcmV0"
#: It numbers its lines, and rotates its file by renaming; it ends when it is told to.
_WRITER = """
trap 'exit 0' TERM
cd /var/log/app
n=0
while [ $n -lt {lines} ]; do
  seq $((n + 1)) $((n + {block})) | sed 's/^/line /' >>app.log
  n=$((n + {block}))
  [ $((n % {rotation})) -ne 0 ] || mv app.log app.log.$n
  usleep {pause}
done
{end}
"""


def writer(lines: int, *, block: int, rotation: int, seconds: float, stays: bool) -> str:
    """Return a shell program that writes so many lines in about so many seconds, a block at a time."""
    pause = int(seconds * 1e6 * block / lines)
    end = "while :; do sleep 1; done" if stays else ""
    return _WRITER.format(lines=lines, block=block, rotation=rotation, pause=pause, end=end)


class Record(NamedTuple):
    """A line as a store has it."""

    pod: str
    time: str
    line: str


class Arrived(NamedTuple):
    """What became of a pod's lines."""

    lost: int
    repeated: int
    reordered: int
    """How often a line's first coming is before that of a smaller number."""

    def __str__(self) -> str:
        return f"{self.lost} lost, {self.repeated} repeated, {self.reordered} reordered"

    @classmethod
    def of(cls, records: Iterable[Record], pod: str, lines: int) -> "Arrived":
        """Count a pod's lines; those of the same time have no order."""
        found = sorted((record.time, int(record.line.split()[1])) for record in records if record.pod == pod)
        numbers = [number for _, number in found]
        times = collections.Counter(numbers)
        first = list(dict.fromkeys(numbers))
        reordered = sum(one > two for one, two in itertools.pairwise(first))
        return cls(len(set(range(1, lines + 1)) - times.keys()), len(numbers) - len(times), reordered)


class ElasticsearchByFilebeat:
    """The profile `filebeat`, and a real Elasticsearch behind nginx."""

    profile = "filebeat"

    def __init__(self, folder: Path, host: str, say: programs.Say) -> None:
        self.store = Elasticsearch(folder, say)
        known = [f"ApiKey {_encoded(API_KEY)}", f"Basic {_encoded(f'{USER}:{PASSWORD}')}"]
        self.front = Front(folder, host, self.store.url, known)

    def variables(self, namespace: str, credentials: str | None = None) -> dict[str, str]:
        """Return what an operator sets; with credentials also TLS."""
        url = self.front.url if credentials is None else self.front.secure_url
        more = {} if credentials is None else {"ELASTICSEARCH_CREDENTIALS": credentials, "ELASTICSEARCH_CA": CA_FILE}
        return {"ELASTICSEARCH_HOSTS": url, "ELASTICSEARCH_INDEX": namespace, **more}

    def records(self, namespace: str) -> list[Record]:
        """Return the lines of a namespace's pods."""
        return [
            Record(each["kubernetes"]["pod"]["name"], each["@timestamp"], each["message"])
            for each in self.store.records(namespace)
        ]

    def stop(self) -> None:
        """End store and proxy."""
        self.front.stop()
        self.store.stop()


class VictoriaLogsByOtel:
    """The profile `otel`, and VictoriaLogs behind nginx."""

    profile = "otel"

    def __init__(self, folder: Path, host: str, say: programs.Say) -> None:
        programs.build(programs.VICTORIA_LOGS, say)
        self.store = VictoriaLogs(folder)
        self.front = Front(folder, host, f"{self.store.url}/insert/opentelemetry/", [BEARER])

    def variables(self, namespace: str, credentials: str | None = None) -> dict[str, str]:
        """Return what an operator sets; with credentials also TLS."""
        del namespace  # it is on each record
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.front.url if credentials is None else self.front.secure_url}

    def records(self, namespace: str) -> list[Record]:
        """Return the lines of a namespace's pods."""
        return [
            Record(each["k8s.pod.name"], each["_time"].rstrip("Z"), each["_msg"])
            for each in self.store.query(f'"k8s.namespace.name":"{namespace}"')
        ]

    def stop(self) -> None:
        """End store and proxy."""
        self.front.stop()
        self.store.stop()


def injected(manifest: Mapping[str, Any], profiles: Mapping[str, Any], folder: Path) -> Any:
    """Return the manifest as `pillion inject` prints it with these profiles in its configuration."""
    configuration = folder / "configuration.yaml"
    configuration.write_text(json.dumps({"profiles": profiles}))
    program = "import sys; from webhook.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "inject", "-f", "-", "--config", str(configuration)]
    answer = subprocess.run(command, input=json.dumps(manifest), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert "pillion-" in answer.stdout, answer.stderr
    return result


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
