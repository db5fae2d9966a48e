"""Who is compared: the shippers as their built-in profiles run them, and the store that they send to."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.bench.shipping.sidecar import command, container
from tests.bench.tail.cases import Case, burst
from tests.bench.tail.contestants import FILEBEAT, Contestant, Running, version
from tests.cluster.programs import BuildError, build
from tests.tail.program import program
from tests.tail.stores import COLLECTOR, VICTORIA_LOGS, Collector, VictoriaLogs

__all__ = ["EVERYONE", "OURS", "Receivers", "Shipper", "available", "receivers"]

#: What readers of log files are told of the files, all of it here by a profile.
_FILES = Case("", burst)


@dataclass(frozen=True)
class Receivers:
    """The store, and a collector before it that acknowledges what the store has taken."""

    store: VictoriaLogs
    collector: Collector


@dataclass(frozen=True)
class Fields:
    """The names that a shipper's records have in the store."""

    pod: str
    line: str
    time: str


@dataclass(frozen=True)
class Shipper:
    """A program that reads log files and sends their lines to the store."""

    profile: str
    title: str
    """With {} for its version."""
    program: Callable[[], Path]
    version: Callable[[], str]
    address: Callable[[str, str], Mapping[str, str]]
    """The variables that the profile's operator sets, by the addresses of the store and of the collector."""
    fields: Fields

    @property
    def name(self) -> str:
        """Return its name for people, with its version."""
        return self.title.format(self.version())

    def of_pod(self, pod: str, to: Receivers) -> Contestant:
        """Return it as the sidecar of a pod of this name."""
        address = self.address(to.store.url, f"http://127.0.0.1:{to.collector.port}")
        sidecar, found = container(self.profile, address), self.program()
        fields = {"metadata.name": pod, "metadata.uid": pod, "metadata.namespace": "bench", "spec.nodeName": "node"}
        return Contestant(
            self.name, self.version(), lambda _, logs, scratch: command(sidecar, found, fields, logs, scratch)
        )

    def run(self, pod: str, to: Receivers, folder: Path) -> Running:
        """Start it for a pod, whose files are below the folder."""
        return Running(self.of_pod(pod, to), _FILES, folder / "logs", folder / "scratch")


@cache
def _pillion_tail() -> Path:
    return program(shipping=True)


_ECS = Fields("kubernetes.pod.name", "message", "@timestamp")
_OTLP = Fields("k8s.pod.name", "_msg", "_time")
OURS = ("elasticsearch", "otlp")
EVERYONE: Mapping[str, Shipper] = {
    one.profile: one
    for one in (
        Shipper(
            "elasticsearch",
            "pillion-tail {}, `_bulk`",
            _pillion_tail,
            lambda: version(_pillion_tail(), "--version"),
            lambda store, _: {"PILLION_URL": f"{store}/insert/elasticsearch/_bulk"},
            _ECS,
        ),
        Shipper(
            "otlp",
            "pillion-tail {}, OTLP",
            _pillion_tail,
            lambda: version(_pillion_tail(), "--version"),
            # this version of VictoriaLogs takes OTLP in protocol buffers only
            lambda _, collector: {"PILLION_URL": f"{collector}/v1/logs"},
            _OTLP,
        ),
        Shipper(
            "filebeat",
            "filebeat {}",
            lambda: build(FILEBEAT),
            lambda: FILEBEAT.version.removeprefix("v"),
            lambda store, _: {"ELASTICSEARCH_HOSTS": f"{store}/insert/elasticsearch/"},
            _ECS,
        ),
        Shipper(
            "otel",
            "collector {}",
            lambda: build(COLLECTOR),
            lambda: COLLECTOR.version.removeprefix("v"),
            lambda store, _: {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{store}/insert/opentelemetry"},
            _OTLP,
        ),
    )
}


@contextlib.contextmanager
def receivers(folder: Path) -> Iterator[Receivers]:
    """Yield an empty store and its collector."""
    store = VictoriaLogs(folder)
    try:
        collector = Collector(folder, store)
        try:
            yield Receivers(store, collector)
        finally:
            collector.stop()
    finally:
        store.stop()


def available(names: Sequence[str], say: Callable[[str], None]) -> list[Shipper]:
    """Return those of these shippers that can be had here; say who can't, and why.

    Raises BuildError if the store can't be built.
    """
    for source in (VICTORIA_LOGS, COLLECTOR):
        build(source)
    found = []
    for name in names:
        try:
            EVERYONE[name].program()
        except BuildError as error:
            say(f"left out: {name}: {error}")
        else:
            found.append(EVERYONE[name])
    return found
