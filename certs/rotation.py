"""The rotation of the certificates in a shared Secret: computes the next single step from what is observed.

The Secret holds a CA with its key (``ca``), the leaf that servers present (``tls``), the CA that comes next
(``next-ca``), and certificates without keys: of retired CAs, whose leaves servers may still present (``retired-ca``),
and of distrusted CAs, whose leaves no server presents any more (``distrusted-ca``). The *trusted* CAs are ``ca``,
``next-ca`` and ``retired-ca``. The first rule that applies decides:

====================  =========================================================  =======================================
rule                  observed                                                   step
====================  =========================================================  =======================================
clock_skew            our clock and the API server's differ too much             wait: a valid leaf may seem expired
create_secret         there is no Secret                                         create an empty one
retire_unknown_cas    a bundle has a CA that is neither trusted nor distrusted   write: it is retired
sign_leaf             ``ca`` can sign; ``tls`` is invalid, due or requested      write: a new leaf, signed by ``ca``
create_next_ca        no valid ``next-ca``, and one of: ``ca`` can't sign or     write: a new ``next-ca``
                      is due; there is an invalid ``next-ca``; a new CA is
                      requested and none is retired
apply_bundles         a bundle differs from the trusted CAs                      apply the trusted CAs to all bundles
wait_for_propagation  ``next-ca`` is in all bundles, for less than the           wait: API servers learn of it
                      propagation delay; other CAs are trusted, too
promote_next_ca       ``next-ca`` is in all bundles, for longer or alone         write: it is ``ca`` and signs a leaf;
                                                                                 the former ``ca`` is retired
wait_for_overlap      ``retired-ca``; the Secret unchanged for less than the     wait: servers load the new leaf
                      CA overlap
distrust_retired_cas  ``retired-ca``; the Secret unchanged for longer            write: they are distrusted
delete_unreadable     a data key of the Secret can't be used                    write: it is deleted
wait_until_due        none of these                                              wait until a renewal is due
====================  =========================================================  =======================================

Every write names the version that it replaces: if two processes act at once, one gets a conflict and reconciles again.
A Lease makes that rare, but nothing here relies on it.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs import pem
from certs.ca import BACKDATING, CA, CA_LIFETIME, LEAF_LIFETIME, renewal_time
from certs.verify import SourceNames, UnusablePairError, verify

__all__ = [
    "RULES",
    "ApplyBundles",
    "BundleTarget",
    "CreateSecret",
    "Observed",
    "RotationSettings",
    "SecretSnapshot",
    "Step",
    "StepResult",
    "Stopwatch",
    "Wait",
    "WebhookConfiguration",
    "WriteSecret",
    "next_step",
]

#: After this time since a bundle was written, every API server's informer has it. A watch delivers within a second; a
#: broken one is noticed by its 30 s ping, and the objects are listed again. Ten times that.
CA_PROPAGATION_DELAY = timedelta(minutes=5)
#: After this time since a leaf was written, every ready server presents it. It takes seconds, but a server that can't
#: read the Secret stays ready for three quarters of this time (see ``certs.keeper``). A day, so that a network policy
#: that blocks them all at night can be repaired in the morning; one more CA in a bundle costs nothing.
CA_OVERLAP = timedelta(days=1)
#: At most this many CAs that only the bundles have are kept as retired; somebody's whole trust store does not fit into
#: a Secret.
MAX_RETIRED = 16


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """The operator's settings; ValueError if they can't be used."""

    #: The host names by which the API server calls the server.
    names: tuple[str, ...]
    ca_lifetime: timedelta = CA_LIFETIME
    leaf_lifetime: timedelta = LEAF_LIFETIME
    ca_propagation_delay: timedelta = CA_PROPAGATION_DELAY
    ca_overlap: timedelta = CA_OVERLAP
    #: How much our clock and the API server's may differ.
    max_clock_skew: timedelta = BACKDATING / 2

    def __post_init__(self) -> None:
        checks = (
            (all(self.names) and self.names, "--names has an empty name"),
            (
                min(self.ca_propagation_delay, self.ca_overlap) > timedelta(),
                "the CA propagation delay and the CA overlap must be positive",
            ),
            # a leaf that is due is renewed, and each renewal restarts the overlap
            (
                self.ca_propagation_delay + self.ca_overlap <= self.leaf_lifetime / 3,
                "the CA propagation delay and the CA overlap are more than a third of the leaf's lifetime",
            ),
            (self.leaf_lifetime <= self.ca_lifetime / 3, "the leaf's lifetime is more than a third of the CA's"),
            # the writer's clock may be ahead of the API server's, and a client's as far behind it
            (
                self.max_clock_skew <= BACKDATING / 2,
                f"the clock skew must be at most {BACKDATING / 2 // timedelta(minutes=1)} minutes",
            ),
        )
        problems = [problem for passed, problem in checks if not passed]
        if problems:
            raise ValueError("; ".join(problems))

    def clock_skew_error(self, now: datetime, api_server_time: datetime) -> str:
        """Return that our clock and the API server's differ too much; an empty string if they do not."""
        if abs(now - api_server_time) <= self.max_clock_skew:
            return ""
        return f"this clock says {now:%FT%TZ}, the API server's {api_server_time:%FT%TZ}"


