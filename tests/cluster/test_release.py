"""The chart on a real node: installed, tested, upgraded, removed, twice beside itself, and with what it lacks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webhook import __version__

from .client import Client, CommandError
from .conftest import Cluster, Install, NewNamespace, RunningCluster
from .image import CHART
from .processes import wait_until
from .provided import provided
from .release import EFFECT_SECONDS, TIMEOUT, Release, annotated_pod, prints, sidecars

pytestmark = pytest.mark.cluster

#: Kinds that a cluster makes by itself, and those whose objects outlive what they tell of.
PASSING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpoints", "componentstatuses"}


def everything(kubectl: Client, mark: str) -> set[str]:
    """Return every object of the cluster whose name, namespace or labels hold the mark."""
    kinds = set(kubectl("api-resources", "--verbs=list", "-o", "name").split()) - PASSING
    found = kubectl("get", ",".join(sorted(kinds)), "-A", "-o", "json", "--ignore-not-found")
    objects = set()
    for item in found["items"]:
        metadata = item["metadata"]
        name = f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        if mark in name or mark in json.dumps(metadata.get("labels", {})):
            objects.add(name)
    return objects


def test_without_values_it_is_ready_in_a_minute(pillion: Release) -> None:
    """`helm install --wait` returned, both servers were ready, and an annotated pod was injected."""
    assert pillion.seconds < 60
    assert pillion.injects()


def test_helm_test_passes(pillion: Release) -> None:
    """An annotated pod gets its sidecar, one runs, and nothing of the test stays."""
    said = pillion.helm("test", pillion.name, "-n", pillion.namespace, "--logs")
    assert "Phase:          Failed" not in said
    mark = f"{pillion.name}-test"
    assert wait_until(lambda: not everything(pillion.kubectl, mark), 60, poll=1), everything(pillion.kubectl, mark)


def test_helm_test_fits_the_selector(install: Install) -> None:
    """Its canaries have the labels that webhook.objectSelector asks for."""
    release = install("selected")
    asked = [
        {"key": "tier", "operator": "In", "values": ["web", "batch"]},
        {"key": "quiet", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"logs": "yes"}, "matchExpressions": asked}
    release.upgrade("--reset-then-reuse-values", f"--set-json=webhook.objectSelector={json.dumps(selector)}")
    said = release.helm("test", release.name, "-n", release.namespace, "--logs")
    assert "profile tail: a pod ran, its line was printed" in said


def test_helm_test_tries_each_configured_profile(install: Install) -> None:
    """A profile whose sidecar does not start is found by the test, with the kubelet's words. Nothing of it stays."""
    broken = {"base": "tail", "sidecar": {"image": "registry.example.org/missing:1", "imagePullPolicy": "Never"}}
    release = install(
        "profiles", "--set-json", f"profiles={json.dumps({'broken': broken})}", "--set=test.timeoutSeconds=5"
    )
    answer = release.helm.attempt("test", release.name, "-n", release.namespace)
    assert answer.returncode != 0
    said = answer.stdout + answer.stderr
    assert "profile tail: a pod ran, its line was printed" in said
    assert "FAILED: profile broken: after 5 s the pod is not ready" in said
    assert "pillion-broken: Container image" in said
    mark = f"{release.deployment}-test"
    assert wait_until(lambda: not everything(release.kubectl, mark), 60, poll=1), everything(release.kubectl, mark)


def test_sidecars_run_from_the_servers_image(install: Install, pillion_image: tuple[str, ...], namespace: str) -> None:
    """It has their program, too: who pins the servers' digest names no other image."""
    given = (option.partition("=image.tag=")[2] for option in pillion_image if "=image.tag=" in option)
    release = install("one-image", f"--set-string=tail.image.tag={next(given, __version__)}")
    made = release.kubectl(
        *("create", "-n", namespace, "-o", "json", "-f", "-"),
        stdin=annotated_pod(release.annotations(logs="/logs/app.log")),
    )
    servers = release.kubectl("get", f"deployment/{release.deployment}", "-n", release.namespace, "-o", "json")
    (sidecar,) = made["spec"]["initContainers"]
    assert sidecar["image"] == servers["spec"]["template"]["spec"]["containers"][0]["image"]
    release.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/app", "--timeout=60s")
    assert prints(release.kubectl, namespace, "app", ["a line"])


