"""What Helm does with the chart's objects at a real API server: other people's changes, and a second release."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import VALUE_SETS
from tests.pages import COMMANDS

from .client import Client, CommandError
from .image import CHART

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("apiserver")]

FAIL = "--set=webhook.failurePolicy=Fail"


@dataclass(frozen=True)
class Objects:
    """A release of which nothing runs."""

    name: str
    namespace: str
    helm: Client
    kubectl: Client

    @property
    def webhooks(self) -> tuple[str, str]:
        """The webhook configuration, as kubectl's words."""
        return "mutatingwebhookconfiguration", f"{self.name}-pillion.{self.namespace}.pillion.dev"

    @property
    def policies(self) -> list[str]:
        """Each entry's failurePolicy."""
        return [entry["failurePolicy"] for entry in self.kubectl("get", *self.webhooks, "-o", "json")["webhooks"]]

    @property
    def bundles(self) -> list[str]:
        """Each entry's caBundle."""
        entries = self.kubectl("get", *self.webhooks, "-o", "json")["webhooks"]
        return [entry["clientConfig"].get("caBundle", "") for entry in entries]

    def upgrade(self, *options: str) -> None:
        """Run `helm upgrade` with the values that there are."""
        words = ("upgrade", self.name, str(CHART), "-n", self.namespace, "--reset-then-reuse-values", "--wait=hookOnly")
        self.helm(*words, *options)


@pytest.fixture
def install(helm: Client, kubectl: Client) -> Iterator[Callable[..., Objects]]:
    """Return what installs a release with this prefix; it is removed after the test."""
    made: list[Objects] = []

    def new(name: str, prefix: str, *options: str) -> Objects:
        namespace = f"{name}-system"
        words = ("install", name, str(CHART), "-n", namespace, "--create-namespace", "--wait=hookOnly")
        helm(*words, f"--set=prefix={prefix}", *options)
        made.append(Objects(name, namespace, helm, kubectl))
        return made[-1]

    yield new
    for each in made:
        helm("uninstall", each.name, "-n", each.namespace, "--wait=hookOnly")
    # Helm passes over what it does not own, and says so in a line that nobody reads
    assert "-system.pillion.dev" not in kubectl("get", "mutatingwebhookconfigurations", "-o", "name")


class TestTwoReleases:
    """One prefix, and pods that both would take."""

    def test_the_second_is_refused(self, install: Callable[..., Objects]) -> None:
        """Helm names the object whose name says why; nothing of the second is there."""
        first = install("first", "twice.example.org/")
        with pytest.raises(CommandError) as raised:
            install("second", "twice.example.org/")
        assert 'ClusterRole "pillion-one-release-per-prefix:twice.example.org"' in raised.value.stderr
        assert 'current value is "first"' in raised.value.stderr
        hooks = first.kubectl("get", "mutatingwebhookconfigurations", "-o", "name")
        assert "second-pillion" not in hooks
        first.upgrade("--set=webhook.timeoutSeconds=3")

    def test_a_value_allows_it(self, install: Callable[..., Objects]) -> None:
        """For releases that selectors keep apart."""
        install("first", "shared.example.org/")
        install("second", "shared.example.org/", "--set=allowSharedPrefix=true")

    def test_each_has_its_own(self, install: Callable[..., Objects]) -> None:
        """With prefixes of their own they do not meet."""
        install("first", "one.example.org/")
        install("second", "two.example.org/")


