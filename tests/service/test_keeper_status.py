"""A server whose pair a keeper writes: it is ready exactly while it may serve that."""

import math
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.ca import BACKDATING, CA, LeafPair
from certs.shared_directory import KeeperStatus, SharedDirectory, seconds_since_boot
from certs.verify import verify
from tests.service.serving import Running, eventually
from webhook.errors import SettingsError
from webhook.service.settings import Settings

NAMES = ("localhost", "127.0.0.1")
GOOD = KeeperStatus(
    "",
    serve_from=0.0,
    serve_until=2.0**33,
    fresh_until_boot_seconds=2.0**33,
    last_success=12.5,
    steps={"write_secret": 3},
    failures={"error_response": 2},
)


@pytest.fixture
def folder(tmp_path: Path) -> SharedDirectory:
    """Return a folder."""
    (tmp_path / "kept").mkdir()
    return SharedDirectory(tmp_path / "kept")


@pytest.fixture
def kept(serve: Callable[..., Running], folder: SharedDirectory) -> Callable[..., Running]:
    """Return what starts a server that takes its pair from the folder."""
    return lambda **settings: serve(tls_cert=None, tls_key=None, shared_directory=folder.path, **settings)


def leave(folder: SharedDirectory, ca: CA, **said: Any) -> LeafPair:
    """Write a pair and a status about it, as a keeper does."""
    leaf = ca.issue(NAMES, datetime.now(UTC))
    pem = leaf.certificate_pem + leaf.key_pem
    pair = verify(pem, pem, now=datetime.now(UTC))
    folder.write_pair(leaf.certificate_pem, leaf.key_pem)
    folder.write_status(replace(GOOD, fingerprint=pair.fingerprint, **said))
    return leaf


def readiness(server: Running) -> str:
    """Return what the readiness probe is told."""
    return server.get("/readyz").text.strip()


def test_it_waits_for_its_first_pair(kept: Callable[..., Running], folder: SharedDirectory, ca: CA) -> None:
    """It answers probes, refuses handshakes, says what it lacks; then it is ready without a restart."""
    server = kept()
    assert readiness(server).startswith("no certificate yet: ")
    assert server.get("/livez").status_code == 200
    with pytest.raises(ssl.SSLError):
        server.connect()
    # an alert on this metric must not take it for one that expired long ago
    assert math.isnan(server.sample("pillion_certificate_not_after_timestamp_seconds"))
    assert server.metrics.registry.get_sample_value("pillion_keeper_last_success_timestamp_seconds") is None
    leave(folder, ca)
    eventually(lambda: readiness(server) == "ok")
    assert server.sample("pillion_certificate_not_after_timestamp_seconds") > 0
    server.connect().close()


def test_a_pair_that_is_there_is_shown_from_the_start(
    kept: Callable[..., Running], folder: SharedDirectory, ca: CA
) -> None:
    """As after a restart of the server alone."""
    leaf = leave(folder, ca)
    server = kept()
    assert server.server.state.certificate_not_after == leaf.certificate.not_valid_after_utc
    eventually(lambda: readiness(server) == "ok")


def test_a_pair_that_becomes_valid_is_taken_without_a_change(
    kept: Callable[..., Running], folder: SharedDirectory, ca: CA
) -> None:
    """While there is none, each look tries."""
    leaf = ca.issue(NAMES, datetime.now(UTC) + BACKDATING + timedelta(seconds=2))
    folder.write_pair(leaf.certificate_pem, leaf.key_pem)
    server = kept()
    assert readiness(server).startswith("no certificate yet: ")
    eventually(lambda: not readiness(server).startswith("no certificate yet: "))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"fresh_until_boot_seconds": 0.0}, "has not read the Secret yet"),
        ({"fresh_until_boot_seconds": 1.0}, "has not read the Secret for too long"),
        ({"serve_until": 1.0}, "may be served from"),
        ({"serve_from": 2.0**32}, "may be served from"),
    ],
)
def test_it_is_ready_only_within_what_the_keeper_says(
    kept: Callable[..., Running], folder: SharedDirectory, ca: CA, said: dict[str, float], why: str
) -> None:
    """And ready again with the next good status."""
    leave(folder, ca)
    server = kept()
    eventually(lambda: readiness(server) == "ok")
    leave(folder, ca, **said)
    eventually(lambda: why in readiness(server))
    leave(folder, ca)
    eventually(lambda: readiness(server) == "ok")


def test_a_status_about_a_pair_that_was_refused_does_not_count(
    kept: Callable[..., Running], folder: SharedDirectory, ca: CA
) -> None:
    """The server shows the former one, which others may have stopped to trust: its time runs out."""
    leave(folder, ca, fresh_until_boot_seconds=seconds_since_boot() + 2)
    server = kept(tls_names=NAMES)
    eventually(lambda: readiness(server) == "ok")
    stranger = ca.issue(("elsewhere",), datetime.now(UTC))
    folder.write_pair(stranger.certificate_pem, stranger.key_pem)
    folder.write_status(replace(GOOD, fingerprint="of another"))
    eventually(lambda: "has not read the Secret for too long" in readiness(server))
    assert server.sample("pillion_certificate_reloads_total", result="failure") == 1


def test_the_keepers_counters_are_metrics(kept: Callable[..., Running], folder: SharedDirectory, ca: CA) -> None:
    """It has no port of its own; kinds that did not happen are zero."""
    leave(folder, ca, may_rotate=True)
    server = kept()
    eventually(lambda: server.sample("pillion_keeper_last_success_timestamp_seconds") == 12.5)
    assert server.sample("pillion_keeper_steps_total", kind="write_secret") == 3
    assert server.sample("pillion_keeper_failures_total", kind="error_response") == 2
    assert (
        server.metrics.registry.get_sample_value("pillion_keeper_failures_total", {"kind": "unexpected_exception"}) == 0
    )
    assert server.sample("pillion_keeper_may_rotate") == 1


def test_without_a_keeper_there_is_no_series_of_it(server: Running) -> None:
    """Nobody is alerted about a time that never was."""
    assert server.metrics.registry.get_sample_value("pillion_keeper_last_success_timestamp_seconds") is None


def test_two_certificates_are_one_too_many() -> None:
    """The error names both options."""
    with pytest.raises(SettingsError, match="--tls-cert and --shared-directory are mutually exclusive"):
        Settings.read({"tls_cert": "a", "tls_key": "b", "shared_directory": "c"}, {"HOME": "/home/x"})
