"""`pillion upgrade`, against a fake kubectl: which pods it changes, what it writes, and what it says."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Call
from tests.cli.fake_kubectl import FakeKubectl
from tests.injection.reviews import patched, verdict_on
from tests.tables import rows
from webhook.cli import in_place
from webhook.cli.in_place import InPlace, Outcome
from webhook.configuration import parse

OLD, NEW = "registry.example.com/pillion:0.1.0-tail", "registry.example.com/pillion:0.2.0-tail"
NAMESPACE = "shop"
IN = f"--namespace={NAMESPACE}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
STATUS = "pillion.dev/status"
HASH = "6d4cf56db6"
#: What a kubelet says of the sidecar that it has replaced.
REPLACED = {"containerID": "new", "imageID": "sha256:new", "ready": True, "started": True, "state": {"running": {}}}


def settings(image: str, profile: str = "") -> str:
    """Return a configuration with this image, and YAML on top of the profile tail."""
    return f"image: {image}\nprofiles: {{tail: {{{profile}}}}}\n"


def pod(name: str, owner: str = "Deployment/web", image: str = OLD, profile: str = "") -> dict[str, Any]:
    """Return a running pod with the sidecar that a configuration gives it; nothing owns it where ``owner`` is empty."""
    kind, _, maker = owner.partition("/")
    labels = {"pod-template-hash": HASH} if kind == "Deployment" else {}
    asking = {
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"pillion.dev/inject": "true"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    made: dict[str, Any] = patched(asking, verdict_on(asking, parse(settings(image, profile).encode(), "test")))
    made["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "1", "labels": labels}
    if kind == "Deployment":
        kind, maker = "ReplicaSet", f"{maker}-{HASH}"
    if kind:
        made["metadata"]["ownerReferences"] = [{"kind": kind, "name": maker, "controller": True}]
    made["spec"]["nodeName"] = "node-1"
    statuses: dict[str, list[dict[str, Any]]] = {}
    for kind, containers in made["spec"].items():
        if kind in ("containers", "initContainers"):
            statuses[f"{kind[:-1]}Statuses"] = [
                {
                    "name": one["name"],
                    "containerID": "old",
                    "imageID": "sha256:old",
                    "ready": True,
                    "state": {"running": {}},
                }
                for one in containers
            ]
    made["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **statuses}
    return made


def sidecar(made: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's sidecar."""
    kinds = ("initContainers", "containers")
    found: dict[str, Any] = next(
        one for kind in kinds for one in made["spec"].get(kind, ()) if one["name"] == "pillion-tail"
    )
    return found


def event(version: str, message: str) -> dict[str, Any]:
    """Return an event."""
    return {"metadata": {"uid": version, "resourceVersion": version}, "message": message}


class Cluster:
    """A fake cluster whose release has a new image."""

    def __init__(self, fake: FakeKubectl, folder: Path) -> None:
        self.fake = fake
        self.configure(settings(NEW))
        fake.cluster["namespace"] = NAMESPACE
        fake.cluster["replaced"] = REPLACED
        self.file = folder / "pillion.yaml"
        raw = fake.cluster["raw"]
        raw["/api/v1/nodes/node-1"] = {"status": {"nodeInfo": {"kubeletVersion": "v1.35.4"}}}
        raw["/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"] = []
        raw[EVENTS] = []
        raw[f"/api/v1/namespaces/{NAMESPACE}"] = {"metadata": {"name": NAMESPACE}}
        self.has()

    def configure(self, text: str) -> None:
        """Give the release this configuration."""
        found = {"data": {"configuration.yaml": text}}
        self.fake.cluster["raw"]["/api/v1/namespaces/pillion-system/configmaps/pillion"] = found
        self.fake.save()

    def has(self, *pods: dict[str, Any]) -> None:
        """Have these pods run."""
        raw = self.fake.cluster["raw"]
        raw[PODS] = list(pods)
        raw.update({f"{PODS}/{one['metadata']['name']}": one for one in pods})
        self.fake.save()

    def pod(self, name: str) -> dict[str, Any]:
        """Return a pod as it is now."""
        self.fake.load()
        found: dict[str, Any] = self.fake.cluster["raw"][f"{PODS}/{name}"]
        return found

    def patches(self) -> list[str]:
        """Return the names of the pods that were to be changed, in that order."""
        return [words[-1] for words in self.fake.calls if words[0] == "patch"]


