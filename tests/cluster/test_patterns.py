"""The five hand-written sidecars of tests/patterns, each run beside the same application with annotations."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from .client import Client
from .conftest import Install, NewNamespace
from .processes import wait_until
from .release import RESTRICTED, printed, prints, sidecars

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("pillion"), pytest.mark.xdist_group("patterns")]

PATTERNS = Path(__file__).parent.parent / "patterns"
SECONDS = 60.0

Documents = list[dict[str, Any]]
Apply = Callable[..., Any]


def documents(path: str) -> Documents:
    """Return a pattern's manifests."""
    return [document for document in YAML(typ="safe", pure=True).load_all(PATTERNS / path) if document]


def template(document: dict[str, Any]) -> dict[str, Any]:
    """Return a workload's pod template; a pod is its own."""
    inner: dict[str, Any] = document if document["kind"] == "Pod" else document["spec"]["template"]
    return inner


def restricted(pods: Documents) -> None:
    """Give each container what the restricted level asks for."""
    for document in pods:
        if document["kind"] != "Service":
            for container in template(document)["spec"]["containers"]:
                container["securityContext"] = RESTRICTED


@pytest.fixture
def run(kubectl: Client) -> Apply:
    """Return what creates documents in a namespace and returns the one pod of them when it is ready."""

    def create(pods: Documents, namespace: str) -> Any:
        for document in pods:
            kubectl("create", "-n", namespace, "-f", "-", stdin=document)
        named = ("get", "pods", "-n", namespace, "-o", "json")
        assert wait_until(lambda: len(kubectl(*named)["items"]) == 1, SECONDS, poll=0.2)
        kubectl("wait", "-n", namespace, "--for=condition=Ready", "pods", "--all", f"--timeout={SECONDS:.0f}s")
        return kubectl(*named)["items"][0]

    return create


def content(kubectl: Client, pod: Any, container: str, path: str) -> list[str]:
    """Return the lines of a file as the container sees it."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    lines: list[str] = kubectl("exec", "-n", namespace, name, "-c", container, "--", "cat", path).splitlines()
    return lines


class Printing(NamedTuple):
    """A pattern whose sidecar prints a file."""

    folder: str
    app: str
    """The container that writes."""
    path: str
    line: str
    """What a line of the file looks like."""
    by_hand: str
    """The container that somebody wrote to print it."""


@pytest.mark.parametrize(
    "pattern",
    [
        Printing("000-tail-file", "main", "/var/log/ticker.log", r".+ INFO tick", "printer"),
        Printing("001-init-writes", "writer", "/work-dir/stamps.log", r"prepared|.+ \d{4}", "reader"),
        Printing("003-data-dir", "main-app", "/data/journal.txt", r".+ \d{4}", "log-printer"),
    ],
    ids=lambda pattern: pattern.folder[:3],
)
@pytest.mark.usefixtures("web_images")  # one of the applications is an nginx image's shell
def test_the_sidecar_prints_what_the_application_wrote(
    pattern: Printing, run: Apply, kubectl: Client, new_namespace: NewNamespace
) -> None:
    """Line for line and once each, where the hand-written container prints the same file, some again and again."""
    original = run(documents(f"{pattern.folder}/by-hand.yaml"), new_namespace())
    injected = run(documents(f"{pattern.folder}/annotated.yaml"), new_namespace())
    assert sidecars(injected) == ["pillion-tail"]
    namespace, name = injected["metadata"]["namespace"], injected["metadata"]["name"]

    assert wait_until(lambda: len(content(kubectl, injected, pattern.app, pattern.path)) >= 3, SECONDS, poll=0.3)
    written = content(kubectl, injected, pattern.app, pattern.path)
    assert all(re.fullmatch(pattern.line, each) for each in written)
    assert prints(kubectl, namespace, name, written)

    written = content(kubectl, original, pattern.app, pattern.path)
    theirs = original["metadata"]["namespace"]
    assert wait_until(lambda: set(written) <= set(printed(kubectl, theirs, name, pattern.by_hand)), SECONDS, poll=0.3)


def test_an_init_containers_line_is_the_first(run: Apply, kubectl: Client, namespace: str) -> None:
    """001: what was written before the application started is read, too."""
    pod = run(documents("001-init-writes/annotated.yaml"), namespace)
    assert wait_until(lambda: len(printed(kubectl, namespace, pod["metadata"]["name"])) >= 2, SECONDS, poll=0.3)
    assert printed(kubectl, namespace, pod["metadata"]["name"])[0] == "prepared"


def fetch(kubectl: Client, pod: Any, url: str) -> str:
    """Return what is served there to a pod's container, which has a wget, or wget's words."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    answer = kubectl.attempt("exec", "-n", namespace, name, "-c", "author", "--", "wget", "-qO-", url)
    return answer.stdout or answer.stderr


