"""Requests as bytes, and reading what comes back, for tests below HTTP clients."""

import json
import socket

from tests.service.serving import Running, make_review

__all__ = ["BODY", "HEAD", "REQUEST", "exceeded", "read_all", "read_response"]

BODY = json.dumps(make_review()).encode()
HEAD = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(BODY)
REQUEST = HEAD + b"\r\n" + BODY


def read_all(sock: socket.socket) -> bytes:
    """Return everything until the other side closes; a reset or a timeout fails the test."""
    received = b""
    while part := sock.recv(65536):
        received += part
    return received


def read_response(sock: socket.socket) -> bytes:
    """Return one response with its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def exceeded(server: Running, limit: str) -> float:
    """Return how often a limit was run into."""
    return server.sample("pillion_limit_exceeded_total", limit=limit)
