"""The values that an injection replaces in a manifest (null, empty, a former status).

They are recorded in the status so that a removal can restore them.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webhook.injection.annotations import STATUS
from webhook.injection.pod_annotations import within_annotation_limit
from webhook.injection.status import parse_status
from webhook.json_values import Path, as_mapping, at, exists, json_pointer, parse_pointer, with_indexes

__all__ = ["NULL_SPELLING_MEMBER", "YAML_NULLS", "record_former_values"]

#: Member of our ``replace`` operations that set null: how ``webhook.documents`` is to spell it. Not part of RFC 6902;
#: patch implementations ignore it.
NULL_SPELLING_MEMBER = "nullSpelling"
#: The spellings of null in YAML.
YAML_NULLS = frozenset({"null", "Null", "NULL", "~"})


def record_former_values(
    pod: Mapping[str, Any], operations: Sequence[dict[str, Any]], prefix: str, scalar_text: Callable[[Path], str]
) -> list[dict[str, Any]]:
    """Return an injection's operations with a status that lists the null and empty values that they replace.

    A manifest may have ``volumes: []``; a pod from the API server never does, so the webhook does not need this. A
    status annotation that the author wrote is listed, too. If the annotations then exceed their size limit, the
    operations stay as they are. ``scalar_text(path)`` returns the text of the scalar at a path.
    """
    before: dict[str, Any] = {}
    null_spellings: dict[str, str] = {}
    status_path = ("metadata", "annotations", f"{prefix}{STATUS}")
    if isinstance(at(pod, status_path), str):
        before[json_pointer(status_path)] = at(pod, status_path)
    for operation in operations:
        path = parse_pointer(operation["path"])
        # the value itself, and the list or mapping that the operation adds to
        for place in (path, path[:-1]):
            found = at(pod, place)
            if found in (None, [], {}) and exists(pod, place):
                before[json_pointer(place)] = found
                word = scalar_text(with_indexes(pod, place)) if found is None else ""
                if word in YAML_NULLS:
                    null_spellings[json_pointer(place)] = word
    annotations = {key: value for key, value in as_mapping(at(pod, status_path[:-1])).items() if isinstance(value, str)}
    recorded = []
    for operation in operations:
        path, value = parse_pointer(operation["path"]), copy.deepcopy(operation["value"])
        # it adds an annotation, all of them, or all metadata
        added = as_mapping(at(_nested(path, value), status_path[:-1]))
        status = parse_status(added, prefix) if before else None
        annotations.update(added)
        if status is None:
            recorded.append(operation)
            continue
        status.former_values = {**status.former_values, **before}
        status.null_spellings = null_spellings
        added[status_path[-1]] = annotations[status_path[-1]] = status.text()
        recorded.append(operation | {"value": at(_nested(status_path[:-1], added), path)})
    return recorded if within_annotation_limit(annotations) else list(operations)


def _nested(path: Path, value: Any) -> Any:
    """Return nested mappings with the value at the path."""
    for key in reversed(path):
        value = {key: value}
    return value
