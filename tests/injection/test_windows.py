"""What says that a pod runs on Windows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
ON_WINDOWS, ON_LINUX = term((OS, "In", ["windows"])), term((OS, "In", ["linux"]))


@pytest.mark.parametrize(
    ("spec", "evidence"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"os": {"name": "windows"}}, "os.name", id="os"),
        pytest.param({"os": {"name": "linux"}, **windows_options(hostProcess=True)}, "", id="os-says-linux"),
        pytest.param({"os": {"name": ""}}, "", id="os-empty"),
        pytest.param({"nodeSelector": {OS: "windows"}}, "nodeSelector", id="selector"),
        pytest.param({"nodeSelector": {BETA: "windows"}}, "nodeSelector", id="selector-beta"),
        pytest.param({"nodeSelector": {BUILD: "10.0.20348"}}, "nodeSelector", id="selector-build"),
        pytest.param({"nodeSelector": {OS: "linux", "pool": "windows"}}, "", id="selector-linux"),
        pytest.param(affinity(ON_WINDOWS), "nodeAffinity", id="affinity"),
        pytest.param(affinity(ON_WINDOWS, ON_WINDOWS), "nodeAffinity", id="affinity-every-term"),
        pytest.param(affinity(ON_WINDOWS, ON_LINUX), "", id="affinity-one-term"),
        pytest.param(affinity(), "", id="affinity-no-term"),
        pytest.param(affinity(term((OS, "In", ["windows", "linux"]))), "", id="affinity-either"),
        pytest.param(affinity(term((OS, "NotIn", ["windows"]))), "", id="affinity-not"),
        pytest.param(affinity(term((OS, "NotIn", ["linux"]))), "nodeAffinity", id="affinity-not-linux"),
        pytest.param(affinity(term((OS, "In", ["windows", "windows"]))), "nodeAffinity", id="affinity-twice"),
        pytest.param(affinity({}, ON_WINDOWS), "nodeAffinity", id="affinity-empty-term"),
        pytest.param(
            affinity(term((OS, "In", ["windows", "linux"]), (OS, "NotIn", ["linux"]))),
            "nodeAffinity",
            id="affinity-both",
        ),
        pytest.param(affinity(term(("zone", "In", ["a"]), (BUILD, "Exists", None))), "nodeAffinity", id="build-exists"),
        pytest.param(affinity(term((BUILD, "DoesNotExist", None))), "", id="build-does-not-exist"),
        pytest.param(windows_options(hostProcess=True), "windowsOptions", id="host-process-pod"),
        pytest.param(windows_options(hostProcess=False), "", id="host-process-false"),
        pytest.param(windows_options(), "", id="options-empty"),
        pytest.param(windows_options(runAsUserName="ContainerUser"), "windowsOptions", id="user-name"),
        pytest.param(windows_options(gmsaCredentialSpecName="spec"), "windowsOptions", id="gmsa"),
        pytest.param(
            {"containers": [{"name": "a"}, {"name": "b", **windows_options(hostProcess=True)}]},
            "windowsOptions",
            id="host-process-container",
        ),
        pytest.param(
            {"initContainers": [{"name": "b", **windows_options(hostProcess=True)}]},
            "windowsOptions",
            id="host-process-init-container",
        ),
    ],
)
def test_evidence(spec: dict[str, Any], evidence: str) -> None:
    """Only what is beyond doubt counts."""
    assert windows_evidence(msgspec.convert(spec, PodSpec)) == evidence
