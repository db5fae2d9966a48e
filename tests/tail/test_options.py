"""What people type, and what they get: options, formats, `status`, and the README's table."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import Start
from .log_files import append
from .program import SOURCE


def run(program: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it with these words, to its end."""
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=20)


class TestJson:
    """`--format json`: an object a line, for pods with several files."""

    def test_lines(self, start: Start, logs: Path) -> None:
        """The file and the line, whatever is in it."""
        append(logs / "a.log", 'a "quoted" \\ line\twith\x01control', "")
        (logs / "b.log").write_bytes(b"caf\xe9 \xf0\x9f\x9a\x80\nno newline")
        objects = [json.loads(line) for line in start(format="json").end().decode().splitlines()]
        assert sorted(objects, key=str) == [
            {"file": str(logs / "a.log"), "line": ""},
            {"file": str(logs / "a.log"), "line": 'a "quoted" \\ line\twith\x01control'},
            {"file": str(logs / "b.log"), "line": "caf\N{REPLACEMENT CHARACTER} \N{ROCKET}"},
            {"file": str(logs / "b.log"), "line": "no newline"},
        ]

    def test_a_rotated_file(self, start: Start, logs: Path) -> None:
        """It keeps the name that it was found under."""
        append(logs / "app.log", "one")
        sidecar = start("app.log", format="json")
        sidecar.looks()
        append(logs / "app.log", "two")
        (logs / "app.log").rename(logs / "app.log.1")
        append(logs / "app.log", "three")
        objects = [json.loads(line) for line in sidecar.end().decode().splitlines()]
        assert objects == [{"file": str(logs / "app.log"), "line": line} for line in ("one", "two", "three")]


class TestUnfinished:
    """`--unfinished-after`: a last line without newline, in a pod that runs for months."""

    def test_it_is_printed_after_a_while(self, start: Start, logs: Path) -> None:
        """As a line of its own, once."""
        (logs / "app.log").write_text("one\nlast")
        sidecar = start(unfinished_after="0.3")
        sidecar.prints(b"one\nlast\n")
        sidecar.looks(3)
        append(logs / "app.log", " rest", "two")
        sidecar.prints(b"one\nlast\n rest\ntwo\n")
        assert sidecar.end() == sidecar.printed

    def test_by_default_it_waits(self, start: Start, logs: Path) -> None:
        """For its newline or the pod's end."""
        (logs / "app.log").write_text("one\nlast")
        sidecar = start()
        sidecar.prints(b"one\n")
        assert sidecar.settled() == b"one\n"
        assert sidecar.end() == b"one\nlast"


class TestStatus:
    """`pillion-tail status`, for `kubectl exec`."""

    def test_files(self, start: Start, logs: Path, program: Path) -> None:
        """How far each is printed, and what is behind."""
        append(logs / "app.log", "one")
        sidecar = start()
        sidecar.prints(["one"])
        sidecar.looks()
        sidecar.kill()
        append(logs / "app.log", "two")
        found = run(program, "status", "--state", sidecar.state)
        assert re.search(rf"^ +4 +8 +4  {re.escape(str(logs))}/app\.log$", found.stdout, re.MULTILINE)
        assert found.stdout.splitlines()[-1] == "1 files, 4 bytes behind, 0 bytes dropped"
        assert found.returncode == 0

    def test_without_a_checkpoint(self, tmp_path: Path, program: Path) -> None:
        """It says so."""
        found = run(program, "status", "--state", tmp_path)
        assert (found.returncode, found.stderr) == (1, f"pillion-tail: there is no checkpoint in {tmp_path}\n")


class TestWords:
    """Options are environment variables, too, and mistakes don't end it."""

    @pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",)])
    def test_what_it_tells(self, program: Path, words: tuple[str, ...]) -> None:
        """And nothing else."""
        found = run(program, *words)
        assert (found.returncode, found.stderr) == (0, "")
        assert "pillion-tail" in found.stdout

    def test_a_setting_that_is_none(self, start: Start, logs: Path) -> None:
        """It is said, and the default is used: a sidecar that ends would keep its pod from starting."""
        append(logs / "app.log", "one")
        sidecar = start(patience="soon")
        sidecar.prints(["one"])
        assert "PILLION_PATIENCE" in sidecar.complains("soon")

    def test_the_readme(self, program: Path) -> None:
        """Its table has every option of --help, with the same default and words."""
        told = re.findall(
            r"^  (--\S+)(?: (\S+))? {2,}(.*) \(default: (.*)\)$", run(program, "--help").stdout, re.MULTILINE
        )
        assert len(told) >= 11
        rows = (SOURCE / "README.md").read_text()
        for name, value, what, default in told:
            option = f"{name} {value}".strip().replace("|", "\\|")
            assert f"| `{option}` | {default} | {what} |" in rows
