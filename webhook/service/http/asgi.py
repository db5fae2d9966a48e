"""Sends the endpoints' ASGI responses."""

import msgspec
from starlette.types import Send

__all__ = ["JSON", "TEXT", "Header", "error_body", "refuse", "respond"]

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")


async def respond(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Send a response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, status: int, detail: str, *headers: Header) -> None:
    """Send an error."""
    await respond(send, status, error_body(detail), JSON, *headers)


def error_body(detail: str) -> bytes:
    """Return an error as JSON, in the form of FastAPI's own errors."""
    return msgspec.json.encode({"detail": detail})
