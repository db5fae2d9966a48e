"""Files that change while the server runs."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prometheus_client import CollectorRegistry

from certs.ca import CA
from certs.logs import Log, LogFormat
from tests.certs.recording import RecordingLog
from tests.injection.reviews import CONFIGURATION
from tests.service.serving import ANY_PORT, Running, eventually, make_review, write_pair
from webhook import configuration
from webhook.errors import StartError
from webhook.service.metrics import Metrics
from webhook.service.reloading import PolledFiles, put_in_force, run_forever
from webhook.service.server import build
from webhook.service.settings import Settings
from webhook.service.state import LiveState
from webhook.service.tls import context as tls

BAD = {"metadata": {"annotations": {"pillion.dev/inject": "maybe"}}, "spec": {"containers": [{"name": "app"}]}}
BODY = json.dumps(make_review(BAD)).encode()


def denies(server: Running) -> bool:
    """Return whether a pod with a bad annotation is denied: whether ``strict`` is in force."""
    return server.post(BODY).json()["response"]["allowed"] is False


def test_a_poll_sees_what_changed_and_only_that(tmp_path: Path) -> None:
    """Content counts: not the time, not the inode."""
    file = tmp_path / "file"
    file.write_text("a")
    polled = PolledFiles(file)
    assert polled.reload()
    assert not polled.reload()
    assert polled.content == {file: b"a"}
    file.write_text("a")
    assert not polled.reload()
    file.write_text("b")
    assert polled.reload()
    assert not polled.reload()
    file.unlink()
    assert polled.reload()
    assert not polled.reload()


def test_a_swapped_symlink_is_seen(tmp_path: Path) -> None:
    """As the kubelet replaces a mounted ConfigMap."""
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "file").symlink_to("..data/file")
    polled = PolledFiles(tmp_path / "file")
    polled.reload()
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert polled.reload()


def test_a_good_configuration_is_taken_over(serve: Callable[..., Running], tmp_path: Path) -> None:
    """Without a restart; metric and log have the revision that pods get from then on, and no other."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    server = serve(config=file)
    before = server.revision("tail")
    assert not denies(server)
    file.write_text("strict: true\nprofiles: {tail: {order: last}}\n")
    eventually(lambda: denies(server))
    review = json.loads(server.post(json.dumps(make_review()).encode()).content)["response"]
    profile, _, after = review["auditAnnotations"]["profile"].partition("@")
    assert (profile, after != before) == ("tail", True)
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="success") == 1)
    revisions = [
        sample.labels["revision"]
        for family in server.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "pillion_profile_info" and sample.labels["profile"] == "tail"
    ]
    assert revisions == [after]
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "configuration reloaded"])
    assert f"tail@{after}" in line["profiles"]


def test_a_bad_configuration_keeps_the_old_one(serve: Callable[..., Running], tmp_path: Path) -> None:
    """All of it; every problem is logged with its line; mending the file is enough."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    server = serve(config=file)
    file.write_text("strict: maybe\nnonsense: 1\n")
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="failure") == 1)
    assert server.sample("pillion_configuration_last_reload_successful") == 0
    assert denies(server)
    assert server.get("/readyz").status_code == 200
    kept = [line["message"] for line in server.log() if line["event"] == "configuration reload failed"]
    assert any(":1:1: " in message and "strict" in message for message in kept)
    assert any(":2:1: " in message and "nonsense" in message for message in kept)
    file.write_text("strict: false\n")
    eventually(lambda: not denies(server))
    assert server.sample("pillion_configuration_last_reload_successful") == 1


@pytest.mark.parametrize("kind", [ZeroDivisionError, RecursionError, MemoryError, OSError, TypeError])
def test_any_exception_is_a_failed_reload(
    serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """The metric that the alert looks at says so, the old configuration stays, one line has the traceback."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    server = serve(config=file)

    def broken(*_: object, **__: object) -> NoReturn:
        raise kind("hunter2\nhunter3")

    with monkeypatch.context() as patch:
        patch.setattr(configuration, "parse", broken)
        file.write_text("strict: false\n")
        eventually(lambda: server.sample("pillion_configuration_reloads_total", result="failure") == 1)
        assert server.sample("pillion_configuration_last_reload_successful") == 0
        assert server.sample("pillion_unexpected_exceptions_total", where="poll") == 1
        assert denies(server)
        (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "configuration reload failed"])
        assert line["exception"] == kind.__name__
        assert "test_reloading.py" in line["trace"]
        assert "hunter" not in server.log_file.read_text()
    file.write_text("strict: false # again\n")
    eventually(lambda: not denies(server))
    assert server.sample("pillion_configuration_last_reload_successful") == 1


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError, ValueError])
def test_any_exception_is_a_failed_reload_of_the_certificate(
    serve: Callable[..., Running],
    ca: CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
) -> None:
    """As above; it is tried again at each look, and said once."""
    server = serve()
    before = server.server.state.certificate_not_after
    tries: list[object] = []

    def broken(*_: object, **__: object) -> NoReturn:
        tries.append(...)
        raise kind("hunter2")

    with monkeypatch.context() as patch:
        patch.setattr(tls, "load_serving_certificate", broken)
        (tmp_path / "tls.key").write_bytes(b"")
        eventually(lambda: len(tries) > 3)
        assert server.sample("pillion_certificate_reloads_total", result="failure") == 1
        assert server.sample("pillion_certificate_last_reload_successful") == 0
        assert server.sample("pillion_unexpected_exceptions_total", where="poll") == 1
        assert server.server.state.certificate_not_after == before
        (line,) = [line for line in server.log() if line["event"] == "certificate reload failed"]
        assert line["exception"] == kind.__name__
        assert "hunter" not in server.log_file.read_text()
    write_pair(tmp_path, ca)
    eventually(lambda: server.sample("pillion_certificate_last_reload_successful") == 1)


