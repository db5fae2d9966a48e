"""A whole Kubernetes node in a network namespace of its own: pods really run."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from . import cgroups, images, mounts, network, programs, runs
from .client import Client, CommandError, wait_for_service_account
from .control_plane import SERVICE_RANGE, ControlPlane, Site, as_arguments, start_control_plane
from .network import Network, NetworkError
from .processes import Daemon, StartError, wait_ready
from .runs import Run

POD_RANGE = "10.244.0.0/16"
NODE_POD_RANGE = "10.244.0.0/24"  # what the controller manager gives the first node
READY_SECONDS = 120.0  # ten seconds on an idle machine
CONTAINERD_SECONDS = 30.0


@dataclass(frozen=True)
class Node:
    """A running node, until `stop`."""

    run: Run
    network: Network
    kubectl: Client
    site: Site

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; it works from the host."""
        return self.run.kubeconfig

    @property
    def webhook_host(self) -> str:
        """Where a webhook in this process must listen for the API server to reach it."""
        return self.network.host

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each pod that somebody created."""
        return self.site.audit_log

    @property
    def pod_logs(self) -> Path:
        """The node's own log files, for tests that count: `kubectl logs` shows the newest only."""
        return _pod_logs(self.run)

    @classmethod
    def start(
        cls, name: str | None = None, say: programs.Say = programs.say_on_stderr, *, age: str | None = None
    ) -> Self:
        """Return a node that is Ready, of the version that most tests use, or the `oldest` or `newest`.

        Raises StartError, with the program's last lines, if it does not come up.
        """
        found = programs.find_all(programs.WHOLE, say, age=age)
        run = runs.claim(name)
        try:
            return cls._start(run, found)
        except BaseException:
            run.take_down()
            raise

    @classmethod
    def _start(cls, run: Run, found: Mapping[str, Path]) -> Self:
        mounts.share(run.folder)
        cgroups.create(run.long_name)
        try:
            with runs.locked():  # so that two nodes do not choose the same subnet
                net = network.create(run.long_name, run.link)
        except NetworkError as error:
            raise StartError(str(error)) from error
        site = Site(run, net.node, enter=net.enter)
        node = cls(run, net, site.kubectl(found["kubectl"]), site)
        containerd = node._start_containerd(found.get("containerd", _debian("containerd")))
        plane = start_control_plane(site, found)
        node._start_controllers(plane, found)
        node._load_images(containerd)
        kubelet = node._start_kubelet(plane, found["kubelet"])
        wait_ready(kubelet, node._is_ready, READY_SECONDS)
        node.prepare_namespace("default")
        return node

    def stop(self) -> None:
        """End it and remove its state."""
        self.run.take_down()

    def enter(self, *command: str, seconds: float = 60.0) -> str:
        """Run a command where Services and pods have their addresses, in the node's network; return stdout."""
        answer = subprocess.run(
            [*self.network.enter, *command], capture_output=True, text=True, check=False, timeout=seconds
        )
        if answer.returncode != 0:
            raise CommandError(answer)
        return answer.stdout

    def import_archive(self, archive: Path) -> None:
        """Make the images of a docker or OCI archive known to the node."""
        images.import_archive(socket(self.run), image_layout(self.run), archive)

    def import_image(self, image: images.Image) -> None:
        """Make the image known to the node."""
        self.import_archive(images.write_archive(image, self.run.folder / "image.tar"))

    def prepare_namespace(self, namespace: str) -> None:
        """Return when the namespace takes pods."""
        wait_for_service_account(self.kubectl, namespace)

    def _start_containerd(self, program: Path) -> Daemon:
        config = self.run.folder / "containerd.toml"
        config.write_text(_containerd_config(self.run))
        cni = self.run.folder / "cni"
        cni.mkdir()
        (cni / "10-bridge.conflist").write_text(json.dumps(_cni_config(self.run), indent=1))
        # it looks for its shim on PATH: the one beside it comes first
        path = f"PATH={program.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return self.run.start("containerd", [*self.network.enter, "env", path, program, "--config", config])

    def _load_images(self, containerd: Daemon) -> None:
        ctr = [str(_debian("ctr")), "-a", str(socket(self.run)), "version"]
        wait_ready(
            containerd,
            lambda: subprocess.run(ctr, capture_output=True, check=False).returncode == 0,
            CONTAINERD_SECONDS,
        )
        self.import_image(images.pause())
        self.import_image(images.busybox())
        self.import_image(images.tail())

    def _start_controllers(self, plane: ControlPlane, found: Mapping[str, Path]) -> None:
        for name, flags in (
            ("kube-controller-manager", _controller_manager_flags(plane)),
            ("kube-scheduler", {"leader-elect": "false"}),
        ):
            kubeconfig = self._kubeconfig(plane, name, f"system:{name}")
            identity = {
                "kubeconfig": kubeconfig,
                "authentication-kubeconfig": kubeconfig,
                "authorization-kubeconfig": kubeconfig,
            }
            self._start_program(name, found[name], {**identity, **flags})
        flags = _proxy_flags(self.run, self._kubeconfig(plane, "kube-proxy", "system:kube-proxy"))
        self._start_program("kube-proxy", found["kube-proxy"], flags)

    def _start_kubelet(self, plane: ControlPlane, program: Path) -> Daemon:
        config = self.run.folder / "kubelet.json"
        config.write_text(json.dumps(_kubelet_config(self.run, plane), indent=1))
        user = f"system:node:{self.run.long_name}"
        flags = {
            "kubeconfig": self._kubeconfig(plane, "kubelet", user, ["system:nodes"]),
            "config": config,
            "root-dir": self.run.folder / "kubelet",
            "cert-dir": self.run.folder / "kubelet-credentials",
            "hostname-override": self.run.long_name,
            "node-ip": self.network.node,
        }
        return self._start_program("kubelet", program, flags)

    def _start_program(self, name: str, program: Path, flags: Mapping[str, object]) -> Daemon:
        return self.run.start(name, [*self.network.enter, program, *as_arguments(flags)])

    def _kubeconfig(self, plane: ControlPlane, name: str, user: str, groups: Sequence[str] = ()) -> Path:
        pair = plane.ca.client(name, user, groups)
        return plane.ca.kubeconfig(self.run.folder / f"{name}.kubeconfig", self.site.url, pair)

    def _is_ready(self) -> bool:
        """Return whether a pod that is created now would be scheduled and started."""
        answer = self.kubectl.attempt("get", "node", self.run.long_name, "-o", "json")
        if answer.returncode != 0:
            return False
        node = json.loads(answer.stdout)
        ready = {"type": "Ready", "status": "True"}
        conditions = [{key: condition[key] for key in ready} for condition in node["status"].get("conditions", [])]
        return ready in conditions and not node["spec"].get("taints")


