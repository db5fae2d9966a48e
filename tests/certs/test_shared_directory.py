"""The folder between a keeper and its server."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs.ca import CA
from certs.shared_directory import KeeperStatus, SharedDirectory, seconds_since_boot
from certs.verify import verify

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
BEGINS, ENDS = NOW.timestamp() - 100, NOW.timestamp() + 100


def status(
    serve_from: float = BEGINS, serve_until: float = ENDS, fresh_until_boot_seconds: float = 1000.0
) -> KeeperStatus:
    """Return a status about some pair."""
    return KeeperStatus("ab", serve_from, serve_until, fresh_until_boot_seconds)


@pytest.mark.parametrize(
    ("said", "at", "readiness_error"),
    [
        (status(), 999.0, ""),
        (status(), 1001.0, "has not read the Secret for too long"),
        (
            status(serve_from=NOW.timestamp() + 1),
            0.0,
            "may be served from 2026-05-17T12:30:01Z to 2026-05-17T12:31:40Z",
        ),
        (status(serve_until=NOW.timestamp() - 1), 0.0, "to 2026-05-17T12:29:59Z only"),
        (KeeperStatus(), 1.0, "has not read the Secret yet"),
    ],
)
def test_a_pair_may_be_shown_while_it_is_known_to_be_trusted(
    said: KeeperStatus, at: float, readiness_error: str
) -> None:
    """Within the times that the keeper named, and as long as it looks."""
    found = said.readiness_error(NOW, at)
    assert readiness_error in found
    assert bool(found) == bool(readiness_error)


def test_a_pair_is_left_whole_and_for_one_user(tmp_path: Path) -> None:
    """Certificate and key are one file that nobody else reads."""
    ca = CA.create(NOW)
    leaf = ca.issue(("x",), NOW)
    folder = SharedDirectory(tmp_path)
    folder.write_pair(b"old", b"")
    folder.write_pair(leaf.certificate_pem, leaf.key_pem)
    pem = folder.pair_file.read_bytes()
    verify(pem, pem, now=NOW, names=("x",), roots_pem=ca.certificate_pem)
    assert folder.pair_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["pair.pem"]


def test_a_notice_is_read_as_it_was_said(tmp_path: Path) -> None:
    """Counters, too."""
    said = KeeperStatus(
        "ab", BEGINS, ENDS, 5.0, 7.0, may_rotate=True, steps={"write_secret": 2}, failures={"error_response": 1}
    )
    SharedDirectory(tmp_path).write_status(said)
    assert SharedDirectory(tmp_path).read_status() == said


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", json.dumps({"stranger": 1})])
def test_without_a_notice_nothing_may_be_shown(tmp_path: Path, text: str | None) -> None:
    """Whatever is in its place."""
    if text is not None:
        (tmp_path / "keeper-status.json").write_text(text)
    assert SharedDirectory(tmp_path).read_status().readiness_error(NOW, seconds_since_boot())


def test_all_processes_share_the_instant() -> None:
    """It is the machine's, and does not go back."""
    assert 0 < seconds_since_boot() <= seconds_since_boot()
