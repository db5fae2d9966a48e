"""Every command of the runbooks that searches a log, on a log that a real server or keeper wrote.

A stand-in for kubectl prints the log of the container that ``-c`` names. tests/cluster/test_runbooks.py runs the same
commands with the real one.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from certs.api import ApiServer, StatusError
from certs.ca import CA
from certs.keeper import Keeper
from certs.logs import Log, LogFormat
from certs.rotation import RotationSettings
from certs.shared_directory import SharedDirectory
from certs.store import ObjectNames
from tests.pages import run
from tests.service.serving import Running, eventually, make_review, write_pair
from webhook.injection import admission

KUBECTL = """\
#!/bin/sh
[ "$1" = logs ] || exit 0
while [ $# -gt 0 ]; do
  case $1 in
    -c) container=$2 ;;
    --prefix) prefix="[pod/pillion-5d8c/$container] " ;;
  esac
  shift
done
sed "s|^|$prefix|" "$LOGS/$container"
"""


@pytest.fixture
def search(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what runs a command; the logs are ``webhook`` and ``certificates`` in the test's folder."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL)
    (programs / "kubectl").chmod(0o755)

    def searched(place: str) -> list[str]:
        return run(place, programs, tmp_path, {"LOGS": str(tmp_path)}).splitlines()

    return searched


@pytest.fixture
def server(serve: Callable[..., Running], tmp_path: Path) -> Running:
    """Return a server with a configuration file that has answered a review."""
    (tmp_path / "pillion.yaml").write_text("strict: false\n")
    running = serve(config=tmp_path / "pillion.yaml")
    review(running)
    return running


def review(server: Running, query: str = "", **metadata: Any) -> None:
    """Send a pod."""
    pod = {"metadata": {"name": "shop", **metadata}, "spec": {"containers": [{"name": "app"}]}}
    assert server.post(json.dumps(make_review(pod)).encode(), f"/mutate{query}").status_code == 200


def written(server: Running, tmp_path: Path) -> int:
    """Save the server's log as kubectl would print it; return the number of its lines."""
    lines = server.log()
    (tmp_path / "webhook").write_text((tmp_path / "log").read_text())
    return len(lines)


def events(lines: list[str]) -> list[str]:
    """Return the events of log lines."""
    return [json.loads(line[line.index("{") :])["event"] for line in lines]


def test_the_review_of_a_dry_run(server: Running, search: Callable[[str], list[str]], tmp_path: Path) -> None:
    """The line has the reason, and no other pod's line is found."""
    review(server, name="probe")
    assert written(server, tmp_path) > 1
    (line,) = search("runbooks.md#a-pod-has-no-sidecar 2")
    assert json.loads(line)["reason"] == "not_requested"


@pytest.mark.parametrize("place", ["runbooks.md#pillioncertificateends 5", "runbooks.md#pillioncertificaterejected 1"])
def test_a_certificate_that_is_rejected_and_one_that_is_not(
    server: Running, search: Callable[[str], list[str]], tmp_path: Path, ca: CA, place: str
) -> None:
    """The last line says which it is."""
    (tmp_path / "tls.key").write_text("junk")
    eventually(lambda: server.sample("pillion_certificate_last_reload_successful") == 0)
    write_pair(tmp_path, ca)
    eventually(lambda: server.sample("pillion_certificate_last_reload_successful") == 1)
    assert written(server, tmp_path) > 2
    found = search(place)
    # files that are replaced one after the other may be rejected in between
    assert found[-1].startswith("[pod/")
    assert (events(found)[0], events(found)[-1]) == ("certificate reload failed", "certificate reloaded")
    assert set(events(found)) == {"certificate reload failed", "certificate reloaded"}
    assert "tls.key" in found[0]
    assert '"not_after":' in found[-1]


def test_a_configuration_that_is_rejected_and_one_that_is_not(
    server: Running, search: Callable[[str], list[str]], tmp_path: Path
) -> None:
    """As a certificate; each problem has its path."""
    (tmp_path / "pillion.yaml").write_text("strict: maybe\n")
    eventually(lambda: server.sample("pillion_configuration_last_reload_successful") == 0)
    (tmp_path / "pillion.yaml").write_text("strict: true\n")
    eventually(lambda: server.sample("pillion_configuration_last_reload_successful") == 1)
    assert written(server, tmp_path) > 2
    found = search("runbooks.md#pillionconfigurationrejected 1")
    assert events(found) == ["configuration reload failed", "configuration reloaded"]
    assert ":1:1: strict" in found[0]


