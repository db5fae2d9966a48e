"""The webhook's Prometheus metrics."""

import platform
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certs.shared_directory import FailureKind, KeeperStatus, StepKind
from webhook import __version__
from webhook.injection.outcome import FAILURES, Outcome
from webhook.injection.profile import Profile
from webhook.injection.reasons import Reason, Severity
from webhook.workloads.applied import LintResult
from webhook.workloads.objects import ManifestReason

__all__ = ["ExceptionSource", "Limit", "Metrics"]

#: Bucket bounds in seconds. A review takes less than a millisecond. An API server's timeout is 2 s by the chart's
#: default, 10 s by Kubernetes' default and 30 s at most: each is a bound, so that late reviews can be counted exactly.
DURATIONS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)

#: Bucket bounds in bytes: a patch for one container has about 2 KiB, for a hundred containers about 50 KiB.
PATCH_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 65536, 262144)


class Limit(StrEnum):
    """The limits that clients can exceed; CLIENT_NAME, which is not a limit, is counted in the same way."""

    BODY_SIZE = "body_size"
    BUFFERED_BODIES = "buffered_bodies"
    BUFFERED_RESPONSES = "buffered_responses"
    BODY_TIME = "body_time"
    HEADER_SIZE = "header_size"
    HEADER_TIME = "header_time"
    RESPONSE_TIME = "response_time"
    PIPELINE = "pipeline"
    CONNECTIONS = "connections"
    RESOURCES = "resources"  # the file descriptors or the memory that the system gives a process
    CLIENT_NAME = "client_name"


class ExceptionSource(StrEnum):
    """The place where an unexpected exception was caught."""

    REVIEW = "review"
    LINT = "lint"
    POLL = "poll"  # a periodic task: reloading files, trimming memory, logging readiness
    LIBRARY = "library"  # caught by uvicorn or asyncio


