"""What is found in objects: the review that a cluster would send of each pod, and remarks on what is no pod's."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from webhook.documents import Document, written_at
from webhook.errors import ManifestError
from webhook.injection.admission import Admission
from webhook.injection.annotations import STATUS
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason, Severity
from webhook.injection.verdict import WARNING_LEAD, Verdict
from webhook.json_values import Path, as_mapping, at
from webhook.workloads.decoding import Mistake, decoded
from webhook.workloads.misplaced import keys_of, malformed, misplaced, misspelt, wrong_type
from webhook.workloads.objects import ManifestReason, Object, Remark, RemarkSeverity, dotted, mappings, objects
from webhook.workloads.replicas import Target, autoscaled, shared_between, shared_volumes
from webhook.workloads.templates import not_edited
from webhook.workloads.versions import WrongVersion, wrong_version
from webhook.workloads.workload import Removed, Workload, workloads_in

__all__ = ["Report", "Review", "examine", "examine_object", "opted_in_namespaces", "review"]

#: So many mistakes of one pod are named.
MAX_MISTAKES = 8
#: What only a strategic-merge patch has. https://github.com/kubernetes/community, strategic-merge-patch.md
_DIRECTIVES = ("$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/")


class Review(NamedTuple):
    """What is decided about a workload's pod, and what its author should know."""

    workload: Workload
    admission: Admission
    remarks: list[Remark]
    denied: bool
    #: Where a sidecar is replaced: how the old one is taken out first.
    removed: Removed | None = None

    def remarks_for(self, *, strict: bool) -> list[Remark]:
        """Return the remarks; errors are what strict refuses."""
        return [_graded(remark, error=self.denied or (strict and remark.unmet)) for remark in self.remarks]

    @property
    def verdict(self) -> Verdict:
        """Return what is decided."""
        return self.admission.verdict

    @property
    def patch(self) -> list[dict[str, Any]]:
        """Return the JSON Patch on the workload, empty where nothing changes."""
        if self.removed is None or not self.verdict.operations:
            return self.workload.patch(self.verdict)
        return [*self.removed.patch, *self.removed.bare.patch(self.verdict)]


class Report(NamedTuple):
    """What is found in one object: the reviews of its pods, and remarks on what is no pod's."""

    item: Object
    reviews: list[Review]
    remarks: list[Remark]

    def remarks_for(self, *, strict: bool) -> list[Remark]:
        """Return the remarks on the object and its pods, in the order of the file; errors are what strict refuses."""
        found = [_graded(remark, error=strict and remark.unmet) for remark in self.remarks]
        for review in self.reviews:
            found += review.remarks_for(strict=strict)
        return sorted(found, key=lambda remark: remark.position)

    @property
    def is_unmet(self) -> bool:
        """Return whether a pod that asks is not injected, or not as its author asked."""
        return any(remark.unmet for remark in self.remarks_for(strict=False))


def _graded(remark: Remark, *, error: bool) -> Remark:
    return remark._replace(severity=RemarkSeverity.ERROR) if error else remark


def examine(
    documents: Iterable[Document], configuration: Configuration, *, namespace: str, namespace_opt_in: bool
) -> list[Report]:
    """Return what is found in the objects of a stream, in order; ManifestError names every document that can't be read.

    ``namespace`` is that of objects which name none; ``namespace_opt_in`` means that all namespaces opt in.
    """
    found: list[Object] = []
    problems: list[str] = []
    for document in documents:
        try:
            found.extend(objects(document, namespace, configuration.prefix))
        except ManifestError as error:
            problems.append(str(error))
    if problems:
        raise ManifestError("\n".join(problems))
    namespaces, scaled = opted_in_namespaces(found, configuration.prefix), autoscaled(found)
    reports = [
        examine_object(item, configuration, scaled, namespace_opted_in=namespace_opt_in or item.namespace in namespaces)
        for item in found
    ]
    injected = [review for report in reports for review in report.reviews if review.verdict.injected]
    for number, path, text in shared_between([(each.workload, each.admission) for each in injected]):
        position = injected[number].workload.template_position(path)
        injected[number].remarks.append(Remark(position, RemarkSeverity.WARNING, ManifestReason.SHARED_VOLUME, text))
    concerned = [report for report in reports if report.reviews or report.remarks]
    _warn_of_duplicates(concerned, configuration.prefix)
    return concerned


