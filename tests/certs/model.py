"""A model of all that takes part in a rotation: an API server, its clients, replicas that serve and that rotate.

What one of them does in several requests is several steps here, and any step of another may come between. Requests
arrive late, long after their writer has given up, or never; each replica rotates, as if there were no Lease; clocks are
wrong. The constants are what must be promised.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certs.ca import CA
from certs.rotation import (
    ApplyBundles,
    CreateSecret,
    Observed,
    RotationSettings,
    SecretSnapshot,
    StepResult,
    Stopwatch,
    Wait,
    WebhookConfiguration,
    WriteSecret,
    next_step,
)
from certs.verify import FaultKind, UnusablePairError, verify

__all__ = ["NAME", "SETTINGS", "START", "WEIGHTS", "Machine", "RefusedError", "World", "accepted", "happen", "walk"]

START = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
NAME = "pillion.pillion-system.svc"
#: Days for months: a walk of some thousand steps sees every kind of renewal.
SETTINGS = RotationSettings(
    (NAME,),
    ca_lifetime=timedelta(days=4),
    leaf_lifetime=timedelta(days=1),
    ca_propagation_delay=timedelta(minutes=5),
    ca_overlap=timedelta(minutes=10),
)

#: An API server's informer delivers within this; less than ``settling``.
LAG = timedelta(minutes=4)
#: A server reads the Secret this often.
POLL = timedelta(minutes=2)
#: A server that can't read the Secret, or refuses what it reads, is ready for this long; less than ``overlap``.
GRACE = timedelta(minutes=8)
#: Clocks are this far from the truth, unless they are broken.
SKEW = timedelta(minutes=10)
#: A server is not ready this close to its certificate's ends: a client's clock is as far from the truth as its own.
MARGIN = 2 * SKEW
ZERO = timedelta()
#: Of the writes on their way that nobody waits for any more, the oldest is lost beyond this number.
MOST_IN_FLIGHT = 20

CONFIGURATIONS = {"pods": ("annotated", "opted-in"), "lint": ("lint",)}
CLIENTS = 2

Machine = Callable[[Observed, Stopwatch, RotationSettings], StepResult]


class RefusedError(AssertionError):
    """A client does not accept what a ready server shows."""


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration at a time; None while there is none."""

    published: timedelta
    configuration: WebhookConfiguration | None
    faulty: bool = False
    """Somebody else wrote it, without what we had applied: until ours comes, a refusal is theirs."""


@dataclass(eq=False, slots=True)
class Client:
    """An API server's instance: it trusts what its informers have delivered."""

    max_clock_skew: timedelta
    known: dict[str, int]


@dataclass(eq=False, slots=True)
class Request:
    """A write on its way: it arrives at any time, also after its writer has ended."""

    arrive: Callable[[], None]
    answered: bool = False


@dataclass(eq=False, slots=True)
class Replica:
    """A server with a pair in memory, and a process that rotates."""

    max_clock_skew: timedelta
    wrong_by: timedelta = ZERO
    """How much a broken clock is off."""
    pair: tuple[bytes, bytes] | None = None
    polled: timedelta = ZERO
    confirmed: timedelta = ZERO
    """When it last saw that its pair is the Secret's, or that the Secret has none to offer."""
    cut_off: bool = False
    excused: bool = False
    """Its clock is broken, or a fault destroyed all trace of the CA of its leaf: until it has a new pair."""
    process: Iterator[None] = field(default_factory=lambda: iter(()))


