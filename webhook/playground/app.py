"""The FastAPI application: the page, its files, and the questions that it asks."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from webhook.playground.guard import Guard
from webhook.playground.worker import NoAnswerError, SupersededError, Worker

__all__ = ["MAX_QUESTION", "MAX_TEXT", "playground_app"]

#: A manifest of so many characters; an object in a cluster has at most 1.5 MiB.
MAX_TEXT = 1024 * 1024
#: In JSON a character may take six bytes.
MAX_QUESTION = 6 * MAX_TEXT

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def playground_app(worker: Worker, setup: bytes, hosts: tuple[str, ...]) -> ASGIApp:
    """Return the application; ``setup`` is the JSON that the page begins with, ``hosts`` are its own names."""
    off: dict[str, Any] = {"telemetry": {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}}
    app = FastAPI(title="Pillion playground", openapi_url=None, docs_url=None, redoc_url=None, **off)
    for name, content in _page(files(__package__) / "page"):
        media_type = _TYPES[name.rpartition(".")[2]]
        app.get("/" if name == "index.html" else f"/{name}")(_constant(content, media_type))
    app.get("/setup.json")(_constant(setup, "application/json"))

    @app.post("/ask")
    async def ask(request: Request) -> Response:
        question = bytearray()
        async for chunk in request.stream():
            question += chunk
            if len(question) > MAX_QUESTION:
                return Response(f"a question has at most {MAX_QUESTION} bytes\n", 413, media_type="text/plain")
        # the reason is an answer, too: a page that is told why has not failed
        try:
            answer = await worker.ask(bytes(question))
        except SupersededError:
            answer = msgspec.json.encode({"superseded": True})
        except NoAnswerError as error:
            answer = msgspec.json.encode({"failure": f"{error}."})
        return Response(answer, media_type="application/json")

    return Guard(app, hosts)


def _page(directory: Traversable, path: str = "") -> list[tuple[str, bytes]]:
    """Return the page's files with their contents; nothing else of this machine is ever served."""
    found: list[tuple[str, bytes]] = []
    for item in directory.iterdir():
        name = f"{path}{item.name}"
        found += _page(item, f"{name}/") if item.is_dir() else [(name, item.read_bytes())]
    return found


def _constant(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def respond() -> Response:
        return Response(content, media_type=media_type)

    return respond
