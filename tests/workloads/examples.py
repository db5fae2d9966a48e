"""Workloads as documents, and what is reported of them."""

from typing import Any

from hypothesis import strategies as st

from webhook import documents
from webhook.documents import Document
from webhook.injection.profile import Configuration
from webhook.workloads.reports import Report, examine
from webhook.workloads.templates import KUBERNETES

__all__ = ["ANY_OBJECTS", "ASKS", "SPEC", "VERSIONS", "document", "examined", "manifest", "texts"]

ASKS = {"pillion.dev/inject": "true"}
SPEC = {"containers": [{"name": "app", "image": "shop"}]}
VERSIONS = {"": "v1", "apps": "apps/v1", "batch": "batch/v1"}


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a mapping that has the value at the path."""
    for key in reversed(path):
        value = {key: value}
    found: dict[str, Any] = value
    return found


def manifest(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the kind with that pod template, or that pod."""
    (group, path) = next((known.group, where) for known, (where,) in KUBERNETES.items() if known.name == kind)
    head = {"apiVersion": VERSIONS[group], "kind": kind, "metadata": {"name": "shop"}}
    if not path:
        return head | template | {"metadata": {"name": "shop"} | (template.get("metadata") or {})}
    return head | nested(tuple(path.split(".")), template)


def document(value: Any) -> Document:
    """Return a value as a document of app.yaml."""
    (found,) = documents.read(documents.as_yaml(value), "app.yaml")
    return found


def examined(*values: Any, configuration: Configuration, opted_in: bool = False) -> list[Report]:
    """Return the reports on a stream of values."""
    found = documents.read("---\n".join(map(documents.as_yaml, values)), "app.yaml")
    return examine(found, configuration, namespace="default", namespace_opt_in=opted_in)


def texts(report: Report) -> list[str]:
    """Return what is said of an object, with positions."""
    return [f"{remark.position}: {remark.severity}: {remark.text}" for remark in report.remarks_for(strict=False)]


_KEYS = st.sampled_from(
    [
        *("metadata", "spec", "template", "annotations", "labels", "name", "namespace", "generateName", "containers"),
        *("pillion.dev/inject", "pillion.dev/logs", "pillion.dev/x", "$patch", "volumes", "items", "jobTemplate"),
        *("volumeMounts", "volumeClaimTemplates", "persistentVolumeClaim", "replicas", "tasks", "env", "args", "kind"),
    ]
)
_LEAVES = st.sampled_from([None, True, 0, 3, 1.5, "", "true", "x", "/var/log/x/*.log"])
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=30
)
_HEADS = st.sampled_from(
    [
        *(("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Namespace"), ("v1", "List")),
        *(
            ("batch.volcano.sh/v1", "Job"),
            ("serving.knative.dev/v1", "Service"),
            ("example.com/v1", "X"),
            (None, "Pod"),
        ),
    ]
)
#: Objects of kinds that we know and others, with keys that matter and values of any shape.
ANY_OBJECTS = st.builds(
    lambda head, content: {**content, "apiVersion": head[0], "kind": head[1]},
    _HEADS,
    st.dictionaries(_KEYS, _VALUES, max_size=6),
)
