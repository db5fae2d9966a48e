"""The keeper: the process that rotates a release's certificates and writes the pair for its server.

``python -m pillion.certs.keeper`` runs beside each server in a separate container, which alone has the service
account's token.
"""

import argparse
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from certs import duration, shared_directory
from certs.api import ApiError, ApiServer, StatusError, UnreachableError
from certs.leadership import Leadership
from certs.log_limiter import LogLimiter
from certs.logs import Log, LogFormat, LogLevel, traceback_fields
from certs.rotation import (
    ApplyBundles,
    CreateSecret,
    Observed,
    RotationSettings,
    Step,
    Stopwatch,
    Wait,
    WriteSecret,
    next_step,
)
from certs.shared_directory import FailureKind, SharedDirectory, StepKind
from certs.store import ObjectNames, Store
from certs.verify import FaultKind, SourceNames, UnusablePairError, verify

__all__ = ["Intervals", "Keeper", "main"]

#: A server is not ready within this time of its leaf's notBefore or notAfter: its own clock and a client's may each be
#: ten minutes off. ``max_clock_skew`` is another limit: it compares the keeper's clock with the API server's.
VALIDITY_MARGIN = timedelta(minutes=20)
#: After this many steps in a row somebody seems to undo them: the keeper slows down to its usual pace.
MAX_FAST_STEPS = 8
#: Characters of a log field: an API server's error message names subject, object and reason; no tenant writes it.
MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a keeper reconciles, and for how long its observations count; derived from the settings."""

    #: The delay between two reconciliations.
    poll: timedelta
    #: The delay after a step, and while there is no leaf yet.
    after_step: timedelta
    #: The longest delay between two reconciliations while they fail.
    max_backoff: timedelta
    #: How long a Lease is held after its last renewal.
    lease_duration: timedelta
    #: How long a server is ready after its keeper last read the Secret: less than ``ca_overlap``.
    freshness: timedelta
    #: How long after a leaf's notBefore a server becomes ready, and how long before its notAfter it ceases to be.
    validity_margin: timedelta

    @classmethod
    def from_settings(cls, settings: RotationSettings) -> "Intervals":
        """Return the intervals for these settings."""
        poll = min(timedelta(seconds=10), settings.ca_propagation_delay / 5)
        return cls(
            poll=poll,
            after_step=min(timedelta(seconds=0.5), poll / 2),
            max_backoff=6 * poll,
            lease_duration=max(timedelta(seconds=2), 3 * poll),
            freshness=settings.ca_overlap * 3 / 4,
            validity_margin=min(VALIDITY_MARGIN, settings.leaf_lifetime / 10),
        )


class Keeper:
    """Reconciles in a loop, and computes each step from what was read anew.

    What lasts between reconciliations only measures times, counts, limits the log or saves a write.
    """

    def __init__(
        self,
        api_server: ApiServer,
        objects: ObjectNames,
        settings: RotationSettings,
        directory: SharedDirectory,
        *,
        identity: str,
        log: Log,
        log_clock: Callable[[], float] = monotonic,
    ) -> None:
        self._api_server = api_server
        self._objects = objects
        self._settings = settings
        self._intervals = Intervals.from_settings(settings)
        self._directory = directory
        self._log = log
        self._log_limiter = LogLimiter(log_clock)
        self._leadership = Leadership(identity, self._intervals.lease_duration)
        self._stopwatch = Stopwatch()
        self._consecutive_failures = 0
        self._consecutive_steps = 0
        #: The pair in the shared directory; None until this process has written one.
        self._written_pair: bytes | None = None
        # what an earlier process of this container wrote is still true; its times are not extended
        self._status = replace(directory.read_status(), may_rotate=False)

    def run(self, stop: threading.Event) -> None:
        """Reconcile until ``stop`` is set."""
        while not stop.is_set():
            delay = self.reconcile()
            # jitter, so that replicas that started together do not reconcile at the same moments
            stop.wait(delay.total_seconds() * random.uniform(0.8, 1.2))  # noqa: S311 — no secret
        self._release_lease()

    def reconcile(self) -> timedelta:
        """Reconcile once, and return how long to wait; never raises."""
        try:
            step = self._reconcile()
        except Exception as error:  # noqa: BLE001 — if this process died, the pod would become unready
            return self._record_failure(error)
        self._consecutive_failures = 0
        self._log_limiter.reset("failure")
        self._status = replace(self._status, last_success=datetime.now(UTC).timestamp())
        if isinstance(step, Wait):
            self._consecutive_steps = 0
            self._log_change(self._log.info, "waiting", "waiting", step.reason)
            delay = min(step.delay, self._intervals.poll if self._written_pair else self._intervals.after_step)
        else:
            self._consecutive_steps += 1
            kind = _STEP_KINDS[type(step)]
            self._status = replace(self._status, steps=_incremented(self._status.steps, kind))
            self._log.info("step", kind=kind, message=step.reason)
            self._log_limiter.reset("waiting")
            delay = self._intervals.after_step if self._consecutive_steps < MAX_FAST_STEPS else self._intervals.poll
        self._write_status()
        return delay

    def _reconcile(self) -> Step:
        with self._api_server.connect() as connection:
            store = Store(connection, self._objects)
            try:
                may_rotate = self._claim_lease(store)
            except _ClockSkewError:
                # another replica rotates; this one's server needs the leaf all the same
                self._observe_and_write_pair(store, may_rotate=False)
                raise
            observed, unusable = self._observe_and_write_pair(store, may_rotate=may_rotate)
            if not may_rotate:
                self._stopwatch = Stopwatch()
                but = f", but the Secret has no usable leaf yet: {unusable}" if unusable else ""
                return Wait(self._intervals.poll, f"another replica rotates{but}")
            step, self._stopwatch = next_step(observed, self._stopwatch, self._settings)
            store.perform(step, observed)
            return step

    def _observe_and_write_pair(self, store: Store, *, may_rotate: bool) -> tuple[Observed, str]:
        """Read the objects and write the pair for the server.

        Return what was read, and why there is no usable pair (empty if there is one).
        """
        self._status = replace(self._status, may_rotate=may_rotate)
        observed = store.observe(include_webhook_configurations=may_rotate)
        return observed, self._write_pair(observed)

    def _claim_lease(self, store: Store) -> bool:
        """Claim or renew the Lease; return whether this process may rotate.

        Raises :class:`_ClockSkewError`, with the Lease released, if our clock and the API server's differ too much.
        """
        try:
            lease = store.read_or_create_lease()
            now = datetime.now(UTC)
            if skew := self._settings.clock_skew_error(now, lease.api_server_time):
                # a replica whose clock is right may rotate instead
                self._leadership.release(store, lease)
                raise _ClockSkewError(skew)
            may_rotate = self._leadership.claim(store, lease, timedelta(seconds=monotonic()))
        except StatusError as error:
            if error.conflict:
                return False
            # nothing relies on the Lease: without it, several replicas may do the same work
            self._log_change(self._log.warning, "Lease", "rotating without Lease", str(error))
            return True
        self._log_limiter.reset("Lease")
        return may_rotate

    def _write_pair(self, observed: Observed) -> str:
        """Write the Secret's pair for the server if it is valid, and set until when it may be served.

        Return why it is not valid; an empty string if it is.
        """
        data = observed.secret.data if observed.secret is not None else {}
        pair_pem = data.get("tls.crt", b""), data.get("tls.key", b"")
        boot_seconds = shared_directory.seconds_since_boot()
        fresh_until = boot_seconds + self._intervals.freshness.total_seconds()
        try:
            leaf = verify(
                *pair_pem, now=observed.time, names=self._settings.names, sources=SourceNames("tls.crt", "tls.key")
            )
        except UnusablePairError as error:
            # No usable leaf: the server keeps the old one, and stays ready for longer if that was still fresh. If only
            # our clock rejects the leaf, it does not: other replicas may serve the Secret's leaf already.
            only_by_our_clock = all(fault.kind is FaultKind.TIME for fault in error.faults)
            if boot_seconds <= self._status.fresh_until_boot_seconds and not only_by_our_clock:
                self._status = replace(self._status, fresh_until_boot_seconds=fresh_until)
            return "there is no Secret" if observed.secret is None else str(error)
        joined = b"".join(pair_pem)
        if joined != self._written_pair:
            self._directory.write_pair(*pair_pem)
            self._written_pair = joined
            self._log.info("leaf written", fingerprint=leaf.fingerprint, not_after=f"{leaf.not_after:%FT%TZ}")
        margin = self._intervals.validity_margin.total_seconds()
        self._status = replace(
            self._status,
            fingerprint=leaf.fingerprint,
            serve_from=leaf.not_before.timestamp() + margin,
            serve_until=leaf.not_after.timestamp() - margin,
            fresh_until_boot_seconds=fresh_until,
        )
        return ""

    def _record_failure(self, error: Exception) -> timedelta:
        kind, message = _classify(error)
        self._consecutive_failures += 1
        self._consecutive_steps = 0
        self._log_limiter.reset("waiting")
        self._status = replace(self._status, failures=_incremented(self._status.failures, kind))
        if kind is FailureKind.CONFLICT:
            self._log_change(self._log.info, "conflict", "conflict", message)
        else:
            # the message has the two clocks' times, which differ each time
            text = kind if kind is FailureKind.CLOCK_SKEW else message
            if self._log_limiter.should_log("failure", text):
                self._log.error(
                    "reconcile failed", kind=kind, message=message, consecutive_failures=self._consecutive_failures
                )
        self._write_status()
        doubled: timedelta = self._intervals.poll * 2 ** min(self._consecutive_failures - 1, 8)
        return min(doubled, self._intervals.max_backoff)

    def _write_status(self) -> None:
        try:
            self._directory.write_status(self._status)
        except OSError as error:
            message = f"{self._directory.path}: {error.strerror or error}"
            if self._log_limiter.should_log("directory", message):
                self._log.error("status not written", message=message)
        else:
            self._log_limiter.reset("directory")

    def _log_change(self, log: Callable[..., None], topic: str, event: str, message: str) -> None:
        """Log the topic's message if the limiter allows it."""
        if self._log_limiter.should_log(topic, message):
            log(event, message=message)

    def _release_lease(self) -> None:
        """Release the Lease, so that another replica can take over before it expires."""
        try:
            with self._api_server.connect() as connection:
                store = Store(connection, self._objects)
                if self._leadership.release(store, store.read_or_create_lease()):
                    self._log.info("Lease released")
        except ApiError as error:
            self._log.warning("Lease not released", message=str(error))


