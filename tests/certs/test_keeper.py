"""A keeper's pace, what it leaves for a server, and how it starts; tests/cluster has it at a real API server."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from certs.api import ApiServer
from certs.ca import CA, LeafPair
from certs.keeper import VALIDITY_MARGIN, Intervals, Keeper, main
from certs.logs import Log
from certs.rotation import CA_OVERLAP, Observed, RotationSettings, SecretSnapshot
from certs.shared_directory import KeeperStatus, SharedDirectory, seconds_since_boot
from certs.store import ObjectNames, Store
from tests.certs import model
from tests.certs.recording import RecordingLog

NAME = "pillion.pillion-system.svc"
NOW = datetime.now(UTC)
TEST_CA = CA.create(NOW)
SETTINGS = RotationSettings((NAME,))
OBJECTS = ObjectNames(
    "pillion-system", "pair", "lease", ("mutatingwebhookconfigurations/pillion.pillion-system.pillion.dev",)
)
NOWHERE = ApiServer("127.0.0.1", 9)
WORDS = [
    "--namespace=a",
    "--secret=b",
    "--lease=c",
    "--names=d",
    "--webhook-configurations=mutatingwebhookconfigurations/e",
]
IN_A_POD = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def keeper(
    folder: Path,
    server: ApiServer = NOWHERE,
    log: Log | None = None,
    clock: Callable[[], float] = lambda: 0.0,
) -> Keeper:
    """Return a keeper."""
    log = log or RecordingLog()
    return Keeper(server, OBJECTS, SETTINGS, SharedDirectory(folder), identity="me", log=log, log_clock=clock)


def leaf(name: str = NAME, now: datetime = NOW) -> LeafPair:
    """Return a leaf."""
    return TEST_CA.issue((name,), now)


def seen(pair: LeafPair | None, **changed: bytes) -> Observed:
    """Return a look at a Secret with this pair."""
    data = {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem} if pair else {}
    return Observed(NOW, NOW, timedelta(), SecretSnapshot("7", {**data, **changed}), {})


class TestPace:
    """What follows from the settings."""

    def test_the_defaults_keep_what_the_model_promises(self) -> None:
        """The model's constants, for an overlap of ten minutes, are bounds here as a share of it."""
        intervals = Intervals.from_settings(SETTINGS)
        assert intervals.poll == timedelta(seconds=10)
        assert intervals.validity_margin == VALIDITY_MARGIN == model.MARGIN
        assert intervals.freshness < CA_OVERLAP
        assert intervals.freshness / CA_OVERLAP <= model.GRACE / model.SETTINGS.ca_overlap

    def test_lifetimes_of_seconds_have_a_pace_of_seconds(self) -> None:
        """Everything scales, so that a test sees the same as a year does."""
        second = timedelta(seconds=1)
        settings = RotationSettings((NAME,), 60 * second, 6 * second, 0.5 * second, 1.5 * second)
        intervals = Intervals.from_settings(settings)
        assert intervals.poll == 0.1 * second
        assert intervals.freshness == 1.125 * second
        assert intervals.validity_margin == 0.6 * second
        assert intervals.after_step < intervals.poll < intervals.max_backoff < second


