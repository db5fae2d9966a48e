"""Keys of ours where they do nothing: on the wrong object, at the wrong place in it, or a label for an annotation."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, NamedTuple

from webhook.injection.annotations import KEYS, STATUS
from webhook.injection.decision import OWN_POD_LABEL
from webhook.injection.profile import DEFAULT_PREFIX
from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.injection.verdict import WARNING_LEAD
from webhook.json_values import Path, as_list, as_mapping, at
from webhook.workloads.decoding import in_words
from webhook.workloads.objects import ManifestReason, Object, Remark, RemarkSeverity, dotted, group_of, mappings
from webhook.workloads.templates import not_edited, templates

__all__ = ["keys_of", "malformed", "misplaced", "misspelt", "wrong_type"]

#: So many keys of one object are named.
MAX_NAMED = 8
#: So many are looked at: each template may have all of them, and more is no manifest that somebody wrote.
MAX_KEYS = 256
#: So many annotations of one place are compared with our prefix: it is slow, and thousands are no typing errors.
MAX_COMPARED = 32
#: What Pillion itself puts on objects; the last two are those of its certificates.
_MARKS = frozenset({STATUS, OWN_POD_LABEL, "certificate", "rotate"})
#: Where a label is selected by, and the one selector that means a label of ours: a namespace's.
_SELECTORS = ("elector", "matchLabels")
_NAMESPACE_SELECTOR = "namespaceSelector"
#: What Kustomize adds to all objects, and to the pod templates in them.
_KUSTOMIZE = "kustomize.config.k8s.io"
_TO_ALL = "commonAnnotations"
#: A kustomization need not say that it is one.
_KUSTOMIZATION = {_TO_ALL, "commonLabels", "resources", "patches"}
#: Another prefix, and a key that is ours: ``pillion.io/inject``.
_NAME = re.compile(rf"(?P<first>[^/.:_-]+).*[/.:_-](?P<name>{'|'.join(KEYS)})", re.IGNORECASE)
_ALIKE = 0.8
_LONGEST_KEY = 64
#: Where the metadata's mappings are, from a pod or an object.
_METADATA: tuple[Path, ...] = (("metadata",), ("metadata", "annotations"), ("metadata", "labels"))
#: Groups of Kubernetes' own kinds that have a dot in them: of these it is known that no controller reads our keys.
_KUBERNETES = frozenset(
    f"{group}.k8s.io"
    for group in (
        *("admissionregistration", "apiextensions", "apiregistration", "certificates", "coordination", "discovery"),
        *("events", "flowcontrol.apiserver", "networking", "node", "rbac.authorization", "resource", "scheduling"),
        "storage",
    )
)


def keys_of(manifest: dict[str, Any], prefix: str) -> list[Path]:
    """Return the paths of the keys under the prefix that a person wrote, in order; of very many only the first."""
    found = (
        (*path, key)
        for path, mapping in mappings(manifest)
        if _NAMESPACE_SELECTOR not in path and not _is_item_of_metadata(path)
        for key in mapping
        if key.startswith(prefix) and key.removeprefix(prefix) not in _MARKS
    )
    return list(islice(found, MAX_KEYS))


def _is_item_of_metadata(path: Path) -> bool:
    """Return whether a mapping is an item of a list of annotations or labels: the list itself is what is wrong."""
    return len(path) > 1 and isinstance(path[-1], int) and path[-2] in ("annotations", "labels")


def malformed(manifest: dict[str, Any], places: Sequence[Path], prefix: str) -> list[Path]:
    """Return where a list or text with keys of ours stands for the metadata, annotations or labels of a place."""
    paths = [(*place, *holder) for place in places for holder in _METADATA]
    return [path for path in paths if _mentions(at(manifest, path), prefix)]


def misspelt(item: Object, places: Sequence[Path], prefix: str) -> Iterator[Remark]:
    """Yield a remark on each annotation that would be ours but for its spelling, as far as keys are compared."""
    for place in dict.fromkeys([(), *places]):
        holder = (*place, "metadata", "annotations")
        for key, match in islice(_similar(as_mapping(at(item.manifest, holder)), prefix), MAX_COMPARED):
            if not any(_alike(match["first"], own) for own in (prefix, DEFAULT_PREFIX)):
                continue
            text = f"{key}: Pillion's annotations begin with {prefix}; write {prefix}{match['name'].lower()}"
            position, reason = item.position((*holder, key)), ManifestReason.UNKNOWN_PREFIX
            yield Remark(position, RemarkSeverity.WARNING, reason, text, unmet=place in places)
        nested = (*holder, prefix.removesuffix("/"))
        for name in islice(as_mapping(at(item.manifest, nested)), 1):
            right = f"{prefix}{clean_untrusted(str(name))}"
            text = f"{dotted(nested)} is a mapping, which the API server refuses; write {right}"
            yield Remark(
                item.position(nested), RemarkSeverity.WARNING, ManifestReason.WRONG_TYPE, text, unmet=place in places
            )


def _similar(annotations: Iterable[str], prefix: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield the keys of another prefix whose last part is a key of ours."""
    for key in annotations:
        match = None if key.startswith(prefix) or len(key) > _LONGEST_KEY else _NAME.fullmatch(key)
        if match is not None:
            yield key, match


