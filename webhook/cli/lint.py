"""``pillion lint``: what the webhook would warn about or refuse in manifests, and nothing else."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from webhook import __version__
from webhook.cli import manifests
from webhook.cli.inject import COLOURS, examined
from webhook.cli.terminal import complain, deliver, deliver_json, describe, painter, visible
from webhook.workloads.objects import ManifestReason, Object, Remark, RemarkSeverity
from webhook.workloads.reports import Report

__all__ = ["add_arguments", "run"]

#: The exit code where there is an error or a warning.
WRONG = 1

_EXAMPLES = """\
  pillion lint -f app.yaml
  pillion lint -R -f manifests
  helm template shop charts/shop | pillion lint -f -
"""


class Found(NamedTuple):
    """A remark, and the object that it is about."""

    item: Object
    remark: Remark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    describe(
        parser,
        "Name what the webhook would warn about or refuse in manifests, and keys that have no effect. Manifests that\n"
        "do not use Pillion are passed over. Exit code 1: there is an error or a warning; 2: input can't be read.",
        _EXAMPLES,
    )
    manifests.add_options(parser)
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "sarif"), default="text", help="text (default), json, or SARIF 2.1.0"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the remarks and return the exit code."""
    configuration = manifests.configuration(arguments)
    files, reports = examined(configuration, arguments)
    found = _found(reports, strict=arguments.strict)
    if arguments.output == "text":
        deliver(_as_text(found))
    else:
        deliver_json(_as_sarif(found) if arguments.output == "sarif" else [_as_json(each) for each in found])
    counts = Counter(each.remark.severity for each in found)
    # of a pipe whose other end has failed nothing comes
    nothing = "no problems" if any(not each.is_blank for file in files for each in file.documents) else "no manifests"
    said = ", ".join(_counted(counts[word], word) for word in reversed(RemarkSeverity) if counts[word]) or nothing
    complain(f"pillion lint: {said} in {_counted(len(files), 'file')}")
    return WRONG if counts[RemarkSeverity.ERROR] or counts[RemarkSeverity.WARNING] else 0


def _found(reports: Sequence[Report], *, strict: bool) -> list[Found]:
    """Return all remarks by file and position, but not on objects that have nothing to do with Pillion."""
    found = [
        Found(report.item, remark)
        for report in reports
        for remark in report.remarks_for(strict=strict)
        # only who calls inject or explain wants to know of any object why nothing happens to it
        if (remark.reason, remark.severity) != (ManifestReason.WRONG_VERSION, RemarkSeverity.NOTE)
    ]
    return sorted(found, key=lambda each: (each.item.document.source, each.remark.position))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _as_text(found: Sequence[Found]) -> str:
    """Return a line for each remark in the form of compilers, which editors and CI systems know."""
    paint = painter(sys.stdout)
    return "".join(
        f"{visible(item.document.source)}:{remark.position}: {paint(f'{remark.severity}:', COLOURS[remark.severity])} "
        f"{visible(f'{item.title}: {remark.text}')}\n"
        for item, remark in found
    )


def _as_json(found: Found) -> dict[str, Any]:
    item, remark = found
    return {
        "file": item.document.source,
        **remark.position._asdict(),
        "level": remark.severity.value,
        "reason": remark.reason.value,
        "kind": item.kind,
        "namespace": item.namespace,
        "name": item.name,
        "message": remark.text,
    }


def _as_uri(name: str) -> str:
    """Return a file's name as SARIF has it: relative, or with its scheme."""
    path = quote(os.fsencode(name))
    return f"file://{path}" if path.startswith("/") else path


def _as_sarif(found: Sequence[Found]) -> dict[str, Any]:
    """Return a log in the Static Analysis Results Interchange Format, which code scanning reads."""
    rules = {remark.reason.value: remark.reason.sentence for _, remark in found}
    driver = {
        "name": "pillion",
        "version": __version__,
        "rules": [{"id": key, "shortDescription": {"text": sentence}} for key, sentence in sorted(rules.items())],
    }
    results = [
        {
            "ruleId": remark.reason.value,
            "level": remark.severity.value,
            "message": {"text": f"{item.title}: {remark.text}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _as_uri(item.document.source)},
                        "region": {"startLine": remark.position.line, "startColumn": remark.position.column},
                    }
                }
            ],
        }
        for item, remark in found
    ]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }
