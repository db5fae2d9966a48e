"""``pillion certs`` on files."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.ca import CA
from tests.cli.conftest import Call

NAME = "pillion.pillion-system.svc"
VERIFY = ("certs", "verify", "--cert", "tls.crt", "--key", "tls.key")


@pytest.fixture
def ca(folder: Path) -> CA:
    """Return a CA; its certificate and a pair that it signed lie in the working directory."""
    ca = CA.create(datetime.now(UTC))
    (folder / "ca.crt").write_bytes(ca.certificate_pem)
    write_pair(ca)
    return ca


def write_pair(ca: CA, age: timedelta = timedelta()) -> None:
    """Write a leaf of this age."""
    leaf = ca.issue((NAME,), datetime.now(UTC) - age)
    Path("tls.crt").write_bytes(leaf.certificate_pem)
    Path("tls.key").write_bytes(leaf.key_pem)


@pytest.mark.usefixtures("ca")
def test_show_says_what_files_hold(pillion: Call) -> None:
    """Names, term, who signed it, and which key belongs to which certificate."""
    code, out, err = pillion("certs", "show", "tls.crt", "tls.key", "ca.crt")
    assert (code, err) == (0, "")
    assert f"certificate {NAME}\n" in out
    assert "for 29 days from now" in out
    assert "for 364 days from now" in out
    assert f"private key, EC secp256r1: belongs to {NAME} in tls.crt" in out
    assert "CA certificate CN=Pillion CA" in out


def test_show_says_that_a_certificate_has_ended(pillion: Call, ca: CA) -> None:
    """And how long ago; it is no error to look at one."""
    write_pair(ca, timedelta(days=40))
    code, out, _ = pillion("certs", "show", "tls.crt")
    assert code == 0
    assert "ended 10 days ago" in out
    write_pair(ca, -timedelta(hours=30))
    assert "not yet; in 28 hours" in pillion("certs", "show", "tls.crt").out


@pytest.mark.usefixtures("ca")
def test_show_says_that_a_key_belongs_to_nothing(pillion: Call, folder: Path) -> None:
    """Where its certificate is not among the files."""
    (folder / "other.key").write_bytes(CA.create(datetime.now(UTC)).key_pem)
    assert "belongs to no certificate here" in pillion("certs", "show", "tls.crt", "other.key").out


@pytest.mark.usefixtures("ca")
def test_show_prints_no_secret(pillion: Call, folder: Path) -> None:
    """A terminal's history is no place for a key."""
    for form in ("text", "json"):
        out = pillion("certs", "show", "-o", form, "tls.key").out
        for line in (folder / "tls.key").read_text().splitlines():
            assert line not in out


def test_show_has_a_form_for_programs(pillion: Call, ca: CA) -> None:
    """A list of what was found, with its file."""
    certificate, key = json.loads(pillion("certs", "show", "-o", "json", "tls.crt", "tls.key").out)
    assert certificate["names"] == [NAME]
    assert certificate["issuer"] == ca.certificate.subject.rfc4514_string()
    assert (key["source"], key["belongsTo"]) == ("tls.key", certificate["sha256"])


def test_show_says_what_it_can_not_read(pillion: Call, folder: Path) -> None:
    """A file without PEM is shown as such; the exit code says that something is wrong."""
    (folder / "notes").write_text("hello")
    code, out, _ = pillion("certs", "show", "notes")
    assert code == 1
    assert "it is not PEM" in out


def test_show_commands_no_terminal(pillion: Call, folder: Path) -> None:
    """A certificate's names are its author's text."""
    leaf = CA.create(datetime.now(UTC)).issue(("a\x1b[2J.svc",), datetime.now(UTC))
    (folder / "odd.crt").write_bytes(leaf.certificate_pem)
    assert "\x1b" not in pillion("certs", "show", "odd.crt").out


def test_a_file_that_is_not_there_is_named(pillion: Call) -> None:
    """Usage, not a fault of a certificate."""
    assert pillion("certs", "show", "absent.crt") == (2, "", "pillion: absent.crt: No such file or directory\n")


def test_a_pair_comes_through_standard_input(pillion: Call, ca: CA) -> None:
    """As ``kubectl get secret … | pillion certs show -`` writes it."""
    out = pillion("certs", "show", "-", stdin=ca.certificate_pem.decode()).out
    assert "CA certificate CN=Pillion CA" in out


@pytest.mark.usefixtures("ca")
def test_a_valid_pair_is_valid(pillion: Call) -> None:
    """For these names, until then."""
    code, out, _ = pillion(*VERIFY, "--ca", "ca.crt", "--name", NAME)
    assert code == 0
    assert out.startswith(f"tls.crt: valid for {NAME} until ")
    assert out.endswith("29 days from now\n")


@pytest.mark.usefixtures("ca")
def test_what_was_not_asked_is_said(pillion: Call) -> None:
    """Valid means valid for what was given only."""
    out = pillion(*VERIFY).out
    assert "not asked: what it is called; give --name" in out
    assert "not asked: who signed it; give --ca" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--name", "other.svc"), f"name: the certificate is not for other.svc; its alternative names: {NAME}"),
        (("--at", "2099-01-31"), "time: "),
        (("--ca", "other.crt"), "chain: "),
        (("--key", "other.key"), "key mismatch: the key does not belong to the certificate"),
        (("--cert", "other.key"), "unreadable: the certificate file holds no certificate"),
        (("--cert", "other.crt", "--key", "other.key"), "usage: the certificate's key usage does not include"),
    ],
    ids=["name", "time", "chain", "key", "unreadable", "usage"],
)
@pytest.mark.usefixtures("ca")
def test_everything_that_can_be_wrong_is_said_in_words(
    pillion: Call, folder: Path, options: tuple[str, ...], says: str
) -> None:
    """Which kind, of which certificate; exit code 1."""
    other = CA.create(datetime.now(UTC))
    (folder / "other.crt").write_bytes(other.certificate_pem)
    (folder / "other.key").write_bytes(other.key_pem)
    code, out, err = pillion(*VERIFY, *options)
    assert (code, err) == (1, "")
    assert f": {says}" in out


@pytest.mark.usefixtures("ca")
def test_a_time_that_is_none_is_refused(pillion: Call) -> None:
    """With one that is."""
    code, _, err = pillion(*VERIFY, "--at", "tomorrow")
    assert code == 2
    assert "write 2027-01-31" in err


@pytest.mark.usefixtures("ca")
def test_a_file_that_can_not_be_read_is_named(pillion: Call, folder: Path) -> None:
    """With the system's reason."""
    (folder / "folder").mkdir()
    assert "pillion: folder: Is a directory" in pillion(*VERIFY, "--ca", "folder").err