def _warn_of_duplicates(reports: Sequence[Report], prefix: str) -> None:
    """Add a remark for each key that stands twice in a document with keys of ours: only the last one counts."""
    told: set[int] = set()
    for report in reports:
        document = report.item.document
        if id(document) not in told and prefix in document.text:
            told.add(id(document))
            found = document.warnings
            report.remarks.extend(
                Remark(position, RemarkSeverity.WARNING, ManifestReason.DUPLICATE_KEY, message)
                for position, message in found[:MAX_MISTAKES]
            )
            if len(found) > MAX_MISTAKES:
                more = f"and {len(found) - MAX_MISTAKES} more duplicate keys"
                report.remarks.append(report.remarks[-1]._replace(text=more))


def opted_in_namespaces(items: Iterable[Object], prefix: str) -> frozenset[str]:
    """Return the names of the namespaces among objects that are labelled ``<prefix>inject: "true"``."""
    return frozenset(
        item.name
        for item in items
        if item.kind == "Namespace" and item.group == ""
        if as_mapping(item.metadata.get("labels")).get(f"{prefix}inject") == "true"
    )


def examine_object(
    item: Object, configuration: Configuration, scaled: Mapping[Target, str], *, namespace_opted_in: bool
) -> Report:
    """Return what is found in one object.

    ``scaled`` says how many pods autoscalers make; ``namespace_opted_in`` that the object's namespace opts in.
    """
    prefix = configuration.prefix
    keys = keys_of(item.manifest, prefix)
    pods = scaled.get(Target(item.namespace, item.kind, item.name), "")
    found = [replace(workload, scaled=pods) for workload in workloads_in(item)]
    remarks: list[Remark] = []
    wrong = wrong_version(item)
    if wrong is not None:
        has_keys = bool(keys or malformed(item.manifest, [()], prefix))
        remarks += _wrong_version(item, wrong, has_keys=has_keys, namespace_opted_in=namespace_opted_in)
        if wrong.unknown:
            return Report(item, [], remarks)
    remarks += misplaced(item, [workload.template_path for workload in found], keys, prefix) if keys else []
    remarks += misspelt(item, [workload.template_path for workload in found], prefix)
    remarks += _narrowed(item, keys, prefix, namespace_opted_in=namespace_opted_in)
    paths = [workload.template_path for workload in found]
    # what is wrong in a pod is found when it is read
    remarks += [wrong_type(item, path) for path in malformed(item.manifest, [()], prefix) if () not in paths]
    concerned = bool(keys) or namespace_opted_in or bool(malformed(item.manifest, paths, prefix))
    reviews = [
        review(workload, configuration, namespace_opted_in=namespace_opted_in, concerned=concerned)
        for workload in found
    ]
    return Report(item, reviews, remarks)


def _wrong_version(item: Object, wrong: WrongVersion, *, has_keys: bool, namespace_opted_in: bool) -> Iterator[Remark]:
    """Yield a remark on an object that the API server refuses, or that only an old one takes."""
    # without both it may be anything: a chart's values have a kind, too
    is_object = item.group is not None and bool(item.kind)
    concerned = has_keys or (namespace_opted_in and is_object)
    if concerned or (is_object and wrong.unknown):
        head = WARNING_LEAD if wrong.unknown else ""
        severity = RemarkSeverity.WARNING if concerned else RemarkSeverity.NOTE
        position, reason = item.position((wrong.key,)), ManifestReason.WRONG_VERSION
        yield Remark(position, severity, reason, f"{head}{wrong.text}", unmet=concerned and wrong.unknown)


