"""The next step of a rotation, row by row; and in a model of a cluster where nearly everything goes wrong."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from certs import rotation
from certs.ca import BACKDATING, CA, CA_LIFETIME, LEAF_LIFETIME, LeafPair
from certs.rotation import (
    CA_OVERLAP,
    CA_PROPAGATION_DELAY,
    MAX_RETIRED,
    RULES,
    ApplyBundles,
    CreateSecret,
    Observed,
    RotationSettings,
    SecretSnapshot,
    Step,
    StepResult,
    Stopwatch,
    Wait,
    WebhookConfiguration,
    WriteSecret,
    next_step,
)
from certs.verify import verify
from tests.certs import model
from tests.certs.keys import CERTIFICATES, KEYS, PAIRS
from tests.certs.model import NAME, SETTINGS, WEIGHTS, Machine, RefusedError, World, accepted, happen, walk

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(days=3)
OURS = RotationSettings((NAME,))
A, B, C = (CA.create(NOW) for _ in range(3))
LEAF_A, LEAF_B = A.issue((NAME,), NOW), B.issue((NAME,), NOW)
#: Steps of the long walk; a million take a quarter of an hour.
LONG = int(os.environ.get("PILLION_WALK", "0"))


def data(
    ca: CA | None = A,
    tls: LeafPair | None = LEAF_A,
    next_ca: CA | None = None,
    retired: tuple[CA, ...] = (),
    distrusted: tuple[CA, ...] = (),
) -> dict[str, bytes]:
    """Return a Secret's data."""
    parts: dict[str, bytes] = {
        "retired-ca.crt": trusting(*retired),
        "distrusted-ca.crt": trusting(*distrusted),
        "tls.crt": tls.certificate_pem if tls else b"",
        "tls.key": tls.key_pem if tls else b"",
    }
    for name, each in (("ca", ca), ("next-ca", next_ca)):
        if each is not None:
            parts |= {f"{name}.crt": each.certificate_pem, f"{name}.key": each.key_pem}
    return {key: value for key, value in parts.items() if value}


def trusting(*cas: CA) -> bytes:
    """Return a bundle."""
    return b"".join(ca.certificate_pem for ca in cas)


def look(
    secret: Mapping[str, bytes] | None,
    *bundles: bytes,
    now: datetime = NOW,
    requested_rotation: str = "",
    api_server_time: datetime | None = None,
) -> Observed:
    """Return what is seen of a Secret and of one configuration whose entries have these bundles."""
    return Observed(
        now,
        api_server_time or now,
        INSTANT,
        None if secret is None else SecretSnapshot("7", secret, requested_rotation),
        {"webhooks": WebhookConfiguration("9", {f"entry-{number}": bundle for number, bundle in enumerate(bundles)})},
    )


def since(ago: timedelta, seen: Observed) -> Stopwatch:
    """Return the memory of a process that has seen this for some time."""
    stopwatch = next_step(seen, Stopwatch(), OURS).stopwatch
    assert stopwatch.condition is not None
    return replace(stopwatch, started=INSTANT - ago)


def written(seen: Observed, stopwatch: Stopwatch | None = None, chosen: RotationSettings = OURS) -> WriteSecret:
    """Return the next step, which must be a write."""
    step = next_step(seen, stopwatch or Stopwatch(), chosen).step
    assert isinstance(step, WriteSecret), step
    assert step.version == "7"
    return step


def written_content(step: Step) -> Mapping[str, bytes]:
    """Return what a step writes, which must be a write."""
    assert isinstance(step, WriteSecret), step
    return step.data


def good(step: WriteSecret, now: datetime = NOW) -> None:
    """Check that a written leaf is one that a server takes and that the written CA signed."""
    verify(step.data["tls.crt"], step.data["tls.key"], now=now, names=(NAME,), roots_pem=step.data["ca.crt"])


