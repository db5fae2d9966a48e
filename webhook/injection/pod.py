"""The typed view of a pod: the fields that a decision looks at, and nothing else.

A pod stays the document that the caller sent: this view is decoded from it to decide, never encoded back. Fields
that are only handed on (an ``emptyDir``'s content, a ``fieldRef``) stay raw. Every list and object may be null,
as in JSON that a controller wrote. Source: the Kubernetes API, core/v1 Pod.

No view refers to itself, so the garbage collector need not look at them (``gc=False``).
"""

from typing import Any

from msgspec import Raw, Struct

__all__ = [
    "Container",
    "EnvVar",
    "EnvVarSource",
    "LocalObjectReference",
    "Metadata",
    "Pod",
    "PodSpec",
    "SecurityContext",
    "VolumeMount",
]

#: A quantity as manifests have it; the API server always sends strings.
Quantity = str | int | float


class Metadata(Struct, omit_defaults=True, gc=False):
    """``metadata``; the API server sends no name where the pod has ``generateName``."""

    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class WindowsOptions(Struct, omit_defaults=True, gc=False):
    """``securityContext.windowsOptions``: only Windows has these."""

    hostProcess: bool | None = None
    runAsUserName: str | None = None
    gmsaCredentialSpec: str | None = None
    gmsaCredentialSpecName: str | None = None


class SecurityContext(Struct, omit_defaults=True, gc=False):
    """What a container's and a pod's security context have in common, as far as reading files goes."""

    runAsUser: int | None = None
    runAsGroup: int | None = None
    runAsNonRoot: bool | None = None
    seLinuxOptions: dict[str, Any] | None = None
    appArmorProfile: dict[str, Any] | None = None
    windowsOptions: WindowsOptions | None = None


class EnvVarSource(Struct, omit_defaults=True, gc=False):
    """``valueFrom``: which kind it is, and the content of those that are handed on."""

    fieldRef: dict[str, Any] | None = None
    resourceFieldRef: dict[str, Any] | None = None
    configMapKeyRef: dict[str, Any] | None = None
    secretKeyRef: dict[str, Any] | None = None
    fileKeyRef: dict[str, Any] | None = None


class EnvVar(Struct, omit_defaults=True, gc=False):
    """A variable."""

    name: str
    value: str | None = None
    valueFrom: EnvVarSource | None = None


class VolumeMount(Struct, omit_defaults=True, gc=False):
    """A mount of a volume into a container."""

    name: str
    mountPath: str
    readOnly: bool | None = None
    subPath: str | None = None
    subPathExpr: str | None = None
    mountPropagation: str | None = None


class VolumeDevice(Struct, omit_defaults=True, gc=False):
    """A block device in a container."""

    name: str
    devicePath: str


class ContainerPort(Struct, omit_defaults=True, gc=False):
    """A declared port."""

    containerPort: int
    protocol: str | None = None


class Resources(Struct, omit_defaults=True, gc=False):
    """``resources``."""

    requests: dict[str, Quantity] | None = None
    limits: dict[str, Quantity] | None = None


class ExecAction(Struct, omit_defaults=True, gc=False):
    """``exec`` of a probe or a lifecycle handler."""

    command: list[str] | None = None


class ProbeAction(Struct, omit_defaults=True, gc=False):
    """Where a probe asks; a port may be named."""

    port: int | str | None = None


class Handler(Struct, omit_defaults=True, gc=False, rename={"exec_action": "exec"}):
    """A probe or a lifecycle handler."""

    exec_action: ExecAction | None = None
    httpGet: ProbeAction | None = None
    tcpSocket: ProbeAction | None = None
    grpc: ProbeAction | None = None


class Lifecycle(Struct, omit_defaults=True, gc=False):
    """``lifecycle``."""

    postStart: Handler | None = None
    preStop: Handler | None = None


class Container(Struct, omit_defaults=True, gc=False):
    """A container or an init container."""

    name: str
    command: list[str] | None = None
    args: list[str] | None = None
    workingDir: str | None = None
    ports: list[ContainerPort] | None = None
    envFrom: list[Raw] | None = None
    env: list[EnvVar] | None = None
    resources: Resources | None = None
    volumeMounts: list[VolumeMount] | None = None
    volumeDevices: list[VolumeDevice] | None = None
    livenessProbe: Handler | None = None
    readinessProbe: Handler | None = None
    startupProbe: Handler | None = None
    lifecycle: Lifecycle | None = None
    securityContext: SecurityContext | None = None
    restartPolicy: str | None = None


class LocalObjectReference(Struct, omit_defaults=True, gc=False):
    """A reference by name, as in ``imagePullSecrets``."""

    name: str = ""


class PodOS(Struct, omit_defaults=True, gc=False):
    """``spec.os``."""

    name: str = ""


class NodeSelectorRequirement(Struct, omit_defaults=True, gc=False):
    """One requirement on a node's labels."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class NodeSelectorTerm(Struct, omit_defaults=True, gc=False):
    """Requirements that a node has to meet together."""

    matchExpressions: list[NodeSelectorRequirement] | None = None
    matchFields: list[dict[str, Any]] | None = None


class NodeSelector(Struct, omit_defaults=True, gc=False):
    """Terms of which a node has to meet one."""

    nodeSelectorTerms: list[NodeSelectorTerm] | None = None


class NodeAffinity(Struct, omit_defaults=True, gc=False):
    """``affinity.nodeAffinity``, as far as it is a demand."""

    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None


class Affinity(Struct, omit_defaults=True, gc=False):
    """``spec.affinity``."""

    nodeAffinity: NodeAffinity | None = None


class PodSpec(Struct, omit_defaults=True, gc=False):
    """``spec``."""

    containers: list[Container] | None = None
    initContainers: list[Container] | None = None
    #: A volume has its name and one other key, its kind; kinds that are newer than we are must not get lost.
    volumes: list[dict[str, Any]] | None = None
    restartPolicy: str | None = None
    hostNetwork: bool | None = None
    hostUsers: bool | None = None
    automountServiceAccountToken: bool | None = None
    imagePullSecrets: list[LocalObjectReference] | None = None
    nodeSelector: dict[str, str] | None = None
    affinity: Affinity | None = None
    os: PodOS | None = None
    resources: Resources | None = None
    securityContext: SecurityContext | None = None


class Pod(Struct, omit_defaults=True, gc=False):
    """A pod whose spec is still raw: most pods are decided upon by their annotations alone."""

    metadata: Metadata | None = None
    spec: Raw = Raw()
