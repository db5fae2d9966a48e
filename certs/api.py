"""Requests to a Kubernetes API server: every wait has an end, every refusal a sentence."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

__all__ = ["ACCOUNT", "ApiConnection", "ApiError", "ApiResponse", "ApiServer", "StatusError", "UnreachableError"]

#: Where the kubelet puts a pod's token and the API server's CA.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_OK = frozenset({200, 201})


class ApiError(Exception):
    """A request failed. The message is one sentence for the log, and never quotes what was sent."""


class UnreachableError(ApiError):
    """There was no response, or half of one; the request may have been carried out all the same."""


class StatusError(ApiError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str, time: datetime) -> None:
        super().__init__(message)
        self.status = status
        self.time = time
        """The API server's clock."""

    @property
    def not_found(self) -> bool:
        """Return whether there is no such object."""
        return self.status == http.client.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Return whether somebody else wrote the object first."""
        return self.status == http.client.CONFLICT


class ApiResponse(NamedTuple):
    """The API server's response."""

    document: Any
    time: datetime
    """Its clock."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where an API server is, and who asks."""

    host: str
    port: int
    trust: Callable[[], ssl.SSLContext] = field(repr=False)
    """Made anew for each connection: CAs and client certificates are replaced while we run."""
    token: Callable[[], str] = field(default=str, repr=False)
    """Read anew for each connection: the kubelet replaces it. Empty: the client certificate says who asks."""
    seconds: float = 10.0
    """For everything that is done with a connection, from name resolution to the last response."""

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str], account: Path = ACCOUNT) -> Self:
        """Return the API server of this pod's cluster. Raises KeyError, naming the variable, outside a pod."""
        return cls(
            environment["KUBERNETES_SERVICE_HOST"],
            int(environment["KUBERNETES_SERVICE_PORT"]),
            lambda: ssl.create_default_context(cafile=str(account / "ca.crt")),
            lambda: (account / "token").read_text().strip(),
        )

    @contextmanager
    def connect(self) -> Iterator["ApiConnection"]:
        """Yield a connection for some requests; :class:`UnreachableError` where there is nothing to make it with."""
        try:
            https = _HTTPSConnection(self.host, self.port, self.trust(), self.seconds)
            connection = ApiConnection(https, self.token())
        except (OSError, ValueError) as error:
            raise UnreachableError(f"token or certificates of this account can't be read: {error}") from None
        watchdog = threading.Timer(self.seconds, https.shutdown)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield connection
        finally:
            watchdog.cancel()
            watchdog.join()  # a socket that it would still touch must not be another one by then
            https.close()


class ApiConnection:
    """A connection that is kept from one request to the next."""

    def __init__(self, https: "_HTTPSConnection", token: str) -> None:
        self._https = https
        self._headers = {"Accept": "application/json", "User-Agent": "pillion"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> ApiResponse:
        """Return an object."""
        return self._request("GET", path)

    def apply(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Write the given fields of an object, which is made if it is not there, and own them (server-side apply)."""
        return self._request(
            "PATCH", f"{path}?fieldManager=pillion&force=true", document, "application/apply-patch+yaml"
        )

    def merge(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Write the given fields of an object that is there; None takes one away (RFC 7386)."""
        return self._request("PATCH", f"{path}?fieldManager=pillion", document, "application/merge-patch+json")

    def _request(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, content_type: str = ""
    ) -> ApiResponse:
        """Return the response, or raise an :class:`ApiError`."""
        headers = {**self._headers, "Content-Type": content_type} if content_type else self._headers
        body = None if document is None else json.dumps(document).encode()
        what = f"{method} {path.partition('?')[0]}"
        try:
            self._https.request(method, path, body, headers)
            answer = self._https.getresponse()
            content = answer.read()
            time = parsedate_to_datetime(answer.headers["Date"] or "")
            result = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # after a half answer the next one can't be told from its rest
            self._https.close()
            raise UnreachableError(f"{what}: no answer from the API server: {error or type(error).__name__}") from None
        if answer.status not in _OK:
            said = result.get("message") if isinstance(result, dict) else None
            raise StatusError(answer.status, f"{what}: {answer.status}: {said or answer.reason}", time)
        return ApiResponse(result, time)


class _HTTPSConnection(http.client.HTTPSConnection):
    """A connection that another thread can end, whatever it waits for; an answer may come a byte a second."""

    sock: socket.socket | None

    def __init__(self, host: str, port: int, context: ssl.SSLContext, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds, context=context)
        self._tls = context
        self._abandoned = False

    def connect(self) -> None:
        """Connect, so that :meth:`shutdown` finds the socket during the handshake, too."""
        if self._abandoned:
            raise TimeoutError("the time is over")
        http.client.HTTPConnection.connect(self)
        assert self.sock is not None  # noqa: S101 — just connected
        tls = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = tls
        tls.do_handshake()

    def shutdown(self) -> None:
        """Let whatever waits for the socket end."""
        self._abandoned = True
        if self.sock is not None:
            with suppress(OSError):
                # the system call alone: SSLSocket's own shutdown is not made for two threads
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
