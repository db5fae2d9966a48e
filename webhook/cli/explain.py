"""``pillion explain``: why pods are injected or not, rule by rule."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from webhook.cli import manifests
from webhook.cli.inject import REFUSED, examined, fails, tell
from webhook.cli.objects import Remark, Severity, dotted
from webhook.cli.terminal import BOLD, DIM, GREEN, RED, YELLOW, Paint, complain, painter, visible
from webhook.cli.workloads import Report, Review
from webhook.injection.admission import NOT_INJECTED
from webhook.injection.decision import RULES, Subject
from webhook.injection.edit import Operation
from webhook.injection.places import Place
from webhook.injection.reasons import Finding, Reason
from webhook.injection.volumes import Plan

__all__ = ["add_arguments", "run"]

#: The namespaces that the chart's webhook configuration leaves out with its default values: excludedNamespaces, and
#: the one that docs install it into.
UNSEEN = {"kube-system": "", "pillion-system": ", the namespace of Pillion itself,"}

_EXAMPLES = """\
examples:
  pillion explain -f app.yaml
  kubectl get deployment web -o yaml | pillion explain -f -
  pillion explain -f app.yaml -o json | jq '.[].reason'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Say of each pod in manifests why it is injected or not: the rules in their order with what each found,\n"
        "where the logs lie, and the verdict. Exit code 1: with --strict, a pod that asks is not injected as it asks;\n"
        "2: input can't be read."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    manifests.add_options(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanations and return the exit code."""
    configuration = manifests.configuration(arguments)
    strict = arguments.strict
    _, reports = examined(configuration, arguments)
    if arguments.output == "json":
        tell([report._replace(reviews=[]) for report in reports], strict=strict)
        found = [_as_json(review, strict=strict) for report in reports for review in report.reviews]
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif reports:
        paint = painter(sys.stdout)
        print("\n\n".join("\n".join(lines) for report in reports for lines in _blocks(report, paint, strict=strict)))
    else:
        complain("pillion explain: no pods and no workloads in the input")
    return REFUSED if fails(reports, strict=strict) else 0


# --- the rules ---------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """A rule's question, whether it lets the pod pass (None: not reached), and what it found."""

    question: str
    passed: bool | None
    found: str


_TAKING_PART = "Which containers take part?"
_ADDING = "Can the sidecar be added?"


def _answers(review: Review) -> Iterator[Answer]:
    """Yield the answer to every rule, up to the one that decides; the rest are not asked."""
    verdict, prefix = review.verdict, review.verdict.configuration.prefix
    decisive = verdict.findings[0].text(prefix) if verdict.findings else verdict.reason.sentence
    subject = Subject(verdict.request, verdict.configuration)
    open_ = True
    for question, objection, found_by in RULES:
        if not open_:
            yield Answer(question, None, "")
            continue
        try:
            finding: Finding | None = objection(subject)
            found = found_by(subject) if finding is None else ""
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            finding, found = Finding(Reason.UNREADABLE_POD, "", "", decisive), ""
        yield Answer(question, finding is None, found if finding is None else finding.text(prefix))
        open_ = finding is None
    chosen = [item.container.name for item in verdict.participants if item.chosen]
    stopped_early = open_ and not verdict.participants and not verdict.injected
    yield Answer(_TAKING_PART, None if not open_ else bool(chosen), decisive if stopped_early else ", ".join(chosen))
    open_ = open_ and bool(chosen)
    if not open_:
        yield Answer(_ADDING, None, "")
    elif verdict.plan is None:
        yield Answer(_ADDING, False, decisive)
    else:
        yield Answer(_ADDING, True, _volumes(verdict.plan))


def _volumes(plan: Plan) -> str:
    new = [name for name, _ in plan.new_volumes]
    parts = [f"{word} {', '.join(names)}" for word, names in (("new", new), ("reused", plan.reused)) if names]
    return "; ".join(parts) or "no logs are read"


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
    return f"  {visible(source)}:{remark.position}: {word} {visible(remark.text)}"


def _lines(review: Review, remarks: Sequence[Remark], paint: Paint) -> Iterator[str]:
    verdict, workload = review.verdict, review.workload
    template = "" if workload.is_only else f", {dotted(workload.template_path)}"
    where = f"{workload.document.source}:{workload.template_position()}{template}, namespace {workload.namespace}"
    yield f"{paint(visible(workload.title), BOLD)} {paint(visible(f'({where})'), DIM)}"
    decisive = _decisive(review, remarks)
    answers = [answer for answer in _answers(review) if answer.passed is not None]
    width = max(len(answer.question) for answer in answers)
    for question, passed, found in answers:
        word = paint("yes", GREEN) if passed else paint("no ", RED)
        place = f"{workload.document.source}:{decisive.position}: " if decisive is not None and not passed else ""
        answer = visible(f"{place}{found}")
        yield f"  {word} {question:<{width}}  {paint(answer, DIM) if passed else answer}".rstrip()
    if verdict.plan is not None and verdict.injected:
        yield ""
        yield from map(visible, _tree(verdict.plan, verdict.profile))
    yield ""
    yield f"  {_verdict(review, paint)}"
    yield from (f"    {visible(line)}" for line in _additions(review))
    for remark in remarks:
        # the rule that objects has said it already
        if remark is not decisive or remark.severity is Severity.ERROR:
            yield _remark(remark, workload.document.source, paint)
    for note in _notes(review):
        yield f"  {paint('note:', DIM)} {visible(note)}"


def _decisive(review: Review, remarks: Sequence[Remark]) -> Remark | None:
    """Return the remark that says why the pod is not injected, None where there is none."""
    verdict, prefix = review.verdict, review.verdict.configuration.prefix
    if verdict.injected:
        return None
    finding = verdict.findings[0]
    texts = (finding.text(prefix), finding.warning(prefix), finding.warning(prefix, NOT_INJECTED))
    said = {*texts, f"{NOT_INJECTED}{texts[0]}"}
    return next((remark for remark in remarks if remark.text in said), None)


def _verdict(review: Review, paint: Paint) -> str:
    verdict = review.verdict
    if review.refused:
        return f"{paint('Refused', RED)}, for strict is set: {verdict.reason.sentence} ({verdict.reason.value})."
    if verdict.operations:
        return f"{paint('Injected', GREEN)} with profile {verdict.profile}:"
    return f"{paint('Not injected', YELLOW)}: {verdict.reason.sentence} ({verdict.reason.value})."


def _additions(review: Review) -> Iterator[str]:
    """Yield what the patch adds to the pod, a line each."""
    verdict = review.verdict
    if not verdict.operations:
        return
    for field, what in (("initContainers", "init container"), ("containers", "container"), ("volumes", "volumes")):
        names = [name for operation in verdict.operations for name in _names(operation, f"/spec/{field}")]
        if names:
            yield f"+ {what} {', '.join(names)}"
    for participant in verdict.participants:
        added = [variable.name for variable in participant.added]
        mounts = verdict.plan.mounts if verdict.plan is not None else []
        paths = [mount.mountPath for located, mount in mounts if located is participant]
        parts = [
            f"{what} {', '.join(names)}" for what, names in (("variables", added), ("a volume at", paths)) if names
        ]
        if parts:
            yield f"+ in {participant.container.name}: {'; '.join(parts)}"


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
        yield "pillion inject renews the sidecar in this file, pillion uninject takes it out"
    namespace = review.workload.namespace
    if namespace in UNSEEN:
        yield (
            f"in a cluster with the chart's defaults, pods of {namespace}{UNSEEN[namespace]} are never shown to Pillion"
        )


def _tree(plan: Plan, profile: str) -> Iterator[str]:
    """Yield the path plan: each place, who sees it where, and what is read of it."""
    yield "  Where the logs are"
    for number, place in enumerate(plan.places, 1):
        last = number == len(plan.places)
        yield f"  {'└─' if last else '├─'} {_place(place)}"
        trunk = "   " if last else "│  "
        twigs = [f"{container} has it at {path}" for container, path in place.seen_by]
        twigs.append(f"{profile} reads {', '.join(place.patterns)}")
        for twig_number, twig in enumerate(twigs, 1):
            yield f"  {trunk}{'└─' if twig_number == len(twigs) else '├─'} {twig}"


def _place(place: Place) -> str:
    mount = place.mount
    folder = f", folder {mount.subPath or mount.subPathExpr}" if mount.subPath or mount.subPathExpr else ""
    return f"volume {mount.name}{folder} ({'new, an emptyDir' if place.new else 'reused, as the pod has it'})"


# --- JSON --------------------------------------------------------------------------------------------------------


def _as_json(review: Review, *, strict: bool) -> dict[str, Any]:
    verdict, workload = review.verdict, review.workload
    plan, prefix = verdict.plan, verdict.configuration.prefix
    return {
        "source": workload.document.source,
        "document": workload.document.number,
        **workload.template_position()._asdict(),
        "kind": workload.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "injected": bool(verdict.operations),
        "refused": review.refused,
        "reason": verdict.reason.value,
        "sentence": verdict.reason.sentence,
        "profile": verdict.profile,
        "revision": verdict.revision,
        "rules": [answer._asdict() for answer in _answers(review)],
        "containers": [item.container.name for item in verdict.participants if item.chosen],
        "places": [_place_as_json(place) for place in plan.places] if plan is not None else [],
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


def _place_as_json(place: Place) -> dict[str, Any]:
    return {
        "volume": place.mount.name,
        "folder": place.mount.subPath or place.mount.subPathExpr or "",
        "new": place.new,
        "seenBy": [{"container": container, "path": path} for container, path in place.seen_by],
        "reads": place.patterns,
    }
