"""``make bench-core``: the core's time for a review, in units of what msgspec takes merely to decode its body."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jsonpatch
import msgspec

from tests.bench.bodies import BODIES
from webhook.configuration import load
from webhook.injection.admission import admit
from webhook.injection.profile import Configuration
from webhook.injection.review import encode_review, parse_review

ROUNDS = 15
TARGET_SECONDS = 0.05


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


class Times(NamedTuple):
    """Seconds for a body."""

    core: float
    decoding: float

    @property
    def ratio(self) -> float:
        """Return the core's time in units of the decoding."""
        return self.core / self.decoding


def measure(body: bytes, configuration: Configuration) -> Times:
    """Measure once."""

    def core() -> bytes:
        request = parse_review(body)
        return encode_review(request, admit(request, configuration).response())

    return Times(seconds_per_call(core), seconds_per_call(lambda: msgspec.json.decode(body)))


def main() -> int:
    """Print the table."""
    configuration = load(None)
    print("| body | bytes | decode µs | core µs | core / decode | `jsonpatch.make_patch` / core |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, make in BODIES.items():
        body = make()
        original = json.loads(body)["request"]["object"]
        patch = admit(parse_review(body), configuration).patch or b"[]"
        result = jsonpatch.apply_patch(original, json.loads(patch))
        rounds = [measure(body, configuration) for _ in range(ROUNDS)]
        ratios = sorted(times.ratio for times in rounds)
        generic = seconds_per_call(lambda one=original, two=result: jsonpatch.make_patch(one, two))  # type: ignore[misc]
        core, decoding = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        cells = (name, f"{len(body):,}", f"{decoding:.1f}", f"{core:.1f}", spread, f"{generic * 1e6 / core:.0f}")
        print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