class Metrics:
    """All metrics, registered in the given registry."""

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
        self._warnings = Counter(
            "pillion_review_warnings",
            "Admission reviews answered with a warning, by reason; a review with several reasons counts once for each.",
            ["reason"],
            registry=registry,
        )
        self._patch = Histogram(
            "pillion_patch_bytes",
            "Size of patches.",
            buckets=PATCH_SIZES,
            registry=registry,
        )
        self._lints = Counter(
            "pillion_lints",
            "Workloads that the API server asked about when they were applied, by result.",
            ["result"],
            registry=registry,
        )
        self._lint_warnings = Counter(
            "pillion_lint_warnings",
            "Workloads whose author was warned, by reason; a workload with several counts once for each.",
            ["reason"],
            registry=registry,
        )
        self._in_flight = Gauge("pillion_requests_in_flight", "Requests being received or answered.", registry=registry)
        self._buffered = Gauge(
            "pillion_request_buffered_bytes", "Bytes of request bodies held in memory.", registry=registry
        )
        self._connections = Gauge(
            "pillion_connections", "Open connections, handshakes included.", ["listener"], registry=registry
        )
        self._handshakes = Counter("pillion_tls_handshake_failures", "Failed TLS handshakes.", registry=registry)
        self._limits = Counter(
            "pillion_limit_exceeded",
            "Requests and connections that exceeded a limit.",
            ["limit"],
            registry=registry,
        )
        self._idle_connections = Counter(
            "pillion_idle_connections_closed",
            "Connections closed because they were idle for too long, or to make room for a new one.",
            registry=registry,
        )
        self._bad_requests = Counter(
            "pillion_bad_requests",
            "Requests that were refused without a review, by HTTP status; those that exceed a limit of the connection "
            "are only in pillion_limit_exceeded_total.",
            ["status"],
            registry=registry,
        )
        self._ready = Gauge(
            "pillion_ready", "Whether the server is ready; if not, its log says why.", registry=registry
        )
        self._profiles = Gauge(
            "pillion_profile_info",
            "The profiles in force, with the revisions that pods' status annotations have; the value is always 1.",
            ["profile", "revision"],
            registry=registry,
        )
        self._configuration_reloads = Counter(
            "pillion_configuration_reloads",
            "Reloads of the configuration file after a change, by result; failures also at the start, for the file and "
            "for its backup.",
            ["result"],
            registry=registry,
        )
        self._configuration_good = Gauge(
            "pillion_configuration_last_reload_successful",
            "Whether the configuration file, as it is now, is in force.",
            registry=registry,
        )
        self._configuration_from_backup = Gauge(
            "pillion_configuration_from_backup",
            "Whether the configuration in force is the backup that was kept before the server restarted, because the "
            "file is invalid.",
            registry=registry,
        )
        self._certificate_not_after = Gauge(
            "pillion_certificate_not_after_timestamp_seconds",
            "When the serving certificate expires; NaN without one.",
            registry=registry,
        )
        # zero would be a certificate that expired in 1970
        self._certificate_not_after.set(float("nan"))
        self._certificate_reloads = Counter(
            "pillion_certificate_reloads",
            "Attempts to load certificate files that have changed or were unusable, by result; a repeated failure "
            "counts once.",
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
        # 1 until a file is rejected; with a keeper, the certificate may be missing until the first poll
        for gauge in (self._configuration_good, self._certificate_good):
            gauge.set(1)
        for source in ExceptionSource:
            self._exceptions.labels(source)
        # exported from the start, as zero: Prometheus' rate() misses the first increase of a new series
        for reason in FAILURES:
            self._reviews.labels(Outcome.FAILED, reason.value, "")
        for reason in Reason:
            if reason.severity not in {Severity.QUIET, Severity.NOTE}:
                self._warnings.labels(reason.value)
        for result in LintResult:
            self._lints.labels(result)
        # a cache: a label lookup takes a lock and hashes three strings
        self._known_reviews: dict[tuple[str, str, str], Counter] = {}

    def count_review(self, outcome: Outcome, reason: str, profile: str, seconds: float, patch_size: int) -> None:
        """Count a review; ``profile`` must be a profile of the configuration, or empty."""
        key = (outcome, reason, profile)
        counter = self._known_reviews.get(key)
        if counter is None:
            counter = self._known_reviews[key] = self._reviews.labels(*key)
        counter.inc()
        self._duration.observe(seconds)
        if patch_size:
            self._patch.observe(patch_size)

    def count_warnings(self, reasons: Iterable[Reason]) -> None:
        """Count a review once for each reason of its warnings."""
        for reason in reasons:
            self._warnings.labels(reason.value).inc()

    def count_lint(self, result: LintResult, reasons: Iterable[Reason | ManifestReason]) -> None:
        """Count a lint, and the workload once for each reason of its warnings."""
        self._lints.labels(result).inc()
        for reason in reasons:
            self._lint_warnings.labels(reason.value).inc()

    def observe_connections(self, listener: str, read: Callable[[], int]) -> None:
        """Call ``read`` for the number of a listener's open connections when metrics are scraped."""
        self._connections.labels(listener).set_function(read)

    def observe_requests(self, in_flight: Callable[[], int], buffered: Callable[[], int]) -> None:
        """Call the functions for the number of requests in flight, and the bytes of their bodies, on each scrape."""
        self._in_flight.set_function(in_flight)
        self._buffered.set_function(buffered)

    def count_exceeded_limit(self, limit: Limit) -> None:
        """Count a request or connection that exceeded a limit."""
        self._limits.labels(limit).inc()

    def count_closed_idle_connection(self) -> None:
        """Count a connection that was closed while it was idle."""
        self._idle_connections.inc()

    def count_handshake_failure(self) -> None:
        """Count a failed TLS handshake, for example of a client that does not trust the CA, or of a port scan."""
        self._handshakes.inc()

    def count_bad_request(self, status: int) -> None:
        """Count a request that was refused without a review."""
        self._bad_requests.labels(str(status)).inc()

    def count_dropped_log_line(self) -> None:
        """Count a dropped log line."""
        self._log_lines.inc()

    def observe_readiness(self, read: Callable[[], bool]) -> None:
        """Call ``read`` for whether the server is ready when metrics are scraped."""
        self._ready.set_function(read)

    def set_profiles(self, profiles: Iterable[Profile], *, from_backup: bool) -> None:
        """Set the profiles in force, and whether they are the backup's."""
        self._configuration_from_backup.set(from_backup)
        self._profiles.clear()
        for profile in profiles:
            self._profiles.labels(profile.name, profile.revision).set(1)

    def record_configuration_reload(self, *, success: bool) -> None:
        """Count a reload of the configuration file, or a rejection at the start; set whether the file is in force."""
        self._configuration_reloads.labels("success" if success else "failure").inc()
        self._configuration_good.set(success)

    def set_certificate_not_after(self, not_after: float) -> None:
        """Set when the serving certificate expires, in seconds of the epoch."""
        self._certificate_not_after.set(not_after)

    def record_certificate_reload(self, *, success: bool) -> None:
        """Count an attempt to load the certificate files, and set whether the last one succeeded."""
        self._certificate_reloads.labels("success" if success else "failure").inc()
        self._certificate_good.set(success)

    def count_exception(self, where: ExceptionSource) -> None:
        """Count an unexpected exception."""
        self._exceptions.labels(where).inc()

    def observe_keeper(self, read: Callable[[], KeeperStatus]) -> None:
        """Export the metrics of the keeper, whose status ``read`` returns."""
        self._keeper.read_status = read


class _KeeperCollector(Collector):
    """Exports the metrics of the certificate keeper, which runs in another container and writes them to its status."""

    def __init__(self) -> None:
        self.read_status: Callable[[], KeeperStatus] | None = None

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; they have no series without a keeper."""
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
        may_rotate = GaugeMetricFamily(
            "pillion_keeper_may_rotate",
            "Whether this server's certificate keeper may rotate: it holds the Lease, or can't use it.",
        )
        if self.read_status is not None:
            status = self.read_status()
            # every kind from the start, as zero: rate() misses the first increase of a new series
            for step in StepKind:
                steps.add_metric([step], status.steps.get(step, 0))
            for failure in FailureKind:
                failures.add_metric([failure], status.failures.get(failure, 0))
            # 0 would mean 1970
            if status.last_success:
                last_success.add_metric([], status.last_success)
            may_rotate.add_metric([], status.may_rotate)
        yield from (steps, failures, last_success, may_rotate)
