"""A cluster by hand: python -m tests.cluster up | down | env | status | load."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import images, processes, programs, runs
from .control_plane import ApiServer
from .node import Node, image_layout, socket
from .runs import Run, RunError

NAME = "hand"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.do(arguments)
    except (RunError, processes.StartError, programs.BuildError, images.ImageError) as error:
        print(error, file=sys.stderr)
        return 1
    return status


def up(arguments: argparse.Namespace) -> int:
    """Start a cluster that stands until `down`, and print the shell lines that lead to it."""
    lacks = programs.missing(whole=not arguments.light)
    if lacks:
        print(f"this machine lacks: {'; '.join(lacks)}", file=sys.stderr)
        return 1
    started = ApiServer.start(arguments.name) if arguments.light else Node.start(arguments.name)
    started.run.let_stand()
    return env(arguments)


def down(arguments: argparse.Namespace) -> int:
    """End a cluster and remove what it left."""
    _existing(arguments.name).take_down()
    return 0


def env(arguments: argparse.Namespace) -> int:
    """Print the shell lines that lead to a cluster, for `eval`."""
    run = _existing(arguments.name)
    print(f"export KUBECONFIG={run.kubeconfig}")
    print(f'export PATH={programs.KUBERNETES.cache}:"$PATH"')
    return 0


def status(_: argparse.Namespace) -> int:
    """Print every cluster that there is, and whether its programs run."""
    for run in runs.existing():
        states = [
            f"{name} {'runs' if processes.alive(who) else 'has ended'} ({who.pid})"
            for name, who in run.recorded_programs().items()
        ]
        print(f"{run.name}: {run.kubeconfig}\n  {', '.join(states) or 'no programs'}\n  logs: {run.logs}")
    for lack in programs.missing(whole=True):
        print(f"this machine lacks for a whole node: {lack}")
    return 0


def load(arguments: argparse.Namespace) -> int:
    """Give a node the images of an archive."""
    run = _existing(arguments.name)
    images.import_archive(socket(run), image_layout(run), arguments.archive)
    return 0


def _existing(name: str) -> Run:
    for run in runs.existing():
        if run.name == name:
            return run
    raise RunError(f"there is no cluster named {name}; `status` shows which there are")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for do in (up, down, env, status, load):
        command = commands.add_parser(do.__name__, help=do.__doc__)
        command.set_defaults(do=do)
        if do is not status:
            command.add_argument("--name", default=NAME, help="which cluster (%(default)s)")
        if do is up:
            command.add_argument("--light", action="store_true", help="an API server alone: it runs no pods")
        if do is load:
            command.add_argument("archive", type=Path, help="a docker archive, as `podman save` writes it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
