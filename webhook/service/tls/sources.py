"""The sources of the serving certificate that do not create it: given files, and the directory of a keeper."""

from datetime import datetime
from pathlib import Path
from typing import Protocol

from certs.shared_directory import KeeperStatus, SharedDirectory, seconds_since_boot
from certs.verify import VerifiedLeaf

__all__ = ["CertificateFiles", "CertificateSource", "SharedDirectorySource"]


class CertificateSource(Protocol):
    """Where the serving certificate comes from."""

    @property
    def files(self) -> tuple[Path, Path]:
        """Return the paths of the certificate and its key; one file may hold both."""

    @property
    def required(self) -> bool:
        """Return whether the server can't start without a certificate."""

    @property
    def ca_file(self) -> Path | None:
        """Return the file of the CA that clients must trust, if this source creates it."""

    def prepare(self, now: datetime, in_use: VerifiedLeaf | None, /) -> None:
        """Do what must be done before the files are read; ``in_use`` is the leaf that is served now.

        Raises :class:`certs.verify.UnusablePairError`.
        """

    def readiness_error(self, now: datetime, /) -> str:
        """Return why the pair in use must not be served now; an empty string if it may."""


class CertificateFiles:
    """Files that somebody else creates and renews, such as a mounted Secret."""

    required = True
    ca_file = None

    def __init__(self, certificate: Path, key: Path) -> None:
        self.files = (certificate, key)

    def prepare(self, _now: datetime, _in_use: VerifiedLeaf | None) -> None:
        """Do nothing."""

    def readiness_error(self, _now: datetime) -> str:
        """Return an empty string."""
        return ""


class SharedDirectorySource:
    """The directory in which a keeper writes the pair, and until when it may be served."""

    required = False  # the keeper may write the first pair after the server has started
    ca_file = None

    def __init__(self, directory: SharedDirectory) -> None:
        self._directory = directory
        self.files = (directory.pair_file, directory.pair_file)
        #: The keeper's newest status.
        self.status = KeeperStatus()
        #: The newest status about the pair in use; a newer one may be about a pair that can't be loaded.
        self._status_of_pair_in_use = KeeperStatus()

    def prepare(self, _now: datetime, in_use: VerifiedLeaf | None) -> None:
        """Read the keeper's status."""
        self.status = self._directory.read_status()
        if in_use is not None and in_use.fingerprint == self.status.fingerprint:
            self._status_of_pair_in_use = self.status

    def readiness_error(self, now: datetime) -> str:
        """Return why, by the keeper's status, the pair must not be served now; an empty string if it may."""
        return self._status_of_pair_in_use.readiness_error(now, seconds_since_boot())
