"""The folder in which a keeper writes the pair that its server serves, and how long it may be served."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from certs import files

__all__ = ["STEP_KINDS", "FailureKind", "KeeperStatus", "SharedFolder", "seconds_since_boot"]

#: The kinds of steps that a keeper counts.
STEP_KINDS = ("create_secret", "write_secret", "apply_bundles")


class FailureKind(StrEnum):
    """Why a reconciliation failed."""

    UNREACHABLE = "unreachable"
    ERROR_RESPONSE = "error_response"
    CONFLICT = "conflict"  # another replica wrote first: no error, the next reconciliation sees what it did
    CLOCK_SKEW = "clock_skew"
    FOLDER = "folder"
    UNEXPECTED_EXCEPTION = "unexpected_exception"


def seconds_since_boot() -> float:
    """Return a clock that all processes of a machine share, that is never set, and that runs while it is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """What a keeper knows about the pair that it wrote last, and its own counters."""

    certificate: str = ""
    """The leaf's fingerprint."""
    serve_from: float = 0.0
    """From when on a server may serve it, in seconds of the epoch: every client considers it valid by then."""
    serve_until: float = 0.0
    fresh_until_boot_seconds: float = 0.0
    """Until when, by :func:`seconds_since_boot`, clients are known to trust it, if no newer status is written."""
    last_success: float = 0.0
    """When the keeper last reconciled successfully, in seconds of the epoch."""
    is_leader: bool = False
    steps: dict[str, int] = field(default_factory=dict)
    """How many were taken, by kind."""
    failures: dict[str, int] = field(default_factory=dict)

    def readiness_error(self, now: datetime, at: float) -> str:
        """Return why a server must not serve the pair now; an empty string where it may."""
        if at > self.fresh_until_boot_seconds:
            return "the certificate keeper has not read the Secret for too long: other replicas may have rotated since"
        if not self.serve_from <= now.timestamp() <= self.serve_until:
            serve_from, serve_until = (
                datetime.fromtimestamp(each, UTC) for each in (self.serve_from, self.serve_until)
            )
            return f"the certificate may be served from {serve_from:%FT%TZ} to {serve_until:%FT%TZ} only"
        return ""


class SharedFolder(NamedTuple):
    """The folder; each file in it is replaced whole."""

    path: Path

    @property
    def pair_file(self) -> Path:
        """Return the file with the leaf and its key: one file, so that nobody reads halves of two pairs."""
        return self.path / "pair.pem"

    @property
    def _status_file(self) -> Path:
        return self.path / "keeper-status.json"

    def write_pair(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Write a pair; raises OSError."""
        files.replace(self.pair_file, certificate_pem + key_pem)

    def write_status(self, status: KeeperStatus) -> None:
        """Write a notice; raises OSError."""
        files.replace(self._status_file, json.dumps(asdict(status)).encode())

    def read_status(self) -> KeeperStatus:
        """Return the last notice; one that allows nothing where there is none that can be read."""
        try:
            return KeeperStatus(**json.loads(self._status_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return KeeperStatus()
