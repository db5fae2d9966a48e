"""Tests of webhook.cli: the program around its commands."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from webhook import __version__
from webhook.cli import COMMANDS, GROUPS, USAGE, main


def test_version(pillion: Call) -> None:
    """``--version`` says name and version."""
    assert pillion("--version") == (0, f"pillion {__version__}\n", "")


def test_without_arguments_it_says_how_to_use_it(pillion: Call) -> None:
    """No command is wrong usage, answered with the help text."""
    code, out, err = pillion()
    assert (code, out) == (2, "")
    assert "examples:" in err


def test_help_names_every_command(pillion: Call) -> None:
    """The help text has each command and an example of it."""
    code, out, _ = pillion("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"pillion {command} " in out


def test_help_shows_commands_by_what_people_want(pillion: Call) -> None:
    """A group has its heading, and a line for each command that fits a terminal."""
    out = pillion("--help").out
    for title, group in GROUPS.items():
        lines = out.partition(f"\n{title}:\n")[2].splitlines()[: len(group)]
        assert [line.split()[0] for line in lines] == list(group)
        assert all(line.endswith(summary) for line, summary in zip(lines, group.values(), strict=True))
    assert max(map(len, out.splitlines())) <= 80
    assert out.startswith("usage: pillion [-h] [--version] COMMAND ...\n")


@pytest.mark.parametrize("command", ["inject", "explain", "lint"])
def test_every_command_has_examples(pillion: Call, command: str) -> None:
    """A command's help text shows how it is called."""
    assert f"  pillion {command} -f app.yaml" in pillion(command, "--help").out


def test_every_command_is_there() -> None:
    """Each name in the list is a module that can be called."""
    for command in COMMANDS:
        module = import_module(f"webhook.cli.{command}")
        assert callable(module.add_arguments)
        assert callable(module.run)


def test_help_imports_no_command() -> None:
    """``--help`` is quick, for it reads no web server and no YAML."""
    program = (
        "import sys, contextlib, webhook.cli\n"
        "with contextlib.suppress(SystemExit): webhook.cli.main(['--help'])\n"
        "print({'yaml', 'fastapi', 'msgspec', 'jsonpatch', 'argcomplete'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "set()"


def test_it_is_a_plugin_of_kubectl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Called as kubectl-pillion it names itself as people type it."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-pillion"])
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: kubectl pillion ")


@pytest.mark.parametrize("arguments", [("nonsense",), ("inject",), ("inject", "-f", "a", "--diff", "-o", "json")])
def test_wrong_usage_is_2(pillion: Call, arguments: tuple[str, ...]) -> None:
    """Wrong usage prints nothing on standard output and exits with 2."""
    code, out, err = pillion(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")


def test_a_bad_configuration_is_2(pillion: Call, folder: Path) -> None:
    """Every problem of a configuration is printed, with line and column."""
    (folder / "config.yaml").write_text("profiles:\n  tail:\n    order: middle\nnonsense: 1\n")
    code, out, err = pillion("inject", "-f", "-", "--config", "config.yaml")
    assert (code, out) == (2, "")
    assert [line.partition(": ")[2][:20] for line in err.splitlines()] == [
        "config.yaml:3:5: pro",
        "config.yaml:4:1: non",
    ]


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: x}]}\n"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 0, "pillion lint: no problems in 1 file\n"),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("<&-", 0, "pillion lint: no problems in 1 file\n"),
        ("-f - <&-", USAGE, "pillion: stdin: can't be read: it is closed\n"),
    ],
)
def test_streams_that_a_shell_has_closed(redirection: str, code: int, said: str, folder: Path) -> None:
    """Nobody sees what is written there, and the exit code counts all the same."""
    (folder / "app.yaml").write_text(POD)
    program = f"{sys.executable} -c 'import sys; from webhook.cli import main; sys.exit(main())'"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["bash", "-c", f"{program} lint -f app.yaml {redirection}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("command", ["inject", "uninject", "explain"])
@pytest.mark.parametrize("size", [1, 300])
def test_a_full_disk_is_said_in_a_sentence(command: str, size: int, folder: Path) -> None:
    """Wherever writing fails, in the middle or at the very end: exit code 2, and no traceback."""
    (folder / "app.yaml").write_text(f"{POD}---\n" * size)
    program = [sys.executable, "-c", "import sys; from webhook.cli import main; sys.exit(main())"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*program, command, "-f", "app.yaml"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    assert done.returncode == USAGE
    last = done.stderr.splitlines()[-1]
    assert last.endswith(": can't write the result: No space left on device")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_pipe_is_no_error(folder: Path) -> None:
    """A reader that has enough, as in ``| head``, makes no noise."""
    (folder / "big.yaml").write_text("".join(f"---\nkind: X\nn: {number}\n" for number in range(9000)))
    command = [sys.executable, "-c", "import sys; from webhook.cli import main; sys.exit(main())"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [*command, "inject", "-f", "big.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.parametrize("content", ["kind: X\n", "{"], ids=["read", "unreadable"])
def test_a_files_name_may_be_any_bytes(content: str, pillion: Call, folder: Path) -> None:
    """One that is no UTF-8 is shown with escapes, wherever it is printed."""
    (folder / b"b\xff\x1bd.yaml".decode(errors="surrogateescape")).write_text(content)
    code, out, err = pillion("inject", "-f", ".")
    assert (code, out) == ((0, "kind: X\n") if content != "{" else (2, ""))
    assert content != "{" or err.startswith("pillion: b\ufffd\ufffdd.yaml:1:")


def test_json_has_a_files_name_of_any_bytes(pillion: Call, folder: Path) -> None:
    """As JSON writes half of a character."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x}]}\n"
    (folder / b"b\xff.yaml".decode(errors="surrogateescape")).write_text(pod)
    code, out, _ = pillion("explain", "-o", "json", "-f", ".")
    assert (code, '"source": "b\\udcff.yaml"' in out) == (0, True)
