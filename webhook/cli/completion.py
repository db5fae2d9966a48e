"""``pillion completion``: what a shell loads, and the answers when somebody presses Tab."""

import argparse
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from webhook.cli import command_parser
from webhook.cli.terminal import complain, deliver, describe
from webhook.errors import MissingPackageError

__all__ = ["TIME_LIMIT", "add_arguments", "answer_kubectl", "answer_shell", "run"]

#: For a question to kubectl, in seconds: somebody waits at the keyboard.
TIME_LIMIT = 3.0

_PROGRAMS = ("pillion", "kubectl-pillion")
#: argcomplete takes zsh's whole line for the command; in a pipe it is only the part around the cursor.
_ZSH_LINE = {
    'COMP_LINE="$BUFFER"': 'COMP_LINE="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX"',
    'COMP_POINT="$CURSOR"': 'COMP_POINT="${#:-${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX}"',
}
#: The files that kubectl completes, too, after -f.
_MANIFESTS = (".json", ".yaml", ".yml")
_KINDS = ("pod", "deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob")
#: What kubectl does with the answer (cobra's ShellCompDirective): offer no files; put no blank behind the word.
_NO_FILES, _NO_BLANK = 4, 2

_EXAMPLES = """\
  source <(pillion completion bash)        in ~/.bashrc
  source <(pillion completion zsh)         in ~/.zshrc, after compinit
  pillion completion fish | source         in ~/.config/fish/config.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    describe(
        parser,
        "Print what makes a shell complete commands, options, their values and the names of files.\n"
        "kubectl pillion needs nothing but kubectl's own completion, which calls kubectl_complete-pillion.",
        _EXAMPLES,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that reads it")


def run(arguments: argparse.Namespace) -> int:
    """Print the script and return the exit code."""
    script: str = _argcomplete().shellcode(_PROGRAMS, shell=arguments.shell)
    if arguments.shell == "zsh":
        for whole, part in _ZSH_LINE.items():
            script = script.replace(whole, part)
    deliver(script)
    return 0


def answer_shell() -> None:
    """Write the completions that a shell's script asks for by environment variables, and end the process."""
    # of anything else nobody reads a message, and the shell goes on with its own completion
    with suppress(MissingPackageError, KeyError, ValueError):
        _complete(os.environ["COMP_LINE"])
    os._exit(1)


def answer_kubectl() -> int:
    """Print what completes ``kubectl pillion WORD…``: kubectl calls ``kubectl_complete-pillion WORD…``."""
    *words, last = sys.argv[1:] or [""]
    # where the cursor is, no quote is closed
    begun = shlex.quote(last).removesuffix("'") if last else ""
    line = f"{shlex.join(['pillion', *words])} {begun}"
    os.environ |= {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "fish",  # which wants what kubectl wants: lines of a word, a tab and its description
        "_ARGCOMPLETE_DFS": "\t",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    output = io.StringIO()
    try:
        _complete(line, output_stream=output, exit_method=lambda _: None)
    except MissingPackageError as error:
        complain(f"kubectl_complete-pillion: {error}")
        return 1
    answers = [answer.rstrip("\t") for answer in output.getvalue().splitlines()]
    goes_on = any(answer.partition("\t")[0].endswith("/") for answer in answers)
    deliver("\n".join([*answers, f":{_NO_FILES | (_NO_BLANK if goes_on else 0)}\n"]))
    return 0


def _argcomplete() -> Any:
    """Return the library, which an installation may lack."""
    try:
        import argcomplete  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingPackageError(
            "completion needs the Python package argcomplete; install Pillion with it, as pillion[completion]"
        ) from None
    return argcomplete


def _complete(line: str, **how: Any) -> None:
    """Write what can follow at the end of a line."""
    # of -f and --filename one is enough where neither is begun
    options = {"always_complete_options": "long", "default_completer": _values}
    _argcomplete().autocomplete(command_parser(line.split()), **options, **how)


def _values(prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """Return the values that an argument without choices can have."""
    if action.metavar == "FILE":
        return _files(prefix, _MANIFESTS if action.dest == "filename" else ("",))
    if action.metavar == "KIND/NAME":
        kind = next(iter(getattr(parsed_args, action.dest, None) or ()), "/")
        if "/" not in kind:
            return _from_kubectl(parsed_args, "get", kind, prefix)
        return _from_kubectl(parsed_args, "get", prefix) if "/" in prefix else [f"{kind}/" for kind in _KINDS]
    if action.dest in ("namespace", "context"):
        return _from_kubectl(parsed_args, f"--{action.dest}", prefix)
    return ()


def _files(prefix: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield directories, and files with these suffixes; hidden ones only after a dot."""
    directory, slash, begun = prefix.rpartition("/")
    with suppress(OSError, RuntimeError):
        for entry in sorted(Path(directory + slash).expanduser().iterdir()):
            name = entry.name
            # shells take a line end for the end of a name
            if not name.startswith(begun) or (name.startswith(".") and not begun) or not name.isprintable():
                continue
            if entry.is_dir():
                yield f"{directory}{slash}{name}/"
            elif name.endswith(suffixes):
                yield f"{directory}{slash}{name}"


def _from_kubectl(arguments: argparse.Namespace, *words: str) -> list[str]:
    """Return what kubectl itself completes, where the line's options lead; nothing if it has no answer in time."""
    chosen = {name: getattr(arguments, name, None) for name in ("kubeconfig", "context", "namespace")}
    options = [f"--{name}={value}" for name, value in chosen.items() if value is not None]
    command = ["kubectl", "__complete", f"--request-timeout={TIME_LIMIT:g}s", *options, *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)  # noqa: S603
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return []
    # the last line is kubectl's directive
    return [line.partition("\t")[0] for line in answer.stdout.splitlines() if not line.startswith(":")]
