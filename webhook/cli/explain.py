"""``pillion explain``: why pods are injected or not, rule by rule."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from webhook.cli import basis, cluster, history, manifests
from webhook.cli.history import Story
from webhook.cli.inject import DENIED, examined, fails, tell
from webhook.cli.terminal import (
    BOLD,
    DIM,
    GREEN,
    RED,
    YELLOW,
    Paint,
    complain,
    deliver,
    deliver_json,
    describe,
    painter,
    visible,
)
from webhook.documents import Position
from webhook.errors import ManifestError
from webhook.injection.admission import Admission
from webhook.injection.edit import Operation
from webhook.injection.log_sources import LogSource
from webhook.injection.reading_start import start_in_words
from webhook.injection.reasons import Reason
from webhook.injection.verdict import WARNING_LEAD
from webhook.workloads.objects import Remark, RemarkSeverity, dotted
from webhook.workloads.reports import Report, Review

__all__ = ["add_arguments", "as_json", "run"]

#: The namespaces that the chart's webhook configuration leaves out whatever its values are: kube-system, and the
#: release's own, which docs call so.
UNSEEN = {"kube-system": "", "pillion-system": ", the namespace of Pillion itself,"}

#: Of a manifest more is known than these reasons say: it may be a patch, and its mistakes have places.
_VAGUE = frozenset({Reason.NO_CONTAINERS, Reason.UNREADABLE_POD})

_EXAMPLES = """\
  pillion explain -f app.yaml
  pillion explain pod/web-5c9d8-x2x7k -n shop      a pod in the cluster
  pillion explain deployment/web -n shop
  pillion explain -f app.yaml -o json | jq '.[].reason'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    describe(
        parser,
        "Show for each pod in manifests why it is injected or not: each rule with its result, where the logs are, and\n"
        "the verdict. Of what is in a cluster it also shows what was decided, and what is different now. Exit code 1:\n"
        "with --strict, a pod is not injected as requested; 2: input can't be read.",
        _EXAMPLES,
    )
    parser.add_argument(
        "target", nargs="*", metavar="KIND/NAME", help="a pod or a workload in the cluster, as kubectl names it"
    )
    manifests.add_options(parser, required=False)
    parser.set_defaults(namespace=None)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    group = parser.add_argument_group(
        "in a cluster, which is reached through kubectl",
        "The default of -n is the namespace of kubectl's context, and that of --config the release's ConfigMap.",
    )
    cluster.add_connection_options(group)
    basis.add_release_option(group)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanations and return the exit code."""
    if bool(arguments.target) == bool(arguments.filename):
        raise ManifestError("write either -f FILE, or what to explain in the cluster, as pod/NAME")
    file = next(filter(os.path.isfile, arguments.target), None)
    if file is not None:
        raise ManifestError(f"{file} is a file; write: pillion explain -f {shlex.quote(file)}")
    if arguments.target:
        return _tell_story(history.read(arguments), arguments)
    arguments.namespace = arguments.namespace or "default"
    configuration = manifests.configuration(arguments)
    strict = arguments.strict
    _, reports = examined(configuration, arguments)
    if arguments.output == "json":
        tell([report._replace(reviews=[]) for report in reports], strict=strict)
        found = [as_json(review, strict=strict) for report in reports for review in report.reviews]
        deliver_json(found)
    elif reports:
        paint = painter(sys.stdout)
        blocks = [lines for report in reports for lines in _blocks(report, paint, strict=strict)]
        deliver("\n\n".join(map("\n".join, blocks)) + "\n")
    else:
        complain("pillion explain: no pods and no workloads in the input")
    return DENIED if fails(reports, strict=strict) else 0


def _tell_story(story: Story, arguments: argparse.Namespace) -> int:
    """Print what is known of something in a cluster and return the exit code."""
    strict = arguments.strict
    for note in story.notes:
        complain(f"note: {visible(note)}")
    if arguments.output == "json":
        deliver_json(_story_as_json(story))
    else:
        deliver("\n".join(_story_lines(story, painter(sys.stdout), strict=strict)) + "\n")
    return DENIED if fails(story.reports, strict=strict) else 0


# --- the rules ---------------------------------------------------------------------------------------------------


def _rule_results(review: Review) -> list[dict[str, Any]]:
    """Return each question, whether the pod may pass (None: not asked), and what was found, in words."""
    prefix = review.verdict.configuration.prefix
    return [
        {
            "question": answer.question,
            "passed": answer.passed,
            "found": answer.finding.text(prefix) if answer.finding is not None else answer.explanation,
        }
        for answer in review.admission.rule_results()
    ]


# --- text --------------------------------------------------------------------------------------------------------


def _blocks(report: Report, paint: Paint, *, strict: bool) -> Iterator[Iterable[str]]:
    """Yield the lines about each pod of an object, or about the object where it has none."""
    alone = report._replace(reviews=[]).remarks_for(strict=strict)
    for number, review in enumerate(report.reviews):
        yield _lines(review, review.remarks_for(strict=strict) + ([] if number else alone), paint)
    if not report.reviews:
        item = report.item
        where = f"({item.document.source}:{item.position()})"
        head = f"{paint(visible(item.title), BOLD)} {paint(visible(where), DIM)}"
        yield [head, *(_remark(remark, item.document.source, paint) for remark in alone)]


def _remark(remark: Remark, source: str, paint: Paint) -> str:
    word = paint(f"{remark.severity}:", {"error": RED, "warning": YELLOW}.get(remark.severity, DIM))
    return f"  {visible(_place(source, remark.position))}{word} {visible(remark.text)}"


def _place(source: str, position: Position) -> str:
    """Return ``app.yaml:2:3: ``, nothing for what is in no file."""
    return f"{source}:{position}: " if source else ""


def _lines(review: Review, remarks: Sequence[Remark], paint: Paint) -> Iterator[str]:
    verdict, workload = review.verdict, review.workload
    template = "" if workload.is_only else f", {dotted(workload.template_path)}"
    if workload.document.source:
        where = f"{workload.document.source}:{workload.template_position()}{template}, namespace {workload.namespace}"
        yield f"{paint(visible(workload.title), BOLD)} {paint(visible(f'({where})'), DIM)}"
    decisive = _decisive(review, remarks)
    answers = [answer for answer in _rule_results(review) if answer["passed"] is not None]
    width = max(len(answer["question"]) for answer in answers)
    for question, passed, found in map(dict.values, answers):
        word = paint("yes", GREEN) if passed else paint("no ", RED)
        place = _place(workload.document.source, decisive.position) if decisive is not None and not passed else ""
        answer = visible(f"{place}{found}")
        yield f"  {word} {question:<{width}}  {paint(answer, DIM) if passed else answer}".rstrip()
    if review.admission.plan is not None and review.admission.plan.sources and verdict.injected:
        yield ""
        yield from map(visible, _tree(review.admission))
    yield ""
    yield f"  {_verdict(review, paint)}"
    yield from (f"    {visible(line)}" for line in _additions(review))
    for remark in remarks:
        # the rule that objects has said it already
        if remark is not decisive or remark.severity is RemarkSeverity.ERROR:
            yield _remark(remark, workload.document.source, paint)
    for note in _notes(review):
        yield f"  {paint('note:', DIM)} {visible(note)}"


def _decisive(review: Review, remarks: Sequence[Remark]) -> Remark | None:
    """Return the remark that says why the pod is not injected, None where there is none."""
    verdict, prefix = review.verdict, review.verdict.configuration.prefix
    if verdict.injected:
        return None
    finding = verdict.findings[0]
    texts = (finding.text(prefix), finding.warning(prefix), finding.warning(prefix, WARNING_LEAD))
    said = {*texts, f"{WARNING_LEAD}{texts[0]}"}
    return next((remark for remark in remarks if remark.text in said), None)


def _verdict(review: Review, paint: Paint) -> str:
    verdict = review.verdict
    if verdict.injected:
        return f"{paint('Injected', GREEN)} with profile {verdict.profile_name}:"
    decisive = verdict.findings[0]
    said = visible(decisive.message) if decisive.reason in _VAGUE and decisive.message else verdict.reason.sentence
    if review.denied:
        return f"{paint('Refused', RED)}, because strict is set: {said} ({verdict.reason.value})."
    return f"{paint('Not injected', YELLOW)}: {said} ({verdict.reason.value})."


def _additions(review: Review) -> Iterator[str]:
    """Yield what the patch adds to the pod, a line each."""
    verdict = review.verdict
    if not verdict.operations:
        return
    for field, what in (("initContainers", "init container"), ("containers", "container"), ("volumes", "volumes")):
        names = [name for operation in verdict.operations for name in _names(operation, f"/spec/{field}")]
        if names:
            yield f"+ {what} {', '.join(names)}"
    for candidate in review.admission.candidates:
        added = [variable.name for variable in candidate.added_variables]
        mounts = review.admission.plan.mounts if review.admission.plan is not None else []
        paths = [mount.mountPath for located, mount in mounts if located is candidate]
        parts = [
            f"{what} {', '.join(names)}" for what, names in (("variables", added), ("a volume at", paths)) if names
        ]
        if parts:
            yield f"+ in {candidate.container.name}: {'; '.join(parts)}"


def _names(operation: Operation, field: str) -> Iterator[str]:
    """Yield the names of what an operation adds to a list of the pod's spec."""
    rest = operation.path.removeprefix(field)
    if rest == operation.path or rest.count("/") > 1:
        return
    value = msgspec.to_builtins(operation.value)
    for item in value if isinstance(value, list) else [value]:
        yield str(item["name"])


