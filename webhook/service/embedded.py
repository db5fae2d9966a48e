"""The authority and the certificate that ``pillion serve`` makes for itself outside a cluster."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from certs import files
from certs.authority import Authority, due
from certs.verify import UnusablePairError, verify

__all__ = ["NAMES", "Embedded"]

#: What a client on this machine may call the server.
NAMES = ("localhost", "127.0.0.1", "::1")


class Embedded(NamedTuple):
    """A folder with an authority and a leaf, each certificate in one file with its key.

    One file for both halves is replaced whole: nobody ever reads one pair's certificate and another's key.
    """

    folder: Path
    names: tuple[str, ...] = NAMES

    @property
    def trusted(self) -> Path:
        """Return the file for clients: the authority's certificate alone."""
        return self.folder / "ca.pem"

    @property
    def leaf(self) -> Path:
        """Return the file with the server's certificate and key."""
        return self.folder / "server.pem"

    @property
    def _authority(self) -> Path:
        return self.folder / "authority.pem"

    def renew(self, now: datetime) -> bool:
        """Make what is missing, broken, near its end, or for other names; return whether anything was made.

        Raises OSError where the folder can't be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = self._read_authority()
        made = False
        if authority is None or due(authority.certificate, now):
            authority = Authority.create(now)
            files.replace(self._authority, authority.certificate_pem + authority.key_pem)
            made = True
        # a lost or stale copy misleads every client
        if _read(self.trusted) != authority.certificate_pem:
            files.replace(self.trusted, authority.certificate_pem)
        if made or not self._leaf_is_good(authority, now):
            leaf = authority.issue(self.names, now)
            files.replace(self.leaf, leaf.certificate_pem + leaf.key_pem)
            made = True
        return made

    def _read_authority(self) -> Authority | None:
        pem = _read(self._authority)
        try:
            return Authority.load(pem, pem)
        except ValueError:
            return None

    def _leaf_is_good(self, authority: Authority, now: datetime) -> bool:
        pem = _read(self.leaf)
        try:
            pair = verify(pem, pem, now=now, names=self.names, roots_pem=authority.certificate_pem)
        except UnusablePairError:
            return False
        return not due(pair.leaf, now)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