@dataclass(frozen=True, slots=True)
class SecretSnapshot:
    """The Secret as it was read."""

    #: Its ``resourceVersion``.
    version: str
    data: Mapping[str, bytes] = field(repr=False)
    #: The value of the annotation that requests a rotation: ``leaf``, or anything else for a new CA and a leaf.
    requested_rotation: str = ""


@dataclass(frozen=True, slots=True)
class WebhookConfiguration:
    """A webhook configuration as it was read."""

    #: Its ``resourceVersion``.
    version: str
    #: Each webhook entry's ``caBundle``, by the entry's name; empty where it has none.
    bundles: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Observed:
    """The objects and clocks as they were read in one reconciliation, the webhook configurations before the Secret.

    Read after the Secret, they could be newer than it is: that would be safe, but cost a useless write.
    """

    time: datetime
    #: The API server's clock: the header ``Date`` of a response.
    api_server_time: datetime
    #: A monotonic clock, read after everything else: the time of a slow response must not count as waited.
    monotonic_now: timedelta
    secret: SecretSnapshot | None
    #: By ``RESOURCE/NAME``. None: there is none of this name, or its annotation ``pillion.dev/certificate`` names
    #: another Secret, so this keeper must not touch it.
    webhook_configurations: Mapping[str, WebhookConfiguration | None]


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Measures for how long a condition has held without a break, as one process has observed it.

    It is not kept in the Secret: other clocks may be wrong or jump, our own monotonic clock does neither. A restart
    costs time only.
    """

    condition: Hashable = None
    #: On the monotonic clock.
    started: timedelta = timedelta()

    def for_condition(self, condition: Hashable, monotonic_now: timedelta) -> Self:
        """Return this stopwatch if it measures the condition, otherwise one that starts now."""
        if self.condition == condition and self.started <= monotonic_now:
            return self
        return type(self)(condition, monotonic_now)


@dataclass(frozen=True, slots=True)
class CreateSecret:
    """Create an empty Secret; does nothing if it exists by then."""

    reason: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Replace the Secret's data if it still has the version."""

    data: Mapping[str, bytes] = field(repr=False)
    version: str
    #: Whether the same write deletes the annotation that requests a rotation.
    clears_request: bool
    reason: str


