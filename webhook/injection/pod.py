"""The typed view of a pod: the fields that decisions need.

The pod is never encoded back: it stays the document that the client sent. Only ``EnvVar`` with its source,
``VolumeMount`` and ``LocalObjectReference`` are encoded, into patches, so they omit defaults. Values that are only
copied (an ``emptyDir``'s content, a ``fieldRef``) are plain dictionaries. Every list and object may be null, as in JSON
that a controller wrote. Source: the Kubernetes API, core/v1 Pod.

No view refers to itself, so the garbage collector need not track them (``gc=False``).
"""

from typing import Any

from msgspec import Raw, Struct

__all__ = [
    "Container",
    "EnvVar",
    "EnvVarSource",
    "LocalObjectReference",
    "NodeSelectorTerm",
    "ObjectMeta",
    "Pod",
    "PodSpec",
    "SecurityContext",
    "VolumeMount",
]

#: A quantity as manifests have it; the API server always sends strings.
Quantity = str | int | float


class ObjectMeta(Struct, gc=False):
    """``metadata``; the API server sends no name where the pod has ``generateName``."""

    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class WindowsSecurityContextOptions(Struct, gc=False):
    """``securityContext.windowsOptions``: only Windows has these."""

    hostProcess: bool | None = None
    runAsUserName: str | None = None
    gmsaCredentialSpec: str | None = None
    gmsaCredentialSpecName: str | None = None


class SecurityContext(Struct, gc=False):
    """The fields of a container's or a pod's ``securityContext`` that decisions need."""

    runAsUser: int | None = None
    runAsGroup: int | None = None
    runAsNonRoot: bool | None = None
    seLinuxOptions: dict[str, Any] | None = None
    appArmorProfile: dict[str, Any] | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None


class EnvVarSource(Struct, omit_defaults=True, gc=False):
    """``valueFrom``: one of these kinds, with its content as a plain dictionary."""

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


class VolumeDevice(Struct, gc=False):
    """A block device in a container."""

    name: str
    devicePath: str


class ContainerPort(Struct, gc=False):
    """A declared port."""

    containerPort: int
    protocol: str | None = None


class ResourceRequirements(Struct, gc=False):
    """``resources``."""

    requests: dict[str, Quantity] | None = None
    limits: dict[str, Quantity] | None = None


class ExecAction(Struct, gc=False):
    """``exec`` of a probe or a lifecycle handler."""

    command: list[str] | None = None


class ProbeAction(Struct, gc=False):
    """The target of a probe. A port may be a port's name."""

    port: int | str | None = None


class Probe(Struct, gc=False, rename={"exec_action": "exec"}):
    """A probe."""

    exec_action: ExecAction | None = None
    httpGet: ProbeAction | None = None
    tcpSocket: ProbeAction | None = None
    grpc: ProbeAction | None = None


class LifecycleHandler(Struct, gc=False, rename={"exec_action": "exec"}):
    """A lifecycle hook."""

    exec_action: ExecAction | None = None


class Lifecycle(Struct, gc=False):
    """``lifecycle``."""

    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None


class Container(Struct, gc=False):
    """A container or an init container."""

    name: str
    command: list[str] | None = None
    args: list[str] | None = None
    workingDir: str | None = None
    terminationMessagePath: str | None = None
    ports: list[ContainerPort] | None = None
    envFrom: list[Raw] | None = None
    env: list[EnvVar] | None = None
    resources: ResourceRequirements | None = None
    volumeMounts: list[VolumeMount] | None = None
    volumeDevices: list[VolumeDevice] | None = None
    livenessProbe: Probe | None = None
    readinessProbe: Probe | None = None
    startupProbe: Probe | None = None
    lifecycle: Lifecycle | None = None
    securityContext: SecurityContext | None = None
    restartPolicy: str | None = None


class LocalObjectReference(Struct, omit_defaults=True, gc=False):
    """A reference by name, as in ``imagePullSecrets``."""

    name: str = ""


class PodOS(Struct, gc=False):
    """``spec.os``."""

    name: str = ""


class NodeSelectorRequirement(Struct, gc=False):
    """One requirement on a node's labels."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class NodeSelectorTerm(Struct, gc=False):
    """Requirements that a node has to meet together."""

    matchExpressions: list[NodeSelectorRequirement] | None = None
    matchFields: list[dict[str, Any]] | None = None


class NodeSelector(Struct, gc=False):
    """Terms of which a node has to meet one."""

    nodeSelectorTerms: list[NodeSelectorTerm] | None = None


class NodeAffinity(Struct, gc=False):
    """``affinity.nodeAffinity``, without preferences."""

    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None


class Affinity(Struct, gc=False):
    """``spec.affinity``."""

    nodeAffinity: NodeAffinity | None = None


class PodSpec(Struct, gc=False):
    """``spec``."""

    containers: list[Container] | None = None
    initContainers: list[Container] | None = None
    #: A volume has a name and one other key, its type. Volumes are not structs, so that unknown types are kept.
    volumes: list[dict[str, Any]] | None = None
    restartPolicy: str | None = None
    hostNetwork: bool | None = None
    hostUsers: bool | None = None
    automountServiceAccountToken: bool | None = None
    imagePullSecrets: list[LocalObjectReference] | None = None
    nodeSelector: dict[str, str] | None = None
    affinity: Affinity | None = None
    os: PodOS | None = None
    resources: ResourceRequirements | None = None
    securityContext: SecurityContext | None = None


class Pod(Struct, gc=False):
    """A pod with a raw spec: most reviews are decided by the annotations alone."""

    metadata: ObjectMeta | None = None
    spec: Raw = Raw()