class Case(NamedTuple):
    """A row of the table: what is seen, and the step that must follow."""

    seen: Observed
    kind: type[Step]
    reason: str
    ago: timedelta | None = None


PROPAGATING = look(data(next_ca=B), trusting(A, B), trusting(A, B))
RETIRED = look(data(B, LEAF_B, retired=(A,)), trusting(B, A))
CASES = {
    "clock_skew": Case(look(data(), api_server_time=NOW + timedelta(minutes=31)), Wait, "this clock says"),
    "create_secret": Case(look(None, trusting(A)), CreateSecret, "no Secret"),
    "retire_unknown_cas": Case(look(data(), trusting(A, C)), WriteSecret, "contain CAs that the Secret does not"),
    "sign_leaf": Case(look(data(tls=None), trusting(A)), WriteSecret, "new leaf: tls.crt holds no certificate"),
    "create_next_ca": Case(look(data(tls=LEAF_A), trusting(A), requested_rotation="CA"), WriteSecret, "new CA: a new"),
    "apply_bundles": Case(look(data(), trusting(A), b""), ApplyBundles, "some caBundles of webhooks are out of date"),
    "wait_for_propagation": Case(PROPAGATING, Wait, "may not know", CA_PROPAGATION_DELAY - timedelta(seconds=1)),
    "promote_next_ca": Case(PROPAGATING, WriteSecret, "new leaf: signed by the new CA", CA_PROPAGATION_DELAY),
    "wait_for_overlap": Case(RETIRED, Wait, "may still present", CA_OVERLAP - timedelta(seconds=1)),
    "distrust_retired_cas": Case(RETIRED, WriteSecret, "no server presents", CA_OVERLAP),
    "delete_unreadable": Case(look(data() | {"distrusted-ca.crt": b"junk"}, trusting(A)), WriteSecret, "can't be used"),
    "wait_until_due": Case(look(data(), trusting(A)), Wait, "nothing is due before 2026-06-06T12:30:00Z"),
}


@pytest.mark.parametrize("row", CASES)
def test_each_row_of_the_table(row: str) -> None:
    """What is seen leads to the row's step, and the step says why."""
    case = CASES[row]
    stopwatch = Stopwatch() if case.ago is None else since(case.ago, case.seen)
    step = next_step(case.seen, stopwatch, OURS).step
    assert type(step) is case.kind
    assert case.reason in step.reason


def test_every_row_of_the_documented_table_has_a_case() -> None:
    """The table in the module's docstring and the table here have the same rows in the same order."""
    table = (rotation.__doc__ or "").split("\n=======")[2]
    rows = [line.split()[0] for line in table.splitlines()[1:] if line and line[0] != " "]
    assert rows == list(CASES)


# Row by row


def test_a_wait_ends_when_the_time_is_over() -> None:
    """Waits are as long as what is left."""
    turn = next_step(PROPAGATING, since(timedelta(minutes=2), PROPAGATING), OURS)
    assert turn.step == Wait(timedelta(minutes=3), "API servers may not know the new CA yet")


def test_a_process_that_starts_waits_from_the_beginning() -> None:
    """Nobody's clock but its own tells a process how long something has been so."""
    assert next_step(PROPAGATING, Stopwatch(), OURS).stopwatch == Stopwatch(("propagation", B.certificate), INSTANT)


def test_a_monotonic_clock_of_another_process_is_not_believed() -> None:
    """A memory from the future begins anew."""
    stopwatch = replace(since(CA_PROPAGATION_DELAY, PROPAGATING), started=INSTANT + DAY)
    assert next_step(PROPAGATING, stopwatch, OURS).stopwatch.started == INSTANT


def test_a_bundle_that_is_lost_meanwhile_begins_the_wait_again() -> None:
    """What API servers must learn is what is there without a break."""
    turn = next_step(look(data(next_ca=B), trusting(A)), since(DAY, PROPAGATING), OURS)
    assert turn == StepResult(turn.step, Stopwatch())


