"""What the author of an object is told when it is applied: as ``pillion lint``, where something of ours changed."""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from webhook.documents import Document, Position
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason, as_warnings, clean_untrusted
from webhook.injection.review import ObjectRequest
from webhook.json_values import as_list, as_mapping, at
from webhook.untrusted_text import visible
from webhook.workloads.misplaced import keys_of
from webhook.workloads.objects import ManifestReason, Object, Remark, RemarkSeverity, group_of
from webhook.workloads.reports import examine_object
from webhook.workloads.templates import templates

__all__ = ["Lint", "LintResult", "lint"]

#: Larger objects are not examined: it takes tens of milliseconds, during which no pod is decided on.
MAX_BYTES = 128 * 1024
#: Nor are those with more pod templates, each of which is a review.
MAX_TEMPLATES = 16
#: Nor those with a mapping that is nested deeper: the time grows with the depth, and a pod template has ten levels.
MAX_DEPTH = 64
#: So much of ``Deployment/shop`` stands in a warning.
TITLE_LENGTH = 64
#: What only holds for manifests in a file: the API server has this object, and sends its pods to the webhook.
_OF_FILES = frozenset({ManifestReason.WRONG_VERSION, ManifestReason.NOT_EDITED})
#: An object that comes from the API server stands in no file.
_NO_FILE = Document("", 1, Position(1, 1), "", "")


class LintResult(StrEnum):
    """The result of a lint, which every object passes."""

    WARNED = "warned"  # its author is told something
    CLEAN = "clean"  # there is nothing to tell
    SKIPPED = "skipped"  # nothing of ours changed, a controller's object, a subresource, or too large
    FAILED = "failed"  # the server's fault: a deadline, a bug


class Lint(NamedTuple):
    """The lint of one object: what its author is told, and of which reasons."""

    result: LintResult
    title: str = ""
    """``Deployment/shop``; empty for an object that was not examined."""
    warnings: tuple[str, ...] = ()
    reasons: frozenset[Reason | ManifestReason] = frozenset()
    error: BaseException | None = None
    """The exception behind a failure."""


def lint(request: ObjectRequest, configuration: Configuration, *, namespace_opted_in: bool) -> Lint:
    """Return what to tell the author of an object that is created or updated. Never raises.

    ``namespace_opted_in`` says that the object's namespace opts in.
    """
    try:
        return _lint(request, configuration, namespace_opted_in=namespace_opted_in)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return Lint(LintResult.SKIPPED)
    except Exception as error:  # noqa: BLE001 — a bug of ours must not show at what somebody applies
        return Lint(LintResult.FAILED, error=error)


def _lint(request: ObjectRequest, configuration: Configuration, *, namespace_opted_in: bool) -> Lint:
    item = _examinable(request, request.object)
    if item is None or _has_controller(item):
        return Lint(LintResult.SKIPPED)
    old = _examinable(request, request.oldObject) if request.operation == "UPDATE" else None
    if old is not None and _ours(old, configuration.prefix) == _ours(item, configuration.prefix):
        return Lint(LintResult.SKIPPED)
    report = examine_object(item, configuration, {}, namespace_opted_in=namespace_opted_in)
    error = next((review.verdict.error for review in report.reviews if review.verdict.error is not None), None)
    if error is not None:
        return Lint(LintResult.FAILED, item.title, error=error)
    remarks = [
        remark
        for remark in report.remarks_for(strict=False)
        if remark.severity is not RemarkSeverity.NOTE and remark.reason not in _OF_FILES
    ]
    if not remarks:
        return Lint(LintResult.CLEAN, item.title)
    warnings = tuple(as_warnings(_line(item, remark) for remark in remarks))
    return Lint(LintResult.WARNED, item.title, warnings, frozenset(remark.reason for remark in remarks))


def _examinable(request: ObjectRequest, raw: Raw) -> Object | None:
    """Return an object of the request; None where there is none, or none that is examined."""
    if request.subResource or request.operation not in {"CREATE", "UPDATE"}:
        return None
    if not 0 < memoryview(raw).nbytes <= MAX_BYTES:
        return None
    manifest: Any = msgspec.json.decode(raw)
    if not isinstance(manifest, dict):
        return None
    group, kind = group_of(manifest), manifest.get("kind")
    name = kind if isinstance(kind, str) else ""
    if _is_deeper(manifest, MAX_DEPTH) or len(templates(group, name, manifest)) > MAX_TEMPLATES:
        return None
    return Object(_NO_FILE, (), group, name, request.namespace or "default", manifest)


def _is_deeper(manifest: Any, depth: int) -> bool:
    """Return whether a value has mappings or lists in more levels than ``depth``."""
    level: list[Any] = [manifest]
    for _ in range(depth):
        children = (child for each in level for child in (each.values() if isinstance(each, dict) else each))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _has_controller(item: Object) -> bool:
    """Return whether a controller made the object: whoever wrote the controller's own object has been told."""
    return any(as_mapping(owner).get("controller") is True for owner in as_list(item.metadata.get("ownerReferences")))


def _ours(item: Object, prefix: str) -> tuple[Any, ...]:
    """Return what remarks are about: the keys of ours and the pod templates, with their places."""
    paths = [*keys_of(item.manifest, prefix), *templates(item.group, item.kind, item.manifest)]
    return paths, [at(item.manifest, path) for path in paths]


def _line(item: Object, remark: Remark) -> str:
    text = f"its pods are refused: {remark.text}" if remark.severity is RemarkSeverity.ERROR else remark.text
    # kubectl prints a warning before the name of its object, and the same text only once
    return f"{clean_untrusted(item.title, TITLE_LENGTH)}: {visible(text)}"