#: Without what needs other people's kinds; and what no page shows, but a user may change.
CHANGES: dict[str, dict[str, Any]] = {
    "everything": VALUE_SETS["everything"]
    | {"dashboard": {"enabled": True}, "serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}},
    **{name: VALUE_SETS[name] for name in ("provided", "host-network", "openshift", "least")},
    "another-name": {"fullnameOverride": "other"},
}


class TestChangesOfValues:
    """Whatever is set, it works on a release that is there, and so does the way back."""

    @pytest.mark.parametrize("values", CHANGES.values(), ids=CHANGES)
    def test_from_the_defaults_and_back(self, helm: Client, kubectl: Client, values: dict[str, Any]) -> None:
        """The upgrade leads to what a new release would be, and the rollback to what was there."""
        words = ("values", "-n", "values-system", "--wait=hookOnly")
        install = ("install", words[0], str(CHART), *words[1:], "--create-namespace", "-f", "-")

        def live() -> list[dict[str, Any]]:
            manifest = helm("get", "manifest", *words[:3])
            return [lasting(each) for each in kubectl("get", "-o", "json", "-f", "-", stdin=manifest)["items"]]

        try:
            helm(*install, stdin={"prefix": "values.example.org/"})
            before = live()
            helm("upgrade", words[0], str(CHART), *words[1:], "--reset-values", "-f", "-", stdin=values)
            changed = live()
            helm("rollback", words[0], "1", *words[1:])
            assert live() == before
            helm("uninstall", *words)
            helm(*install, stdin=values)
            assert live() == changed != before
        finally:
            helm.attempt("uninstall", *words)


def lasting(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what its creation and its changes leave in it."""
    metadata = {key: item["metadata"].get(key) for key in ("name", "labels", "annotations")}
    spec = {key: value for key, value in item.get("spec", {}).items() if key not in {"clusterIP", "clusterIPs"}}
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata, "spec": spec}


class TestChangesByHand:
    """What somebody does with kubectl, and what Helm makes of it."""

    @pytest.mark.parametrize(
        "change",
        [
            ("scale", "deployment/hand-pillion", "-n", "hand-system", "--replicas=3"),
            (
                *("patch", "mutatingwebhookconfiguration", "hand-pillion.hand-system.pillion.dev", "--type=json"),
                '-p=[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]',
            ),
        ],
        ids=["scale", "patch"],
    )
    @pytest.mark.parametrize("command", ["upgrade", "rollback"])
    def test_it_is_a_conflict_until_it_is_forced(
        self, install: Callable[..., Objects], change: tuple[str, ...], command: str
    ) -> None:
        """As docs/upgrading.md says of Helm 4; then the object is what the chart says."""
        release = install("hand", "hand.example.org/", FAIL)
        release.upgrade("--set=webhook.timeoutSeconds=3")
        release.kubectl(*change)
        words = {
            "upgrade": ("upgrade", "hand", str(CHART), "-n", "hand-system", "--reset-then-reuse-values"),
            "rollback": ("rollback", "hand", "1", "-n", "hand-system"),
        }[command]
        with pytest.raises(CommandError, match='conflict with "kubectl'):
            release.helm(*words, "--wait=hookOnly")
        release.helm(*words, "--wait=hookOnly", "--force-conflicts")
        deployment = release.kubectl("get", "deployment/hand-pillion", "-n", "hand-system", "-o", "json")
        assert deployment["spec"]["replicas"] == 2
        assert release.policies == ["Fail", "Fail"]

    @pytest.mark.parametrize("command", ["upgrade", "rollback"])
    def test_pods_are_let_through_until_helm_is_asked_again(
        self, install: Callable[..., Objects], tmp_path: Path, command: str
    ) -> None:
        """By the command in docs/runbooks.md; Helm takes it back without a conflict, and trust stays."""
        release = install("emergency", "emergency.example.org/", FAIL)
        trust(release)
        run(release, emergency("emergency", "emergency-system"), tmp_path)
        assert release.policies == ["Ignore", "Ignore"]
        assert release.bundles == [BUNDLE] * 2
        if command == "upgrade":
            release.upgrade()
        else:
            release.helm("rollback", "emergency", "1", "-n", "emergency-system", "--wait=hookOnly")
        assert release.policies == ["Fail", "Fail"]
        assert release.bundles == [BUNDLE] * 2

    def test_nothing_else_is_changed(self, install: Callable[..., Objects], tmp_path: Path) -> None:
        """Somebody may have scaled, and that is no time to take it back."""
        release = install("narrow", "narrow.example.org/", FAIL)
        release.kubectl("scale", "deployment/narrow-pillion", "-n", "narrow-system", "--replicas=5")
        said = run(release, emergency("narrow", "narrow-system"), tmp_path)
        assert said.splitlines() == [
            f"mutatingwebhookconfiguration.admissionregistration.k8s.io/{release.webhooks[1]} serverside-applied"
        ]

    def test_the_notes_have_the_same_command(self, helm: Client) -> None:
        """With the release's own names."""
        words = ("-n", "pillion-system", "--dry-run=client", FAIL)
        notes = helm("install", "pillion", str(CHART), *words).partition("NOTES:")[2]
        assert _bare(emergency("pillion", "pillion-system")) in _bare(notes)


#: No certificate that anything would verify.
BUNDLE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="


def trust(release: Objects) -> None:
    """Write what a keeper would: the bundles, entry by entry, as the field manager `pillion`."""
    entries: list[dict[str, Any]] = release.kubectl("get", *release.webhooks, "-o", "json")["webhooks"]
    bundles = [{"name": entry["name"], "clientConfig": {"caBundle": BUNDLE}} for entry in entries]
    document = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": release.webhooks[1]},
        "webhooks": bundles,
    }
    release.kubectl("apply", "--server-side", "--field-manager=pillion", "-f", "-", stdin=document)


def emergency(name: str, namespace: str) -> str:
    """Return the command in docs/runbooks.md that lets pods through, for this release."""
    command = COMMANDS["runbooks.md#letting-pods-through 1"]
    return command.replace("manifest pillion -n pillion-system", f"manifest {name} -n {namespace}")


def run(release: Objects, command: str, folder: Path) -> str:
    """Run a line as a person types it, with the test's helm and kubectl; return what it prints."""
    for client in (release.helm, release.kubectl):
        program = folder / client.program.name
        words = shlex.join([f"{key}={value}" for key, value in client.environment.items()])
        program.write_text(f'#!/bin/sh\nexec env {words} {shlex.quote(str(client.program))} "$@"\n')
        program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(release.kubectl.kubeconfig), "PATH": path}
    answer = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False, env=environment
    )
    if answer.returncode != 0:
        raise CommandError(answer)
    return answer.stdout


def _bare(text: str) -> str:
    """Return a text without what only indents it."""
    return re.sub(r"\s+", " ", text).strip()
