"""The rotation of a shared Secret's certificates: from what is seen, the next single step.

The Secret holds an authority with its key (``ca``), the leaf that servers show (``tls``), an authority that is about
to follow (``next-ca``), and certificates without keys: of authorities whose leaves may still be shown
(``retired-ca``), and of those whose leaves no longer are (``removed-ca``). *Trusted* are ``ca``, ``next-ca`` and
``retired-ca``. The first row that applies decides:

=======  =================================================================  ==========================================
row      seen                                                               done
=======  =================================================================  ==========================================
clocks   our clock and the API server's disagree                            wait: a certificate may seem ended
missing  no Secret                                                          make an empty one
adopt    a bundle has an authority that is neither trusted nor removed      write: it is retired
sign     ``ca`` can sign; ``tls`` is bad, due, or a new one is asked for    write: a leaf signed by ``ca``
begin    ``ca`` can't sign, is due, or another is asked for; no good        write: a ``next-ca``
         ``next-ca``
apply    a bundle is not exactly what is trusted                            apply what is trusted
spread   ``next-ca``, in all bundles for less than ``settling``             wait: API servers learn of it
promote  ``next-ca``, in all bundles for ``settling`` or nothing else is    write: it is ``ca`` and signs; what was
         trusted                                                            ``ca`` is retired
overlap  ``retired-ca``, the Secret unchanged for less than ``overlap``     wait: servers take the leaf over
retire   ``retired-ca``, the Secret unchanged for ``overlap``               write: it is removed; ``apply`` follows
tidy     a part of the Secret that can't be read                            write: it is taken out
rest     nothing of this                                                    wait until something is due
=======  =================================================================  ==========================================

Every write names the version that it replaces, so of two who act at once one is refused and looks again. A Lease makes
that rare; nothing here relies on it.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs import pem
from certs.authority import AUTHORITY_LIFETIME, CLOCK_SKEW, LEAF_LIFETIME, RENEWAL_AT, Authority
from certs.verify import Sources, UnusablePairError, verify

__all__ = [
    "ROWS",
    "ApplyBundles",
    "Configuration",
    "CreateSecret",
    "Memory",
    "Secret",
    "Seen",
    "Settings",
    "Step",
    "Target",
    "Turn",
    "Wait",
    "WriteSecret",
    "next_step",
]

#: From an API server's write to the last API server's informer: a watch delivers within a second, and one that broke
#: without a sign is noticed after its 30 s ping and listed again; times ten.
SETTLING = timedelta(minutes=5)
#: From a leaf's write to the last server that shows it: seconds; the rest is for a server that can't read the Secret
#: for a while, as it must not be ready longer. A day, so that nobody is woken at night by a network policy that keeps
#: all of them from reading. An authority too many in a bundle costs nothing.
OVERLAP = timedelta(days=1)
#: More than these are not taken over from a bundle: somebody's whole trust store does not fit into a Secret.
MOST_RETIRED = 16

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chooses; ValueError where a rotation could not end before the next one begins."""

    names: tuple[str, ...]
    """What the API server calls the server."""
    authority_lifetime: timedelta = AUTHORITY_LIFETIME
    leaf_lifetime: timedelta = LEAF_LIFETIME
    settling: timedelta = SETTLING
    overlap: timedelta = OVERLAP
    skew: timedelta = CLOCK_SKEW / 2
    """How far our clock and the API server's may lie apart."""

    def __post_init__(self) -> None:
        problems = [
            text
            for good, text in (
                (self.names, "there must be a name"),
                (min(self.settling, self.overlap) > timedelta(), "settling and overlap must be positive"),
                # a leaf that is due is renewed, and that begins the overlap again
                (self.settling + self.overlap <= self.leaf_lifetime / 3, "settling and overlap need a third of a leaf"),
                (self.leaf_lifetime <= self.authority_lifetime / 3, "a leaf lives at most a third of an authority"),
                # the writer's clock may be ahead of one party's and behind another's
                (self.skew <= CLOCK_SKEW / 2, f"skew is at most half of what is backdated, {CLOCK_SKEW}"),
            )
            if not good
        ]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Secret:
    """The Secret as it was read."""

    version: str
    """Its ``resourceVersion``."""
    content: Mapping[str, bytes] = field(repr=False)
    asked: str = ""
    """The value of the annotation that asks for a rotation: ``leaf``, or anything else for the authority too."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A webhook configuration as it was read."""

    version: str
    """Its ``resourceVersion``."""
    bundles: Mapping[str, bytes]
    """Each entry's ``caBundle``, by the entry's name; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look, of which nothing is older than the look; the configurations are best read before the Secret.

    The other way round they may show a later state than the Secret does. That is safe, and costs a write in vain.
    """

    time: datetime
    server_time: datetime
    """The API server's clock: an answer's ``Date``."""
    instant: timedelta
    """A monotonic clock, read after everything else: a slow answer must not count as time that passed."""
    secret: Secret | None
    configurations: Mapping[str, Configuration | None]
    """By name; None only where the API server says that there is no such one."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one process has seen without a break, and since when.

    Not in the Secret: other clocks may be wrong or jump, our own monotonic one does not. A crash costs time only.
    """

    subject: Hashable = None
    since: timedelta = timedelta()

    def of(self, subject: Hashable, instant: timedelta) -> Self:
        """Return this memory if it is of the subject, otherwise one that begins now."""
        if self.subject == subject and self.since <= instant:
            return self
        return type(self)(subject, instant)


