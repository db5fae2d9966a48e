"""Asks the API server for pods, on and on over kept connections, and remembers what became of each request."""

import http.client
import json
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, NamedTuple, Self

from .api import Api
from .release import sidecars

__all__ = ["Creations", "Failure"]

#: What the API server says of a call that failed, and how one would call it.
KINDS = {
    "connection refused": "refused",
    "no endpoints available": "no endpoints",
    "EOF": "cut",
    "connection reset": "cut",
    "broken pipe": "cut",
    "use of closed network connection": "cut",  # the API server was still writing when it read the end
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

    def __init__(
        self, api: Api, namespace: str, pod: Any, sidecar: str, *, connections: int = 8, pause: float = 0.0
    ) -> None:
        """Ask this API server; an injected pod has a container named ``sidecar``.

        Each connection rests for ``pause`` seconds before a request.
        """
        self._api = api
        self._target = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        self._body = json.dumps(pod)
        self._sidecar = sidecar
        self._pause = pause
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
        while not self._enough.wait(self._pause):
            begin = time.monotonic()
            try:
                status, document, warnings = self._api.ask("POST", self._target, self._body)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(Failure(begin, f"the API server itself: {error!r}"))
                continue
            if status == http.client.CREATED and self._sidecar in sidecars(document):
                self.successes.append((begin, time.monotonic() - begin))
            else:
                words = document.get("message") if status != http.client.CREATED else "not injected"
                self.failures.append(Failure(time.monotonic(), f"{status} {words} {' '.join(warnings)}"))
