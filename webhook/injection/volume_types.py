"""Types of volumes (the API's volume sources), and to which of them an application can write its logs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from webhook.injection.pod import VolumeMount
from webhook.injection.reasons import clean_untrusted

__all__ = [
    "CLAIM",
    "HOST_PATH",
    "WRITABLE_TYPES",
    "describe_type",
    "is_mount_read_only",
    "is_share",
    "is_volume_read_only",
    "names_with_content",
    "outlives_pod",
    "type_of",
]

CLAIM = "persistentVolumeClaim"
HOST_PATH = "hostPath"

#: An application can write its logs to these. Any other type is never mounted into the sidecar: it may hold secrets.
WRITABLE_TYPES = frozenset(
    {
        "emptyDir",
        CLAIM,
        "ephemeral",
        HOST_PATH,
        "nfs",
        "csi",
        "iscsi",
        "fc",
        "cephfs",
        "rbd",
        "glusterfs",
        "cinder",
        "azureDisk",
        "azureFile",
        "awsElasticBlockStore",
        "gcePersistentDisk",
        "vsphereVolume",
        "portworxVolume",
        "quobyte",
        "scaleIO",
        "storageos",
        "photonPersistentDisk",
        "flocker",
        "flexVolume",
        "gitRepo",
    }
)
#: Of them, those that outlive the pod. A csi volume that stands in the pod itself, and not behind a claim, is ephemeral
#: (KEP-596), but a share that such a volume mounts is not.
#:
#: ==================================================  ===============
#: type                                                outlives the pod
#: ==================================================  ===============
#: emptyDir, gitRepo, ephemeral                        no
#: csi                                                 of SHARE_DRIVERS
#: persistentVolumeClaim, hostPath, nfs, all others    yes
#: ==================================================  ===============
_PERSISTENT_TYPES = WRITABLE_TYPES - {"emptyDir", "gitRepo", "ephemeral", "csi"}
#: Types with content that Kubernetes writes.
_READ_ONLY_TYPES = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})
#: Types of shares.
_SHARES = ("nfs", "cephfs", "glusterfs", "azureFile", "quobyte")
#: CSI drivers of network shares, which other pods may have, too.
SHARE_DRIVERS = frozenset(
    {
        "blob.csi.azure.com",
        "file.csi.azure.com",
        "gcsfuse.csi.storage.gke.io",
        "nfs.csi.k8s.io",
        "smb.csi.k8s.io",
    }
)
#: Types of a ``hostPath`` that are no directory and no regular file (core/v1 HostPathType).
_NODE_DEVICES = frozenset({"Socket", "CharDevice", "BlockDevice"})
#: Paths of them; /dev/shm is a directory.
_NODE_DEVICE = re.compile(r"/dev/(?!shm(?:/|$)).+|/.*\.sock(?:et)?", re.DOTALL)
#: CSI drivers that mount keys and secrets.
SECRET_DRIVERS = frozenset(
    {
        "secrets-store.csi.k8s.io",
        "secrets-store.csi.x-k8s.io",
        "csi.cert-manager.io",
        "spiffe.csi.cert-manager.io",
        "csi.spiffe.io",
        "csi.sharedresource.openshift.io",
    }
)

_DESCRIPTIONS = {
    "secret": "a Secret",
    "unusableCsi": "a CSI volume that is read-only or holds secrets",
    "nodeDevice": "a socket or device of the node",
    "configMap": "a ConfigMap",
    "downwardAPI": "a downward-API volume",
    "hugePages": "a huge-pages volume",
    "missing": "a volume that the pod does not define",
}


def describe_type(volume_type: str) -> str:
    """Return a description of a type, for a message."""
    return _DESCRIPTIONS.get(volume_type, f"a volume of type {clean_untrusted(volume_type, 24)}")


def type_of(volumes: Mapping[str, dict[str, Any]], mount: VolumeMount) -> str:
    """Return the type of the mounted volume: the key beside its name, or why the volume can't hold logs.

    A volume without a type is an emptyDir (core/v1 defaults). ``missing``, ``nodeDevice`` (a hostPath that is a socket
    or device), ``unusableCsi`` (a CSI volume that is read-only, malformed or of a driver for secrets) and ``hugePages``
    are not Kubernetes volume types: they stand for volumes that can't hold logs, and are not in :data:`WRITABLE_TYPES`.
    """
    volume = volumes.get(mount.name)
    if volume is None:
        return "missing"
    volume_type = next((key for key, value in volume.items() if key != "name" and value is not None), "emptyDir")
    if volume_type == HOST_PATH and _is_node_device(volume[volume_type]):
        return "nodeDevice"
    if volume_type == "csi" and _holds_no_logs(volume[volume_type]):
        return "unusableCsi"
    if volume_type == "emptyDir" and _is_huge_pages(volume.get(volume_type)):
        return "hugePages"
    return volume_type


def outlives_pod(volumes: Mapping[str, dict[str, Any]], mount: VolumeMount) -> bool:
    """Return whether the mounted volume outlives the pod, and may have files from before it."""
    return type_of(volumes, mount) in _PERSISTENT_TYPES or is_share(volumes.get(mount.name, {}))


def is_share(volume: Mapping[str, Any]) -> bool:
    """Return whether the volume is a network share, the same one for every pod that has it; never a claim."""
    csi = volume.get("csi")
    driver = csi.get("driver") if isinstance(csi, dict) else None
    return (isinstance(driver, str) and driver in SHARE_DRIVERS) or any(
        volume.get(kind) is not None for kind in _SHARES
    )


def is_mount_read_only(volumes: Mapping[str, dict[str, Any]], mount: VolumeMount) -> bool:
    """Return whether the mount or its volume says ``readOnly``; only for a volume of :data:`WRITABLE_TYPES`."""
    source = volumes.get(mount.name, {}).get(type_of(volumes, mount))
    return bool(mount.readOnly) or (isinstance(source, dict) and source.get("readOnly") is True)


def is_volume_read_only(volume: Mapping[str, Any]) -> bool:
    """Return whether the kubelet mounts the volume read-only, whatever a mount says (pkg/kubelet, makeMounts)."""
    if not _READ_ONLY_TYPES.isdisjoint(key for key, value in volume.items() if value is not None):
        return True
    return any(isinstance(source, dict) and source.get("readOnly") is True for source in volume.values())


def names_with_content(volumes: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the names of the volumes that may come with files: all but an ``emptyDir``."""
    return frozenset(volume["name"] for volume in volumes if volume.get("emptyDir") is None)


def _holds_no_logs(csi: Any) -> bool:
    """Return whether an inline CSI volume is for secrets, is read-only, or is not an object."""
    if not isinstance(csi, dict):
        return True
    driver = csi.get("driver")
    # a read-only volume can't hold logs, but it can hold secrets
    return not isinstance(driver, str) or driver in SECRET_DRIVERS or csi.get("readOnly") is True


def _is_huge_pages(empty_dir: Any) -> bool:
    """Return whether an emptyDir is in hugetlbfs, whose files programs map and can't write to."""
    medium = empty_dir.get("medium") if isinstance(empty_dir, dict) else None
    return isinstance(medium, str) and medium.startswith("HugePages")


def _is_node_device(host_path: Any) -> bool:
    """Return whether a hostPath is a socket or a device: by its type or, as most say none, by its path."""
    kind, path = (host_path.get("type"), host_path.get("path")) if isinstance(host_path, dict) else (None, None)
    if kind:
        return isinstance(kind, str) and kind in _NODE_DEVICES
    return isinstance(path, str) and _NODE_DEVICE.fullmatch(path) is not None
