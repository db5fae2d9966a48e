"""``pillion uninject``: manifests without what an injection added."""

import argparse
import sys
from collections.abc import Sequence

from webhook.cli import manifests
from webhook.cli.inject import add_output_options, render
from webhook.cli.terminal import YELLOW, complain, deliver, describe, painter, visible
from webhook.errors import ManifestError
from webhook.workloads.workload import Removed, workloads

__all__ = ["add_arguments", "run"]

_EXAMPLES = """\
  pillion uninject -f app.yaml --diff
  pillion uninject -f app.yaml | kubectl apply -f -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    describe(
        parser,
        "Remove from manifests what pillion inject added. Everything else stays as it is. Whatever could be yours\n"
        "stays as well, and is named on standard error. Exit code 2: input can't be read.",
        _EXAMPLES,
    )
    manifests.add_input_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the result and return the exit code; everything is read before anything is printed."""
    configuration = manifests.configuration(arguments)
    files, problems = manifests.read(arguments)
    found: list[Removed] = []
    for document in (document for file in files for document in file.documents):
        try:
            read = workloads(document, arguments.namespace, configuration.prefix)
            found += [workload.removed(configuration) for workload in read]
        except ManifestError as error:
            problems.append(str(error))
    if problems:
        raise ManifestError("\n".join(problems))
    output = render(files, found, arguments, "uninjected")
    _tell(found)
    deliver(output)
    return 0


def _tell(found: Sequence[Removed]) -> None:
    """Print what stays, or that there is nothing to do, on standard error."""
    paint = painter(sys.stderr)
    for removed in found:
        workload = removed.workload
        for kept in removed.kept:
            origin = workload.origin_at(workload.template_position(kept.path))
            complain(f"{visible(origin)}: {paint('warning:', YELLOW)} {visible(kept.reason)}")
    if not any(removed.patch for removed in found):
        complain("pillion uninject: nothing to do: no pod and no workload has a sidecar of Pillion")
