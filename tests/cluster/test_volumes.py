"""What the sidecar does not touch: the owner and mode of a user's volume, its content, and the pod's token."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .client import Client
from .conftest import NewNamespace, RunningCluster
from .node import Node
from .processes import sidecar_process
from .release import RESTRICTED, Release, annotated_pod, prints, sidecars

pytestmark = pytest.mark.cluster

OWNER, MODE = 1234, 0o750
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def folder(node: RunningCluster) -> Iterator[Path]:
    """Return a folder of the node's machine that belongs to a user of its own."""
    if not isinstance(node, Node):
        pytest.skip("the folders of a cluster of one's own are out of reach")
    path = Path(tempfile.mkdtemp(prefix="pillion-tests-"))
    shutil.chown(path, OWNER, OWNER)
    path.chmod(MODE)
    yield path
    shutil.rmtree(path)


def claim(kubectl: Client, namespace: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a volume that is a claim, bound to the folder."""
    name = f"volume-{secrets.token_hex(4)}"
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
    ask = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    shared = {"storageClassName": "", "volumeMode": "Filesystem"}
    bodies = {
        "PersistentVolume": {**spec, **shared, "claimRef": {"name": name, "namespace": namespace}},
        "PersistentVolumeClaim": {**ask, **shared, "volumeName": name},
    }
    for kind, body in bodies.items():
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": body}
        kubectl("create", "-n", namespace, "-f", "-", stdin=manifest)
    yield {"persistentVolumeClaim": {"claimName": name}}
    kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.fixture(params=["hostPath", "persistentVolumeClaim"])
def volume(request: pytest.FixtureRequest, kubectl: Client, level: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Return a pod's volume that is the folder."""
    if request.param == "hostPath":
        yield {"hostPath": {"path": str(folder), "type": "Directory"}}
    else:
        yield from claim(kubectl, level, folder)


@pytest.fixture
def level(new_namespace: NewNamespace) -> str:
    """Return a namespace that allows hostPath."""
    return new_namespace("privileged")


def test_a_users_volume_keeps_owner_mode_and_content(
    kubectl: Client, level: str, volume: dict[str, Any], folder: Path, pillion: Release
) -> None:
    """The sidecar reads what the application, a user of its own, writes there, and adds nothing."""
    writer = {
        "name": "app",
        "image": "docker.io/library/busybox:1.36",
        "command": ["sh", "-c", "echo a line > /data/app.log; exec sleep 600"],
        "securityContext": {"runAsUser": OWNER, "runAsGroup": OWNER},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = annotated_pod(pillion.annotations(logs="/data/app.log"), writer, volumes=[{"name": "data", **volume}])
    made = kubectl("create", "-n", level, "-o", "json", "-f", "-", stdin=pod)
    assert sidecars(made) == ["pillion-tail"]
    kubectl("wait", "-n", level, "--for=condition=Ready", "pod/app")
    assert prints(kubectl, level, "app", ["a line"])
    kubectl("delete", "pod", "app", "-n", level, "--wait")
    status = folder.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (OWNER, OWNER, MODE)
    assert [each.name for each in folder.iterdir()] == ["app.log"]
    assert (folder / "app.log").read_text() == "a line\n"


def sidecar_root(node: RunningCluster, kubectl: Client, namespace: str) -> Path:
    """Return the sidecar's file system as this machine sees it: there is no program in it to look with."""
    if not isinstance(node, Node):
        pytest.skip("a cluster of one's own does not show its containers' files")
    uid = kubectl("get", "pod", "app", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    return Path(f"/proc/{sidecar_process(uid)}/root")


def test_the_sidecar_has_no_token(kubectl: Client, namespace: str, pillion: Release, node: RunningCluster) -> None:
    """The application's own token is where it was; at the sidecar's place for it there is nothing."""
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    assert "token" in kubectl("exec", "-n", namespace, "app", "-c", "app", "--", "ls", TOKEN)
    assert list((sidecar_root(node, kubectl, namespace) / TOKEN.lstrip("/")).iterdir()) == []


def test_the_sidecar_can_not_write_where_the_application_does(
    kubectl: Client, namespace: str, pillion: Release, node: RunningCluster
) -> None:
    """Logs and root file system are read-only to it, although it is the application's user."""
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    pod["spec"]["containers"][0]["securityContext"] = {"runAsUser": OWNER}
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod)
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    root = sidecar_root(node, kubectl, namespace)
    for path in ("logs/app.log", "logs/new", "new"):
        with pytest.raises(OSError, match="Read-only file system"):
            (root / path).open("ab")


@pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
def test_a_restricted_namespace_runs_an_injected_pod(kubectl: Client, namespace: str, pillion: Release) -> None:
    """What is added passes the level that the namespace enforces, and works."""
    pod = annotated_pod(pillion.annotations(logs="/logs/app.log"))
    pod["spec"]["containers"][0]["securityContext"] = RESTRICTED | {"runAsUser": OWNER}
    made = kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
    assert sidecars(made) == ["pillion-tail"]
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    assert prints(kubectl, namespace, "app", ["a line"])