@pytest.fixture
def cluster(fake_kubectl: FakeKubectl, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster in which nobody has to wait."""
    monkeypatch.setattr(in_place, "POLL_SECONDS", 0)
    monkeypatch.setattr(in_place, "SETTLED_SECONDS", 0)
    return Cluster(fake_kubectl, folder)


def test_outcomes_are_documented() -> None:
    """Each has its row."""
    assert rows(in_place) == [outcome.value for outcome in Outcome]


class TestUpgraded:
    """Where the image alone differs."""

    def test_a_deployment(self, cluster: Cluster, pillion: Call) -> None:
        """Each pod has the new image, one after the other; what was current stays as it was."""
        cluster.has(pod("web-1"), pod("web-2"), pod("web-3", image=NEW))
        answer = pillion("upgrade")
        assert answer.out.splitlines() == [
            "deployment/web (namespace shop)",
            f"  {OLD} -> {NEW}",
            "  web-1: upgraded in 0 s",
            "  web-2: upgraded in 0 s",
        ]
        summary = "3 pods: 2 upgraded, 1 already current; by ConfigMap pillion-system/pillion"
        assert (answer.code, answer.err.splitlines()[-1]) == (0, f"pillion upgrade: {summary}")
        assert cluster.patches() == ["web-1", "web-2"]
        assert {sidecar(cluster.pod(name))["image"] for name in ("web-1", "web-2", "web-3")} == {NEW}

    def test_again(self, cluster: Cluster, pillion: Call) -> None:
        """Nothing is left to do."""
        cluster.has(pod("web-1"), pod("web-2"))
        pillion("upgrade")
        answer = pillion("upgrade")
        assert (answer.code, answer.out, len(cluster.patches())) == (0, "", 2)

    def test_the_status_is_that_of_a_new_injection(self, cluster: Cluster, pillion: Call) -> None:
        """With the present revision."""
        cluster.configure(settings(NEW, "description: other words"))
        cluster.has(pod("web-1"), pod("web-2"))
        assert pillion("upgrade").code == 0
        wanted = pod("web-1", image=NEW, profile="description: other words")
        assert cluster.pod("web-1")["metadata"]["annotations"] == wanted["metadata"]["annotations"]
        assert cluster.pod("web-1")["spec"] == wanted["spec"]

    def test_another_revision_of_the_same_sidecar(self, cluster: Cluster, pillion: Call) -> None:
        """The annotation alone: no container is replaced, so the pod need not be ready, nor one of several."""
        cluster.configure(settings(OLD, "description: other words"))
        single = pod("web-1")
        single["status"]["conditions"] = []
        cluster.has(single)
        answer = pillion("upgrade")
        assert answer.code == 0
        assert "web-1: had that sidecar already; its annotation now says so" in answer.out
        after = cluster.pod("web-1")
        assert after["status"] == single["status"]
        assert after["metadata"]["annotations"] != single["metadata"]["annotations"]

    def test_an_ordinary_sidecar(self, cluster: Cluster, pillion: Call) -> None:
        """Every kubelet replaces it."""
        cluster.configure(settings(NEW, "native: false"))
        cluster.fake.cluster["raw"]["/api/v1/nodes/node-1"]["status"]["nodeInfo"]["kubeletVersion"] = "v1.29.6"
        cluster.has(pod("web-1", profile="native: false"), pod("web-2", profile="native: false"))
        answer = pillion("upgrade")
        assert (answer.code, sidecar(cluster.pod("web-2"))["image"]) == (0, NEW)

    def test_the_same_image_under_another_name(self, cluster: Cluster, pillion: Call) -> None:
        """A new container is enough, when it stays."""
        cluster.fake.cluster["replaced"] = {**REPLACED, "imageID": "sha256:old"}
        cluster.has(pod("web-1"), pod("web-2"))
        assert pillion("upgrade").code == 0

    def test_a_configuration_file(self, cluster: Cluster, pillion: Call) -> None:
        """In place of the release's."""
        cluster.file.write_text(settings("registry.example.com/pillion:0.3.0-tail"))
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade", "--config", str(cluster.file))
        assert answer.code == 0
        assert sidecar(cluster.pod("web-1"))["image"].endswith(":0.3.0-tail")
        assert answer.err.endswith(f"by {cluster.file}\n")


class TestDryRun:
    """What would be done."""

    def test_nothing_is_changed(self, cluster: Cluster, pillion: Call) -> None:
        """The API server is asked."""
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade", "--dry-run")
        assert answer.code == 0
        assert "  web-1: would be upgraded\n  web-2: would be upgraded\n" in answer.out
        assert cluster.patches() == ["web-1", "web-2"]
        assert cluster.pod("web-1") == pod("web-1")

    def test_what_can_not_be_done(self, cluster: Cluster, pillion: Call) -> None:
        """Is said as it would be without --dry-run."""
        cluster.has(pod("web-1"))
        answer = pillion("upgrade", "--dry-run")
        assert (answer.code, cluster.patches()) == (1, [])
        assert "web-1: left as it is: no other pod of its workload is ready" in answer.out


class TestLeft:
    """Pods that are not upgraded now."""

    def test_the_only_ready_pod(self, cluster: Cluster, pillion: Call) -> None:
        """Of its workload, whatever else runs in the namespace; with a flag it is upgraded."""
        unready = pod("web-2")
        unready["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        cluster.has(pod("web-1"), unready, pod("db-0", "StatefulSet/db"))
        answer = pillion("upgrade", "deployment/web")
        assert (answer.code, cluster.patches()) == (1, [])
        assert (
            "web-1: left as it is: no other pod of its workload is ready; --allow-unavailable upgrades it" in answer.out
        )
        assert "web-2: left as it is: it is not ready" in answer.out
        assert "2 pods: 2 left as they are" in answer.err
        answer = pillion("upgrade", "pod/web-1", "--allow-unavailable")
        assert (answer.code, cluster.patches()) == (0, ["web-1"])

    def test_pods_that_end(self, cluster: Cluster, pillion: Call) -> None:
        """They need nothing any more."""
        ending = pod("web-1")
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        cluster.has(ending)
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (0, [])
        assert answer.err.startswith("pillion upgrade: 0 pods: none has a sidecar")

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: one["metadata"].update(uid="another"),
            lambda one: one["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            lambda one: one["status"].update(phase="Succeeded"),
        ],
        ids=["another of its name", "ending", "finished"],
    )
    def test_pods_that_end_meanwhile(self, cluster: Cluster, pillion: Call, change: Callable[[Any], object]) -> None:
        """Between the list and their turn."""
        cluster.has(pod("web-1"), pod("web-2"))
        change(cluster.fake.cluster["raw"][f"{PODS}/web-1"])
        # the list has it as it was
        cluster.fake.cluster["raw"][PODS] = [pod("web-1"), pod("web-2")]
        cluster.fake.save()
        answer = pillion("upgrade")
        assert "web-1: has ended meanwhile\n" in answer.out
        assert (answer.code, cluster.patches()) == (0, ["web-2"])

    @pytest.mark.parametrize(
        ("meanwhile", "said", "code"),
        [
            ({"image": NEW}, "web-1: has been upgraded meanwhile\n", 0),
            ({"profile": "sidecar: {args: [x]}"}, "1 pod has to be created anew: initContainers.pillion-tail.args", 1),
        ],
        ids=["upgraded", "other"],
    )
    def test_pods_that_were_changed_meanwhile(
        self, cluster: Cluster, pillion: Call, meanwhile: dict[str, str], said: str, code: int
    ) -> None:
        """What counts is the pod as it is when its turn comes."""
        cluster.has(pod("web-1", **meanwhile), pod("web-2"))
        cluster.fake.cluster["raw"][PODS] = [pod("web-1"), pod("web-2")]
        cluster.fake.save()
        answer = pillion("upgrade")
        assert said in answer.out
        assert (answer.code, cluster.patches()) == (code, ["web-2"])

    def test_pods_that_end_while_it_waits(self, cluster: Cluster, pillion: Call) -> None:
        """Nothing is left to upgrade."""
        cluster.fake.cluster["breaks"] = 'Error from server (NotFound): pods "web-1" not found'
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert "web-1: has ended meanwhile\n" in answer.out
        assert answer.code == 0

    def test_pods_that_others_change(self, cluster: Cluster, pillion: Call) -> None:
        """The patch is for the pod as it was read; after some conflicts it is left."""
        cluster.has(pod("web-1"), pod("web-2"))
        cluster.fake.cluster["failures"][f"patch {PODS}/web-1"] = "Error from server (Conflict): modified"
        cluster.fake.save()
        answer = pillion("upgrade")
        assert "web-1: left as it is: others go on changing it" in answer.out
        assert (answer.code, cluster.patches()) == (1, [*["web-1"] * in_place.ATTEMPTS, "web-2"])
        patches = [words for words in cluster.fake.calls if words[0] == "patch"]
        (patch,) = [word for word in patches[0] if word.startswith("--patch=")]
        assert json.loads(patch.removeprefix("--patch="))["metadata"]["resourceVersion"] == "1"

    def test_others_sidecars(self, cluster: Cluster, pillion: Call) -> None:
        """Pods without one, and those of another installation, are none of ours."""
        without, foreign = pod("web-1"), pod("web-2")
        without["spec"]["initContainers"] = []
        foreign["metadata"]["annotations"] = {"example.org/status": foreign["metadata"]["annotations"][STATUS]}
        cluster.has(without, foreign)
        answer = pillion("upgrade")
        assert (answer.code, answer.out, cluster.patches()) == (0, "", [])


class TestAnew:
    """Pods that have to be created anew."""

    @pytest.mark.parametrize(
        ("owner", "command"),
        [
            ("Deployment/web", "kubectl rollout restart deployment/web --namespace=shop"),
            ("StatefulSet/web", "kubectl rollout restart statefulset/web --namespace=shop"),
            ("ReplicaSet/web", "kubectl delete pod web-1 --namespace=shop"),
            ("", f"kubectl get pod web-1 {IN} -o yaml | pillion uninject -f - | kubectl replace --force {IN} -f -"),
        ],
    )
    def test_more_than_the_image(self, cluster: Cluster, pillion: Call, owner: str, command: str) -> None:
        """What differs is said, and by which command it is done."""
        cluster.configure(settings(NEW, "sidecar: {resources: {limits: {memory: 1Gi}}, workingDir: /tmp, args: [x]}"))
        cluster.has(pod("web-1", owner))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, [])
        path = "initContainers.pillion-tail"
        args = f"{path}.args[0] is /var/log/app/*.log, now x"
        differences = f"{args}; {path}.resources.limits.memory is 64Mi, now 1Gi; {path}.workingDir is missing"
        assert answer.out.splitlines()[1:] == [
            f"  1 pod has to be created anew: {differences}",
            f"  to do it: {command}",
        ]

    def test_many_differences(self, cluster: Cluster, pillion: Call) -> None:
        """Some are named, and the others are counted."""
        cluster.configure(
            settings(
                NEW, "native: false, sidecar: {args: [x], volumeMounts: null}, volumes: null, serviceAccountToken: true"
            )
        )
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert "  2 pods have to be created anew: " in answer.out
        assert "containers.pillion-tail is missing; and 3 more\n" in answer.out

    def test_a_pod_that_would_get_none(self, cluster: Cluster, pillion: Call) -> None:
        """Its author does not want one any more."""
        refused = pod("web-1")
        refused["metadata"]["annotations"]["pillion.dev/inject"] = "false"
        cluster.has(refused)
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, [])
        assert "to be created anew: it would get no sidecar now: " in answer.out

    def test_an_old_kubelet(self, cluster: Cluster, pillion: Call) -> None:
        """Nothing would come of it, so nothing is changed."""
        cluster.fake.cluster["raw"]["/api/v1/nodes/node-1"]["status"]["nodeInfo"]["kubeletVersion"] = "v1.31.14-x"
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, [])
        why = "kubelet v1.31.14-x does not replace native sidecars, since v1.32 it does"
        assert f"  2 pods have to be created anew: {why}\n" in answer.out


