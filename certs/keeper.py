"""The process that looks after a release's certificates: looks, takes one step, and leaves the leaf for the server.

``python -m certs.keeper`` runs beside each server, in a container of its own: it alone has the service account's token.
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TextIO

from certs import delivery
from certs.api import ApiError, ApiServer, RefusedError, UnreachableError
from certs.delivery import STEPS, Failure, Folder
from certs.leadership import Leadership
from certs.repetition import Repetition
from certs.rotation import (
    ApplyBundles,
    CreateSecret,
    Memory,
    Seen,
    Settings,
    Step,
    Wait,
    WriteSecret,
    next_step,
)
from certs.store import Place, Store
from certs.verify import FaultKind, UnusablePairError, verify

__all__ = ["Keeper", "Pace", "main"]

#: A server is not ready so close to its certificate's ends: two clocks may each be ten minutes off.
MARGIN = timedelta(minutes=20)
#: After this many steps without a rest somebody undoes what we do, and haste would only cost both of us.
STEPS_IN_HASTE = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a keeper looks, and how long what it saw counts; all of it follows from the settings."""

    poll: timedelta
    """Between two looks."""
    haste: timedelta
    """After a step, and while there is no leaf yet."""
    patience: timedelta
    """Between two looks, at most, while they fail."""
    lease: timedelta
    """A Lease that has not been renewed for so long is free."""
    grace: timedelta
    """A server is ready for so long after the last look at the Secret: less than ``overlap``."""
    margin: timedelta
    """A server is ready from so long after a leaf's begin to so long before its end."""

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        """Return the pace for these settings."""
        poll = min(timedelta(seconds=10), settings.settling / 5)
        return cls(
            poll=poll,
            haste=min(timedelta(seconds=0.5), poll / 2),
            patience=6 * poll,
            lease=max(timedelta(seconds=2), 3 * poll),
            grace=settings.overlap * 3 / 4,
            margin=min(MARGIN, settings.leaf_lifetime / 10),
        )


