"""Keys of ours where they do nothing: on the wrong object, at the wrong place in it, or a label for an annotation."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from webhook.cli.decoding import in_words
from webhook.cli.objects import Object, Remark, Severity, dotted, mappings
from webhook.cli.templates import not_edited
from webhook.injection.annotations import STATUS
from webhook.injection.decision import OWN_POD_LABEL
from webhook.injection.reasons import clean_untrusted, quote_untrusted
from webhook.injection.verdict import WARNING_PREFIX
from webhook.json_values import Path, as_list, as_mapping, at

__all__ = ["keys_of", "malformed", "misplaced", "wrong_type"]

#: So many keys of one object are named.
MAX_NAMED = 8
#: What Pillion itself puts on objects; the last two are those of its certificates.
_MARKS = frozenset({STATUS, OWN_POD_LABEL, "certificate", "rotate"})
#: A key of ours may stand in these, or belongs into one that somebody forgot or misspelt. Elsewhere it is the content
#: of something else: a selector, for example.
_HOLDERS = frozenset({"annotations", "labels", "annotation", "label", "metadata", "spec", "template"})
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
    """Return the paths of all keys under the prefix that a person wrote, in order."""
    return [
        (*path, key)
        for path, mapping in mappings(manifest)
        if not path or path[-1] in _HOLDERS
        for key in mapping
        if key.startswith(prefix) and key.removeprefix(prefix) not in _MARKS
    ]


def malformed(manifest: dict[str, Any], places: Sequence[Path], prefix: str) -> list[Path]:
    """Return where a list or text with keys of ours stands for the metadata, annotations or labels of a place."""
    paths = [(*place, *holder) for place in places for holder in _METADATA]
    return [path for path in paths if _mentions(at(manifest, path), prefix)]


def _mentions(value: Any, prefix: str) -> bool:
    """Return whether a list or a text has our prefix in it, at any depth."""
    if isinstance(value, str):
        return prefix in value
    return isinstance(value, list) and prefix in json.dumps(value, ensure_ascii=False, default=str)


def wrong_type(item: Object, path: Path) -> Remark:
    """Return a remark on what stands for an object's own metadata, annotations or labels and is no mapping."""
    text = f"{dotted(path)} is {in_words(at(item.manifest, path))}, which the API server refuses; write a mapping"
    return Remark(item.position(path), Severity.WARNING, text, unmet=True)


def misplaced(item: Object, templates: Sequence[Path], keys: Sequence[Path], prefix: str) -> list[Remark]:
    """Return a remark for each of an object's keys that does nothing where it is, with the right place."""
    remarks = list(_remarks(item, templates, keys, prefix))
    if len(remarks) > MAX_NAMED:
        rest = f"and {len(remarks) - MAX_NAMED} more of our keys are where they do nothing"
        remarks[MAX_NAMED:] = [remarks[MAX_NAMED]._replace(text=rest)]
    return remarks


class _Wrong(NamedTuple):
    """What is wrong with a key's place. ``certain`` is false where a controller that we don't know may use it."""

    text: str
    certain: bool = True


def _remarks(item: Object, templates: Sequence[Path], keys: Sequence[Path], prefix: str) -> Iterator[Remark]:
    own = not_edited(item.group, item.kind)
    places = [*templates] if own is None else [own]
    unedited: set[Path] = set()
    for path in keys:
        if any(path[:-1] == (*place, "metadata", "annotations") for place in places):
            continue
        if _is_unedited_template(item, places, path):
            template = path[:-3]
            if template not in unedited and at(item.manifest, (*path[:-1], f"{prefix}inject")) != "false":
                text = f"{dotted(template)} is a pod template at a place that Pillion does not edit"
                text = f"{WARNING_PREFIX}{text}; its pods go through the webhook"
                yield Remark(item.position(path), Severity.WARNING, text, unmet=True)
            unedited.add(template)
            continue
        wrong = _wrong(item, places, path, prefix)
        if wrong is None:
            continue
        severity = Severity.WARNING if wrong.certain else Severity.NOTE
        unmet = wrong.certain and not _stands_rightly(item, places, path)
        yield Remark(item.position(path), severity, wrong.text, unmet)


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
    key = clean_untrusted(str(path[-1]), 80)
    if item.group is None:
        return _Wrong(f"{key} does nothing: the object has no apiVersion")
    if item.group == "" and item.kind == "Namespace":
        return _wrong_on_namespace(key, path, at(item.manifest, path), prefix)
    if places:
        return _Wrong(_wrong_in_workload(item.kind, key, path, places))
    if _is_of_kubernetes(item):
        return _Wrong(f"{key} does nothing on the {item.kind}; move it to the annotations of a pod or a pod template")
    if path[-3:-1] == ("metadata", "annotations") and len(path) > len(("metadata", "annotations", key)):
        place = dotted(path[:-3])
        return _Wrong(f"{key}: {place} holds no containers, so nothing is injected there", certain=False)
    text = f"{key}: {item.kind} has no pod template that Pillion knows; it does nothing unless the pods get it"
    return _Wrong(text, certain=False)


def _wrong_in_workload(kind: str, key: str, path: Path, places: Sequence[Path]) -> str:
    # the template that has most of its path in common with the key's
    nearest = max(places, key=lambda place: _common(place, path))
    right = dotted((*nearest, "metadata", "annotations"))
    holder = path[:-1]
    if holder == (*nearest, "metadata", "labels"):
        return f"{key} is a label, which does nothing; move it to {right}"
    if holder == ("metadata", "annotations"):
        return f"{key} is on the {kind}, where it does nothing; move it to {right}"
    if holder == ("metadata", "labels"):
        return f"{key} is a label of the {kind}, where it does nothing; move it to {right}"
    return f"{key} is in {dotted(holder) or 'no annotations'}, where it does nothing; move it to {right}"


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
