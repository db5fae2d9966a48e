"""The process that keeps a release's certificates: it reconciles the cluster, and writes the leaf for its server.

``python -m certs.keeper`` runs beside each server, in a container of its own: it alone has the service account's token.
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

from certs import duration, shared_folder
from certs.api import ApiError, ApiServer, StatusError, UnreachableError
from certs.leadership import Leadership
from certs.log_limiter import LogLimiter
from certs.logs import Log, LogFormat, traceback_fields
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
from certs.shared_folder import STEP_KINDS, FailureKind, SharedFolder
from certs.store import ObjectNames, Store
from certs.verify import FaultKind, UnusablePairError, verify

__all__ = ["Intervals", "Keeper", "main"]

#: A server is not ready so close to its certificate's ends: two clocks may each be ten minutes off.
VALIDITY_MARGIN = timedelta(minutes=20)
#: After this many steps without a rest somebody undoes what we do; being fast would only cost both.
MAX_FAST_STEPS = 8
#: An API server's refusal is a sentence that names who, what and why not; no tenant writes any of it.
MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a keeper reconciles, and how long what it observed counts; all derived from the settings."""

    poll: timedelta
    """Between two reconciliations."""
    after_step: timedelta
    """After a step, and while there is no leaf yet."""
    max_backoff: timedelta
    """Between two reconciliations, at most, while they fail."""
    lease_duration: timedelta
    """A Lease that has not been renewed for so long is free."""
    freshness: timedelta
    """A server is ready for so long after its keeper last read the Secret: less than ``ca_overlap``."""
    validity_margin: timedelta
    """A server is ready from so long after a leaf's begin to so long before its end."""

    @classmethod
    def of(cls, settings: RotationSettings) -> "Intervals":
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
    """Reconciles again and again; only :class:`Stopwatch` and the folder carry over from one time to the next."""

    def __init__(
        self,
        server: ApiServer,
        objects: ObjectNames,
        settings: RotationSettings,
        folder: SharedFolder,
        *,
        identity: str,
        log: Log,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._server = server
        self._objects = objects
        self._settings = settings
        self._intervals = Intervals.of(settings)
        self._folder = folder
        self._log = log
        self._log_limiter = LogLimiter(clock)
        self._leadership = Leadership(identity, self._intervals.lease_duration)
        self._stopwatch = Stopwatch()
        self._consecutive_failures = 0
        """Failures in a row."""
        self._consecutive_steps = 0
        """Steps in a row."""
        self._written_pair: bytes | None = None
        """The pair that is in the folder, if this process knows it."""
        # what an earlier process of this container knew is still true: a restart renews nothing
        self._status = replace(folder.read_status(), is_leader=False)

    def run(self, stop: threading.Event) -> None:
        """Reconcile until ``stop`` is set."""
        while not stop.is_set():
            delay = self.reconcile()
            # jitter: replicas that started together do not stay together
            stop.wait(delay.total_seconds() * random.uniform(0.8, 1.2))  # noqa: S311 — no secret
        self._release_lease()

    def reconcile(self) -> timedelta:
        """Reconcile once, and return how long to wait; nothing is raised."""
        try:
            step = self._reconcile()
        except Exception as error:  # noqa: BLE001 — an end of this process would end the pod's readiness, too
            return self._record_failure(error)
        self._consecutive_failures = 0
        self._log_limiter.reset("failure")
        self._status = replace(self._status, last_success=datetime.now(UTC).timestamp())
        if isinstance(step, Wait):
            self._consecutive_steps = 0
            self._log_change(self._log.info, "step", "waiting", step.reason)
            delay = min(step.delay, self._intervals.poll if self._written_pair else self._intervals.after_step)
        else:
            self._consecutive_steps += 1
            kind = _KINDS[type(step)]
            self._status = replace(self._status, steps=_incremented(self._status.steps, kind))
            self._log.info("step", kind=kind, message=step.reason)
            self._log_limiter.reset("step")
            delay = self._intervals.after_step if self._consecutive_steps < MAX_FAST_STEPS else self._intervals.poll
        self._write_status()
        return delay

    def _reconcile(self) -> Step:
        with self._server.connect() as connection:
            store = Store(connection, self._objects)
            leads, obstacle = self._leads(store)
            self._status = replace(self._status, is_leader=leads)
            observed = store.observe(include_configurations=leads)
            self._write_leaf(observed)
            if obstacle:
                raise _ClockSkewError(obstacle)
            if not leads:
                self._stopwatch = Stopwatch()
                return Wait(self._intervals.poll, "another replica rotates")
            step, self._stopwatch = next_step(observed, self._stopwatch, self._settings)
            store.perform(step, observed)
            return step

    def _leads(self, store: Store) -> tuple[bool, str]:
        """Return whether this process rotates, and what keeps it from doing so."""
        try:
            lease = store.lease()
            now = datetime.now(UTC)
            if abs(now - lease.server_time) > self._settings.max_clock_skew:
                # one whose clock is right may do it instead
                self._leadership.release(store, lease)
                return False, f"this clock says {now:%FT%TZ}, the API server's {lease.server_time:%FT%TZ}"
            leads = self._leadership.claim(store, lease, timedelta(seconds=monotonic()))
        except StatusError as error:
            if error.conflict:
                return False, ""
            # nothing relies on the Lease: without one, more of us may do the same
            self._log_change(self._log.warning, "Lease", "rotating without Lease", str(error))
            return True, ""
        self._log_limiter.reset("Lease")
        return leads, ""

    def _write_leaf(self, observed: Observed) -> None:
        """Write the Secret's leaf for the server if it is valid, and note until when it may be served."""
        content = observed.secret.content if observed.secret is not None else {}
        pair_pem = content.get("tls.crt", b""), content.get("tls.key", b"")
        at = shared_folder.seconds_since_boot()
        fresh_until_boot_seconds = at + self._intervals.freshness.total_seconds()
        try:
            pair = verify(*pair_pem, now=observed.time, names=self._settings.names)
        except UnusablePairError as error:
            # Nothing to write: what is served is as valid as before, for whoever knew that it was. A leaf that is only
            # outside its validity period may be valid for everybody else.
            if {fault.kind for fault in error.faults} != {
                FaultKind.TIME
            } and at <= self._status.fresh_until_boot_seconds:
                self._status = replace(self._status, fresh_until_boot_seconds=fresh_until_boot_seconds)
            return
        whole = b"".join(pair_pem)
        if whole != self._written_pair:
            self._folder.write_pair(*pair_pem)
            self._written_pair = whole
            self._log.info("leaf written", certificate=pair.fingerprint, not_after=f"{pair.not_after:%FT%TZ}")
        margin = self._intervals.validity_margin.total_seconds()
        self._status = replace(
            self._status,
            certificate=pair.fingerprint,
            serve_from=pair.not_before.timestamp() + margin,
            serve_until=pair.not_after.timestamp() - margin,
            fresh_until_boot_seconds=fresh_until_boot_seconds,
        )

    def _record_failure(self, error: Exception) -> timedelta:
        kind, message = _classify(error)
        self._consecutive_failures += 1
        self._consecutive_steps = 0
        self._log_limiter.reset("step")
        self._status = replace(self._status, failures=_incremented(self._status.failures, kind))
        if kind is FailureKind.CONFLICT:
            self._log_change(self._log.info, "conflict", "conflict", message)
        else:
            # the two clocks' times differ every time
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
            self._folder.write_status(self._status)
        except OSError as error:
            message = f"{self._folder.path}: {error.strerror or error}"
            if self._log_limiter.should_log("folder", message):
                self._log.error("reconcile failed", kind=FailureKind.FOLDER, message=message)
        else:
            self._log_limiter.reset("folder")

    def _log_change(self, log: Callable[..., None], topic: str, event: str, message: str) -> None:
        """Log the topic's message, unless it was logged before."""
        if self._log_limiter.should_log(topic, message):
            log(event, message=message)

    def _release_lease(self) -> None:
        """Release the Lease, so that another replica need not wait until it expires."""
        try:
            with self._server.connect() as connection:
                store = Store(connection, self._objects)
                if self._leadership.release(store, store.lease()):
                    self._log.info("Lease released")
        except ApiError as error:
            self._log.warning("Lease not released", message=str(error))


class _ClockSkewError(Exception):
    """Our clock and the API server's disagree."""


_KINDS: dict[type[Step], str] = dict(zip((CreateSecret, WriteSecret, ApplyBundles), STEP_KINDS, strict=True))


def _classify(error: Exception) -> tuple[FailureKind, str]:
    """Return what kind of failure this is, and a sentence."""
    match error:
        case StatusError():
            return FailureKind.CONFLICT if error.conflict else FailureKind.ERROR_RESPONSE, str(error)
        case UnreachableError():
            return FailureKind.UNREACHABLE, str(error)
        case _ClockSkewError():
            return FailureKind.CLOCK_SKEW, str(error)
        case OSError():
            return FailureKind.FOLDER, f"the certificate can't be written for the server: {error.strerror or error}"
    # without its message, which might quote a key
    bug = traceback_fields(type(error), error.__traceback__)
    return FailureKind.UNEXPECTED_EXCEPTION, f"{bug['exception']} at {bug['trace']}"


def _incremented(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {**counts, kind: counts.get(kind, 0) + 1}


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Keep the certificates until SIGTERM; return the exit code: 2 for arguments that can't be used."""
    options = _parser().parse_args(argv)
    try:
        settings = RotationSettings(
            tuple(options.names.split(",")),
            ca_lifetime=options.ca_lifetime,
            leaf_lifetime=options.leaf_lifetime,
            ca_propagation_delay=options.ca_propagation_delay,
            ca_overlap=options.ca_overlap,
        )
        configurations = tuple(options.configurations.split(","))
        objects = ObjectNames(options.namespace, options.secret, options.lease, configurations, options.release)
        server = ApiServer.in_cluster(environment)
    except KeyError as error:
        return _usage_error(f"{error.args[0]} is not set: this runs in a pod")
    except ValueError as error:
        return _usage_error(str(error))
    identity = f"{environment.get('POD_NAME') or socket.gethostname()}_{os.getpid()}_{random.randrange(16**8):08x}"  # noqa: S311
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Log(sys.stdout.fileno(), LogFormat(options.log_format), field_length=MESSAGE_LENGTH) as log:
        Keeper(server, objects, settings, SharedFolder(options.folder), identity=identity, log=log).run(stop)
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = RotationSettings(("-",))
    parser = argparse.ArgumentParser(prog="python -m certs.keeper", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--secret", required=True, help="where the CA and the leaf are kept")
    parser.add_argument("--lease", required=True, help="who holds it rotates")
    parser.add_argument("--release", default="", help="the Helm release that Secret and Lease belong to")
    parser.add_argument("--configurations", required=True, help="whose entries trust the CA, as RESOURCE/NAME,…")
    parser.add_argument("--names", required=True, help="what the API server calls the server, with commas")
    parser.add_argument("--folder", required=True, type=Path, help="where the leaf is left for the server")
    parser.add_argument("--log-format", choices=list(LogFormat), default=LogFormat.TEXT)
    for option, default, meaning in (
        ("--ca-lifetime", defaults.ca_lifetime, "how long a CA lives"),
        ("--leaf-lifetime", defaults.leaf_lifetime, "how long a leaf lives"),
        ("--ca-propagation-delay", defaults.ca_propagation_delay, "until every API server knows a new CA"),
        ("--ca-overlap", defaults.ca_overlap, "until every server shows a new leaf"),
    ):
        parser.add_argument(option, type=_duration, default=default, metavar="DURATION", help=meaning)
    return parser


def _duration(text: str) -> timedelta:
    try:
        return timedelta(seconds=duration.seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: {error}") from None


def _usage_error(sentence: str) -> int:
    print(f"pillion certificates: {sentence}", file=sys.stderr)  # noqa: T201 — a command line prints
    return 2


if __name__ == "__main__":
    sys.exit(main())
