"""The process that renews a release's certificates, and writes the leaf into a folder for its server.

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

from certs import delivery, duration
from certs.api import ApiError, ApiServer, RefusedError, UnreachableError
from certs.delivery import STEPS, Failure, Folder
from certs.leadership import Leadership
from certs.log_limiter import LogLimiter
from certs.logs import Log, LogFormat, traceback_fields
from certs.rotation import (
    ApplyBundles,
    CreateSecret,
    Memory,
    Observed,
    Settings,
    Step,
    Wait,
    WriteSecret,
    next_step,
)
from certs.store import ReleaseObjects, Store
from certs.verify import FaultKind, UnusablePairError, verify

__all__ = ["Intervals", "Keeper", "main"]

#: A server is not ready so close to its certificate's ends: two clocks may each be ten minutes off.
MARGIN = timedelta(minutes=20)
#: After this many steps in a row somebody else is undoing them: then the keeper slows down.
MAX_FAST_STEPS = 8
#: An API server's refusal is a sentence that names who, what and why not; no tenant writes any of it.
MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a keeper reconciles, and how long what it observed counts; all derived from the settings."""

    poll: timedelta
    """Between two reconciliations."""
    fast: timedelta
    """After a step, and while there is no leaf yet."""
    max_backoff: timedelta
    """Between two reconciliations, at most, while they fail."""
    lease: timedelta
    """A Lease that has not been renewed for so long is free."""
    grace: timedelta
    """A server is ready for so long after its keeper last read the Secret: less than ``ca_overlap``."""
    margin: timedelta
    """A server is ready from so long after a leaf's begin to so long before its end."""

    @classmethod
    def of(cls, settings: Settings) -> "Intervals":
        """Return the intervals for these settings."""
        poll = min(timedelta(seconds=10), settings.ca_propagation_delay / 5)
        return cls(
            poll=poll,
            fast=min(timedelta(seconds=0.5), poll / 2),
            max_backoff=6 * poll,
            lease=max(timedelta(seconds=2), 3 * poll),
            grace=settings.ca_overlap * 3 / 4,
            margin=min(MARGIN, settings.leaf_lifetime / 10),
        )


