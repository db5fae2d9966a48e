"""Answers admission reviews over HTTP, and counts and logs each."""

import time
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from certs import duration
from certs.logs import Log, traceback_fields
from webhook.errors import ReviewError
from webhook.injection import admission
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason
from webhook.injection.review import ObjectRequest, Response, encode_review, parse_object_review, parse_review
from webhook.injection.verdict import Verdict, unexamined_verdict
from webhook.service.http.asgi import JSON, Header, error_body, respond
from webhook.service.metrics import ExceptionSource, Limit, Metrics
from webhook.service.settings import Settings
from webhook.service.state import LiveState
from webhook.workloads import applied
from webhook.workloads.applied import Lint, LintResult

__all__ = ["ReviewEndpoint", "ReviewService"]

#: The share of the caller's timeout after which a pod is no longer decided on: sending the response takes time, too.
DEADLINE_SHARE = 0.9

#: The HTTP parser accepts 64 bits with any number of leading zeros; Python refuses to parse thousands of digits.
LENGTH_DIGITS = 20

#: Longer queries are cut, so that the cache stays small; no API server's query is longer.
QUERY_LENGTH = 256


class LintedRequest(NamedTuple):
    """A request to lint an object, and the result."""

    request: ObjectRequest
    lint: Lint


class HttpResponse(NamedTuple):
    """An HTTP response, and the verdict, the lint or the error that it was made from."""

    status: int
    body: bytes
    result: Verdict | LintedRequest | None
    patch_size: int = 0
    error: str = ""
    headers: tuple[Header, ...] = ()


class Handler(Protocol):
    """Returns the 200 response to a review.

    Raises :class:`ReviewError` for any other body, and without a configuration.
    """

    def __call__(self, body: bytes, *, namespace_opted_in: bool, past_deadline: bool) -> HttpResponse:
        """Return the response."""


class ReviewService:
    """Answers reviews within the limits on one body and on all buffered bodies; counts and logs each."""

    def __init__(self, state: LiveState, settings: Settings, metrics: Metrics, log: Log) -> None:
        self.state = state
        self.settings = settings
        self.metrics = metrics
        self.log = log
        #: Requests whose head is complete and whose response is not yet computed.
        self.in_flight = 0
        #: Bytes of their bodies.
        self.buffered = 0
        metrics.observe_requests(lambda: self.in_flight, lambda: self.buffered)

    def review(self, body: bytes, *, namespace_opted_in: bool, past_deadline: bool) -> HttpResponse:
        """Return the decision on a pod.

        Raises :class:`ReviewError` if the body is not a review, or if there is no configuration.
        """
        request = parse_review(body, namespace_opted_in=namespace_opted_in)
        configuration = self._configuration()
        try:
            if past_deadline:
                return _review_response(unexamined_verdict(request, Reason.DEADLINE, configuration))
            return _review_response(admission.admit(request, configuration))
        except Exception as error:  # noqa: BLE001 — a bug of ours must not deny a pod
            verdict = unexamined_verdict(request, Reason.INTERNAL_ERROR, configuration)
            verdict.error = error
            return _review_response(verdict)

    def lint(self, body: bytes, *, namespace_opted_in: bool, past_deadline: bool) -> HttpResponse:
        """Return what to tell the author of an object, which is always allowed. Raises as :meth:`review`."""
        request = parse_object_review(body)
        configuration = self._configuration()
        lint = (
            Lint(LintResult.FAILED)
            if past_deadline
            else applied.lint(request, configuration, namespace_opted_in=namespace_opted_in)
        )
        response = Response(request.uid, allowed=True, warnings=list(lint.warnings) or None)
        return HttpResponse(200, encode_review(request, response), LintedRequest(request, lint))

    def _configuration(self) -> Configuration:
        configuration = self.state.configuration
        if configuration is None:
            # as if nobody answered: the entry's failurePolicy decides
            raise ReviewError("this server has no valid configuration", 503)
        return configuration

    def check_size(self, size: int) -> ReviewError | None:
        """Count a limit that a body of ``size`` bytes exceeds, and return the error; None if it exceeds none.

        Half of the memory for all bodies is divided among the connections: whatever other clients hold, a body up to
        its connection's share is read. The share is several times the size of an ordinary review.
        """
        settings = self.settings
        if size > settings.max_body_size:
            self.metrics.count_exceeded_limit(Limit.BODY_SIZE)
            return ReviewError(f"the body is larger than {settings.max_body_size} bytes", 413)
        half = settings.max_buffered_bodies_size // 2
        if size > half // settings.max_connections and self.buffered > half:
            self.metrics.count_exceeded_limit(Limit.BUFFERED_BODIES)
            return ReviewError("too many large requests at once", 429)
        return None

    def record(self, response: HttpResponse, seconds: float) -> None:
        """Count and log a response that was sent."""
        match response.result:
            case None:
                self.metrics.count_bad_request(response.status)
                self.log.warning("bad request", status=response.status, message=response.error)
            case LintedRequest(request, lint):
                self._record_lint(request, lint, seconds)
            case Verdict() as verdict:
                self._record_review(verdict, seconds, response.patch_size)

    def _record_lint(self, request: ObjectRequest, lint: Lint, seconds: float) -> None:
        self.metrics.count_lint(lint.result, lint.reasons)
        self.log.info(
            "lint",
            uid=request.uid,
            namespace=request.namespace or "",
            object=lint.title or request.name or "",
            result=lint.result.value,
            milliseconds=round(seconds * 1000, 3),
            **({"warnings": "; ".join(lint.warnings)} if lint.warnings else {}),
        )
        if lint.error is not None:
            self._record_exception(ExceptionSource.LINT, request.uid, lint.error)

    def _record_review(self, verdict: Verdict, seconds: float, patch_size: int) -> None:
        outcome = verdict.outcome
        self.metrics.count_review(outcome, verdict.reason.value, verdict.profile_name, seconds, patch_size)
        request = verdict.request
        log, extra = self.log.info, {}
        if warned := verdict.warned_findings:
            self.metrics.count_warnings({finding.reason for finding in warned})
            # nobody sees the warnings of a pod that a controller creates, so they are logged
            log, extra = self.log.warning, {"warnings": "; ".join(verdict.warnings)}
        log(
            "review",
            uid=request.uid,
            namespace=request.namespace or "",
            pod=request.pod_name,
            outcome=outcome.value,
            reason=verdict.reason.value,
            profile=verdict.profile_name,
            revision=verdict.revision,
            milliseconds=round(seconds * 1000, 3),
            **extra,
        )
        if verdict.error is not None:
            self._record_exception(ExceptionSource.REVIEW, request.uid, verdict.error)

    def _record_exception(self, where: ExceptionSource, uid: str, error: BaseException) -> None:
        self.metrics.count_exception(where)
        self.log.error("unexpected exception", uid=uid, **traceback_fields(type(error), error.__traceback__))


