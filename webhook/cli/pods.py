"""A small view of the pods in a cluster: what commands look at, with the sidecar and the workload of each."""

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from webhook.errors import ClusterError
from webhook.injection.ownership import is_sidecar
from webhook.injection.pod import Container, PodSpec
from webhook.injection.profile import Configuration
from webhook.injection.status import Status, parse_status

__all__ = ["Condition", "ContainerStatus", "Owner", "Pod", "Workload", "decode"]

#: What a controller that makes ReplicaSets names them: its own name, a hyphen, and this label's value.
_HASHES = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}


class Owner(Struct, gc=False, rename="camel"):
    """An item of ``metadata.ownerReferences``."""

    kind: str
    name: str
    api_version: str = ""
    controller: bool | None = None

    @property
    def title(self) -> str:
        """Return ``replicaset/web-5c9d8``."""
        return f"{self.kind.lower()}/{self.name}"


class ObjectMeta(Struct, gc=False, rename="camel"):
    """``metadata``."""

    name: str
    namespace: str
    uid: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None


class ContainerStatus(Struct, gc=False, rename="camel"):
    """``status.containerStatuses`` and ``initContainerStatuses``; a state is running, waiting or terminated."""

    name: str
    ready: bool = False
    #: Whether the startup probe has passed; in a native sidecar its successors wait for that.
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    container_id: str = msgspec.field(default="", name="containerID")
    state: dict[str, Any] | None = None


class Condition(Struct, gc=False):
    """An item of ``status.conditions``."""

    type: str = ""
    status: str = ""


class PodStatus(Struct, gc=False, rename="camel"):
    """``status``."""

    phase: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Workload(NamedTuple):
    """What made a pod, as kubectl names it; a pod that nothing made is its own."""

    namespace: str
    kind: str
    name: str

    @property
    def title(self) -> str:
        """Return ``deployment/web``."""
        return f"{self.kind.lower()}/{self.name}"


class Pod(Struct, gc=False):
    """A pod that is in a cluster."""

    metadata: ObjectMeta
    spec: PodSpec
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def annotations(self) -> dict[str, str]:
        """Return the annotations."""
        return self.metadata.annotations or {}

    @property
    def leaves(self) -> bool:
        """Return whether it is being deleted: what it lacks does not matter any more."""
        return bool(self.metadata.deletion_timestamp)

    @property
    def is_ready(self) -> bool:
        """Return whether Services lead to the pod."""
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions or ())

    @property
    def workload(self) -> Workload:
        """Return what made the pod: its controller, or what made that, as far as the pod itself tells.

        A Deployment's ReplicaSets have its name and the hash that is also a label of their pods, so none of them has to
        be read. Who made a Job only the Job tells.
        """
        namespace = self.metadata.namespace
        owner = next((one for one in self.metadata.owner_references or () if one.controller), None)
        if owner is None:
            return Workload(namespace, "Pod", self.metadata.name)
        if owner.kind == "ReplicaSet":
            for label, kind in _HASHES.items():
                value = (self.metadata.labels or {}).get(label)
                stem = owner.name.removesuffix(f"-{value}")
                if value and stem not in ("", owner.name):
                    return Workload(namespace, kind, stem)
        return Workload(namespace, owner.kind, owner.name)

    def sidecar(self, configuration: Configuration) -> Container | None:
        """Return our sidecar, None where there is none."""
        containers = (*(self.spec.initContainers or ()), *(self.spec.containers or ()))
        return next((container for container in containers if is_sidecar(container, configuration)), None)

    def injection(self, configuration: Configuration) -> Status | None:
        """Return the status annotation's content, None where there is none that Pillion can have written."""
        return parse_status(self.annotations, configuration.prefix)

    def container_status(self, name: str) -> ContainerStatus | None:
        """Return what the kubelet says of a container, None where it has said nothing."""
        found = (*(self.status.init_container_statuses or ()), *(self.status.container_statuses or ()))
        return next((one for one in found if one.name == name), None)


_decode = msgspec.json.Decoder(Pod).decode


def decode(item: Raw | bytes) -> Pod:
    """Return a pod from the bytes of its JSON; :class:`ClusterError` for anything else."""
    try:
        return _decode(item)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ClusterError(f"the API server's answer has something that is no pod: {str(error)[:120]}") from None
