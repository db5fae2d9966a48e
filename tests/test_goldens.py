"""The golden cases: what is checked in is what the code does, and doing it twice changes nothing."""

from __future__ import annotations

import json

import jsonpatch
import pytest

from tests.goldens import CASES, GENERATED, Case
from webhook.injection.reasons import Reason

INJECTED = [case for case in CASES if (case.folder / "patch.yaml").exists()]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@by_name
def test_golden(case: Case) -> None:
    """The patch, the result and the verdict are those that were reviewed."""
    wanted = case.generated()
    for name in GENERATED:
        path = case.folder / name
        found = path.read_text() if path.exists() else None
        assert found == wanted.get(name), f"{name} is out of date: make golden, then review the difference"


@pytest.mark.parametrize("case", INJECTED, ids=lambda case: case.name)
def test_injected_again(case: Case) -> None:
    """The result is left as it is."""
    first = case.verdict()
    assert first.error is None
    result = jsonpatch.apply_patch(case.pod, json.loads(first.patch))
    again = case.verdict(result)
    assert again.reason is Reason.ALREADY_INJECTED
    assert again.patch == b""
