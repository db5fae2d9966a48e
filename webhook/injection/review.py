"""AdmissionReview bytes to a request, and a request and its response to bytes.

Source: the Kubernetes API, admission.k8s.io/v1 (v1beta1 has the same fields and is answered in the same version).
"""

import json
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.errors import ReviewError
from webhook.injection.pod import ObjectMeta, Pod

__all__ = [
    "POD",
    "ObjectRequest",
    "Request",
    "Response",
    "creation_request",
    "encode_review",
    "parse_object_review",
    "parse_review",
]

API_VERSIONS = frozenset({"admission.k8s.io/v1", "admission.k8s.io/v1beta1"})


class GroupVersionKind(Struct, frozen=True):
    """A group, version and kind."""

    group: str = ""
    version: str = ""
    kind: str = ""


POD = GroupVersionKind("", "v1", "Pod")


class Request(Struct):
    """``request`` of an AdmissionReview: only the fields that are needed.

    ``object`` is decoded together with the envelope if it is a valid pod. Otherwise it stays raw until
    :meth:`decode_pod` is called.
    """

    uid: str
    kind: GroupVersionKind = msgspec.field(default_factory=GroupVersionKind)
    operation: str = ""
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None
    dryRun: bool | None = None  # not used: the decision is the same
    object: Pod | Raw | None = None
    api_version: str = "admission.k8s.io/v1"
    #: Known from the URL path of the webhook entry; a body can't set it.
    namespace_opted_in: bool = False

    def decode_pod(self) -> Pod | None:
        """Decode ``object``, store it, and return it; None if the object is null.

        The spec stays raw. Raises msgspec's errors for an invalid pod.
        """
        if isinstance(self.object, Raw):
            self.object = _decode_pod(self.object) if bytes(self.object) else None
        return self.object

    @property
    def pod_name(self) -> str:
        """Return the pod's name, or its ``generateName`` followed by ``*``, for people."""
        metadata = (self.object.metadata if isinstance(self.object, Pod) else None) or ObjectMeta()
        return self.name or metadata.name or (f"{metadata.generateName}*" if metadata.generateName else "")


def creation_request(
    pod: Raw, *, namespace_opted_in: bool, uid: str, namespace: str | None = None, name: str | None = None
) -> Request:
    """Return the request that the API server would send if this pod (as JSON) were created now."""
    return Request(
        uid=uid,
        kind=POD,
        operation="CREATE",
        namespace=namespace,
        name=name,
        object=pod,
        namespace_opted_in=namespace_opted_in,
    )


_Object = TypeVar("_Object")


class _WireRequest(Struct, Generic[_Object], gc=False):
    uid: str
    kind: GroupVersionKind | None = None
    operation: str | None = None
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None
    dryRun: bool | None = None
    object: _Object = None  # type: ignore[assignment]  # a request may have no object


class _Envelope(Struct, Generic[_Object], gc=False):
    request: _WireRequest[_Object]
    apiVersion: str
    kind: str


class ObjectRequest(Struct):
    """``request`` of an AdmissionReview of any kind of object. Objects stay raw; empty: there is none."""

    uid: str
    operation: str | None = None
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None
    object: Raw = Raw()
    oldObject: Raw = Raw()
    api_version: str = "admission.k8s.io/v1"


class _ObjectEnvelope(Struct):
    request: ObjectRequest
    apiVersion: str
    kind: str


class Response(Struct, omit_defaults=True):
    """``response`` of an AdmissionReview. ``patch`` is the JSON Patch document; bytes are encoded as base64."""

    uid: str
    allowed: bool
    patchType: str | None = None
    patch: bytes | None = None
    warnings: list[str] | None = None
    auditAnnotations: dict[str, str] | None = None
    status: dict[str, Any] | None = None


class _AnsweredReview(Struct):
    apiVersion: str
    kind: str
    response: Response


