"""A pair that a keeper leaves in a folder: whether it may still be shown, by what the keeper says."""

from datetime import datetime

from certs import delivery
from certs.delivery import Folder, Notice
from webhook.service.tls import Front

__all__ = ["Kept"]


class Kept:
    """Reads a keeper's notices while the server runs."""

    def __init__(self, folder: Folder, front: Front) -> None:
        self._folder = folder
        self._front = front
        self._newest = Notice()
        self._of_pair = Notice()
        """The newest that was about the pair in force: the keeper may have left another, which we refused."""

    @property
    def notice(self) -> Notice:
        """Return what the keeper said last."""
        return self._newest

    async def look(self) -> None:
        """Read what the keeper says."""
        self._newest = self._folder.notice()
        identity = self._front.identity
        if identity is not None and identity.pair.fingerprint == self._newest.certificate:
            self._of_pair = self._newest

    def objection(self, now: datetime) -> str:
        """Return why no requests should be sent here, or nothing."""
        if self._front.identity is None:
            return "no certificate yet"
        return self._of_pair.objection(now, delivery.instant())
