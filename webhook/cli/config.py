"""``pillion config``: checks a configuration, or the chart's values, before a server reads it."""

import argparse
import sys
from pathlib import Path

from webhook.cli.terminal import GREEN, complain, deliver, describe, painter, visible
from webhook.configuration import parse
from webhook.errors import ConfigurationError, Problem

__all__ = ["add_arguments", "run"]

#: The exit code for a configuration that is not valid.
WRONG = 1

_EXAMPLES = """\
  pillion config check -f values.yaml         the values of the Helm chart
  pillion config check -f pillion.yaml        a configuration file
  helm get values pillion -n pillion-system -o yaml | pillion config check -f -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    description = "Check profiles and the rest of a configuration, as a server does when it reads them."
    describe(parser, description, _EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    check = actions.add_parser("check", help="say everything that is wrong with a configuration")
    check.description = (
        "Say everything that is wrong with a configuration file, or with the configuration in the values of the Helm "
        "chart: FILE:LINE:COLUMN: PATH: what to write. Exit code 1: it is not valid; 2: usage, or it can't be read."
    )
    check.add_argument(
        *("-f", "--filename"),
        required=True,
        metavar="FILE",
        help="the chart's values or a configuration file, - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the file and return the exit code."""
    name = "stdin" if arguments.filename == "-" else arguments.filename
    try:
        content = sys.stdin.buffer.read() if arguments.filename == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError([Problem((), f"can't be read: {error.strerror}")], name) from None
    try:
        configuration = parse(content, name, or_values=True)
    except ConfigurationError as error:
        deliver(f"{error}\n")
        return WRONG
    profiles = ", ".join(sorted(configuration.profiles))
    valid = painter(sys.stdout)("valid", GREEN)
    for warning in configuration.warnings:
        complain(_shown(warning, name))
    deliver(f"{visible(name)}: {valid}; profiles {profiles}; default {configuration.default_profile}\n")
    return 0


def _shown(warning: Problem, name: str) -> str:
    line, column = warning.position or (1, 1)
    return f"{visible(name)}:{line}:{column}: warning: {warning.dotted_path}: {warning.message}"
