"""Requests from a pod to the API server of its cluster, each within a time limit and with an error in one sentence."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

__all__ = [
    "SERVICE_ACCOUNT_DIRECTORY",
    "ApiConnection",
    "ApiError",
    "ApiResponse",
    "ApiServer",
    "StatusError",
    "UnreachableError",
]

#: The directory in which the kubelet puts a pod's token and the API server's CA.
SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_OK = frozenset({200, 201})


class ApiError(Exception):
    """A request failed. The message is one sentence for the log, and never quotes what was sent."""


class UnreachableError(ApiError):
    """There was no complete response; the API server may have carried the request out all the same."""


class StatusError(ApiError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str, api_server_time: datetime) -> None:
        super().__init__(message)
        self.status = status
        #: From the header ``Date``.
        self.api_server_time = api_server_time

    @property
    def not_found(self) -> bool:
        """Return whether the object does not exist."""
        return self.status == http.client.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Return whether the object has another version than the request named: somebody else wrote it first."""
        return self.status == http.client.CONFLICT


class ApiResponse(NamedTuple):
    """The API server's response."""

    document: Any
    #: From the header ``Date``.
    api_server_time: datetime


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The address of the API server, and the service account whose files say who asks."""

    host: str
    port: int
    #: A directory with ``token`` and ``ca.crt``: read for each connection, because the kubelet replaces both.
    account_directory: Path = SERVICE_ACCOUNT_DIRECTORY
    #: For everything that is done with one connection, from name resolution to the last response; in seconds.
    time_limit: float = 10.0

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str], account_directory: Path = SERVICE_ACCOUNT_DIRECTORY) -> Self:
        """Return the API server of this pod's cluster. Raises KeyError, naming the variable, outside a pod."""
        host, port = environment["KUBERNETES_SERVICE_HOST"], int(environment["KUBERNETES_SERVICE_PORT"])
        return cls(host, port, account_directory)

    @contextmanager
    def connect(self) -> Iterator["ApiConnection"]:
        """Yield a connection for some requests; :class:`UnreachableError` where the account can't be read."""
        try:
            context = ssl.create_default_context(cafile=str(self.account_directory / "ca.crt"))
            token = (self.account_directory / "token").read_text().strip()
        except (OSError, ValueError) as error:
            raise UnreachableError(f"the service account in {self.account_directory} can't be read: {error}") from None
        https = _HTTPSConnection(self.host, self.port, context, self.time_limit)
        connection = ApiConnection(https, token)
        watchdog = threading.Timer(self.time_limit, https.shutdown)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield connection
        finally:
            watchdog.cancel()
            # otherwise it might shut down a descriptor that has been closed and given to another socket
            watchdog.join()
            https.close()


class ApiConnection:
    """One connection, on which several requests are sent one after the other."""

    def __init__(self, https: "_HTTPSConnection", token: str) -> None:
        self._https = https
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "pillion",
            "Authorization": f"Bearer {token}",
        }

    def get(self, path: str) -> ApiResponse:
        """Return the object at a path."""
        return self._request("GET", path)

    def apply(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Set fields of an object, and own them (server-side apply); an object that does not exist is created."""
        return self._request(
            "PATCH", f"{path}?fieldManager=pillion&force=true", document, "application/apply-patch+yaml"
        )

    def merge(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Set fields of an existing object (JSON merge patch, RFC 7386); None deletes a field."""
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
            response = self._https.getresponse()
            content = response.read()
            time = parsedate_to_datetime(response.headers["Date"] or "")
            result = json.loads(content)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # what is left of a broken response would be read as the next one
            self._https.close()
            reason = error or type(error).__name__
            raise UnreachableError(f"{what}: no response from the API server: {reason}") from None
        if response.status not in _OK:
            message = result.get("message") if isinstance(result, dict) else None
            raise StatusError(response.status, f"{what}: {response.status}: {message or response.reason}", time)
        return ApiResponse(result, time)


class _HTTPSConnection(http.client.HTTPSConnection):
    """A connection that another thread can end while this one waits.

    A timeout of the socket alone is not enough: it begins again with every byte that comes.
    """

    sock: socket.socket | None

    def __init__(self, host: str, port: int, context: ssl.SSLContext, time_limit: float) -> None:
        super().__init__(host, port, timeout=time_limit, context=context)
        self._tls = context
        self._shut_down = False

    def connect(self) -> None:
        """Connect and shake hands, with the socket known to :meth:`shutdown` before the handshake begins."""
        if self._shut_down:
            raise TimeoutError("the time limit is over")
        http.client.HTTPConnection.connect(self)
        assert self.sock is not None  # noqa: S101 — just connected
        # from 3.13 on Python insists on what certificates of older clusters lack: the authority key identifier
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        tls = self._tls.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = tls
        tls.do_handshake()

    def shutdown(self) -> None:
        """End whatever waits for the socket, and let nothing connect again."""
        self._shut_down = True
        if self.sock is not None:
            with suppress(OSError):
                # the system call alone: SSLSocket.shutdown must not be called from another thread
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
