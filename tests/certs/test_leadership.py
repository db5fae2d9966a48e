"""Who holds the Lease: by what one process sees of it, and its own clock."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from certs.leadership import Leadership
from certs.store import LeaseState

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
DURATION = timedelta(seconds=30)


def seconds(number: float) -> timedelta:
    """Return a time on somebody's monotonic clock."""
    return timedelta(seconds=1000 + number)


@dataclass
class Lease:
    """A Lease whose every write is a new renewal."""

    holder: str = ""
    writes: list[str] = field(default_factory=list)

    def record(self) -> LeaseState:
        """Return it as it is read."""
        return LeaseState(str(len(self.writes)), self.holder, str(len(self.writes)), NOW)

    def write_holder(self, _lease: LeaseState, holder: str, _duration: timedelta) -> LeaseState:
        """Write the holder."""
        self.holder = holder
        self.writes.append(holder)
        return self.record()


def claims(who: Leadership, lease: Lease, at: float) -> bool:
    """Return whether the process leads after a look."""
    return who.claim(lease, lease.record(), seconds(at))  # type: ignore[arg-type]


def test_a_free_lease_is_taken() -> None:
    """Also at the first look."""
    lease = Lease()
    assert claims(Leadership("a", DURATION), lease, 0)
    assert lease.holder == "a"


def test_a_held_lease_is_left_alone_for_as_long_as_it_changes() -> None:
    """However long ago its holder says that it was renewed: clocks are not compared."""
    lease, a, b = Lease(), Leadership("a", DURATION), Leadership("b", DURATION)
    for at in range(0, 200, 10):
        assert claims(a, lease, at)
        assert not claims(b, lease, at + 5)
    assert set(lease.writes) == {"a"}


def test_a_lease_that_nobody_renews_is_taken_over() -> None:
    """After its duration on the own clock, counted from the look that saw it first."""
    lease, a, b = Lease(), Leadership("a", DURATION), Leadership("b", DURATION)
    assert claims(a, lease, 0)
    assert not claims(b, lease, 20)
    assert not claims(b, lease, 49)
    assert claims(b, lease, 50)
    assert not claims(a, lease, 51)


def test_it_is_renewed_each_third_of_its_duration() -> None:
    """Not at each look: every write is one of etcd's."""
    lease, a = Lease(), Leadership("a", DURATION)
    for at in range(30):
        assert claims(a, lease, at)
    assert len(lease.writes) == 3


def test_only_its_holder_gives_it_up() -> None:
    """Then the next one need not wait."""
    lease, a, b = Lease(), Leadership("a", DURATION), Leadership("b", DURATION)
    assert claims(a, lease, 0)
    assert not claims(b, lease, 1)
    assert not b.release(lease, lease.record())  # type: ignore[arg-type]
    assert lease.holder == "a"
    assert a.release(lease, lease.record())  # type: ignore[arg-type]
    assert claims(b, lease, 2)
