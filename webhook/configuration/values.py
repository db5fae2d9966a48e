"""The chart's values: which of them are the configuration."""

from collections.abc import Mapping
from typing import Any

__all__ = ["CHART_ONLY", "configuration_in", "is_values"]

#: The chart's values, by their first key, that are not keys of a configuration. ``image`` is in both: text in a
#: configuration, a mapping in values.
CHART_ONLY = frozenset(
    {
        "affinity",
        "allowSharedPrefix",
        "certificates",
        "dashboard",
        "deploymentAnnotations",
        "fullnameOverride",
        "global",
        "hostNetwork",
        "imagePullSecrets",
        "labels",
        "lint",
        "nameOverride",
        "networkPolicy",
        "nodeSelector",
        "podAnnotations",
        "podDisruptionBudget",
        "podLabels",
        "podSecurityContext",
        "prefix",
        "priorityClassName",
        "prometheusRule",
        "replicas",
        "resources",
        "revisionHistoryLimit",
        "securityContext",
        "server",
        "service",
        "serviceAccount",
        "serviceMonitor",
        "shadow",
        "shipping",
        "status",
        "strategy",
        "tail",
        "test",
        "tolerations",
        "topologySpreadConstraints",
        "webhook",
    }
)


def is_values(document: object) -> bool:
    """Return whether a document has something that only the chart's values have."""
    if not isinstance(document, Mapping):
        return False
    return isinstance(document.get("image"), Mapping) or not CHART_ONLY.isdisjoint(document)


def configuration_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the chart writes into the configuration, and what neither of them knows.

    ``image`` is left out: in values it is the servers', and the chart's schema checks it.
    """
    return {key: value for key, value in values.items() if key not in CHART_ONLY and key != "image"}
