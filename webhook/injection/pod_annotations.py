"""The annotations that an injected pod gets: the status, and those for kubectl and the cluster autoscaler."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from webhook.injection.annotations import STATUS
from webhook.injection.candidates import Candidate
from webhook.injection.edit import PodEditor
from webhook.injection.profile import Profile
from webhook.injection.reasons import Finding, Reason
from webhook.injection.status import Status
from webhook.injection.variables import POD_VARIABLES
from webhook.json_values import json_pointer

__all__ = [
    "DEFAULT_CONTAINER",
    "MAX_ANNOTATIONS_BYTES",
    "SAFE_TO_EVICT",
    "add_annotations",
    "add_to_evict_list",
    "remove_from_evict_list",
    "within_annotation_limit",
]

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
#: k8s.io/apimachinery TotalAnnotationSizeLimitB: keys and values of all annotations, in bytes.
MAX_ANNOTATIONS_BYTES = 256 * 1024


def add_annotations(
    editor: PodEditor,
    profile: Profile,
    candidates: Sequence[Candidate],
    *,
    findings: list[Finding],
    volumes: Sequence[str],
    reused: list[str],
    prefix: str,
) -> None:
    """Add those of our annotations that fit within the size limit, the most important first.

    Appends a note to ``findings`` if some do not fit. ``volumes`` are the names of all volumes that are added,
    ``reused`` those of the pod's own that are read.
    """
    present = (editor.metadata.annotations if editor.metadata is not None else None) or {}
    selected = [item for item in candidates if item.selected]
    status = Status(
        profile=profile.name,
        revision=profile.revision,
        sidecar=profile.container_name,
        containers=[item.container.name for item in selected],
        volumes=list(volumes),
        reused_volumes=reused,
        pull_secrets=editor.pull_secrets,
    )
    for item in selected:
        if len(item.added_variables) < len(POD_VARIABLES):
            status.variables[item.container.name] = [variable.name for variable in item.added_variables]
    ours: dict[str, str] = {}
    if volumes:
        listed = present.get(SAFE_TO_EVICT)
        ours[SAFE_TO_EVICT] = add_to_evict_list(listed, volumes)
        # removing our names again would not restore the list exactly (blanks, repeats), so it is kept
        if listed is not None and remove_from_evict_list(ours[SAFE_TO_EVICT], volumes) != listed:
            status.former_values[json_pointer(("metadata", "annotations", SAFE_TO_EVICT))] = listed
    if not profile.native and DEFAULT_CONTAINER not in present:
        # there is a selected container: ``find_candidates`` sees to it
        ours[DEFAULT_CONTAINER] = status.default_container = status.containers[0]
    ours[f"{prefix}{STATUS}"] = status.text()
    fitting = _fitting(present, ours)
    if fitting:
        editor.add_annotations(fitting)
    if len(fitting) < len(ours):
        findings.append(Finding(Reason.ANNOTATIONS_FULL))


def add_to_evict_list(listed: str | None, volumes: Iterable[str]) -> str:
    """Return the autoscaler's list of volumes with ours appended, without blanks, empty names and repeats."""
    names = (part.strip() for part in listed.split(",")) if listed else ()
    return ",".join(dict.fromkeys([*filter(None, names), *volumes]))


def remove_from_evict_list(value: str, volumes: Iterable[str]) -> str | None:
    """Return the list without our volumes at its end; None if it has no others."""
    ours = ",".join(volumes)
    return None if value == ours else value.removesuffix(f",{ours}")


def _fitting(present: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return our annotations that fit beside the pod's own within the size limit."""
    # a character is at most four bytes, so counting characters is enough for almost every pod
    texts = chain(present, present.values(), ours, ours.values())
    if 4 * sum(map(len, texts)) <= MAX_ANNOTATIONS_BYTES:
        return dict(ours)
    size = sum(map(_size, present.items()))
    fitting: dict[str, str] = {}
    for item in ours.items():
        key, value = item
        grown = size + _size(item) - (_size((key, present[key])) if key in present else 0)
        if grown <= MAX_ANNOTATIONS_BYTES:
            size = grown
            fitting[key] = value
    return fitting


def within_annotation_limit(annotations: Mapping[str, str]) -> bool:
    """Return whether the annotations are within the API server's size limit."""
    return sum(map(_size, annotations.items())) <= MAX_ANNOTATIONS_BYTES


def _size(item: tuple[str, str]) -> int:
    return len(item[0].encode()) + len(item[1].encode())
