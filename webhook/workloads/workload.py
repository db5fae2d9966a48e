"""A pod template in an object: the pod that its controller makes of it, and the way back from a patch on that pod."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jsonpatch
import msgspec

from webhook.documents import Document, Position, written_at
from webhook.injection.former_values import record_former_values
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Finding
from webhook.injection.removal import Kept, remove
from webhook.injection.review import Request, creation_request
from webhook.injection.status import parse_status
from webhook.injection.verdict import Verdict
from webhook.json_values import Path, as_list, as_mapping, at, json_pointer
from webhook.workloads.objects import Object, objects
from webhook.workloads.templates import templates

__all__ = ["Change", "Removed", "Workload", "operations", "patched", "workloads", "workloads_in"]


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
        return creation_request(
            msgspec.Raw(json.dumps(pod, ensure_ascii=False).encode()),
            namespace_opted_in=namespace_opted_in,
            uid=f"{self.namespace}/{self.title}",
            namespace=self.namespace,
            name=name if isinstance(name, str) else None,
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
        return self._mapped(record_former_values(self.template, [*missing, *operations], prefix, self._null_spelling))

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


def workloads(document: Document, namespace: str, prefix: str = "") -> list[Workload]:
    """Return the pods in a document; ManifestError where it can't be read.

    ``namespace`` is that of objects which name none. A long document is read only if it may hold a pod, or has
    ``prefix`` in it.
    """
    return [found for item in objects(document, namespace, prefix) for found in workloads_in(item)]


def workloads_in(item: Object) -> list[Workload]:
    """Return the pods in an object."""
    paths = templates(item.group, item.kind, item.manifest)
    return [
        Workload(item.document, item.place, item.group, item.kind, item.namespace, item.manifest, path, len(paths) == 1)
        for path in paths
    ]


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