class TestDelivery:
    """The rules of ``World.poll`` in the model, for what a server may show."""

    def test_a_good_leaf_is_left_with_its_times(self, tmp_path: Path) -> None:
        """Away from both its ends."""
        one, pair = keeper(tmp_path), leaf()
        one._write_pair(seen(pair))
        one._write_status()
        status = SharedDirectory(tmp_path).read_status()
        assert SharedDirectory(tmp_path).pair_file.read_bytes() == pair.certificate_pem + pair.key_pem
        assert status.serve_from == pair.certificate.not_valid_before_utc.timestamp() + VALIDITY_MARGIN.total_seconds()
        assert status.serve_until == pair.certificate.not_valid_after_utc.timestamp() - VALIDITY_MARGIN.total_seconds()
        assert not status.readiness_error(NOW, seconds_since_boot())

    @pytest.mark.parametrize(
        ("pair", "changed", "goes_on"),
        [
            (None, {}, True),
            (leaf(), {"tls.key": b"junk"}, True),
            (leaf(), {"tls.key": leaf().key_pem}, True),
            (leaf("other"), {}, True),
            (leaf(now=NOW + timedelta(days=2)), {}, False),
            (leaf(now=NOW - timedelta(days=90)), {}, False),
        ],
        ids=["empty", "junk", "another's key", "another name", "not yet", "no longer"],
    )
    def test_what_is_no_good_leaf_changes_nothing(
        self, tmp_path: Path, pair: LeafPair | None, changed: dict[str, bytes], goes_on: bool
    ) -> None:
        """The one that is shown may go on, unless the new one may be good for everybody else."""
        one, first = keeper(tmp_path), leaf()
        one._write_pair(seen(first))
        before = one._status
        one._write_pair(seen(pair, **changed))
        assert SharedDirectory(tmp_path).pair_file.read_bytes() == first.certificate_pem + first.key_pem
        assert (one._status.fresh_until_boot_seconds > before.fresh_until_boot_seconds) == goes_on
        assert one._status.fingerprint == before.fingerprint

    def test_a_missing_secret_is_an_empty_one(self, tmp_path: Path) -> None:
        """Whoever rotates makes it again, and what is shown stays trusted meanwhile."""
        one = keeper(tmp_path)
        one._write_pair(seen(leaf()))
        before = one._status
        one._write_pair(Observed(NOW, NOW, timedelta(), None, {}))
        assert one._status.fresh_until_boot_seconds > before.fresh_until_boot_seconds

    def test_whoever_was_out_of_touch_needs_a_leaf(self, tmp_path: Path) -> None:
        """An empty Secret says nothing about what was in it meanwhile."""
        SharedDirectory(tmp_path).write_status(KeeperStatus("ab", fresh_until_boot_seconds=seconds_since_boot() - 1))
        one = keeper(tmp_path)
        one._write_pair(seen(None))
        assert one._status.fresh_until_boot_seconds < seconds_since_boot()
        one._write_pair(seen(leaf()))
        assert one._status.fresh_until_boot_seconds > seconds_since_boot()

    def test_a_restart_makes_nothing_fresh(self, tmp_path: Path) -> None:
        """Counters and times of the process before go on; whether it led does not."""
        before = KeeperStatus(
            "ab", 1.0, 2.0, 3.0, 4.0, may_rotate=True, steps={"write_secret": 5}, failures={"error_response": 6}
        )
        SharedDirectory(tmp_path).write_status(before)
        one = keeper(tmp_path)
        one.reconcile()
        after = SharedDirectory(tmp_path).read_status()
        assert (after.fresh_until_boot_seconds, after.last_success, after.steps) == (3.0, 4.0, {"write_secret": 5})
        assert after.failures == {"error_response": 6, "unreachable": 1}
        assert not after.may_rotate

    def test_no_log_line_shows_a_key(self, tmp_path: Path) -> None:
        """Nor a status."""
        log = RecordingLog()
        one = keeper(tmp_path, log=log)
        one._write_pair(seen(leaf()))
        one._write_status()
        assert log.events
        assert "PRIVATE" not in f"{log.events} {(tmp_path / 'keeper-status.json').read_text()}"


class TestFollower:
    """A keeper that does not hold the Lease."""

    @pytest.mark.parametrize(
        ("observed", "reason"),
        [
            (seen(leaf()), "another replica rotates"),
            (
                Observed(NOW, NOW, timedelta(), None, {}),
                "another replica rotates, but the Secret has no usable leaf yet: there is no Secret",
            ),
            (
                seen(None),
                "another replica rotates, but the Secret has no usable leaf yet: tls.crt holds no certificate",
            ),
        ],
    )
    def test_it_says_what_its_server_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observed: Observed, reason: str
    ) -> None:
        """The server is not ready meanwhile, and this is where its operator looks."""
        log = RecordingLog()
        one = keeper(tmp_path, log=log)
        monkeypatch.setattr(one, "_api_server", SimpleNamespace(connect=nullcontext))
        monkeypatch.setattr(one, "_claim_lease", lambda _: False)
        monkeypatch.setattr(Store, "observe", lambda *_, **__: observed)
        one.reconcile()
        (message,) = [fields["message"] for _, event, fields in log.events if event == "waiting"]
        assert message.startswith(reason)


