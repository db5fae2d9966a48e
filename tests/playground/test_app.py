"""Tests of webhook.playground.app: the page's files, and what becomes of a question."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

import webhook.playground
from webhook.playground.app import MAX_QUESTION, playground_app
from webhook.playground.worker import NoAnswerError, SupersededError, Worker

HOST = "127.0.0.1:8077"
PAGE = Path(webhook.playground.__file__).parent / "page"
FILES = sorted(str(path.relative_to(PAGE)) for path in PAGE.rglob("*") if path.is_file())
QUESTION = {"origin": f"http://{HOST}", "content-type": "application/json"}


class FakeWorker(Worker):
    """Answers with the question's length, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__([], 1)
        self._error = error

    async def ask(self, question: bytes) -> bytes:
        """Answer."""
        if self._error is not None:
            raise self._error
        return b"%d" % len(question)


def send(
    method: str, path: str, content: bytes | AsyncIterator[bytes] = b"", worker: Worker | None = None
) -> httpx2.Response:
    """Send a request to the application, as the page does."""

    async def exchange() -> httpx2.Response:
        transport = httpx2.ASGITransport(playground_app(worker or FakeWorker(), b"{}", (HOST,)))
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            return await client.request(method, path, content=content, headers=QUESTION if method == "POST" else None)

    return asyncio.run(exchange())


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_page_is_served(name: str) -> None:
    """With the type that a browser insists on."""
    answer = send("GET", "/" if name == "index.html" else f"/{name}")
    assert answer.content == (PAGE / name).read_bytes()
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    assert answer.headers["content-type"].partition(";")[0] == types[Path(name).suffix]


def test_the_page_names_only_files_that_are_there() -> None:
    """None from elsewhere: it works without a network."""
    text = "".join((PAGE / name).read_text() for name in FILES)
    named = re.findall(r'(?:src|href)="([^"#]+)"', (PAGE / "index.html").read_text())
    named += [f"script/{each}" for each in re.findall(r'from "\./([^"]+)"', text)]
    assert len(named) > 15
    assert set(named) <= set(FILES)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_page_makes_no_html_of_text() -> None:
    """Everything that a manifest says is put there as text; the policy would stop the rest, but not kindly."""
    for name in FILES:
        text = (PAGE / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), name


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/..%2fapp.py", "/script/", "/../app.py", "/favicon.ico"])
def test_nothing_else_is_served(path: str) -> None:
    """Neither FastAPI's own pages nor other files of this machine."""
    assert send("GET", path).status_code == 404


def test_a_question_is_answered() -> None:
    """As JSON; only a POST asks."""
    answer = send("POST", "/ask", b'{"text": ""}')
    assert (answer.status_code, answer.content) == (200, b"12")
    assert answer.headers["content-type"] == "application/json"
    assert send("GET", "/ask").status_code == 405
    assert send("GET", "/setup.json").content == b"{}"


def test_a_question_has_a_limit() -> None:
    """What is longer is not read to its end."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1024 * 1024
            yield bytes(1024 * 1024)

    assert send("POST", "/ask", b" " * MAX_QUESTION).status_code == 200
    answer = send("POST", "/ask", endless())
    assert answer.status_code == 413
    assert str(MAX_QUESTION) in answer.text
    assert sent <= MAX_QUESTION + 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SupersededError(), {"superseded": True}),
        (NoAnswerError("It takes too long"), {"failure": "It takes too long."}),
    ],
)
def test_there_may_be_no_answer(error: Exception, said: dict[str, object]) -> None:
    """Then the page is told why."""
    answer = send("POST", "/ask", b"{}", FakeWorker(error))
    assert (answer.status_code, answer.json()) == (200, said)
