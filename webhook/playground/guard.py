"""Lets only the page itself talk to the server, and the page do nothing but talk to it.

A page on the web can make a browser send requests to this machine, and with DNS rebinding even read the answers. So
``Host`` must be one of the server's own names, ``Origin`` and ``Sec-Fetch-Site`` must say that the page is its own,
and a question must be JSON, which no other page may send without asking first.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI application around another one; ``hosts`` are its own names, as in ``127.0.0.1:8077``."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        status, objection = self._objection(scope)
        app = PlainTextResponse(f"{objection}\n", status) if objection else self._app
        await app(scope, receive, send_guarded)

    def _objection(self, scope: Scope) -> tuple[int, str]:
        """Return the status and the text of a refusal; an empty text where there is none."""
        headers = Headers(scope=scope)
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            return 421, "this is not the address of the playground"
        is_question = scope["method"] not in {"GET", "HEAD"}
        origins = headers.getlist("origin")
        if (is_question or origins) and origins not in [[origin] for origin in self._origins]:
            return 403, "only the playground's own page may ask"
        # a link may lead here from anywhere
        is_link = not is_question and scope["path"] == "/" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not is_link:
            return 403, "only the playground's own page may ask"
        if is_question and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "a question is application/json"
        return 200, ""