class Keeper:
    """Reconciles in a loop; only :class:`Memory` and what is in the folder carry over to the next reconciliation."""

    def __init__(
        self,
        server: ApiServer,
        objects: ReleaseObjects,
        settings: Settings,
        folder: Folder,
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
        self._leadership = Leadership(identity, self._intervals.lease)
        self._memory = Memory()
        self._failed = 0
        """Failures in a row."""
        self._steps = 0
        """Steps in a row."""
        self._published: bytes | None = None
        """The pair that this process has written into the folder; None before the first."""
        # what an earlier process of this container noted still holds: a restart must not make the server unready
        self._notice = replace(folder.notice(), leading=False)

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
            return self._failed_reconciliation(error)
        self._failed = 0
        self._log_limiter.reset("failure")
        self._notice = replace(self._notice, last_sync=datetime.now(UTC).timestamp())
        if isinstance(step, Wait):
            self._steps = 0
            self._log_change(self._log.info, "step", "waiting", step.reason)
            delay = min(step.delay, self._intervals.poll if self._published else self._intervals.fast)
        else:
            self._steps += 1
            kind = _KINDS[type(step)]
            self._notice = replace(self._notice, steps=_counted(self._notice.steps, kind))
            self._log.info("step", kind=kind, message=step.reason)
            self._log_limiter.reset("step")
            delay = self._intervals.fast if self._steps < MAX_FAST_STEPS else self._intervals.poll
        self._write_notice()
        return delay

    def _reconcile(self) -> Step:
        with self._server.connect() as connection:
            store = Store(connection, self._objects)
            leads, obstacle = self._leads(store)
            self._notice = replace(self._notice, leading=leads)
            observed = store.observe(with_configurations=leads)
            self._publish_leaf(observed)
            if obstacle:
                raise _ClocksError(obstacle)
            if not leads:
                self._memory = Memory()
                return Wait(self._intervals.poll, "another replica rotates")
            step, self._memory = next_step(observed, self._memory, self._settings)
            store.perform(step, observed)
            return step

    def _leads(self, store: Store) -> tuple[bool, str]:
        """Return whether this process may rotate, and an error that keeps it from reconciling (empty: none)."""
        try:
            lease = store.lease()
            now = datetime.now(UTC)
            if abs(now - lease.server_time) > self._settings.max_clock_skew:
                # let a replica whose clock is right rotate instead
                self._leadership.release(store, lease)
                return False, f"this clock says {now:%FT%TZ}, the API server's {lease.server_time:%FT%TZ}"
            leads = self._leadership.claim(store, lease, timedelta(seconds=monotonic()))
        except RefusedError as error:
            if error.conflict:
                return False, ""
            # safe without a Lease: several replicas may then try the same step, and all but one get a conflict
            self._log_change(self._log.warning, "Lease", "rotating without Lease", str(error))
            return True, ""
        self._log_limiter.reset("Lease")
        return leads, ""

    def _publish_leaf(self, observed: Observed) -> None:
        """Write the Secret's leaf into the folder if it is valid, and until when it may be served into the notice."""
        content = observed.secret.content if observed.secret is not None else {}
        pair_pem = content.get("tls.crt", b""), content.get("tls.key", b"")
        at = delivery.boot_time()
        valid_until = at + self._intervals.grace.total_seconds()
        try:
            pair = verify(*pair_pem, now=observed.time, names=self._settings.names)
        except UnusablePairError as error:
            # The server goes on with the leaf that it has, and that leaf may be served for as long as the Secret can be
            # read. Not if the only fault is the time: then our clock may be wrong, and the others use the new leaf.
            if {fault.kind for fault in error.faults} != {FaultKind.TIME} and at <= self._notice.valid_until:
                self._notice = replace(self._notice, valid_until=valid_until)
            return
        whole = b"".join(pair_pem)
        if whole != self._published:
            self._folder.write_pair(*pair_pem)
            self._published = whole
            self._log.info("leaf published", certificate=pair.fingerprint, not_after=f"{pair.not_after:%FT%TZ}")
        margin = self._intervals.margin.total_seconds()
        self._notice = replace(
            self._notice,
            certificate=pair.fingerprint,
            not_before=pair.not_before.timestamp() + margin,
            not_after=pair.not_after.timestamp() - margin,
            valid_until=valid_until,
        )

    def _failed_reconciliation(self, error: Exception) -> timedelta:
        kind, message = _failure(error)
        self._failed += 1
        self._steps = 0
        self._log_limiter.reset("step")
        self._notice = replace(self._notice, failures=_counted(self._notice.failures, kind))
        if kind is Failure.CONFLICT:
            self._log_change(self._log.info, "conflict", "conflict", message)
        else:
            # this message has the two times in it, so it is never the same twice
            text = kind if kind is Failure.CLOCKS else message
            if self._log_limiter.should_log("failure", text):
                self._log.error("reconcile failed", kind=kind, message=message, in_a_row=self._failed)
        self._write_notice()
        doubled: timedelta = self._intervals.poll * 2 ** min(self._failed - 1, 8)
        return min(doubled, self._intervals.max_backoff)

    def _write_notice(self) -> None:
        try:
            self._folder.write_notice(self._notice)
        except OSError as error:
            message = f"{self._folder.path}: {error.strerror or error}"
            if self._log_limiter.should_log("folder", message):
                self._log.error("reconcile failed", kind=Failure.FOLDER, message=message)
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


class _ClocksError(Exception):
    """Our clock and the API server's disagree."""


_KINDS: dict[type[Step], str] = dict(zip((CreateSecret, WriteSecret, ApplyBundles), STEPS, strict=True))


def _failure(error: Exception) -> tuple[Failure, str]:
    """Return what kind of failure this is, and a sentence."""
    match error:
        case RefusedError():
            return Failure.CONFLICT if error.conflict else Failure.REFUSED, str(error)
        case UnreachableError():
            return Failure.UNREACHABLE, str(error)
        case _ClocksError():
            return Failure.CLOCKS, str(error)
        case OSError():
            return Failure.FOLDER, f"the certificate can't be written for the server: {error.strerror or error}"
    # without its message, which might quote a key
    bug = traceback_fields(type(error), error.__traceback__)
    return Failure.BUG, f"{bug['exception']} at {bug['trace']}"


def _counted(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {**counts, kind: counts.get(kind, 0) + 1}


def main(words: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Keep the certificates until SIGTERM; return the exit code: 2 for arguments that can't be used."""
    given = _parser().parse_args(words)
    try:
        settings = Settings(
            tuple(given.names.split(",")),
            ca_lifetime=given.ca_lifetime,
            leaf_lifetime=given.leaf_lifetime,
            ca_propagation_delay=given.ca_propagation_delay,
            ca_overlap=given.ca_overlap,
        )
        configurations = tuple(given.configurations.split(","))
        objects = ReleaseObjects(given.namespace, given.secret, given.lease, configurations, given.release)
        server = ApiServer.in_cluster(environment)
    except KeyError as error:
        return _unusable(f"{error.args[0]} is not set: this runs in a pod")
    except ValueError as error:
        return _unusable(str(error))
    identity = f"{environment.get('POD_NAME') or socket.gethostname()}_{os.getpid()}_{random.randrange(16**8):08x}"  # noqa: S311
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Log(sys.stdout.fileno(), LogFormat(given.log_format), field_length=MESSAGE_LENGTH) as log:
        Keeper(server, objects, settings, Folder(given.folder), identity=identity, log=log).run(stop)
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Settings(("-",))
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


def _unusable(sentence: str) -> int:
    print(f"pillion certificates: {sentence}", file=sys.stderr)  # noqa: T201 — a command line prints
    return 2


if __name__ == "__main__":
    sys.exit(main())