def _narrowed(item: Object, keys: Sequence[Path], prefix: str, *, namespace_opted_in: bool) -> Iterator[Remark]:
    """Yield a remark on an object that can't be edited, though its pods are injected."""
    template = not_edited(item.group, item.kind)
    if template is None:
        return
    holder = (*template, "metadata", "annotations")
    asking = [path for path in keys if path[:-1] == holder]
    if not (asking or namespace_opted_in) or as_mapping(at(item.manifest, holder)).get(f"{prefix}inject") == "false":
        return
    text = f"{WARNING_LEAD}Knative takes no init containers in a {item.kind}; its pods go through the webhook"
    position, severity = (
        item.position(asking[0] if asking else ()),
        RemarkSeverity.WARNING if asking else RemarkSeverity.NOTE,
    )
    yield Remark(position, severity, ManifestReason.NOT_EDITED, text, unmet=bool(asking))


# --- one pod -----------------------------------------------------------------------------------------------------


def review(
    workload: Workload, configuration: Configuration, *, namespace_opted_in: bool, concerned: bool = True
) -> Review:
    """Return what the webhook would decide, with what only the manifest's author can be told.

    ``concerned`` says that the object or its namespace has to do with us: nobody else is told what is wrong.
    """
    pod = workload.pod()
    admission = Admission(workload.request(pod, namespace_opted_in=namespace_opted_in), configuration)
    verdict = admission.run()
    asks = _asks(workload, configuration.prefix)
    mistakes: list[Mistake] = []
    if verdict.reason not in _NOT_ASKING:
        sign = _sign_of_patch(workload)
        if sign:
            admission.decline_after_all([Finding(Reason.NO_CONTAINERS, sign)])
            return _review(workload, admission, asks=asks, concerned=asks)
        if verdict.reason is Reason.UNREADABLE_POD:
            pod, mistakes = decoded(pod, lambda path: _written(workload, path, configuration.prefix))
            if not mistakes:
                admission = Admission(workload.request(pod, namespace_opted_in=namespace_opted_in), configuration)
                admission.run()
    if mistakes:
        # the API server refuses the object before it asks anybody, and the decoder's words would help nobody
        admission.decline_after_all([_finding(mistake, configuration.prefix) for mistake in mistakes[:MAX_MISTAKES]])
        return _mistaken(workload, admission, mistakes, concerned=concerned)
    return _review(workload, admission, asks=asks, concerned=concerned)


#: Of an annotation that does nothing because nothing has its name.
_NOT_A_KEY = frozenset({Reason.UNKNOWN_KEY, Reason.MISSPELT_KEY})
#: Nobody wants to know more of these pods.
_NOT_ASKING = frozenset({Reason.NOT_REQUESTED, Reason.OPTED_OUT, Reason.ALREADY_INJECTED})


def _asks(workload: Workload, prefix: str) -> bool:
    """Return whether the pod itself asks: it has a key of ours and does not refuse."""
    keys = [key for key in workload.annotations if key.startswith(prefix) and key != f"{prefix}{STATUS}"]
    return bool(keys) and workload.annotations.get(f"{prefix}inject") != "false"


def _sign_of_patch(workload: Workload) -> str:
    """Return what tells that an object is a patch and no whole object, nothing for a whole one."""
    hint = "a Kustomize or strategic-merge patch? Inject what kustomize build prints"
    spec = workload.template.get("spec")
    if (spec is None or isinstance(spec, dict)) and not as_mapping(spec).get("containers"):
        return f"it has no containers: {hint}"
    if "$" in workload.document.text:
        for _, mapping in mappings(workload.manifest):
            directive = next((key for key in mapping if key.startswith(_DIRECTIVES)), None)
            if directive is not None:
                return f"it has {directive.partition('/')[0]}: {hint}"
    return ""


def _is_ours(path: Path, prefix: str) -> bool:
    """Return whether a path in a pod is that of an annotation of ours."""
    return path[:-1] == ("metadata", "annotations") and str(path[-1]).startswith(prefix)


