"""``pillion``, also as ``kubectl pillion``: one program, a module for each command."""

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from webhook import __version__
from webhook.cli.terminal import abandon_output, deliver, visible
from webhook.errors import PillionError

__all__ = ["USAGE", "main"]

#: The exit code for wrong usage, a configuration that can't be used, and input that can't be read.
USAGE = 2
#: What shells report of a program that was interrupted.
INTERRUPTED = 130

#: Each command, and what it does; its module is imported when it is called, so that ``--help`` is quick.
COMMANDS = {
    "serve": "run the webhook; without options on this machine, with a certificate of a local CA",
    "inject": "print manifests as the webhook would change them; needs no cluster",
    "uninject": "remove from manifests what inject added; needs no cluster",
    "explain": "show why pods are injected or not, rule by rule: of manifests, or of a cluster",
    "lint": "name what the webhook would warn about or refuse; needs no cluster",
    "status": "show which pods in a cluster have their sidecar, and why others have not",
    "upgrade": "give running pods the present sidecar, without restarting applications",
    "config": "check profiles and the chart's values; needs no cluster",
    "certs": "show, verify and rotate certificates",
}

_EXAMPLES = """\
examples:
  %(prog)s inject -f app.yaml --diff          show what would change
  %(prog)s inject -f app.yaml | kubectl apply -f -
  %(prog)s uninject -f app.yaml               print the original manifest
  %(prog)s explain -f app.yaml                show why
  %(prog)s lint -f app.yaml                   name what is wrong
  %(prog)s status -A                          show which pods have their sidecar
  %(prog)s upgrade --dry-run                  show which running pods can get the present sidecar
  %(prog)s config check -f values.yaml        check the chart's values
  %(prog)s certs show tls.crt                 show its names and validity
  %(prog)s serve                              run the webhook on this machine
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit code; wrong usage raises SystemExit(2)."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # manifests are UTF-8, whatever the terminal's language; a file's name may be any bytes
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    parser = _parser(words)
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


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    called = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog="kubectl pillion" if called.startswith("kubectl-") else "pillion",
        description="Give annotated pods a logging sidecar.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pillion {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in words:
            import_module(f"{__name__}.{name}").add_arguments(command)
    return parser