_decode_envelope = msgspec.json.Decoder(_Envelope[Raw]).decode
_decode_with_pod = msgspec.json.Decoder(_Envelope[Pod | None]).decode
_decode_objects = msgspec.json.Decoder(_ObjectEnvelope).decode
_decode_pod = msgspec.json.Decoder(Pod | None).decode
_encode = msgspec.json.Encoder().encode


def parse_review(body: bytes, *, namespace_opted_in: bool = False) -> Request:
    """Return the request in an AdmissionReview's bytes.

    A body with a uid whose object is not a valid pod is a request, too: its pod is reviewed as ``unreadable_pod``.
    Raises :class:`ReviewError` for a body that is not an AdmissionReview.
    """
    try:
        envelope = _decode_envelope_and_pod(body)
        wire = envelope.request
        request = Request(
            uid=wire.uid,
            kind=wire.kind or GroupVersionKind(),
            operation=wire.operation or "",
            namespace=wire.namespace,
            name=wire.name,
            subResource=wire.subResource,
            dryRun=wire.dryRun,
            object=wire.object,
            api_version=envelope.apiVersion,
        )
        kind = envelope.kind
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        request, kind = _parse_leniently(body)
    _check(request, kind)
    request.namespace_opted_in = namespace_opted_in
    return request


def parse_object_review(body: bytes) -> ObjectRequest:
    """Return the request in an AdmissionReview of any kind of object; :class:`ReviewError` for what is none."""
    try:
        envelope = _decode_objects(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ReviewError("the body is not an AdmissionReview: a field has the wrong type, or it is not JSON") from None
    request = envelope.request
    request.api_version = envelope.apiVersion
    _check(request, envelope.kind)
    return request


def _check(request: Request | ObjectRequest, kind: str) -> None:
    if kind != "AdmissionReview":
        raise ReviewError(f"expected kind AdmissionReview, got {kind[:60]!r}")
    if request.api_version not in API_VERSIONS:
        raise ReviewError(f"expected apiVersion admission.k8s.io/v1, got {request.api_version[:60]!r}")
    if not request.uid:
        raise ReviewError("request.uid is empty")


def _decode_envelope_and_pod(body: bytes) -> _Envelope[Pod | None] | _Envelope[Raw]:
    """Return the envelope with its pod decoded in the same pass, or with a raw object if it is not a valid pod."""
    try:
        return _decode_with_pod(body)
    except (msgspec.MsgspecError, RecursionError):
        return _decode_envelope(body)


#: A body as dictionaries takes many times its size in memory, and decoding it blocks the event loop.
MAX_LENIENT_BYTES = 256 * 1024


def _no_number(_: str) -> None:
    return None


def _parse_leniently(body: bytes) -> tuple[Request, str]:
    """Find uid and kind in a body that the strict decoder rejected: no API server sends one."""
    if len(body) > MAX_LENIENT_BYTES:
        raise ReviewError("the body is not an AdmissionReview: a field has the wrong type, or it is not JSON")
    try:
        # no number is needed, and converting one of 5,000 digits would be slow
        document = json.loads(body, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise ReviewError(f"the body is not an AdmissionReview: {reason}") from None
    wire = document.get("request") if isinstance(document, dict) else None
    uid = wire.get("uid") if isinstance(wire, dict) else None
    if not isinstance(uid, str):
        raise ReviewError("the body is not an AdmissionReview: no request.uid")
    uid = uid.encode("utf-8", "replace").decode()
    kind = document.get("kind")
    version = document.get("apiVersion")
    request = Request(
        uid=uid,
        # decode_pod() will fail on this, so the review is answered with unreadable_pod
        object=Raw(b"0"),
        kind=POD,
        operation="CREATE",
        api_version=version if isinstance(version, str) else "",
    )
    return request, kind if isinstance(kind, str) else ""


def encode_review(request: Request | ObjectRequest, response: Response) -> bytes:
    """Return the AdmissionReview with the response to ``request``, in the request's API version."""
    return _encode(_AnsweredReview(request.api_version, "AdmissionReview", response))