@dataclass(frozen=True, slots=True)
class CreateSecret:
    """Make an empty Secret; not an error where there is one by then, and that one stays as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Replace the Secret's content, if it still has the version."""

    content: Mapping[str, bytes] = field(repr=False)
    version: str
    answers: bool
    """Whether the annotation that asks is to be taken away with the same write."""
    reason: str


class Target(NamedTuple):
    """A configuration, its version, and the names of all its entries."""

    name: str
    version: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyBundles:
    """Give each entry of these configurations the bundle, if they still have the version; one's failure stops none."""

    bundle: bytes
    targets: tuple[Target, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after this long at the latest; something may change before."""

    delay: timedelta
    reason: str


Step = CreateSecret | WriteSecret | ApplyBundles | Wait


class Turn(NamedTuple):
    """A step, and the memory for the next look."""

    step: Step
    memory: Memory = Memory()


def next_step(seen: Seen, memory: Memory, settings: Settings) -> Turn:
    """Return the step of the first row that applies. Nothing is random but the keys of new certificates."""
    look = _Look(seen, memory, settings)
    for row in ROWS:
        turn = row(look)
        if turn is not None:
            return turn
    raise AssertionError("the last row always applies")


@dataclass(frozen=True, slots=True)
class _Held:
    """The certificates in a Secret; what can't be read is as good as absent."""

    current: Authority | None = None
    following: Authority | None = None
    retired: tuple[x509.Certificate, ...] = ()
    removed: tuple[x509.Certificate, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, bytes]) -> Self:
        """Return what the content holds. An authority whose key is lost signs no more, but its leaves are about."""
        current = _authority(content, "ca")
        following = _authority(content, "next-ca")
        orphans = [
            certificate
            for authority, name in ((current, "ca"), (following, "next-ca"))
            if authority is None
            for certificate in _certificates(content.get(f"{name}.crt", b""))
        ]
        kept = {authority.certificate for authority in (current, following) if authority is not None}
        retired = [*_certificates(content.get("retired-ca.crt", b"")), *orphans]
        return cls(
            current,
            following,
            tuple(certificate for certificate in dict.fromkeys(retired) if certificate not in kept),
            _certificates(content.get("removed-ca.crt", b"")),
        )

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        authorities = (self.current, self.following)
        return (*(authority.certificate for authority in authorities if authority is not None), *self.retired)

    def content(self) -> dict[str, bytes]:
        """Return the keys of the Secret that are not empty."""
        content = {"retired-ca.crt": _pem(self.retired), "removed-ca.crt": _pem(self.removed)}
        for authority, name in ((self.current, "ca"), (self.following, "next-ca")):
            content[f"{name}.crt"] = authority.certificate_pem if authority is not None else b""
            content[f"{name}.key"] = authority.key_pem if authority is not None else b""
        return {key: value for key, value in content.items() if value}


#: The keys that :class:`_Held` writes.
_KEYS = frozenset({"ca.crt", "ca.key", "next-ca.crt", "next-ca.key", "retired-ca.crt", "removed-ca.crt"})