def test_another_version_of_the_secret_begins_the_overlap_again() -> None:
    """A leaf that was lost and came back reached some servers later."""
    seen = replace(RETIRED, secret=replace(RETIRED.secret, version="8"))  # type: ignore[type-var]
    assert isinstance(next_step(seen, since(DAY, RETIRED), OURS).step, Wait)


def test_an_installation_takes_four_steps() -> None:
    """Where nobody trusts anything yet no wait protects anybody: Secret, CA, bundle, leaf."""
    world = World(random.Random(1))
    steps = []
    for _ in range(5):
        configurations = {name: versions[-1].configuration for name, versions in world.history.items()}
        step = next_step(
            Observed(world.clock(), world.clock(), INSTANT, world.secret, configurations), Stopwatch(), SETTINGS
        )
        steps.append(type(step.step))
        for request in world._requests(step.step, world.replicas[0]):
            request.arrive()
    assert steps == [CreateSecret, WriteSecret, ApplyBundles, WriteSecret, Wait]


def test_a_new_ca_is_added_and_signs_nothing_yet() -> None:
    """The leaf that servers show, and what clients trust, stay."""
    step = written(CASES["create_next_ca"].seen)
    kept = {key: value for key, value in step.data.items() if not key.startswith("next-ca")}
    assert kept == data()
    CA.load(step.data["next-ca.crt"], step.data["next-ca.key"])
    assert step.clears_request


def test_a_promoted_ca_signs_and_the_former_one_loses_its_key() -> None:
    """Clients go on trusting both; the former CA can sign nothing any more."""
    step = written(PROPAGATING, since(CA_PROPAGATION_DELAY, PROPAGATING))
    good(step)
    assert step.data["ca.crt"] == B.certificate_pem
    assert step.data["retired-ca.crt"] == A.certificate_pem
    assert A.key_pem not in step.data.values()
    assert not any(key.startswith("next-ca") for key in step.data)


def test_a_distrusted_ca_leaves_the_bundles() -> None:
    """Once retired long enough it is found in a bundle and not taken over again, but taken out."""
    step = written(RETIRED, since(CA_OVERLAP, RETIRED))
    after = next_step(look(step.data, trusting(B, A)), Stopwatch(), OURS).step
    assert isinstance(after, ApplyBundles)
    assert after.bundle == B.certificate_pem


def test_a_ca_that_an_operator_distrusts_leaves_the_bundles() -> None:
    """Moved by hand from one entry of the Secret to another, it is not adopted again: docs/security.md."""
    adopted = written(look(data(), trusting(A, C)))
    assert adopted.data["retired-ca.crt"] == trusting(C)
    seen = look(data(distrusted=(C,)), trusting(A, C))
    step = next_step(seen, Stopwatch(), OURS).step
    assert isinstance(step, ApplyBundles)
    assert step.bundle == trusting(A)


def test_bundles_name_every_entry_and_the_version() -> None:
    """A server-side apply that leaves an entry out gives up what it owns there."""
    step = next_step(CASES["apply_bundles"].seen, Stopwatch(), OURS).step
    assert isinstance(step, ApplyBundles)
    assert step.targets == (("webhooks", "9", ("entry-0", "entry-1")),)


def test_a_configuration_that_is_not_there_holds_up_nothing() -> None:
    """Nobody calls by it."""
    seen = replace(PROPAGATING, webhook_configurations={**PROPAGATING.webhook_configurations, "lint": None})
    written(seen, since(CA_PROPAGATION_DELAY, seen))


@pytest.mark.parametrize(
    ("name", "broken"),
    [("ca.key", b""), ("ca.key", B.key_pem), ("ca.key", b"\xff"), ("next-ca.key", b"junk")],
    ids=["none", "another's", "bytes", "text"],
)
def test_a_ca_without_its_key_is_still_trusted(name: str, broken: bytes) -> None:
    """Its leaves are about."""
    step = next_step(look(data(next_ca=B) | {name: broken}, b""), Stopwatch(), OURS).step
    if name == "next-ca.key":
        step = next_step(look(written_content(step), b""), Stopwatch(), OURS).step
    assert isinstance(step, ApplyBundles)
    assert {A.certificate, B.certificate} <= set(x509.load_pem_x509_certificates(step.bundle))


