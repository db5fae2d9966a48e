"""What the chart renders, without a cluster: as text and as objects, for the values that tests are about."""

import json
import subprocess
from copy import deepcopy
from functools import cache
from typing import Any

from ruamel.yaml import YAML

from tests.cluster import programs
from tests.cluster.image import CHART
from tests.pages import ROOT, files

__all__ = ["NAMESPACE", "PLATFORMS", "PROVIDED", "VALUE_SETS", "helm", "objects", "objects_to_apply", "rendered"]

NAMESPACE = "pillion-system"
PROVIDED = {"mode": "provided", "secretName": "pair", "caBundle": "-----BEGIN CERTIFICATE-----\n"}
#: The values that docs/platforms.md shows, by file.
PLATFORMS: dict[str, dict[str, Any]] = {
    name: YAML(typ="safe", pure=True).load(text)
    for name, text in files((ROOT / "docs/platforms.md").read_text()).items()
}
VALUE_SETS: dict[str, dict[str, Any]] = {
    "none": {},
    "provided": {"certificates": PROVIDED, "networkPolicy": {"enabled": True}},
    "cert-manager": {"certificates": {"mode": "cert-manager"}, "webhook": {"annotations": {"a": "b"}}},
    "an-issuer-of-yours": {
        "certificates": {
            "mode": "cert-manager",
            "certManager": {"issuerRef": {"name": "company", "kind": "ClusterIssuer"}, "duration": "2160h"},
        },
    },
    "everything": {
        "replicas": 3,
        "labels": {"team": "platform"},
        "prefix": "logs.example.org/",
        "defaultProfile": "mine",
        "profiles": {"mine": {"base": "tail", "volume": {"sizeLimit": "1Gi"}}},
        "strict": True,
        "shadow": True,
        "ignoredContainers": ["proxy"],
        "image": {"tag": "2", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "tail": {"image": {"tag": "2-tail", "pullPolicy": "Always"}, "pullsWithoutSecret": True},
        "deploymentAnnotations": {"a": "b"},
        "revisionHistoryLimit": 2,
        "strategy": {"type": "Recreate"},
        "webhook": {
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
            "namespaceSelector": {
                "matchLabels": {"team": "web"},
                "matchExpressions": [{"key": "quiet", "operator": "Exists"}],
            },
            "objectSelector": {"matchLabels": {"logs": "yes"}},
            "annotations": {"a": "b"},
        },
        "server": {
            "port": 10250,
            "logFormat": "text",
            "logLevel": "warning",
            "clientCA": "-----BEGIN CERTIFICATE-----\n",
            "clientNames": ["kube-apiserver"],
            "settings": {"drainTimeout": "5s", "maxConnections": 1000000},
            "env": [{"name": "TZ", "value": "UTC"}],
        },
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b", "team": "observability"},
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "serviceAccount": {"annotations": {"a": "b"}},
        "service": {"annotations": {"a": "b"}},
        "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]},
        "serviceMonitor": {
            "enabled": True,
            "labels": {"release": "prometheus", "team": "observability"},
            "endpoint": {"scrapeTimeout": "5s", "metricRelabelings": [{"action": "labeldrop", "regex": "pod"}]},
        },
        "prometheusRule": {
            "enabled": True,
            "labels": {"release": "prometheus", "team": "observability"},
            "runbooks": "https://example.org/",
            "alerts": {"PillionSlow": {"threshold": 0.5}, "PillionBug": {"enabled": False}},
        },
        "dashboard": {
            "enabled": True,
            "namespace": "grafana",
            "labels": {"team": "web"},
            "annotations": {"grafana_folder": "Admission"},
        },
        "test": {"namespace": "canaries"},
    },
    "host-network": PLATFORMS["host-network.yaml"],
    "openshift": {"openshift": True},
    "least": {
        "replicas": 0,
        "nodeSelector": None,
        "topologySpreadConstraints": [],
        "podDisruptionBudget": {"enabled": False},
        "serviceAccount": {"create": False},
        "resources": {"requests": None, "limits": None},
    },
}


def helm(
    *words: str, values: dict[str, Any] | None = None, namespace: str = NAMESPACE
) -> subprocess.CompletedProcess[str]:
    """Run helm without a cluster; values are given as a file is."""
    command = [str(programs.find("helm")), *words, "-n", namespace, "-f", "-"]
    return subprocess.run(command, input=json.dumps(values or {}), capture_output=True, text=True, check=False)


def rendered(values: dict[str, Any], name: str = "pillion", namespace: str = NAMESPACE) -> str:
    """Return the manifests of a release, tests included; fail if there are none."""
    return _rendered(json.dumps(values), name, namespace)


@cache
def _rendered(values: str, name: str, namespace: str) -> str:
    answer = helm("template", name, str(CHART), values=json.loads(values), namespace=namespace)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def objects_to_apply(values: dict[str, Any], name: str = "pillion", namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return those that are applied where Helm is not used: all but the hooks of `helm test`."""
    return [
        each
        for each in objects(values, name, namespace)
        if "helm.sh/hook" not in each["metadata"].get("annotations", {})
    ]


def objects(values: dict[str, Any], name: str = "pillion", namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the same manifests read."""
    return deepcopy(_read(rendered(values, name, namespace)))


@cache
def _read(text: str) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]
