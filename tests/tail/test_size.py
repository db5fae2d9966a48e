"""What the sidecar costs in each pod's spec: etcd and the watch caches of the API servers hold it for every pod."""

import json
from typing import Any

import jsonpatch

from tests.bench.bodies import ASKING, body, pod
from webhook.configuration import load
from webhook.injection.admission import admit
from webhook.injection.review import encode_review, parse_review

#: What a typical pod grows by, as JSON.
GROWTH_BYTES = 2_560
#: The answer to the API server, the patch base64-encoded in it.
RESPONSE_BYTES = 5_120


def size(value: Any) -> int:
    """Return the bytes of a value's JSON."""
    return len(json.dumps(value, separators=(",", ":")).encode())


def test_a_typical_pod() -> None:
    """The sidecar is an image's name and some fields; no program text is in it."""
    typical = pod(2, 4, 1, ASKING)
    verdict = admit(parse_review(body(typical)), load(None))
    assert verdict.injected
    grown = size(jsonpatch.apply_patch(typical, json.loads(verdict.patch))) - size(typical)
    assert 1_500 < grown < GROWTH_BYTES
    assert len(encode_review(verdict.request, verdict.response())) < RESPONSE_BYTES
