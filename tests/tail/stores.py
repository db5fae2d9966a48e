"""Real stores, built as the programs of tests/cluster are, pinned there: VictoriaLogs, and a collector before it."""

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.cluster import programs
from tests.cluster.programs import COLLECTOR, VICTORIA_LOGS

from .sidecar import until

__all__ = ["COLLECTOR", "VICTORIA_LOGS", "Collector", "VictoriaLogs"]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Collector:
    """An OpenTelemetry collector that takes OTLP and acknowledges what VictoriaLogs has taken."""

    def __init__(self, folder: Path, store: "VictoriaLogs", address: str = "127.0.0.1") -> None:
        program = programs.build(COLLECTOR)
        self._address, self.port = address, free_port()
        exporter = {
            "logs_endpoint": f"{store.url}/insert/opentelemetry/v1/logs?_stream_fields=k8s.pod.name",
            "headers": store.headers,
            "sending_queue": {"enabled": False},  # with one it would acknowledge what it has in memory
            "retry_on_failure": {"enabled": False},
        }
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{address}:{self.port}"}}}},
            "exporters": {"otlphttp": exporter},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["otlphttp"]}},
            },
        }
        file = folder / "collector.yaml"
        file.write_text(json.dumps(config))
        with (folder / "collector.log").open("wb") as log:
            self.process = subprocess.Popen([str(program), f"--config={file}"], stdout=log, stderr=log)
        until(self._listens, "the collector")

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)

    def _listens(self) -> bool:
        assert self.process.poll() is None, "the collector ended"
        with socket.socket() as probe:
            return probe.connect_ex((self._address, self.port)) == 0


class VictoriaLogs:
    """One that runs, on a port of its own; a second one can have the first one's data.

    With more flags it also listens at other addresses, as they say.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        program = programs.build(VICTORIA_LOGS)
        self.port = free_port()
        self._command = [
            str(program),
            f"-storageDataPath={folder / 'victoria-logs'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y",
            "-loggerLevel=ERROR",
            *flags,
        ]
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait for it."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, "VictoriaLogs")

    def stop(self, *, kill: bool = False) -> None:
        """End it; what it acknowledged is there after its next start, and with `kill` perhaps not."""
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(20)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Return what it has, as LogsQL asks for."""
        return [
            json.loads(line)
            for line in self._get(f"/select/logsql/query?query={urllib.parse.quote(text)}").splitlines()
        ]

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs."""
        return {}

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, headers=self.headers), timeout=60
        ) as answer:
            content: bytes = answer.read()
        return content

    def _answers(self) -> bool:
        assert self.process.poll() is None, "VictoriaLogs ended"
        try:
            self._get("/health")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True
