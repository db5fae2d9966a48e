"""What says that a pod runs on Windows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.tables import flat, rows
from webhook.injection.pod import PodSpec
from webhook.injection.windows import windows_evidence


def term(*requirements: tuple[str, str, list[str] | None]) -> dict[str, Any]:
    """Return a term of a node selector."""
    return {"matchExpressions": [{"key": key, "operator": op, "values": values} for key, op, values in requirements]}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with a required node affinity."""
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def windows_options(**options: Any) -> dict[str, Any]:
    """Return a security context."""
    return {"securityContext": {"windowsOptions": options}}


OS, BETA, BUILD = "kubernetes.io/os", "beta.kubernetes.io/os", "node.kubernetes.io/windows-build"
AKS, GKE = "kubernetes.azure.com/os-sku", "cloud.google.com/gke-os-distribution"
OPENSHIFT = "node.openshift.io/os_id"
ON_WINDOWS, ON_LINUX = term((OS, "In", ["windows"])), term((OS, "In", ["linux"]))


#: By the row of the table.
CASES: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "os.name: windows": {
        "": ({"os": {"name": "windows"}}, "os.name"),
        "linux": ({"os": {"name": "linux"}, **windows_options(hostProcess=True)}, ""),
        "empty": ({"os": {"name": ""}}, ""),
        "nothing": ({}, ""),
    },
    "a node selector for it": {
        "": ({"nodeSelector": {OS: "windows"}}, "nodeSelector"),
        "beta": ({"nodeSelector": {BETA: "windows"}}, "nodeSelector"),
        "build": ({"nodeSelector": {BUILD: "10.0.20348"}}, "nodeSelector"),
        "of AKS": ({"nodeSelector": {AKS: "Windows2022"}}, "nodeSelector"),
        "of AKS, in effect": ({"nodeSelector": {f"{AKS}-effective": "Windows2022"}}, "nodeSelector"),
        "of AKS, requested": ({"nodeSelector": {f"{AKS}-requested": "Windows2022"}}, "nodeSelector"),
        "of OpenShift": ({"nodeSelector": {OPENSHIFT: "Windows"}}, "nodeSelector"),
        "another of OpenShift": ({"nodeSelector": {OPENSHIFT: "rhel"}}, ""),
        "of GKE": ({"nodeSelector": {GKE: "windows_ltsc"}}, "nodeSelector"),
        "another of AKS": ({"nodeSelector": {AKS: "AzureLinux"}}, ""),
        "linux": ({"nodeSelector": {OS: "linux", "pool": "windows"}}, ""),
    },
    "a required node affinity, in every term": {
        "": (affinity(ON_WINDOWS), "nodeAffinity"),
        "two": (affinity(ON_WINDOWS, ON_WINDOWS), "nodeAffinity"),
        "one of two": (affinity(ON_WINDOWS, ON_LINUX), ""),
        "no term": (affinity(), ""),
        "no terms at all": ({"affinity": {"nodeAffinity": {}}}, ""),
        "either": (affinity(term((OS, "In", ["windows", "linux"]))), ""),
        "not": (affinity(term((OS, "NotIn", ["windows"]))), ""),
        "not linux": (affinity(term((OS, "NotIn", ["linux"]))), "nodeAffinity"),
        "twice": (affinity(term((OS, "In", ["windows", "windows"]))), "nodeAffinity"),
        "an empty term": (affinity({}, ON_WINDOWS), "nodeAffinity"),
        "a term for a node": (affinity({"matchFields": [{"key": "metadata.name"}]}, ON_WINDOWS), ""),
        "both": (affinity(term((OS, "In", ["windows", "linux"]), (OS, "NotIn", ["linux"]))), "nodeAffinity"),
        "another operator": (affinity(term((OS, "Exists", ["windows"]))), ""),
        "a build": (affinity(term(("zone", "In", ["a"]), (BUILD, "Exists", None))), "nodeAffinity"),
        "of AKS": (affinity(term((AKS, "In", ["Windows2019", "Windows2022"]))), "nodeAffinity"),
        "of AKS, or another": (affinity(term((AKS, "In", ["Windows2019", "Ubuntu"]))), ""),
        "not of AKS": (affinity(term((AKS, "NotIn", ["Windows2019"]))), ""),
        "no build": (affinity(term((BUILD, "DoesNotExist", None))), ""),
    },
    "non-empty windowsOptions": {
        "host process": (windows_options(hostProcess=True), "windowsOptions"),
        "no host process": (windows_options(hostProcess=False), ""),
        "empty": (windows_options(), ""),
        "user name": (windows_options(runAsUserName="ContainerUser"), "windowsOptions"),
        "gmsa": (windows_options(gmsaCredentialSpecName="spec"), "windowsOptions"),
        "gmsa in full": (windows_options(gmsaCredentialSpec="{}"), "windowsOptions"),
        "of a container": (
            {"containers": [{"name": "a"}, {"name": "b", **windows_options(hostProcess=True)}]},
            "windowsOptions",
        ),
        "of an init container": (
            {"initContainers": [{"name": "b", **windows_options(hostProcess=True)}]},
            "windowsOptions",
        ),
    },
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(windows_evidence)


@pytest.mark.parametrize(("spec", "evidence"), flat(CASES))
def test_evidence(spec: dict[str, Any], evidence: str) -> None:
    """Only what is beyond doubt counts."""
    assert windows_evidence(msgspec.convert(spec, PodSpec)) == evidence
