"""``make bench-core``: the core's time for a review, in units of what msgspec takes merely to decode its body."""

import json
import statistics
import sys
import time
from collections.abc import Callable

import jsonpatch
import msgspec

from tests.bench.bodies import BODIES
from webhook.configuration import load
from webhook.injection import review
from webhook.injection.admission import admit

ROUNDS = 15
TARGET_SECONDS = 0.05
#: What the core may cost on the typical body, in units of the decoding.
AIM = 2.2


def seconds_per_call(function: Callable[[], object]) -> float:
    """Return the processor time of one call, from as many calls as take a twentieth of a second."""
    calls = 1
    while True:
        start = time.thread_time()
        for _ in range(calls):
            function()
        elapsed = time.thread_time() - start
        if elapsed > TARGET_SECONDS:
            return elapsed / calls
        calls *= 2


def main() -> int:
    """Print the table; return 1 where the typical body misses its aim."""
    configuration = load(None)
    print(f"{'body':14} {'bytes':>7} {'decode µs':>10} {'core µs':>9} {'core/decode':>20} {'make_patch/core':>16}")
    missed = False
    for name, make in BODIES.items():
        body = make()

        def core(body: bytes = body) -> bytes:
            request = review.parse(body)
            return review.encode(request, admit(request, configuration).response())

        def floor(body: bytes = body) -> object:
            return msgspec.json.decode(body)

        original = json.loads(body)["request"]["object"]
        patch = admit(review.parse(body), configuration).patch or b"[]"
        result = jsonpatch.apply_patch(original, json.loads(patch))
        rounds = [(seconds_per_call(core), seconds_per_call(floor)) for _ in range(ROUNDS)]
        ratios = sorted(one / other for one, other in rounds)
        ratio = statistics.median(ratios)
        generic = seconds_per_call(lambda one=original, two=result: jsonpatch.make_patch(one, two))  # type: ignore[misc]
        microseconds = [statistics.median(column) * 1e6 for column in zip(*rounds, strict=True)]
        spread = f"{ratio:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        rival = f"{generic * 1e6 / microseconds[0]:.0f}"
        print(f"{name:14} {len(body):7} {microseconds[1]:10.1f} {microseconds[0]:9.1f} {spread:>20} {rival:>16}")
        if name == "typical" and ratio > AIM:
            missed = True
    print(f"aim: typical at most {AIM}" + (": MISSED" if missed else ""))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