def test_an_upgrade_keeps_the_certificate(install: Install) -> None:
    """Neither key nor trust is touched by Helm, and pods are injected after it."""
    release = install("upgraded")
    secret = ("get", "secret", f"{release.deployment}-certificate", "-n", release.namespace, "-o", "json")
    hooks = ("get", "mutatingwebhookconfiguration", release.webhooks, "-o", "json")

    def state() -> Any:
        entries = release.kubectl(*hooks)["webhooks"]
        return release.kubectl(*secret)["data"], [entry["clientConfig"]["caBundle"] for entry in entries]

    before = state()
    release.upgrade("--reset-then-reuse-values", "--set=webhook.timeoutSeconds=3", "--set=podAnnotations.restarted=yes")
    assert state() == before
    assert release.kubectl(*hooks)["webhooks"][1]["timeoutSeconds"] == 3
    assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)


def test_uninstalled_it_leaves_nothing(
    pillion_image: tuple[str, ...], node: RunningCluster, helm_on: Callable[[Cluster], Client]
) -> None:
    """No object with its name or its label is left: no Secret, no webhook, no role, no lease."""
    helm, kubectl = helm_on(node), node.kubectl
    options = ("-n", "leaving-system", "--create-namespace", "--set=prefix=leaving.example.org/", *pillion_image)
    helm("install", "leaving", str(CHART), "--wait", TIMEOUT, *options)
    assert len(everything(kubectl, "leaving-pillion")) > 10
    helm("uninstall", "leaving", "-n", "leaving-system", "--wait")
    assert wait_until(lambda: not everything(kubectl, "leaving-pillion"), 60, poll=1), everything(
        kubectl, "leaving-pillion"
    )
    kubectl("delete", "namespace", "leaving-system", "--wait=false")


def test_a_second_release_works_beside_the_first(pillion: Release, install: Install, namespace: str) -> None:
    """Each injects the pods that carry its prefix, and no other."""
    second = install("second")
    for release, name in ((pillion, "one"), (second, "two")):
        pod = annotated_pod(release.annotations(logs="/logs/app.log"), name=name)
        made = release.kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=pod)
        assert sidecars(made) == ["pillion-tail"]
        assert f"{release.prefix}status" in made["metadata"]["annotations"]
    both = annotated_pod(pillion.annotations() | second.annotations(), name="both")
    made = second.kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=both)
    assert sidecars(made) == ["pillion-tail"]
    reviews = [*of_pod(pillion, "both"), *of_pod(second, "both")]
    told = {line["reason"]: line.get("warnings", "") for line in reviews}
    assert told.keys() == {"injected", "other_installation"}
    assert f"the pod has the sidecar of {status_prefix(made)}" in told["other_installation"]


def of_pod(release: Release, name: str) -> list[dict[str, Any]]:
    """Return the reviews of a pod of this name, once there is one."""
    assert wait_until(lambda: any(line["pod"] == name for line in release.reviews()), 10, poll=0.2)
    return [line for line in release.reviews() if line["pod"] == name]


def status_prefix(pod: dict[str, Any]) -> str:
    """Return the prefix of the one status that a pod has."""
    (key,) = [key for key in pod["metadata"]["annotations"] if key.endswith("/status")]
    return str(key).removesuffix("status")


@pytest.mark.minutes
def test_a_configmap_that_is_edited_reaches_the_servers_without_a_restart(install: Install, namespace: str) -> None:
    """The kubelet brings the ConfigMap when it looks at the pod, within about a minute; the server reads it again."""
    release = install("reload")
    pods = ("get", "pods", "-n", release.namespace, "-o", "name")
    before = release.kubectl(*pods)
    edit(release, "profiles: {other: {base: tail}}\n")
    asking = annotated_pod(release.annotations(logs="/logs/app.log", profile="other"))

    def known() -> bool:
        release.remind()
        made = release.kubectl("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-", stdin=asking)
        return sidecars(made) == ["pillion-other"]

    assert wait_until(known, 150, poll=2)
    assert release.kubectl(*pods) == before