class BundleTarget(NamedTuple):
    """A webhook configuration whose bundles are to be written: its version, and its webhook entries' names."""

    name: str
    version: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyBundles:
    """Write the bundle to each webhook entry of the targets with this version; a failure does not stop the others."""

    bundle: bytes
    targets: tuple[BundleTarget, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing, and reconcile again after this delay at the latest: something may change before."""

    delay: timedelta
    reason: str


Step = CreateSecret | WriteSecret | ApplyBundles | Wait


class StepResult(NamedTuple):
    """A step, and the stopwatch for the next reconciliation."""

    step: Step
    stopwatch: Stopwatch = Stopwatch()


def next_step(observed: Observed, stopwatch: Stopwatch, settings: RotationSettings) -> StepResult:
    """Return the step of the first rule that applies; only the keys of new certificates are random."""
    reconciliation = _Reconciliation(observed, stopwatch, settings)
    for rule in RULES:
        result = rule(reconciliation)
        if result is not None:
            return result
    raise AssertionError("the last rule always applies")


@dataclass(frozen=True, slots=True)
class _SecretState:
    """The CAs in a Secret's data; a value that can't be read counts as absent."""

    ca: CA | None = None
    next_ca: CA | None = None
    retired: tuple[x509.Certificate, ...] = ()
    distrusted: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> Self:
        """Return the state in a Secret's data.

        A CA without a readable key can't sign, but its leaves may be in use: it counts as retired.
        """
        ca, next_ca = _load_ca(data, "ca"), _load_ca(data, "next-ca")
        without_key = [
            certificate
            for loaded, name in ((ca, "ca"), (next_ca, "next-ca"))
            if loaded is None
            for certificate in pem.readable_certificates(data.get(f"{name}.crt", b""))
        ]
        with_key = {loaded.certificate for loaded in (ca, next_ca) if loaded is not None}
        retired = [*pem.readable_certificates(data.get("retired-ca.crt", b"")), *without_key]
        return cls(
            ca,
            next_ca,
            tuple(certificate for certificate in dict.fromkeys(retired) if certificate not in with_key),
            pem.readable_certificates(data.get("distrusted-ca.crt", b"")),
        )

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        with_key = (self.ca, self.next_ca)
        return (*(ca.certificate for ca in with_key if ca is not None), *self.retired)

    def data(self) -> dict[str, bytes]:
        """Return the Secret's keys and values for this state, without empty ones."""
        data = {"retired-ca.crt": _pem(self.retired), "distrusted-ca.crt": _pem(self.distrusted)}
        for ca, name in ((self.ca, "ca"), (self.next_ca, "next-ca")):
            data[f"{name}.crt"] = ca.certificate_pem if ca is not None else b""
            data[f"{name}.key"] = ca.key_pem if ca is not None else b""
        return {key: value for key, value in data.items() if value}


#: The keys of the Secret's data that :class:`_SecretState` writes.
_CA_DATA_KEYS = frozenset({"ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "retired-ca.crt", "distrusted-ca.crt"})


class _Reconciliation:
    """What was observed, decoded: the argument of every rule."""

    def __init__(self, observed: Observed, stopwatch: Stopwatch, settings: RotationSettings) -> None:
        self.observed = observed
        self.now = observed.time
        self.stopwatch = stopwatch
        self.settings = settings
        self.secret = observed.secret or SecretSnapshot("", {})
        self.state = _SecretState.read(self.secret.data)
        self.webhook_configurations = {
            name: each for name, each in observed.webhook_configurations.items() if each is not None
        }

    @property
    def leaf_requested(self) -> bool:
        return self.secret.requested_rotation == "leaf"

    @property
    def ca_requested(self) -> bool:
        return bool(self.secret.requested_rotation) and not self.leaf_requested

    def write_step(
        self, state: _SecretState, reason: str, pair: tuple[bytes, bytes] | None = None, *, clears_request: bool = False
    ) -> StepResult:
        """Return the step that stores ``state`` and ``pair``, and keeps data keys that are not ours.

        Without ``pair`` it stores the present one if that is valid, otherwise none.
        """
        data = {key: value for key, value in self.secret.data.items() if key not in _CA_DATA_KEYS} | state.data()
        data["tls.crt"], data["tls.key"] = pair or self.valid_pair(state)
        return StepResult(WriteSecret(data, self.secret.version, clears_request, reason))

    def valid_pair(self, state: _SecretState) -> tuple[bytes, bytes]:
        """Return the Secret's leaf and its key, both empty if no trusted CA signed it or it is otherwise invalid."""
        pair = self.secret.data.get("tls.crt", b""), self.secret.data.get("tls.key", b"")
        try:
            verify(*pair, now=self.now, roots_pem=_pem(state.trusted))
        except UnusablePairError:
            return b"", b""
        return pair

    def issue_pair(self, ca: CA) -> tuple[bytes, bytes]:
        pair = ca.issue(self.settings.names, self.now, lifetime=self.settings.leaf_lifetime)
        return pair.certificate_pem, pair.key_pem

    def ca_renewal_reason(self, ca: CA | None) -> str:
        """Return why a CA must be replaced by another one; an empty string if it need not."""
        if ca is None:
            return "the Secret holds no CA that can sign"
        certificate = ca.certificate
        if not self.can_sign(ca):
            return f"the CA is valid from {certificate.not_valid_before_utc:%FT%TZ} to {_not_after(certificate)} only"
        if self.now >= renewal_time(certificate, self.settings.ca_lifetime):
            return f"two thirds of the CA's lifetime are over; it expires at {_not_after(certificate)}"
        return ""

    def can_sign(self, ca: CA) -> bool:
        certificate = ca.certificate
        return certificate.not_valid_before_utc <= self.now < certificate.not_valid_after_utc

    def leaf_renewal_reason(self, ca: CA) -> str:
        """Return why a new leaf must be signed; an empty string if the Secret's need not be replaced."""
        data, settings = self.secret.data, self.settings
        try:
            leaf = verify(
                data.get("tls.crt", b""),
                data.get("tls.key", b""),
                now=self.now,
                names=settings.names,
                roots_pem=ca.certificate_pem,
                sources=SourceNames("tls.crt", "tls.key", "ca.crt"),
            )
        except UnusablePairError as error:
            return str(error)
        # A leaf that already expires with its CA can't be extended: a new one would only be due sooner.
        ends_with_ca = leaf.not_after >= ca.certificate.not_valid_after_utc
        if not ends_with_ca and self.now >= renewal_time(leaf.certificate, settings.leaf_lifetime):
            return f"two thirds of the leaf's lifetime are over; it expires at {_not_after(leaf.certificate)}"
        return ""


def _clock_skew(reconciliation: _Reconciliation) -> StepResult | None:
    """Wait. Applies only where the Lease can't be used: otherwise ``Keeper._claim_lease`` has compared the clocks."""
    settings = reconciliation.settings
    error = settings.clock_skew_error(reconciliation.now, reconciliation.observed.api_server_time)
    return StepResult(Wait(settings.ca_propagation_delay, error)) if error else None


def _create_secret(reconciliation: _Reconciliation) -> StepResult | None:
    return StepResult(CreateSecret("there is no Secret")) if reconciliation.observed.secret is None else None


def _retire_unknown_cas(reconciliation: _Reconciliation) -> StepResult | None:
    """Retire CAs that only the bundles have: if the Secret was lost or replaced, servers still present their leaves."""
    state = reconciliation.state
    bundles = [bundle for each in reconciliation.webhook_configurations.values() for bundle in each.bundles.values()]
    in_bundles = dict.fromkeys(certificate for bundle in bundles for certificate in pem.readable_certificates(bundle))
    known = {*state.trusted, *state.distrusted}
    unknown = [certificate for certificate in in_bundles if certificate not in known]
    unknown = unknown[: max(0, MAX_RETIRED - len(state.retired))]
    if not unknown:
        return None
    names = ", ".join(certificate.subject.rfc4514_string()[:80] for certificate in unknown)
    return reconciliation.write_step(
        replace(state, retired=(*state.retired, *unknown)),
        f"the bundles contain CAs that the Secret does not: {names}",
    )


def _sign_leaf(reconciliation: _Reconciliation) -> StepResult | None:
    """Renew the leaf. The bundles trust ``ca`` already, so a leaf that it signs can be presented at once."""
    ca = reconciliation.state.ca
    if ca is None or not reconciliation.can_sign(ca):
        return None
    reason = reconciliation.leaf_renewal_reason(ca)
    if not reason and reconciliation.leaf_requested:
        reason = "a new leaf was requested"
    if not reason:
        return None
    return reconciliation.write_step(
        reconciliation.state,
        f"new leaf: {reason}",
        reconciliation.issue_pair(ca),
        clears_request=reconciliation.leaf_requested,
    )


def _create_next_ca(reconciliation: _Reconciliation) -> StepResult | None:
    state = reconciliation.state
    next_reason = ""
    if state.next_ca is not None:
        next_reason = reconciliation.ca_renewal_reason(state.next_ca)
    elif {"next-ca.crt", "next-ca.key"} & reconciliation.secret.data.keys():
        # it is replaced, so that a rotation that was requested and has begun is not lost
        next_reason = "the next CA in the Secret can't be read"
    if state.next_ca is not None and not next_reason:
        return None
    reason = reconciliation.ca_renewal_reason(state.ca) or next_reason
    # A requested rotation waits until the last one has ended, so that bundles stay short. A CA that is due does not
    # wait: each restart of a keeper begins the overlap anew, so the last rotation might never end.
    if not reason and reconciliation.ca_requested and not state.retired:
        reason = "a new CA was requested"
    if not reason:
        return None
    next_ca = CA.create(reconciliation.now, lifetime=reconciliation.settings.ca_lifetime)
    return reconciliation.write_step(
        replace(state, next_ca=next_ca), f"new CA: {reason}", clears_request=reconciliation.ca_requested
    )


def _apply_bundles(reconciliation: _Reconciliation) -> StepResult | None:
    trusted = _pem(reconciliation.state.trusted)
    targets = tuple(
        BundleTarget(name, each.version, tuple(each.bundles))
        for name, each in reconciliation.webhook_configurations.items()
        if any(bundle != trusted for bundle in each.bundles.values())
    )
    if not targets:
        return None
    names = ", ".join(target.name for target in targets)
    return StepResult(ApplyBundles(trusted, targets, f"some caBundles of {names} are out of date"))


def _wait_for_propagation(reconciliation: _Reconciliation) -> StepResult | None:
    """Wait until API servers trust ``next-ca``; ``apply_bundles`` came before, so all bundles have it."""
    state, monotonic_now = reconciliation.state, reconciliation.observed.monotonic_now
    # if it is the only trusted CA, clients accept no leaf yet: to wait would only prolong that
    if state.next_ca is None or state.trusted == (state.next_ca.certificate,):
        return None
    stopwatch = reconciliation.stopwatch.for_condition(("propagation", state.next_ca.certificate), monotonic_now)
    remaining = stopwatch.started + reconciliation.settings.ca_propagation_delay - monotonic_now
    if remaining <= timedelta():
        return None
    return StepResult(Wait(remaining, "API servers may not know the new CA yet"), stopwatch)


def _promote_next_ca(reconciliation: _Reconciliation) -> StepResult | None:
    state = reconciliation.state
    if state.next_ca is None:
        return None
    retired = (*state.retired, *((state.ca.certificate,) if state.ca is not None else ()))
    return reconciliation.write_step(
        _SecretState(state.next_ca, None, retired, state.distrusted),
        "new leaf: signed by the new CA, which is in all bundles",
        reconciliation.issue_pair(state.next_ca),
        clears_request=reconciliation.leaf_requested,
    )


def _wait_for_overlap(reconciliation: _Reconciliation) -> StepResult | None:
    """Wait until all servers have loaded the leaf; ``sign_leaf`` came before, so ``ca`` signed it."""
    monotonic_now = reconciliation.observed.monotonic_now
    if not reconciliation.state.retired:
        return None
    # measured by version: if the leaf was lost and written again meanwhile, servers loaded it later
    stopwatch = reconciliation.stopwatch.for_condition(("overlap", reconciliation.secret.version), monotonic_now)
    remaining = stopwatch.started + reconciliation.settings.ca_overlap - monotonic_now
    if remaining <= timedelta():
        return None
    return StepResult(Wait(remaining, "servers may still present a leaf of the former CA"), stopwatch)


def _distrust_retired_cas(reconciliation: _Reconciliation) -> StepResult | None:
    """Distrust the retired CAs; ``apply_bundles`` then takes them out of the bundles."""
    state = reconciliation.state
    if not state.retired:
        return None
    return reconciliation.write_step(
        # CAs distrusted earlier are in no bundle any more
        _SecretState(state.ca, None, (), distrusted=state.retired),
        "no server presents a leaf of the former CA any more",
    )


def _delete_unreadable(reconciliation: _Reconciliation) -> StepResult | None:
    """Delete data keys that the other rules ignore, so that the Secret shows only what is in use."""
    present = {key: value for key, value in reconciliation.secret.data.items() if key in _CA_DATA_KEYS and value}
    if present == reconciliation.state.data():
        return None
    return reconciliation.write_step(reconciliation.state, "a data key of the Secret can't be used")


def _wait_until_due(reconciliation: _Reconciliation) -> StepResult | None:
    """Wait until the first renewal is due; ``sign_leaf`` has verified the leaf."""
    ca, settings = reconciliation.state.ca, reconciliation.settings
    if ca is None:
        raise AssertionError("create_next_ca or promote_next_ca applies where there is no CA")
    leaf = x509.load_pem_x509_certificate(reconciliation.secret.data["tls.crt"])
    due = min(
        renewal_time(ca.certificate, settings.ca_lifetime),
        # a leaf that expires with its CA is not renewed although it is due
        max(renewal_time(leaf, settings.leaf_lifetime), reconciliation.now + settings.ca_propagation_delay),
    )
    return StepResult(Wait(due - reconciliation.now, f"nothing is due before {due:%FT%TZ}"))


#: Every rule of the table, in its order.
RULES: tuple[Callable[[_Reconciliation], StepResult | None], ...] = (
    _clock_skew,
    _create_secret,
    _retire_unknown_cas,
    _sign_leaf,
    _create_next_ca,
    _apply_bundles,
    _wait_for_propagation,
    _promote_next_ca,
    _wait_for_overlap,
    _distrust_retired_cas,
    _delete_unreadable,
    _wait_until_due,
)


def _load_ca(data: Mapping[str, bytes], name: str) -> CA | None:
    try:
        return CA.load(data.get(f"{name}.crt", b""), data.get(f"{name}.key", b""))
    except ValueError:
        return None


def _pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _not_after(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%FT%TZ}"
