"""filebeat.sh with a program in filebeat's place that only notes what it is given and ends when it is told to."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from webhook.profiles import builtins

SECONDS = 20.0
#: When it is told to end, it keeps what the registry has then.
STAND_IN = """#!/bin/sh
env >"$NOTES/environment.new"
trap 'cp "$NOTES/work/data/registry/filebeat/log.json" "$NOTES/last"; exit 0' TERM
mv "$NOTES/environment.new" "$NOTES/environment"
while :; do sleep 0.05; done
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the profile's program on the folder `logs`, with these variables."""
    started: list[subprocess.Popen[str]] = []
    program = builtins()["filebeat"]["sidecar"]["command"][2]
    program = program.replace("/pillion/filebeat", str(tmp_path / "work")).replace("$$(", "$(")
    (tmp_path / "logs").mkdir()
    (tmp_path / "work/data/registry/filebeat").mkdir(parents=True)
    (tmp_path / "filebeat").write_text(STAND_IN)
    (tmp_path / "filebeat").chmod(0o755)

    def run(**variables: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "NOTES": str(tmp_path),
            "LOG_FILES": json.dumps([f"{tmp_path}/logs/*.log"]),
            "POD_NAMESPACE": "shop",
            **variables,
        }
        command = ["sh", "-c", program, "sh", str(tmp_path / "logs")]
        started.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return started[-1]

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(condition: Callable[[], object]) -> None:
    """Return as soon as it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def environment(folder: Path) -> dict[str, str]:
    """Return what filebeat got, when it runs."""
    until((folder / "environment").exists)
    return dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines() if "=" in line)


@pytest.mark.parametrize(
    ("patterns", "more"),
    [
        (["/a/*.log"], ["/a/*.log.*", "/a/*.log-*"]),
        (["/a/x", "/d/**/y.log"], ["/a/x.*", "/d/**/y.log.*", "/a/x-*", "/d/**/y.log-*"]),
        (["/a/*"], []),
        (["/a/*", "/b/x"], ["/b/x.*", "/b/x-*"]),
        (["/b/x", "/a/*"], ["/b/x.*", "/b/x-*"]),
    ],
    ids=["a pattern", "several", "all files", "all files first", "all files last"],
)
def test_rotated_files_are_read(start: Start, tmp_path: Path, patterns: list[str], more: list[str]) -> None:
    """Each pattern has one for its rotated files beside it, unless it has them already."""
    start(LOG_FILES=json.dumps(patterns, separators=(",", ":")))
    assert json.loads(environment(tmp_path)["LOG_FILES"]) == [*patterns, *more]


def test_names_are_text(start: Start, tmp_path: Path) -> None:
    """In quotes of filebeat's, which takes 123 for a number: a store that has one refuses all others."""
    names = {"POD_NAME": "1e5", "POD_UID": "0012", "POD_NAMESPACE": "123", "NODE_NAME": "true"}
    start(**names)
    assert {name: environment(tmp_path)[name] for name in names} == {name: f"'{text}'" for name, text in names.items()}


class TestEnd:
    """At the pod's end."""

    def confirm(self, folder: Path, path: Path, offset: int) -> None:
        """Write into filebeat's registry how far the store has confirmed a file."""
        file = path.stat()
        state = {"k": f"filestream::pillion::native::{file.st_ino}-{file.st_dev}", "v": {"cursor": {"offset": offset}}}
        with (folder / "work/data/registry/filebeat/log.json").open("a") as registry:
            registry.write(f'{{"op":"set","id":1}}\n{json.dumps(state, separators=(",", ":"))}\n')

    def test_each_whole_line_is_waited_for(self, start: Start, tmp_path: Path) -> None:
        """At any depth; not for a line that is not finished, nor for a file that filebeat does not read."""
        process = start()
        environment(tmp_path)
        (tmp_path / "logs/deep").mkdir()
        path = tmp_path / "logs/deep/app.log"
        path.write_text("one\ntwo\nthr")
        (tmp_path / "logs/other").write_text("line\n")
        (tmp_path / "logs/loop").symlink_to(tmp_path / "logs")
        self.confirm(tmp_path, path, 4)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        self.confirm(tmp_path, path, 8)
        assert process.wait(SECONDS) == 0
        assert '"offset":8' in (tmp_path / "last").read_text()

    def test_a_filebeat_that_ends(self, start: Start, tmp_path: Path) -> None:
        """The container ends as it does."""
        (tmp_path / "filebeat").write_text("#!/bin/sh\nexit 3\n")
        assert start().wait(SECONDS) == 3


class TestCredentials:
    """ELASTICSEARCH_CREDENTIALS says which."""

    @pytest.mark.parametrize(
        ("variables", "reason"),
        [
            (
                {"ELASTICSEARCH_CREDENTIALS": "api-key"},
                "ELASTICSEARCH_API_KEY is empty: the namespace shop lacks the Secret",
            ),
            ({"ELASTICSEARCH_CREDENTIALS": "basic"}, "ELASTICSEARCH_USERNAME is empty"),
            (
                {"ELASTICSEARCH_CREDENTIALS": "basic", "ELASTICSEARCH_USERNAME": "shop"},
                "ELASTICSEARCH_PASSWORD is empty",
            ),
            ({"ELASTICSEARCH_CA": "/none/ca.crt"}, "no /none/ca.crt: the namespace shop lacks the ConfigMap"),
            ({"ELASTICSEARCH_CREDENTIALS": "key"}, "must be none, api-key or basic, is 'key'"),
        ],
        ids=["no key", "no user", "no password", "no CA", "a mistake"],
    )
    def test_missing_ones(self, start: Start, variables: dict[str, str], reason: str) -> None:
        """Standard error says so, and the container starts again later."""
        process = start(**variables, RETRY_SECONDS="0")
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert reason in errors

    def test_they_are_waited_for(self, start: Start) -> None:
        """And the pod's end is not."""
        process = start(ELASTICSEARCH_CREDENTIALS="api-key")
        assert process.stderr is not None
        assert process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0

    @pytest.mark.parametrize(
        ("password", "quoted"),
        [("a,b", "'a,b'"), ('${x} [y] {z} "\\', "'${x} [y] {z} \"\\'"), ("it's \"\\", '"it\'s \\"\\\\"')],
        ids=["a comma", "no quote", "a quote"],
    )
    def test_a_password(self, start: Start, tmp_path: Path, password: str, quoted: str) -> None:
        """In quotes of filebeat's, which would take a comma for a list."""
        start(ELASTICSEARCH_CREDENTIALS="basic", ELASTICSEARCH_USERNAME="shop", ELASTICSEARCH_PASSWORD=password)
        assert environment(tmp_path)["ELASTICSEARCH_PASSWORD"] == quoted
        assert "\n  password: ${ELASTICSEARCH_PASSWORD}\n" in (tmp_path / "work/filebeat.yml").read_text()