@pytest.mark.usefixtures("web_images")
class TestWeb:
    """002 and 004: the page that the sidecar serves is what the application wrote."""

    def wait_served(self, kubectl: Client, pod: Any, container: str, url: str, client: Any) -> None:
        """Return when the served page equals the file; fail with what both were last."""
        written: list[str] = []
        page = ""

        def equal() -> bool:
            nonlocal written, page
            written = content(kubectl, pod, container, "/var/log/index.html")
            page = fetch(kubectl, client, url)
            return bool(written) and page.splitlines() == written

        assert wait_until(equal, SECONDS, poll=0.3), (url, page, written)

    def test_002_in_a_restricted_namespace_on_8080(
        self, run: Apply, kubectl: Client, new_namespace: NewNamespace
    ) -> None:
        """Through the Service, as the original; the page has the pod's name, filled into the argument."""
        original = run(documents("002-web-deployment/by-hand.yaml"), new_namespace())
        pods = documents("002-web-deployment/annotated.yaml")
        restricted(pods)
        injected = run(pods, new_namespace("restricted"))
        assert sidecars(injected) == ["pillion-web"]
        for pod in (original, injected):
            namespace = pod["metadata"]["namespace"]
            address = kubectl("get", "service", "bulletin", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
            self.wait_served(kubectl, pod, "author", f"http://{address}/index.html", pod)
            page = fetch(kubectl, pod, f"http://{address}/index.html")
            assert page.endswith(f"bulletin of pod {pod['metadata']['name']}\n")

    def test_004_in_a_restricted_namespace_on_8080(
        self, run: Apply, kubectl: Client, new_namespace: NewNamespace
    ) -> None:
        """The page that grows is served as far as it has grown."""
        client = run(documents("002-web-deployment/by-hand.yaml"), new_namespace())  # it has a wget
        original = run(documents("004-producer-web/by-hand.yaml"), new_namespace())
        pods = documents("004-producer-web/annotated.yaml")
        restricted(pods)
        injected = run(pods, new_namespace("restricted"))
        assert sidecars(injected) == ["pillion-web"]
        for pod, port in ((original, 80), (injected, 8080)):
            url = f"http://{pod['status']['podIP']}:{port}/index.html"
            self.wait_served(kubectl, pod, "producer", url, client)

    def test_002_in_a_baseline_namespace_on_80(
        self, run: Apply, kubectl: Client, install: Install, new_namespace: NewNamespace
    ) -> None:
        """With a profile of the operator's; low ports are for all where the pod, or a newer containerd, says so."""
        profile = {
            "base": "web",
            "sidecar": {
                "env": [{"name": "PORT", "value": "80"}],
                "ports": [{"name": "pillion-web80", "containerPort": 80}],
            },
        }
        release = install("eighty", "--set-json", f"profiles={json.dumps({'web80': profile})}")
        pods = documents("002-web-deployment/annotated.yaml")
        pod = template(pods[0])
        pod["metadata"]["annotations"] = release.annotations(profile="web80", logs="/var/log/index.html")
        pod["spec"]["securityContext"] = {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}
        pods[1]["spec"]["ports"] = [{"port": 80}]
        pod = run(pods, new_namespace("baseline"))
        assert sidecars(pod) == ["pillion-web80"]
        namespace = pod["metadata"]["namespace"]
        address = kubectl("get", "service", "bulletin", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}")
        self.wait_served(kubectl, pod, "author", f"http://{address}/index.html", pod)

    def test_the_page_of_an_application_that_is_root(self, run: Apply, kubectl: Client, namespace: str) -> None:
        """The sidecar is root then, too, without any capability, and serves all the same."""
        pods = documents("002-web-deployment/annotated.yaml")
        template(pods[0])["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
        pod = run(pods, namespace)
        assert sidecars(pod) == ["pillion-web"]
        self.wait_served(kubectl, pod, "author", f"http://{pod['status']['podIP']}:8080/index.html", pod)

    @pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
    def test_nothing_else_that_lies_there(self, run: Apply, kubectl: Client, namespace: str) -> None:
        """What `logs` names is listed and served, a new file at once; neighbours and symlinks out are not."""
        commands = (
            "cd /var/log; echo a line > shop.log; echo a secret > private.txt; mkdir sub; echo a line > sub/x.log",
            "ln -s shop.log current.log; ln -s /proc/self/environ environ.log; mkfifo p.log",
            "sleep 3600",
        )
        pods = documents("002-web-deployment/annotated.yaml")[:1]
        pod = template(pods[0])
        pod["metadata"]["annotations"]["pillion.dev/logs"] = "/var/log/shop.log,/var/log/[ce]*.log,/var/log/p.log"
        pod["spec"]["containers"][0]["args"] = ["; ".join(commands)]
        restricted(pods)
        injected = run(pods, namespace)
        where = ("-n", namespace, injected["metadata"]["name"], "-c", "author", "--")

        def listed() -> list[str]:
            page = fetch(kubectl, injected, "http://127.0.0.1:8080/")
            return re.findall(r'<a href="\./([^"]+)">', page)

        assert wait_until(lambda: listed() == ["current.log", "shop.log"], SECONDS, poll=0.3), listed()
        for name in ("current.log", "shop.log"):
            assert fetch(kubectl, injected, f"http://127.0.0.1:8080/{name}") == "a line\n"
        for name in ("private.txt", "environ.log", "sub/x.log", "p.log"):
            assert "404 Not Found" in fetch(kubectl, injected, f"http://127.0.0.1:8080/{name}")
        kubectl("exec", *where, "sh", "-c", "echo new > /var/log/created.log")
        assert listed() == ["created.log", "current.log", "shop.log"]
        assert fetch(kubectl, injected, "http://127.0.0.1:8080/created.log") == "new\n"


class TestJob:
    """003: a Job that ends."""

    @staticmethod
    def run(kubectl: Client, namespace: str, job: dict[str, Any]) -> tuple[Any, float]:
        """Return the Job's pod, and how many seconds after its main container's end it was complete."""
        name = job["metadata"]["name"]
        kubectl("create", "-n", namespace, "-f", "-", stdin=job)
        kubectl("wait", "-n", namespace, "--for=condition=Complete", f"job/{name}", f"--timeout={SECONDS:.0f}s")
        pod = kubectl("get", "pods", "-n", namespace, "-l", f"job-name={name}", "-o", "json")["items"][0]
        completed = kubectl("get", "job", name, "-n", namespace, "-o", "json")["status"]["completionTime"]
        return pod, (moment(completed) - ended(pod, "containerStatuses")).total_seconds()

    def test_it_completes_with_its_last_line_printed(self, kubectl: Client, namespace: str) -> None:
        """Each of its 1001 lines, and its last one, is in the sidecar's output, and the sidecar ends well."""
        pod, _ = self.run(kubectl, namespace, documents("003-data-dir/job.yaml")[0])
        lines = printed(kubectl, namespace, pod["metadata"]["name"])
        assert lines == [*(f"entry {number}" for number in range(1, 1001)), "the end"]
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    def test_the_sidecar_adds_two_seconds_at_most(
        self, kubectl: Client, namespace: str, record_property: Callable[[str, object], None]
    ) -> None:
        """Compared with a native sidecar that ends at once: the rest is the kubelet's, four to five seconds."""
        ours = documents("003-data-dir/job.yaml")[0]
        floor = documents("003-data-dir/job.yaml")[0]
        floor["metadata"]["name"] = "floor"
        del floor["spec"]["template"]["metadata"]["annotations"]
        sidecar = {
            "name": "sidecar",
            "image": "busybox:1.36",
            "restartPolicy": "Always",
            "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"],
        }
        floor["spec"]["template"]["spec"] |= {"initContainers": [sidecar]}
        app = floor["spec"]["template"]["spec"]["containers"][0]
        app["command"] = [word.replace("/data/", "/tmp/") for word in app["command"]]
        pod, seconds = self.run(kubectl, namespace, ours)
        _, least = self.run(kubectl, namespace, floor)
        record_property("seconds from the container's end to the Job's", (seconds, least))
        # Kubernetes writes whole seconds, so each of two differences may be one off
        assert seconds - least <= 2 + 1
        took = ended(pod, "initContainerStatuses") - ended(pod, "containerStatuses")
        assert took.total_seconds() <= 2 + 1


def ended(pod: Any, part: str) -> datetime:
    """Return when a pod's first container of a kind ended."""
    return datetime.fromisoformat(pod["status"][part][0]["state"]["terminated"]["finishedAt"])


def moment(text: str) -> datetime:
    """Return a time of the API's."""
    return datetime.fromisoformat(text)
