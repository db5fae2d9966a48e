"""What takes an injection out of a pod again."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.goldens import CASES, Case
from tests.injection.test_properties import CONFIGURATION, many, verdict_on
from tests.strategies import pods, ragged
from webhook.injection.admission import Verdict
from webhook.injection.profile import Configuration
from webhook.injection.removal import note_empty_values, remove

PREFIX = "pillion.dev/"
STATUS = f"{PREFIX}status"


def injected(pod: Any, verdict: Verdict) -> Any:
    """Return the pod as ``pillion inject`` writes it."""
    operations = note_empty_values(pod, json.loads(verdict.patch or b"[]"), verdict.configuration.prefix)
    return jsonpatch.apply_patch(pod, operations)


def removed(pod: Any, configuration: Configuration = CONFIGURATION) -> Any:
    """Return the pod without what Pillion added."""
    return jsonpatch.apply_patch(pod, remove(pod, configuration).operations)


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case.folder / "patch.yaml").exists()], ids=lambda c: c.name
)
def test_goldens_become_what_they_were(case: Case) -> None:
    """Each golden result, without what was added, is the pod of the case; a status of the user's own is gone."""
    pod = case.pod
    verdict = case.verdict()
    result = removed(injected(pod, verdict), case.configuration)
    (pod["metadata"].get("annotations") or {}).pop(STATUS, None)
    assert result == pod


@many
@given(pods().flatmap(ragged), st.booleans())
def test_a_pod_becomes_what_it_was(pod: Any, opted_in: bool) -> None:
    """remove(inject(pod)) == pod."""
    verdict = verdict_on(pod, opted_in=opted_in)
    assert removed(injected(pod, verdict)) == pod


@many
@given(pods().flatmap(ragged))
def test_a_pod_that_was_not_injected_stays(pod: Any) -> None:
    """There is nothing to take out, and nothing to say."""
    assert remove(pod, CONFIGURATION) == ([], [])