class ReviewEndpoint:
    """The ASGI application of one webhook entry's path."""

    def __init__(self, service: ReviewService, handler: Handler, *, namespace_opted_in: bool) -> None:
        self._service = service
        self._handler = handler
        self._namespace_opted_in = namespace_opted_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        service = self._service
        started = scope["state"]["head_complete_at"]
        service.in_flight += 1
        try:
            body = await self._read(scope, receive)
            past_deadline = time.monotonic() - started >= _decision_time_limit(scope["query_string"])
            response = self._handler(body, namespace_opted_in=self._namespace_opted_in, past_deadline=past_deadline)
        except ReviewError as error:
            response = _error_response(error)
        except ClientDisconnected:
            return
        finally:
            service.in_flight -= 1
        await respond(send, response.status, response.body, JSON, *response.headers)
        service.record(response, time.monotonic() - started)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the request's body; raise :class:`ReviewError` if it, or all bodies together, are too large.

        A body that is too large is read to its end and discarded: otherwise a client that is still sending would see a
        connection reset instead of the response. ``Connection`` limits how much is read.
        """
        service = self._service
        headers = dict(scope["headers"])
        _check_head(scope["method"], headers)
        error = service.check_size(_content_length(headers))
        if error is not None and headers.get(b"expect", b"").lower() == b"100-continue":
            raise error  # the client waits for permission before it sends the body
        # one growing block: a list of chunks would fragment the heap
        body = bytearray()
        size, more = 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnected
                chunk, more = message["body"], message["more_body"]
                if error is not None:
                    continue
                size += len(chunk)
                service.buffered += len(chunk)
                body += chunk
                error = service.check_size(size)
                if error is not None:
                    # make room for other bodies now, not when the rest of this one has been read
                    body.clear()
                    service.buffered -= size
                    size = 0
        finally:
            service.buffered -= size
        if error is not None:
            raise error
        return bytes(body)


class ClientDisconnected(Exception):  # noqa: N818 — not an error
    """The client closed the connection before its request was complete."""


def _check_head(method: str, headers: dict[bytes, bytes]) -> None:
    """Raise :class:`ReviewError` for a head that no API server sends."""
    if method != "POST":
        raise ReviewError("admission reviews are sent by POST", 405)
    media_type = headers.get(b"content-type", b"")
    if media_type != JSON[1] and media_type.partition(b";")[0].strip().lower() != JSON[1]:
        raise ReviewError("admission reviews are application/json; set the Content-Type", 415)
    if headers.get(b"content-encoding", b"") not in {b"", b"identity"}:
        raise ReviewError("admission reviews are not compressed; leave Content-Encoding out", 415)


def _content_length(headers: dict[bytes, bytes]) -> int:
    """Return the Content-Length, 0 without one; raise :class:`ReviewError` if it is too long to be parsed."""
    length = headers.get(b"content-length", b"0")
    if len(length) > LENGTH_DIGITS:
        raise ReviewError("the Content-Length has too many digits")
    return int(length)


def _review_response(verdict: Verdict) -> HttpResponse:
    response = verdict.response()
    return HttpResponse(200, encode_review(verdict.request, response), verdict, len(response.patch or b""))


def _error_response(error: ReviewError) -> HttpResponse:
    headers = ((b"allow", b"POST"),) if error.status == HTTPStatus.METHOD_NOT_ALLOWED else ()
    detail = str(error)
    return HttpResponse(error.status, error_body(detail), None, error=detail, headers=headers)


# an API server's queries are few and repeat
@lru_cache(maxsize=64)
def _decision_time_limit(query: bytes) -> float:
    """Return the seconds after which a pod is no longer decided on; infinite if the query has no timeout.

    An API server sends the entry's ``timeoutSeconds``, at most 30, less the time that it has already spent.
    """
    try:
        texts = parse_qs(query[:QUERY_LENGTH].decode()).get("timeout", [""])
        return duration.seconds(texts[0]) * DEADLINE_SHARE
    except ValueError:
        return float("inf")
