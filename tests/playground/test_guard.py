"""Tests of webhook.playground.guard: nobody but the page itself gets through."""

import asyncio

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from webhook.playground.guard import Guard

HOST = "127.0.0.1:8077"
OWN = f"http://{HOST}"
JSON = {"content-type": "application/json"}
PAGE = {"origin": OWN, "sec-fetch-site": "same-origin", **JSON}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}


def send(method: str, path: str = "/", *headers: tuple[str, str]) -> httpx2.Response:
    """Send a request with these headers, and Host where they have none, to a guarded application."""

    async def exchange() -> httpx2.Response:
        app = Guard(PlainTextResponse("inside"), [HOST, "localhost:8077"])
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url=OWN) as client:
            request = client.build_request(method, path)
            own = [] if any(name == "host" for name, _ in headers) else [("host", HOST)]
            request.headers = httpx2.Headers([*own, *headers])
            return await client.send(request)

    return asyncio.run(exchange())


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"host": "localhost:8077"}, 200),
        ("GET", {"sec-fetch-site": "none"}, 200),
        ("GET", {"sec-fetch-site": "same-origin"}, 200),
        ("GET", LINK, 200),
        ("POST", PAGE, 200),
        ("POST", {**PAGE, "content-type": "application/json; charset=utf-8"}, 200),
        ("POST", {"host": "localhost:8077", **PAGE, "origin": "http://localhost:8077"}, 200),
        # DNS rebinding: the browser believes that it talks to the attacker's own server
        ("GET", {"host": "evil.example:8077"}, 421),
        ("GET", {"host": "127.0.0.1.evil.example:8077"}, 421),
        ("GET", {"host": "127.0.0.1"}, 421),
        ("GET", {"host": "127.0.0.1:8078"}, 421),
        ("GET", {"host": ""}, 421),
        ("POST", {"host": "evil.example:8077", **PAGE, "origin": "http://evil.example:8077"}, 421),
        # another page
        ("POST", JSON, 403),
        ("POST", {**PAGE, "origin": "https://evil.example"}, 403),
        ("POST", {**PAGE, "origin": "null"}, 403),
        ("POST", {**PAGE, "origin": f"https://{HOST}"}, 403),
        ("POST", {**PAGE, "origin": "http://127.0.0.1:8080"}, 403),
        ("POST", {**PAGE, "sec-fetch-site": "same-site"}, 403),
        ("GET", {"origin": "https://evil.example"}, 403),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-dest": "script"}, 403),
        ("GET", {"sec-fetch-site": "same-site", "sec-fetch-dest": "iframe"}, 403),
        ("OPTIONS", {"origin": "https://evil.example", "access-control-request-method": "POST"}, 403),
        ("PUT", JSON, 403),
        # what a form on another page can send
        ("POST", {**PAGE, "content-type": "text/plain"}, 415),
        ("POST", {**PAGE, "content-type": "application/x-www-form-urlencoded"}, 415),
        ("POST", {**PAGE, "content-type": ""}, 415),
    ],
)
def test_who_gets_through(method: str, headers: dict[str, str], status: int) -> None:
    """Each row: a request, and whether it is passed on."""
    answer = send(method, "/", *headers.items())
    assert answer.status_code == status
    assert (answer.text == "inside") == (status == 200 and method != "HEAD")


@pytest.mark.parametrize("twice", [("host", HOST), ("origin", OWN)])
def test_a_header_that_is_there_twice_is_refused(twice: tuple[str, str]) -> None:
    """Whoever is in between might read the other one."""
    headers = [("host", HOST), *PAGE.items(), twice]
    assert send("POST", "/", *headers).status_code in {403, 421}


def test_a_link_leads_to_the_page_and_to_nothing_else() -> None:
    """Other pages may not open a part of it."""
    assert send("GET", "/setup.json", *LINK.items()).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"host": "evil.example"}], ids=["passed on", "refused"])
def test_every_response_says_what_a_browser_may_do(headers: dict[str, str]) -> None:
    """Nothing from elsewhere is loaded, nothing inline is executed, and no page frames it; there are no cookies."""
    answer = send("GET", "/", *headers.items())
    policy = {
        words[0]: words[1:] for part in answer.headers["content-security-policy"].split(";") if (words := part.split())
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "set-cookie" not in answer.headers
    assert not any(name.startswith("access-control-") for name in answer.headers)