def test_what_a_profile_needs_is_logged_when_it_is_put_in_force() -> None:
    """One line for each thing: the operator reads it where the configuration is applied."""
    log = RecordingLog()
    chosen = replace(CONFIGURATION, log_messages=("profile mine: needs a Secret",))
    put_in_force(chosen, LiveState(), Metrics(CollectorRegistry()), log)
    assert log.events == [("info", "configuration note", {"message": "profile mine: needs a Secret"})]


def test_a_bug_does_not_end_the_polling(tmp_path: Path) -> None:
    """It is counted and logged, and every task runs again."""
    metrics = Metrics(CollectorRegistry())
    ran: list[str] = []

    class Broken:
        async def run(self) -> NoReturn:
            ran.append("broken")
            raise ZeroDivisionError

    class Last:
        async def run(self) -> None:
            ran.append("last")
            if ran.count("last") == 2:
                raise asyncio.CancelledError

    with (
        (tmp_path / "log").open("wb") as file,
        Log(file.fileno(), LogFormat.JSON) as log,
        pytest.raises(asyncio.CancelledError),
    ):
        asyncio.run(run_forever(0, log, metrics, Broken(), Last()))
    assert ran == ["broken", "last"] * 2
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["exception"] for line in lines] == ["ZeroDivisionError"] * 2
    assert metrics.registry.get_sample_value("pillion_unexpected_exceptions_total", {"where": "poll"}) == 2


def test_an_exception_at_the_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it came up, so that somebody can report it; nothing that it may quote."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(configuration, "load", broken)
    settings = Settings(listen=ANY_PORT, health_listen=ANY_PORT, state_directory=tmp_path)
    with pytest.raises(
        StartError, match=r"^can't start, because of a bug in Pillion: ZeroDivisionError at .*\.py:\d+$"
    ):
        build(settings, Metrics(CollectorRegistry()), Log(1, LogFormat.JSON))


