"""The typed view of pods that tests write as JSON."""

from typing import Any

import msgspec

from webhook.injection.annotations import LogFiles, parse_logs
from webhook.injection.participants import Participant
from webhook.injection.pod import Container, PodSpec

__all__ = ["container", "entry", "participant", "spec"]


def container(name: str = "app", **fields: Any) -> Container:
    """Return a container with these fields."""
    return msgspec.json.decode(msgspec.json.encode({"name": name, **fields}), type=Container)


def spec(**fields: Any) -> PodSpec:
    """Return a pod's spec with these fields."""
    return msgspec.json.decode(msgspec.json.encode(fields), type=PodSpec)


def entry(text: str) -> LogFiles:
    """Return the one entry of a ``logs`` value."""
    (files,) = parse_logs(text)
    return files


def participant(
    name: str = "app", *, chosen: bool = True, matches_unprefixed: bool = True, **fields: Any
) -> Participant:
    """Return a container that takes part, with these fields."""
    return Participant.of(
        container(name, **fields), "/spec/containers/0", chosen=chosen, matches_unprefixed=matches_unprefixed
    )
