"""The Kubernetes objects in documents: each with its place in the file, those in a List one by one."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Self

from webhook.documents import Document, Position, position_of
from webhook.injection.reasons import Reason, quote_untrusted
from webhook.json_values import Path, as_mapping

__all__ = [
    "ManifestReason",
    "Object",
    "Remark",
    "RemarkSeverity",
    "dotted",
    "group_of",
    "mappings",
    "objects",
]

#: Longer documents are read only if they can matter: a bundle of CRDs takes minutes, and nothing comes of it.
GLANCE_LENGTH = 16 * 1024
#: Kinds that are often long and never hold a pod.
_WITHOUT_PODS = frozenset({"ConfigMap", "CustomResourceDefinition", "PrometheusRule", "Secret"})
#: ``extensions`` is how old manifests call ``apps``.
_OLD_GROUPS = {"extensions": "apps"}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+")


class RemarkSeverity(StrEnum):
    """How much a remark asks of its reader."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class ManifestReason(StrEnum):
    """What a remark is about that no review can find: a stable key for machines, and a sentence for people.

    Remarks on what a review finds have its :class:`~webhook.injection.reasons.Reason`.
    """

    sentence: str

    def __new__(cls, key: str, sentence: str) -> Self:
        """Make a member whose value is its key."""
        member = str.__new__(cls, key)
        member._value_ = key
        member.sentence = sentence
        return member

    MISPLACED_KEY = "misplaced_key", "one of our keys has no effect where it stands"
    UNKNOWN_PREFIX = "unknown_prefix", "an annotation would be ours if its prefix were spelt right"
    WRONG_TYPE = "wrong_type", "metadata, annotations or labels with keys of ours are no mapping"
    WRONG_VERSION = "wrong_version", "no Kubernetes has that kind in that apiVersion, or only an old one"
    NOT_EDITED = "not_edited", "only the webhook injects these pods, the command line does not"
    SHARED_VOLUME = "shared_volume", "several pods share a volume with logs"
    DUPLICATE_KEY = "duplicate_key", "a key stands twice in a document, and only the last one counts"


@dataclass(frozen=True)
class Object:
    """One object. ``place`` is its path in the document: empty, or ``("items", 0)`` in a List.

    ``group`` is the API group by its present name, None where the object has no apiVersion; ``kind`` is empty where it
    has none.
    """

    document: Document
    place: Path
    group: str | None
    kind: str
    namespace: str
    manifest: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the object's own metadata."""
        return as_mapping(self.manifest.get("metadata"))

    @property
    def name(self) -> str:
        """Return the name, or its beginning with a ``*`` where the cluster makes the rest."""
        name, beginning = self.metadata.get("name"), self.metadata.get("generateName")
        return str(name) if name else f"{beginning}*" if beginning else "(no name)"

    @property
    def title(self) -> str:
        """Return ``Deployment/web``."""
        return f"{self.kind or '(no kind)'}/{self.name}"

    def position(self, path: Path = ()) -> Position:
        """Return where something in the object stands in the file, or the nearest that exists above it."""
        return position_of(self.document, [*self.place, *path])

    def origin_at(self, position: Position) -> str:
        """Return ``app.yaml:12:5: Deployment/web``, as compilers name a place."""
        return f"{self.document.source}:{position}: {self.title}"


class Remark(NamedTuple):
    """What the author of an object should know: where, and in words.

    ``unmet`` says that because of it a pod is not injected, or not as its author asked: ``--strict`` fails.
    """

    position: Position
    severity: RemarkSeverity
    reason: Reason | ManifestReason
    text: str
    unmet: bool = False


def objects(document: Document, namespace: str, prefix: str = "") -> Iterator[Object]:
    """Yield the objects of a document; ManifestError where it can't be read.

    ``namespace`` is that of objects which name none. A long document is read only if it may hold a pod, or has
    ``prefix`` in it.
    """
    if document.is_blank or (len(document.text) > GLANCE_LENGTH and not _may_matter(document, prefix)):
        return
    value = document.value
    if value is None:
        return
    if not isinstance(value, dict):
        said = "a list" if isinstance(value, list) else quote_untrusted(str(value))
        raise document.error(f"expected a mapping with apiVersion and kind, found {said}", document.first_content)
    for place, manifest in _flattened(value, ()):
        found = as_mapping(manifest.get("metadata")).get("namespace")
        own = found if isinstance(found, str) and found else namespace
        kind = manifest.get("kind")
        name = kind if isinstance(kind, str) else ""
        yield Object(document, place, group_of(manifest), name, own, manifest)


def mappings(value: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every mapping in a value with its path, from the outside in and in order; but for empty ones in others."""
    stack: list[tuple[Path, Any]] = [((), value)]
    while stack:
        path, found = stack.pop()
        children: list[tuple[str | int, Any]] = []
        if isinstance(found, dict):
            yield path, found
            children = list(found.items())
        elif isinstance(found, list):
            children = list(enumerate(found))
        stack += [
            ((*path, key), child) for key, child in reversed(children) if child and isinstance(child, dict | list)
        ]


def _may_matter(document: Document, prefix: str) -> bool:
    kind = document.kind_at_a_glance
    if not kind or kind == "Namespace" or (prefix and prefix in document.text):
        return True
    return kind not in _WITHOUT_PODS and ("containers" in document.text or "template" in document.text)


def _flattened(manifest: dict[str, Any], place: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    kind, items = manifest.get("kind"), manifest.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield place, manifest
        return
    yield place, {key: value for key, value in manifest.items() if key != "items"}
    # the items of a DeploymentList need not say that they are Deployments
    implied = {"apiVersion": manifest.get("apiVersion")}
    if kind != "List":
        implied["kind"] = kind.removesuffix("List")
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield from _flattened(item if "kind" in item else implied | item, (*place, "items", index))


def group_of(manifest: dict[str, Any]) -> str | None:
    """Return the API group, None where there is no apiVersion."""
    version = manifest.get("apiVersion")
    if not isinstance(version, str):
        return None
    group = version.rpartition("/")[0]
    return _OLD_GROUPS.get(group, group)


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people write it: ``spec.containers[0].env``."""
    text = ""
    for token in path:
        if isinstance(token, str) and _PLAIN_KEY.fullmatch(token):
            text += f".{token}" if text else token
        else:
            text += f"[{token if isinstance(token, int) else quote_untrusted(token, 80)}]"
    return text
