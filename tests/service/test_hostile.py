"""Bodies that no API server sends: each is answered, none harms the server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.serving import Running, eventually, make_review

UID = "0c7a3f2e"


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _with(text: str, inside: Any = None) -> bytes:
    """Return a review whose pod has ``text`` where a JSON value belongs."""
    document = make_review()
    document["request"]["object"]["metadata"]["unknown"] = "@@"
    return json.dumps(inside or document).replace('"@@"', text).encode()


def _csi(source: Any) -> bytes:
    """Return a review of a pod whose logs lie in such a CSI volume."""
    pod = make_review()["request"]["object"]
    container = {"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/var/log/shop"}]}
    pod["spec"] = {"containers": [container], "volumes": [{"name": "v", "csi": source}]}
    return _bytes(make_review(pod))


def _pod(**parts: Any) -> dict[str, Any]:
    return {**make_review()["request"]["object"], **parts}


#: Bodies without a uid: nothing could be answered with 200.
NO_REVIEW = {
    "empty": b"",
    "not json": b"hello",
    "cut off": _bytes(make_review())[:200],
    "not utf-8": b'{"request": {"uid": "\xff\xfe"}}',
    "utf-16": json.dumps(make_review()).encode("utf-16")[:101],
    "a number": b"1",
    "a list": b"[]",
    "null": b"null",
    "a string": b'"AdmissionReview"',
    "an empty object": b"{}",
    "another kind": _bytes({"apiVersion": "v1", "kind": "Pod"}),
    "null request": _bytes({**make_review(), "request": None}),
    "request is a list": _bytes({**make_review(), "request": []}),
    "request is text": _bytes({**make_review(), "request": "x"}),
    "uid is a number": _bytes(make_review(uid=1)),
    "uid is null": _bytes(make_review(uid=None)),
    "uid is empty": _bytes(make_review(uid="")),
    "uid is a list": _bytes(make_review(uid=["a"])),
    "no uid": _bytes({**make_review(), "request": {"operation": "CREATE"}}),
    "kind is another": _bytes({**make_review(), "kind": "Status"}),
    "kind is a number": _bytes({**make_review(), "kind": 1}),
    "version is another": _bytes({**make_review(), "apiVersion": "admission.k8s.io/v2"}),
    "version is a list": _bytes({**make_review(), "apiVersion": []}),
    "100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 lists, open": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nul bytes": b"\0" * 1000,
}

#: Bodies with a uid: it comes back, with 200, and nothing is denied.
REVIEW = {
    "null object": _bytes(make_review(None)),
    "object is a number": _bytes(make_review(1)),
    "object is text": _bytes(make_review("pod")),
    "object is a list": _bytes(make_review([])),
    "object is empty": _bytes(make_review({})),
    "metadata is a list": _bytes(make_review(_pod(metadata=[]))),
    "metadata is null": _bytes(make_review(_pod(metadata=None))),
    "annotations are a list": _bytes(make_review(_pod(metadata={"annotations": []}))),
    "an annotation is a number": _bytes(make_review(_pod(metadata={"annotations": {"pillion.dev/inject": 1}}))),
    "spec is null": _bytes(make_review(_pod(spec=None))),
    "spec is a list": _bytes(make_review(_pod(spec=[]))),
    "containers are an object": _bytes(make_review(_pod(spec={"containers": {}}))),
    "a container is null": _bytes(make_review(_pod(spec={"containers": [None]}))),
    "a container is text": _bytes(make_review(_pod(spec={"containers": ["app"]}))),
    "a container's env is text": _bytes(make_review(_pod(spec={"containers": [{"name": "a", "env": "x"}]}))),
    "volumes are text": _bytes(make_review(_pod(spec={"containers": [{"name": "a"}], "volumes": "x"}))),
    "a volume is null": _bytes(make_review(_pod(spec={"containers": [{"name": "a"}], "volumes": [None]}))),
    "a csi volume is text": _csi("x"),
    "a csi driver is an object": _csi({"driver": {}}),
    "operation is a number": _bytes(make_review(operation=1)),
    "operation is null": _bytes(make_review(operation=None)),
    "kind in the request is text": _bytes(make_review(kind="Pod")),
    "kind in the request is null": _bytes(make_review(kind=None)),
    "namespace is a number": _bytes(make_review(namespace=1)),
    "a deployment": _bytes(
        make_review({"kind": "Deployment"}, kind={"group": "apps", "version": "v1", "kind": "Deployment"})
    ),
    "delete": _bytes(make_review(None, operation="DELETE")),
    "update": _bytes(make_review(operation="UPDATE")),
    "connect": _bytes(make_review(operation="CONNECT", subResource="exec")),
    "a subresource": _bytes(make_review(subResource="ephemeralcontainers")),
    "5,000 digits": _with("9" * 5000),
    "-5,000 digits in a fraction": _with("-0." + "9" * 5000),
    "an exponent of 5,000 digits": _with("1e" + "9" * 5000),
    "NaN": _with("NaN"),
    "Infinity": _with("-Infinity"),
    "lone surrogate": _with('"\\ud800"'),
    "raw lone surrogate": _with('"@"').replace(b'"@"', b'"\xed\xa0\x80"'),
    "control character": _with('"\x01"'),
    "duplicate keys": _with('1, "unknown": 2'),
    "duplicate annotations": _with('1, "annotations": {"pillion.dev/inject": "false"}'),
    "2,500 levels": _with("[" * 2500 + "]" * 2500),
    "10,000 levels": _with("[" * 10_000 + "]" * 10_000),
    "200,000 open references": _bytes(
        make_review(_pod(spec={"containers": [{"name": "a", "args": ["$(" * 200_000], "envFrom": [{}]}]}))
    ),
    "byte order mark": b"\xef\xbb\xbf" + _bytes(make_review()),
    "trailing text": _bytes(make_review()) + b" x",
    "two reviews": _bytes(make_review()) * 2,
}

#: Of those, the ones where even the lenient reader finds no single document.
NO_DOCUMENT = {"trailing text", "two reviews", "10,000 levels", "control character", "raw lone surrogate"}


@pytest.fixture(autouse=True)
def stays_alive(server: Running) -> Iterator[None]:
    """After each body, the server answers a good review as ever, and has answered nothing with 5xx."""
    yield
    response = server.post(_bytes(make_review()))
    assert response.json()["response"]["patchType"] == "JSONPatch"
    assert not [line for line in server.log() if line["event"] == "unexpected exception"]


@pytest.mark.parametrize("body", NO_REVIEW.values(), ids=NO_REVIEW)
def test_what_is_no_review_is_answered_with_a_sentence(server: Running, body: bytes) -> None:
    """A body without a uid gets 400 and one JSON sentence, without a trace of our code."""
    response = server.post(body)
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text


@pytest.mark.parametrize("name", REVIEW)
def test_a_uid_comes_back(server: Running, name: str) -> None:
    """Whatever is wrong with the rest: allowed, with the uid, as far as there is one JSON document."""
    response = server.post(REVIEW[name])
    if name in NO_DOCUMENT:
        assert response.status_code in {200, 400}
        return
    assert response.status_code == 200
    answer = response.json()
    assert answer["kind"] == "AdmissionReview"
    assert answer["response"]["uid"] == UID
    assert answer["response"]["allowed"] is True


def test_v1beta1_is_answered_in_kind(server: Running) -> None:
    """A review of version v1beta1 gets an answer of that version."""
    answer = server.post(_bytes({**make_review(), "apiVersion": "admission.k8s.io/v1beta1"})).json()
    assert answer["apiVersion"] == "admission.k8s.io/v1beta1"
    assert answer["response"]["patchType"] == "JSONPatch"


def test_a_legal_pod_900_levels_deep_is_injected(server: Running) -> None:
    """Managed fields may nest as deep as an API server allows; the pod is injected like any other."""
    pod = make_review()["request"]["object"]
    pod["metadata"]["managedFields"] = [{"fieldsV1": _nested(900)}]
    response = server.post(_bytes(make_review(pod)))
    assert response.json()["response"]["patchType"] == "JSONPatch"


def test_a_pod_of_3_mib_is_injected(server: Running) -> None:
    """The largest object that an API server takes is injected like any other."""
    pod = make_review()["request"]["object"]
    pod["metadata"]["annotations"]["notes"] = "x" * (3 << 20)
    response = server.post(_bytes(make_review(pod)))
    assert response.json()["response"]["patchType"] == "JSONPatch"


def test_a_body_of_8_mib_is_refused(server: Running) -> None:
    """A body beyond the limit gets 413, not a reset connection."""
    before = server.sample("pillion_limit_exceeded_total", limit="body_size")
    response = server.post(b" " * (8 << 20))
    assert response.status_code == 413
    assert server.sample("pillion_limit_exceeded_total", limit="body_size") == before + 1
    assert "7340032" in response.json()["detail"]


def test_a_chunked_body_of_8_mib_is_refused(server: Running) -> None:
    """The limit holds as well where the length was not declared."""
    with server.client() as client:
        response = client.post(
            "/mutate", content=iter([b" " * (1 << 20)] * 8), headers={"Content-Type": "application/json"}
        )
    assert response.status_code == 413


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/yaml", "multipart/form-data", "json"])
def test_another_content_type_is_refused(server: Running, media_type: str) -> None:
    """Only application/json is a review."""
    response = server.post(_bytes(make_review()), **{"Content-Type": media_type})
    assert response.status_code == 415


def test_a_content_type_may_have_parameters(server: Running) -> None:
    """``application/json; charset=utf-8`` is JSON as well."""
    response = server.post(_bytes(make_review()), **{"Content-Type": "Application/JSON; charset=utf-8"})
    assert response.status_code == 200


def test_a_compressed_body_is_refused(server: Running) -> None:
    """An API server never compresses; what is compressed could unpack to anything."""
    response = server.post(_bytes(make_review()), **{"Content-Encoding": "gzip"})
    assert response.status_code == 415


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_refused(server: Running, method: str) -> None:
    """Reviews come by POST; the answer says so."""
    with server.client() as client:
        response = client.request(method, "/mutate")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/mutate/", "/mutate/other", "/metrics", "/docs", "/openapi.json", "/%00", "//"])
def test_another_path_is_not_found(server: Running, path: str) -> None:
    """Nothing but the two entries is served on the webhook's port."""
    response = server.post(_bytes(make_review()), path)
    assert response.status_code in {404, 307}


def test_numbers_beyond_2_to_the_53_survive(server: Running) -> None:
    """A review with numbers that no double holds is injected, and no operation touches them."""
    pod = make_review()["request"]["object"]
    pod["spec"]["unknown"] = 9007199254740993
    response = server.post(_bytes(make_review(pod)))
    assert response.json()["response"]["patchType"] == "JSONPatch"


def test_a_log_line_can_not_be_forged(server: Running) -> None:
    """Line ends and terminal codes in a pod's name stay inside one line of the log."""
    server.post(_bytes(make_review(name='x\n{"event":"review","uid":"forged"}\x1b[2J\u2028\u202e')))
    line = eventually(lambda: [line for line in server.log() if "forged" in line.get("pod", "")])[-1]
    assert line["uid"] == UID
    assert line["pod"].isprintable()


def test_a_very_long_uid_comes_back_whole_and_is_logged_short(server: Running) -> None:
    """The answer must have the uid as it was; the log need not."""
    uid = "u" * 100_000
    assert server.post(_bytes(make_review(uid=uid))).json()["response"]["uid"] == uid
    line = eventually(lambda: [line for line in server.log() if line.get("uid", "").startswith("uuu")])[-1]
    assert len(line["uid"]) <= 256
