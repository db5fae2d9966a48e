"""A pod that is edited and records each edit as an RFC 6902 operation.

The patch is recorded, not computed from two versions: a diff costs a hundred times more and does not know what
was meant. Property: the operations applied to the original give the working copy.
"""

from typing import Any

from msgspec import Struct

from webhook.injection.pod import Container, EnvVar, Metadata, PodSpec, Reference, VolumeMount

__all__ = ["Located", "Operation", "PodEditor"]


class Operation(Struct):
    """One RFC 6902 operation; all of ours are ``add``."""

    op: str
    path: str
    value: Any


class Located(Struct):
    """A container and its JSON pointer in the pod as it was sent."""

    container: Container
    pointer: str


def _token(key: str) -> str:
    """Return the key as a reference token (RFC 6901, 3)."""
    return key.replace("~", "~0").replace("/", "~1")


class PodEditor:
    """The working copy (``metadata``, ``spec``) and the ``operations`` that made it.

    Containers are edited by the pointer they had at first, so a sidecar is inserted last. What is added stays in the
    working copy as it was given: nothing decides upon it any more.
    """

    def __init__(self, metadata: Metadata | None, spec: PodSpec) -> None:
        self.operations: list[Operation] = []
        self.metadata = metadata
        self.spec = spec

    def add_volume(self, volume: dict[str, Any]) -> None:
        """Append a volume."""
        self._append(self.spec, "volumes", "/spec/volumes", volume)

    def add_mount(self, located: Located, mount: VolumeMount) -> None:
        """Append a mount to a container."""
        self._append(located.container, "volumeMounts", f"{located.pointer}/volumeMounts", mount)

    def prepend_variables(self, located: Located, variables: list[EnvVar]) -> None:
        """Put variables at the front of a container's, in their order."""
        container = located.container
        pointer = f"{located.pointer}/env"
        if container.env:
            for variable in reversed(variables):
                self._add(f"{pointer}/0", variable)
            container.env[:0] = variables
        elif variables:
            self._add(pointer, variables)
            container.env = list(variables)

    def add_pull_secret(self, name: str) -> None:
        """Name an image pull secret, if the pod does not yet."""
        reference = Reference(name)
        if reference not in (self.spec.imagePullSecrets or ()):
            self._append(self.spec, "imagePullSecrets", "/spec/imagePullSecrets", reference)

    def add_container(self, container: dict[str, Any]) -> None:
        """Append an ordinary container."""
        self._append(self.spec, "containers", "/spec/containers", container)

    def add_init_container(self, container: dict[str, Any], position: int | None) -> None:
        """Insert an init container before the one at ``position``, or behind all others for None."""
        present = self.spec.initContainers
        if position is None or not present or position >= len(present):
            self._append(self.spec, "initContainers", "/spec/initContainers", container)
        else:
            self._add(f"/spec/initContainers/{position}", container)
            present.insert(position, container)  # type: ignore[arg-type]

    def annotate(self, annotations: dict[str, str]) -> None:
        """Set annotations."""
        if self.metadata is None:
            self.metadata = Metadata(annotations=dict(annotations))
            self._add("/metadata", {"annotations": annotations})
        elif self.metadata.annotations is None:
            self.metadata.annotations = dict(annotations)
            self._add("/metadata/annotations", annotations)
        else:
            for key, value in annotations.items():
                self.metadata.annotations[key] = value
                self._add(f"/metadata/annotations/{_token(key)}", value)

    def _add(self, pointer: str, value: Any) -> None:
        self.operations.append(Operation("add", pointer, value))

    def _append(self, owner: Struct, field: str, pointer: str, value: Any) -> None:
        """Append to a list that may be null or missing: then ``add`` makes it."""
        present = getattr(owner, field)
        if present is None:
            setattr(owner, field, [value])
            self._add(pointer, [value])
        else:
            present.append(value)
            self._add(f"{pointer}/-", value)
