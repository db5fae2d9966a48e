"""The CA and the certificate that ``pillion serve`` creates by default, for use outside a cluster."""

from datetime import datetime
from pathlib import Path

from certs import files
from certs.ca import CA, UnsupportedKeyError, renewal_time
from certs.verify import UnusablePairError, VerifiedLeaf, verify

__all__ = ["LOCAL_HOST_NAMES", "LocalCertificates"]

#: The host names by which clients on this machine may call the server.
LOCAL_HOST_NAMES = ("localhost", "127.0.0.1", "::1")


class LocalCertificates:
    """A directory with a CA and a leaf that it signed, each in one file together with its key.

    One file is replaced atomically: nobody can read the certificate of one pair and the key of another.
    """

    required = True

    def __init__(self, directory: Path, names: tuple[str, ...] = LOCAL_HOST_NAMES) -> None:
        self.directory = directory
        #: The CA's certificate without its key, which clients must trust.
        self.ca_file = directory / "ca.pem"
        self.pair_file = directory / "server.pem"
        self.files = (self.pair_file, self.pair_file)
        self._names = names
        self._ca_with_key = directory / "ca-with-key.pem"

    def readiness_error(self, _now: datetime) -> str:
        """Return an empty string."""
        return ""

    def prepare(self, now: datetime, _in_use: VerifiedLeaf | None = None) -> None:
        """Create the CA and the pair, or replace what is broken, due for renewal, or issued for other names.

        Raises :class:`certs.verify.UnusablePairError` if the directory can't be written, or if the CA's key
        is of a kind that Pillion does not create: such a key is not replaced.
        """
        try:
            self._renew_if_needed(now)
        except OSError as error:
            path = error.filename2 or error.filename or self.directory
            raise UnusablePairError.unreadable(f"{path} can't be written: {error.strerror}") from None

    def _renew_if_needed(self, now: datetime) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = self._read_ca()
        renew_leaf = False
        if ca is None or now >= renewal_time(ca.certificate):
            ca = CA.create(now)
            files.write_atomically(self._ca_with_key, ca.certificate_pem + ca.key_pem)
            renew_leaf = True
        # clients read this copy
        if _read(self.ca_file) != ca.certificate_pem:
            files.write_atomically(self.ca_file, ca.certificate_pem)
        if renew_leaf or not self._has_valid_pair(ca, now):
            pair = ca.issue(self._names, now)
            files.write_atomically(self.pair_file, pair.certificate_pem + pair.key_pem)

    def _read_ca(self) -> CA | None:
        pem = _read(self._ca_with_key)
        try:
            return CA.load(pem, pem)
        except UnsupportedKeyError as error:
            message = f"{self._ca_with_key}: {error}; or delete the file, and a new CA is created"
            raise UnusablePairError.unreadable(message) from None
        except ValueError:
            return None

    def _has_valid_pair(self, ca: CA, now: datetime) -> bool:
        pem = _read(self.pair_file)
        try:
            leaf = verify(pem, pem, now=now, names=self._names, roots_pem=ca.certificate_pem)
        except UnusablePairError:
            return False
        return now < renewal_time(leaf.certificate)


def _read(path: Path) -> bytes:
    """Return a file's bytes; empty if it does not exist."""
    content = files.read(path)
    if isinstance(content, bytes):
        return content
    if path.exists():
        raise UnusablePairError.unreadable(f"{path} can't be read: {content.reason}")
    return b""
