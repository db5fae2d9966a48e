"""``pillion serve``: the webhook itself."""

import argparse
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webhook.errors import ConfigurationError, SettingsError, StartError
from webhook.service.settings import SETTINGS, Setting, Settings

if TYPE_CHECKING:
    from webhook.service.server import Server

__all__ = ["add_arguments", "run"]

#: Exit codes: usage or a configuration that can't be used; the server could not start.
USAGE, NOT_STARTED = 2, 3

_TERMINATION_LOG = next(row for row in SETTINGS if row.name == "termination_log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting."""
    parser.description = (
        "Serve the webhook. Without arguments: on this machine only, with a certificate of a local CA. "
        "Each option can also be set by an environment variable."
    )
    for row in SETTINGS:
        # a flag may stand alone: --strict is --strict=true
        lone: dict[str, Any] = {"nargs": "?", "const": "true"} if row.metavar == "BOOL" else {}
        parser.add_argument(row.option, dest=row.name, metavar=row.metavar, help=_help(row), **lone)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    # found before all settings are read, any of which may be why the server does not start
    termination_log = arguments.termination_log or os.environ.get(_TERMINATION_LOG.variable)
    try:
        settings = Settings.read(vars(arguments), os.environ)
    except SettingsError as error:
        return _failed(error, USAGE, termination_log)
    for name in Settings.unknown_variables(os.environ):
        print(f"pillion serve: {name} is not a setting; see pillion serve --help", file=sys.stderr)
    # late: the other commands start without a web server
    from webhook.service.server import run  # noqa: PLC0415

    try:
        run(settings, _announce)
    except ConfigurationError as error:
        return _failed(error, USAGE, termination_log)
    except StartError as error:
        return _failed(error, NOT_STARTED, termination_log)
    return 0


def _help(row: Setting) -> str:
    default = f", default {row.default}" if row.default else ""
    return f"{row.help} ({row.variable}{default})".replace("%", "%%")


def _failed(error: Exception, code: int, termination_log: str | None) -> int:
    text = "".join(f"pillion serve: {line}\n" for line in str(error).splitlines())
    sys.stderr.write(text)
    if termination_log:
        # it is on standard error in any case
        with suppress(OSError):
            Path(termination_log).write_text(text)
    return code


def _announce(server: "Server") -> None:
    """Tell a person where what is, and how to try it."""
    settings, configuration = server.settings, server.state.configuration
    server.log.info(
        "serving",
        reviews=f"https://{_reachable(settings.listen.host)}:{server.review_listener.port}/mutate",
        health=f"http://{_reachable(settings.health_listen.host)}:{server.health_listener.port}/readyz",
        configuration=str(settings.config or "built-in"),
        profiles=configuration.revisions if configuration is not None else "",
    )
    ca_file = server.certificate_source.ca_file
    if ca_file is None:
        return
    url = f"https://{_reachable(settings.listen.host)}:{server.review_listener.port}/mutate"
    sample = Path(__file__).parent.parent / "service" / "sample-review.json"
    command = ["curl", "--cacert", str(ca_file), "-H", "Content-Type: application/json"]
    command += ["--data-binary", f"@{sample}", url]
    print(f"The CA that clients must trust: {ca_file}", file=sys.stderr)
    print(f"To try it:\n  {shlex.join(command)}", file=sys.stderr, flush=True)


def _reachable(host: str) -> str:
    """Return a name under which this machine reaches a listening address."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 — compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host