class TestARejectedConfiguration:
    """A profile that is wrong, which the chart can't see."""

    WRONG = '--set-json=profiles={"mine": {"base": "tail", "order": "middle"}}'
    PROBLEM = "profiles.mine.order: must be first or last, is 'middle'"

    def test_helm_waits_in_vain_and_the_old_servers_serve_on(self, install: Install) -> None:
        """`helm test` says which server is not ready and why; `helm rollback` is enough."""
        release = install("rejected")
        before = release.servers()
        words = ("-n", release.namespace, "--reset-then-reuse-values", "--wait", "--timeout=20s", self.WRONG)
        assert release.helm.attempt("upgrade", release.name, str(CHART), *words).returncode != 0
        assert release.injects()
        ready = {name for name, is_ready in release.servers().items() if is_ready}
        assert ready == set(before)
        tested = release.helm.attempt("test", release.name, "-n", release.namespace)
        assert tested.returncode != 0
        said = tested.stdout + tested.stderr
        assert "is not ready: the configuration is invalid" in said
        assert self.PROBLEM in said
        assert "firewall" not in said
        release.helm("rollback", release.name, "-n", release.namespace, "--wait", TIMEOUT)
        assert release.injects()

    def test_a_server_that_restarts_goes_on(self, install: Install) -> None:
        """The container in the same pod has the last valid configuration; a new pod is not ready."""
        release = install("restarted")
        (name,) = release.servers()
        pod = ("-n", release.namespace, name, "-c", "webhook")
        edit(release, "profiles: {mine: {base: tail, order: middle}}\n")

        def rejected() -> bool:
            release.remind()
            return "configuration reload failed" in release.kubectl("logs", *pod)

        assert wait_until(rejected, 150, poll=2)
        release.kubectl("exec", *pod, "--", "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")

        def started_again() -> bool:
            # between two containers there is no log
            answer = release.kubectl.attempt("logs", *pod)
            return "configuration from backup" in answer.stdout

        assert wait_until(started_again, 60, poll=0.5)
        assert wait_until(release.injects, EFFECT_SECONDS, poll=0.2)
        assert release.servers() == {name: True}
        release.kubectl("delete", "pod", name, "-n", release.namespace)
        (name,) = release.servers()
        assert wait_until(
            lambda: self.PROBLEM in release.kubectl.attempt("logs", *pod[:2], name, "-c", "webhook").stdout,
            60,
            poll=0.5,
        )
        assert release.servers() == {name: False}


