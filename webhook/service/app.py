"""The FastAPI applications: admission reviews on one port, health and metrics on the other."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import FastAPI
from prometheus_client.exposition import choose_encoder
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.errors import ReviewError
from webhook.injection import admission, review
from webhook.injection.admission import Verdict
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason, Severity
from webhook.injection.review import Request
from webhook.service import duration, logs
from webhook.service.logs import Log
from webhook.service.metrics import FAILURES, Bug, Limit, Metrics, Outcome
from webhook.service.settings import Settings

__all__ = ["OPTED_IN_PATH", "PATH", "InForce", "health_app", "webhook_app"]

#: Pods that ask by annotation.
PATH = "/mutate"
#: Pods of namespaces that opted in: the entry's ``namespaceSelector`` knows, we read no namespaces.
OPTED_IN_PATH = "/mutate/opted-in"

#: An API server sends its ``timeoutSeconds``, at most 30, less what it has used up.
TIMEOUT = re.compile(rb"(?:^|&)timeout=([^&]{1,40})")

#: The share of the caller's timeout after which it is too late to look at a pod: the answer must travel, too.
LATE = 0.9

JSON = (b"content-type", b"application/json")


@dataclass(slots=True)
class InForce:
    """What answers are made of now; reloads and signals change it while the server runs."""

    configuration: Configuration
    certificate_end: datetime | None = None
    draining: bool = False
    objection: Callable[[datetime], str] = lambda _: ""
    """Why the certificate must not be shown now; empty where nothing is to be said against it."""

    def unready(self, now: datetime) -> str:
        """Return why no requests should be sent here, or nothing."""
        if self.draining:
            return "draining: this server is about to leave"
        if self.certificate_end is not None and now > self.certificate_end:
            return f"the certificate ended {self.certificate_end:%FT%TZ}"
        return self.objection(now)


def webhook_app(in_force: InForce, settings: Settings, metrics: Metrics, log: Log) -> FastAPI:
    """Return the application that answers admission reviews."""
    answers = Answers(in_force, settings, metrics, log)
    return App({PATH: Reviews(answers, opted_in=False), OPTED_IN_PATH: Reviews(answers, opted_in=True)})


def health_app(in_force: InForce, metrics: Metrics) -> FastAPI:
    """Return the application for the plain port: liveness, readiness and metrics."""

    async def livez(_scope: Scope, _receive: Receive, send: Send) -> None:
        await _send(send, 200, b"ok\n", _TEXT)

    async def readyz(_scope: Scope, _receive: Receive, send: Send) -> None:
        why = in_force.unready(datetime.now(UTC))
        await _send(send, 503 if why else 200, f"{why or 'ok'}\n".encode(), _TEXT)

    async def exposition(scope: Scope, _receive: Receive, send: Send) -> None:
        accept = _header(scope, b"accept").decode("latin-1")
        encode, content_type = choose_encoder(accept)
        await _send(send, 200, encode(metrics.registry), (b"content-type", content_type.encode()))

    return App({"/livez": _Get(livez), "/readyz": _Get(readyz), "/metrics": _Get(exposition)})


class App(FastAPI):
    """A FastAPI application whose paths are raw ASGI applications, asked before FastAPI's middleware.

    Middleware, routing, dependencies and serialization take several times what a review takes. FastAPI answers
    everything else. There are no documentation pages and no telemetry: nothing leaves unasked.
    """

    def __init__(self, paths: Mapping[str, ASGIApp]) -> None:
        telemetry = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
        off: dict[str, Any] = {"telemetry": telemetry}
        super().__init__(title="Pillion", openapi_url=None, docs_url=None, redoc_url=None, **off)
        self._paths = paths
        self.router.routes += [Route(path, app) for path, app in paths.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        app = self._paths.get(scope["path"]) if scope["type"] == "http" else None
        await (super().__call__ if app is None else app)(scope, receive, send)


class Answers:
    """Turns a review's bytes into the answer's, and leaves a metric and a line in the log."""

    def __init__(self, in_force: InForce, settings: Settings, metrics: Metrics, log: Log) -> None:
        self.in_force = in_force
        self.settings = settings
        self.metrics = metrics
        self.log = log
        self.in_flight = 0
        self.buffered = 0
        metrics.count_buffered(lambda: self.buffered)

    def answer(self, body: bytes, *, opted_in: bool, late: bool) -> "Answer":
        """Return the answer to a review; :class:`ReviewError` if the body is none."""
        request = review.parse(body, namespace_opted_in=opted_in)
        try:
            return _answer(self._decide(request, late=late))
        except Exception as error:  # noqa: BLE001 — the promise: our bugs refuse nobody's pod
            verdict = admission.abstain(request, Reason.INTERNAL_ERROR, self.in_force.configuration)
            verdict.error = error
            return _answer(verdict)

    def _decide(self, request: Request, *, late: bool) -> Verdict:
        configuration = self.in_force.configuration
        if late:
            return admission.abstain(request, Reason.DEADLINE, configuration)
        if self.in_flight > self.settings.max_in_flight:
            return admission.abstain(request, Reason.OVERLOADED, configuration)
        return admission.admit(request, configuration)

    def too_large(self, size: int) -> ReviewError | None:
        """Return why a body of ``size`` bytes can't be taken, or None."""
        if size > self.settings.max_body:
            self.metrics.exceeded(Limit.BODY_SIZE)
            return ReviewError(f"the body is larger than {self.settings.max_body} bytes", 413)
        if self.buffered > self.settings.max_buffered:
            self.metrics.exceeded(Limit.BODIES)
            return ReviewError("too many large requests at once", 429)
        return None

    def record(self, answer: "Answer", seconds: float) -> None:
        """Count and log what was answered."""
        verdict = answer.verdict
        outcome = _outcome(verdict)
        self.metrics.reviewed(outcome, verdict.reason.value, verdict.profile, seconds, answer.patch_size)
        request = verdict.request
        self.log.info(
            "review",
            uid=request.uid,
            namespace=request.namespace or "",
            pod=request.pod_name,
            decision=outcome.value,
            reason=verdict.reason.value,
            profile=verdict.profile,
            milliseconds=round(seconds * 1000, 3),
        )
        if verdict.error is not None:
            error = verdict.error
            self.metrics.bug(Bug.REVIEW)
            self.log.error("bug", uid=request.uid, **logs.where(type(error), error.__traceback__))