def image_layout(run: Run) -> str:
    """Return the name of containerd's snapshotter that works in the run's folder.

    `overlayfs` where the kernel and the file system can; `native` copies the whole image for each container.
    """
    scratch = run.folder / "overlay"
    lower, upper, work, merged = (scratch / name for name in ("lower", "upper", "work", "merged"))
    for part in (lower, upper, work, merged):
        part.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mount = [str(_debian("mount")), "-t", "overlay", "overlay", "-o", options, str(merged)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return "native"
    mounts.unmount_below(merged)
    return "overlayfs"


def _containerd_config(run: Run) -> str:
    """Return containerd's TOML; a JSON string is a TOML string."""
    folder = run.folder / "containerd"
    plugins = programs.cni_folder() or programs.CNI_FOLDERS[0]
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no sandbox may have a lower score than containerd.
    # netns_mounts_under_state_dir: else pods' network namespaces stay behind at a fixed place.
    return f"""
version = 2
root = {_quoted(folder / "root")}
state = {_quoted(folder / "run")}
[grpc]
address = {_quoted(socket(run))}
[plugins."io.containerd.internal.v1.opt"]
path = {_quoted(folder / "opt")}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {_quoted(images.PAUSE)}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = {_quoted(image_layout(run))}
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = {_quoted(folder / "runc")}
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {_quoted(plugins)}
conf_dir = {_quoted(run.folder / "cni")}
"""


def _cni_config(run: Run) -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": True,  # the host has no route back to pods, and a pod may want to reach a server of the test
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": NODE_POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(run.folder / "cni-addresses"),
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": run.long_name, "plugins": [bridge, portmap]}


def _kubelet_config(run: Run, plane: ControlPlane) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.ca.pair.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{run.long_name}",
        "containerRuntimeEndpoint": f"unix://{socket(run)}",
        "enforceNodeAllocatable": ["pods"],
        # A test machine's disk is often nearly full, and no reason to evict a test's pod.
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1Mi", "imagefs.available": "1Mi"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(_pod_logs(run)),
        "resolvConf": "",
        "volumePluginDir": str(run.folder / "volume-plugins"),
        # How full an emptyDir is: else a test of its limit waits for a minute.
        "volumeStatsAggPeriod": "10s",
    }


def _controller_manager_flags(plane: ControlPlane) -> dict[str, object]:
    ca = plane.ca.pair
    return {
        "allocate-node-cidrs": "true",
        "cluster-cidr": POD_RANGE,
        "cluster-signing-cert-file": ca.certificate,
        "cluster-signing-key-file": ca.key,
        "leader-elect": "false",
        "root-ca-file": ca.certificate,
        "service-account-private-key-file": plane.service_account_key,
        "service-cluster-ip-range": SERVICE_RANGE,
        # Each controller with its own rights, as in a cluster that people have.
        "use-service-account-credentials": "true",
    }


def _proxy_flags(run: Run, kubeconfig: Path) -> dict[str, object]:
    return {
        "kubeconfig": kubeconfig,
        "cluster-cidr": POD_RANGE,
        "hostname-override": run.long_name,
        "proxy-mode": "iptables",
        # These would be set for the whole machine.
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-close-wait": "0s",
        "conntrack-tcp-timeout-established": "0s",
    }


def socket(run: Run) -> Path:
    """Return containerd's socket."""
    return run.folder / "containerd.sock"


def _pod_logs(run: Run) -> Path:
    return run.folder / "pod-logs"


def _debian(name: str) -> Path:
    return Path(programs.on_path(name) or name)


def _quoted(text: object) -> str:
    return json.dumps(str(text))