class _ClockSkewError(Exception):
    """Our clock and the API server's disagree."""


_STEP_KINDS: dict[type[Step], StepKind] = {
    CreateSecret: StepKind.CREATE_SECRET,
    WriteSecret: StepKind.WRITE_SECRET,
    ApplyBundles: StepKind.APPLY_BUNDLES,
}


def _classify(error: Exception) -> tuple[FailureKind, str]:
    """Return the kind of a failure, and a message for the log."""
    match error:
        case StatusError():
            return FailureKind.CONFLICT if error.conflict else FailureKind.ERROR_RESPONSE, str(error)
        case UnreachableError():
            return FailureKind.UNREACHABLE, str(error)
        case _ClockSkewError():
            return FailureKind.CLOCK_SKEW, str(error)
        case OSError():
            return FailureKind.DIRECTORY, f"the certificate can't be written for the server: {error.strerror or error}"
    # without its message, which might quote a key
    fields = traceback_fields(type(error), error.__traceback__)
    return FailureKind.UNEXPECTED_EXCEPTION, f"{fields['exception']} at {fields['trace']}"


def _incremented(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {**counts, kind: counts.get(kind, 0) + 1}


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run a keeper until SIGTERM; return the exit code: 2 for invalid arguments."""
    options = _parser().parse_args(argv)
    try:
        settings = RotationSettings(
            tuple(options.names.split(",")),
            ca_lifetime=options.ca_lifetime,
            leaf_lifetime=options.leaf_lifetime,
            ca_propagation_delay=options.ca_propagation_delay,
            ca_overlap=options.ca_overlap,
        )
        objects = ObjectNames(
            options.namespace,
            options.secret,
            options.lease,
            tuple(options.webhook_configurations.split(",")),
            options.helm_release,
        )
        api_server = ApiServer.in_cluster(environment)
    except KeyError as error:
        return _usage_error(f"{error.args[0]} is not set: this program must run in a pod")
    except ValueError as error:
        return _usage_error(str(error))
    identity = f"{environment.get('POD_NAME') or socket.gethostname()}_{os.getpid()}_{random.randrange(16**8):08x}"  # noqa: S311
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    form, level = LogFormat(options.log_format), LogLevel(options.log_level)
    with Log(sys.stdout.fileno(), form, level=level, field_length=MESSAGE_LENGTH) as log:
        directory = SharedDirectory(options.shared_directory)
        Keeper(api_server, objects, settings, directory, identity=identity, log=log).run(stop)
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = RotationSettings(("-",))  # only its defaults are used
    parser = argparse.ArgumentParser(
        prog="python -m pillion.certs.keeper", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--secret", required=True, help="the Secret with the CA and the leaf")
    parser.add_argument("--lease", required=True, help="the Lease whose holder rotates")
    parser.add_argument("--helm-release", default="", help="the Helm release that the Secret and the Lease belong to")
    parser.add_argument(
        "--webhook-configurations",
        required=True,
        help="the webhook configurations whose caBundles are written: RESOURCE/NAME,…",
    )
    parser.add_argument(
        "--names", required=True, help="the host names by which the API server calls the server, separated by commas"
    )
    parser.add_argument(
        "--shared-directory", required=True, type=Path, help="the directory that is shared with the server"
    )
    parser.add_argument("--log-format", choices=list(LogFormat), default=LogFormat.TEXT)
    parser.add_argument("--log-level", choices=list(LogLevel), default=LogLevel.INFO)
    for option, default, meaning in (
        ("--ca-lifetime", defaults.ca_lifetime, "the lifetime of a CA"),
        ("--leaf-lifetime", defaults.leaf_lifetime, "the lifetime of a leaf"),
        ("--ca-propagation-delay", defaults.ca_propagation_delay, "how long API servers may take to learn of a new CA"),
        ("--ca-overlap", defaults.ca_overlap, "how long servers may take to present a new leaf"),
    ):
        parser.add_argument(option, type=_duration, default=default, metavar="DURATION", help=meaning)
    return parser


def _duration(text: str) -> timedelta:
    try:
        return timedelta(seconds=duration.seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: {error}") from None


def _usage_error(message: str) -> int:
    print(f"python -m pillion.certs.keeper: {message}", file=sys.stderr)  # noqa: T201 — a command line prints
    return 2


if __name__ == "__main__":
    sys.exit(main())
