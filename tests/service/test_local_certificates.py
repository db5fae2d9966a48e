"""The certificate of the server's own making."""

import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.ca import CA_LIFETIME, LEAF_LIFETIME
from certs.verify import UnusablePairError, verify
from tests.service.serving import Running, eventually
from webhook.service.tls.local_certificates import LOCAL_HOST_NAMES, LocalCertificates

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)


def test_what_is_missing_is_made(tmp_path: Path) -> None:
    """A CA, what clients trust of it, and a pair that is good for this machine's names."""
    certificates = LocalCertificates(tmp_path / "a" / "b")
    certificates.prepare(NOW)
    pem = certificates.pair_file.read_bytes()
    verify(pem, pem, now=NOW, names=LOCAL_HOST_NAMES, roots_pem=certificates.ca_file.read_bytes())
    assert b"PRIVATE" not in certificates.ca_file.read_bytes()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """Keys lie in them; nothing temporary stays behind."""
    certificates = LocalCertificates(tmp_path / "state")
    certificates.prepare(NOW)
    assert stat.S_IMODE(certificates.directory.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in certificates.directory.iterdir()} == {
        "ca-with-key.pem": 0o600,
        "ca.pem": 0o600,
        "server.pem": 0o600,
    }


def test_what_is_good_stays(tmp_path: Path) -> None:
    """A second start trusts what the first one made."""
    certificates = LocalCertificates(tmp_path)
    certificates.prepare(NOW)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    certificates.prepare(NOW + timedelta(days=1))
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_leaf_near_its_end_is_renewed(tmp_path: Path) -> None:
    """Clients that trust the CA notice nothing."""
    certificates = LocalCertificates(tmp_path)
    certificates.prepare(NOW)
    trusted, leaf = certificates.ca_file.read_bytes(), certificates.pair_file.read_bytes()
    later = NOW + LEAF_LIFETIME * 0.7
    certificates.prepare(later)
    assert certificates.ca_file.read_bytes() == trusted
    assert certificates.pair_file.read_bytes() != leaf
    verify(certificates.pair_file.read_bytes(), certificates.pair_file.read_bytes(), now=later + LEAF_LIFETIME * 0.9)


def test_a_ca_near_its_end_is_renewed_with_its_leaf(tmp_path: Path) -> None:
    """A leaf of the old CA would be trusted by nobody."""
    certificates = LocalCertificates(tmp_path)
    certificates.prepare(NOW)
    trusted = certificates.ca_file.read_bytes()
    later = NOW + CA_LIFETIME * 0.7
    certificates.prepare(later)
    assert certificates.ca_file.read_bytes() != trusted
    pem = certificates.pair_file.read_bytes()
    verify(pem, pem, now=later, names=LOCAL_HOST_NAMES, roots_pem=certificates.ca_file.read_bytes())


@pytest.mark.parametrize("name", ["ca-with-key.pem", "ca.pem", "server.pem"])
@pytest.mark.parametrize("content", [b"", b"hello", None], ids=["empty", "text", "gone"])
def test_what_is_broken_is_made_again(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Whatever happened to the folder, after a start it is whole."""
    certificates = LocalCertificates(tmp_path)
    certificates.prepare(NOW)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    certificates.prepare(NOW)
    pem = certificates.pair_file.read_bytes()
    verify(pem, pem, now=NOW, names=LOCAL_HOST_NAMES, roots_pem=certificates.ca_file.read_bytes())


def test_another_name_makes_another_leaf(tmp_path: Path) -> None:
    """The address to listen on may have changed since."""
    LocalCertificates(tmp_path).prepare(NOW)
    other = LocalCertificates(tmp_path, (*LOCAL_HOST_NAMES, "10.0.0.1"))
    other.prepare(NOW)
    verify(other.pair_file.read_bytes(), other.pair_file.read_bytes(), now=NOW, names=("10.0.0.1",))


def test_a_running_server_renews_its_own(serve: Callable[..., Running], tmp_path: Path) -> None:
    """It may run for longer than a leaf lives: what is due, or gone, is made again and shown."""
    server = serve(tls_cert=None, tls_key=None, state_directory=tmp_path / "state")
    certificates = LocalCertificates(tmp_path / "state")
    before = certificates.pair_file.read_bytes()
    certificates.pair_file.unlink()
    eventually(lambda: server.sample("pillion_certificate_reloads_total", result="success") == 1)
    assert certificates.pair_file.read_bytes() != before
    trust = ssl.create_default_context(cafile=certificates.ca_file)
    with server.client(verify=trust) as client:
        assert client.get("/mutate").status_code == 405


def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    """The caller says what to do about it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UnusablePairError, match="file can't be written: "):
        LocalCertificates(tmp_path / "file").prepare(NOW)
