"""The status annotation: what an injection added, for people and for ``pillion uninject``.

Whether a pod is injected never depends on it: the pod's author can write it, too. It may decide what the author is
told.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from webhook.injection.annotations import STATUS

__all__ = ["Status", "other_installation", "parse_status"]

_encode = msgspec.json.Encoder().encode


class Status(Struct, omit_defaults=True, rename="camel"):
    """The annotation's JSON. Fields with their default value are left out: every pod stores these bytes."""

    profile: str
    revision: str
    sidecar: str
    #: The selected containers.
    containers: list[str]
    #: The volumes that were added.
    volumes: list[str]
    #: The pod's own volumes that are read.
    reused_volumes: list[str]
    #: The variables that a container got, for containers that did not get all of ``POD_VARIABLES``.
    variables: dict[str, list[str]] = {}
    pull_secrets: list[str] = []
    #: The value of kubectl's default-container annotation, if it was added.
    default_container: str = ""
    #: Values that the injection replaced, by JSON pointer: the autoscaler's list if it can't be restored otherwise; in
    #: manifests also null and empty values, and a status that the author wrote.
    former_values: dict[str, Any] = {}
    #: How the manifest spells such a null (``null``, ``~``), by JSON pointer; absent where nothing follows the colon.
    null_spellings: dict[str, str] = {}

    def text(self) -> str:
        """Return the annotation's value."""
        return _encode(self).decode()


_decode = msgspec.json.Decoder(Status).decode


def parse_status(annotations: Mapping[str, Any], prefix: str) -> Status | None:
    """Return the status annotation's content; None if there is none, or if Pillion can't have written it."""
    text = annotations.get(f"{prefix}{STATUS}")
    if not isinstance(text, str):
        return None
    try:
        return _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def other_installation(
    annotations: Mapping[str, Any], prefix: str, sidecars: Collection[str]
) -> tuple[str, Status] | None:
    """Return the prefix and the status of another installation that added one of ``sidecars``; None if there is none.

    It did if its status names one of them, and ours is missing or can't be read.
    """
    if parse_status(annotations, prefix) is not None:
        return None
    for key in annotations:
        if key.endswith(f"/{STATUS}"):
            other = key.removesuffix(STATUS)
            status = parse_status(annotations, other)
            if status is not None and status.sidecar in sidecars:
                return other, status
    return None
