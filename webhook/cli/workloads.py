"""The pods in manifests: the review that a cluster would send of each, and what came of it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jsonpatch
import msgspec

from webhook.cli.decoding import Mistake, decoded
from webhook.cli.misplaced import keys_of, malformed, misplaced, misspelt, wrong_type
from webhook.cli.objects import ManifestReason, Object, Remark, Severity, dotted, mappings, objects
from webhook.cli.replicas import Target, autoscaled, shared_volumes
from webhook.cli.templates import not_edited, templates
from webhook.cli.versions import WrongVersion, wrong_version
from webhook.documents import Document, Position, written_at
from webhook.errors import ManifestError
from webhook.injection.admission import Admission
from webhook.injection.annotations import STATUS
from webhook.injection.former_values import note_former_values
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason
from webhook.injection.reasons import Severity as ReasonSeverity
from webhook.injection.removal import Kept, remove
from webhook.injection.review import Kind, Request
from webhook.injection.status import parse_status
from webhook.injection.verdict import WARNING_PREFIX, Verdict
from webhook.json_values import Path, as_list, as_mapping, at, json_pointer

__all__ = [
    "Change",
    "Removed",
    "Report",
    "Review",
    "Workload",
    "examine",
    "operations",
    "patched",
    "review",
    "workloads",
]

#: So many mistakes of one pod are named.
MAX_MISTAKES = 8
#: What only a strategic-merge patch has. https://github.com/kubernetes/community, strategic-merge-patch.md
_DIRECTIVES = ("$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/")


@dataclass(frozen=True)
class Workload(Object):
    """A pod template in an object, or a pod; ``template_path`` is where in the object, empty for a pod.

    ``is_only`` says that the object has no other template.
    """

    template_path: Path = ()
    is_only: bool = True
    #: How nulls of the template were written before an injection, by JSON pointer.
    null_spellings: Mapping[str, str] = field(default_factory=dict)
    #: What was taken out of the document's object to make this one, in that order, as JSON pointers.
    taken_out: Sequence[str] = ()
    #: How many pods an autoscaler makes of it, in words; empty where none does.
    scaled: str = ""

    @property
    def origin(self) -> str:
        """Return ``app.yaml:2:3: Deployment/web``, the template's place."""
        return self.origin_at(self.template_position())

    @cached_property
    def template(self) -> dict[str, Any]:
        """Return the pod template, or the pod."""
        return as_mapping(at(self.manifest, self.template_path))

    @property
    def annotations(self) -> dict[str, Any]:
        """Return the pod's annotations."""
        return as_mapping(as_mapping(self.template.get("metadata")).get("annotations"))

    @property
    def claims(self) -> list[str]:
        """Return the names of the volumes that a StatefulSet adds to its pods, each pod's own."""
        found = as_mapping(self.manifest.get("spec")).get("volumeClaimTemplates")
        names = [as_mapping(as_mapping(claim).get("metadata")).get("name") for claim in as_list(found)]
        return [name for name in names if isinstance(name, str)]

    def pod(self) -> dict[str, Any]:
        """Return the pod as the object's controller creates it, as far as decisions look at it."""
        if not self.template_path:
            return self.manifest
        metadata = self.template.get("metadata")
        if metadata is None or isinstance(metadata, dict):
            owner = self.metadata.get("name") or self.metadata.get("generateName") or self.kind.lower()
            metadata = as_mapping(metadata) | {"generateName": f"{owner}-", "namespace": self.namespace}
        spec = self.template.get("spec")
        if isinstance(spec, dict) and self.claims:
            spec = spec | {"volumes": [*self.volumes, *map(self._claimed, self.claims)]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    @property
    def volumes(self) -> list[Any]:
        """Return the template's volumes without those that a claim of the same name replaces."""
        found = as_list(as_mapping(self.template.get("spec")).get("volumes"))
        return [volume for volume in found if as_mapping(volume).get("name") not in self.claims]

    def _claimed(self, name: str) -> dict[str, Any]:
        return {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{self.name}-0"}}

    def request(self, pod: dict[str, Any], *, namespace_opted_in: bool) -> Request:
        """Return the review request that the API server would send of the pod."""
        name = self.metadata.get("name") if not self.template_path else None
        return Request(
            uid=f"{self.namespace}/{self.title}",
            kind=Kind("", "v1", "Pod"),
            operation="CREATE",
            namespace=self.namespace,
            name=name if isinstance(name, str) else None,
            object=msgspec.Raw(json.dumps(pod, ensure_ascii=False).encode()),
            namespace_opted_in=namespace_opted_in,
        )

    def patch(self, verdict: Verdict) -> list[dict[str, Any]]:
        """Return the verdict's operations as a JSON Patch on this object."""
        operations: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(verdict.operations))
        if not operations:
            return operations
        missing: list[dict[str, Any]] = []
        # the pod has both, made by its controller: the template may lack them
        if self.template_path and not isinstance(self.template.get("metadata"), dict):
            missing.append({"op": "add", "path": "/metadata", "value": {}})
        volumes = as_mapping(self.template.get("spec")).get("volumes")
        added = any(operation["path"] == "/spec/volumes/-" for operation in operations)
        if self.claims and added and not isinstance(volumes, list):
            missing.append({"op": "add", "path": "/spec/volumes", "value": []})
        prefix = verdict.configuration.prefix
        return self._mapped(note_former_values(self.template, [*missing, *operations], prefix, self._null_spelling))

    def _null_spelling(self, path: Path) -> str:
        """Return how YAML has a null of the template written, or had it before the injection that was taken out."""
        if self.document.is_json or json_pointer(path) in self.null_spellings:
            return self.null_spellings.get(json_pointer(path), "")
        return written_at(self.document, [*self.place, *self.template_path, *path])

    def removed(self, configuration: Configuration) -> "Removed":
        """Return what takes our sidecar out of this object: an empty patch where it has none."""
        found, kept = remove(self.template, configuration)
        patch = self._mapped(found)
        status = parse_status(self.annotations, configuration.prefix)
        words = status.null_spellings if status is not None else {}
        if not patch:
            return Removed(self, patch, kept, self)
        manifest = jsonpatch.apply_patch(self.manifest, patch)
        taken_out = [operation["path"] for operation in patch if operation["op"] == "remove"]
        return Removed(self, patch, kept, replace(self, manifest=manifest, null_spellings=words, taken_out=taken_out))

    def _mapped(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return operations on the pod as operations on the object."""
        return [operation | {"path": self._pointer(operation["path"])} for operation in operations]

    def _pointer(self, path: str) -> str:
        return json_pointer(self.template_path) + path

    def position(self, path: Path = ()) -> Position:
        """Return where something in the object stands in the file, or the nearest that exists above it."""
        place = list(path)
        for where in reversed(self.taken_out):
            parent, _, index = where.rpartition("/")
            depth = parent.count("/")
            # an item that was in front of it, or in its place
            if depth < len(place) and json_pointer(place[:depth]) == parent:
                step = place[depth]
                if isinstance(step, int) and int(index) <= step:
                    place[depth] = step + 1
        return super().position(tuple(place))

    def template_position(self, path: Path = ()) -> Position:
        """Return where something in the pod or its template stands in the file, or the nearest that exists above."""
        return self.position((*self.template_path, *path))

    def position_of(self, finding: Finding, prefix: str) -> Position:
        """Return where the annotation stands that a finding is about, or that asks; else the template's place."""
        metadata = as_mapping(self.template.get("metadata"))
        for where in (finding.annotation, "inject"):
            for holder in ("annotations", "labels"):
                if where and f"{prefix}{where}" in as_mapping(metadata.get(holder)):
                    return self.template_position(("metadata", holder, f"{prefix}{where}"))
        return self.template_position()


class Change(Protocol):
    """A workload, and the JSON Patch on it: empty where nothing changes."""

    @property
    def workload(self) -> Workload:
        """Return the workload."""

    @property
    def patch(self) -> list[dict[str, Any]]:
        """Return the patch."""


class Removed(NamedTuple):
    """What takes a sidecar out of a workload: the JSON Patch, what stays, and the workload without the sidecar."""

    workload: Workload
    patch: list[dict[str, Any]]
    kept: list[Kept]
    bare: Workload


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
    return remark._replace(severity=Severity.ERROR) if error else remark


def workloads(document: Document, namespace: str, prefix: str = "") -> list[Workload]:
    """Return the pods in a document; ManifestError where it can't be read.

    ``namespace`` is that of objects which name none. A long document is read only if it may hold a pod, or has
    ``prefix`` in it.
    """
    return [found for item in objects(document, namespace, prefix) for found in _workloads(item)]


def _workloads(item: Object) -> list[Workload]:
    paths = templates(item.group, item.kind, item.manifest)
    return [
        Workload(item.document, item.place, item.group, item.kind, item.namespace, item.manifest, path, len(paths) == 1)
        for path in paths
    ]


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
    namespaces, scaled = opted_in(found, configuration.prefix), autoscaled(found)
    reports = [
        _examine(item, configuration, scaled, opted_in=namespace_opt_in or item.namespace in namespaces)
        for item in found
    ]
    return [report for report in reports if report.reviews or report.remarks]


def opted_in(items: Iterable[Object], prefix: str) -> frozenset[str]:
    """Return the names of the namespaces among objects that are labelled ``<prefix>inject: "true"``."""
    return frozenset(
        item.name
        for item in items
        if item.kind == "Namespace" and item.group == ""
        if as_mapping(item.metadata.get("labels")).get(f"{prefix}inject") == "true"
    )


def _examine(item: Object, configuration: Configuration, scaled: Mapping[Target, str], *, opted_in: bool) -> Report:
    prefix = configuration.prefix
    keys = keys_of(item.manifest, prefix)
    pods = scaled.get(Target(item.namespace, item.kind, item.name), "")
    found = [replace(workload, scaled=pods) for workload in _workloads(item)]
    remarks: list[Remark] = []
    wrong = wrong_version(item)
    if wrong is not None:
        has_keys = bool(keys or malformed(item.manifest, [()], prefix))
        remarks += _wrong_version(item, wrong, has_keys=has_keys, opted_in=opted_in)
        if wrong.unknown:
            return Report(item, [], remarks)
    remarks += misplaced(item, [workload.template_path for workload in found], keys, prefix) if keys else []
    remarks += misspelt(item, [workload.template_path for workload in found], prefix)
    remarks += _narrowed(item, keys, prefix, opted_in=opted_in)
    paths = [workload.template_path for workload in found]
    # what is wrong in a pod is found when it is read
    remarks += [wrong_type(item, path) for path in malformed(item.manifest, [()], prefix) if () not in paths]
    concerned = bool(keys) or opted_in or bool(malformed(item.manifest, paths, prefix))
    reviews = [review(workload, configuration, namespace_opted_in=opted_in, concerned=concerned) for workload in found]
    return Report(item, reviews, remarks)


def _wrong_version(item: Object, wrong: WrongVersion, *, has_keys: bool, opted_in: bool) -> Iterator[Remark]:
    """Yield a remark on an object that the API server refuses, or that only an old one takes."""
    # without both it may be anything: a chart's values have a kind, too
    is_object = item.group is not None and bool(item.kind)
    concerned = has_keys or (opted_in and is_object)
    if concerned or (is_object and wrong.unknown):
        head = WARNING_PREFIX if wrong.unknown else ""
        severity = Severity.WARNING if concerned else Severity.NOTE
        position, reason = item.position((wrong.key,)), ManifestReason.WRONG_VERSION
        yield Remark(position, severity, reason, f"{head}{wrong.text}", unmet=concerned and wrong.unknown)


def _narrowed(item: Object, keys: Sequence[Path], prefix: str, *, opted_in: bool) -> Iterator[Remark]:
    """Yield a remark on an object that can't be edited, though its pods are injected."""
    template = not_edited(item.group, item.kind)
    if template is None:
        return
    holder = (*template, "metadata", "annotations")
    asking = [path for path in keys if path[:-1] == holder]
    if not (asking or opted_in) or as_mapping(at(item.manifest, holder)).get(f"{prefix}inject") == "false":
        return
    text = f"{WARNING_PREFIX}Knative takes no init containers in a {item.kind}; its pods go through the webhook"
    position, severity = item.position(asking[0] if asking else ()), Severity.WARNING if asking else Severity.NOTE
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
    return written_at(workload.document, [*workload.place, *workload.template_path, *path])


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
        head = "" if remarks else WARNING_PREFIX
        position = workload.template_position(mistake.path)
        remarks.append(Remark(position, Severity.WARNING, finding.reason, f"{head}{finding.message}", unmet=True))
    if len(mistakes) > MAX_MISTAKES:
        more = f"and {len(mistakes) - MAX_MISTAKES} more that the API server refuses"
        remarks.append(remarks[-1]._replace(text=more))
    ours = any(_is_ours(mistake.path, prefix) for mistake in mistakes)
    return Review(workload, admission, remarks if concerned else [], denied=verdict.configuration.strict and ours)


def _review(workload: Workload, admission: Admission, *, asks: bool, concerned: bool) -> Review:
    verdict = admission.verdict
    prefix = verdict.configuration.prefix
    # the texts are cut to a warning's length, and the positions are not in them
    told = {finding.warning(prefix, head): finding for finding in verdict.findings for head in (WARNING_PREFIX, "")}
    unmet = _is_unmet(verdict, asks=asks)
    remarks = []
    for text in verdict.warnings if concerned else ():
        finding = told.get(text)
        if finding is not None and finding.reason is Reason.LABEL_WITHOUT_EFFECT:
            continue  # told with the right place in the object, as every key that does nothing where it is
        position = workload.position_of(finding, prefix) if finding else workload.template_position()
        reason = finding.reason if finding else verdict.reason
        missed = unmet if not verdict.injected else reason in _NOT_A_KEY
        remarks.append(Remark(position, Severity.WARNING, reason, text, unmet=missed))
    if unmet and concerned and not remarks:
        position = workload.position_of(verdict.findings[0], prefix)
        text = f"{WARNING_PREFIX}{verdict.findings[0].text(prefix)}"
        remarks.append(Remark(position, Severity.WARNING, verdict.findings[0].reason, text, unmet=True))
    if verdict.injected:
        for path, text in shared_volumes(workload, workload.template_path, workload.claims, admission, workload.scaled):
            position = workload.template_position(path)
            remarks.append(Remark(position, Severity.WARNING, ManifestReason.SHARED_VOLUME, text))
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
    return asks or verdict.reason.severity in (ReasonSeverity.WARNING, ReasonSeverity.INVALID)


def operations(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Return the patches of a document's workloads as one JSON Patch on the document."""
    return [
        operation | {"path": json_pointer(found.workload.place) + operation["path"]}
        for found in changes
        for operation in found.patch
    ]


def patched(document: Document, changes: Iterable[Change]) -> Any:
    """Return the document's value with the patches of all its workloads."""
    return jsonpatch.apply_patch(document.value, operations(changes), in_place=True)
