"""``pillion inject``: manifests as the webhook would change them."""

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Sequence

from webhook import documents
from webhook.cli import manifests
from webhook.cli.manifests import File
from webhook.cli.objects import Severity
from webhook.cli.terminal import BOLD, CYAN, GREEN, RED, YELLOW, complain, painter, visible
from webhook.cli.workloads import Report, Review, examine, patched
from webhook.documents import Document
from webhook.errors import ManifestError
from webhook.injection.profile import Configuration

__all__ = ["add_arguments", "examined", "fails", "run", "tell"]

#: The exit code where ``strict`` is not met.
REFUSED = 1

_EXAMPLES = """\
examples:
  pillion inject -f app.yaml --diff
  pillion inject -f app.yaml | kubectl apply -f -
  kustomize build . | pillion inject -f - > injected.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Print manifests as the webhook would change them. Comments, order and everything that is not injected stay\n"
        "as they are. Warnings go to standard error. Exit code 1: with --strict, a pod that asks is not injected as\n"
        "it asks, and nothing is printed; 2: input can't be read."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    manifests.add_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--diff", action="store_true", help="print what would change, as a unified diff")
    form.add_argument(
        *("-o", "--output"),
        choices=("yaml", "json", "patch"),
        help="yaml, json (default: as the input is), or patch: each object's JSON Patch (RFC 6902)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the result and return the exit code; everything is read and checked before anything is printed."""
    configuration = manifests.configuration(arguments)
    files, reports = examined(configuration, arguments)
    tell(reports, strict=arguments.strict)
    if fails(reports, strict=arguments.strict):
        complain("pillion inject: nothing is printed, for strict is set and there are errors")
        return REFUSED
    reviews = [review for report in reports for review in report.reviews]
    if arguments.diff:
        output = _diff(files, reviews)
    elif arguments.output == "patch":
        output = _patches(reviews)
    else:
        output = _stream(files, reviews, arguments.output)
    if not any(found.verdict.operations for found in reviews):
        _say_why_nothing(reports, configuration)
    sys.stdout.write(output)
    return 0


def examined(configuration: Configuration, arguments: argparse.Namespace) -> tuple[list[File], list[Report]]:
    """Return the files that are named and what is found in them; ManifestError names all that can't be read."""
    files, problems = manifests.read(arguments)
    everything = [document for file in files for document in file.documents]
    opt_in = arguments.namespace_opt_in
    reports: list[Report] = []
    try:
        reports = examine(everything, configuration, namespace=arguments.namespace, namespace_opt_in=opt_in)
    except ManifestError as error:
        problems.append(str(error))
    if problems:
        raise ManifestError("\n".join(problems))
    return files, reports


def fails(reports: Sequence[Report], *, strict: bool) -> bool:
    """Say whether the exit code is 1. The configuration's own ``strict`` refuses only what the webhook denies."""
    return any(review.refused for report in reports for review in report.reviews) or (
        strict and any(report.is_unmet for report in reports)
    )


def tell(reports: Sequence[Report], *, strict: bool) -> None:
    """Print all remarks on standard error, in the order of the files."""
    paint = painter(sys.stderr)
    colours = {Severity.ERROR: RED, Severity.WARNING: YELLOW, Severity.NOTE: CYAN}
    for report in reports:
        for remark in report.remarks_for(strict=strict):
            word = paint(f"{remark.severity}:", colours[remark.severity])
            complain(f"{visible(report.item.origin_at(remark.position))}: {word} {visible(remark.text)}")


def _say_why_nothing(reports: Sequence[Report], configuration: Configuration) -> None:
    """Nobody calls this command to see nothing happen: tell those to whom nothing has been said yet."""
    if not reports:
        complain("pillion inject: nothing to do: no pods and no workloads in the input")
    for report in reports:
        for found in report.reviews if not report.remarks else ():
            if found.remarks:
                continue
            reason = found.verdict.reason
            hint = f' (annotate it with {configuration.prefix}inject: "true")' if reason == "not_asked" else ""
            complain(f"{visible(found.workload.origin)}: not injected: {reason.sentence}{hint}")


def _stream(files: Sequence[File], reviews: Sequence[Review], form: str | None) -> str:
    """Return all documents as one stream that kubectl reads: as ``form`` says, or else JSON if all input is."""
    if form is None:
        form = "json" if all(file.is_json for file in files) else "yaml"
    output = ""
    for file in files:
        for document in file.documents:
            converted = file.is_json != (form == "json")
            if converted and document.is_blank:
                continue
            text = _converted(document, reviews, form) if converted else _edited(document, reviews)
            separator = document.separator if form == "yaml" else ""
            if form == "yaml" and output and not separator and not document.is_blank:
                separator = "---\n"
            if output and not output.endswith("\n") and separator + text:
                output += "\n"
            output += separator + text
    return output if not output or output.endswith("\n") else f"{output}\n"


def _converted(document: Document, reviews: Sequence[Review], form: str) -> str:
    value = patched(document, _own(document, reviews))
    return documents.as_json(value) if form == "json" else documents.as_yaml(value)


def _edited(document: Document, reviews: Sequence[Review]) -> str:
    own = [found for found in _own(document, reviews) if found.verdict.operations]
    return documents.edited(document, patched(document, own)) if own else document.text


def _own(document: Document, reviews: Sequence[Review]) -> list[Review]:
    return [found for found in reviews if found.workload.document is document]


def _patches(reviews: Sequence[Review]) -> str:
    """Return each workload's JSON Patch, an operation a line; what has no pod has no patch."""
    output = ""
    for found in reviews:
        operations = [json.dumps(operation, ensure_ascii=False) for operation in found.patch]
        output += "[\n  " + ",\n  ".join(operations) + "\n]\n" if operations else "[]\n"
    return output


def _diff(files: Sequence[File], reviews: Sequence[Review]) -> str:
    """Return a unified diff of all files, coloured for a terminal."""
    paint = painter(sys.stdout)
    colours = {"---": BOLD, "+++": BOLD, "@@": CYAN, "+": GREEN, "-": RED}
    output = ""
    for file in files:
        before = "".join(document.separator + document.text for document in file.documents)
        after = "".join(document.separator + _edited(document, reviews) for document in file.documents)
        for line in _unified(before, after, file.source):
            colour = next((colours[start] for start in colours if line.startswith(start)), "")
            output += (paint(line, colour) if colour else line) + "\n"
    return output


def _unified(before: str, after: str, source: str) -> Iterable[str]:
    """Yield the lines of a diff, without their ends."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), source, f"{source} (injected)"
    )
    for line in lines:
        yield line.rstrip("\r\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"
