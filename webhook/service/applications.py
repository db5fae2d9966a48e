"""The two FastAPI applications: one for admission reviews, one for health and metrics."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from prometheus_client.exposition import choose_encoder
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.service.http.asgi import TEXT, refuse, respond
from webhook.service.metrics import Metrics
from webhook.service.reviews import ReviewEndpoint, ReviewService
from webhook.service.state import LiveState

__all__ = ["Application", "health_app", "webhook_app"]

#: The path of the webhook entry for pods with an annotation of ours, or the label ``inject``, in namespaces that have
#: not opted in.
MUTATE_PATH = "/mutate"
#: The path of the entry for workloads that are applied.
LINT_PATH = "/lint"
#: The suffix of the paths of the entries for opted-in namespaces. The entry's ``namespaceSelector`` selects them; the
#: server itself reads no Namespace.
OPTED_IN_SUFFIX = "/opted-in"


def webhook_app(service: ReviewService) -> "Application":
    """Return the application that answers admission reviews."""
    return Application(
        {
            MUTATE_PATH: ReviewEndpoint(service, service.review, namespace_opted_in=False),
            MUTATE_PATH + OPTED_IN_SUFFIX: ReviewEndpoint(service, service.review, namespace_opted_in=True),
            LINT_PATH: ReviewEndpoint(service, service.lint, namespace_opted_in=False),
            LINT_PATH + OPTED_IN_SUFFIX: ReviewEndpoint(service, service.lint, namespace_opted_in=True),
        }
    )


def health_app(state: LiveState, metrics: Metrics) -> "Application":
    """Return the application for liveness, readiness and metrics."""

    async def livez(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 200, b"ok\n", TEXT)

    async def readyz(_scope: Scope, _receive: Receive, send: Send) -> None:
        error = state.readiness_error(datetime.now(UTC))
        await respond(send, 503 if error else 200, f"{error or 'ok'}\n".encode(), TEXT)

    async def exposition(scope: Scope, _receive: Receive, send: Send) -> None:
        accept = dict(scope["headers"]).get(b"accept", b"")
        encode, content_type = choose_encoder(accept.decode("latin-1"))
        await respond(send, 200, encode(metrics.registry), (b"content-type", content_type.encode()))

    return Application(
        {"/livez": GetEndpoint(livez), "/readyz": GetEndpoint(readyz), "/metrics": GetEndpoint(exposition)}
    )


class Application(FastAPI):
    """A FastAPI application whose endpoints are ASGI applications; its telemetry is off.

    The endpoints are ordinary routes, but requests for them bypass FastAPI's middleware and router, which would take
    as long as a review (docs/decisions/0011-reviews-are-raw-asgi-endpoints.md). FastAPI answers all other requests.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp]) -> None:
        # an environment variable could make it send traces, metrics and logs to somebody
        telemetry = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
        off: dict[str, Any] = {"telemetry": telemetry}
        super().__init__(title="Pillion", openapi_url=None, docs_url=None, redoc_url=None, **off)
        self._endpoints = endpoints
        self.router.routes += [Route(path, endpoint) for path, endpoint in endpoints.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        await (super().__call__ if endpoint is None else endpoint)(scope, receive, send)


class GetEndpoint:
    """An ASGI application for GET and HEAD only; uvicorn leaves out the body of a response to HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
        else:
            await refuse(send, 405, "only GET and HEAD are allowed", (b"allow", b"GET, HEAD"))