def test_a_configuration_that_changes_while_the_server_starts_is_taken_over(
    serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared is what was loaded, not what lay there when the watch began."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    parse = configuration.parse

    def parse_then_change(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(configuration, "parse", parse)
        result = parse(*arguments, **options)
        file.write_text("strict: true\n")
        return result

    monkeypatch.setattr(configuration, "parse", parse_then_change)
    server = serve(config=file)
    eventually(lambda: denies(server))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_certificate_that_changes_while_the_server_starts_is_taken_over(
    serve: Callable[..., Running],
    ca: CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Also where the client's CAs change, which no handshake in memory would notice."""
    load, changed = tls.load_serving_certificate, CA.create(datetime.now(UTC)).certificate_pem
    clients = tmp_path / "clients.pem"
    clients.write_bytes(ca.certificate_pem)

    def load_and_change(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(tls, "load_serving_certificate", load)
        if moment == "before":
            clients.write_bytes(changed)
        result = load(*arguments, **options)
        if moment == "after":
            write_pair(tmp_path, ca)
        return result

    monkeypatch.setattr(tls, "load_serving_certificate", load_and_change)
    server = serve(client_ca=clients)
    eventually(lambda: server.sample("pillion_certificate_reloads_total", result="success") == 1)
    assert server.sample("pillion_certificate_reloads_total", result="failure") == 0


def test_a_configuration_that_is_gone_keeps_the_old_one(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A volume may be away for a moment."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    server = serve(config=file)
    file.unlink()
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="failure") == 1)
    assert denies(server)


def test_settings_win_over_every_configuration(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A setting stays what it is when the file changes."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    server = serve(config=file, strict=True)
    file.write_text("strict: false\ndefaultProfile: web\n")
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="success") == 1)
    assert denies(server)


class TestWithoutAValidConfiguration:
    """The file is invalid when the server starts."""

    def test_it_is_not_ready_and_says_why(self, serve: Callable[..., Running], tmp_path: Path) -> None:
        """It runs, answers no review, and never injects what is built in; mending the file is enough."""
        file = tmp_path / "pillion.yaml"
        file.write_text("strict: maybe\nnonsense: 1\n")
        server = serve(config=file)
        page = server.get("/readyz")
        assert page.status_code == 503
        problem = f"{file}:1:1: strict: must be true or false, is text"
        assert page.text == f"the configuration is invalid: {problem} (and 1 more, in the log)\n"
        assert server.post(BODY).status_code == 503
        assert server.sample("pillion_configuration_last_reload_successful") == 0
        assert "pillion_profile_info{" not in server.get("/metrics").text
        file.write_text("strict: true\n")
        eventually(lambda: server.get("/readyz").status_code == 200)
        assert denies(server)
        assert server.sample("pillion_configuration_last_reload_successful") == 1

    def test_it_says_what_is_wrong_now(self, serve: Callable[..., Running], tmp_path: Path) -> None:
        """Also after an attempt to mend the file."""
        file = tmp_path / "pillion.yaml"
        server = serve(config=file)
        assert "can't be read: No such file or directory" in server.get("/readyz").text
        file.write_text("nonsense: 1\n")
        eventually(lambda: "1:1: nonsense: is unknown" in server.get("/readyz").text)

    def test_it_goes_on_with_the_backup(self, serve: Callable[..., Running], tmp_path: Path) -> None:
        """Which the server before kept, at its start and after each change; a metric and a line say so."""
        file, backup = tmp_path / "pillion.yaml", tmp_path / "backup.yaml"
        file.write_text("strict: false\n")
        first = serve(config=file, config_backup=backup)
        assert backup.read_bytes() == b"strict: false\n"
        assert first.sample("pillion_configuration_reloads_total", result="success") == 0
        file.write_text("strict: true\n")
        eventually(lambda: backup.read_bytes() == b"strict: true\n")
        file.write_text("strict: maybe\n")
        eventually(lambda: first.sample("pillion_configuration_reloads_total", result="failure") == 1)
        assert first.sample("pillion_configuration_from_backup") == 0
        second = serve(config=file, config_backup=backup)
        assert second.get("/readyz").status_code == 200
        assert denies(second)
        assert second.sample("pillion_configuration_from_backup") == 1
        assert second.sample("pillion_configuration_last_reload_successful") == 0
        assert [line["level"] for line in second.log() if line["event"] == "configuration from backup"] == ["warning"]
        file.write_text("strict: false\n")
        eventually(lambda: second.sample("pillion_configuration_from_backup") == 0)
        assert not denies(second)

    def test_a_backup_is_checked_again(self, serve: Callable[..., Running], tmp_path: Path) -> None:
        """What is wrong with it is logged, and the server is not ready."""
        file, backup = tmp_path / "pillion.yaml", tmp_path / "backup.yaml"
        file.write_text("strict: maybe\n")
        backup.write_text("nonsense: 1\n")
        server = serve(config=file, config_backup=backup)
        assert f"{file}:1:1: strict" in server.get("/readyz").text
        rejected = [line["file"] for line in server.log() if line["event"] == "configuration rejected"]
        assert rejected == [str(file), str(backup)]
        assert server.sample("pillion_configuration_reloads_total", result="failure") == 2
        assert server.sample("pillion_configuration_from_backup") == 0

    def test_a_backup_that_can_not_be_written_is_said(self, serve: Callable[..., Running], tmp_path: Path) -> None:
        """And is no reason not to serve."""
        file = tmp_path / "pillion.yaml"
        file.write_text("strict: true\n")
        server = serve(config=file, config_backup=tmp_path / "missing/backup.yaml")
        assert server.get("/readyz").status_code == 200
        (line,) = [line for line in server.log() if line["event"] == "configuration backup failed"]
        assert line["message"] == "No such file or directory"

    def test_a_bug_is_no_reason_to_end(
        self, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The log has its place, and nothing that it may quote."""

        def broken(*_: object, **__: object) -> NoReturn:
            raise ZeroDivisionError("hunter2")

        file = tmp_path / "pillion.yaml"
        file.write_text("strict: true\n")
        with monkeypatch.context() as patch:
            patch.setattr(configuration, "parse", broken)
            server = serve(config=file)
        assert "a bug in Pillion" in server.get("/readyz").text
        assert server.sample("pillion_unexpected_exceptions_total", where="poll") == 1
        (line,) = [line for line in server.log() if line["event"] == "configuration rejected"]
        assert line["exception"] == "ZeroDivisionError"
        assert "hunter" not in server.log_file.read_text()