def _alike(first: str, prefix: str) -> bool:
    return SequenceMatcher(None, first[:64].lower(), prefix.partition(".")[0]).ratio() >= _ALIKE


def _mentions(value: Any, prefix: str) -> bool:
    """Return whether a list or a text has our prefix in it, at any depth."""
    if isinstance(value, str):
        return prefix in value
    return isinstance(value, list) and prefix in json.dumps(value, ensure_ascii=False, default=str)


def wrong_type(item: Object, path: Path) -> Remark:
    """Return a remark on what stands for an object's own metadata, annotations or labels and is no mapping."""
    text = f"{dotted(path)} is {in_words(at(item.manifest, path))}, which the API server refuses; write a mapping"
    return Remark(item.position(path), RemarkSeverity.WARNING, ManifestReason.WRONG_TYPE, text, unmet=True)


def misplaced(item: Object, places: Sequence[Path], keys: Sequence[Path], prefix: str) -> list[Remark]:
    """Return a remark for each of an object's keys that does nothing where it is, with the right place."""
    remarks = list(_remarks(item, places, keys, prefix))
    if len(remarks) > MAX_NAMED:
        count = len(remarks) - MAX_NAMED if len(keys) < MAX_KEYS else "many"
        rest = f"and {count} more of our keys are where they do nothing"
        remarks[MAX_NAMED:] = [remarks[MAX_NAMED]._replace(text=rest)]
    return remarks


class _Wrong(NamedTuple):
    """What is wrong with a key's place. ``certain`` is false where a controller that we don't know may use it."""

    text: str
    certain: bool = True


def _remarks(item: Object, found: Sequence[Path], keys: Sequence[Path], prefix: str) -> Iterator[Remark]:
    own = not_edited(item.group, item.kind)
    places = [*found] if own is None else [own]
    unedited: set[Path] = set()
    for path in keys:
        if any(path[:-1] == (*place, "metadata", "annotations") for place in places):
            continue
        if _is_unedited_template(item, places, path):
            template = path[:-3]
            if template not in unedited and at(item.manifest, (*path[:-1], f"{prefix}inject")) != "false":
                text = f"{dotted(template)} is a pod template at a place that Pillion does not edit"
                text = f"{WARNING_LEAD}{text}; its pods go through the webhook"
                yield Remark(item.position(path), RemarkSeverity.WARNING, ManifestReason.NOT_EDITED, text, unmet=True)
            unedited.add(template)
            continue
        wrong = _wrong(item, places, path, prefix)
        if wrong is None:
            continue
        severity = RemarkSeverity.WARNING if wrong.certain else RemarkSeverity.NOTE
        unmet = wrong.certain and not _stands_rightly(item, places, path)
        yield Remark(item.position(path), severity, ManifestReason.MISPLACED_KEY, wrong.text, unmet)


def _is_unedited_template(item: Object, places: Sequence[Path], path: Path) -> bool:
    """Return whether a key is among the annotations of a pod template in the object, beside its containers.

    A kind of Kubernetes' own that has a template makes pods of no other.
    """
    holder = path[:-3]
    if not holder or path[-3:-1] != ("metadata", "annotations") or item.group is None:
        return False
    return bool(as_list(at(item.manifest, (*holder, "spec", "containers")))) and not (
        places and _is_of_kubernetes(item)
    )


def _is_of_kubernetes(item: Object) -> bool:
    return item.group is not None and ("." not in item.group or item.group in _KUBERNETES)


def _stands_rightly(item: Object, places: Sequence[Path], path: Path) -> bool:
    """Return whether every template has the same key with the same value: the object does what its author asked."""
    value = at(item.manifest, path)
    right = [as_mapping(at(item.manifest, (*place, "metadata", "annotations"))) for place in places]
    return bool(right) and all(annotations.get(str(path[-1])) == value for annotations in right)


