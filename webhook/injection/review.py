"""AdmissionReview bytes to a request, and a request and its response to bytes.

Source: the Kubernetes API, admission.k8s.io/v1 (v1beta1 has the same fields and is answered in kind).
"""

import json
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from webhook.errors import ReviewError
from webhook.injection.pod import Metadata, Pod

__all__ = ["Request", "Response", "encode_review", "parse_review"]

API_VERSIONS = frozenset({"admission.k8s.io/v1", "admission.k8s.io/v1beta1"})


class Kind(Struct):
    """A group, version and kind."""

    group: str = ""
    version: str = ""
    kind: str = ""


class Request(Struct):
    """``request`` of an AdmissionReview: only what is looked at.

    ``object`` is read with the envelope where it looks like a pod, and stays raw otherwise until somebody asks.
    """

    uid: str
    kind: Kind = msgspec.field(default_factory=Kind)
    operation: str = ""
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None
    dryRun: bool | None = None
    object: Pod | Raw | None = None
    api_version: str = "admission.k8s.io/v1"
    #: The entry's URL path says that the namespace opted in; nothing in a body can.
    namespace_opted_in: bool = False
    #: Filled in when the pod is read, for the log line.
    metadata: Metadata | None = None

    def decode_pod(self) -> Pod | None:
        """Return the pod with its spec still raw, or None where the object is null; msgspec's errors otherwise."""
        if isinstance(self.object, Raw):
            self.object = _decode_pod(self.object) if bytes(self.object) else None
        pod = self.object
        self.metadata = pod.metadata if pod is not None else None
        return pod

    @property
    def pod_name(self) -> str:
        """Return the pod's name or its ``generateName`` with a ``*``, for people."""
        metadata = self.metadata or Metadata()
        return self.name or metadata.name or (f"{metadata.generateName}*" if metadata.generateName else "")


_Object = TypeVar("_Object")


class _WireRequest(Struct, Generic[_Object], gc=False):
    uid: str
    kind: Kind | None = None
    operation: str | None = None
    namespace: str | None = None
    name: str | None = None
    subResource: str | None = None
    dryRun: bool | None = None
    object: _Object = None  # type: ignore[assignment]  # a request without an object has no pod


class _Envelope(Struct, Generic[_Object], gc=False):
    request: _WireRequest[_Object]
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
_decode_pod = msgspec.json.Decoder(Pod | None).decode
_encode = msgspec.json.Encoder().encode


def parse_review(body: bytes, *, namespace_opted_in: bool = False) -> Request:
    """Return the request in an AdmissionReview's bytes.

    A body with a uid but with contents that no pod has gives a request without an object: it is answered, not
    refused. Raises :class:`ReviewError` for everything that is no AdmissionReview.
    """
    try:
        envelope = _decode_once(body)
        wire = envelope.request
        request = Request(
            uid=wire.uid,
            kind=wire.kind or Kind(),
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
    if kind != "AdmissionReview":
        raise ReviewError(f"expected kind AdmissionReview, got {kind[:60]!r}")
    if request.api_version not in API_VERSIONS:
        raise ReviewError(f"expected apiVersion admission.k8s.io/v1, got {request.api_version[:60]!r}")
    if not request.uid:
        raise ReviewError("request.uid is empty")
    request.namespace_opted_in = namespace_opted_in
    return request


def _decode_once(body: bytes) -> _Envelope[Pod | None] | _Envelope[Raw]:
    """Return the envelope and, in the same pass, the pod in it; what is no pod stays raw."""
    try:
        return _decode_with_pod(body)
    except (msgspec.MsgspecError, RecursionError):
        return _decode_envelope(body)


#: Reading a body into dictionaries takes many times its size in memory, and the loop for as long as it takes.
MAX_LENIENT_BYTES = 256 * 1024


def _no_number(_: str) -> None:
    return None


def _parse_leniently(body: bytes) -> tuple[Request, str]:
    """Find uid and kind in a body that the strict decoder refused: no API server sends one, attackers do."""
    if len(body) > MAX_LENIENT_BYTES:
        raise ReviewError("the body is no AdmissionReview: not JSON")
    try:
        # no number is looked at, and one of 5,000 digits must cost nothing
        document = json.loads(body, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise ReviewError(f"the body is no AdmissionReview: {reason}") from None
    wire = document.get("request") if isinstance(document, dict) else None
    uid = wire.get("uid") if isinstance(wire, dict) else None
    if not isinstance(uid, str):
        raise ReviewError("the body is no AdmissionReview: no request.uid")
    uid = uid.encode("utf-8", "replace").decode()
    kind = document.get("kind")
    version = document.get("apiVersion")
    request = Request(
        uid=uid,
        # an object that is not even JSON to the strict decoder is no pod, which is found out when it is read
        object=Raw(b"0"),
        kind=Kind(kind="Pod", version="v1"),
        operation="CREATE",
        api_version=version if isinstance(version, str) else "",
    )
    return request, kind if isinstance(kind, str) else ""


def encode_review(request: Request, response: Response) -> bytes:
    """Return the AdmissionReview that answers ``request``, in its own version."""
    return _encode(_AnsweredReview(request.api_version, "AdmissionReview", response))
