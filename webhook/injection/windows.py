"""Whether a pod certainly runs on Windows, where the sidecar can't."""

from collections.abc import Iterable

from webhook.injection.pod import NodeSelectorTerm, PodSpec, SecurityContext

__all__ = ["windows_evidence"]

#: Labels of nodes, set by the kubelet: the operating system, and the build of Windows.
_OS_LABELS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_BUILD = "node.kubernetes.io/windows-build"
_WINDOWS = "windows"
#: Labels of managed clusters (AKS, GKE), whose values begin with the operating system: Windows2022, windows_ltsc.
_IMAGE_LABELS = ("kubernetes.azure.com/os-sku", "cloud.google.com/gke-os-distribution")


def windows_evidence(spec: PodSpec) -> str:
    """Return the field that shows that the pod runs on Windows, "" if there is none.

    ==========================================  =====================================================
    the pod has                                 which is evidence because
    ==========================================  =====================================================
    ``os.name: windows``                        it says so; any other name says the contrary
    a node selector for it                      only nodes with that label take the pod
    a required node affinity, in every term     likewise
    non-empty ``windowsOptions``                the API server rejects them with another os.name, and
                                                all containers of a HostProcess pod must be HostProcess
                                                containers
    ==========================================  =====================================================
    """
    if spec.os is not None and spec.os.name:
        return "os.name" if spec.os.name == _WINDOWS else ""
    selector = spec.nodeSelector or {}
    if _BUILD in selector or any(map(_names_windows, selector, selector.values())):
        return "nodeSelector"
    if _affinity_demands_windows(spec):
        return "nodeAffinity"
    if any(map(_has_windows_options, _security_contexts(spec))):
        return "windowsOptions"
    return ""


def _names_windows(label: str, value: str) -> bool:
    """Return whether only nodes with Windows have the label with this value."""
    if label in _IMAGE_LABELS:
        return value.lower().startswith(_WINDOWS)
    return label in _OS_LABELS and value == _WINDOWS


def _affinity_demands_windows(spec: PodSpec) -> bool:
    affinity = spec.affinity.nodeAffinity if spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    terms = (required.nodeSelectorTerms or ()) if required is not None else ()
    # a node must match one of the terms completely; an empty term matches no node
    demanding = [term for term in terms if term.matchExpressions or term.matchFields]
    return bool(demanding) and all(map(_term_demands_windows, demanding))


def _term_demands_windows(term: NodeSelectorTerm) -> bool:
    systems = {"linux", _WINDOWS}
    for requirement in term.matchExpressions or ():
        if requirement.key == _BUILD and requirement.operator in ("In", "Exists", "Gt", "Lt"):
            return True
        if requirement.key in _IMAGE_LABELS and requirement.operator == "In":
            images = requirement.values or ()
            if images and all(_names_windows(requirement.key, image) for image in images):
                return True
        if requirement.key in _OS_LABELS:
            values = set(requirement.values or ())
            systems = {"In": systems & values, "NotIn": systems - values}.get(requirement.operator, systems)
    return systems == {_WINDOWS}


def _security_contexts(spec: PodSpec) -> Iterable[SecurityContext | None]:
    yield spec.securityContext
    for container in (*(spec.containers or ()), *(spec.initContainers or ())):
        yield container.securityContext


def _has_windows_options(context: SecurityContext | None) -> bool:
    options = context.windowsOptions if context is not None else None
    return options is not None and bool(
        options.hostProcess or options.runAsUserName or options.gmsaCredentialSpec or options.gmsaCredentialSpecName
    )
