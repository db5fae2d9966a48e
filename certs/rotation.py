"""The rotation of a shared Secret's certificates: from what is observed, the next single step.

The Secret holds a CA with its key (``ca``), the leaf that servers show (``tls``), a CA that is about
to follow (``next-ca``), and certificates without keys: of CAs whose leaves may still be shown
(``retired-ca``), and of those whose leaves no longer are (``distrusted-ca``). *Trusted* are ``ca``, ``next-ca`` and
``retired-ca``. The first rule that applies decides:

=======  ==================================================================  ==========================================
rule     observed                                                            step
=======  ==================================================================  ==========================================
clocks   our clock and the API server's disagree                             wait: a certificate may seem expired
missing  no Secret                                                           create an empty one
adopt    a bundle has a CA that is neither trusted nor removed               write: it is retired
sign     ``ca`` can sign; ``tls`` is bad, due, or a new one is requested     write: a leaf signed by ``ca``
begin    ``ca`` can't sign, is due, or another is requested; no good         write: a ``next-ca``
         ``next-ca``
apply    a bundle is not exactly what is trusted                             apply what is trusted
spread   ``next-ca``, in all bundles for less than the propagation delay     wait: API servers learn of it
promote  ``next-ca``, in all bundles for that long, or nothing else is       write: it is ``ca`` and signs; what was
         trusted                                                             ``ca`` is retired
overlap  ``retired-ca``, the Secret unchanged for less than the CA overlap   wait: servers take the leaf over
retire   ``retired-ca``, the Secret unchanged for that long                  write: it is removed; ``apply`` follows
tidy     a part of the Secret that can't be read                             write: it is deleted
rest     none of these                                                       wait until something is due
=======  ==================================================================  ==========================================

Every write names the version that it replaces, so of two who act at once one gets a conflict and reconciles again. A
Lease makes that rare; nothing here relies on it.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs import pem
from certs.ca import BACKDATING, CA, CA_LIFETIME, LEAF_LIFETIME, RENEWAL_AT
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

#: From an API server's write to the last API server's informer: a watch delivers within a second, and one that broke
#: without a sign is noticed after its 30 s ping and listed again; times ten.
CA_PROPAGATION_DELAY = timedelta(minutes=5)
#: From a leaf's write to the last server that shows it: seconds; the rest is for a server that can't read the Secret
#: for a while, as it must not be ready longer. A day, so that nobody is woken at night by a network policy that keeps
#: all of them from reading. A CA too many in a bundle costs nothing.
CA_OVERLAP = timedelta(days=1)
#: More than these are not taken over from a bundle: somebody's whole trust store does not fit into a Secret.
MAX_RETIRED = 16

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """What the operator chooses; ValueError where a rotation could not end before the next one begins."""

    names: tuple[str, ...]
    """What the API server calls the server."""
    ca_lifetime: timedelta = CA_LIFETIME
    leaf_lifetime: timedelta = LEAF_LIFETIME
    ca_propagation_delay: timedelta = CA_PROPAGATION_DELAY
    ca_overlap: timedelta = CA_OVERLAP
    max_clock_skew: timedelta = BACKDATING / 2
    """How far our clock and the API server's may lie apart."""

    def __post_init__(self) -> None:
        problems = [
            text
            for good, text in (
                (self.names, "there must be a name"),
                (
                    min(self.ca_propagation_delay, self.ca_overlap) > timedelta(),
                    "the CA propagation delay and the CA overlap must be positive",
                ),
                # a leaf that is due is renewed, and that begins the overlap again
                (
                    self.ca_propagation_delay + self.ca_overlap <= self.leaf_lifetime / 3,
                    "the CA propagation delay and the CA overlap are more than a third of the leaf's lifetime",
                ),
                (self.leaf_lifetime <= self.ca_lifetime / 3, "the leaf's lifetime is more than a third of the CA's"),
                # the writer's clock may be ahead of one party's and behind another's
                (
                    self.max_clock_skew <= BACKDATING / 2,
                    f"the clock skew is at most half of what is backdated, {BACKDATING}",
                ),
            )
            if not good
        ]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class SecretSnapshot:
    """The Secret as it was read."""

    version: str
    """Its ``resourceVersion``."""
    content: Mapping[str, bytes] = field(repr=False)
    rotation_requested: str = ""
    """The value of the annotation that requests a rotation: ``leaf``, or anything else for the CA too."""


