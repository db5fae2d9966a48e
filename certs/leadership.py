"""Who rotates: one process at a time, so that two seldom do the same work; nothing relies on it."""

from dataclasses import dataclass
from datetime import timedelta

from certs.store import LeaseState, Store

__all__ = ["Leadership"]


@dataclass(slots=True)
class Leadership:
    """One process's claim to the Lease.

    A Lease that changes is held; one that has not changed for ``duration`` by our own clock is free. Nobody's clock
    is compared with anybody else's.
    """

    identity: str
    duration: timedelta
    _known: tuple[str, str] = ("", "")
    """Holder and renewal as they were seen last."""
    _since: timedelta = timedelta()
    """When that was seen first."""

    def claim(self, store: Store, lease: LeaseState, monotonic_now: timedelta) -> bool:
        """Take the Lease if it is free, renew it if it is ours; return whether it is.

        Raises :class:`certs.api.ApiError`: a conflict means that another process was first.
        """
        ours = lease.holder == self.identity
        self._see(lease, monotonic_now)
        age = monotonic_now - self._since
        if lease.holder and not ours and age < self.duration:
            return False
        if not ours or age >= self.duration / 3:
            self._see(store.write_holder(lease, self.identity, self.duration), monotonic_now)
        return True

    def release(self, store: Store, lease: LeaseState) -> bool:
        """Give the Lease up if it is ours; return whether it was."""
        if lease.holder != self.identity:
            return False
        store.write_holder(lease, "", self.duration)
        return True

    def _see(self, lease: LeaseState, monotonic_now: timedelta) -> None:
        known = (lease.holder, lease.renewed)
        if known != self._known:
            self._known, self._since = known, monotonic_now
