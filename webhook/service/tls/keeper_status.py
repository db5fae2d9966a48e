"""The notices of a certificate keeper: whether the pair in its folder may still be served."""

from datetime import datetime

from certs.shared_folder import KeeperStatus, SharedFolder, seconds_since_boot
from webhook.service.tls.context import ReloadingContext

__all__ = ["KeeperStatusReader"]


class KeeperStatusReader:
    """Reads a keeper's notices while the server runs."""

    def __init__(self, folder: SharedFolder, context: ReloadingContext) -> None:
        self._folder = folder
        self._context = context
        self._newest = KeeperStatus()
        self._status_of_current = KeeperStatus()
        """The newest about the pair in force: the keeper may have written another pair, which could not be loaded."""

    @property
    def status(self) -> KeeperStatus:
        """Return the newest notice."""
        return self._newest

    async def poll(self) -> None:
        """Read the keeper's notice."""
        self._newest = self._folder.read_status()
        identity = self._context.identity
        if identity is not None and identity.pair.fingerprint == self._newest.certificate:
            self._status_of_current = self._newest

    def readiness_error(self, now: datetime) -> str:
        """Return why the certificate must not be served now; an empty string where it may be."""
        if self._context.identity is None:
            return "no certificate yet"
        return self._status_of_current.readiness_error(now, seconds_since_boot())