class TestCertificates:
    """Where the pair comes from."""

    def test_a_provided_pair_is_served(
        self, install: Install, new_namespace: NewNamespace, kubectl: Client, tmp_path: Path
    ) -> None:
        """A Secret and a caBundle are enough; the service account has no rights at all."""
        namespace = new_namespace("restricted")
        secret, bundle = provided("provided-pillion", namespace, tmp_path)
        kubectl("create", "-f", "-", stdin=secret)
        options = ("--set=certificates.mode=provided", "--set=certificates.secretName=pair")
        # the namespace is the certificate's, so it is there before the release
        release = install("provided", *options, f"--set-file=certificates.caBundle={bundle}", namespace=namespace)
        assert release.injects()
        account = f"--as=system:serviceaccount:{namespace}:provided-pillion"
        assert kubectl.attempt("auth", "can-i", "get", "secrets", "-n", namespace, account).stdout.strip() == "no"

    def test_the_server_has_no_token(self, pillion: Release) -> None:
        """Only the container beside it, which nobody can send anything to, can speak to the API server."""
        selector = f"app.kubernetes.io/instance={pillion.name}"
        pods = pillion.kubectl("get", "pods", "-n", pillion.namespace, "-l", selector, "-o", "json")["items"]
        mounts = {mount["mountPath"] for pod in pods for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts == {"/etc/pillion/configuration", "/etc/pillion/certificate", "/var/lib/pillion"}

    def test_its_rights_are_three_objects_by_name(self, pillion: Release) -> None:
        """And nothing that not every account has: what `kubectl auth can-i --list` shows, line by line."""

        def rights(account: str) -> set[str]:
            words = ("auth", "can-i", "--list", "-n", pillion.namespace, "--no-headers", f"--as={account}")
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{pillion.namespace}", "system:authenticated")
            listed = pillion.kubectl(*words, *(f"--as-group={group}" for group in groups))
            return {" ".join(line.split()) for line in listed.splitlines()}

        account = f"system:serviceaccount:{pillion.namespace}:"
        own = f"{pillion.deployment}-certificate"
        assert rights(account + pillion.deployment) - rights(account + "default") == {
            f"secrets [] [{own}] [get patch create]",
            f"leases.coordination.k8s.io [] [{own}] [get patch create]",
            f"mutatingwebhookconfigurations.admissionregistration.k8s.io [] [{pillion.webhooks}] [get patch]",
            f"validatingwebhookconfigurations.admissionregistration.k8s.io [] [{pillion.webhooks}] [get patch]",
        }

    @pytest.mark.parametrize("how", ["deleted", "emptied"])
    def test_a_lost_secret_is_made_again(self, install: Install, how: str) -> None:
        """By those rights, at once; servers go on with what they show, and are trusted."""
        release = install(f"lost-{how}")
        secret = ("secret", f"{release.deployment}-certificate", "-n", release.namespace)
        before = release.kubectl("get", *secret, "-o", "json")["data"]["ca.crt"]
        if how == "deleted":
            release.kubectl("delete", *secret)
        else:
            release.kubectl("patch", *secret, "--type=json", '-p=[{"op": "remove", "path": "/data"}]')

        def content() -> dict[str, str]:
            answer = release.kubectl.attempt("get", *secret, "-o", "json")
            return dict(json.loads(answer.stdout).get("data") or {}) if answer.returncode == 0 else {}

        assert wait_until(lambda: "next-ca.key" in content(), EFFECT_SECONDS, poll=0.2)
        assert release.injects()
        assert content()["retired-ca.crt"] == before


class TestWhatIsMissing:
    """The person who installs it sees one clear sentence, and nobody's pod is refused meanwhile."""

    @pytest.fixture
    def broken(
        self, node: RunningCluster, helm_on: Callable[[Cluster], Client], new_namespace: NewNamespace
    ) -> Callable[..., str]:
        """Return what installs a release that will not work into a new namespace, and returns that."""

        def install_broken(*options: str) -> str:
            namespace = new_namespace("restricted")
            words = ("-n", namespace, "--set=prefix=broken.example.org/", "--set=replicas=1", *options)
            helm_on(node)("install", "broken", str(CHART), *words)
            return namespace

        return install_broken

    @pytest.fixture(autouse=True)
    def no_webhook_stays(self, kubectl: Client) -> Any:
        """Remove what has no namespace."""
        yield
        words = ("-l", "app.kubernetes.io/instance=broken", "--ignore-not-found")
        kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings"
        kubectl("delete", kinds, *words)

    def test_an_image_that_is_not_there(self, broken: Callable[..., str], kubectl: Client, namespace: str) -> None:
        """The kubelet's event names the image."""
        where = broken("--set=image.repository=registry.example.org/missing", "--set=image.pullPolicy=Never")
        assert wait_until(lambda: "registry.example.org/missing:" in events(kubectl, where), 30, poll=0.5)
        assert "is not present with pull policy of Never" in events(kubectl, where)
        pod_is_created(kubectl, namespace)

    @pytest.mark.usefixtures("pillion_image")
    def test_a_secret_that_is_not_there(
        self, broken: Callable[..., str], kubectl: Client, namespace: str, tmp_path: Path
    ) -> None:
        """The kubelet's event names the Secret."""
        _, bundle = provided("broken-pillion", "any", tmp_path)
        options = ("--set=certificates.mode=provided", "--set=certificates.secretName=absent")
        where = broken(*options, f"--set-file=certificates.caBundle={bundle}")
        assert wait_until(lambda: 'secret "absent" not found' in events(kubectl, where), 30, poll=0.5)
        pod_is_created(kubectl, namespace)

    @pytest.mark.usefixtures("pillion_image")
    def test_a_configuration_that_can_not_be_used(
        self, broken: Callable[..., str], kubectl: Client, namespace: str
    ) -> None:
        """The server runs and is not ready; its log names the path and what to write."""
        where = broken("--set=profiles.mine.sidecar.image=a", "--set=profiles.mine.order=middle")
        servers = ("-n", where, "-l", "app.kubernetes.io/instance=broken")

        def log() -> str:
            return kubectl.attempt("logs", *servers, "-c", "webhook", "--tail=-1").stdout

        assert wait_until(lambda: "must be first or last, is 'middle'" in log(), 30, poll=0.5), log()
        (pod,) = kubectl("get", "pods", *servers, "-o", "json")["items"]
        (status,) = [each for each in pod["status"]["containerStatuses"] if each["name"] == "webhook"]
        assert (status["ready"], status["restartCount"]) == (False, 0)
        pod_is_created(kubectl, namespace)

    def test_a_value_that_nobody_knows(self, helm: Client) -> None:
        """The schema names it before anything is sent."""
        with pytest.raises(CommandError, match=r"replica.*not allowed"):
            helm("install", "x", str(CHART), "-n", "x-system", "--set=replica=3", "--dry-run=client")


def edit(release: Release, configuration: str) -> None:
    """Write the ConfigMap as somebody does who is not Helm."""
    patch = json.dumps({"data": {"configuration.yaml": configuration}})
    release.kubectl("patch", f"configmap/{release.deployment}", "-n", release.namespace, f"--patch={patch}")


def pod_is_created(kubectl: Client, namespace: str) -> None:
    """Assert that an annotated pod is created, without a sidecar."""
    annotations = {"broken.example.org/inject": "true", "broken.example.org/logs": "/logs/app.log"}
    made = kubectl("create", "-n", namespace, "-o", "json", "-f", "-", stdin=annotated_pod(annotations))
    assert sidecars(made) == []


def events(kubectl: Client, namespace: str) -> str:
    """Return what `kubectl get events` shows."""
    text: str = kubectl("get", "events", "-n", namespace)
    return text
