"""Reads a keeper's status, which says until when the server may serve its certificate."""

from datetime import datetime

from certs.shared_folder import KeeperStatus, SharedFolder, seconds_since_boot
from webhook.service.tls.context import ReloadingContext

__all__ = ["KeeperStatusReader"]


class KeeperStatusReader:
    """Polls a keeper's status."""

    def __init__(self, folder: SharedFolder, context: ReloadingContext) -> None:
        self._folder = folder
        self._context = context
        self._newest = KeeperStatus()
        self._status_of_current = KeeperStatus()
        """The newest status about the certificate in use; a newer one may be about a pair that can't be loaded."""

    @property
    def status(self) -> KeeperStatus:
        """Return the newest status."""
        return self._newest

    async def poll(self) -> None:
        """Read the keeper's status."""
        self._newest = self._folder.read_status()
        certificate = self._context.certificate
        if certificate is not None and certificate.pair.fingerprint == self._newest.certificate:
            self._status_of_current = self._newest

    def readiness_error(self, now: datetime) -> str:
        """Return why the certificate must not be served now; an empty string if it may."""
        if self._context.certificate is None:
            return "no certificate yet"
        return self._status_of_current.readiness_error(now, seconds_since_boot())
