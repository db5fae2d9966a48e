"""docs/gitops.md: the chart stays in sync, whatever applies it, because it leaves out what is written in the cluster.

Each tool is taken for what it does to objects: Argo CD renders with `helm template` and applies what is no hook and no
Lease, Flux installs with Helm and compares what it installed with a dry run, kustomize is kubectl's own.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.chart.rendering import VALUE_SETS, objects, objects_to_apply, rendered
from tests.pages import ROOT, files

from .api import proxied
from .client import Client
from .conftest import Cluster, NewNamespace
from .image import CHART
from .processes import wait_until
from .release import EFFECT_SECONDS, applied, image_values
from .shell import shell_with

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("helm_program")]

PAGE = files((ROOT / "docs/gitops.md").read_text())
#: Other people's kinds, which this API server does not know.
FOREIGN = {"monitoring.coreos.com", "cert-manager.io"}
#: Every value, but what needs other people's kinds or a namespace that is not there.
EVERYTHING = VALUE_SETS["everything"] | {
    "dashboard": {"enabled": True},
    "serviceMonitor": {"enabled": False},
    "prometheusRule": {"enabled": False},
}
SERVER_SIDE = ("--server-side", "--force-conflicts")
#: How each tool applies, as kubectl's options.
APPLY = {
    "argo-cd": ("--field-manager=argocd-controller",),
    "argo-cd-server-side": (*SERVER_SIDE, "--field-manager=argocd-controller"),
    "kustomize": (*SERVER_SIDE, "--field-manager=kubectl"),
}
FLUX = (*SERVER_SIDE, "--field-manager=helm-controller")
CERTIFICATE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="


def documents(text: str) -> list[dict[str, Any]]:
    """Return the objects in a text."""
    return [each for each in YAML(typ="safe", pure=True).load_all(text) if each]


def as_list(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return objects as one that kubectl takes."""
    return {"apiVersion": "v1", "kind": "List", "items": items}


