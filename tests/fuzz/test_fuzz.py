"""A short run of the fuzzers with a fixed seed, and that they would find something."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz import configurations, oracle
from tests.fuzz.hostility import besiege
from tests.fuzz.mutations import SEEDS, mutated
from tests.fuzz.server import attack
from tests.service.process import Process
from webhook.injection import volume_types
from webhook.injection.reasons import Reason

BODIES = 2000


def judged(seed: int) -> Counter[Reason | None]:
    """Return what became of many mutated bodies."""
    random = Random(seed)
    return Counter(
        oracle.judge(mutated(random.choice(SEEDS), random), opted_in=random.random() < 0.5) for _ in range(BODIES)
    )


def test_the_core_keeps_its_promises() -> None:
    """Whatever is changed in a review; and enough of it comes through to where patches are made."""
    reasons = judged(seed=1)
    assert reasons[Reason.INJECTED] > BODIES / 20
    assert len(reasons) > 15


def test_every_configuration_is_refused_or_works() -> None:
    """Whatever is changed in one; and enough of them are taken, and refused."""
    counts = configurations.attack(300, seed=1)
    assert counts["taken"] > 20
    assert counts["refused"] > 20


def test_a_bug_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mistake in the core the oracle says so."""
    monkeypatch.setattr(volume_types, "_holds_no_logs", lambda csi: csi.get("driver") == "x")
    found = next((error for seed in range(100) if (error := _error(seed)) is not None), None)
    assert isinstance(found, AttributeError)


def _error(seed: int) -> Exception | None:
    try:
        judged(seed)
    except AttributeError as error:
        return error
    return None


def test_the_server_stands(launch: Callable[..., Process]) -> None:
    """Seconds of mutated reviews and raw bytes: no 5xx, no hang, no growth."""
    process = launch("--header-timeout=1s", "--body-timeout=1s", "--keep-alive=1s")
    attack(process, 4, seed=1)


def test_memory_after_hostility_is_what_it_was(launch: Callable[..., Process]) -> None:
    """Seconds of everything that costs memory, and at most 32 MiB more than before."""
    besiege(launch("--reload-interval=1s"), 6, seed=1)