def _notes(review: Review) -> Iterator[str]:
    """Yield what is noteworthy and no warning."""
    for finding in review.verdict.notes:
        yield finding.text(review.verdict.configuration.prefix)
    if review.verdict.reason is Reason.ALREADY_INJECTED:
        yield "pillion inject replaces the sidecar in this file, pillion uninject removes it"
    namespace = review.workload.namespace
    if namespace in UNSEEN:
        yield (
            f"in a cluster with the chart's defaults, pods of {namespace}{UNSEEN[namespace]} are never sent to Pillion"
        )


def _tree(admission: Admission) -> Iterator[str]:
    """Yield the path plan: each log source, its mounts, the files that are read, and where reading begins."""
    sources = admission.plan.sources if admission.plan is not None else []
    profile = admission.facts.profile
    yield "  Where the logs are"
    for number, source in enumerate(sources, 1):
        last = number == len(sources)
        yield f"  {'└─' if last else '├─'} {_source_as_text(source)}"
        trunk = "   " if last else "│  "
        twigs = [f"{container} mounts it at {path}" for container, path in source.seen_by]
        twigs.append(f"{profile.name} reads {', '.join(source.sidecar_patterns)}")
        # there are no older files in a volume that ends with the pod
        if source.persistent and (begins := _begins(admission, source)):
            twigs.append(f"reading begins {begins}")
        for twig_number, twig in enumerate(twigs, 1):
            yield f"  {trunk}{'└─' if twig_number == len(twigs) else '├─'} {twig}"


