"""The harness itself: pods run on its node, and its API server refuses what a cluster refuses."""

from typing import Any

import pytest

from . import programs
from .client import Client, CommandError
from .conftest import NewNamespace, RunningCluster
from .images import Image, busybox
from .release import RESTRICTED

pytestmark = pytest.mark.cluster

BUSYBOX = "docker.io/library/busybox:1.36"


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    """Return a busybox container that runs a shell script."""
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", script], **more}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod named `app` that runs once and stops quickly."""
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": list(containers),
        **spec,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"}, "spec": spec}


def sidecar(script: str) -> dict[str, Any]:
    """Return a native sidecar: an init container that is restarted always (KEP-753)."""
    return container("sidecar", script, restartPolicy="Always")


def test_a_pod_runs_and_its_log_is_read(kubectl: Client, namespace: str) -> None:
    """Pull (from the node's own store), sandbox, network, container, log: all work."""
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod(container("app", "echo hello; ip route | head -1")))
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/app")
    first, second = kubectl("logs", "-n", namespace, "app").splitlines()
    assert first == "hello"
    assert second.startswith("default via ")


def test_a_native_sidecar_starts_first_and_sees_the_apps_file(kubectl: Client, namespace: str) -> None:
    """What the app writes into a shared emptyDir is in the sidecar's log."""
    mounts = [{"name": "logs", "mountPath": "/logs"}]
    tail = sidecar("touch /logs/app.log; exec tail -n +1 -f /logs/app.log") | {"volumeMounts": mounts}
    app = container("app", "test -e /logs/app.log && echo line > /logs/app.log && sleep 600", volumeMounts=mounts)
    volumes = [{"name": "logs", "emptyDir": {}}]
    kubectl("create", "-n", namespace, "-f", "-", stdin=pod(app, initContainers=[tail], volumes=volumes))
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    followed = kubectl("logs", "-n", namespace, "app", "-c", "sidecar", "--follow", "--limit-bytes=5")
    assert followed == "line\n"


def test_a_job_with_a_native_sidecar_completes(kubectl: Client, namespace: str) -> None:
    """The sidecar, which never ends by itself, is ended after the app."""
    trap = sidecar("trap 'exit 0' TERM; while :; do sleep 1; done")
    template = {"spec": pod(container("app", "exit 0"), initContainers=[trap])["spec"]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {"template": template},
    }
    kubectl("create", "-n", namespace, "-f", "-", stdin=job)
    kubectl("wait", "-n", namespace, "--for=condition=Complete", "job/job")
    assert kubectl("get", "job", "job", "-n", namespace, "-o", "json")["status"]["succeeded"] == 1


def test_a_service_leads_to_its_pod(kubectl: Client, namespace: str) -> None:
    """A pod reaches another, and itself, by a Service's address."""
    server = pod(container("app", "echo served > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"))
    server["metadata"]["labels"] = {"app": "server"}
    kubectl("create", "-n", namespace, "-f", "-", stdin=server)
    kubectl("expose", "-n", namespace, "pod", "app", "--port=80", "--target-port=8080", "--name=server")
    address = kubectl("get", "service", "server", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app")
    client = pod(container("app", f"until wget -qO- http://{address}/index.html; do sleep 0.2; done"))
    client["metadata"]["name"] = "client"
    kubectl("create", "-n", namespace, "-f", "-", stdin=client)
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/client")
    assert kubectl("logs", "-n", namespace, "client") == "served\n"
    itself = ("exec", "-n", namespace, "app", "--", "wget", "-qO-", f"http://{address}/index.html")
    assert kubectl(*itself) == "served\n"


def test_an_image_made_here_runs_as_a_restricted_pod(
    node: RunningCluster, kubectl: Client, new_namespace: NewNamespace
) -> None:
    """An image of a static program needs no registry, and the restricted level lets a modest pod run."""
    made = busybox()
    mine = Image(
        "example.org/mine:1",
        ["/bin/cat", "/etc/greeting"],
        made.programs,
        {"etc/greeting": b"hi\n"},
        made.links,
    )
    node.import_image(mine)
    context = RESTRICTED | {"readOnlyRootFilesystem": True}
    restricted = pod({"name": "app", "image": mine.name, "securityContext": context})
    namespace = new_namespace("restricted")
    kubectl("create", "-n", namespace, "-f", "-", stdin=restricted)
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/app")
    assert kubectl("logs", "-n", namespace, "app") == "hi\n"


@pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
def test_a_restricted_namespace_refuses_a_privileged_pod(kubectl: Client, namespace: str) -> None:
    """Pod Security admission is on."""
    privileged = pod(container("app", "exit 0", securityContext={"privileged": True}))
    with pytest.raises(CommandError, match=r"violates PodSecurity \"restricted"):
        kubectl("create", "-n", namespace, "-f", "-", stdin=privileged)


@pytest.mark.usefixtures("apiserver")
class TestApiServer:
    """The light mode: the real API server's judgement, and nothing runs."""

    def test_it_accepts_a_valid_pod(self, kubectl: Client, namespace: str) -> None:
        """A pod that passes comes back with the API server's defaults, and with its token's volume."""
        command = ("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-")
        judged = kubectl(*command, stdin=pod(container("app", "exit 0")))
        assert judged["spec"]["schedulerName"] == "default-scheduler"
        assert judged["spec"]["volumes"][0]["name"].startswith("kube-api-access-")

    def test_it_refuses_an_invalid_pod(self, kubectl: Client, namespace: str) -> None:
        """Two mounts at one path are refused, and the text has the field."""
        mounts = [{"name": "logs", "mountPath": "/logs"}, {"name": "logs", "mountPath": "/logs"}]
        twice = pod(container("app", "exit 0", volumeMounts=mounts), volumes=[{"name": "logs", "emptyDir": {}}])
        with pytest.raises(CommandError, match=r"volumeMounts\[1\]\.mountPath: Invalid value.*must be unique"):
            kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", stdin=twice)

    @pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
    def test_it_enforces_pod_security(self, kubectl: Client, namespace: str) -> None:
        """The namespace's level is judged too."""
        with pytest.raises(CommandError, match="violates PodSecurity"):
            kubectl(
                "create",
                "--dry-run=server",
                "-n",
                namespace,
                "-f",
                "-",
                stdin=pod(container("app", "exit 0")),
            )

    def test_helm_speaks_to_it(self, helm: Client, namespace: str) -> None:
        """Nothing is installed in a new namespace."""
        assert helm("list", "-n", namespace, "-o", "json") == []

    def test_it_is_the_pinned_version(self, kubectl: Client, request: pytest.FixtureRequest) -> None:
        """The programs are stamped: kubectl and the feature gates go by it."""
        if request.config.getoption("kubeconfig") is not None:
            pytest.skip("a cluster of one's own may be of any version")
        age = request.config.getoption("kubernetes")
        wanted = programs.KUBERNETES if age is None else programs.AGES[age]
        versions = kubectl("version", "-o", "json")
        assert versions["serverVersion"]["gitVersion"] == wanted.version
        assert versions["clientVersion"]["gitVersion"] == programs.KUBERNETES.version
