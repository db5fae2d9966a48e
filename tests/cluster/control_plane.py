"""etcd and kube-apiserver: a cluster that judges objects and runs none, and what a node is built around."""

import json
import secrets
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from . import programs, runs
from .client import Client
from .credentials import CA, Pair
from .processes import StartError, wait_ready, wait_until
from .runs import Run

SERVICE_RANGE = "10.96.0.0/24"
SERVICE_ADDRESS = "10.96.0.1"  # the first of the range is the API server's own
START_SECONDS = 90.0  # two seconds on an idle machine
# Below the range from which Linux takes the ports of outgoing connections (32768 up): nobody else grabs them.
_PORTS = range(20000, 32000)

#: The one Service to which the API server shows a client certificate, and the name in it.
DEMANDING = ("demanding-pillion", "demanding-system")
API_SERVER = "kube-apiserver"

# What a webhook wrote into the audit record, and its patch, are worth a test; what the nodes report is not.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Site:
    """Where a control plane runs and how it is reached."""

    run: Run
    address: str
    """Where clients find it."""
    port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380
    enter: tuple[str, ...] = ()
    """Words before each command."""
    bind: str = "0.0.0.0"
    flags: Mapping[str, str] = field(default_factory=dict)
    """More flags for kube-apiserver, or others' values."""

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.address}:{self.port}"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each pod that somebody created, with the webhooks' annotations."""
        return self.run.logs / "audit.jsonl"

    def kubectl(self, program: Path) -> Client:
        """Return a kubectl for the administrator; its cache lies with the run."""
        return Client(program, self.run.kubeconfig, {"KUBECACHEDIR": str(self.run.folder / "kubectl")})


@dataclass(frozen=True)
class ControlPlane:
    """A running etcd and kube-apiserver."""

    site: Site
    ca: CA
    administrator: Pair
    service_account_key: Path


def start_control_plane(site: Site, found: Mapping[str, Path]) -> ControlPlane:
    """Start etcd and kube-apiserver and return when the API server is ready."""
    ca = CA(site.run.folder / "credentials")
    administrator = ca.client("admin", "pillion-tests-admin", ["system:masters"])
    ca.kubeconfig(site.run.kubeconfig, site.url, administrator)
    plane = ControlPlane(site, ca, administrator, ca.signing_key("service-account"))
    _start_etcd(site, found["etcd"])
    flags = {**_api_server_flags(plane), **site.flags}
    command = [*site.enter, found["kube-apiserver"], *as_arguments(flags)]
    daemon = site.run.start("kube-apiserver", command)
    wait_ready(daemon, lambda: _answers(f"{site.url}/readyz", ca, administrator), START_SECONDS)
    return plane


def as_arguments(flags: Mapping[str, object]) -> list[str | Path]:
    """Return the flags as words."""
    return [f"--{name}={value}" for name, value in flags.items()]


def _start_etcd(site: Site, program: Path) -> None:
    client = f"http://127.0.0.1:{site.etcd_port}"
    peer = f"http://127.0.0.1:{site.etcd_peer_port}"
    flags = {
        "data-dir": site.run.folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "warn",
    }
    # Nobody needs what is in it after a crash.
    command = [*site.enter, program, *as_arguments(flags), "--unsafe-no-fsync"]
    site.run.start("etcd", command)


def _api_server_flags(plane: ControlPlane) -> dict[str, object]:
    site, ca = plane.site, plane.ca
    names = [site.address, "127.0.0.1", SERVICE_ADDRESS, "localhost", "kubernetes.default.svc"]
    serving = ca.serving("kube-apiserver", names)
    policy = site.run.folder / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    return {
        "admission-control-config-file": _admission(plane),
        "advertise-address": site.address,
        "allow-privileged": "true",
        "audit-log-path": site.audit_log,
        "audit-policy-file": policy,
        "authorization-mode": "Node,RBAC",
        "bind-address": site.bind,
        "client-ca-file": ca.pair.certificate,
        # A webhook's Service leads to its pods at once, not when kube-proxy has caught up.
        "enable-aggregator-routing": "true",
        "etcd-servers": f"http://127.0.0.1:{site.etcd_port}",
        "kubelet-client-certificate": plane.administrator.certificate,
        "kubelet-client-key": plane.administrator.key,
        "kubelet-preferred-address-types": "InternalIP",
        "secure-port": site.port,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": plane.service_account_key,
        "service-account-signing-key-file": plane.service_account_key,
        "service-cluster-ip-range": SERVICE_RANGE,
        "tls-cert-file": serving.certificate,
        "tls-private-key-file": serving.key,
    }


