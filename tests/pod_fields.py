"""Every field that a PodSpec has, a value for each that an API server takes, and pods that carry it.

``tests/data/pod_fields.json`` has the types of the newest Kubernetes; ``python -m tests.pod_fields FILE`` makes it anew
from an OpenAPI document (``kubectl get --raw /openapi/v3/api/v1``). A test with an API server fails where a field is
missing in it, so each new field gets a value here, or a reason in ``UNDRAWN``.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

__all__ = ["GATED", "PATHS", "TABLE", "UNDRAWN", "carried", "described", "is_below", "paths", "with_field"]

FILE = Path(__file__).parent / "data" / "pod_fields.json"
#: Type to its fields; a field's type ends with [] for a list and {} for a map.
TABLE: dict[str, dict[str, str]] = json.loads(FILE.read_text())
ROOT = "PodSpec"
_PLAIN: dict[str, Any] = {
    "boolean": True,
    "integer": 1,
    "string": "x",
    "Quantity": "1",
    "IntOrString": 80,
    "string[]": ["x"],
    "integer[]": [1],
    "string{}": {"x": "x"},
    "Quantity{}": {"x": "1"},
}

#: What an object of a type can't be without. Of a union the default member is here, and goes where another is drawn.
MINIMAL: dict[str, dict[str, Any]] = {
    "AWSElasticBlockStoreVolumeSource": {"volumeID": "v"},
    "AppArmorProfile": {"type": "RuntimeDefault"},
    "AzureDiskVolumeSource": {"diskName": "d", "diskURI": "https://d.example.com/d.vhd"},
    "AzureFileVolumeSource": {"secretName": "s", "shareName": "s"},
    "CSIVolumeSource": {"driver": "csi.example.com"},
    "CephFSVolumeSource": {"monitors": ["m"]},
    "CinderVolumeSource": {"volumeID": "v"},
    "ClusterTrustBundleProjection": {"name": "b", "path": "b"},
    "ConfigMapEnvSource": {"name": "c"},
    "ConfigMapKeySelector": {"key": "k", "name": "c"},
    "ConfigMapProjection": {"name": "c"},
    "ConfigMapVolumeSource": {"name": "c"},
    "Container": {"image": "i", "name": "drawn"},
    "ContainerPort": {"containerPort": 9999},
    "ContainerResizePolicy": {"resourceName": "cpu", "restartPolicy": "NotRequired"},
    "ContainerRestartRule": {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}},
    "ContainerRestartRuleOnExitCodes": {"operator": "In", "values": [1]},
    "DownwardAPIVolumeFile": {"path": "p", "fieldRef": {"fieldPath": "metadata.name"}},
    "EnvFromSource": {"configMapRef": {"name": "c"}},
    "EnvVar": {"name": "DRAWN"},
    "EnvVarSource": {"fieldRef": {"fieldPath": "metadata.name"}},
    "EphemeralVolumeSource": {
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        }
    },
    "ExecAction": {"command": ["true"]},
    "FCVolumeSource": {"targetWWNs": ["w"], "lun": 1},
    "FileKeySelector": {"key": "K", "path": "p", "volumeName": "files"},
    "FlexVolumeSource": {"driver": "example.com/d"},
    "FlockerVolumeSource": {"datasetName": "d"},
    "GCEPersistentDiskVolumeSource": {"pdName": "p"},
    "GRPCAction": {"port": 80},
    "GitRepoVolumeSource": {"repository": "r"},
    "GlusterfsVolumeSource": {"endpoints": "e", "path": "p"},
    "HTTPGetAction": {"port": 80},
    "HTTPHeader": {"name": "X-Drawn", "value": "x"},
    "HostAlias": {"ip": "192.0.2.1", "hostnames": ["h"]},
    "HostPathVolumeSource": {"path": "/srv/host"},
    "ISCSIVolumeSource": {"iqn": "iqn.2001-04.com.example:x", "lun": 1, "targetPortal": "192.0.2.1"},
    "ImageVolumeSource": {"reference": "r"},
    "KeyToPath": {"key": "k", "path": "p"},
    "LabelSelector": {"matchLabels": {"a": "b"}},
    "LabelSelectorRequirement": {"key": "k", "operator": "In", "values": ["v"]},
    "LifecycleHandler": {"exec": {"command": ["true"]}},
    "LocalObjectReference": {"name": "o"},
    "NFSVolumeSource": {"path": "/p", "server": "nfs.example.com"},
    "NodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]},
    "NodeSelectorRequirement": {"key": "k", "operator": "In", "values": ["v"]},
    "ObjectFieldSelector": {"fieldPath": "metadata.name"},
    "PersistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    "PersistentVolumeClaimTemplate": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "PersistentVolumeClaimVolumeSource": {"claimName": "c"},
    "PhotonPersistentDiskVolumeSource": {"pdID": "p"},
    "PodAffinityTerm": {"topologyKey": "kubernetes.io/hostname"},
    "PodCertificateProjection": {
        "signerName": "example.com/s",
        "keyType": "ED25519",
        "credentialBundlePath": "bundle.pem",
    },
    "PodDNSConfigOption": {"name": "ndots"},
    "PodOS": {"name": "linux"},
    "PodReadinessGate": {"conditionType": "example.com/ready"},
    "PodResourceClaim": {"name": "claim", "resourceClaimName": "c"},
    "PodSchedulingGate": {"name": "example.com/gate"},
    "PodSchedulingGroup": {"podGroupName": "g"},
    "PortworxVolumeSource": {"volumeID": "v"},
    "PreferredSchedulingTerm": {
        "preference": {"matchExpressions": [{"key": "k", "operator": "Exists"}]},
        "weight": 1,
    },
    "Probe": {"exec": {"command": ["true"]}},
    "ProjectedVolumeSource": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
    "QuobyteVolumeSource": {"registry": "r:1", "volume": "v"},
    "RBDVolumeSource": {"image": "i", "monitors": ["m"]},
    "ResourceClaim": {"name": "claim"},
    "ResourceFieldSelector": {"resource": "limits.cpu", "containerName": "app"},
    "ScaleIOVolumeSource": {"gateway": "g", "system": "s", "secretRef": {"name": "s"}, "volumeName": "v"},
    "SeccompProfile": {"type": "RuntimeDefault"},
    "SecretEnvSource": {"name": "s"},
    "SecretKeySelector": {"key": "k", "name": "s"},
    "SecretProjection": {"name": "s"},
    "SecretVolumeSource": {"secretName": "s"},
    "ServiceAccountTokenProjection": {"path": "t"},
    "SleepAction": {"seconds": 1},
    "StorageOSVolumeSource": {"volumeName": "v"},
    "Sysctl": {"name": "net.ipv4.ip_local_port_range", "value": "1024 65535"},
    "TCPSocketAction": {"port": 80},
    "Toleration": {"key": "k", "operator": "Exists"},
    "TopologySpreadConstraint": {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    },
    "TypedLocalObjectReference": {
        "apiGroup": "snapshot.storage.k8s.io",
        "kind": "VolumeSnapshot",
        "name": "s",
    },
    "TypedObjectReference": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"},
    "Volume": {"name": "drawn"},
    "VolumeDevice": {"name": "block", "devicePath": "/dev/drawn"},
    "VolumeMount": {"name": "files", "mountPath": "/drawn"},
    "VolumeResourceRequirements": {"requests": {"storage": "1Gi"}},
    "VolumeProjection": {"serviceAccountToken": {"path": "t"}},
    "VsphereVirtualDiskVolumeSource": {"volumePath": "p"},
    "WeightedPodAffinityTerm": {"podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}, "weight": 1},
}

#: Members of which an object has one.
UNIONS: dict[str, tuple[str, ...]] = {
    "DownwardAPIVolumeFile": ("fieldRef", "resourceFieldRef"),
    "EnvFromSource": ("configMapRef", "secretRef"),
    "EnvVarSource": ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"),
    "FCVolumeSource": ("targetWWNs", "wwids"),
    "FlockerVolumeSource": ("datasetName", "datasetUUID"),
    "LifecycleHandler": ("exec", "httpGet", "sleep", "tcpSocket"),
    "PodResourceClaim": ("resourceClaimName", "resourceClaimTemplateName"),
    "Probe": ("exec", "grpc", "httpGet", "tcpSocket"),
    "VolumeProjection": (
        *("clusterTrustBundle", "configMap", "downwardAPI", "podCertificate", "secret", "serviceAccountToken"),
    ),
}

#: Values where any of the type will not do.
VALUES: dict[str, Any] = {
    "AzureDiskVolumeSource.cachingMode": "ReadOnly",
    "AzureDiskVolumeSource.kind": "Dedicated",
    "Capabilities.add": ["NET_BIND_SERVICE"],
    "Capabilities.drop": ["ALL"],
    "Container.imagePullPolicy": "Always",
    "Container.restartPolicy": "Always",
    "Container.terminationMessagePath": "/var/log/app/termination",
    "Container.terminationMessagePolicy": "FallbackToLogsOnError",
    "Container.workingDir": "/srv",
    "ContainerPort.hostIP": "127.0.0.1",
    "ContainerPort.hostPort": 9999,
    "ContainerPort.protocol": "UDP",
    "ConfigMapVolumeSource.defaultMode": 0o440,
    "EmptyDirVolumeSource.medium": "Memory",
    "HostPathVolumeSource.type": "DirectoryOrCreate",
    "HTTPGetAction.scheme": "HTTPS",
    "ImageVolumeSource.pullPolicy": "Always",
    "ISCSIVolumeSource.initiatorName": "iqn.2001-04.com.example:y",
    "ISCSIVolumeSource.iscsiInterface": "default",
    "ISCSIVolumeSource.portals": ["192.0.2.2"],
    "Lifecycle.stopSignal": "SIGUSR1",
    "ObjectFieldSelector.apiVersion": "v1",
    "PersistentVolumeClaimSpec.accessModes": ["ReadWriteMany"],
    "PersistentVolumeClaimSpec.volumeMode": "Filesystem",
    "PersistentVolumeClaimTemplate.metadata": {"labels": {"a": "b"}},
    "PodCertificateProjection.keyType": "RSA3072",
    "PodCertificateProjection.maxExpirationSeconds": 3600,
    "PodCertificateProjection.userAnnotations": {"example.com/x": "x"},
    "PodDNSConfig.nameservers": ["192.0.2.1"],
    "PodSecurityContext.fsGroupChangePolicy": "OnRootMismatch",
    "PodSecurityContext.seLinuxChangePolicy": "Recursive",
    "PodSecurityContext.supplementalGroupsPolicy": "Merge",
    "PodSpec.dnsPolicy": "Default",
    "PodSpec.hostUsers": False,
    "PodSpec.overhead": {"cpu": "10m"},
    "PodSpec.preemptionPolicy": "PreemptLowerPriority",
    "PodSpec.priority": 0,
    "PodSpec.priorityClassName": "system-node-critical",
    "PodSpec.restartPolicy": "OnFailure",
    "PodSpec.runtimeClassName": "drawn",
    "PodSpec.serviceAccount": "default",
    "PodSpec.serviceAccountName": "default",
    "ResourceFieldSelector.divisor": "1",
    "ResourceRequirements.limits": {"cpu": "4", "memory": "4Gi"},
    "ResourceRequirements.requests": {"cpu": "5m", "memory": "5Mi"},
    "ScaleIOVolumeSource.storageMode": "ThickProvisioned",
    "SecurityContext.privileged": False,
    "SecurityContext.procMount": "Default",
    "ServiceAccountTokenProjection.expirationSeconds": 3600,
    "TypedObjectReference.namespace": "default",
    "Toleration.effect": "NoExecute",
    "TopologySpreadConstraint.nodeAffinityPolicy": "Ignore",
    "TopologySpreadConstraint.nodeTaintsPolicy": "Honor",
    "VolumeMount.mountPropagation": "HostToContainer",
    "VolumeMount.recursiveReadOnly": "IfPossible",
    "VolumeMount.subPathExpr": "a",
    "VolumeResourceRequirements.limits": {"storage": "2Gi"},
    "VolumeResourceRequirements.requests": {"storage": "1Gi"},
    "WindowsSecurityContextOptions.runAsUserName": "ContainerUser",
}

#: What must be in the same object.
BESIDE: dict[str, dict[str, Any]] = {
    "AppArmorProfile.localhostProfile": {"type": "Localhost"},
    "ClusterTrustBundleProjection.labelSelector": {"name": None, "signerName": "example.com/s"},
    "ClusterTrustBundleProjection.signerName": {"name": None},
    "Container.restartPolicyRules": {"restartPolicy": "Never"},
    "Container.stdinOnce": {"stdin": True},
    "EnvVar.valueFrom": {"value": None},
    "ISCSIVolumeSource.chapAuthDiscovery": {"secretRef": {"name": "s"}},
    "ISCSIVolumeSource.chapAuthSession": {"secretRef": {"name": "s"}},
    "PodAffinityTerm.matchLabelKeys": {"labelSelector": {"matchLabels": {"a": "b"}}},
    "PodAffinityTerm.mismatchLabelKeys": {"labelSelector": {"matchLabels": {"a": "b"}}},
    "PodCertificateProjection.certificateChainPath": {"keyPath": "key.pem", "credentialBundlePath": None},
    "PodCertificateProjection.keyPath": {"certificateChainPath": "chain.pem", "credentialBundlePath": None},
    "PodSpec.overhead": {"runtimeClassName": "drawn"},
    "SeccompProfile.localhostProfile": {"type": "Localhost"},
    "Toleration.tolerationSeconds": {"effect": "NoExecute"},
    "Toleration.value": {"operator": "Equal"},
    "VolumeMount.recursiveReadOnly": {"readOnly": True},
}

#: What the field's own object must say.
INSIDE: dict[str, dict[str, Any]] = {"NodeSelectorTerm.matchFields": {"key": "metadata.name"}}

#: What must be in the pod, by the end of a path.
ELSEWHERE: dict[str, dict[str, Any]] = {
    "fileKeyRef": {"volumes": [{"name": "files", "emptyDir": {}}]},
    "volumeMounts": {"volumes": [{"name": "files", "emptyDir": {}}]},
    "volumeDevices": {"volumes": [{"name": "block", "persistentVolumeClaim": {"claimName": "c"}}]},
    "claims": {"resourceClaims": [{"name": "claim", "resourceClaimName": "c"}]},
    "hostProcess": {"hostNetwork": True},
    "stopSignal": {"os": {"name": "linux"}},
}

#: What all containers say or none.
UNANIMOUS = ("hostProcess",)

#: Paths, or beginnings of paths, that no pod has which is being created, and why.
UNDRAWN: dict[str, str] = {
    "ephemeralContainers": "are added to a pod that runs",
    **{
        f"volumes[].ephemeral.volumeClaimTemplate.metadata.{name}": "only labels and annotations may be given"
        for name in TABLE["ObjectMeta"]
        if name not in ("annotations", "labels")
    },
    "resources.claims": "are the containers'",
    "workloadRef": "was there in 1.35 only, behind a gate",
    **{
        f"{kind}[].readinessProbe.terminationGracePeriodSeconds": "is for probes that end a container"
        for kind in ("containers", "initContainers")
    },
}

#: Paths, or beginnings of paths, that an API server drops: they lie behind a gate that is off unless somebody asks.
GATED = (
    *("containers[].lifecycle.stopSignal", "initContainers[].lifecycle.stopSignal", "schedulingGroup"),
    *("volumes[].projected.sources[].clusterTrustBundle", "volumes[].projected.sources[].podCertificate"),
)


def described(document: Any) -> dict[str, dict[str, str]]:
    """Return the table of an OpenAPI document: each type below a PodSpec, with its fields and their types."""
    schemas = document["components"]["schemas"]
    found: dict[str, dict[str, str]] = {}
    waiting = ["io.k8s.api.core.v1.PodSpec"]
    while waiting:
        full = waiting.pop()
        if full.rpartition(".")[2] in found:
            continue
        fields = found[full.rpartition(".")[2]] = {}
        for name, field in schemas[full]["properties"].items():
            inner, suffix = field.get("items"), "[]"
            if inner is None:
                inner, suffix = field.get("additionalProperties"), "{}"
            if inner is None:
                inner, suffix = field, ""
            reference = _reference(inner)
            fields[name] = (reference.rpartition(".")[2] or inner["type"]) + suffix
            if "properties" in schemas.get(reference, {}):
                waiting.append(reference)
    return {name: dict(sorted(fields.items())) for name, fields in sorted(found.items())}


def _reference(schema: Any) -> str:
    references = [each["$ref"] for each in (schema, *schema.get("allOf", ())) if "$ref" in each]
    return str(references[0]).rpartition("/")[2] if references else ""


def paths(
    table: Mapping[str, Mapping[str, str]], kind: str = ROOT, before: str = "", above: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield every field below a type, as its path: ``containers[].securityContext.runAsUser``."""
    for name, of in table[kind].items():
        path = f"{before}{name}"
        yield path
        inner = of.removesuffix("[]").removesuffix("{}")
        if inner in table and inner not in above:
            yield from paths(table, inner, f"{path}{of[len(inner) :]}.", (*above, inner))


