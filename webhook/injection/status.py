"""The status annotation: what an injection noted about itself, for people and for ``pillion uninject``.

Nothing is decided by it: the pod's author can write it too.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from webhook.injection.annotations import STATUS

__all__ = ["Status", "parse_status"]

_encode = msgspec.json.Encoder().encode


class Status(Struct, omit_defaults=True, rename="camel"):
    """The annotation's JSON. What has a default is written only where it differs: every pod stores these bytes."""

    profile: str
    revision: str
    sidecar: str
    #: The containers that took part.
    containers: list[str]
    #: The volumes that were added, and those of the pod's own that are read.
    volumes: list[str]
    reused_volumes: list[str]
    #: The variables that a container got, where these are not all of ``POD_VARIABLES``.
    variables: dict[str, list[str]] = {}
    pull_secrets: list[str] = []
    #: The value of kubectl's annotation of that name, where it was added.
    default_container: str = ""
    #: What was null or empty before something was put there, by JSON pointer; only manifests have such values.
    former_values: dict[str, Any] = {}
    #: How such a null was written, where it was written at all (``null``, ``~``).
    null_spellings: dict[str, str] = {}

    def text(self) -> str:
        """Return the annotation's value."""
        return _encode(self).decode()


_decode = msgspec.json.Decoder(Status).decode


def parse_status(annotations: Mapping[str, Any], prefix: str) -> Status | None:
    """Return what the status annotation says, None where there is none or it is not as Pillion writes it."""
    text = annotations.get(f"{prefix}{STATUS}")
    if not isinstance(text, str):
        return None
    try:
        return _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
