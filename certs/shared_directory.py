"""The directory that a keeper and its server share: the pair to serve, and the keeper's status."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from certs import files

__all__ = ["FailureKind", "KeeperStatus", "SharedDirectory", "StepKind", "seconds_since_boot"]


class StepKind(StrEnum):
    """The kinds of steps that a keeper counts."""

    CREATE_SECRET = "create_secret"  # noqa: S105 — no password
    WRITE_SECRET = "write_secret"  # noqa: S105 — no password
    APPLY_BUNDLES = "apply_bundles"


class FailureKind(StrEnum):
    """Why a reconciliation failed."""

    UNREACHABLE = "unreachable"
    ERROR_RESPONSE = "error_response"
    CONFLICT = "conflict"  # harmless: another replica wrote first, and the next reconciliation observes its write
    CLOCK_SKEW = "clock_skew"
    DIRECTORY = "directory"
    UNEXPECTED_EXCEPTION = "unexpected_exception"


def seconds_since_boot() -> float:
    """Return the seconds since boot, suspended time included (CLOCK_BOOTTIME).

    All processes of a machine, in whatever container, read the same clock, and nobody can set it.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """What a keeper knows about the pair that it wrote last, and its counters."""

    #: The leaf's SHA-256 fingerprint, in hexadecimal.
    fingerprint: str = ""
    #: When a server may begin to serve it, in seconds of the epoch: later than its notBefore, for clients' clocks.
    serve_from: float = 0.0
    #: When a server must stop serving it, in seconds of the epoch: earlier than its notAfter, for clients' clocks.
    serve_until: float = 0.0
    #: Until when clients are known to trust it, if no newer status is written; by :func:`seconds_since_boot`.
    fresh_until_boot_seconds: float = 0.0
    #: When the keeper last reconciled successfully, in seconds of the epoch.
    last_success: float = 0.0
    may_rotate: bool = False
    #: The number of steps taken, by kind.
    steps: dict[str, int] = field(default_factory=dict)
    #: The number of failed reconciliations, by kind.
    failures: dict[str, int] = field(default_factory=dict)

    def readiness_error(self, now: datetime, boot_seconds: float) -> str:
        """Return why a server must not serve the pair now; an empty string if it may."""
        if not self.fresh_until_boot_seconds:
            return "the certificate keeper has not read the Secret yet"
        if boot_seconds > self.fresh_until_boot_seconds:
            return "the certificate keeper has not read the Secret for too long: other replicas may have rotated since"
        if not self.serve_from <= now.timestamp() <= self.serve_until:
            serve_from, serve_until = (
                datetime.fromtimestamp(each, UTC) for each in (self.serve_from, self.serve_until)
            )
            return f"the certificate may be served from {serve_from:%FT%TZ} to {serve_until:%FT%TZ} only"
        return ""


class SharedDirectory(NamedTuple):
    """The directory; each file in it is replaced atomically."""

    path: Path

    @property
    def pair_file(self) -> Path:
        """Return the path of the leaf and its key: one file, so that nobody reads a certificate with another's key."""
        return self.path / "pair.pem"

    @property
    def _status_file(self) -> Path:
        return self.path / "keeper-status.json"

    def write_pair(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Write a certificate and its key; raises OSError."""
        files.write_atomically(self.pair_file, certificate_pem + key_pem)

    def write_status(self, status: KeeperStatus) -> None:
        """Write the keeper's status; raises OSError."""
        files.write_atomically(self._status_file, json.dumps(asdict(status)).encode())

    def read_status(self) -> KeeperStatus:
        """Return the last status written; one that allows no serving if none can be read."""
        try:
            return KeeperStatus(**json.loads(self._status_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return KeeperStatus()
