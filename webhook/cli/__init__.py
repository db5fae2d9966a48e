"""``pillion``, also as ``kubectl pillion``: one program, a module for each command."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from webhook import __version__
from webhook.cli.terminal import abandon_output, deliver, describe, visible
from webhook.errors import PillionError

__all__ = ["COMMANDS", "GROUPS", "USAGE", "command_parser", "main"]

#: The exit code for wrong usage, a configuration that can't be used, and input that can't be read.
USAGE = 2
#: What shells report of a program that was interrupted.
INTERRUPTED = 130

#: What people want, and the commands for it, each with what it does. A command's module has its name, and is imported
#: when it is called, so that ``--help`` is quick.
GROUPS = {
    "before you apply manifests, without a cluster": {
        "inject": "print manifests as the webhook would change them",
        "uninject": "remove from manifests what inject added",
        "explain": "show why pods are injected or not, rule by rule",
        "lint": "name what the webhook would warn about or refuse",
        "playground": "serve a page that shows the webhook's decisions as you type",
        "config": "check profiles and the chart's values",
    },
    "in a cluster, through kubectl": {
        "status": "show which pods have their sidecar, and why others have not",
        "upgrade": "replace running pods' sidecars without restarting applications",
        "certs": "show, verify and rotate certificates",
    },
    "run the webhook": {
        "serve": "without options on this machine, with a certificate of a local CA",
    },
    "in your shell": {
        "completion": "complete commands and options with Tab, in bash, zsh and fish",
    },
}
#: Each command, and what it does.
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}

_EXAMPLES = """\
  %(prog)s inject -f app.yaml --diff          show what would change
  %(prog)s inject -f app.yaml | kubectl apply -f -
  %(prog)s uninject -f app.yaml               print the original manifest
  %(prog)s explain -f app.yaml                show why
  %(prog)s lint -f app.yaml                   name what is wrong
  %(prog)s playground                         try it in the browser
  %(prog)s status -A                          show which pods have their sidecar
  %(prog)s upgrade --dry-run                  show which sidecars can be replaced
  %(prog)s config check -f values.yaml        check the chart's values
  %(prog)s certs show tls.crt                 show its names and validity
  %(prog)s serve                              run the webhook on this machine
  %(prog)s completion bash                    print what bash loads
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit code; wrong usage raises SystemExit(2)."""
    if "_ARGCOMPLETE" in os.environ:
        # a shell asks for completions
        import_module(f"{__name__}.completion").answer_shell()
    words = list(sys.argv[1:] if argv is None else argv)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # manifests are UTF-8, whatever the terminal's language; a file's name may be any bytes
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = command_parser(words)
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        code: int = import_module(f"{__name__}.{arguments.command}").run(arguments)
        deliver("")
    except PillionError as error:
        for line in str(error).splitlines():
            print(f"{parser.prog}: {visible(line)}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # the reader has enough, as in `| head`
        abandon_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _replace_closed_streams() -> None:
    """Let what is written go nowhere where a shell has closed the stream (``>&-``): Python has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 — to the end of the process


def command_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of a command line that has these words: it knows the options of the commands among them."""
    called = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog="kubectl pillion" if called.startswith("kubectl-") else "pillion",
        usage="%(prog)s [-h] [--version] COMMAND ...",
    )
    describe(parser, f"Give annotated pods a logging sidecar.\n\n{_overview()}", _EXAMPLES)
    parser.add_argument("--version", action="version", version=f"pillion {__version__}")
    # argparse has no groups of commands: the description shows them
    commands = parser.add_subparsers(prog=parser.prog, dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in words:
            import_module(f"{__name__}.{name}").add_arguments(command)
    return parser


def _overview() -> str:
    """Return all commands with what they do, by what people want."""
    width = max(map(len, COMMANDS))
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {name:<{width}}  {summary}" for name, summary in group.items())])
        for title, group in GROUPS.items()
    )