class Keeper:
    """Looks again and again; each look is wholly new but for what :class:`Memory` and the folder keep."""

    def __init__(
        self,
        server: ApiServer,
        place: Place,
        settings: Settings,
        folder: Folder,
        *,
        identity: str,
        say: Callable[..., None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._server = server
        self._place = place
        self._settings = settings
        self._pace = Pace.of(settings)
        self._folder = folder
        self._say = say
        self._repetition = Repetition(clock)
        self._leadership = Leadership(identity, self._pace.lease)
        self._memory = Memory()
        self._failed = 0
        """Looks in a row."""
        self._steps = 0
        """In a row."""
        self._left: bytes | None = None
        """The pair that is in the folder, if this process knows it."""
        # what an earlier process of this container knew is still true: a restart makes nothing fresh
        self._notice = replace(folder.notice(), leading=False)

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            delay = self.look()
            # jitter: replicas that started together do not stay together
            stop.wait(delay.total_seconds() * random.uniform(0.8, 1.2))  # noqa: S311 — no secret
        self._leave()

    def look(self) -> timedelta:
        """Look once, take a step if it is for us to take, and return how long to wait; nothing is raised."""
        try:
            step = self._look()
        except Exception as error:  # noqa: BLE001 — an end of this process would end the pod's readiness, too
            return self._after_failure(error)
        self._failed = 0
        self._repetition.over("failure")
        self._notice = replace(self._notice, looked=datetime.now(UTC).timestamp())
        if isinstance(step, Wait):
            self._steps = 0
            self._tell("step", "info", "waiting", step.reason)
            delay = min(step.delay, self._pace.poll if self._left else self._pace.haste)
        else:
            self._steps += 1
            kind = _KINDS[type(step)]
            self._notice = replace(self._notice, steps=_counted(self._notice.steps, kind))
            self._say("info", "step", kind=kind, message=step.reason)
            self._repetition.over("step")
            delay = self._pace.haste if self._steps < STEPS_IN_HASTE else self._pace.poll
        self._publish()
        return delay

    def _look(self) -> Step:
        with self._server.connect() as connection:
            store = Store(connection, self._place)
            leads, obstacle = self._leads(store)
            self._notice = replace(self._notice, leading=leads)
            seen = store.look(at_configurations=leads)
            self._deliver(seen)
            if obstacle:
                raise _ClocksError(obstacle)
            if not leads:
                self._memory = Memory()
                return Wait(self._pace.poll, "another replica rotates")
            step, self._memory = next_step(seen, self._memory, self._settings)
            store.perform(step, seen)
            return step

    def _leads(self, store: Store) -> tuple[bool, str]:
        """Return whether it is for us to rotate, and what is in the way of that."""
        try:
            lease = store.lease()
            now = datetime.now(UTC)
            if abs(now - lease.server_time) > self._settings.skew:
                # one whose clock is right may do it instead
                self._leadership.release(store, lease)
                return False, f"this clock says {now:%FT%TZ}, the API server's {lease.server_time:%FT%TZ}"
            leads = self._leadership.claim(store, lease, timedelta(seconds=monotonic()))
        except RefusedError as error:
            if error.conflict:
                return False, ""
            # nothing relies on the Lease: without one, more of us may do the same
            self._tell("Lease", "warning", "waiting", f"no Lease, rotating without: {error}")
            return True, ""
        self._repetition.over("Lease")
        return leads, ""

    def _deliver(self, seen: Seen) -> None:
        """Leave the Secret's leaf for the server if it is good, and say until when that may be relied on."""
        content = seen.secret.content if seen.secret is not None else {}
        pair_pem = content.get("tls.crt", b""), content.get("tls.key", b"")
        at = delivery.instant()
        stale = at + self._pace.grace.total_seconds()
        try:
            pair = verify(*pair_pem, now=seen.time, names=self._settings.names)
        except UnusablePairError as error:
            # Nothing to take: what is shown is as good as before, for whoever knew that it was. One that only is not
            # valid now may be good for everybody else.
            if {fault.kind for fault in error.faults} != {FaultKind.TIME} and at <= self._notice.stale:
                self._notice = replace(self._notice, stale=stale)
            return
        whole = b"".join(pair_pem)
        if whole != self._left:
            self._folder.leave(*pair_pem)
            self._left = whole
            self._say("info", "leaf", certificate=pair.fingerprint, ends=f"{pair.not_after:%FT%TZ}")
        margin = self._pace.margin.total_seconds()
        self._notice = replace(
            self._notice,
            certificate=pair.fingerprint,
            begins=pair.not_before.timestamp() + margin,
            ends=pair.not_after.timestamp() - margin,
            stale=stale,
        )

    def _after_failure(self, error: Exception) -> timedelta:
        kind, message = _failure(error)
        self._failed += 1
        self._steps = 0
        self._repetition.over("step")
        self._notice = replace(self._notice, failures=_counted(self._notice.failures, kind))
        if kind is Failure.CONFLICT:
            self._tell("conflict", "info", "somebody was faster", message)
        else:
            # the two clocks' times are other ones at each look
            text = kind if kind is Failure.CLOCKS else message
            if self._repetition.worth("failure", text):
                self._say("error", "look failed", kind=kind, message=message, in_a_row=self._failed)
        self._publish()
        doubled: timedelta = self._pace.poll * 2 ** min(self._failed - 1, 8)
        return min(doubled, self._pace.patience)

    def _publish(self) -> None:
        try:
            self._folder.say(self._notice)
        except OSError as error:
            message = f"{self._folder.path}: {error.strerror or error}"
            if self._repetition.worth("folder", message):
                self._say("error", "look failed", kind=Failure.FOLDER, message=message)
        else:
            self._repetition.over("folder")

    def _tell(self, topic: str, level: str, event: str, message: str) -> None:
        """Say it, unless it was said before."""
        if self._repetition.worth(topic, message):
            self._say(level, event, message=message)

    def _leave(self) -> None:
        """Give the Lease up, so that another one need not wait until it is free."""
        try:
            with self._server.connect() as connection:
                store = Store(connection, self._place)
                if self._leadership.release(store, store.lease()):
                    self._say("info", "Lease released")
        except ApiError as error:
            self._say("warning", "Lease kept", message=str(error))


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
            return Failure.FOLDER, f"the certificate can't be left for the server: {error.strerror or error}"
    # without its message, which might quote what we hold
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return Failure.BUG, f"{type(error).__qualname__} at {where}"


def _counted(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {**counts, kind: counts.get(kind, 0) + 1}


def main(words: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Look after the certificates until SIGTERM; return the exit code: 2 for what can't be used."""
    given = _parser().parse_args(words)
    try:
        settings = Settings(
            tuple(given.names.split(",")),
            authority_lifetime=given.authority_lifetime,
            leaf_lifetime=given.leaf_lifetime,
            settling=given.settling,
            overlap=given.overlap,
        )
        configurations = tuple(given.configurations.split(","))
        place = Place(given.namespace, given.secret, given.lease, configurations, given.release)
        server = ApiServer.of_this_pod(environment)
    except KeyError as error:
        return _unusable(f"{error.args[0]} is not set: this runs in a pod")
    except ValueError as error:
        return _unusable(str(error))
    identity = f"{environment.get('POD_NAME') or socket.gethostname()}_{os.getpid()}_{random.randrange(16**8):08x}"  # noqa: S311
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    say = _json_log if given.log_format == "json" else _text_log
    Keeper(server, place, settings, Folder(given.folder), identity=identity, say=say).run(stop)
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Settings(("-",))
    parser = argparse.ArgumentParser(prog="python -m certs.keeper", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--secret", required=True, help="where the authority and the leaf are kept")
    parser.add_argument("--lease", required=True, help="who holds it rotates")
    parser.add_argument("--release", default="", help="the Helm release that Secret and Lease belong to")
    parser.add_argument("--configurations", required=True, help="whose entries trust the authority, as RESOURCE/NAME,…")
    parser.add_argument("--names", required=True, help="what the API server calls the server, with commas")
    parser.add_argument("--folder", required=True, type=Path, help="where the leaf is left for the server")
    parser.add_argument("--log-format", choices=["json", "text"], default="text")
    for option, default, meaning in (
        ("--authority-lifetime", defaults.authority_lifetime, "how long an authority lives"),
        ("--leaf-lifetime", defaults.leaf_lifetime, "how long a leaf lives"),
        ("--settling", defaults.settling, "until every API server knows a new authority"),
        ("--overlap", defaults.overlap, "until every server shows a new leaf"),
    ):
        parser.add_argument(option, type=_duration, default=default, metavar="DURATION", help=meaning)
    return parser


def _duration(text: str) -> timedelta:
    """Return a duration as the chart's values have it: a number and one unit."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|m|s|ms)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text[:40]!r} is no duration; write a number and h, m, s or ms, as "720h"')
    return timedelta(milliseconds=float(match[1]) * {"h": 3600000, "m": 60000, "s": 1000, "ms": 1}[match[2]])


def _json_log(level: str, event: str, **fields: object) -> None:
    _write(sys.stdout, json.dumps({"time": _now(), "level": level, "event": event, **fields}))


def _text_log(level: str, event: str, **fields: object) -> None:
    _write(
        sys.stdout, " ".join([_now(), level, event, *(f"{key}={json.dumps(value)}" for key, value in fields.items())])
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unusable(sentence: str) -> int:
    _write(sys.stderr, f"pillion certificates: {sentence}")
    return 2


def _write(stream: TextIO, line: str) -> None:
    with suppress(OSError):  # nobody reads any more
        stream.write(f"{line}\n")
        stream.flush()


if __name__ == "__main__":
    sys.exit(main())