@dataclass(frozen=True, slots=True)
class WebhookConfiguration:
    """A webhook configuration as it was read."""

    version: str
    """Its ``resourceVersion``."""
    bundles: Mapping[str, bytes]
    """Each entry's ``caBundle``, by the entry's name; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read at one time, the configurations before the Secret.

    The other way round they may show a later state than the Secret does. That is safe, and costs a write in vain.
    """

    time: datetime
    server_time: datetime
    """The API server's clock: an answer's ``Date``."""
    monotonic_now: timedelta
    """A monotonic clock, read after everything else: a slow answer must not count as time that passed."""
    secret: SecretSnapshot | None
    configurations: Mapping[str, WebhookConfiguration | None]
    """By name; None only where the API server says that there is no such one."""


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """What one process has seen without a break, and since when.

    Not in the Secret: other clocks may be wrong or jump, our own monotonic one does not. A crash costs time only.
    """

    condition: Hashable = None
    started: timedelta = timedelta()

    def for_condition(self, condition: Hashable, monotonic_now: timedelta) -> Self:
        """Return this stopwatch if it is of the subject, otherwise one that begins now."""
        if self.condition == condition and self.started <= monotonic_now:
            return self
        return type(self)(condition, monotonic_now)


@dataclass(frozen=True, slots=True)
class CreateSecret:
    """Make an empty Secret; not an error where there is one by then, and that one stays as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Replace the Secret's content, if it still has the version."""

    content: Mapping[str, bytes] = field(repr=False)
    version: str
    clears_request: bool
    """Whether the annotation that asks is to be taken away with the same write."""
    reason: str


class BundleTarget(NamedTuple):
    """A configuration, its version, and the names of all its entries."""

    name: str
    version: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyBundles:
    """Give each entry of these configurations the bundle, if they still have the version; one's failure stops none."""

    bundle: bytes
    targets: tuple[BundleTarget, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Reconcile again after this long at the latest; something may change before."""

    delay: timedelta
    reason: str


Step = CreateSecret | WriteSecret | ApplyBundles | Wait


class StepResult(NamedTuple):
    """A step, and the memory for the next reconciliation."""

    step: Step
    stopwatch: Stopwatch = Stopwatch()


def next_step(observed: Observed, stopwatch: Stopwatch, settings: RotationSettings) -> StepResult:
    """Return the step of the first rule that applies. Nothing is random but the keys of new certificates."""
    context = _Reconciliation(observed, stopwatch, settings)
    for rule in RULES:
        result = rule(context)
        if result is not None:
            return result
    raise AssertionError("the last rule always applies")


@dataclass(frozen=True, slots=True)
class _SecretState:
    """The certificates in a Secret; what can't be read is as good as absent."""

    current: CA | None = None
    following: CA | None = None
    retired: tuple[x509.Certificate, ...] = ()
    removed: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, bytes]) -> Self:
        """Return what the content holds. A CA whose key is lost signs no more, but its leaves are about."""
        current = _load_ca(content, "ca")
        following = _load_ca(content, "next-ca")
        orphans = [
            certificate
            for ca, name in ((current, "ca"), (following, "next-ca"))
            if ca is None
            for certificate in _certificates(content.get(f"{name}.crt", b""))
        ]
        kept = {ca.certificate for ca in (current, following) if ca is not None}
        retired = [*_certificates(content.get("retired-ca.crt", b"")), *orphans]
        return cls(
            current,
            following,
            tuple(certificate for certificate in dict.fromkeys(retired) if certificate not in kept),
            _certificates(content.get("distrusted-ca.crt", b"")),
        )

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        cas = (self.current, self.following)
        return (*(ca.certificate for ca in cas if ca is not None), *self.retired)

    def content(self) -> dict[str, bytes]:
        """Return the keys of the Secret that are not empty."""
        content = {"retired-ca.crt": _pem(self.retired), "distrusted-ca.crt": _pem(self.removed)}
        for ca, name in ((self.current, "ca"), (self.following, "next-ca")):
            content[f"{name}.crt"] = ca.certificate_pem if ca is not None else b""
            content[f"{name}.key"] = ca.key_pem if ca is not None else b""
        return {key: value for key, value in content.items() if value}