class _Look:
    """What is seen, understood."""

    def __init__(self, seen: Seen, memory: Memory, settings: Settings) -> None:
        self.seen = seen
        self.now = seen.time
        self.memory = memory
        self.settings = settings
        self.secret = seen.secret or Secret("", {})
        self.held = _Held.read(self.secret.content)
        self.configurations = {name: each for name, each in seen.configurations.items() if each is not None}

    @property
    def asks_for_leaf(self) -> bool:
        return self.secret.asked == "leaf"

    @property
    def asks_for_authority(self) -> bool:
        return bool(self.secret.asked) and not self.asks_for_leaf

    def write(
        self, held: _Held, reason: str, leaf: tuple[bytes, bytes] | None = None, *, answers: bool = False
    ) -> Turn:
        """Return the write of what shall be held; a leaf that is good, and what is not ours, stay."""
        content = {key: value for key, value in self.secret.content.items() if key not in _KEYS} | held.content()
        content["tls.crt"], content["tls.key"] = leaf or self.leaf(held)
        return Turn(WriteSecret(content, self.secret.version, answers, reason))

    def leaf(self, held: _Held) -> tuple[bytes, bytes]:
        """Return the leaf, or nothing where no server should take it: nobody knows who signed it, say."""
        pair = self.secret.content.get("tls.crt", b""), self.secret.content.get("tls.key", b"")
        try:
            verify(*pair, now=self.now, roots_pem=_pem(held.trusted))
        except UnusablePairError:
            return b"", b""
        return pair

    def issue(self, authority: Authority) -> tuple[bytes, bytes]:
        leaf = authority.issue(self.settings.names, self.now, lifetime=self.settings.leaf_lifetime)
        return leaf.certificate_pem, leaf.key_pem

    def authority_fault(self, authority: Authority | None) -> str:
        """Return why an authority must be followed by another one, or nothing."""
        if authority is None:
            return "the Secret holds no authority that can sign"
        certificate = authority.certificate
        if not self.can_sign(authority):
            return f"the authority is good from {certificate.not_valid_before_utc:%FT%TZ} to {_end(certificate)} only"
        if self.now >= _renewal(certificate, self.settings.authority_lifetime):
            return f"two thirds of the authority's lifetime are over, it ends {_end(certificate)}"
        return ""

    def can_sign(self, authority: Authority) -> bool:
        certificate = authority.certificate
        return certificate.not_valid_before_utc <= self.now < certificate.not_valid_after_utc

    def leaf_fault(self, authority: Authority) -> str:
        """Return why the leaf must be signed anew, or nothing."""
        content, settings = self.secret.content, self.settings
        try:
            pair = verify(
                content.get("tls.crt", b""),
                content.get("tls.key", b""),
                now=self.now,
                names=settings.names,
                roots_pem=authority.certificate_pem,
                sources=Sources("tls.crt", "tls.key", "ca.crt"),
            )
        except UnusablePairError as error:
            return str(error)
        # a new one could last no longer than a leaf that ends with its authority, and would be due sooner and sooner
        lasts = pair.not_after >= authority.certificate.not_valid_after_utc
        if not lasts and self.now >= _renewal(pair.leaf, settings.leaf_lifetime):
            return f"two thirds of the leaf's lifetime are over, it ends {_end(pair.leaf)}"
        return ""


def _clocks(look: _Look) -> Turn | None:
    apart = abs(look.now - look.seen.server_time)
    if apart <= look.settings.skew:
        return None
    return Turn(
        Wait(
            look.settings.settling,
            f"this clock says {look.now:%FT%TZ}, the API server's {look.seen.server_time:%FT%TZ}",
        )
    )


def _missing(look: _Look) -> Turn | None:
    return Turn(CreateSecret("there is no Secret")) if look.seen.secret is None else None


def _adopt(look: _Look) -> Turn | None:
    """Keep what only the bundles know: after a loss, after another mode, servers still show its leaves."""
    held = look.held
    bundles = [bundle for each in look.configurations.values() for bundle in each.bundles.values()]
    found = dict.fromkeys(certificate for bundle in bundles for certificate in _certificates(bundle))
    known = {*held.trusted, *held.removed}
    strangers = [certificate for certificate in found if certificate not in known]
    adopted = strangers[: max(0, MOST_RETIRED - len(held.retired))]
    if not adopted:
        return None
    names = ", ".join(certificate.subject.rfc4514_string()[:80] for certificate in adopted)
    wanted = _Held(held.current, held.following, (*held.retired, *adopted), held.removed)
    return look.write(wanted, f"the bundles trust what the Secret does not know: {names}")


def _sign(look: _Look) -> Turn | None:
    """Renew the leaf. What ``ca`` signs is trusted already, so this waits for nothing else."""
    current = look.held.current
    if current is None or not look.can_sign(current):
        return None
    fault = look.leaf_fault(current) or ("a new leaf was asked for" if look.asks_for_leaf else "")
    if not fault:
        return None
    return look.write(look.held, f"new leaf: {fault}", look.issue(current), answers=look.asks_for_leaf)


