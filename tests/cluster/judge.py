"""Asks the API server whether a pod is valid, by server-side dry run, a thousand times a minute."""

import http.client
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .api import Api, proxied
from .client import Client

__all__ = [
    "BECAUSE_OF_US",
    "UNREVIEWED",
    "Judge",
    "Judgement",
    "Tally",
    "as_known",
    "difference",
    "judge",
    "without_annotations",
]

#: A namespace whose pods no webhook of ours ever sees, and where Pod Security allows everything.
UNREVIEWED = "kube-system"
PREFIX = "pillion.dev/"
BECAUSE_OF_US = "refused because of us"


class Judgement(NamedTuple):
    """The API server's word: the pod as it would be stored, or why it is refused."""

    accepted: bool
    message: str
    pod: Any
    warnings: tuple[str, ...]


class Judge:
    """An API server that is asked what it would do."""

    def __init__(self, api: Api) -> None:
        """Ask this one."""
        self._api = api

    def ask(self, namespace: str, pod: Any) -> Judgement:
        """Return what the API server would make of the pod in the namespace; nothing is stored."""
        pod = {"apiVersion": "v1", "kind": "Pod", **pod}
        metadata = {key: value for key, value in (pod.get("metadata") or {}).items() if key != "namespace"}
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldManager=judge"
        status, document, warnings = self._api.ask("POST", path, {**pod, "metadata": metadata})
        accepted = status == http.client.CREATED
        return Judgement(accepted, "" if accepted else document.get("message", str(document)), document, warnings)


@contextmanager
def judge(kubectl: Client) -> Iterator[Judge]:
    """Yield a judge for the cluster of a kubectl."""
    with proxied(kubectl) as api:
        yield Judge(api)


class Tally:
    """How many pods were asked about, and what became of them."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.counts: dict[str, int] = {BECAUSE_OF_US: 0}
        self.fields = Counter[str]()
        """How many valid pods carried each field, by its path."""

    def count(self, what: str) -> None:
        """Count one pod."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def __str__(self) -> str:
        """Return all counts."""
        counts = ", ".join(f"{number:,} {what}" for what, number in self.counts.items())
        return f"{counts}; the valid ones with {len(self.fields)} fields of a PodSpec"


def without_annotations(pod: Any) -> Any:
    """Return the pod as somebody wrote it who never heard of us."""
    metadata = dict(pod.get("metadata") or {})
    annotations = metadata.pop("annotations", None) or {}
    others = {key: value for key, value in annotations.items() if not key.startswith(PREFIX)}
    return {**pod, "metadata": {**metadata, "annotations": others} if others else metadata}


def as_known(value: Any, stored: Any) -> Any:
    """Return a pod, or a part of it, without the fields that an API server did not store: an older one drops some."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return {key: as_known(item, stored[key]) for key, item in value.items() if key in stored}
    if isinstance(value, list) and isinstance(stored, list) and len(value) <= len(stored):
        return [as_known(*pair) for pair in zip(value, stored, strict=False)]
    return value


def difference(one: Any, other: Any) -> str:
    """Return where two pods differ first, or nothing; what the API server makes up for each does not count."""
    return _difference(_comparable(one), _comparable(other), "")


def _difference(one: Any, other: Any, path: str) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        found = (_difference(one.get(key), other.get(key), f"{path}.{key}") for key in {**one, **other})
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        found = (_difference(*pair, f"{path}[{index}]") for index, pair in enumerate(zip(one, other, strict=True)))
    else:
        return "" if one == other else f"{path} is {one!r:.300}, not {other!r:.300}"
    return next(filter(None, found), "")


def _comparable(pod: Any) -> Any:
    metadata = {
        key: value
        for key, value in pod["metadata"].items()
        if key not in ("uid", "creationTimestamp", "managedFields", "namespace")
        and not (key == "name" and "generateName" in pod["metadata"])
    }
    return _unordered({**pod, "metadata": _without_former_values(metadata)})


#: What a manifest can have and no pod in a cluster: the status that ``pillion inject`` writes says what was there.
FORMER_VALUES = ("formerValues", "nullSpellings")


def _without_former_values(metadata: dict[str, Any]) -> dict[str, Any]:
    annotations = metadata.get("annotations") or {}
    status = annotations.get(f"{PREFIX}status")
    try:
        said = json.loads(status or "")
    except ValueError:
        return metadata
    if not isinstance(said, dict):
        return metadata
    said = {key: value for key, value in said.items() if key not in FORMER_VALUES}
    return {**metadata, "annotations": {**annotations, f"{PREFIX}status": json.dumps(said)}}


def _unordered(value: Any) -> Any:
    """Return the value with its volumes and mounts in order of their names.

    The API server adds the service account's volume, whose name is random, before it asks webhooks; in a pod that was
    injected beforehand it comes after ours.
    """
    if isinstance(value, list):
        return [_unordered(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"^kube-api-access-\w{5}$", "kube-api-access", value)
    if not isinstance(value, dict):
        return value
    result = {key: _unordered(item) for key, item in value.items()}
    for key, name in (("volumes", "name"), ("volumeMounts", "mountPath")):
        if isinstance(result.get(key), list):
            result[key].sort(key=lambda item: str(item[name]))
    return result
