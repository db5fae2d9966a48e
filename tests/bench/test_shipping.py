"""``make bench-shipping`` can fail: it runs what profiles say, counts in a real store, and says who broke a promise."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.shipping import __main__ as bench
from tests.bench.shipping import shippers
from tests.bench.shipping.cases import CASES, MAX_BATCH, Case
from tests.bench.shipping.cost import Backlog
from tests.bench.shipping.shippers import EVERYONE, OURS, Shipper
from tests.bench.shipping.sidecar import command, container
from tests.bench.tail.cases import burst
from tests.bench.tail.contestants import Running
from tests.bench.tail.score import Score
from tests.cluster.programs import BuildError
from tests.promtool import REQUIRED

FIELDS = {"metadata.name": "shop-1", "metadata.uid": "u", "metadata.namespace": "shop", "spec.nodeName": "n"}
BURST = next(case for case in CASES if case.alone)


def _without_cargo() -> Path:
    raise BuildError("there is no cargo")


class TestCommand:
    """A profile's sidecar on this machine."""

    @pytest.mark.parametrize("shipper", EVERYONE.values(), ids=EVERYONE)
    def test_every_profile(self, shipper: Shipper, tmp_path: Path) -> None:
        """It has the operator's variables and the pod's fields, and folders of this machine for all mounts."""
        address = shipper.address("http://store", "http://collector")
        sidecar = container(shipper.profile, address)
        words = command(sidecar, Path("/programs/program"), FIELDS, tmp_path / "logs", tmp_path / "scratch")
        assert words[:2] == ["env", "-i"]
        assert {"POD_NAME=shop-1", "POD_NAMESPACE=shop", *(f"{name}={address[name]}" for name in address)} <= set(words)
        assert any(f"{tmp_path}/logs/*.log" in word for word in words)
        state = f"PILLION_STATE={tmp_path}/scratch/"
        assert any(word.startswith(state) for word in words) == (shipper.profile in OURS)
        assert not [word for word in words if " /pillion/" in word or "=/pillion/" in word or "/var/log/app" in word]

    def test_as_the_kubelet(self, tmp_path: Path) -> None:
        """References, doubled dollars, mounts and Secrets; the program stands in for the image's."""
        sidecar = {
            "command": ["/usr/bin/program", "$(A)", "$$(A)", "$(B)", "/state/x"],
            "env": [
                {"name": "A", "value": "1"},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                {"name": "C", "value": "$(A)2"},
            ],
            "volumeMounts": [{"name": "state", "mountPath": "/state"}],
        }
        _, _, path, *words = command(sidecar, Path("/programs/program"), FIELDS, tmp_path, tmp_path / "own")
        assert path.startswith("PATH=/programs:")
        assert words == ["A=1", "C=12", "/programs/program", "1", "$(A)", "$(B)", f"{tmp_path}/own/state/x"]


class TestPromises:
    """What a result means for us."""

    @pytest.mark.parametrize(
        ("case", "result", "kept"),
        [
            (Case(""), Score(), True),
            (Case(""), Score(lost=1), False),
            (Case(""), Score(repeated=1), False),
            (Case(""), Score(reordered=1), False),
            (Case(""), Score(torn=1), False),
            (Case("", batches=1), Score(repeated=MAX_BATCH), True),
            (Case("", batches=1), Score(repeated=MAX_BATCH + 1), False),
            (Case("", batches=1), Score(lost=1), False),
            (Case("", loses=True), Score(lost=9), True),
            (Case("", loses=True), Score(reordered=1), False),
        ],
    )
    def test_lines(self, case: Case, result: Score, kept: bool) -> None:
        """In an ordinary case, where batches may come again, and where lines are lost whoever ships them."""
        assert bench.kept(case, result) == kept

    def test_costs(self) -> None:
        """At most 6 MiB, and at least filebeat's speed, if it took part."""
        ours, slower = Backlog(1000, 2.0, 0), Backlog(999, 2.0, 0)
        peaks = {"elasticsearch": 6 << 10, "filebeat": 99 << 10}
        assert bench.too_costly({"elasticsearch": slower}, peaks) == []
        assert bench.too_costly({"elasticsearch": ours, "filebeat": ours}, peaks) == []
        assert len(bench.too_costly({"elasticsearch": slower, "filebeat": ours}, peaks)) == 1
        assert len(bench.too_costly({"elasticsearch": ours}, {"elasticsearch": (6 << 10) + 1})) == 1


class TestTable:
    """The command's exit code, and what it prints."""

    @pytest.fixture(autouse=True)
    def _programs(self) -> None:
        """Skip where the store or pillion-tail can't be built."""
        try:
            shippers.available(OURS, pytest.fail)
        except BuildError as error:
            if os.environ.get(REQUIRED):
                raise
            pytest.skip(str(error))

    @pytest.fixture(autouse=True)
    def _cases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Leave the case that is about an end, and one in which the pod lives on."""
        monkeypatch.setattr(bench, "CASES", (BURST, Case("a burst", burst)))

    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
        """Return it, and what was printed."""
        code = bench.main(["losses", "--lines", "2000", "--against", *words])
        return code, capsys.readouterr().out.splitlines()

    def test_kept(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Zero: we lose nothing."""
        code, table = self.run(capsys, *OURS)
        assert [line.count("| 0; ") for line in table[-2:]] == [len(OURS)] * 2
        assert code == 0

    def test_broken(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """One: the same where it is killed instead of told to end."""
        monkeypatch.setattr(Running, "end", lambda self: self.kill() or 0.0)
        code, table = self.run(capsys, "elasticsearch")
        assert code == 1
        assert table[-1].startswith(f"broken promise: {BURST.name}: elasticsearch: ")
        assert table[-1].endswith(" lost")

    def test_who_can_not_be_had(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Two without pillion-tail, as there is nothing to check; it says what to install."""
        monkeypatch.setattr(
            shippers, "EVERYONE", {name: replace(EVERYONE[name], program=_without_cargo) for name in OURS}
        )
        code, table = self.run(capsys, "elasticsearch")
        assert (code, table[-1]) == (2, "left out: elasticsearch: there is no cargo")

    def test_no_such_case(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Two, and the names of those that there are."""
        assert bench.main(["--only", "typo"]) == 2
        assert BURST.name in capsys.readouterr().err
