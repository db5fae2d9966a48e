"""Asks the API server for pods, on and on over kept connections, and remembers what became of each request."""

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Creations", "Failure"]

#: What the API server says of a call that failed, and how one would call it.
KINDS = {
    "connection refused": "refused",
    "no endpoints available": "no endpoints",
    "EOF": "cut",
    "connection reset": "cut",
    "broken pipe": "cut",
    "deadline exceeded": "too late",
    "Timeout": "too late",
    "certificate": "certificate",
}


class Failure(NamedTuple):
    """A request that was not answered with an injected pod."""

    at: float
    message: str

    @property
    def kind(self) -> str:
        """Return why, in a word."""
        return next((kind for words, kind in KINDS.items() if words in self.message), "other")


class Creations:
    """Server-side dry runs of one pod by as many clients as there are connections."""

    def __init__(self, kubeconfig: Path, namespace: str, pod: Any, sidecar: str, connections: int = 8) -> None:
        """Speak to the cluster of a kubeconfig that names files; an injected pod has a container named ``sidecar``."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = urlsplit(cluster["server"])
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._target = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        self._body = json.dumps(pod).encode()
        self._sign = f'"name":"{sidecar}"'.encode()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on_and_on) for _ in range(connections)]
        #: When each request that succeeded began, and how long it took; appending is atomic.
        self.successes: list[tuple[float, float]] = []
        self.failures: list[Failure] = []

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End, when the requests on their way are answered."""
        self._enough.set()
        for thread in self._threads:
            thread.join(60)

    def summary(self) -> str:
        """Return the figures in a sentence."""
        times = sorted(seconds for _, seconds in self.successes) or [0.0]
        kinds = Counter(failure.kind for failure in self.failures)
        return (
            f"{len(self.successes)} pods injected, {len(self.failures)} failed {dict(kinds)}; "
            f"median {times[len(times) // 2] * 1000:.0f} ms, p99 {times[len(times) * 99 // 100] * 1000:.0f} ms, "
            f"longest {times[-1]:.2f} s"
        )

    def _ask_on_and_on(self) -> None:
        connection = http.client.HTTPSConnection(
            self._server.hostname or "", self._server.port, context=self._context, timeout=60
        )
        while not self._enough.is_set():
            begin = time.monotonic()
            try:
                connection.request("POST", self._target, self._body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # the next request opens it again
                self.failures.append(Failure(begin, f"the API server itself: {error!r}"))
                continue
            if answer.status == http.client.CREATED and self._sign in said:
                self.successes.append((begin, time.monotonic() - begin))
            else:
                words = json.loads(said).get("message") if answer.status != http.client.CREATED else "not injected"
                self.failures.append(Failure(time.monotonic(), f"{answer.status} {words} {answer.headers['warning']}"))
        connection.close()
