"""The FastAPI applications: admission reviews on one port, health and metrics on the other."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import FastAPI
from prometheus_client.exposition import choose_encoder
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.errors import ReviewError
from webhook.injection import admission, review
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason
from webhook.injection.review import Request
from webhook.injection.verdict import Verdict, allow_unmodified
from webhook.service import duration, logs
from webhook.service.connection import Door, Headers
from webhook.service.logs import Log
from webhook.service.metrics import Bug, Limit, Metrics
from webhook.service.settings import Settings

__all__ = ["OPTED_IN_PATH", "PATH", "InForce", "health_app", "webhook_app"]

#: Pods that ask by annotation.
PATH = "/mutate"
#: Pods of namespaces that opted in: the entry's ``namespaceSelector`` knows, we read no namespaces.
OPTED_IN_PATH = "/mutate/opted-in"

#: An API server sends its ``timeoutSeconds``, at most 30, less what it has used up.
TIMEOUT = re.compile(rb"(?:^|&)timeout=([^&#]{1,40})")

#: The share of the caller's timeout after which it is too late to look at a pod: the answer must travel, too.
LATE = 0.9

#: The parser takes 64 bits and any number of zeros in front; Python refuses to read thousands of digits.
LENGTH_DIGITS = 20

JSON = (b"content-type", b"application/json")
METHOD_NOT_ALLOWED = 405


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


def webhook_app(in_force: InForce, settings: Settings, metrics: Metrics, log: Log) -> "App":
    """Return the application that answers admission reviews."""
    answers = Answers(in_force, settings, metrics, log)
    return App({PATH: Reviews(answers, opted_in=False), OPTED_IN_PATH: Reviews(answers, opted_in=True)})


def health_app(in_force: InForce, metrics: Metrics) -> "App":
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

    ``doors`` are the paths whose requests a connection may answer by itself, without ASGI's messages.
    """

    def __init__(self, paths: Mapping[str, ASGIApp]) -> None:
        telemetry = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
        off: dict[str, Any] = {"telemetry": telemetry}
        super().__init__(title="Pillion", openapi_url=None, docs_url=None, redoc_url=None, **off)
        self._paths = paths
        self.doors: dict[bytes, Door[Reply]] = {
            path.encode(): app for path, app in paths.items() if isinstance(app, Reviews)
        }
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
        #: Requests from their head to their answer, and the bytes of their bodies.
        self.in_flight = 0
        self.buffered = 0
        metrics.count_requests(lambda: self.in_flight, lambda: self.buffered)

    def reply(self, body: bytes, *, opted_in: bool, late: bool) -> "Reply":
        """Return the reply to a request's body: a review's answer, or why it is none."""
        try:
            request = review.parse(body, namespace_opted_in=opted_in)
        except ReviewError as refusal:
            return _refusal(refusal)
        try:
            return _reply(self._decide(request, late=late))
        except Exception as error:  # noqa: BLE001 — the promise: our bugs refuse nobody's pod
            verdict = allow_unmodified(request, Reason.INTERNAL_ERROR, self.in_force.configuration)
            verdict.error = error
            return _reply(verdict)

    def _decide(self, request: Request, *, late: bool) -> Verdict:
        configuration = self.in_force.configuration
        if late:
            return allow_unmodified(request, Reason.DEADLINE, configuration)
        if self.in_flight > self.settings.max_in_flight:
            return allow_unmodified(request, Reason.OVERLOADED, configuration)
        return admission.admit(request, configuration)

    def has_room(self, size: int) -> bool:
        """Say whether a body of ``size`` bytes can be taken now."""
        return size <= self.settings.max_body and self.buffered <= self.settings.max_buffered

    def too_large(self, size: int) -> ReviewError | None:
        """Return why a body of ``size`` bytes can't be taken, or None."""
        if self.has_room(size):
            return None
        if size > self.settings.max_body:
            self.metrics.exceeded(Limit.BODY_SIZE)
            return ReviewError(f"the body is larger than {self.settings.max_body} bytes", 413)
        self.metrics.exceeded(Limit.BODIES)
        return ReviewError("too many large requests at once", 429)

    def record(self, reply: "Reply", seconds: float) -> None:
        """Count and log what was answered."""
        verdict = reply.verdict
        if verdict is None:
            self.metrics.bad_request(reply.status)
            self.log.warning("refused", status=reply.status, message=reply.sentence)
            return
        outcome = verdict.outcome
        self.metrics.reviewed(outcome, verdict.reason.value, verdict.profile, seconds, reply.patch_size)
        request = verdict.request
        self.log.often(
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


class Reply(NamedTuple):
    """What a request is answered with, and what it was made of: a verdict, or a sentence why there is none."""

    status: int
    body: bytes
    verdict: Verdict | None
    patch_size: int = 0
    sentence: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Reviews:
    """One webhook entry: the ASGI application of its path, and the door for who has the whole request at hand."""

    def __init__(self, answers: Answers, *, opted_in: bool) -> None:
        self._answers = answers
        self._opted_in = opted_in

    def enter(self, headers: Headers) -> bool:
        """Count a request in, if it is what an API server sends; anything else is for the ASGI application.

        Whoever is let in calls :meth:`hold` for each part of the body, and :meth:`leave` in the end.
        """
        length, is_json = -1, False
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"content-type":
                if value != JSON[1]:
                    return False
                is_json = True
            elif name == b"content-encoding" or name == b"transfer-encoding" or name == b"expect":  # noqa: PLR1714
                return False
        if length < 0 or not is_json or not self._answers.has_room(length):
            return False
        self._answers.in_flight += 1
        return True

    def hold(self, size: int) -> bool:
        """Count in a part of a body; return whether there is room for all that have come."""
        self._answers.buffered += size
        return self._answers.has_room(0)

    def leave(self, size: int) -> None:
        """Count a request out of which ``size`` bytes were held."""
        self._answers.in_flight -= 1
        self._answers.buffered -= size

    def answer(self, body: bytes, query: bytes, arrived: float) -> Reply:
        """Return the reply to a request that arrived, on the monotonic clock, at that time."""
        late = time.monotonic() - arrived >= _patience(query)
        return self._answers.reply(body, opted_in=self._opted_in, late=late)

    def record(self, reply: Reply, arrived: float) -> None:
        """Count and log what was answered."""
        self._answers.record(reply, time.monotonic() - arrived)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 200 and an AdmissionReview for every review, 4xx and a sentence for the rest."""
        answers = self._answers
        answers.in_flight += 1
        arrived = scope["state"].get("arrived") or time.monotonic()
        try:
            _check_head(scope)
            reply = self.answer(await self._read(scope, receive), scope["query_string"], arrived)
        except ReviewError as refusal:
            reply = _refusal(refusal)
        except Gone:
            return
        finally:
            answers.in_flight -= 1
        await _send(send, reply.status, reply.body, JSON, *reply.headers)
        self.record(reply, arrived)

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


def _check_head(scope: Scope) -> None:
    """Raise :class:`ReviewError` for a method or content type that no API server uses."""
    if scope["method"] != "POST":
        raise ReviewError("admission reviews are sent by POST", METHOD_NOT_ALLOWED)
    media_type = _header(scope, b"content-type").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise ReviewError("admission reviews are application/json; set the Content-Type", 415)
    if len(_header(scope, b"content-length")) > LENGTH_DIGITS:
        raise ReviewError("the Content-Length has too many digits")
    if _header(scope, b"content-encoding") not in {b"", b"identity"}:
        raise ReviewError("admission reviews are not compressed; leave Content-Encoding out", 415)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """Return the next part of a body, and whether more follows; :class:`Gone` if the client left."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def _reply(verdict: Verdict) -> Reply:
    response = verdict.response()
    return Reply(200, review.encode(verdict.request, response), verdict, len(response.patch or b""))


def _refusal(refusal: ReviewError) -> Reply:
    headers = ((b"allow", b"POST"),) if refusal.status == METHOD_NOT_ALLOWED else ()
    sentence = str(refusal)
    return Reply(refusal.status, msgspec.json.encode({"detail": sentence}), None, sentence=sentence, headers=headers)


# an API server sends the same few over and over
@lru_cache(maxsize=64)
def _patience(query: bytes) -> float:
    """Return after how many seconds it is too late to look at a pod: never, if the caller names no timeout."""
    match = TIMEOUT.search(query)
    if match is None:
        return float("inf")
    try:
        return duration.seconds(unquote_to_bytes(match[1]).decode()) * LATE
    except ValueError:
        return float("inf")


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