@dataclass(eq=False)
class World:
    """The model; ``random`` decides what its methods leave open."""

    random: random.Random = field(default_factory=lambda: random.Random(0))
    machine: Machine = next_step
    settings: RotationSettings = SETTINGS
    size: int = 3
    """How many replicas there are."""
    swaps_secrets: bool = True
    """Whether the API server refuses a write of the Secret that names an old version."""
    swaps_configurations: bool = True
    secret_first: bool = False
    """Whether the Secret is read before the configurations."""

    def __post_init__(self) -> None:
        self.elapsed = ZERO
        self.offset = ZERO
        self.counter = 0
        self.writes = 0
        self.rotations = 0
        self.checks = 0
        self.leaves: set[bytes] = set()
        self.orphans: set[bytes] = set()
        self.secret: SecretSnapshot | None = None
        self.backups: list[Mapping[str, bytes]] = []
        self.history: dict[str, list[Version]] = {name: [] for name in CONFIGURATIONS}
        self.in_flight: list[Request] = []
        self.story: deque[str] = deque(maxlen=60)
        self.lenient = False
        for name in CONFIGURATIONS:
            self._publish(name, self._bare(name), faulty=True)
        self.clients = [Client(self._any_skew(), dict.fromkeys(CONFIGURATIONS, 0)) for _ in range(CLIENTS)]
        self.replicas = [Replica(self._any_skew()) for _ in range(self.size)]
        for replica in self.replicas:
            replica.process = self._rotate(replica)

    # what happens by itself

    def act(self, replica: Replica) -> None:
        """Let a replica's process take one step: a read, a decision, a look whether its write was answered."""
        next(replica.process)

    def deliver(self, request: Request) -> None:
        """Let a write arrive, and its answer."""
        self.in_flight.remove(request)
        request.arrive()
        request.answered = True
        self.check()

    def lose(self, request: Request) -> None:
        """Let a write be lost; the writer's patience ends."""
        self.in_flight.remove(request)
        request.answered = True

    def give_up(self, request: Request) -> None:
        """Let the writer's patience end while the write is still on its way."""
        request.answered = True
        if len(self.in_flight) > MOST_IN_FLIGHT:
            self.lose(self.in_flight[0])

    def poll(self, replica: Replica) -> None:
        """Let a server read the Secret, and take its pair if it is good."""
        replica.polled = self.elapsed
        if replica.cut_off:
            return
        fresh = self._fresh(replica)
        data = self.secret.data if self.secret is not None else {}
        pair = data.get("tls.crt", b""), data.get("tls.key", b"")
        faults = _faults(*pair, self.clock(replica.max_clock_skew + replica.wrong_by))
        if not faults:
            if pair != replica.pair:
                self.story.append(f"{self._at()} {self._name(replica)} serves {_short(pair[0])}")
            lost = pair[0] in self.orphans or (replica.excused and pair == replica.pair)
            replica.excused = replica.wrong_by != ZERO or lost
            replica.pair, replica.confirmed = pair, self.elapsed
        elif fresh and faults != {FaultKind.TIME}:
            # nothing to take; whoever is out of touch for long does not know whether there was something before
            replica.confirmed = self.elapsed
        self.check()

    def inform(self, client: Client, name: str) -> None:
        """Let an informer deliver the next version."""
        client.known[name] = min(client.known[name] + 1, len(self.history[name]) - 1)
        self.check()

    def advance(self, duration: timedelta) -> None:
        """Let time pass. What must happen in it does; processes and requests don't have to."""
        end = self.elapsed + duration
        # one round of reads sees what there is; from then to the end nothing changes
        unread = list(self.replicas)
        while True:
            deliveries = [
                (self.history[name][known + 1].published + LAG, client, name)
                for client in self.clients
                for name, known in client.known.items()
                if known + 1 < len(self.history[name])
            ]
            reads = [(replica.polled + POLL, replica) for replica in unread]
            delivery = min(deliveries, key=lambda each: each[0], default=None)
            read = min(reads, key=lambda each: each[0], default=None)
            if read is not None and read[0] <= end and (delivery is None or read[0] <= delivery[0]):
                self.elapsed = max(self.elapsed, read[0])
                unread.remove(read[1])
                self.poll(read[1])
            elif delivery is not None and delivery[0] <= end:
                self.elapsed = max(self.elapsed, delivery[0])
                self.inform(*delivery[1:])
            else:
                break
        self.elapsed = end
        for replica in self.replicas:
            if end - replica.polled > POLL:
                self.poll(replica)
        self.check()

    # what somebody does

    def crash(self, replica: Replica) -> None:
        """Start a replica anew: memory and pair are gone, writes on their way are not."""
        replica.process = self._rotate(replica)
        replica.pair, replica.excused = None, replica.wrong_by != ZERO
        self.story.append(f"{self._at()} {self._name(replica)} restarted")

    def forget(self, replica: Replica) -> None:
        """End the process that rotates; the server goes on."""
        replica.process = self._rotate(replica)

    def ask(self, what: str) -> None:
        """Ask for a rotation."""
        if self.secret is not None:
            self.secret = replace(self.secret, version=self._next(), requested_rotation=what)
            self.story.append(f"{self._at()} asked for {what}")

    # what goes wrong

    def delete_secret(self) -> None:
        """Delete the Secret."""
        self._fault("Secret deleted", None)

    def empty_secret(self) -> None:
        """Take everything out of the Secret."""
        if self.secret is not None:
            self._fault("Secret emptied", {})

    def garble_secret(self, key: str, how: str) -> None:
        """Break one part of the Secret."""
        if self.secret is None or key not in self.secret.data:
            return
        data = dict(self.secret.data)
        was = data.pop(key)
        other = CA.create(self.clock(), lifetime=timedelta(days=1))
        broken = {
            "gone": None,
            "empty": b"",
            "junk": b"\x00\xff not PEM",
            "torn": was[: len(was) // 2],
            "another's": other.key_pem if key.endswith(".key") else other.certificate_pem,
        }[how]
        if broken is not None:
            data[key] = broken
        self._fault(f"{key} {how}", data)

    def recreate(self, name: str) -> None:
        """Create a configuration as the chart has it, without bundles."""
        self._publish(name, self._bare(name), faulty=True)
        self._excuse()

    def delete_configuration(self, name: str) -> None:
        """Delete a configuration."""
        self._publish(name, None, faulty=True)
        self._excuse()

    def strip(self, name: str, entry: str) -> None:
        """Take one entry's bundle away, or write junk to it."""
        now = self.history[name][-1].configuration
        if now is not None:
            bundles = {**now.bundles, entry: self.random.choice([b"", b"junk"])}
            self._publish(name, WebhookConfiguration(self._next(), bundles), faulty=True)
            self._excuse()

    def cut(self, replica: Replica) -> None:
        """Keep a server from reading the Secret, or no longer."""
        replica.cut_off = not replica.cut_off
        self.story.append(f"{self._at()} {self._name(replica)} cut off: {replica.cut_off}")

    def drift(self, replica: Replica) -> None:
        """Let a clock jump within what is promised."""
        replica.max_clock_skew = self._any_skew()

    def break_clock(self, replica: Replica, by: timedelta) -> None:
        """Let a replica's clock be wrong, by more than is promised; ``ZERO`` repairs it."""
        replica.wrong_by = by
        replica.excused = True
        self.story.append(f"{self._at()} {self._name(replica)}'s clock is wrong by {by}")
        if not by:
            # a clock that is set right is noticed with the next look at the Secret, which the server needs
            replica.pair = None
            self.poll(replica)

    def jump(self, by: timedelta) -> None:
        """Let every clock jump: a suspended machine, a repaired time server."""
        self.offset += by
        self.story.append(f"{self._at()} all clocks jumped by {by}")
        self.check()

    def restore(self) -> None:
        """Write the Secret as it was some time ago; who does that accepts refusals until it has healed."""
        if self.backups:
            self.lenient = True
            self._fault("Secret restored", self.random.choice(self.backups))

    def revert(self, name: str) -> None:
        """Write a configuration as it was some time ago; the same."""
        self.lenient = True
        was = self.random.choice(self.history[name]).configuration
        if was is not None:
            self._publish(name, replace(was, version=self._next()), faulty=True)

    # what is true

    def clock(self, max_clock_skew: timedelta = ZERO) -> datetime:
        """Return a clock's time."""
        return START + self.elapsed + self.offset + max_clock_skew

    def ready(self, replica: Replica) -> bool:
        """Return whether the API server sends requests to a server."""
        if replica.pair is None or not self._fresh(replica):
            return False
        leaf = _certificate(replica.pair[0])
        now = self.clock(replica.max_clock_skew + replica.wrong_by)
        return leaf.not_valid_before_utc + MARGIN <= now <= leaf.not_valid_after_utc - MARGIN

    def check(self) -> None:
        """Raise :class:`RefusedError` where a client does not accept what a ready server shows."""
        if self.lenient:
            return
        shown = [(each, each.pair[0]) for each in self.replicas if not each.excused and each.pair and self.ready(each)]
        for client in self.clients:
            now = self.clock(client.max_clock_skew)
            for name, versions in self.history.items():
                configuration = versions[client.known[name]].configuration
                if configuration is None or any(each.faulty for each in versions[client.known[name] :]):
                    continue
                for bundle in set(configuration.bundles.values()):
                    for replica, chain in shown:
                        self.checks += 1
                        if not accepted(chain, bundle, now):
                            what = f"{name} trusts {_shorts(bundle)}, {self._name(replica)} shows {_short(chain)}"
                            raise RefusedError("\n".join([*self.story, f"{self._at()} {what}, {now}"]))

    def healed(self) -> str:
        """Return what is not yet as it should be, or nothing."""
        if self.secret is None:
            return "no Secret"
        data = self.secret.data
        try:
            ca = CA.load(data.get("ca.crt", b""), data.get("ca.key", b""))
            pair = data.get("tls.crt", b""), data.get("tls.key", b"")
            verify(*pair, now=self.clock(), names=(NAME,), roots_pem=ca.certificate_pem)
        except ValueError as error:
            return str(error)
        if self.secret.requested_rotation or {"next-ca.crt", "retired-ca.crt"} & data.keys():
            return "a rotation is not over"
        for name, versions in self.history.items():
            now = versions[-1].configuration
            if now is not None and set(now.bundles.values()) != {ca.certificate_pem}:
                return f"{name} does not trust the CA, or others too"
            if any(client.known[name] + 1 < len(versions) for client in self.clients):
                return "an informer is behind"
        if not all(self.ready(replica) and replica.pair == pair for replica in self.replicas):
            return "a server is not ready or shows another leaf"
        return ""

    def heal(self, rounds: int = 100) -> int:
        """Stop all faults, let everybody work, and return the number of writes it took; AssertionError if too many.

        Writes that nobody waits for any more stay on their way. A round is a minute in the mean; a rotation in
        progress, one that was asked for and a leaf that is due take three times the two delays.
        """
        for replica in self.replicas:
            replica.cut_off = False
            if replica.wrong_by:
                self.break_clock(replica, ZERO)
        before = self.writes
        missing = ""
        for _ in range(rounds):
            for replica in self.random.sample(self.replicas, len(self.replicas)):
                for _ in range(2 * len(CONFIGURATIONS) + 4):
                    self.act(replica)
                    for request in [each for each in self.in_flight if not each.answered]:
                        self.deliver(request)
            for client in self.clients:
                self.inform(client, self.random.choice(list(CONFIGURATIONS)))
            self.advance(self.random.choice([0.25, 1.75]) * timedelta(minutes=1))
            missing = self.healed()
            if not missing:
                self.lenient = False
                for replica in self.replicas:
                    replica.excused = False
                self.check()
                self._trim()
                return self.writes - before
        raise AssertionError("\n".join([*self.story, f"not healed after {rounds} rounds: {missing}"]))

    # how it works

    def _rotate(self, replica: Replica) -> Iterator[None]:
        stopwatch = Stopwatch()
        while True:
            configurations: dict[str, WebhookConfiguration | None] = {}
            secret = self.secret
            if self.secret_first:
                yield
            for name in CONFIGURATIONS:
                configurations[name] = self.history[name][-1].configuration
                yield
            if not self.secret_first:
                secret = self.secret
            api_server_time = self.clock(self.clients[0].max_clock_skew)
            yield
            own_time = self.clock(replica.max_clock_skew + replica.wrong_by)
            seen = Observed(own_time, api_server_time, self.elapsed, secret, configurations)
            step, stopwatch = self.machine(seen, stopwatch, self.settings)
            requests = self._requests(step, replica)
            self.in_flight += requests
            yield
            while not all(request.answered for request in requests):
                yield

    def _requests(self, step: CreateSecret | WriteSecret | ApplyBundles | Wait, by: Replica) -> list[Request]:
        if isinstance(step, CreateSecret):
            return [Request(self._create)]
        if isinstance(step, WriteSecret):
            return [Request(lambda: self._write(step, by))]
        if isinstance(step, ApplyBundles):
            return [
                Request(lambda t=target: self._apply(t.name, t.version, t.entries, step.bundle, by))  # type: ignore[misc]
                for target in step.targets
            ]
        return []

    def _create(self) -> None:
        if self.secret is None:
            self.secret = SecretSnapshot(self._next(), {})
            self.writes += 1

    def _write(self, step: WriteSecret, by: Replica) -> None:
        if self.secret is None or (self.swaps_secrets and self.secret.version != step.version):
            return
        self.secret = SecretSnapshot(
            self._next(), step.data, "" if step.clears_request else self.secret.requested_rotation
        )
        self.backups = [*self.backups[-9:], step.data]
        self.writes += 1
        self.rotations += "new leaf: signed by the new CA" in step.reason
        self.leaves.add(step.data.get("tls.crt", b""))
        self.story.append(f"{self._at()} {self._name(by)} wrote {self.secret.version}: {step.reason}")

    def _apply(self, name: str, version: str, entries: tuple[str, ...], bundle: bytes, by: Replica) -> None:
        now = self.history[name][-1].configuration
        if now is None or (self.swaps_configurations and now.version != version):
            return
        bundles = {**now.bundles, **{entry: bundle for entry in entries if entry in now.bundles}}
        if bundles != now.bundles:  # an API server does not write what is there already
            self.writes += 1
            self._publish(name, WebhookConfiguration(self._next(), bundles))
            self.story.append(f"{self._at()} {self._name(by)} applied to {name}: {_shorts(bundle)}")

    def _publish(self, name: str, configuration: WebhookConfiguration | None, *, faulty: bool = False) -> None:
        self.history[name].append(Version(self.elapsed, configuration, faulty))
        if faulty:
            bundles = {} if configuration is None else configuration.bundles
            what = {entry: _shorts(bundle) for entry, bundle in bundles.items()}
            self.story.append(f"{self._at()} {name} is now {what or 'not there'}")

    def _bare(self, name: str) -> WebhookConfiguration:
        return WebhookConfiguration(self._next(), dict.fromkeys(CONFIGURATIONS[name], b""))

    def _fault(self, what: str, data: Mapping[str, bytes] | None) -> None:
        requested_rotation = self.secret.requested_rotation if self.secret is not None else ""
        self.secret = SecretSnapshot(self._next(), data, requested_rotation) if data is not None else None
        self.story.append(f"{self._at()} {what}")
        self._excuse()

    def _excuse(self) -> None:
        """Excuse servers whose CA neither the Secret nor a configuration knows any more: nobody can."""
        data = self.secret.data if self.secret is not None else {}
        known = [data.get(f"{name}.crt", b"") for name in ("ca", "next-ca", "retired-ca")]
        latest = [versions[-1].configuration for versions in self.history.values()]
        known += [bundle for each in latest if each is not None for bundle in each.bundles.values()]
        for replica in self.replicas:
            if replica.pair is not None and not any(accepted_ever(replica.pair[0], pem) for pem in known):
                replica.excused = True
        chain = data.get("tls.crt", b"")
        if not any(accepted_ever(chain, pem) for pem in known):
            self.orphans.add(chain)

    def _fresh(self, replica: Replica) -> bool:
        return self.elapsed - replica.confirmed <= GRACE

    def _any_skew(self) -> timedelta:
        return self.random.choice([-1, -0.5, 0, 0.5, 1]) * SKEW

    def _next(self) -> str:
        self.counter += 1
        return str(self.counter)

    def _trim(self) -> None:
        """Forget versions that everybody is past."""
        for name, versions in self.history.items():
            del versions[:-1]
            for client in self.clients:
                client.known[name] = 0

    def _name(self, replica: Replica) -> str:
        return f"replica {self.replicas.index(replica)}"

    def _at(self) -> str:
        return f"{self.elapsed}"


def accepted(chain: bytes, bundle: bytes, now: datetime) -> bool:
    """Return whether a client that trusts the bundle accepts the chain at a time."""
    window = _window(chain, bundle)
    return window is not None and window[0] <= now <= window[1]


def accepted_ever(chain: bytes, bundle: bytes) -> bool:
    """Return whether the bundle has the CA of the chain's leaf."""
    return _window(chain, bundle) is not None


@lru_cache(maxsize=4096)
def _window(chain: bytes, bundle: bytes) -> tuple[datetime, datetime] | None:
    """Return from when to when a client accepts the chain, None for never."""
    if not _all(chain):
        return None
    leaf = _certificate(chain)
    for root in _all(bundle):
        try:
            leaf.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return (
            max(leaf.not_valid_before_utc, root.not_valid_before_utc),
            min(leaf.not_valid_after_utc, root.not_valid_after_utc),
        )
    return None


def _faults(chain: bytes, key: bytes, now: datetime) -> set[FaultKind]:
    """Return what a server has against a pair."""
    try:
        start, end = _validity(chain, key)
    except UnusablePairError as error:
        return {fault.kind for fault in error.faults}
    return set() if start <= now <= end else {FaultKind.TIME}


@lru_cache(maxsize=4096)
def _validity(chain: bytes, key: bytes) -> tuple[datetime, datetime]:
    try:
        start = _certificate(chain).not_valid_before_utc
    except ValueError:
        start = START
    leaf = verify(chain, key, now=start, names=(NAME,))
    return leaf.not_before, leaf.not_after


@lru_cache(maxsize=4096)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


@lru_cache(maxsize=4096)
def _all(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _short(pem: bytes) -> str:
    certificate = _certificate(pem)
    key_identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()[:6]
    issuer = certificate.issuer.rfc4514_string()[-6:]
    return f"{key_identifier} of {issuer} until {certificate.not_valid_after_utc:%dT%H:%M}"


def _shorts(bundle: bytes) -> str:
    return ", ".join(
        f"{root.subject.rfc4514_string()[-6:]} until {root.not_valid_after_utc:%dT%H:%M}" for root in _all(bundle)
    )


KEYS = ("ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "retired-ca.crt", "distrusted-ca.crt", "tls.crt", "tls.key")
BREAKAGES = ("gone", "empty", "junk", "torn", "another's")
#: What happens in a walk, and how often.
WEIGHTS = {
    "act": 600,
    "deliver": 150,
    "poll": 40,
    "inform": 60,
    "advance": 120,
    "lose": 5,
    "give_up": 20,
    "crash": 6,
    "forget": 4,
    "ask": 10,
    "delete_secret": 1,
    "empty_secret": 1,
    "garble_secret": 4,
    "recreate": 1,
    "delete_configuration": 1,
    "strip": 1,
    "cut": 10,
    "drift": 4,
    "break_clock": 3,
    "jump": 1,
}
DURATIONS = tuple(timedelta(seconds=each) for each in (1, 10, 30, 60, 120, 300, 900, 3600, 8 * 3600))
HOURS = (-100, -30, -5, 5, 30, 100)


def walk(world: World, steps: int, stretch: int = 300) -> int:
    """Let something happen many times, all faults stopping now and then; return the most writes that a healing took.

    Each stretch has habits of its own: with every fault at once the world never gets far.
    """
    chance = world.random
    most = world.heal()
    for _ in range(0, steps, stretch):
        weights = {what: weight * chance.choice([0.2, 1, 1, 4]) for what, weight in WEIGHTS.items()}
        for what in WEIGHTS:
            if weights[what] <= 10:
                weights[what] *= chance.choice([0, 0, 1, 3])
        durations = DURATIONS[: chance.randint(2, len(DURATIONS))]
        for what in chance.choices(list(weights), list(weights.values()), k=stretch):
            happen(world, what, durations)
        most = max(most, world.heal())
    return most


def happen(world: World, what: str, durations: Sequence[timedelta] = DURATIONS) -> None:
    """Let one thing happen, to whom chance has it."""
    choose = world.random.choice
    replica, name = choose(world.replicas), choose(list(CONFIGURATIONS))
    arguments: dict[str, Callable[[], tuple[Any, ...]]] = {
        "inform": lambda: (choose(world.clients), name),
        "advance": lambda: (choose(durations),),
        "ask": lambda: (choose(["leaf", "CA"]),),
        "delete_secret": lambda: (),
        "empty_secret": lambda: (),
        "restore": lambda: (),
        "garble_secret": lambda: (choose(KEYS), choose(BREAKAGES)),
        "recreate": lambda: (name,),
        "revert": lambda: (name,),
        "delete_configuration": lambda: (name,),
        "strip": lambda: (name, choose(CONFIGURATIONS[name])),
        "break_clock": lambda: (replica, timedelta(hours=0 if replica.wrong_by else choose(HOURS))),
        "jump": lambda: (timedelta(hours=choose(HOURS)),),
    }
    if what in {"deliver", "lose", "give_up"}:
        # what is late is mostly very late
        awaited = [request for request in world.in_flight if not request.answered]
        requests = awaited if world.random.random() < 0.95 else world.in_flight
        if requests:
            getattr(world, what)(choose(requests))
        return
    getattr(world, what)(*arguments.get(what, lambda: (replica,))())
