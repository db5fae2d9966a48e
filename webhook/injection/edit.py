"""The pod editor, which records each edit as an RFC 6902 operation.

The patch is recorded, not computed from two versions: a diff costs a hundred times more, and may choose other
operations than were meant. Property: the operations applied to the original give the edited pod.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from webhook.injection.pod import Container, EnvVar, LocalObjectReference, ObjectMeta, PodSpec, VolumeMount
from webhook.json_values import json_pointer

__all__ = ["ContainerRef", "Operation", "PodEditor", "encode_patch"]


_encode = msgspec.json.Encoder().encode


class Operation(Struct, gc=False):
    """One RFC 6902 operation of an injection: always ``add``. A removal has other ones, as dictionaries."""

    op: str
    path: str
    value: Any


class ContainerRef(Struct, gc=False):
    """A container and its JSON pointer in the pod as it was sent."""

    container: Container
    pointer: str


def encode_patch(operations: Sequence[Operation]) -> bytes:
    """Return the JSON Patch document that the operations make."""
    return _encode(operations)


class PodEditor:
    """The decoded pod (``metadata``, ``spec``), edited in place, and the ``operations`` that made it so.

    Containers are edited by their original pointers, so the sidecar is inserted last. Added values are put into
    the spec as they are, not as typed views: no decision reads them. The request's own metadata stays as it was sent.
    """

    def __init__(self, metadata: ObjectMeta | None, spec: PodSpec) -> None:
        self.operations: list[Operation] = []
        self.metadata = metadata
        self.spec = spec
        #: The names of the image pull secrets that were added.
        self.pull_secrets: list[str] = []

    def add_volumes(self, volumes: Iterable[dict[str, Any]]) -> None:
        """Append volumes."""
        self.spec.volumes = self._append(self.spec.volumes, "/spec/volumes", volumes)

    def add_mount(self, container_ref: ContainerRef, mount: VolumeMount) -> None:
        """Append a mount to a container."""
        container = container_ref.container
        container.volumeMounts = self._append(container.volumeMounts, f"{container_ref.pointer}/volumeMounts", (mount,))

    def prepend_variables(self, container_ref: ContainerRef, variables: Sequence[EnvVar]) -> None:
        """Insert variables before a container's own, in order."""
        container = container_ref.container
        pointer = f"{container_ref.pointer}/env"
        if container.env:
            first = f"{pointer}/0"
            for variable in reversed(variables):
                self.operations.append(Operation("add", first, variable))
            container.env[:0] = variables
        elif variables:
            self.operations.append(Operation("add", pointer, variables))
            container.env = list(variables)

    def add_pull_secrets(self, names: Iterable[str]) -> None:
        """Append references to image pull secrets, without those that the pod has."""
        present = self.spec.imagePullSecrets
        known = {reference.name for reference in present or ()}
        self.pull_secrets = [name for name in dict.fromkeys(names) if name not in known]
        missing = map(LocalObjectReference, self.pull_secrets)
        self.spec.imagePullSecrets = self._append(present, "/spec/imagePullSecrets", missing)

    def add_container(self, container: dict[str, Any]) -> None:
        """Append an ordinary container."""
        self.spec.containers = self._append(self.spec.containers, "/spec/containers", (container,))

    def add_init_container(self, container: dict[str, Any], position: int | None) -> None:
        """Insert an init container at index ``position``, or append it for None."""
        present = self.spec.initContainers
        if position is None or not present or position >= len(present):
            self.spec.initContainers = self._append(present, "/spec/initContainers", (container,))
        else:
            self.operations.append(Operation("add", f"/spec/initContainers/{position}", container))
            present.insert(position, container)  # type: ignore[arg-type]

    def add_annotations(self, annotations: dict[str, str]) -> None:
        """Set annotations."""
        if self.metadata is None:
            self.metadata = ObjectMeta(annotations=dict(annotations))
            self.operations.append(Operation("add", "/metadata", {"annotations": annotations}))
        elif self.metadata.annotations is None:
            self.metadata = replace(self.metadata, annotations=annotations)
            self.operations.append(Operation("add", "/metadata/annotations", annotations))
        else:
            self.metadata = replace(self.metadata, annotations={**self.metadata.annotations, **annotations})
            for key, value in annotations.items():
                self.operations.append(Operation("add", f"/metadata/annotations{json_pointer((key,))}", value))

    def _append(self, present: list[Any] | None, pointer: str, values: Iterable[Any]) -> list[Any] | None:
        """Append to a list and return it. If it is null or missing, the first operation creates it."""
        for value in values:
            if present is None:
                self.operations.append(Operation("add", pointer, [value]))
                present = [value]
            else:
                self.operations.append(Operation("add", f"{pointer}/-", value))
                present.append(value)
        return present
