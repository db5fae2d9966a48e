"""The node's own network: a namespace and a veth pair between it and the host.

The pair has a host end with an address of its own for each run. So tests, kubectl and helm reach the API
server by a plain address and need not be started inside the namespace (nsenter would have to wrap every
client, also those inside the test process), the API server reaches a webhook that runs in the test process,
and two nodes stand side by side although everything inside them has the same addresses.
"""

import ipaddress
import json
import subprocess
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .programs import on_path

# RFC 2544 keeps this block for tests between network devices: nothing real is there.
_BLOCK = ipaddress.ip_network("198.18.0.0/15")
_PREFIX = 30  # two addresses: the host's end and the node's


class NetworkError(RuntimeError):
    """The namespace could not be set up; the text has the command and its words."""


@dataclass(frozen=True)
class Network:
    """A network namespace and the two ends of its veth pair."""

    namespace: str
    host: str
    """The host's address, as the node sees it: where a webhook in the test process listens."""
    node: str
    """The node's address, as the host sees it."""

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run inside.

        Not `ip netns exec`, which mounts a /sys of its own: without the cgroups.
        """
        return (_program("nsenter"), f"--net={_path(self.namespace)}")


def create(namespace: str, link: str) -> Network:
    """Make the namespace, with `link` as the host's end; raise NetworkError if the machine refuses."""
    subnet = free_subnet(namespace, _routed())
    host, node = (str(address) for address in subnet.hosts())
    network = Network(namespace, host, node)
    ip = _program("ip")
    inside = (ip, "-n", namespace)
    _run(ip, "netns", "add", namespace)
    _run(ip, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _run(ip, "address", "add", f"{host}/{_PREFIX}", "dev", link)
    _run(ip, "link", "set", link, "up")
    _run(*inside, "link", "set", "lo", "up")
    _run(*inside, "address", "add", f"{node}/{_PREFIX}", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")
    # The kubelet and kube-proxy want a default route. It ends at the host, which forwards nothing of it.
    _run(*inside, "route", "add", "default", "via", host)
    _run(*network.enter, _program("sysctl"), "-qw", "net.ipv4.ip_forward=1")
    _filter_bridged(network)
    return network


def remove(namespace: str, link: str) -> None:
    """Remove both ends and the namespace, as far as they are there."""
    ip = on_path("ip")
    if ip is None:
        return
    if Path("/sys/class/net", link).exists():
        subprocess.run([ip, "link", "delete", link], check=False, capture_output=True)
    if _path(namespace).exists():
        subprocess.run([ip, "netns", "delete", namespace], check=False, capture_output=True)


def free_subnet(name: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Return the subnet that belongs to the name, or the next one that overlaps with nothing taken."""
    occupied = list(taken)
    count = 2 ** (_PREFIX - _BLOCK.prefixlen)
    first = zlib.crc32(name.encode())
    size = 2 ** (_BLOCK.max_prefixlen - _PREFIX)
    for step in range(count):
        start = _BLOCK.network_address + (first + step) % count * size
        subnet = ipaddress.IPv4Network((int(start), _PREFIX))
        if not any(subnet.overlaps(other) for other in occupied):
            return subnet
    raise NetworkError(f"no free subnet in {_BLOCK}")


def _routed() -> list[ipaddress.IPv4Network]:
    """Return what the host's routes already cover, the default route aside."""
    routes = json.loads(_run(_program("ip"), "-json", "-4", "route", "show", "table", "all"))
    targets = (route["dst"] for route in routes)
    return [ipaddress.IPv4Network(target) for target in targets if target[0].isdigit() and target != "0.0.0.0/0"]


def _filter_bridged(network: Network) -> None:
    """Let iptables see what crosses the bridge, or an answer to a Service's address comes from the pod's."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists() and (modprobe := on_path("modprobe")) is not None:
        loaded = subprocess.run([modprobe, "br_netfilter"], check=False, capture_output=True)
        if loaded.returncode == 0 and switch.exists():
            switch.write_text("0")  # for the host's own bridges nothing is to change
    if switch.exists():
        _run(*network.enter, _program("sysctl"), "-qw", "net.bridge.bridge-nf-call-iptables=1")


def _path(namespace: str) -> Path:
    return Path("/var/run/netns") / namespace


def _program(name: str) -> str:
    return on_path(name) or name


def _run(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise NetworkError(f"`{' '.join(command)}`: {answer.stderr.strip()}")
    return answer.stdout
