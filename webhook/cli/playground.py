"""``pillion playground``: a page on this machine that shows what the webhook would do."""

import argparse
import sys
import webbrowser

from webhook.cli.preview import setup, worker_command
from webhook.cli.terminal import complain, deliver
from webhook.configuration import load
from webhook.errors import StartError
from webhook.playground.server import run as serve

__all__ = ["add_arguments", "run"]

#: The exit code where the port can't be had.
NOT_STARTED = 3
#: Always the same, so that a link still works tomorrow, and at a colleague's.
PORT = 8077

_EXAMPLES = """\
examples:
  pillion playground
  pillion playground --open
  pillion playground --config profiles.yaml   with your own profiles
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Serve a page on this machine that shows what the webhook would do with a manifest while you type: the\n"
        "injected manifest, each rule with its result, and the pod as a drawing. It needs no cluster and no network,\n"
        "and only this machine reaches it. Ctrl-C ends it. Exit code 2: a configuration that can't be used; 3: the\n"
        "port can't be had."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=_port, default=PORT, help=f"default: {PORT}; 0: any free port")
    parser.add_argument(
        "--config", metavar="FILE", help="the webhook's configuration file; default: the built-in profiles"
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=False, help="open the page in the browser"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; return the exit code."""
    configuration = load(arguments.config, shadow=False)

    def announce(address: str) -> None:
        deliver(f"{address}\n")
        if arguments.open and not webbrowser.open(address):
            complain("pillion playground: there is no browser to open; open the address yourself")

    try:
        serve(arguments.port, worker_command(arguments.config), setup(configuration, arguments.config or ""), announce)
    except StartError as error:
        print(f"pillion playground: {error}", file=sys.stderr)
        return NOT_STARTED
    except KeyboardInterrupt:
        pass
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004 — the largest port there is
        raise argparse.ArgumentTypeError("write a number from 0 to 65535")
    return int(text)
