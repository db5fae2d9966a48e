"""What the program costs in each pod's spec."""

from tests.goldens import CASES
from webhook.profiles import builtins

#: etcd, and the watch caches of the API servers, hold it for every injected pod.
PROGRAM_BYTES = 10_240
#: The operations on a pod with one container, as JSON.
PATCH_BYTES = 13_500


def test_the_program() -> None:
    """It has no comments but the one that says where they are, and stays readable."""
    program = builtins()["tail"]["sidecar"]["command"][2]
    first, *rest = program.splitlines()
    assert len(program.encode()) <= PROGRAM_BYTES
    assert "webhook/profiles/tail.sh" in first
    assert not [line for line in rest if line.strip()[:1] in ("", "#")]
    assert max(map(len, rest)) < 140


def test_the_patch_of_a_typical_pod() -> None:
    """Everything that is added."""
    (case,) = (case for case in CASES if case.name == "ask-annotation-true")
    assert 10_000 < len(case.verdict().patch) <= PATCH_BYTES