def test_a_next_ca_that_is_lost_is_made_again() -> None:
    """The rotation that it was for goes on."""
    step = written(look(data() | {"next-ca.crt": b"junk"}, trusting(A)))
    CA.load(step.data["next-ca.crt"], step.data["next-ca.key"])


def test_an_encrypted_key_is_as_good_as_none() -> None:
    """Nobody has the password."""
    encrypted = A.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    step = written(look(data() | {"ca.key": encrypted}, trusting(A)))
    assert step.data["retired-ca.crt"] == A.certificate_pem
    assert "next-ca.key" in step.data


JUNK = {
    **{f"certificate, {kind}": pem for kind, (pem, _) in CERTIFICATES.items()},
    **{f"key, {kind}": pem for kind, (pem, _) in KEYS.items()},
    **{kind: key for kind, (_, key, _) in PAIRS.items()},
}


@pytest.mark.parametrize("key", ["ca.key", "ca.crt", "next-ca.key", "next-ca.crt", "tls.key", "tls.crt"])
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_whatever_is_in_the_secret_the_rotation_goes_on(key: str, junk: bytes) -> None:
    """It is written again, by a step that names no key's bytes: a keeper that raised would do so for ever."""
    step = written(look(data() | {key: junk}, trusting(A)))
    assert "PRIVATE" not in step.reason
    assert step.data.get(key) != junk


def test_what_is_not_ours_in_the_secret_stays() -> None:
    """Somebody else's key survives each write."""
    assert written(look(data(tls=None) | {"theirs": b"1"}, trusting(A))).data["theirs"] == b"1"


def test_a_leaf_that_nobody_trusts_is_taken_out() -> None:
    """A server that starts must not take it."""
    step = written(look(data(None, LEAF_B), trusting(A)))
    assert step.data["tls.crt"] == b""


def test_a_junk_bundle_hides_no_ca() -> None:
    """What can be read of it is retired."""
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = b"junk\n" + broken + trusting(B) + b"-----BEGIN CERTIFICATE-----"
    assert B.certificate_pem in written(look({}, bundle)).data["retired-ca.crt"]


def test_somebodys_whole_trust_store_is_not_retired() -> None:
    """A Secret has a limit; what is beyond ours leaves the bundle."""
    many = [CA.create(NOW, key=A.key) for _ in range(MAX_RETIRED + 3)]
    step = written(look(data(), trusting(A, *many)))
    assert step.data["retired-ca.crt"] == trusting(*many[:MAX_RETIRED])
    assert isinstance(next_step(look(step.data, trusting(A, *many)), Stopwatch(), OURS).step, ApplyBundles)


# When something is due


@pytest.mark.parametrize(
    ("days", "reason"),
    [(19.9, None), (20.1, "new leaf: two thirds"), (31, "new leaf: "), (243, "new leaf"), (366, "new CA")],
)
def test_renewals_come_at_two_thirds(days: float, reason: str | None) -> None:
    """A third of each lifetime is left for what goes wrong."""
    step = next_step(look(data(), trusting(A), now=NOW + days * DAY), Stopwatch(), OURS).step
    assert step.reason.startswith(reason or "nothing is due")


def test_the_ca_is_due_after_eight_months() -> None:
    """With a leaf that is young."""
    now = NOW + CA_LIFETIME * 0.67
    step = written(look(data(tls=A.issue((NAME,), now)), trusting(A), now=now))
    assert step.reason.startswith("new CA: two thirds of the CA's lifetime are over; it expires at 2027-05-17")