def _admission(plane: ControlPlane) -> Path:
    """Write what has the API server show a client certificate to a webhook; return the file for its flag."""
    folder, pair = plane.site.run.folder, plane.ca.client("webhook-client", API_SERVER)
    credentials = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": f"{'.'.join(DEMANDING)}.svc", "user": credentials}],
    }
    (folder / "webhooks.kubeconfig").write_text(json.dumps(kubeconfig, indent=1))
    plugin = {
        "name": "MutatingAdmissionWebhook",
        "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(folder / "webhooks.kubeconfig"),
        },
    }
    admission = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [plugin]}
    path = folder / "admission.json"
    path.write_text(json.dumps(admission, indent=1))
    return path


def _answers(url: str, ca: CA, client: Pair) -> bool:
    context = ssl.create_default_context(cafile=str(ca.pair.certificate))
    context.load_cert_chain(client.certificate, client.key)
    # No proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@dataclass(frozen=True)
class ApiServer:
    """etcd and kube-apiserver on the host's loopback: admission and validation, but nothing ever runs.

    It needs no root. There are no controllers: a namespace that is deleted stays Terminating, and one that is
    new takes no pods before `prepare_namespace`.
    """

    site: Site
    kubectl: Client

    @property
    def run(self) -> Run:
        """What it leaves on the machine."""
        return self.site.run

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.run.kubeconfig

    @property
    def webhook_host(self) -> str:
        """Where a webhook in this process must listen for the API server to reach it."""
        return "127.0.0.1"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each pod that somebody created."""
        return self.site.audit_log

    @classmethod
    def start(
        cls, name: str | None = None, say: programs.Say = programs.say_on_stderr, *, age: str | None = None
    ) -> Self:
        """Return an API server that is ready, of the version that the node has, or the `oldest` or `newest`.

        Raises StartError, with the program's last lines, if it does not come up.
        """
        found = programs.find_all(programs.LIGHT, say, age=age)
        run = runs.claim(name)
        try:
            site = _light_site(run)
            start_control_plane(site, found)
            server = cls(site, site.kubectl(found["kubectl"]))
            server.prepare_namespace("default")
        except BaseException:
            run.take_down()
            raise
        return server

    def prepare_namespace(self, namespace: str) -> None:
        """Do what the service-account controller would do: without its account no pod is valid in it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}

        def applied() -> subprocess.CompletedProcess[str]:
            return self.kubectl.attempt("apply", "-n", namespace, "-f", "-", stdin=account)

        # The API server makes its first namespaces only after it says that it is ready.
        if not wait_until(lambda: applied().returncode == 0, START_SECONDS, poll=0.2):
            raise StartError(applied().stderr)

    def stop(self) -> None:
        """End it and remove its state."""
        self.run.take_down()


def _light_site(run: Run) -> Site:
    port, etcd_port, etcd_peer_port = _free_ports(3)
    flags = {
        # A loopback address is refused here. Nobody asks for it: the address is for pods.
        "advertise-address": "192.0.2.1",
        "endpoint-reconciler-type": "none",
    }
    return Site(run, "127.0.0.1", port, etcd_port, etcd_peer_port, bind="127.0.0.1", flags=flags)


def _free_ports(count: int) -> list[int]:
    # not `random`, from which two test runs with the same seed would get the same ports
    free = (port for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)) if _is_free(port))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
