"""``make bench-tail`` can fail: it counts what is lost, repeated, reordered and torn, and says who broke a promise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.tail import __main__ as bench
from tests.bench.tail import contestants, cost
from tests.bench.tail.cases import CASES, append, blocks
from tests.bench.tail.contestants import EVERYONE, OURS, Contestant, Running
from tests.bench.tail.score import Score, line, score
from tests.tail import program as program_of_tests
from tests.tail.sidecar import until

PERFECT = [text for stream in ("a", "b") for text in b"".join(blocks(stream, 0, 10)).splitlines()]
WRITTEN = {"a": 10, "b": 10}
CASE = next(case for case in CASES if case.ends_after == 0)


class TestScore:
    """Each kind of damage is counted as what it is."""

    def test_perfect(self) -> None:
        """Nothing is wrong with all lines, each stream in order."""
        assert score(PERFECT, WRITTEN) == Score()
        assert str(Score()) == "0"

    @pytest.mark.parametrize(
        ("damage", "found"),
        [
            (lambda lines: lines[:-1], Score(lost=1)),
            (lambda lines: lines[1:], Score(lost=1)),
            (lambda lines: lines[:10], Score(lost=10)),
            (lambda _: [], Score(lost=20)),
            (lambda lines: [*lines, lines[0], lines[0]], Score(repeated=2)),
            (lambda lines: [lines[1], lines[0], *lines[2:]], Score(reordered=1)),
            (lambda lines: [*lines[5:], *lines[:5]], Score(reordered=5)),
            (lambda lines: [*lines[10:], *lines[:10]], Score()),
            (lambda lines: [lines[0][:50], lines[0][50:], *lines[1:]], Score(lost=1, torn=2)),
            (lambda lines: [lines[0] + lines[1], *lines[2:]], Score(lost=2, torn=1)),
            (lambda lines: [*lines, b""], Score(torn=1)),
            (lambda lines: [*lines, line("a", 10).rstrip()], Score(torn=1)),
            (lambda lines: [*lines, line("c", 1).rstrip()], Score(torn=1)),
        ],
        ids=[
            *("the last lost", "the first lost", "a stream lost", "all lost", "one thrice", "two swapped"),
            *(
                "a half late",
                "one stream after the other",
                "cut",
                "joined",
                "an empty line",
                "never written",
                "foreign",
            ),
        ],
    )
    def test_damage(self, damage: Callable[[list[bytes]], list[bytes]], found: Score) -> None:
        """Doctored output."""
        assert score(damage(PERFECT), WRITTEN) == found


class TestPromises:
    """What a result means for us."""

    @pytest.mark.parametrize("bad", [Score(lost=1), Score(repeated=1), Score(reordered=1), Score(torn=1)])
    def test_any_damage_breaks_one(self, bad: Score) -> None:
        """In an ordinary case."""
        assert bench.kept(CASE, Score())
        assert not bench.kept(CASE, bad)

    def test_a_kill_may_repeat(self) -> None:
        """It may do nothing else."""
        case = replace(CASE, down=True)
        assert bench.kept(case, Score(repeated=9))
        assert not bench.kept(case, Score(lost=1))
        assert not bench.kept(case, Score(torn=1))

    def test_copytruncate_may_lose(self) -> None:
        """A few lines, and it may do nothing else."""
        case = replace(CASE, copytruncate=True)
        assert bench.kept(case, Score(lost=2000))
        assert not bench.kept(case, Score(lost=2001))
        assert not bench.kept(case, Score(torn=1))
        assert not bench.kept(case, Score(repeated=1))


class TestCommand:
    """The command's exit code."""

    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """Return it, and what was printed."""
        code = bench.main(["--only", CASE.name, "--lines", "2000", *words])
        return code, capsys.readouterr().out

    @pytest.mark.usefixtures("program")
    def test_kept(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Zero: our program loses nothing of a burst."""
        code, table = self.run(capsys, "--against", OURS)
        assert (code, f"| {CASE.name} | 0; " in table) == (0, True)

    def test_broken(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """One: the same with a script that ends at once when it is told to."""
        lossy = Contestant("lossy", "1", lambda *_: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
        monkeypatch.setattr(contestants, "EVERYONE", {**EVERYONE, OURS: lambda _: lossy})
        code, table = self.run(capsys, "--against", OURS)
        assert (code, table.splitlines()[-1]) == (1, f"broken promise: {CASE.name}: 2,000 lost")

    def test_who_can_not_be_had(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Two without cargo, as there is nothing to check; it says what to install."""
        monkeypatch.delenv("PILLION_TAIL", raising=False)
        monkeypatch.setattr(program_of_tests, "cargo", lambda: None)
        assert bench.main(["--only", CASE.name, "--against", OURS]) == 2
        assert "apt-get install cargo" in capsys.readouterr().out

    def test_no_such_case(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Two, and the names of those that there are."""
        assert bench.main(["--only", "typo"]) == 2
        assert CASE.name in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("found", "told"),
        [
            (cost.Rest(memory_kib=1024, peak_kib=2048, processor=0.0002), 0),
            (cost.Rest(memory_kib=1025, peak_kib=2048, processor=0.0002), 1),
            (cost.Rest(memory_kib=1024, peak_kib=2049, processor=0.0002), 1),
            (cost.Rest(memory_kib=1024, peak_kib=2048, processor=0.0006), 2),
        ],
        ids=["kept", "memory", "memory at most", "processor, with 1 and with 20 files"],
    )
    def test_costs(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: cost.Rest, told: int) -> None:
        """Each figure that misses its target is a broken promise."""
        monkeypatch.setattr(bench, "rest", lambda *_: found)
        monkeypatch.setattr(bench, "speed", lambda *_: cost.Speed(700, 0.5, 1))
        ours = Contestant("ours", "1", lambda *_: [])
        assert len(bench.costs({OURS: ours}, 1, tmp_path)) == told
        monkeypatch.setattr(bench, "speed", lambda *_: cost.Speed(699, 0.6, 1))
        assert len(bench.costs({OURS: ours}, 1, tmp_path)) == told + 2

    def test_scale(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """So do those of many files."""
        ours = {OURS: Contestant("ours", "1", lambda *_: [])}
        monkeypatch.setattr(bench, "many", lambda *_: cost.Many(seconds=1.0, processor=0.03))
        assert bench.scale(ours, tmp_path) == []
        monkeypatch.setattr(bench, "many", lambda *_: cost.Many(seconds=1.1, processor=0.031))
        assert len(bench.scale(ours, tmp_path)) == 2


class TestRunning:
    """A contestant under the kubelet's rules."""

    def test_a_line_that_a_kill_cut_off(self, tmp_path: Path, logs: Path) -> None:
        """It is no line; it comes whole in the next run."""
        append(logs / "app.log", "a", 0, 3)
        script = 'cat "$1"; [ -e "$2" ] || { touch "$2"; printf "a 0000"; }; exec sleep 1000'
        once = Contestant("", "", lambda _, logs, own: ["sh", "-c", script, "sh", logs / "app.log", own / "was here"])
        with Running(once, CASE, logs, tmp_path / "scratch") as running:
            until(lambda: running.size == 3 * len(line("a", 0)) + 6, "three lines and a piece")
            running.kill()
            running.start()
            until(lambda: running.size == 3 * len(line("a", 0)), "three lines")
        assert score(running.lines(), {"a": 3}) == Score(repeated=3)