def test_a_ca_that_is_due_does_not_wait_for_a_retired_one() -> None:
    """Where no process lives long enough to retire one, the next rotation begins all the same."""
    now = NOW + CA_LIFETIME * 0.67
    assert "next-ca.crt" in written(look(data(tls=A.issue((NAME,), now), retired=(B,)), b"", now=now)).data


def test_a_request_waits_for_a_retired_ca() -> None:
    """Whoever asks each minute does not make the bundles long."""
    seen = look(data(B, LEAF_B, retired=(A,)), trusting(B, A), requested_rotation="CA")
    assert isinstance(next_step(seen, Stopwatch(), OURS).step, Wait)


def test_a_leaf_can_be_asked_for_alone() -> None:
    """The CA stays, and the request is answered."""
    step = written(look(data(), trusting(A), requested_rotation="leaf"))
    good(step)
    assert step.clears_request
    assert step.data["tls.crt"] != LEAF_A.certificate_pem
    assert "next-ca.crt" not in step.data


def test_a_shorter_lifetime_applies_at_once() -> None:
    """A leaf of a month is due when leaves shall live an hour."""
    chosen = RotationSettings((NAME,), leaf_lifetime=timedelta(hours=6), ca_overlap=timedelta(hours=1))
    assert "two thirds" in written(look(data(), trusting(A), now=NOW + timedelta(hours=4.5)), chosen=chosen).reason


def test_lifetimes_may_be_seconds() -> None:
    """What is backdated is not part of a lifetime: a new leaf is not due at once."""
    chosen = RotationSettings(
        (NAME,),
        ca_lifetime=timedelta(seconds=60),
        leaf_lifetime=timedelta(seconds=6),
        ca_propagation_delay=timedelta(seconds=0.5),
        ca_overlap=timedelta(seconds=1.5),
    )
    ca = CA.create(NOW, lifetime=chosen.ca_lifetime)
    leaf = ca.issue((NAME,), NOW, lifetime=chosen.leaf_lifetime)
    seen = look(data(ca, leaf), trusting(ca))
    assert next_step(seen, Stopwatch(), chosen).step == Wait(
        timedelta(seconds=4), "nothing is due before 2026-05-17T12:30:04Z"
    )


def test_a_leaf_that_ends_with_its_ca_is_not_renewed_again_and_again() -> None:
    """A new one would last no longer."""
    now = NOW + CA_LIFETIME - DAY
    leaf = A.issue((NAME,), now)
    seen = look(data(tls=leaf, next_ca=B), trusting(A, B), now=now + DAY * 0.9)
    b_is_young = CA.create(now)
    seen = look(data(tls=leaf, next_ca=b_is_young), trusting(A, b_is_young), now=now + DAY * 0.9)
    assert "may not know" in next_step(seen, Stopwatch(), OURS).step.reason


def test_more_names_need_another_leaf_and_fewer_do_not() -> None:
    """Two releases of which one knows more names don't undo each other's leaves."""
    more = replace(OURS, names=(NAME, "other.example"))
    step = written(look(data(), trusting(A)), chosen=more)
    assert "is not for other.example" in step.reason
    assert isinstance(next_step(look(step.data, trusting(A)), Stopwatch(), OURS).step, Wait)


def test_a_next_ca_that_ended_is_replaced() -> None:
    """It would sign leaves that nobody accepts."""
    now = NOW + 2 * CA_LIFETIME
    fresh = CA.create(now)
    step = written(look(data(fresh, fresh.issue((NAME,), now), B), trusting(fresh, B), now=now))
    assert step.data["next-ca.crt"] != B.certificate_pem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"names": ()}, "--names has an empty name"),
        ({"names": ("",)}, "--names has an empty name"),
        ({"ca_propagation_delay": timedelta()}, "must be positive"),
        ({"ca_overlap": timedelta()}, "must be positive"),
        ({"ca_overlap": LEAF_LIFETIME / 3}, "a third of the leaf's"),
        ({"leaf_lifetime": CA_LIFETIME / 2}, "a third of the CA's"),
        ({"max_clock_skew": BACKDATING}, "the clock skew must be at most 30 minutes"),
    ],
)
def test_settings_that_can_not_work_are_refused(change: dict[str, Any], problem: str) -> None:
    """A rotation must end before the next one begins."""
    with pytest.raises(ValueError, match=problem):
        replace(OURS, **change)