def _begins(admission: Admission, source: LogSource) -> str:
    return start_in_words(source, admission.facts.profile, admission.facts.options)


def _source_as_text(source: LogSource) -> str:
    mount = source.mount
    sub_path = f", subPath {mount.subPath or mount.subPathExpr}" if mount.subPath or mount.subPathExpr else ""
    return f"volume {mount.name}{sub_path} ({'new, an emptyDir' if source.new else 'reused from the pod'})"


def _story_lines(story: Story, paint: Paint, *, strict: bool) -> Iterator[str]:
    """Yield what was decided, what would be decided now, and what is different."""
    yield f"{paint(visible(story.title), BOLD)} {paint(visible(f'({story.where})'), DIM)}"
    yield paint("What was decided", BOLD)
    yield from (f"  {visible(line)}" for line in story.decided)
    by = f", by {visible(story.by)}" if story.by else ""
    yield f"{paint('What would be decided now', BOLD)}{by}"
    yield from (line for report in story.reports for block in _blocks(report, paint, strict=strict) for line in block)
    if story.said:
        yield f"  {visible(story.said)}"
    yield paint("What is different", BOLD)
    yield from (f"  {visible(line)}" for line in story.different or ["nothing"])


# --- JSON --------------------------------------------------------------------------------------------------------


def as_json(review: Review, *, strict: bool) -> dict[str, Any]:
    """Return all that the webhook found out about a pod, as ``-o json`` prints it."""
    verdict, workload = review.verdict, review.workload
    plan, prefix = review.admission.plan, verdict.configuration.prefix
    return {
        "source": workload.document.source,
        "document": workload.document.number,
        **workload.template_position()._asdict(),
        "kind": workload.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "injected": bool(verdict.operations),
        "denied": review.denied,
        "reason": verdict.reason.value,
        "sentence": verdict.reason.sentence,
        "profile": verdict.profile_name,
        "revision": verdict.revision,
        "rules": _rule_results(review),
        "containers": [item.container.name for item in review.admission.candidates if item.selected],
        "logSources": [
            _source_as_json(review.admission, source) for source in (plan.sources if plan is not None else ())
        ],
        "findings": [
            {
                "reason": finding.reason.value,
                "severity": finding.reason.severity.value,
                **workload.position_of(finding, prefix)._asdict(),
                "text": finding.text(prefix),
            }
            for finding in [*verdict.findings, *(plan.notes if plan is not None else ())]
        ],
        "warnings": [
            {"severity": remark.severity.value, **remark.position._asdict(), "text": remark.text}
            for remark in review.remarks_for(strict=strict)
        ],
        "operations": len(verdict.operations),
    }


def _story_as_json(story: Story) -> dict[str, Any]:
    return {
        "name": story.title,
        "decided": story.decided,
        "judgedBy": story.by or None,
        "now": [as_json(review, strict=False) for report in story.reports for review in report.reviews],
        "said": story.said,
        "different": story.different,
        "notes": story.notes,
    }


def _source_as_json(admission: Admission, source: LogSource) -> dict[str, Any]:
    return {
        "volume": source.mount.name,
        "subPath": source.mount.subPath or source.mount.subPathExpr or "",
        "new": source.new,
        "seenBy": [{"container": container, "path": path} for container, path in source.seen_by],
        "reads": source.sidecar_patterns,
        "readingBegins": _begins(admission, source),
    }