#: The keys that :class:`_SecretState` writes.
_KEYS = frozenset({"ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "retired-ca.crt", "distrusted-ca.crt"})


class _Reconciliation:
    """What was observed, decoded; the argument of every rule."""

    def __init__(self, observed: Observed, stopwatch: Stopwatch, settings: RotationSettings) -> None:
        self.observed = observed
        self.now = observed.time
        self.stopwatch = stopwatch
        self.settings = settings
        self.secret = observed.secret or SecretSnapshot("", {})
        self.state = _SecretState.read(self.secret.content)
        self.configurations = {name: each for name, each in observed.configurations.items() if each is not None}

    @property
    def leaf_requested(self) -> bool:
        return self.secret.rotation_requested == "leaf"

    @property
    def ca_requested(self) -> bool:
        return bool(self.secret.rotation_requested) and not self.leaf_requested

    def write(
        self, state: _SecretState, reason: str, leaf: tuple[bytes, bytes] | None = None, *, clears_request: bool = False
    ) -> StepResult:
        """Return the write of what shall be held; a leaf that is good, and what is not ours, stay."""
        content = {key: value for key, value in self.secret.content.items() if key not in _KEYS} | state.content()
        content["tls.crt"], content["tls.key"] = leaf or self.leaf(state)
        return StepResult(WriteSecret(content, self.secret.version, clears_request, reason))

    def leaf(self, state: _SecretState) -> tuple[bytes, bytes]:
        """Return the leaf, or nothing where no server should take it: nobody knows who signed it, say."""
        pair = self.secret.content.get("tls.crt", b""), self.secret.content.get("tls.key", b"")
        try:
            verify(*pair, now=self.now, roots_pem=_pem(state.trusted))
        except UnusablePairError:
            return b"", b""
        return pair

    def issue(self, ca: CA) -> tuple[bytes, bytes]:
        leaf = ca.issue(self.settings.names, self.now, lifetime=self.settings.leaf_lifetime)
        return leaf.certificate_pem, leaf.key_pem

    def ca_fault(self, ca: CA | None) -> str:
        """Return why a CA must be followed by another one, or nothing."""
        if ca is None:
            return "the Secret holds no CA that can sign"
        certificate = ca.certificate
        if not self.can_sign(ca):
            return f"the CA is good from {certificate.not_valid_before_utc:%FT%TZ} to {_end(certificate)} only"
        if self.now >= _renewal(certificate, self.settings.ca_lifetime):
            return f"two thirds of the CA's lifetime are over, it ends {_end(certificate)}"
        return ""

    def can_sign(self, ca: CA) -> bool:
        certificate = ca.certificate
        return certificate.not_valid_before_utc <= self.now < certificate.not_valid_after_utc

    def leaf_fault(self, ca: CA) -> str:
        """Return why the leaf must be signed anew, or nothing."""
        content, settings = self.secret.content, self.settings
        try:
            pair = verify(
                content.get("tls.crt", b""),
                content.get("tls.key", b""),
                now=self.now,
                names=settings.names,
                roots_pem=ca.certificate_pem,
                sources=SourceNames("tls.crt", "tls.key", "ca.crt"),
            )
        except UnusablePairError as error:
            return str(error)
        # a new one could last no longer than a leaf that ends with its CA, and would be due sooner and sooner
        lasts = pair.not_after >= ca.certificate.not_valid_after_utc
        if not lasts and self.now >= _renewal(pair.leaf, settings.leaf_lifetime):
            return f"two thirds of the leaf's lifetime are over, it ends {_end(pair.leaf)}"
        return ""


def _clocks(context: _Reconciliation) -> StepResult | None:
    apart = abs(context.now - context.observed.server_time)
    if apart <= context.settings.max_clock_skew:
        return None
    return StepResult(
        Wait(
            context.settings.ca_propagation_delay,
            f"this clock says {context.now:%FT%TZ}, the API server's {context.observed.server_time:%FT%TZ}",
        )
    )


def _missing(context: _Reconciliation) -> StepResult | None:
    return StepResult(CreateSecret("there is no Secret")) if context.observed.secret is None else None


def _adopt(context: _Reconciliation) -> StepResult | None:
    """Keep what only the bundles know: after a loss, after another mode, servers still show its leaves."""
    state = context.state
    bundles = [bundle for each in context.configurations.values() for bundle in each.bundles.values()]
    found = dict.fromkeys(certificate for bundle in bundles for certificate in _certificates(bundle))
    known = {*state.trusted, *state.removed}
    strangers = [certificate for certificate in found if certificate not in known]
    adopted = strangers[: max(0, MAX_RETIRED - len(state.retired))]
    if not adopted:
        return None
    names = ", ".join(certificate.subject.rfc4514_string()[:80] for certificate in adopted)
    wanted = _SecretState(state.current, state.following, (*state.retired, *adopted), state.removed)
    return context.write(wanted, f"the bundles trust what the Secret does not know: {names}")


def _sign(context: _Reconciliation) -> StepResult | None:
    """Renew the leaf. What ``ca`` signs is trusted already, so this waits for nothing else."""
    current = context.state.current
    if current is None or not context.can_sign(current):
        return None
    fault = context.leaf_fault(current) or ("a new leaf was requested" if context.leaf_requested else "")
    if not fault:
        return None
    return context.write(
        context.state,
        f"new leaf: {fault}",
        context.issue(current),
        clears_request=context.leaf_requested,
    )


def _begin(context: _Reconciliation) -> StepResult | None:
    state = context.state
    following_fault = ""
    if state.following is not None:
        following_fault = context.ca_fault(state.following)
    elif {"next-ca.crt", "next-ca.key"} & context.secret.content.keys():
        # the rotation that it was for is not over, and whoever asked is not told that it was in vain
        following_fault = "the one that was to follow can't be read"
    if state.following is not None and not following_fault:
        return None
    fault = context.ca_fault(state.current) or following_fault
    # one rotation after the other keeps the bundles short; what is due does not wait, as a crash costs the stopwatch
    if not fault and context.ca_requested and not state.retired:
        fault = "a new CA was requested"
    if not fault:
        return None
    following = CA.create(context.now, lifetime=context.settings.ca_lifetime)
    wanted = _SecretState(state.current, following, state.retired, state.removed)
    return context.write(wanted, f"new CA: {fault}", clears_request=context.ca_requested)


def _apply(context: _Reconciliation) -> StepResult | None:
    bundle = _pem(context.state.trusted)
    targets = tuple(
        BundleTarget(name, each.version, tuple(each.bundles))
        for name, each in context.configurations.items()
        if any(has != bundle for has in each.bundles.values())
    )
    if not targets:
        return None
    names = ", ".join(target.name for target in targets)
    return StepResult(ApplyBundles(bundle, targets, f"not every entry of {names} trusts exactly what it must"))


def _promote(context: _Reconciliation) -> StepResult | None:
    """Rules ``spread`` and ``promote``; ``apply`` came before, so each bundle has what is trusted."""
    state, settings = context.state, context.settings
    following = state.following
    if following is None:
        return None
    stopwatch = context.stopwatch.for_condition(("spread", following.certificate), context.observed.monotonic_now)
    left = stopwatch.started + settings.ca_propagation_delay - context.observed.monotonic_now
    # where nothing else is trusted no leaf is good yet, and waiting would only make that last
    alone = state.trusted == (following.certificate,)
    if left > timedelta() and not alone:
        return StepResult(Wait(left, "API servers get to know the new CA"), stopwatch)
    retired = (*state.retired, *((state.current.certificate,) if state.current is not None else ()))
    wanted = _SecretState(following, None, retired, state.removed)
    reason = "new leaf: every API server trusts the new CA"
    return context.write(wanted, reason, context.issue(following), clears_request=context.leaf_requested)


def _retire(context: _Reconciliation) -> StepResult | None:
    """Rules ``overlap`` and ``retire``; ``sign`` came before, so the leaf is of ``ca``."""
    state, settings = context.state, context.settings
    if not state.retired:
        return None
    # of this version: a leaf that was lost and written again in between reached servers later
    stopwatch = context.stopwatch.for_condition(("overlap", context.secret.version), context.observed.monotonic_now)
    left = stopwatch.started + settings.ca_overlap - context.observed.monotonic_now
    if left > timedelta():
        return StepResult(Wait(left, "servers may still show a leaf of the former CA"), stopwatch)
    return context.write(
        _SecretState(state.current, None, (), removed=state.retired),
        "no server shows a leaf of the former CA any more",
    )


def _tidy(context: _Reconciliation) -> StepResult | None:
    """Take out what everything else passes over, so that whoever looks at the Secret sees what is in use."""
    has = {key: value for key, value in context.secret.content.items() if key in _KEYS and value}
    return (
        context.write(context.state, "a part of the Secret can't be read") if has != context.state.content() else None
    )


def _rest(context: _Reconciliation) -> StepResult | None:
    """Return the wait for what is due first; row ``sign`` has verified the leaf."""
    current, settings = context.state.current, context.settings
    if current is None:
        raise AssertionError("rule begin or rule promote applies where there is no CA")
    leaf = x509.load_pem_x509_certificate(context.secret.content["tls.crt"])
    due = min(
        _renewal(current.certificate, settings.ca_lifetime),
        # a leaf that ends with its CA is past its time, and stays
        max(_renewal(leaf, settings.leaf_lifetime), context.now + settings.ca_propagation_delay),
    )
    return StepResult(Wait(due - context.now, f"nothing is due before {due:%FT%TZ}"))


#: The table, in order.
RULES: tuple[Callable[[_Reconciliation], StepResult | None], ...] = (
    _clocks,
    _missing,
    _adopt,
    _sign,
    _begin,
    _apply,
    _promote,
    _retire,
    _tidy,
    _rest,
)


def _renewal(certificate: x509.Certificate, lifetime: timedelta) -> datetime:
    """Return when two thirds are over, of its lifetime or of a shorter one that the operator has chosen since.

    Counted without what it was backdated: with lifetimes of seconds that would be nearly all of it.
    """
    issued = certificate.not_valid_before_utc + BACKDATING
    return issued + min(certificate.not_valid_after_utc - issued, lifetime) * RENEWAL_AT


def _load_ca(content: Mapping[str, bytes], name: str) -> CA | None:
    try:
        return CA.load(content.get(f"{name}.crt", b""), content.get(f"{name}.key", b""))
    except ValueError:
        return None


def _certificates(bundle: bytes) -> tuple[x509.Certificate, ...]:
    """Return every certificate that can be read, once; one that can't hides no other."""
    found: dict[x509.Certificate, None] = {}
    for block in _PEM.findall(bundle):
        try:
            found[pem.certificates(block, "")[0]] = None
        except pem.UnreadableError:
            continue
    return tuple(found)


def _pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _end(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%FT%TZ}"