def test_no_private_key_is_shown() -> None:
    """A step, what is seen, and a reason may be logged."""
    for case in CASES.values():
        stopwatch = Stopwatch() if case.ago is None else since(case.ago, case.seen)
        turn = next_step(case.seen, stopwatch, OURS)
        assert "PRIVATE" not in f"{turn!r} {case.seen!r}"
        if isinstance(turn.step, ApplyBundles):
            assert b"PRIVATE" not in turn.step.bundle


# In a model of a cluster


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [2, 3])
def test_no_client_refuses_a_ready_server(seed: int, size: int) -> None:
    """In every state of a random walk; and whenever the faults stop, it heals."""
    world = World(random.Random(seed), size=size)
    assert walk(world, 1500) <= 30
    assert world.rotations >= 5
    assert world.checks >= 1000


@pytest.mark.skipif(not LONG, reason="PILLION_WALK is the number of its steps")
def test_no_client_refuses_a_ready_server_on_a_long_walk() -> None:
    """The same, from a seed that is told."""
    for part in range(max(1, LONG // 6000)):
        seed = random.randrange(2**32)
        world = World(random.Random(seed), size=random.choice([2, 3]))
        try:
            walk(world, min(LONG, 6000))
        except AssertionError as error:
            raise AssertionError(f"part {part}, World(random.Random({seed}), size={world.size})") from error


class Cluster(RuleBasedStateMachine):
    """The same, by hypothesis, which finds a short story for what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(random.Random(0))
        self.world.heal()

    @rule(what=st.sampled_from(sorted(WEIGHTS)), seed=st.integers(0, 999))
    def anything(self, what: str, seed: int) -> None:
        """Let something happen."""
        self.world.random.seed(seed)
        happen(self.world, what)

    @rule(replica=st.integers(0, 2), seed=st.integers(0, 9))
    def a_look(self, replica: int, seed: int) -> None:
        """Let a replica look, and act if nothing delays it."""
        self.world.random.seed(seed)
        for _ in range(9):
            self.world.act(self.world.replicas[replica])
        for request in self.world.in_flight[:seed]:
            self.world.deliver(request)

    def teardown(self) -> None:
        """From every state it heals."""
        self.world.heal()


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", range(10))
def test_a_restored_backup_and_a_reverted_configuration_heal(seed: int) -> None:
    """Somebody's old Secret or old bundles may cost calls, but not for long."""
    world = World(random.Random(seed))
    walk(world, 300)
    world.restore()
    for what in world.random.choices(["act", "deliver", "poll", "inform", "advance"], k=50):
        happen(world, what)
    world.revert("pods")
    world.heal()


def with_rows(kept: Sequence[Any]) -> Machine:
    """Return a machine of these rows."""

    def machine(seen: Observed, stopwatch: Stopwatch, chosen: RotationSettings) -> StepResult:
        look = rotation._Reconciliation(seen, stopwatch, chosen)
        turns: Iterator[StepResult | None] = (row(look) for row in kept)
        return next(turn for turn in turns if turn is not None)

    return machine


def hasty(**durations: timedelta) -> Machine:
    """Return the machine with shorter waits."""
    return lambda seen, stopwatch, chosen: next_step(seen, stopwatch, replace(chosen, **durations))  # type: ignore[arg-type]


#: The table with ``promote_next_ca`` before ``apply_bundles``.
LEAF_FIRST = [*RULES[:5], *RULES[6:8], RULES[5], *RULES[8:]]
FORGETFUL = [row for row in RULES if row is not rotation._retire_unknown_cas]
MOMENT = timedelta(microseconds=1)
BREAKS: dict[str, dict[str, Any]] = {
    "the leaf comes before API servers know its CA": {"machine": hasty(ca_propagation_delay=MOMENT)},
    "the leaf comes before the bundles have its CA": {"machine": with_rows(LEAF_FIRST)},
    "the former CA goes at once": {"machine": hasty(ca_overlap=MOMENT)},
    "the Secret is written whatever its version": {"swaps_secrets": False},
    "bundles are applied whatever the version": {"swaps_configurations": False},
    "what only the bundles know is forgotten": {"machine": with_rows(FORGETFUL)},
}


def refuses(world: World) -> bool:
    """Return whether a walk leads to a refused call."""
    try:
        walk(world, 3000)
    except RefusedError:
        return True
    except AssertionError:
        return False  # it does not heal, either
    return False


@pytest.mark.parametrize("what", BREAKS)
def test_the_model_finds_what_is_broken_on_purpose(what: str) -> None:
    """A machine that is wrong in one way leads to a refused call: the model could see it."""
    assert any(refuses(World(random.Random(seed), **BREAKS[what])) for seed in range(60))


def out_of_touch(world: World) -> None:
    """Rotate while one server can't read the Secret."""
    rotates, cut_off, _ = world.replicas
    world.heal()
    world.cut(cut_off)
    world.ask("CA")
    for _ in range(40):
        for _ in range(9):
            world.act(rotates)
            for request in list(world.in_flight):
                world.deliver(request)
        world.advance(timedelta(minutes=1))


def near_the_end(world: World) -> None:
    """Let nobody rotate until a server with a slow clock presents a leaf that is expired by a client's fast clock."""
    world.heal()
    world.replicas[0].max_clock_skew, world.clients[0].max_clock_skew = -model.SKEW, model.SKEW
    for _ in range(26 * 12):
        world.advance(timedelta(minutes=5))


def newly_trusted(world: World) -> None:
    """Rotate while one informer is as late as it may be."""
    world.heal()
    world.ask("CA")
    for _ in range(60):
        for replica in world.replicas:
            for _ in range(9):
                world.act(replica)
                for request in list(world.in_flight):
                    world.deliver(request)
        world.advance(timedelta(seconds=30))


@pytest.mark.parametrize(
    ("promise", "broken", "story"),
    [
        ("GRACE", timedelta(minutes=30), out_of_touch),
        ("MARGIN", timedelta(), near_the_end),
        ("LAG", timedelta(minutes=12), newly_trusted),
    ],
)
def test_each_promise_of_a_cluster_is_needed(
    promise: str, broken: timedelta, story: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it the story ends well, without it a call is refused: what servers and settings must keep is no more."""
    story(World(random.Random(1)))
    monkeypatch.setattr(model, promise, broken)
    with pytest.raises(RefusedError):
        story(World(random.Random(1)))


@pytest.mark.parametrize(
    ("trusted", "now", "expected"),
    [
        ((A,), NOW, True),
        ((B, A), NOW, True),
        ((B,), NOW, False),
        ((A,), NOW - BACKDATING - timedelta(seconds=1), False),
        ((A,), NOW - BACKDATING, True),
        ((A,), NOW + LEAF_LIFETIME, True),
        ((A,), NOW + LEAF_LIFETIME + timedelta(seconds=1), False),
    ],
)
def test_the_models_client_judges_as_a_real_one(trusted: tuple[CA, ...], now: datetime, expected: bool) -> None:
    """The model keeps what it found out about a pair; a verifier that is not ours says the same."""
    assert accepted(LEAF_A.certificate_pem, trusting(*trusted), now) is expected
    store = Store([ca.certificate for ca in trusted])
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(NAME))
    if expected:
        verifier.verify(LEAF_A.certificate, [])
    else:
        with pytest.raises(VerificationError):
            verifier.verify(LEAF_A.certificate, [])