def test_a_review_past_its_deadline(server: Running, search: Callable[[str], list[str]], tmp_path: Path) -> None:
    """The line names the pod."""
    review(server, "?timeout=1ns", name="late")
    assert written(server, tmp_path) > 1
    (line,) = search("runbooks.md#pillionoverloaded 1")
    assert json.loads(line)["pod"] == "late"


def test_a_pod_that_is_declined(server: Running, search: Callable[[str], list[str]], tmp_path: Path) -> None:
    """With its warning."""
    review(server, name="wrong", annotations={"pillion.dev/inject": "maybe"})
    assert written(server, tmp_path) > 1
    (line,) = search("runbooks.md#pillionpodsdeclined 1")
    assert json.loads(line)["pod"] == "wrong"
    assert "pillion.dev/inject" in json.loads(line)["warnings"]


def test_a_server_that_is_not_ready(server: Running, search: Callable[[str], list[str]], tmp_path: Path) -> None:
    """With the reason."""
    eventually(lambda: any(line["event"] == "ready" for line in server.log()))
    server.server.state.certificate_not_after = None
    eventually(lambda: any(line["event"] == "not ready" for line in server.log()))
    assert written(server, tmp_path) > 2
    found = search("runbooks.md#pillionserversmissing 1")
    assert events(found) == ["ready", "not ready"]
    assert "no certificate yet" in found[-1]


def test_a_request_that_was_refused(server: Running, search: Callable[[str], list[str]], tmp_path: Path) -> None:
    """With its status."""
    size = server.server.settings.max_body_size + 1
    assert server.post(b" " * size).status_code == 413
    assert written(server, tmp_path) > 1
    (line,) = search("runbooks.md#pillionlimitreached 1")
    assert '"status":413' in line


def test_a_bug(
    server: Running, search: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a review, and in a reload."""

    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(admission, "admit", broken)
    review(server)
    assert written(server, tmp_path) > 2
    (line,) = search("runbooks.md#pillionbug 1")
    assert events([line]) == ["unexpected exception"]
    assert "ZeroDivisionError" in line
    assert '"uid":' in line


class TestKeeper:
    """The container ``certificates``."""

    @contextmanager
    def keeper(self, tmp_path: Path, folder: Path) -> Iterator[Keeper]:
        """Yield a keeper that reaches no API server; its log is written when this ends."""
        descriptor = os.open(tmp_path / "certificates", os.O_WRONLY | os.O_CREAT)
        with Log(descriptor, LogFormat.JSON) as log:
            log.info("leaf written", fingerprint="0" * 64)
            objects = ObjectNames("pillion-system", "pair", "lease", ("mutatingwebhookconfigurations/x",))
            settings, shared = RotationSettings(("pillion.pillion-system.svc",)), SharedDirectory(folder)
            yield Keeper(ApiServer("127.0.0.1", 9), objects, settings, shared, identity="one", log=log)
        os.close(descriptor)

    def test_a_failure(self, search: Callable[[str], list[str]], tmp_path: Path) -> None:
        """The line has its kind, by both commands."""
        with self.keeper(tmp_path, tmp_path) as keeper:
            keeper.reconcile()
        for place in ("runbooks.md#pillioncertificateends 1", "runbooks.md#pillioncertificatesunattended 1"):
            (line,) = search(place)
            assert events([line]) == ["reconcile failed"]
            assert '"kind":"unreachable"' in line

    def test_a_folder_that_is_missing_and_a_conflict(self, search: Callable[[str], list[str]], tmp_path: Path) -> None:
        """They are other events, which only the command of the alert finds."""
        with self.keeper(tmp_path, tmp_path / "missing") as keeper:
            keeper._record_failure(StatusError(409, "somebody was faster", datetime.now(UTC)))
        found = search("runbooks.md#pillioncertificatesunattended 1")
        assert events(found) == ["conflict", "status not written"]