class TestStops:
    """It stops at the first pod that is not taken or does not come back."""

    @pytest.mark.parametrize(
        ("kubelet", "why"),
        [
            (
                {
                    "containerID": "new",
                    "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off\npulling"}},
                },
                "ImagePullBackOff: Back-off\N{REPLACEMENT CHARACTER}pulling",
            ),
            (
                {},
                "the former sidecar still runs; if nothing is pulled, the pod has to be created anew (old kubelet)",
            ),
            ({"state": {"terminated": {}}}, "the new image is not there yet"),
            ({**REPLACED, "ready": False}, "the new sidecar is not ready"),
            ({**REPLACED, "started": False}, "the new sidecar is not ready"),
        ],
        ids=["not pulled", "old kubelet", "slow", "not ready", "not started"],
    )
    def test_a_pod_that_does_not_come_back(
        self, cluster: Cluster, pillion: Call, kubelet: dict[str, Any], why: str
    ) -> None:
        """With the reason, and the command that gives it the sidecar that it had."""
        cluster.configure(settings(NEW, "description: other words"))
        cluster.fake.cluster["replaced"] = kubelet
        cluster.has(pod("web-1"), pod("web-2"), pod("db-0", "StatefulSet/db"))
        answer = pillion("upgrade", "--timeout", "0s")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        *_, failure, back = answer.out.splitlines()
        assert failure == f"  web-1: not back after 0 s: {why}"
        assert "1 not back, 2 not tried" in answer.err
        words = shlex.split(back.removeprefix("  to go back: "))
        assert words[:6] == ["kubectl", "patch", "pod", "web-1", "--namespace=shop", "-p"]
        change = json.loads(words[6])
        assert change["spec"] == {"initContainers": [{"name": "pillion-tail", "image": OLD}]}
        assert change["metadata"]["annotations"] == {STATUS: pod("web-1")["metadata"]["annotations"][STATUS]}

    def test_an_image_that_can_not_be_pulled(self, cluster: Cluster, pillion: Call) -> None:
        """Of a native sidecar only events say so; those from before count for nothing."""
        cluster.fake.cluster["replaced"] = {"state": {"terminated": {}}, "ready": False}
        failed, back_off = f'Failed to pull image "{NEW}": not\x1bfound', f'Back-off pulling image "{NEW}"'
        cluster.fake.cluster["events"] = [event("1", failed), event("2", back_off), event("3", "Back-off restarting")]
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        said = f'Failed to pull image "{NEW}": not\N{REPLACEMENT CHARACTER}found'
        assert f"web-1: not back after 0 s: {said}\n  to go back: " in answer.out
        cluster.fake.cluster["raw"][EVENTS] = cluster.fake.cluster["events"]
        cluster.has(pod("web-1"), pod("web-2"))
        assert "not back after 0 s: the new image is not there yet" in pillion("upgrade", "--timeout", "0s").out

    def test_an_image_that_is_pulled_slowly(self, cluster: Cluster, pillion: Call) -> None:
        """The former sidecar seems to run until the new one does."""
        cluster.fake.cluster["replaced"] = {}
        cluster.fake.cluster["events"] = [event("1", f'Pulling image "{NEW}"')]
        cluster.has(pod("web-1"), pod("web-2"))
        assert "not back after 0 s: the new image is not there yet\n" in pillion("upgrade", "--timeout", "0s").out

    def test_without_the_right_to_read_events(self, cluster: Cluster, pillion: Call) -> None:
        """The pod's status has to do."""
        cluster.fake.cluster["failures"][EVENTS] = "Error from server (Forbidden): events is forbidden"
        cluster.fake.cluster["replaced"] = {"state": {"terminated": {}}, "ready": False}
        cluster.has(pod("web-1"), pod("web-2"))
        assert "not back after 0 s: the new image is not there yet" in pillion("upgrade", "--timeout", "0s").out

    def test_a_pod_that_is_not_ready_as_a_whole(self, cluster: Cluster, pillion: Call) -> None:
        """The next one has to wait for it."""
        cluster.fake.cluster["afterwards"] = {"conditions": [{"type": "Ready", "status": "False"}]}
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade", "--timeout", "0s")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        assert "web-1: not back after 0 s: the sidecar is ready, but the pod is not" in answer.out

    def test_the_image_it_had_under_another_name(
        self, cluster: Cluster, pillion: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash may have been faster than the change, so the new container has to stay."""
        monkeypatch.setattr(in_place, "SETTLED_SECONDS", 1000)
        cluster.fake.cluster["replaced"] = {**REPLACED, "imageID": "sha256:old"}
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade", "--timeout", "0s")
        assert "web-1: not back after 0 s: its image is the one that it had, and it has just started" in answer.out

    def test_a_cluster_that_can_not_be_read_meanwhile(self, cluster: Cluster, pillion: Call) -> None:
        """The way back is said all the same."""
        cluster.has(pod("web-1"), pod("web-2"))
        cluster.fake.cluster["breaks"] = "Unable to connect to the server: EOF"
        cluster.fake.save()
        answer = pillion("upgrade", "--timeout", "0s")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        assert (
            "web-1: not back after 0 s: Unable to connect to the server: EOF\n  to go back: kubectl patch" in answer.out
        )

    def test_an_interrupt(self, cluster: Cluster, pillion: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever does not wait for the end is told how to go back."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(InPlace, "_wait", interrupt)
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (130, ["web-1"])
        assert "if web-1 does not come back: kubectl patch pod web-1 --namespace=shop -p " in answer.err

    def test_an_image_that_somebody_changes_back(self, cluster: Cluster, pillion: Call) -> None:
        """Another webhook may rewrite images; a change that changes nothing is not waited for."""
        cluster.fake.cluster["keeps"] = OLD
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        assert "something in the cluster changes the image back" in answer.out

    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            (
                'Error from server (Forbidden): pods "web-1" is forbidden: User "me" cannot patch',
                'pods "web-1" is forbidden',
            ),
            ('Error from server: admission webhook "p" denied the request: no \x1b[2J', 'admission webhook "p" denied'),
        ],
    )
    def test_a_change_that_is_refused(self, cluster: Cluster, pillion: Call, said: str, sentence: str) -> None:
        """The API server's sentence is shown; the pod is as it was."""
        cluster.has(pod("web-1"), pod("web-2"))
        cluster.fake.cluster["failures"][f"patch {PODS}/web-1"] = said
        cluster.fake.save()
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (1, ["web-1"])
        assert "web-1: the API server refuses the change: " in answer.out
        assert sentence in answer.out
        assert "to go back" not in answer.out
        assert "\x1b" not in answer.out
        assert "1 refused, 1 not tried" in answer.err


class TestUsage:
    """What it can't start with."""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["web"], "web: write KIND/NAME, as kubectl names things: deployment/web"),
            (["deployment/"], "deployment/: write KIND/NAME"),
            (["deployment/x", "pod/y"], "deployment/x, pod/y: no such pods in namespace shop"),
            (["-A", "deployment/web"], "write -n NAME instead of -A"),
            (["--timeout", "5"], "'5' is not a duration"),
            (["--config", "absent.yaml"], "absent.yaml: configuration: can't be read"),
        ],
    )
    def test_words(self, cluster: Cluster, pillion: Call, words: list[str], said: str) -> None:
        """One sentence, exit code 2."""
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade", *words)
        assert answer.code == 2
        assert said in answer.err
        assert cluster.patches() == []

    def test_no_configuration(self, cluster: Cluster, pillion: Call) -> None:
        """What a pod would get now is not guessed."""
        del cluster.fake.cluster["raw"]["/api/v1/namespaces/pillion-system/configmaps/pillion"]
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (2, [])
        assert "give the webhook's configuration with --config" in answer.err

    def test_a_release_of_another_version(self, cluster: Cluster, pillion: Call) -> None:
        """Its webhook may make another sidecar of the same configuration, so nothing is changed by guess."""
        config_map = cluster.fake.cluster["raw"]["/api/v1/namespaces/pillion-system/configmaps/pillion"]
        config_map["metadata"] = {"labels": {"app.kubernetes.io/version": "99.0.0"}}
        cluster.has(pod("web-1"), pod("web-2"))
        answer = pillion("upgrade")
        assert (answer.code, cluster.patches()) == (2, [])
        assert "only Pillion 99.0.0 knows what the webhook adds: use its command, or give --config" in answer.err
        cluster.file.write_text(settings(NEW))
        assert pillion("upgrade", "--config", str(cluster.file)).code == 0

    @pytest.mark.parametrize(
        "names",
        [
            *("deploy/web", "deployments/web", "Deployment/web", "deployments.apps/web", "po/web-1", "deploy web"),
            *("pod web-1 web-2", f"rs/web-{HASH}"),
        ],
    )
    def test_names_of_kinds(self, cluster: Cluster, pillion: Call, names: str) -> None:
        """As kubectl takes them."""
        cluster.has(pod("web-1"), pod("web-2"), pod("db-0", "StatefulSet/db"), pod("db-1", "StatefulSet/db"))
        assert pillion("upgrade", *names.split(" ")).code == 0
        assert "db-0" not in cluster.patches()
        assert "web-1" in cluster.patches()

    def test_without_the_right_to_read_nodes(self, cluster: Cluster, pillion: Call) -> None:
        """The kubelet's version is a help, not a need."""
        cluster.has(pod("web-1"), pod("web-2"))
        cluster.fake.cluster["failures"]["/api/v1/nodes/node-1"] = "Error from server (Forbidden): nodes is forbidden"
        cluster.fake.save()
        assert pillion("upgrade").code == 0

    def test_without_the_right_to_read_namespaces(self, cluster: Cluster, pillion: Call) -> None:
        """A pod that has a sidecar and does not ask got it because its namespace opted in."""
        opted_in = pod("web-1")
        del opted_in["metadata"]["annotations"]["pillion.dev/inject"]
        opted_in["metadata"]["annotations"]["pillion.dev/logs"] = "/var/log/app/*.log"
        cluster.has(opted_in, pod("web-2"))
        path = f"/api/v1/namespaces/{NAMESPACE}"
        cluster.fake.cluster["failures"][path] = "Error from server (Forbidden): namespaces is forbidden"
        cluster.fake.save()
        assert (pillion("upgrade").code, cluster.patches()) == (0, ["web-1", "web-2"])
