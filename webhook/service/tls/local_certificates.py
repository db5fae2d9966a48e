"""The CA and the certificate that ``pillion serve`` makes for itself outside a cluster."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from certs import files
from certs.ca import CA, UnsupportedKeyError, is_due_for_renewal
from certs.verify import Fault, FaultKind, UnusablePairError, verify

__all__ = ["NAMES", "LocalCertificates"]

#: What a client on this machine may call the server.
NAMES = ("localhost", "127.0.0.1", "::1")


class LocalCertificates(NamedTuple):
    """A folder with a CA and a leaf, each certificate in one file with its key.

    One file for both halves is replaced whole: nobody ever reads one pair's certificate and another's key.
    """

    folder: Path
    names: tuple[str, ...] = NAMES

    @property
    def ca_file(self) -> Path:
        """Return the file for clients: the CA's certificate alone."""
        return self.folder / "ca.pem"

    @property
    def pair_file(self) -> Path:
        """Return the file with the server's certificate and key."""
        return self.folder / "server.pem"

    @property
    def _ca_with_key(self) -> Path:
        return self.folder / "ca-with-key.pem"

    def renew_if_needed(self, now: datetime) -> bool:
        """Make what is missing, broken, near its end, or for other names; return whether anything was made.

        Raises OSError where the folder can't be written, :class:`certs.verify.UnusablePairError` where it holds what
        somebody else put there: that is not replaced.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = self._read_ca()
        made = False
        if ca is None or is_due_for_renewal(ca.certificate, now):
            ca = CA.create(now)
            files.replace(self._ca_with_key, ca.certificate_pem + ca.key_pem)
            made = True
        # a lost or stale copy misleads every client
        if _read(self.ca_file) != ca.certificate_pem:
            files.replace(self.ca_file, ca.certificate_pem)
        if made or not self._leaf_is_good(ca, now):
            leaf = ca.issue(self.names, now)
            files.replace(self.pair_file, leaf.certificate_pem + leaf.key_pem)
            made = True
        return made

    def _read_ca(self) -> CA | None:
        pem = _read(self._ca_with_key)
        try:
            return CA.load(pem, pem)
        except UnsupportedKeyError as error:
            raise _unusable(f"{self._ca_with_key}: {error}; or remove the file, and another one is made") from None
        except ValueError:
            return None

    def _leaf_is_good(self, ca: CA, now: datetime) -> bool:
        pem = _read(self.pair_file)
        try:
            pair = verify(pem, pem, now=now, names=self.names, roots_pem=ca.certificate_pem)
        except UnusablePairError:
            return False
        return not is_due_for_renewal(pair.leaf, now)


def _read(path: Path) -> bytes:
    """Return a file's bytes, nothing where there is no file."""
    content = files.read(path)
    if isinstance(content, bytes):
        return content
    if path.exists():
        raise _unusable(f"{path} can't be read: {content.reason}")
    return b""


def _unusable(sentence: str) -> UnusablePairError:
    return UnusablePairError([Fault(FaultKind.UNREADABLE, sentence)])
