"""The folder in which a keeper leaves the pair that a server shows, and says how long it may be shown."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from certs import files

__all__ = ["STEPS", "Failure", "Folder", "Notice", "instant"]

#: The kinds of steps that a keeper counts.
STEPS = ("create_secret", "write_secret", "apply_bundles")


class Failure(StrEnum):
    """Why a look came to nothing."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    CONFLICT = "conflict"  # somebody else was faster: no error, the next look sees what they did
    CLOCKS = "clocks"
    FOLDER = "folder"
    BUG = "bug"


def instant() -> float:
    """Return a clock that all processes of a machine share, that is never set, and that runs while it is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Notice:
    """What a keeper says of the pair that it left last, and of itself."""

    certificate: str = ""
    """The leaf's fingerprint."""
    begins: float = 0.0
    """From when on a server may show it, in seconds of the epoch: every client's clock is in its validity by then."""
    ends: float = 0.0
    stale: float = 0.0
    """The :func:`instant` from which on nobody knows whether clients still trust it, if no other notice follows."""
    looked: float = 0.0
    """When the keeper last looked at the cluster without a failure, in seconds of the epoch."""
    leading: bool = False
    steps: dict[str, int] = field(default_factory=dict)
    """How many it took, by kind."""
    failures: dict[str, int] = field(default_factory=dict)

    def objection(self, now: datetime, at: float) -> str:
        """Return why a server must not show the pair now, or nothing."""
        if at > self.stale:
            return "the certificate's keeper has not seen the Secret for too long: others may have rotated meanwhile"
        if not self.begins <= now.timestamp() <= self.ends:
            begins, ends = (datetime.fromtimestamp(each, UTC) for each in (self.begins, self.ends))
            return f"the certificate is to be shown from {begins:%FT%TZ} to {ends:%FT%TZ} only"
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

    def leave(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Leave a pair; raises OSError."""
        files.replace(self.pair, certificate_pem + key_pem)

    def say(self, notice: Notice) -> None:
        """Leave a notice; raises OSError."""
        files.replace(self._notice, json.dumps(asdict(notice)).encode())

    def notice(self) -> Notice:
        """Return what the keeper said last; where there is nothing, or nothing that can be read, what forbids all."""
        try:
            return Notice(**json.loads(self._notice.read_bytes()))
        except (OSError, ValueError, TypeError):
            return Notice()