def synced(namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what Argo CD makes of the chart: neither hooks nor Leases, and here no foreign kinds either."""
    return [
        each
        for each in objects_to_apply(values, "synced", namespace)
        if each["kind"] != "Lease" and each["apiVersion"].partition("/")[0] not in FOREIGN
    ]


def live(kubectl: Client, items: list[dict[str, Any]]) -> Any:
    """Return the objects as they are in the cluster."""
    return kubectl("get", "-o", "json", "-f", "-", stdin=as_list(items))["items"]


def differences(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what objects have that differs, by kind, but for what each request changes."""
    passing = {"managedFields", "resourceVersion"}

    def flat(each: dict[str, Any]) -> dict[str, Any]:
        metadata = {f"metadata.{key}": value for key, value in each["metadata"].items() if key not in passing}
        return {**{key: value for key, value in each.items() if key != "metadata"}, **metadata}

    different = {}
    for one, other in zip(map(flat, found), map(flat, wanted), strict=True):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        if keys:
            different[one["kind"]] = {key: (one.get(key), other.get(key)) for key in keys}
    return different


def write_certificates(kubectl: Client, items: list[dict[str, Any]]) -> None:
    """Write what keepers do, by server-side apply, or cert-manager's cainjector, which owns no single fields."""
    with proxied(kubectl) as api:
        for each in items:
            name, kind = each["metadata"]["name"], each["kind"]
            document: Any = {"apiVersion": each["apiVersion"], "kind": kind, "metadata": {"name": name}}
            path, how = f"/apis/{each['apiVersion']}/{kind.lower()}s/{name}", "apply-patch+yaml"
            if kind == "Secret":
                path = f"/api/v1/namespaces/{each['metadata']['namespace']}/secrets/{name}"
                document["data"] = {"tls.crt": CERTIFICATE, "tls.key": CERTIFICATE}
            elif kind.endswith("WebhookConfiguration"):
                client = {"clientConfig": {"caBundle": CERTIFICATE}}
                document["webhooks"] = [{"name": hook["name"], **client} for hook in each["webhooks"]]
                if "cert-manager.io/inject-ca-from" in each["metadata"]["annotations"]:
                    paths = [f"/webhooks/{index}/clientConfig/caBundle" for index, _ in enumerate(each["webhooks"])]
                    document = [{"op": "add", "path": at, "value": CERTIFICATE} for at in paths]
                    how = "json-patch+json"
            else:
                continue
            query = "fieldManager=pillion&force=true" if how == "apply-patch+yaml" else "fieldManager=cainjector"
            assert api.ask("PATCH", f"{path}?{query}", document, media_type=f"application/{how}").status == 200


def bundles(items: list[dict[str, Any]]) -> set[str]:
    """Return each caBundle."""
    return {hook["clientConfig"].get("caBundle", "") for each in items for hook in each.get("webhooks", [])}


class TestNothingDrifts:
    """What is written in the cluster is no difference, and stays when the chart is applied again."""

    @pytest.fixture
    def where(self, apiserver: Cluster, new_namespace: NewNamespace) -> Iterator[str]:
        """Return a namespace; what a release has elsewhere is removed, too."""
        namespace = new_namespace()
        yield namespace
        kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings"
        apiserver.kubectl("delete", kinds, "-l", "app.kubernetes.io/instance=synced", "--ignore-not-found")

    @pytest.mark.parametrize("options", APPLY.values(), ids=APPLY)
    @pytest.mark.parametrize("values", [EVERYTHING, VALUE_SETS["cert-manager"]], ids=["everything", "cert-manager"])
    def test_applied_twice(self, kubectl: Client, where: str, values: dict[str, Any], options: tuple[str, ...]) -> None:
        """The dry run by which a tool compares finds what is there, and the second time no object changes."""
        items = synced(where, values)
        apply = ("apply", *options, "-o", "json", "-f", "-")
        kubectl(*apply, stdin=as_list(items))
        write_certificates(kubectl, items)
        before = live(kubectl, items)
        assert bundles(before) == {CERTIFICATE}
        assert differences(kubectl(*apply, "--dry-run=server", stdin=as_list(items))["items"], before) == {}
        kubectl(*apply, stdin=as_list(items))
        assert live(kubectl, items) == before

    def test_a_difference_is_found(self, kubectl: Client, where: str) -> None:
        """The comparison can fail: this is what would happen to a chart with a caBundle of its own."""
        items = synced(where, {})
        kubectl("apply", *FLUX, "-f", "-", stdin=as_list(items))
        write_certificates(kubectl, items)
        for each in items:
            for hook in each.get("webhooks", []):
                hook["clientConfig"]["caBundle"] = CERTIFICATE[::-1][2:] + "=="
        dry_run = kubectl("apply", *FLUX, "--dry-run=server", "-o", "json", "-f", "-", stdin=as_list(items))["items"]
        kinds = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
        assert differences(dry_run, live(kubectl, items)).keys() == kinds

    def test_installed_by_flux(self, kubectl: Client, helm: Client, where: str) -> None:
        """As helm-controller does: Helm installs, a dry run of the release's manifest compares, Helm upgrades."""
        words = ("synced", str(CHART), "-n", where, "--wait=hookOnly", "-f", "-")
        helm("install", *words, stdin=EVERYTHING)
        items = documents(helm("get", "manifest", "synced", "-n", where))
        write_certificates(kubectl, items)
        before = live(kubectl, items)
        assert bundles(before) == {CERTIFICATE}
        dry_run = kubectl("apply", *FLUX, "--dry-run=server", "-o", "json", "-f", "-", stdin=as_list(items))["items"]
        assert differences(dry_run, before) == {}
        helm("upgrade", *words, stdin=EVERYTHING)
        assert live(kubectl, items) == before
        helm("uninstall", "synced", "-n", where, "--wait=hookOnly")


@pytest.mark.usefixtures("node")
def test_without_helm_the_keepers_do_all(
    kubectl: Client,
    helm: Client,
    new_namespace: NewNamespace,
    pillion_image: tuple[str, ...],
) -> None:
    """As Argo CD applies it: the missing Lease is made, pods are injected, and a second sync changes nothing."""
    names = {"name": "synced", "namespace": new_namespace("restricted"), "prefix": "synced.example.org/"}
    values = {"prefix": names["prefix"], "replicas": 1, **image_values(pillion_image)}
    items = synced(names["namespace"], values)
    with applied(helm, kubectl, items, **names) as release:
        lease = kubectl("get", "lease", "synced-pillion-certificate", "-n", release.namespace, "-o", "json")
        assert lease["spec"]["holderIdentity"]

        def changes_nothing() -> bool:
            before = live(kubectl, items)
            kubectl("apply", *SERVER_SIDE, "--field-manager=applied", "-f", "-", stdin=as_list(items))
            return bool(live(kubectl, items) == before)

        # a keeper's first steps may still come between
        assert wait_until(changes_nothing, EFFECT_SECONDS, poll=1)
        assert release.injects()


class TestArgoCD:
    """The Application of the page."""

    APPLICATION = documents(PAGE["application.yaml"])[0]

    def test_its_values_render(self) -> None:
        """The schema takes them."""
        helm_source = self.APPLICATION["spec"]["source"]["helm"]
        assert "registry.example.com/pillion:" in rendered(helm_source["valuesObject"])

    def test_the_chart_is_where_it_looks(self) -> None:
        """And its name is the release's, by which Argo CD labels what it tracks."""
        assert (ROOT / self.APPLICATION["spec"]["source"]["path"] / "Chart.yaml").exists()
        assert self.APPLICATION["metadata"]["name"] == "pillion"

    def test_no_hook_would_be_run(self) -> None:
        """Argo CD knows no equivalent of `test`; of other hooks it would make its own."""
        hooks = {each["metadata"].get("annotations", {}).get("helm.sh/hook", "test") for each in objects({})}
        assert hooks == {"test"}


class TestFlux:
    """The HelmRelease of the page."""

    NAMESPACE, SOURCE, RELEASE = documents(PAGE["helmrelease.yaml"])

    def test_its_values_render(self) -> None:
        """The schema takes them."""
        assert "registry.example.com/pillion:" in rendered(self.RELEASE["spec"]["values"])

    def test_it_leads_to_the_chart(self) -> None:
        """From the release to its source, in the namespace where it is installed."""
        chart = self.RELEASE["spec"]["chart"]["spec"]
        assert (ROOT / chart["chart"] / "Chart.yaml").exists()
        assert chart["sourceRef"] == {"kind": self.SOURCE["kind"], "name": self.SOURCE["metadata"]["name"]}
        places = {each["metadata"]["namespace"] for each in (self.SOURCE, self.RELEASE)}
        assert places == {self.NAMESPACE["metadata"]["name"]}


class TestKustomize:
    """The kustomization of the page, by kubectl's own kustomize."""

    COMMANDS = "gitops.md#kustomize 1"

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Return a folder with the page's files."""
        for name, text in PAGE.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    def test_it_changes_what_it_says(self, apiserver: Cluster, folder: Path) -> None:
        """Every object is there, and only the Deployment is another."""
        made = objects_to_apply({})
        (folder / "pillion.yaml").write_text("\n---\n".join(map(json.dumps, made)))
        built = {
            (each["kind"], each["metadata"]["name"]): each
            for each in documents(apiserver.kubectl("kustomize", str(folder)))
        }
        for each in made:
            if each["kind"] == "Deployment":
                each["spec"]["template"]["spec"]["runtimeClassName"] = "gvisor"
            assert built.pop((each["kind"], each["metadata"]["name"])) == each
        assert built == {}

    @pytest.mark.usefixtures("apiserver")
    def test_the_commands_apply_it(
        self, kubectl: Client, helm_on: Callable[[Cluster], Client], cluster: Cluster, folder: Path
    ) -> None:
        """And `kubectl delete -k` removes it."""
        namespace = f"kustomize-{secrets.token_hex(4)}"
        kustomization = folder / "kustomization.yaml"
        kustomization.write_text(kustomization.read_text().replace("pillion-system", namespace))
        try:
            said = shell_with(kubectl, helm_on(cluster), folder=folder)(self.COMMANDS, **{"pillion-system": namespace})
            assert "deployment.apps/pillion serverside-applied" in said, said
            assert "rror" not in said
            kubectl("delete", "-k", str(folder))
            left = kubectl("get", "mutatingwebhookconfigurations,clusterroles", "-o", "name")
            assert f"pillion.{namespace}" not in left
        finally:
            kubectl.attempt("delete", "-k", str(folder), "--ignore-not-found", "--wait=false")
            kubectl("delete", "namespace", namespace, "--wait=false")
