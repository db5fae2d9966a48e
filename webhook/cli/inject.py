"""``pillion inject``: manifests as the webhook would change them."""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Sequence

from webhook import documents
from webhook.cli import manifests
from webhook.cli.manifests import File
from webhook.cli.replacement import replaced
from webhook.cli.terminal import BOLD, CYAN, GREEN, RED, YELLOW, complain, deliver, describe, painter, visible
from webhook.documents import Document
from webhook.errors import ManifestError
from webhook.injection.former_values import NULL_SPELLING_MEMBER
from webhook.injection.profile import Configuration
from webhook.json_values import as_list, at
from webhook.workloads.objects import RemarkSeverity
from webhook.workloads.reports import Report, Review, examine
from webhook.workloads.workload import Change, operations, patched

__all__ = ["COLOURS", "add_arguments", "add_output_options", "examined", "fails", "lines", "render", "run", "tell"]

#: The exit code where ``strict`` is not met.
DENIED = 1
#: How a remark's severity is shown on a terminal.
COLOURS = {RemarkSeverity.ERROR: RED, RemarkSeverity.WARNING: YELLOW, RemarkSeverity.NOTE: CYAN}

_EXAMPLES = """\
  pillion inject -f app.yaml --diff
  pillion inject -f app.yaml | kubectl apply -f -
  kustomize build . | pillion inject -f - > injected.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    describe(
        parser,
        "Print manifests as the webhook would change them. Comments, order and everything else stay as they are.\n"
        "An existing sidecar is replaced. Warnings go to standard error. Exit code 1: with --strict, a pod is not\n"
        "injected as requested, and nothing is printed; 2: input can't be read.",
        _EXAMPLES,
    )
    manifests.add_options(parser)
    add_output_options(parser)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what commands that change manifests have in common."""
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
    files, found = examined(configuration, arguments)
    reports = [report._replace(reviews=[replaced(review) for review in report.reviews]) for report in found]
    tell(reports, strict=arguments.strict)
    if fails(reports, strict=arguments.strict):
        complain("pillion inject: nothing is printed, because strict is set and there are errors")
        return DENIED
    reviews = [review for report in reports for review in report.reviews]
    _warn_of_pull_secrets(reviews)
    output = render(files, reviews, arguments, "injected")
    if not any(found.patch for found in reviews):
        _say_why_nothing(reports, configuration)
    deliver(output)
    return 0


def render(files: Sequence[File], changes: Sequence[Change], arguments: argparse.Namespace, done: str) -> str:
    """Return the changed files in the form that the options ask for; ``done`` is what a diff says of them."""
    if arguments.diff:
        return _diff(files, changes, done)
    if arguments.output == "patch":
        return _patches(changes)
    return _stream(files, changes, arguments.output)


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
    """Return whether the exit code is 1. The configuration's own ``strict`` refuses only what the webhook denies."""
    return any(review.denied for report in reports for review in report.reviews) or (
        strict and any(report.is_unmet for report in reports)
    )


def tell(reports: Sequence[Report], *, strict: bool) -> None:
    """Print all remarks on standard error, in the order of the files."""
    paint = painter(sys.stderr)
    for report in reports:
        for remark in report.remarks_for(strict=strict):
            word = paint(f"{remark.severity}:", COLOURS[remark.severity])
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
            outcome = "unchanged" if reason == "already_injected" else "not injected"
            hint = f' (annotate it with {configuration.prefix}inject: "true")' if reason == "not_requested" else ""
            said = found.verdict.findings[0].text(configuration.prefix)
            complain(f"{visible(found.workload.origin)}: {outcome}: {visible(said)}{hint}")


def _warn_of_pull_secrets(reviews: Sequence[Review]) -> None:
    """Warn of pods that get their first image pull secrets.

    The API server gives a pod those of its service account only if it has none. It does so before it asks the webhook,
    but after it has read a manifest.
    """
    for found in reviews:
        verdict = found.verdict
        bare = found.removed.bare if found.removed is not None else found.workload
        if not verdict.injected or not verdict.configuration.profiles[verdict.profile_name].image_pull_secrets:
            continue
        if not as_list(at(bare.template, ("spec", "imagePullSecrets"))):
            what = (
                "its first imagePullSecrets are the profile's; add those of its service account, which it gets no more"
            )
            complain(f"{visible(found.workload.origin)}: {painter(sys.stderr)('warning:', YELLOW)} {what}")


def _stream(files: Sequence[File], changes: Sequence[Change], form: str | None) -> str:
    """Return all documents as one stream that kubectl reads: as ``form`` says, or else JSON if all input is."""
    if form is None:
        form = "json" if all(file.is_json for file in files) else "yaml"
    output = ""
    for file in files:
        if file.is_json == (form == "json"):
            text = "".join(document.separator + _edited(document, changes) for document in file.documents)
        else:
            text = _converted(file, changes, form)
        output = _followed(output, text, file, form) if output else text
    return output


def _followed(output: str, text: str, file: File, form: str) -> str:
    """Return a stream with one more file's text behind it; a single file stays to the byte."""
    text = text.removeprefix(documents.BYTE_ORDER_MARK)
    if not text:
        return output
    first = next((document for document in file.documents if not document.is_blank), None)
    separator = "" if form == "json" or (first is not None and first.separator.startswith("---")) else "---\n"
    return output + ("" if output.endswith("\n") else "\n") + separator + text


def _converted(file: File, changes: Sequence[Change], form: str) -> str:
    values = [patched(document, _own(document, changes)) for document in file.documents if not document.is_blank]
    return "".join(map(documents.as_json, values)) if form == "json" else "---\n".join(map(documents.as_yaml, values))


def _edited(document: Document, changes: Sequence[Change]) -> str:
    return documents.edited(document, operations(_own(document, changes)))


def _own(document: Document, changes: Sequence[Change]) -> list[Change]:
    return [found for found in changes if found.workload.document is document]


def _patches(changes: Sequence[Change]) -> str:
    """Return each workload's JSON Patch, an operation a line; what has no pod has no patch."""
    output = ""
    for found in changes:
        operations = [
            {key: value for key, value in item.items() if key != NULL_SPELLING_MEMBER} for item in found.patch
        ]
        lines = [json.dumps(operation, ensure_ascii=False) for operation in operations]
        output += "[\n  " + ",\n  ".join(lines) + "\n]\n" if lines else "[]\n"
    return output


def _diff(files: Sequence[File], changes: Sequence[Change], done: str) -> str:
    """Return a unified diff of all files, coloured for a terminal."""
    paint = painter(sys.stdout)
    colours = {"---": BOLD, "+++": BOLD, "@@": CYAN, "+": GREEN, "-": RED}
    output = ""
    for file in files:
        before = "".join(document.separator + document.text for document in file.documents)
        after = "".join(document.separator + _edited(document, changes) for document in file.documents)
        for line in _unified(before, after, (file.source, f"{file.source} ({done})")):
            colour = next((colours[start] for start in colours if line.startswith(start)), "")
            output += (paint(line, colour) if colour else line) + "\n"
    return output


def _unified(before: str, after: str, names: tuple[str, str]) -> Iterable[str]:
    """Yield the lines of a diff, without their ends."""
    for line in difflib.unified_diff(lines(before), lines(after), *names):
        yield line.rstrip("\r\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def lines(text: str) -> list[str]:
    """Return a text's lines with their ends: only those that every program sees."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
