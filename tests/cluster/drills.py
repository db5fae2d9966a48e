"""What an operator does in the first month, and what goes wrong then, one after the other under load: `make drills`.

Each drill creates pods all the time, at the API server of a real node, and says what became of them and which of the
chart's alerts Prometheus saw. No assertion: docs/test-results.md has the figures, and tests beside this module are what
keeps each mended.
"""

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tests.service.monitoring import ALERTS

from . import image, programs
from .api import direct
from .client import Client
from .creations import Creations
from .node import Node
from .processes import wait_ready, wait_until
from .release import annotated_pod, asking

RELEASE, NAMESPACE, TENANT = "pillion", "pillion-system", "default"
DEPLOYMENT = f"deployment/{RELEASE}"
#: Two alerts want a server that was ready a quarter of an hour ago.
REMEMBERED_SECONDS = 900.0
#: After what was done, for what follows from it: a keeper's look, an alert's evaluation.
AFTER_SECONDS = 45.0
CONNECTIONS = 4
PROMETHEUS_SECONDS = 30.0
#: After a lost Secret new servers have no certificate for five minutes (caPropagationDelay), twice if keepers restart.
SETTLED_SECONDS = 660.0
#: Between two requests of one connection, in seconds, so that the load is no attack.
PAUSE = 0.04
FAIL = "--set=webhook.failurePolicy=Fail"
WRONG = '--set-json=profiles={"mine": {"base": "tail", "order": "middle"}}'


class Alerts:
    """A Prometheus that has the chart's rules, and when each alert was first seen pending and firing."""

    def __init__(self, port: int, before: Callable[[], None]) -> None:
        """Do something before each look."""
        self._before = before
        self._url = f"http://127.0.0.1:{port}/api/v1/alerts"
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._seen: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._enough.set()
        self._thread.join()

    def since(self, begin: float) -> str:
        """Return what was seen from then on, as `PillionDown pending after 20 s`, and forget it."""
        seen, self._seen = self._seen, {}
        parts = [f"{name} {state} after {max(0.0, at - begin):.0f} s" for (name, state), at in seen.items()]
        return ", ".join(parts) or "none"

    def _watch(self) -> None:
        while not self._enough.wait(2):
            self._before()
            try:
                with urllib.request.urlopen(self._url, timeout=10) as answer:
                    found = json.load(answer)["data"]["alerts"]
            except OSError:
                continue
            for each in found:
                self._seen.setdefault((each["labels"]["alertname"], each["state"]), time.monotonic())


class Site(NamedTuple):
    """A node, its clients, and what watches it."""

    node: Node
    helm: Client
    alerts: Alerts

    @property
    def kubectl(self) -> Client:
        """Return the node's kubectl."""
        return self.node.kubectl

    def upgrade(self, *options: str, wait: str = "150s") -> str:
        """Return the last line that `helm upgrade` said."""
        words = ("upgrade", RELEASE, str(image.CHART), "-n", NAMESPACE, "--reset-then-reuse-values", "--wait")
        return last_line(self.helm, *words, f"--timeout={wait}", *options)

    def install(self, *options: str) -> str:
        """Return the last line that `helm install` said."""
        words = ("install", RELEASE, str(image.CHART), "-n", NAMESPACE, "--create-namespace", "--wait")
        return last_line(self.helm, *words, "--timeout=150s", *options)

    def settle(self, ready: float) -> None:
        """Return when there is a certificate again, and servers were ready for long enough."""
        leaf = ("get", "secret", f"{RELEASE}-certificate", "-n", NAMESPACE, "-o", "jsonpath={.data.tls\\.crt}")
        assert wait_until(lambda: bool(self.kubectl(*leaf)), SETTLED_SECONDS, poll=2)
        time.sleep(max(0.0, ready + REMEMBERED_SECONDS - time.monotonic()))

    def drill(self, name: str, act: Callable[[], str]) -> None:
        """Do it while pods are created, and print a table's row."""
        pod = annotated_pod(asking(logs="/logs/app.log"), name="load")
        begin = time.monotonic()
        self.alerts.since(begin)
        with direct(self.node.kubeconfig) as api:
            creations = Creations(api, TENANT, pod, "pillion-tail", connections=CONNECTIONS, pause=PAUSE)
            with creations:
                said = act()
                took = time.monotonic() - begin
                time.sleep(AFTER_SECONDS)
        bare = sum("not injected" in failure.message for failure in creations.failures)
        refused = len(creations.failures) - bare
        injected = len(creations.successes)
        row = (name, f"{took:.0f} s", injected, refused, bare, self.alerts.since(begin), said.replace("|", "\\|"))
        print("|", " | ".join(map(str, row)), "|", flush=True)


def last_line(client: Client, *words: str) -> str:
    """Return `ok`, or the last line of why the command failed."""
    answer = client.attempt(*words)
    return "ok" if answer.returncode == 0 else answer.stderr.strip().splitlines()[-1][:300]


