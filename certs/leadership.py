"""Leader election by a Lease: usually one keeper rotates at a time, but nothing relies on that."""

from dataclasses import dataclass
from datetime import timedelta

from certs.store import LeaseState, Store

__all__ = ["Leadership"]


@dataclass(slots=True)
class Leadership:
    """One process's claim to the Lease.

    As in client-go: a Lease whose record has not changed for ``duration`` by our monotonic clock counts as expired.
    Two processes' clocks are never compared.
    """

    identity: str
    duration: timedelta
    #: Holder and time of renewal, as they were observed last.
    _record: tuple[str, str] = ("", "")
    #: When this record was observed first, on the monotonic clock.
    _unchanged_since: timedelta = timedelta()

    def claim(self, store: Store, lease: LeaseState, monotonic_now: timedelta) -> bool:
        """Take the Lease if it is free or expired, renew it if it is ours; return whether it is ours now.

        Raises :class:`certs.api.ApiError`; a conflict means that another process was faster.
        """
        ours = lease.holder == self.identity
        self._observe(lease, monotonic_now)
        age = monotonic_now - self._unchanged_since
        if lease.holder and not ours and age < self.duration:
            return False
        if not ours or age >= self.duration / 3:
            self._observe(store.write_holder(lease, self.identity, self.duration), monotonic_now)
        return True

    def release(self, store: Store, lease: LeaseState) -> bool:
        """Release the Lease if it is ours; return whether it was."""
        if lease.holder != self.identity:
            return False
        store.write_holder(lease, "", self.duration)
        return True

    def _observe(self, lease: LeaseState, monotonic_now: timedelta) -> None:
        record = (lease.holder, lease.renewed)
        if record != self._record:
            self._record, self._unchanged_since = record, monotonic_now
