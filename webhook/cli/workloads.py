"""The pods in manifests: where each kind has its pod, and the review that a cluster would send of it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jsonpatch
import msgspec

from webhook.documents import Document, line_of
from webhook.injection.admission import Verdict, admit
from webhook.injection.annotations import KEYS
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding, Reason, shown
from webhook.injection.removal import Left, note_empty_values, remove
from webhook.injection.review import Kind, Request

__all__ = ["Change", "Removed", "Review", "Workload", "operations", "opted_in", "patched", "review", "workloads"]

#: Longer documents of other kinds are not read at all: a bundle of CRDs takes minutes, and nothing comes of it.
GLANCE_LENGTH = 16 * 1024


class _Kind(NamedTuple):
    group: str
    template: tuple[str, ...]


_TEMPLATE = ("spec", "template")
#: Where the pod is. API groups by their present name; ``extensions`` is how old manifests call ``apps``.
KINDS = {
    "Pod": _Kind("", ()),
    "ReplicationController": _Kind("", _TEMPLATE),
    "Deployment": _Kind("apps", _TEMPLATE),
    "StatefulSet": _Kind("apps", _TEMPLATE),
    "DaemonSet": _Kind("apps", _TEMPLATE),
    "ReplicaSet": _Kind("apps", _TEMPLATE),
    "Job": _Kind("batch", _TEMPLATE),
    "CronJob": _Kind("batch", ("spec", "jobTemplate", "spec", "template")),
}
_OLD_GROUPS = {"extensions": "apps"}


@dataclass(frozen=True)
class Workload:
    """An object that holds a pod. ``place`` is its path in the document: empty, or ``("items", 0)`` in a List."""

    document: Document
    place: tuple[str | int, ...]
    kind: str
    namespace: str
    manifest: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the object's own metadata."""
        return _mapping(self.manifest.get("metadata"))

    @property
    def name(self) -> str:
        """Return the name, or its beginning with a ``*`` where the cluster makes the rest."""
        name, beginning = self.metadata.get("name"), self.metadata.get("generateName")
        return str(name) if name else f"{beginning}*" if beginning else "(no name)"

    @property
    def title(self) -> str:
        """Return ``Deployment/web``."""
        return f"{self.kind}/{self.name}"

    @property
    def origin(self) -> str:
        """Return ``app.yaml:2: Deployment/web``."""
        return f"{self.document.source}:{self.document.number}: {self.title}"

    @property
    def template_path(self) -> tuple[str, ...]:
        """Return where in the object its pod template is; empty for a pod."""
        return KINDS[self.kind].template

    @cached_property
    def template(self) -> dict[str, Any]:
        """Return the pod template, or the pod."""
        return _mapping(_at(self.manifest, self.template_path))

    @property
    def claims(self) -> list[str]:
        """Return the names of the volumes that a StatefulSet adds to its pods."""
        if self.kind != "StatefulSet":
            return []
        found = _mapping(self.manifest.get("spec")).get("volumeClaimTemplates")
        names = [_mapping(_mapping(claim).get("metadata")).get("name") for claim in _list(found)]
        return [name for name in names if isinstance(name, str)]

    def pod(self) -> dict[str, Any]:
        """Return the pod as the object's controller creates it, as far as decisions look at it."""
        if not self.template_path:
            return self.manifest
        metadata = _mapping(self.template.get("metadata")) | {
            "generateName": f"{self.metadata.get('name') or self.metadata.get('generateName') or self.kind.lower()}-",
            "namespace": self.namespace,
        }
        spec = self.template.get("spec")
        if isinstance(spec, dict) and self.claims:
            spec = spec | {"volumes": [*self.volumes, *map(self._claimed, self.claims)]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    @property
    def volumes(self) -> list[Any]:
        """Return the template's volumes without those that a claim of the same name replaces."""
        found = _list(_mapping(self.template.get("spec")).get("volumes"))
        return [volume for volume in found if _mapping(volume).get("name") not in self.claims]

    def _claimed(self, name: str) -> dict[str, Any]:
        return {"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{self.name}-0"}}

    def request(self, *, namespace_opted_in: bool) -> Request:
        """Return the review request that the API server would send."""
        metadata = self.metadata if not self.template_path else {}
        return Request(
            uid=f"{self.namespace}/{self.title}",
            kind=Kind("", "v1", "Pod"),
            operation="CREATE",
            namespace=self.namespace,
            name=metadata.get("name") if isinstance(metadata.get("name"), str) else None,
            object=msgspec.Raw(json.dumps(self.pod(), ensure_ascii=False).encode()),
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
        volumes = _mapping(self.template.get("spec")).get("volumes")
        if self.claims and not isinstance(volumes, list):
            missing.append({"op": "add", "path": "/spec/volumes", "value": []})
        return self._mapped(note_empty_values(self.template, [*missing, *operations], verdict.configuration.prefix))

    def removed(self, configuration: Configuration) -> "Removed":
        """Return what takes our sidecar out of this object: an empty patch where it has none."""
        operations, left = remove(self.template, configuration)
        patch = self._mapped(operations)
        bare = replace(self, manifest=jsonpatch.apply_patch(self.manifest, patch)) if patch else self
        return Removed(self, patch, left, bare)

    def _mapped(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return operations on the pod as operations on the object."""
        return [operation | {"path": self._pointer(operation["path"])} for operation in operations]

    def _pointer(self, path: str) -> str:
        return _pointer(self.template_path) + path

    def line(self, *path: str | int) -> int:
        """Return the file's line of something in the pod or its template."""
        return line_of(self.document, [*self.place, *self.template_path, *path])


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
    left: list[Left]
    bare: Workload


class Review(NamedTuple):
    """What is decided about a workload's pod, and what its author should know."""

    workload: Workload
    verdict: Verdict
    warnings: list[str]
    refused: bool
    #: Where a sidecar is renewed: how the old one is taken out first.
    removed: Removed | None = None

    @property
    def patch(self) -> list[dict[str, Any]]:
        """Return the JSON Patch on the workload, empty where nothing changes."""
        if self.removed is None or not self.verdict.operations:
            return self.workload.patch(self.verdict)
        return [*self.removed.patch, *self.removed.bare.patch(self.verdict)]


def workloads(document: Document, namespace: str) -> list[Workload]:
    """Return the objects in a document that hold pods; ManifestError where the document can't be read.

    ``namespace`` is that of objects which name none.
    """
    return [
        Workload(document, place, manifest["kind"], _namespace(manifest, namespace), manifest)
        for place, manifest in _objects(document)
        if (known := KINDS.get(manifest["kind"])) and known.group == _group(manifest)
    ]


def opted_in(documents: Iterable[Document], prefix: str) -> frozenset[str]:
    """Return the names of the namespaces in a stream that are labelled ``<prefix>inject: "true"``."""
    return frozenset(
        str(_mapping(manifest.get("metadata")).get("name"))
        for document in documents
        for _, manifest in _objects(document)
        if manifest["kind"] == "Namespace" and not _group(manifest)
        if _mapping(_mapping(manifest.get("metadata")).get("labels")).get(f"{prefix}inject") == "true"
    )


def review(workload: Workload, configuration: Configuration, *, namespace_opted_in: bool) -> Review:
    """Return what the webhook would decide, with warnings that only the manifest's author can be given."""
    verdict = admit(workload.request(namespace_opted_in=namespace_opted_in), configuration)
    mistyped = list(_mistyped(workload, configuration.prefix))
    if mistyped:
        # the API server refuses the object before it asks anybody, and the decoder's words would help nobody
        verdict.operations = []
        verdict.reason = Reason.UNREADABLE_POD
        verdict.findings = [Finding(verdict.reason, "", "", text) for text in mistyped]
        return Review(workload, verdict, mistyped, refused=configuration.strict)
    warnings = [*verdict.warnings, *_misplaced(workload, configuration.prefix)]
    return Review(workload, verdict, warnings, refused=not verdict.allowed)


def operations(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Return the patches of a document's workloads as one JSON Patch on the document."""
    return [
        operation | {"path": _pointer(found.workload.place) + operation["path"]}
        for found in changes
        for operation in found.patch
    ]


def patched(document: Document, changes: Iterable[Change]) -> Any:
    """Return the document's value with the patches of all its workloads."""
    return jsonpatch.apply_patch(document.value, operations(changes), in_place=True)


def _objects(document: Document) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Yield the objects of a document with their paths, those in a List one by one."""
    if document.is_blank or (len(document.text) > GLANCE_LENGTH and not _may_matter(document.kind_at_a_glance)):
        return
    value = document.value
    if value is None:
        return
    if not isinstance(value, dict):
        said = "a list" if isinstance(value, list) else shown(str(value))
        raise document.error(f"expected a mapping with apiVersion and kind, found {said}", document.first_content)
    yield from _flattened(value, ())


def _may_matter(kind: str) -> bool:
    return not kind or kind in KINDS or kind == "Namespace" or kind.endswith("List")


def _flattened(
    manifest: dict[str, Any], place: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    kind, items = manifest.get("kind"), manifest.get("items")
    if not isinstance(kind, str):
        return
    if not (kind.endswith("List") and isinstance(items, list)):
        yield place, manifest
        return
    # the items of a DeploymentList need not say that they are Deployments
    implied = {"apiVersion": manifest.get("apiVersion")}
    if kind != "List":
        implied["kind"] = kind.removesuffix("List")
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield from _flattened(item if "kind" in item else implied | item, (*place, "items", index))


def _group(manifest: dict[str, Any]) -> str | None:
    """Return the API group, None where there is no apiVersion."""
    version = manifest.get("apiVersion")
    if not isinstance(version, str):
        return None
    group = version.rpartition("/")[0]
    return _OLD_GROUPS.get(group, group)


def _namespace(manifest: dict[str, Any], default: str) -> str:
    found = _mapping(manifest.get("metadata")).get("namespace")
    return found if isinstance(found, str) and found else default


def _mistyped(workload: Workload, prefix: str) -> Iterator[str]:
    """Yield a warning for each annotation of ours that YAML does not read as a string."""
    for key, value in _mapping(_mapping(workload.template.get("metadata")).get("annotations")).items():
        if key.startswith(prefix) and not isinstance(value, str):
            line = workload.line("metadata", "annotations", key)
            text = json.dumps(value)
            instead = f'write "{text}"' if isinstance(value, bool | int | float) else "write text"
            yield f"line {line}: {key} is {_type(value)}, which the API server refuses; {instead}, in quotes"


def _misplaced(workload: Workload, prefix: str) -> Iterator[str]:
    """Yield a warning where our annotations are on the workload itself, where they do nothing."""
    if not workload.template_path:
        return
    for key in _mapping(workload.metadata.get("annotations")):
        if key.startswith(prefix) and key.removeprefix(prefix) in KEYS:
            where = ".".join((*workload.template_path, "metadata", "annotations"))
            yield f"{key} is on the {workload.kind}, where it does nothing; move it to {where}"
            return


def _type(value: object) -> str:
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "null" if value is None else "no text"


def _pointer(path: Iterable[str | int]) -> str:
    """Return a path as a JSON pointer."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in path)


def _at(value: Any, path: Iterable[str]) -> Any:
    for key in path:
        value = _mapping(value).get(key)
    return value


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