class TestFailures:
    """A look that fails costs time, never the process."""

    def test_they_are_tried_again_more_and_more_slowly(self, tmp_path: Path) -> None:
        """Up to a minute, and said again every ten."""
        log = RecordingLog()
        now = [0.0]
        one = keeper(tmp_path, log=log, clock=lambda: now[0])
        delays = []
        for _ in range(15):
            delays.append(one.reconcile().total_seconds())
            now[0] += delays[-1]
        assert delays == [10, 20, 40, *[60] * 12]
        assert [event for _, event, _ in log.events] == ["reconcile failed"] * 2
        assert log.events[-1][2]["kind"] == "unreachable"
        assert log.events[-1][2]["consecutive_failures"] == 13

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (AssertionError("PRIVATE"), "unexpected_exception"),
            (MemoryError(), "unexpected_exception"),
            (PermissionError(13), "directory"),
        ],
    )
    def test_a_bug_is_told_without_what_it_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
    ) -> None:
        """A message might quote a key; the lines of code say enough."""
        log = RecordingLog()
        one = keeper(tmp_path, log=log)

        def fail() -> None:
            raise error

        monkeypatch.setattr(one, "_reconcile", fail)
        one.reconcile()
        assert log.events[0][2]["kind"] == kind
        assert "PRIVATE" not in str(log.events)
        assert SharedDirectory(tmp_path).read_status().failures == {kind: 1}

    def test_a_folder_that_is_gone_ends_nothing(self, tmp_path: Path) -> None:
        """It is said, and tried again."""
        log = RecordingLog()
        one = keeper(tmp_path / "gone", log=log)
        one.reconcile()
        assert {event for _, event, _ in log.events} == {"reconcile failed", "status not written"}


class TestStart:
    """What is wrong is said in one sentence, and the kubelet shows it."""

    @pytest.mark.parametrize(
        ("words", "environment", "sentence"),
        [
            ([], {}, "KUBERNETES_SERVICE_HOST is not set: this program must run in a pod"),
            (
                ["--leaf-lifetime=1h"],
                IN_A_POD,
                "the CA propagation delay and the CA overlap are more than a third",
            ),
            (["--webhook-configurations=pods/x"], IN_A_POD, "'pods/x' is not a webhook configuration; write mutating"),
        ],
    )
    def test_settings_that_can_not_work_end_it(
        self,
        words: list[str],
        environment: dict[str, str],
        sentence: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """With exit code 2."""
        assert main([*WORDS, f"--shared-directory={tmp_path}", *words], environment) == 2
        assert f"python -m pillion.certs.keeper: {sentence}" in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["", "10", "1d", "-1s", "9" * 20 + "s"])
    def test_a_lifetime_has_a_unit(self, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The error says what to write."""
        with pytest.raises(SystemExit):
            main([*WORDS, f"--shared-directory={tmp_path}", f"--ca-overlap={text}"], IN_A_POD)
        assert 'not a duration; write a number and a unit, such as "15s"' in capsys.readouterr().err

    def test_its_log_is_a_json_object_a_line(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the fields that the server's has; it ends when it is told to, and says that it could not release."""
        handlers: dict[int, Callable[..., object]] = {}
        monkeypatch.setattr("certs.keeper.signal.signal", handlers.__setitem__)
        monkeypatch.setattr(Keeper, "reconcile", lambda _: [stop() for stop in handlers.values()] and timedelta())
        monkeypatch.setattr("certs.api.SERVICE_ACCOUNT_DIRECTORY", tmp_path)
        assert main([*WORDS, f"--shared-directory={tmp_path}", "--log-format=json"], IN_A_POD) == 0
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert [(line["level"], line["event"]) for line in lines] == [("warning", "Lease not released")]
        assert len(handlers) == 2


def test_a_place_knows_the_kinds_of_configurations() -> None:
    """One that we could not apply to is refused at the start."""
    ObjectNames("a", "b", "c", ("validatingwebhookconfigurations/x", "mutatingwebhookconfigurations/y"))
    with pytest.raises(ValueError, match="is not a webhook configuration"):
        ObjectNames("a", "b", "c", ("mutatingwebhookconfigurations/",))
