"""What is wrong with an object's apiVersion and kind: a workload that the API server does not know."""

import difflib
from typing import Any, NamedTuple

from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.workloads.decoding import in_words
from webhook.workloads.objects import Object
from webhook.workloads.templates import KUBERNETES

__all__ = ["WrongVersion", "wrong_version"]

#: The apiVersion of each kind of Kubernetes' own that holds pods.
_SERVED = {kind.name: f"{kind.group}/v1".removeprefix("/") for kind in KUBERNETES}
#: Former ones, and the Kubernetes version since which they are gone (Deprecated API Migration Guide).
_FORMER = {
    **dict.fromkeys([("extensions/v1beta1", kind) for kind in ("DaemonSet", "Deployment", "ReplicaSet")], "1.16"),
    **dict.fromkeys([("apps/v1beta1", kind) for kind in ("Deployment", "StatefulSet")], "1.16"),
    **dict.fromkeys(
        [("apps/v1beta2", kind) for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")], "1.16"
    ),
    ("batch/v1beta1", "CronJob"): "1.25",
    ("batch/v2alpha1", "CronJob"): "1.21",
}
#: What has none of these is no object that lacks something.
_OBJECT = {"apiVersion", "metadata", "spec"}
_KINDS = {kind.lower(): kind for kind in _SERVED}
#: So alike are two words of which one is a typing error; ``Template`` is none of ``PodTemplate``.
_ALIKE = 0.85


class WrongVersion(NamedTuple):
    """What is wrong, and at which key; ``unknown`` is false for a former version of a known kind."""

    key: str
    text: str
    unknown: bool = True


def wrong_version(item: Object) -> WrongVersion | None:
    """Return what is wrong with an object's apiVersion or kind, None where nothing is.

    A group with a dot in it may hold kinds of any name: the API server takes custom ones only there, and keeps
    ``.k8s.io`` for its own.
    """
    version = item.manifest.get("apiVersion")
    kind = _meant(item.kind)
    if not _OBJECT & item.manifest.keys():
        return None  # the values of a chart, for example
    if not version or not isinstance(version, str):
        return _no_text(item, "apiVersion", _SERVED.get(kind))
    if not item.kind:
        return _no_text(item, "kind", None)
    group = version.rpartition("/")[0]
    if (
        ("." in group and not group.endswith(".k8s.io"))
        or not kind
        or version == _SERVED[kind] == _SERVED.get(item.kind)
    ):
        return None
    right = _SERVED[kind]
    since = _FORMER.get((version, item.kind))
    if since is not None:
        text = f"no Kubernetes since {since} has the {kind} of {version}; write apiVersion: {right}"
        return WrongVersion("apiVersion", text, unknown=False)
    write = [f"apiVersion: {right}"] if version != right else []
    write += [f"kind: {kind}"] if item.kind != kind else []
    text = f"{clean_untrusted(version)} has no kind {clean_untrusted(item.kind)}; write {', '.join(write)}"
    return WrongVersion("kind" if version == right else "apiVersion", text)


def _meant(kind: str) -> str:
    """Return the kind of Kubernetes' own that a word means, empty for any other."""
    near = difflib.get_close_matches(kind.lower()[:64], _KINDS, n=1, cutoff=_ALIKE)
    return _KINDS[near[0]] if near else ""


def _no_text(item: Object, key: str, right: str | None) -> WrongVersion:
    """Return what to say of an apiVersion or kind that is not there, misspelt, or no text."""
    value: Any = item.manifest.get(key)
    write = f"; write {key}: {right}" if right else f"; write its {key}"
    alike = next((each for each in item.manifest if each != key and each.lower() == key.lower()), None)
    if value is None and alike is not None:
        return WrongVersion(alike, f"{quote_untrusted(alike)} is no field; write {key}")
    if value is None or value == "":
        return WrongVersion(key, f"the object has no {key}{write}")
    return WrongVersion(key, f"{key} is {in_words(value)}{write}")
