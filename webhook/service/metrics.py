"""What the webhook counts and measures, for Prometheus."""

import platform
from collections.abc import Callable, Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certs.shared_folder import STEP_KINDS, FailureKind, KeeperStatus
from webhook import __version__
from webhook.injection.outcome import FAILURES, Outcome

__all__ = ["ExceptionSource", "Limit", "Metrics"]

#: A review takes less than a millisecond; an API server gives up after 2 s by our chart's default, 10 s by
#: Kubernetes', 30 s at most: each is a bucket's end, so that "too late" can be told exactly.
DURATIONS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)

#: A patch for one container is about 2 KiB, for a hundred with their variables about 50.
PATCH_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 65536, 262144)


class Limit(StrEnum):
    """The limits on what clients send and hold."""

    BODY_SIZE = "body_size"
    BUFFERED_BODIES = "buffered_bodies"
    BUFFERED_RESPONSES = "buffered_responses"
    BODY_TIME = "body_time"
    HEADER_SIZE = "header_size"
    HEADER_TIME = "header_time"
    RESPONSE_TIME = "response_time"
    IDLE = "idle"
    PIPELINE = "pipeline"
    CONNECTIONS = "connections"
    CLIENT_NAME = "client_name"


class ExceptionSource(StrEnum):
    """Where an unexpected exception was caught."""

    REVIEW = "review"
    RELOAD = "reload"
    LIBRARY = "library"  # what uvicorn or asyncio caught