def is_below(path: str, beginnings: Iterable[str]) -> bool:
    """Say whether the path is one of these, or begins with one."""
    return any(path == each or path.startswith((f"{each}.", f"{each}[].")) for each in beginnings)


def with_field(pod: Any, path: str) -> Any:
    """Return the pod with the field and what it needs; in a container it is the first one's, or a new init one's."""
    steps = path.replace("[]", "").split(".")
    spec = deepcopy(pod["spec"])
    for step, more in ELSEWHERE.items():
        if step in steps:
            _merge(spec, deepcopy(more))
    made = _made(ROOT, steps)
    if "resourceFieldRef" in steps and steps[0] != "initContainers":
        made = _naming(made, spec["containers"][0]["name"])
    if steps[0] == "containers":
        own = {key: value for key, value in made["containers"][0].items() if key not in MINIMAL["Container"]}
        if steps[1:] and steps[1] in MINIMAL["Container"]:
            own = {}
        _merge(spec["containers"][0], own)
    else:
        _merge(spec, made)
    if steps[0] in ("containers", "initContainers") and steps[-1] in UNANIMOUS:
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            _merge(container, {steps[1]: made[steps[0]][0][steps[1]]})
    if steps[0] == "volumes":
        mount = {"name": "drawn", "mountPath": "/var/log/drawn", "readOnly": False}
        _merge(spec["containers"][0], {"volumeMounts": [mount]})
    return {**pod, "spec": spec}