def _begin(look: _Look) -> Turn | None:
    held = look.held
    following_fault = ""
    if held.following is not None:
        following_fault = look.authority_fault(held.following)
    elif {"next-ca.crt", "next-ca.key"} & look.secret.content.keys():
        # the rotation that it was for is not over, and whoever asked is not told that it was in vain
        following_fault = "the one that was to follow can't be read"
    if held.following is not None and not following_fault:
        return None
    fault = look.authority_fault(held.current) or following_fault
    # one rotation after the other keeps the bundles short; what is due does not wait, as a crash costs the memory
    if not fault and look.asks_for_authority and not held.retired:
        fault = "a new authority was asked for"
    if not fault:
        return None
    following = Authority.create(look.now, lifetime=look.settings.authority_lifetime)
    wanted = _Held(held.current, following, held.retired, held.removed)
    return look.write(wanted, f"new authority: {fault}", answers=look.asks_for_authority)


def _apply(look: _Look) -> Turn | None:
    bundle = _pem(look.held.trusted)
    targets = tuple(
        Target(name, each.version, tuple(each.bundles))
        for name, each in look.configurations.items()
        if any(has != bundle for has in each.bundles.values())
    )
    if not targets:
        return None
    names = ", ".join(target.name for target in targets)
    return Turn(ApplyBundles(bundle, targets, f"not every entry of {names} trusts exactly what it must"))


def _promote(look: _Look) -> Turn | None:
    """Row ``spread`` and row ``promote``; ``apply`` came before, so each bundle has what is trusted."""
    held, settings = look.held, look.settings
    following = held.following
    if following is None:
        return None
    memory = look.memory.of(("spread", following.certificate), look.seen.instant)
    left = memory.since + settings.settling - look.seen.instant
    # where nothing else is trusted no leaf is good yet, and waiting would only make that last
    alone = held.trusted == (following.certificate,)
    if left > timedelta() and not alone:
        return Turn(Wait(left, "API servers get to know the new authority"), memory)
    retired = (*held.retired, *((held.current.certificate,) if held.current is not None else ()))
    wanted = _Held(following, None, retired, held.removed)
    reason = "new leaf: every API server trusts the new authority"
    return look.write(wanted, reason, look.issue(following), answers=look.asks_for_leaf)


def _retire(look: _Look) -> Turn | None:
    """Row ``overlap`` and row ``retire``; ``sign`` came before, so the leaf is of ``ca``."""
    held, settings = look.held, look.settings
    if not held.retired:
        return None
    # of this version: a leaf that was lost and written again in between reached servers later
    memory = look.memory.of(("overlap", look.secret.version), look.seen.instant)
    left = memory.since + settings.overlap - look.seen.instant
    if left > timedelta():
        return Turn(Wait(left, "servers may still show a leaf of the former authority"), memory)
    return look.write(
        _Held(held.current, None, (), removed=held.retired), "no server shows a leaf of the former authority any more"
    )


def _tidy(look: _Look) -> Turn | None:
    """Take out what everything else passes over, so that whoever looks at the Secret sees what is in use."""
    has = {key: value for key, value in look.secret.content.items() if key in _KEYS and value}
    return look.write(look.held, "a part of the Secret can't be read") if has != look.held.content() else None


def _rest(look: _Look) -> Turn | None:
    """Return the wait for what is due first; row ``sign`` has verified the leaf."""
    current, settings = look.held.current, look.settings
    if current is None:
        raise AssertionError("row begin or row promote applies where there is no authority")
    leaf = x509.load_pem_x509_certificate(look.secret.content["tls.crt"])
    due = min(
        _renewal(current.certificate, settings.authority_lifetime),
        # a leaf that ends with its authority is past its time, and stays
        max(_renewal(leaf, settings.leaf_lifetime), look.now + settings.settling),
    )
    return Turn(Wait(due - look.now, f"nothing is due before {due:%FT%TZ}"))


#: The table, in order.
ROWS: tuple[Callable[[_Look], Turn | None], ...] = (
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
    issued = certificate.not_valid_before_utc + CLOCK_SKEW
    return issued + min(certificate.not_valid_after_utc - issued, lifetime) * RENEWAL_AT


def _authority(content: Mapping[str, bytes], name: str) -> Authority | None:
    try:
        return Authority.load(content.get(f"{name}.crt", b""), content.get(f"{name}.key", b""))
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