def _wrong(item: Object, places: Sequence[Path], path: Path, prefix: str) -> _Wrong | None:
    """Return what is wrong with a key, None for one that does something."""
    inner = None if places else _embedded(item, path)
    if inner is not None:
        held, base = inner
        own = [(*base, *place) for place in templates(held.group, held.kind, held.manifest)]
        wrong = _wrong_in(held, own, path, base, prefix)
        return wrong and wrong._replace(text=f"{wrong.text} ({dotted(base)} of the {item.kind})")
    return _wrong_in(item, places, path, (), prefix)


def _embedded(item: Object, path: Path) -> tuple[Object, Path] | None:
    """Return the innermost object around a key that another one holds, as a Template does, and its path in that."""
    for depth in range(len(path) - 1, 0, -1):
        manifest = as_mapping(at(item.manifest, path[:depth]))
        kind = manifest.get("kind")
        if isinstance(kind, str) and isinstance(manifest.get("apiVersion"), str):
            held = replace(
                item, place=(*item.place, *path[:depth]), group=group_of(manifest), kind=kind, manifest=manifest
            )
            return held, path[:depth]
    return None


def _wrong_in(item: Object, places: Sequence[Path], path: Path, base: Path, prefix: str) -> _Wrong | None:
    """Return what is wrong with a key in an object; all paths begin with ``base``, the object's own."""
    key, holder = clean_untrusted(str(path[-1]), 80), path[len(base) : -1]
    if item.group == _KUSTOMIZE or (item.group is None and _KUSTOMIZATION & item.manifest.keys()):
        return _Wrong(_wrong_in_kustomization(key, path, holder), certain=False)
    if item.group is None:
        text = f"{key} is in {dotted(path[:-1])} of what is no manifest; values of a chart? Inject what it renders"
        return _Wrong(text, certain=False)
    if item.group == "" and item.kind == "Namespace":
        return _wrong_on_namespace(key, path[len(base) :], at(item.manifest, path[len(base) :]), prefix)
    if places:
        return _Wrong(_wrong_in_workload(item.kind, key, path, places, base))
    if _is_of_kubernetes(item) and any(str(step).endswith(_SELECTORS) for step in holder):
        text = f"{key} in {dotted(path[:-1])} selects by a label, which Pillion neither sets nor reads on pods"
        return _Wrong(text, certain=False)
    if _is_of_kubernetes(item):
        return _Wrong(f"{key} does nothing on the {item.kind}; move it to the annotations of a pod or a pod template")
    if holder[-2:] == ("metadata", "annotations") and len(holder) > len(("metadata", "annotations")):
        place = dotted(path[:-3])
        return _Wrong(f"{key}: {place} holds no containers; it does nothing unless the pods get it", certain=False)
    text = f"{key}: {item.kind} has no pod template that Pillion knows; it does nothing unless the pods get it"
    return _Wrong(text, certain=False)


def _wrong_in_kustomization(key: str, path: Path, holder: Path) -> str:
    if holder == (_TO_ALL,):
        return f"{key} is added to all objects and pod templates by Kustomize; inject what kustomize build prints"
    return f"{key} is in {dotted(path[:-1])}: on pods only annotations count; write {_TO_ALL}, or annotate the template"


def _wrong_in_workload(kind: str, key: str, path: Path, places: Sequence[Path], base: Path) -> str:
    # the template that has most of its path in common with the key's
    nearest = max(places, key=lambda place: _common(place, path))
    right = dotted((*nearest, "metadata", "annotations"))
    holder = path[:-1]
    if holder == (*nearest, "metadata", "labels"):
        return f"{key} is a label, which does nothing; move it to {right}"
    if holder == (*base, "metadata", "annotations"):
        return f"{key} is on the {kind}, where it does nothing; move it to {right}"
    if holder == (*base, "metadata", "labels"):
        return f"{key} is a label of the {kind}, where it does nothing; move it to {right}"
    where = f"in {dotted(holder)}" if holder != base else f"at the top of the {kind}"
    return f"{key} is {where}, where it does nothing; move it to {right}"


def _common(one: Path, other: Path) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def _wrong_on_namespace(key: str, path: Path, value: Any, prefix: str) -> _Wrong | None:
    if key != f"{prefix}inject":
        return _Wrong(f"{key} does nothing on a Namespace; move it to the annotations of a pod or a pod template")
    if path[:-1] != ("metadata", "labels"):
        what = "an annotation" if path[:-1] == ("metadata", "annotations") else f"in {dotted(path[:-1])}"
        return _Wrong(f"{key} is {what}, which does nothing on a Namespace; move it to metadata.labels")
    if value in ("true", "false"):
        return None
    if value is not None and not isinstance(value, str):
        return _Wrong(f'{key} is {in_words(value)}, which the API server refuses; write "true", in quotes')
    return _Wrong(f'{key} {quote_untrusted(value or "")} does not opt the namespace in; write "true"')
