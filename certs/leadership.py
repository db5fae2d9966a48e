"""Which replica rotates: the one that holds the Lease. It only saves work: two that rotate at once do no harm."""

from dataclasses import dataclass
from datetime import timedelta

from certs.store import LeaseState, Store

__all__ = ["Leadership"]


@dataclass(slots=True)
class Leadership:
    """One process's claim to the Lease.

    A Lease that has not changed for ``duration``, by this process's own monotonic clock, is free. The times in it are
    not used, because its holder's clock may be wrong.
    """

    identity: str
    duration: timedelta
    _known: tuple[str, str] = ("", "")
    """The Lease's holder and ``renewTime`` when it was last read."""
    _since: timedelta = timedelta()
    """When it was first read with these values, on the monotonic clock."""

    def claim(self, store: Store, lease: LeaseState, monotonic_now: timedelta) -> bool:
        """Take the Lease if it is free, renew it if it is ours; return whether it is ours now.

        ``monotonic_now`` is the monotonic clock. Raises :class:`certs.api.ApiError`; a conflict means that another process
        was first.
        """
        ours = lease.holder == self.identity
        self._note(lease, monotonic_now)
        age = monotonic_now - self._since
        if lease.holder and not ours and age < self.duration:
            return False
        if not ours or age >= self.duration / 3:
            self._note(store.write_holder(lease, self.identity, self.duration), monotonic_now)
        return True

    def release(self, store: Store, lease: LeaseState) -> bool:
        """Give the Lease up if it is ours; return whether it was."""
        if lease.holder != self.identity:
            return False
        store.write_holder(lease, "", self.duration)
        return True

    def _note(self, lease: LeaseState, monotonic_now: timedelta) -> None:
        known = (lease.holder, lease.renewed)
        if known != self._known:
            self._known, self._since = known, monotonic_now
