"""AdmissionReview bytes to a request, and back."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from webhook.errors import ReviewError
from webhook.injection.edit import Operation, encode_patch
from webhook.injection.review import MAX_LENIENT_BYTES, POD, Request, Response, encode_review, parse_review


def body(**fields: Any) -> bytes:
    """Return a review; ``fields`` are its request's."""
    request = {"uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", **fields}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_the_pod_has_its_metadata_and_a_raw_spec() -> None:
    """Most pods are decided upon by their metadata alone."""
    pod = parse_review(body(object={"metadata": {"name": "p"}, "spec": {"x": 9007199254740993}})).decode_pod()
    assert pod is not None
    assert pod.metadata is not None
    assert pod.metadata.name == "p"
    assert json.loads(bytes(pod.spec)) == {"x": 9007199254740993}


@pytest.mark.parametrize("fields", [{}, {"object": None}], ids=["missing", "null"])
def test_a_request_without_an_object_has_no_pod(fields: dict[str, Any]) -> None:
    """As for a deletion."""
    assert parse_review(body(**fields)).decode_pod() is None


@pytest.mark.parametrize("content", [1, "pod", [], {"metadata": []}, {"metadata": {"annotations": {"a": 1}}}])
def test_an_object_that_is_no_pod_is_read_when_it_is_asked_for(content: Any) -> None:
    """The request is there; the pod's error names the place in the pod, not in the review."""
    request = parse_review(body(object=content))
    assert request.uid == "u"
    with pytest.raises(msgspec.ValidationError) as caught:
        request.decode_pod()
    assert "$.request" not in str(caught.value)


def test_a_body_can_not_opt_its_namespace_in() -> None:
    """Nor choose the version or metadata that we answer with: those fields are ours."""
    request = parse_review(body(namespace_opted_in=True, api_version="x", metadata={"name": "forged"}))
    assert not request.namespace_opted_in
    assert request.api_version == "admission.k8s.io/v1"
    assert request.pod_name == ""


@pytest.mark.parametrize(
    ("metadata", "name", "expected"),
    [
        ({"name": "p"}, None, "p"),
        ({"generateName": "p-"}, None, "p-*"),
        ({"generateName": "p-"}, "p-1", "p-1"),
        ({}, None, ""),
        (None, None, ""),
    ],
)
def test_a_pod_is_called_by_its_name_or_the_beginning_of_it(
    metadata: dict[str, str] | None, name: str | None, expected: str
) -> None:
    """For the log: a controller's pod has no name yet. It is known of a pod that nobody decides on, too."""
    request = parse_review(body(name=name, object={"metadata": metadata}))
    assert request.pod_name == expected
    request.decode_pod()
    assert request.pod_name == expected


def test_asking_twice_for_the_pod_gives_it_twice() -> None:
    """Also where it was raw at first."""
    request = Request("u", object=msgspec.Raw(b'{"metadata":{"name":"p"}}'))
    assert request.decode_pod() == request.decode_pod()
    assert request.pod_name == "p"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Status"}, "expected kind AdmissionReview"),
        ({"apiVersion": "admission.k8s.io/v2"}, "expected apiVersion"),
        ({"request": {"uid": ""}}, "uid is empty"),
        ({"request": {}}, "no request.uid"),
        ({"request": []}, "no request.uid"),
    ],
)
def test_what_is_no_review_is_refused(change: dict[str, Any], message: str) -> None:
    """The error says what was expected."""
    document = {**json.loads(body()), **change}
    with pytest.raises(ReviewError, match=message):
        parse_review(json.dumps(document).encode())


def raw(request: str, rest: str = "") -> bytes:
    """Return a review whose request is this text."""
    return f'{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"{rest},"request":{request}}}'.encode()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param('{"uid": "u", "dryRun": ' + "9" * 5000 + "}", id="a number that no program counts to"),
        pytest.param('{"uid": "u", "kind": []}', id="a kind that is none"),
        pytest.param('{"uid": "u", "dryRun": NaN}', id="no JSON, nearly"),
        pytest.param('{"uid": "u", "operation": 5}', id="an operation that is none"),
    ],
)
def test_what_has_a_uid_is_answered(request_: str) -> None:
    """Whatever else is in it: its object is no pod, which is found out when it is read."""
    request = parse_review(raw(request_), namespace_opted_in=True)
    assert (request.uid, request.operation, request.kind.kind) == ("u", "CREATE", "Pod")
    assert request.namespace_opted_in
    with pytest.raises(msgspec.ValidationError):
        request.decode_pod()


def test_a_uid_that_no_answer_can_have_is_made_one() -> None:
    """Half of a character can't be sent back."""
    assert parse_review(raw('{"uid": "u\\ud800", "kind": 5}')).uid == "u?"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"{", "not JSON", id="half of it"),
        pytest.param(b"\xff", "not JSON", id="no text"),
        pytest.param(b"[" * 200_000, "nested too deeply", id="deep"),
        pytest.param(b"[]", "no request.uid", id="a list"),
        pytest.param(raw('{"uid": 5}'), "no request.uid", id="a number for a uid"),
        pytest.param(raw('{"uid": "u", "kind": 5}').replace(b'"AdmissionReview"', b"5"), "expected kind", id="no kind"),
        pytest.param(
            raw('{"uid": "u", "kind": 5}').replace(b'"admission.k8s.io/v1"', b"5"),
            "expected apiVersion",
            id="no version",
        ),
    ],
)
def test_a_body_that_is_no_review_is_refused(body: bytes, message: str) -> None:
    """With the status of a bad request."""
    with pytest.raises(ReviewError, match=message) as raised:
        parse_review(body)
    assert raised.value.status == 400


def test_a_large_body_is_not_read_a_second_time() -> None:
    """To read it into dictionaries takes many times its size in memory."""
    fits = MAX_LENIENT_BYTES - len(raw('{"uid": "u", "kind": "5"}')) + 1
    assert parse_review(raw('{"uid": "u", "kind": 5}', f',"x":"{"y" * (fits - 6)}"')).uid == "u"
    with pytest.raises(ReviewError, match="not JSON"):
        parse_review(raw('{"uid": "u", "kind": 5}', f',"x":"{"y" * fits}"'))


def test_what_is_missing_is_empty() -> None:
    """A request may have a uid and nothing else; null is the same."""
    fields = ("kind", "operation", "namespace", "name", "subResource", "dryRun")
    for request in (parse_review(raw('{"uid": "u"}')), parse_review(body(**dict.fromkeys(fields)))):
        assert request == Request("u")
    assert parse_review(body(name="n", namespace="s", subResource="r", dryRun=True)) == Request(
        "u", POD, "CREATE", "s", "n", "r", dryRun=True
    )


def test_an_answer_has_the_patch_in_base64() -> None:
    """In the version of the request, with its uid."""
    patch = encode_patch([Operation("add", "/a", 1)])
    request = Request("u", api_version="admission.k8s.io/v1beta1")
    answer = json.loads(encode_review(request, Response("u", allowed=True, patchType="JSONPatch", patch=patch)))
    assert answer["apiVersion"] == "admission.k8s.io/v1beta1"
    assert answer["response"]["uid"] == "u"
    assert json.loads(base64.b64decode(answer["response"]["patch"])) == [{"op": "add", "path": "/a", "value": 1}]


def test_an_answer_without_a_patch_has_none() -> None:
    """Nothing that is not needed is sent."""
    answer = json.loads(encode_review(Request("u"), Response("u", allowed=True)))
    assert answer["response"] == {"uid": "u", "allowed": True}