class Metrics:
    """Every metric, registered where the caller says."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._reviews = Counter(
            "pillion_reviews",
            "Admission reviews answered.",
            ["outcome", "reason", "profile"],
            registry=registry,
        )
        self._duration = Histogram(
            "pillion_review_duration_seconds",
            "Time from the end of a request's head to its response.",
            buckets=DURATIONS,
            registry=registry,
        )
        self._patch = Histogram(
            "pillion_patch_bytes",
            "Size of the patches made.",
            buckets=PATCH_SIZES,
            registry=registry,
        )
        self._in_flight = Gauge("pillion_requests_in_flight", "Requests being received or answered.", registry=registry)
        self._buffered = Gauge(
            "pillion_request_buffered_bytes", "Bytes of request bodies held in memory.", registry=registry
        )
        self._connections = Gauge(
            "pillion_connections", "Open connections, handshakes included.", ["port"], registry=registry
        )
        self._handshakes = Counter("pillion_tls_handshake_failures", "Failed TLS handshakes.", registry=registry)
        self._limits = Counter(
            "pillion_limit_exceeded",
            'Requests and connections that exceeded a limit; for "idle", connections closed for being idle.',
            ["limit"],
            registry=registry,
        )
        self._bad_requests = Counter(
            "pillion_bad_requests",
            "Requests that were not admission reviews, by HTTP status.",
            ["status"],
            registry=registry,
        )
        self._configuration = Gauge(
            "pillion_configuration_info",
            "The configuration in force; the value is always 1.",
            ["revision"],
            registry=registry,
        )
        self._configuration_reloads = Counter(
            "pillion_configuration_reloads",
            "Reloads of the configuration file after a change, by result.",
            ["result"],
            registry=registry,
        )
        self._configuration_good = Gauge(
            "pillion_configuration_last_reload_successful",
            "Whether the configuration file, as it is now, is in force.",
            registry=registry,
        )
        self._certificate_not_after = Gauge(
            "pillion_certificate_not_after_timestamp_seconds",
            "When the serving certificate expires.",
            registry=registry,
        )
        self._certificate_reloads = Counter(
            "pillion_certificate_reloads",
            "Reloads of the certificate files after a change, by result.",
            ["result"],
            registry=registry,
        )
        self._certificate_good = Gauge(
            "pillion_certificate_last_reload_successful",
            "Whether the certificate files, as they are now, are in force.",
            registry=registry,
        )
        self._exceptions = Counter(
            "pillion_unexpected_exceptions", "Unexpected exceptions; the log says where.", ["where"], registry=registry
        )
        self._keeper = _KeeperCollector()
        registry.register(self._keeper)
        self._log_lines = Counter(
            "pillion_log_lines_dropped",
            "Log lines dropped because their reader was too slow or gone.",
            registry=registry,
        )
        build = Gauge(
            "pillion_build_info",
            "Versions; the value is always 1.",
            ["version", "python_version"],
            registry=registry,
        )
        build.labels(__version__, platform.python_version()).set(1)
        for limit in Limit:
            self._limits.labels(limit)
        for result in ("success", "failure"):
            self._configuration_reloads.labels(result)
            self._certificate_reloads.labels(result)
        for gauge in (self._configuration_good, self._certificate_good):
            gauge.set(1)  # what can't be used at the start ends it
        for bug in ExceptionSource:
            self._exceptions.labels(bug)
        # there from the start, at zero: a rate does not see a series begin
        for reason in FAILURES:
            self._reviews.labels(Outcome.FAILED, reason.value, "")
        # looked up once: a label lookup takes a lock and a hash of three strings
        self._known_reviews: dict[tuple[str, str, str], Counter] = {}

    def count_review(self, outcome: Outcome, reason: str, profile: str, seconds: float, patch_size: int) -> None:
        """Count a review; ``profile`` must be one of the configuration's, or empty."""
        key = (outcome, reason, profile)
        counter = self._known_reviews.get(key)
        if counter is None:
            counter = self._known_reviews[key] = self._reviews.labels(*key)
        counter.inc()
        self._duration.observe(seconds)
        if patch_size:
            self._patch.observe(patch_size)

    def observe_connections(self, port: str, count: Callable[[], int]) -> None:
        """Read the number of a port's open connections from ``count``."""
        self._connections.labels(port).set_function(count)

    def observe_requests(self, in_flight: Callable[[], int], buffered: Callable[[], int]) -> None:
        """Read the number of requests in flight, and the bytes of their bodies, from the two functions."""
        self._in_flight.set_function(in_flight)
        self._buffered.set_function(buffered)

    def count_exceeded_limit(self, limit: Limit) -> None:
        """Count a request or connection that exceeded a limit."""
        self._limits.labels(limit).inc()

    def count_handshake_failure(self) -> None:
        """Count a failed TLS handshake: a client that does not trust us, or a port scan."""
        self._handshakes.inc()

    def count_bad_request(self, status: int) -> None:
        """Count a request that was not an admission review."""
        self._bad_requests.labels(str(status)).inc()

    def count_dropped_log_line(self) -> None:
        """Count a dropped log line."""
        self._log_lines.inc()

    def set_revision(self, revision: str) -> None:
        """Set the revision of the configuration in force."""
        self._configuration.clear()
        self._configuration.labels(revision).set(1)

    def record_configuration_reload(self, *, success: bool) -> None:
        """Count a reload of the configuration file, and show whether it succeeded."""
        self._configuration_reloads.labels("success" if success else "failure").inc()
        self._configuration_good.set(success)

    def set_certificate_not_after(self, not_after: float) -> None:
        """Set when the certificate in force expires, in seconds of the epoch."""
        self._certificate_not_after.set(not_after)

    def record_certificate_reload(self, *, success: bool) -> None:
        """Count a reload of the certificate files, and show whether it succeeded."""
        self._certificate_reloads.labels("success" if success else "failure").inc()
        self._certificate_good.set(success)

    def count_exception(self, where: ExceptionSource) -> None:
        """Count an unexpected exception."""
        self._exceptions.labels(where).inc()

    def observe_keeper(self, read: Callable[[], KeeperStatus]) -> None:
        """Read what the certificate's keeper has done from ``notice``."""
        self._keeper.read_status = read


class _KeeperCollector(Collector):
    """The metrics of the certificate's keeper, which runs as a process of its own beside each server."""

    def __init__(self) -> None:
        self.read_status: Callable[[], KeeperStatus] | None = None

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; without a keeper they have no series."""
        steps = CounterMetricFamily(
            "pillion_keeper_steps", "Rotation steps taken by this server's certificate keeper.", labels=["kind"]
        )
        failures = CounterMetricFamily(
            "pillion_keeper_failures",
            "Failed reconciliations of this server's certificate keeper.",
            labels=["kind"],
        )
        last_success = GaugeMetricFamily(
            "pillion_keeper_last_success_timestamp_seconds",
            "When the certificate keeper last reconciled successfully.",
        )
        leading = GaugeMetricFamily(
            "pillion_keeper_is_leader", "Whether this server's certificate keeper holds the Lease."
        )
        if self.read_status is not None:
            status = self.read_status()
            # each from the start, at zero: a rate does not see a series begin
            for step in STEP_KINDS:
                steps.add_metric([step], status.steps.get(step, 0))
            for failure in FailureKind:
                failures.add_metric([failure], status.failures.get(failure, 0))
            last_success.add_metric([], status.last_success)
            leading.add_metric([], status.is_leader)
        yield from (steps, failures, last_success, leading)
