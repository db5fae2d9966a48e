"""A connection's responses, as the transport sees them."""

from types import SimpleNamespace
from typing import Any

import pytest

from webhook.service.connection import _Response


class Transport:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        """Remember."""
        self.written.append(data)

    def close(self) -> None:
        """Remember."""
        self.closed = True

    def is_closing(self) -> bool:
        """Say whether it was closed."""
        return self.closed


@pytest.fixture
def transport() -> Transport:
    """Return an open transport."""
    return Transport()


def response(transport: Any, *, method: str = "POST", started: bool = True) -> Any:
    """Return a response of a request of that method."""
    cycle: Any = SimpleNamespace(response_started=started, scope={"method": method})
    connection: Any = SimpleNamespace(transport=transport, write=transport.write, cycle=cycle)
    return _Response(connection), cycle


def test_head_and_body_go_out_together(transport: Transport) -> None:
    """One write: one TLS record, one system call."""
    written, _ = response(transport)
    written.write(b"head ")
    written.write(b"body")
    assert transport.written == [b"head body"]


def test_later_parts_of_a_body_go_out_at_once(transport: Transport) -> None:
    """Only the head waits."""
    written, _ = response(transport)
    for part in (b"head ", b"one", b"two"):
        written.write(part)
    assert transport.written == [b"head one", b"two"]


def test_what_comes_before_the_response_goes_out_at_once(transport: Transport) -> None:
    """``100 Continue`` does not wait for the response that waits for the body."""
    written, cycle = response(transport, started=False)
    written.write(b"100 ")
    cycle.response_started = True
    written.write(b"head ")
    written.write(b"body")
    assert transport.written == [b"100 ", b"head body"]


def test_a_head_alone_goes_out_at_once_where_no_body_follows(transport: Transport) -> None:
    """No body follows a HEAD request."""
    written, _ = response(transport, method="HEAD")
    written.write(b"head")
    assert transport.written == [b"head"]


def test_closing_writes_what_waits(transport: Transport) -> None:
    """An application that fails between head and body leaves a head that a client can see."""
    written, _ = response(transport)
    written.write(b"head")
    written.close()
    assert (transport.written, transport.closed, written.is_closing()) == ([b"head"], True, True)