class Answer(NamedTuple):
    """An AdmissionReview's bytes, and what they were made of."""

    body: bytes
    verdict: Verdict
    patch_size: int


class Reviews:
    """The ASGI application of one webhook entry."""

    def __init__(self, answers: Answers, *, opted_in: bool) -> None:
        self._answers = answers
        self._opted_in = opted_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 200 and an AdmissionReview for every review, 4xx and a sentence for the rest."""
        answers = self._answers
        answers.in_flight += 1
        answers.metrics.in_flight.inc()
        try:
            if scope["method"] != "POST":
                await _refuse(send, 405, "admission reviews are sent by POST", (b"allow", b"POST"))
            else:
                await self._answer(scope, receive, send)
        except ReviewError as refusal:
            answers.metrics.bad_request(refusal.status)
            answers.log.warning("refused", status=refusal.status, message=str(refusal))
            await _refuse(send, refusal.status, str(refusal))
        except Gone:
            pass
        finally:
            answers.in_flight -= 1
            answers.metrics.in_flight.dec()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = scope["state"].get("arrived") or time.monotonic()
        _check_content_type(scope)
        body = await self._read(scope, receive)
        late = time.monotonic() - arrived >= _timeout(scope["query_string"]) * LATE
        answer = self._answers.answer(body, opted_in=self._opted_in, late=late)
        await _send(send, 200, answer.body, JSON)
        self._answers.record(answer, time.monotonic() - arrived)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the request's body; :class:`ReviewError` if it, or all bodies together, are too large.

        What is too large is read to its end and dropped: a client that is still sending would see a reset
        connection instead of our answer. The connection has a bound of its own on how much that can be.
        """
        answers = self._answers
        refusal = answers.too_large(int(_header(scope, b"content-length") or 0))
        if refusal is not None and _header(scope, b"expect").lower() == b"100-continue":
            raise refusal  # it asked before sending
        parts: list[bytes] = []
        size, more = 0, True
        try:
            while more:
                part, more = await _part(receive)
                if refusal is not None:
                    continue
                parts.append(part)
                size += len(part)
                answers.buffered += len(part)
                refusal = answers.too_large(size)
                if refusal is not None:
                    # what is dropped makes room for others now, not when the last of it is here
                    parts.clear()
                    answers.buffered -= size
                    size = 0
        finally:
            answers.buffered -= size
        if refusal is not None:
            raise refusal
        return b"".join(parts)


class Gone(Exception):  # noqa: N818 — no error: the client left
    """The client left before its request was complete."""


class _Get:
    """An ASGI application that answers GET (and HEAD, whose body the server leaves out)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, 405, "only GET is answered here", (b"allow", b"GET, HEAD"))


def _check_content_type(scope: Scope) -> None:
    """Raise :class:`ReviewError` for a content type that no API server sends."""
    media_type = _header(scope, b"content-type").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise ReviewError("admission reviews are application/json; set the Content-Type", 415)
    if _header(scope, b"content-encoding") not in {b"", b"identity"}:
        raise ReviewError("admission reviews are not compressed; leave Content-Encoding out", 415)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of a body, and whether more follows; :class:`Gone` if the client left."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def _answer(verdict: Verdict) -> Answer:
    response = verdict.response()
    return Answer(review.encode(verdict.request, response), verdict, len(response.patch or b""))


def _timeout(query: bytes) -> float:
    """Return how long the caller waits, in seconds: forever, if it does not say or can't be understood."""
    match = TIMEOUT.search(query)
    if match is None:
        return float("inf")
    try:
        return duration.seconds(unquote_to_bytes(match[1]).decode())
    except ValueError:
        return float("inf")


def _outcome(verdict: Verdict) -> Outcome:
    """Say what came of a review.

    ==============================================  ========
    verdict                                         outcome
    ==============================================  ========
    a patch; in shadow mode                         injected; shadowed
    not allowed                                     denied
    a deadline, too many requests, a bug of ours    failed
    an annotation or a plan that can't be followed  declined
    anything else                                   skipped
    ==============================================  ========
    """
    if verdict.injected:
        return Outcome.SHADOWED if verdict.configuration.shadow else Outcome.INJECTED
    if not verdict.allowed:
        return Outcome.DENIED
    if verdict.reason in FAILURES:
        return Outcome.FAILED
    if verdict.reason.severity in {Severity.WARNING, Severity.REFUSED}:
        return Outcome.DECLINED
    return Outcome.SKIPPED


def _header(scope: Scope, name: bytes) -> bytes:
    """Return a header's value, empty if there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def _refuse(send: Send, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> None:
    body = msgspec.json.encode({"detail": sentence})
    await _send(send, status, body, JSON, *headers)


_TEXT = (b"content-type", b"text/plain; charset=utf-8")


async def _send(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