def _naming(value: Any, container: str) -> Any:
    if isinstance(value, list):
        return [_naming(each, container) for each in value]
    if isinstance(value, dict):
        return {key: container if key == "containerName" else _naming(each, container) for key, each in value.items()}
    return value


def _made(kind: str, steps: list[str]) -> dict[str, Any]:
    """Return an object of the type that has the field."""
    name, *rest = steps
    of = TABLE[kind][name]
    inner = of.removesuffix("[]").removesuffix("{}")
    value: Any = VALUES.get(f"{kind}.{name}")
    if rest:
        value = _made(inner, rest)
        value = [value] if of.endswith("[]") else value
    elif value is None and inner in TABLE:
        value = deepcopy(MINIMAL.get(inner, {}))
        value = [value] if of.endswith("[]") else value
    elif value is None:
        value = deepcopy(MINIMAL.get(kind, {}).get(name, _PLAIN[of]))
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            each.update(INSIDE.get(f"{kind}.{name}", {}))
    union = UNIONS.get(kind, ())
    made = {key: item for key, item in deepcopy(MINIMAL.get(kind, {})).items() if name not in union or key not in union}
    beside = BESIDE.get(f"{kind}.{name}", {})
    made = {key: item for key, item in {**made, **deepcopy(beside)}.items() if item is not None}
    if kind == "Container" and name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        made["restartPolicy"] = "Always"  # of init containers only those have probes and hooks
    return {**made, name: value}


def _merge(target: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put one document into another: lists grow, but nothing is twice of a name."""
    for key, value in more.items():
        there = target.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            names = {each.get("name") for each in there if isinstance(each, dict)}
            there += [each for each in value if not isinstance(each, dict) or each.get("name", "") not in names]
        else:
            target[key] = value


def carried(spec: Any, before: str = "") -> set[str]:
    """Return the paths of all fields that a spec, or a part of one, has."""
    found: set[str] = set()
    for key, value in spec.items():
        path = f"{before}{key}"
        found.add(path)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                found |= carried(each, f"{path}[]." if isinstance(value, list) else f"{path}.")
    return found


PATHS = [path for path in paths(TABLE) if not is_below(path, UNDRAWN)]


def main() -> None:
    """Write the table of an OpenAPI document."""
    table = described(json.loads(Path(sys.argv[1]).read_text()))
    lines = [f" {json.dumps(name)}: {json.dumps(fields)}" for name, fields in table.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