@contextmanager
def prometheus(node: Node, folder: Path) -> Iterator[Alerts]:
    """Yield a Prometheus that reaches API server and servers as the administrator, and has the chart's rules."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = json.loads(node.kubeconfig.read_text())["users"][0]["user"]
    access = {
        "scheme": "https",
        "tls_config": {
            "insecure_skip_verify": True,
            "cert_file": user["client-certificate"],
            "key_file": user["client-key"],
        },
    }
    server = node.site.url.removeprefix("https://")
    config = {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": "apiserver", **access, "static_configs": [{"targets": [server]}]},
            {
                "job_name": "pillion",
                **access,
                "file_sd_configs": [{"files": [str(folder / "servers.json")], "refresh_interval": "5s"}],
            },
        ],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    daemon = node.run.start("prometheus", command)
    ready = f"http://127.0.0.1:{port}/-/ready"
    wait_ready(daemon, lambda: answers(ready), PROMETHEUS_SECONDS)
    with Alerts(port, lambda: name_servers(node, server, folder / "servers.json")) as alerts:
        yield alerts


def answers(url: str) -> bool:
    """Return whether it is answered with a success."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def name_servers(node: Node, address: str, file: Path) -> None:
    """Write which servers there are, for Prometheus: it reaches each through the API server, as the administrator.

    Debian's Prometheus can't ask Kubernetes itself.
    """
    words = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=pillion", "-o", "json")
    names = [pod["metadata"]["name"] for pod in node.kubectl(*words)["items"] if pod["status"]["phase"] == "Running"]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{{}}:8080/proxy/metrics"
    labels = [{"namespace": NAMESPACE, "pod": name, "__metrics_path__": path.format(name)} for name in names]
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps([{"targets": [address], "labels": each} for each in labels]))
    temporary.rename(file)


def series(site: Site) -> None:
    """Do all drills."""
    kubectl = site.kubectl
    where = ("-n", NAMESPACE)
    entry = f"{RELEASE}.{NAMESPACE}.pillion.dev"

    site.drill("install with Fail at once", lambda: site.install(FAIL))
    site.helm("uninstall", RELEASE, *where, "--wait")
    site.drill("install with Ignore, then set Fail", lambda: f"{site.install()}; {site.upgrade(FAIL)}")
    ready = time.monotonic()

    def rollback() -> str:
        return last_line(site.helm, "rollback", RELEASE, *where, "--wait")

    def scale() -> str:
        kubectl("scale", DEPLOYMENT, "--replicas=4", *where)
        kubectl("rollout", "status", DEPLOYMENT, *where)
        return f"{site.upgrade()}; with --force-conflicts: {site.upgrade('--force-conflicts')}"

    def patch() -> str:
        change = [{"op": "replace", "path": f"/webhooks/{n}/failurePolicy", "value": "Ignore"} for n in range(2)]
        kubectl("patch", "mutatingwebhookconfiguration", entry, "--type=json", f"-p={json.dumps(change)}")
        return f"{site.upgrade()}; with --force-conflicts: {site.upgrade('--force-conflicts')}"

    def wrong_profile() -> str:
        said = site.upgrade(WRONG, wait="60s")
        tested = site.helm.attempt("test", RELEASE, *where)
        why = next((line for line in tested.stdout.splitlines() if "not ready" in line), "")
        return f"{said}; helm test: {why.strip()[:250]}; rollback: {rollback()}"

    def second_release() -> str:
        said = last_line(site.helm, "install", "second", str(image.CHART), "-n", "second-system", "--create-namespace")
        site.helm.attempt("uninstall", "second", "-n", "second-system")
        return said

    def secret_away() -> str:
        kubectl("delete", "secret", f"{RELEASE}-certificate", *where)
        get = ("get", "secret", f"{RELEASE}-certificate", *where)
        begin = time.monotonic()
        back = wait_until(lambda: kubectl.attempt(*get).returncode == 0, 60, poll=0.1)
        return f"there again after {time.monotonic() - begin:.1f} s" if back else "not there after a minute"

    def rights_away() -> str:
        kubectl("delete", "clusterrolebinding", entry)
        kubectl("delete", "rolebinding", "--all", *where)
        time.sleep(120)
        words = ("logs", *where, "-l", "app.kubernetes.io/name=pillion", "-c", "certificates", "--tail=1")
        said = kubectl(*words).splitlines()[0][:250]
        return f"{said}; {site.upgrade()}"

    def broken_image() -> str:
        said = site.upgrade("--set=image.tag=missing", wait="60s")
        return f"{said}; rollback: {rollback()}"

    def servers_away(switch: str) -> str:
        kubectl("scale", DEPLOYMENT, "--replicas=0", *where)
        time.sleep(60)
        return f"{switch or 'Fail'}: {site.upgrade('--force-conflicts', *([switch] if switch else []))}"

    site.drill("scale, then upgrade", scale)
    site.drill("patch, then upgrade", patch)
    site.drill("wrong profile, then rollback", wrong_profile)
    site.drill("second release with the prefix", second_release)
    site.drill("broken image, then rollback", broken_image)
    site.drill("Secret away", secret_away)
    site.drill("rights away for two minutes", rights_away)
    site.settle(ready)
    site.drill("no server for a minute, Fail", lambda: servers_away(""))
    site.upgrade("--set=webhook.failurePolicy=Ignore")
    site.drill("no server for a minute, Ignore", lambda: servers_away("--set=webhook.failurePolicy=Ignore"))


def main() -> int:
    """Run the series on a node of its own."""
    argparse.ArgumentParser(prog="python -m tests.cluster.drills", description=__doc__).parse_args()
    lacks = programs.missing(whole=True, also=["helm"]) + image.missing()
    lacks += [] if programs.on_path("prometheus") else ["prometheus"]
    if lacks:
        print(f"this machine lacks: {'; '.join(lacks)}", file=sys.stderr)
        return 1
    helm = programs.find("helm")
    node = Node.start("drills")
    try:
        with tempfile.TemporaryDirectory() as name, prometheus(node, Path(name)) as alerts:
            archive = image.pillion(Path(name))
            node.import_archive(archive)
            home = {f"HELM_{part}_HOME": str(Path(name) / part.lower()) for part in ("CACHE", "CONFIG", "DATA")}
            print("| drill | took | injected | refused | bare | alerts | what was said |")
            print("|---|--:|--:|--:|--:|---|---|", flush=True)
            series(Site(node, Client(helm, node.kubeconfig, home), alerts))
    finally:
        node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