def _written(workload: Workload, path: Path, prefix: str) -> str:
    """Return how a scalar of the pod is written; what YAML takes for a boolean, in the words that we take."""
    value = at(workload.template, path)
    if isinstance(value, bool) and _is_ours(path, prefix):
        return json.dumps(value)
    # what comes from the API server stands in no file
    return written_at(workload.document, [*workload.place, *workload.template_path, *path]) or json.dumps(value)


def _finding(mistake: Mistake, prefix: str) -> Finding:
    where = str(mistake.path[-1]) if _is_ours(mistake.path, prefix) else dotted(mistake.path)
    text = f"{where} {mistake.found}, which the API server refuses; {mistake.instead}"
    return Finding(Reason.UNREADABLE_POD, text)


def _mistaken(workload: Workload, admission: Admission, mistakes: Sequence[Mistake], *, concerned: bool) -> Review:
    """Return the review of a pod that the API server refuses."""
    remarks: list[Remark] = []
    verdict = admission.verdict
    prefix = verdict.configuration.prefix
    for finding, mistake in zip(verdict.findings, mistakes, strict=False):
        head = "" if remarks else WARNING_LEAD
        position = workload.template_position(mistake.path)
        remarks.append(Remark(position, RemarkSeverity.WARNING, finding.reason, f"{head}{finding.message}", unmet=True))
    if len(mistakes) > MAX_MISTAKES:
        more = f"and {len(mistakes) - MAX_MISTAKES} more that the API server refuses"
        remarks.append(remarks[-1]._replace(text=more))
    ours = any(_is_ours(mistake.path, prefix) for mistake in mistakes)
    return Review(workload, admission, remarks if concerned else [], denied=verdict.configuration.strict and ours)


def _review(workload: Workload, admission: Admission, *, asks: bool, concerned: bool) -> Review:
    verdict = admission.verdict
    prefix = verdict.configuration.prefix
    # the texts are cut to a warning's length, and the positions are not in them
    told = {finding.warning(prefix, head): finding for finding in verdict.findings for head in (WARNING_LEAD, "")}
    unmet = _is_unmet(verdict, asks=asks)
    remarks = []
    for text in verdict.warnings if concerned else ():
        finding = told.get(text)
        if finding is not None and finding.reason is Reason.LABEL_WITHOUT_EFFECT:
            continue  # told with the right place in the object, as every key that does nothing where it is
        position = workload.position_of(finding, prefix) if finding else workload.template_position()
        reason = finding.reason if finding else verdict.reason
        missed = unmet if not verdict.injected else reason in _NOT_A_KEY
        remarks.append(Remark(position, RemarkSeverity.WARNING, reason, text, unmet=missed))
    if unmet and concerned and not remarks:
        position = workload.position_of(verdict.findings[0], prefix)
        text = f"{WARNING_LEAD}{verdict.findings[0].text(prefix)}"
        remarks.append(Remark(position, RemarkSeverity.WARNING, verdict.findings[0].reason, text, unmet=True))
    if verdict.injected:
        for path, text in shared_volumes(workload, workload.template_path, workload.claims, admission, workload.scaled):
            position = workload.template_position(path)
            remarks.append(Remark(position, RemarkSeverity.WARNING, ManifestReason.SHARED_VOLUME, text))
    return Review(workload, admission, remarks, denied=not verdict.allowed)


def _is_unmet(verdict: Verdict, *, asks: bool) -> bool:
    """Return whether somebody asked and nothing is injected.

    ==========================================  ======================================
    not injected because                        unmet
    ==========================================  ======================================
    the pod refuses, or has our sidecar         no
    anything else, and the pod has keys of ours  yes
    anything else, and only the namespace asks  where the reason is worth a warning
    ==========================================  ======================================
    """
    if verdict.injected or verdict.reason in (Reason.OPTED_OUT, Reason.ALREADY_INJECTED):
        return False
    return asks or verdict.reason.severity in (Severity.WARNING, Severity.INVALID)
