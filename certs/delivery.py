"""The folder through which a keeper hands its server a certificate, its key, and how long they may be served."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from certs import files

__all__ = ["STEPS", "Failure", "Folder", "Notice", "boot_time"]

#: The kinds of steps that a keeper counts.
STEPS = ("create_secret", "write_secret", "apply_bundles")


class Failure(StrEnum):
    """Why a reconciliation failed."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CONFLICT = "conflict"  # another replica wrote first: no error, the next reconciliation sees what it did
    CLOCKS = "clocks"
    FOLDER = "folder"
    BUG = "bug"


def boot_time() -> float:
    """Return the seconds since the machine booted, suspended time included: the same for all its processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Notice:
    """What a keeper tells its server: whether the pair that it wrote last may be served, and its own counters."""

    certificate: str = ""
    """The leaf's fingerprint."""
    not_before: float = 0.0
    """From when on a server may serve it, in seconds of the epoch: every client considers it valid by then."""
    not_after: float = 0.0
    valid_until: float = 0.0
    """The :func:`boot_time` until which clients trust the pair for certain; a newer notice extends it."""
    last_sync: float = 0.0
    """When the keeper last reconciled successfully, in seconds of the epoch."""
    leading: bool = False
    steps: dict[str, int] = field(default_factory=dict)
    """How many were taken, by kind."""
    failures: dict[str, int] = field(default_factory=dict)

    def readiness_error(self, now: datetime, at: float) -> str:
        """Return why a server must not serve the pair now; an empty string where it may."""
        if at > self.valid_until:
            return "the certificate keeper has not read the Secret for too long: other replicas may have rotated since"
        if not self.not_before <= now.timestamp() <= self.not_after:
            not_before, not_after = (datetime.fromtimestamp(each, UTC) for each in (self.not_before, self.not_after))
            return f"the certificate may be served from {not_before:%FT%TZ} to {not_after:%FT%TZ} only"
        return ""


class Folder(NamedTuple):
    """The folder; each file in it is replaced whole."""

    path: Path

    @property
    def pair(self) -> Path:
        """Return the file with the leaf and its key: one file, so that nobody reads halves of two pairs."""
        return self.path / "pair.pem"

    @property
    def _notice(self) -> Path:
        return self.path / "notice.json"

    def write_pair(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Write a pair; raises OSError."""
        files.replace(self.pair, certificate_pem + key_pem)

    def write_notice(self, notice: Notice) -> None:
        """Write a notice; raises OSError."""
        files.replace(self._notice, json.dumps(asdict(notice)).encode())

    def notice(self) -> Notice:
        """Return the last notice; where there is none that can be read, one by which nothing may be served."""
        try:
            return Notice(**json.loads(self._notice.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Notice()
