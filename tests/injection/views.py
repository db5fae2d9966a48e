"""The typed view of pods that tests write as JSON."""

from typing import Any

import msgspec

from webhook.injection.annotations import LogEntry, parse_logs
from webhook.injection.candidates import Candidate
from webhook.injection.pod import Container, PodSpec

__all__ = ["candidate", "container", "entry", "spec"]


def container(name: str = "app", **fields: Any) -> Container:
    """Return a container with these fields."""
    return msgspec.json.decode(msgspec.json.encode({"name": name, **fields}), type=Container)


def spec(**fields: Any) -> PodSpec:
    """Return a pod's spec with these fields."""
    return msgspec.json.decode(msgspec.json.encode(fields), type=PodSpec)


def entry(text: str) -> LogEntry:
    """Return the one entry of a ``logs`` value."""
    (files,) = parse_logs(text)
    return files


def candidate(
    name: str = "app", *, selected: bool = True, takes_general_entries: bool = True, **fields: Any
) -> Candidate:
    """Return a container that takes part, with these fields."""
    return Candidate.from_container(
        container(name, **fields), "/spec/containers/0", selected=selected, takes_general_entries=takes_general_entries
    )
