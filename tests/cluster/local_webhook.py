"""Pillion in the test process as the webhook of an API server, with the entries that the chart makes."""

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from certs.ca import CA
from certs.logs import LogFormat
from tests.chart.rendering import objects
from tests.service.serving import ANY_PORT, Running, start, write_pair
from webhook.injection.profile import Configuration
from webhook.service.settings import Settings

from .client import Client

__all__ = ["LocalWebhook", "local_webhook"]

#: The API server waits so long for an answer: nothing here is about speed, and the machine may be busy.
TIMEOUT_SECONDS = 10


class LocalWebhook:
    """The server of this process, called by an API server for as long as a test needs it."""

    def __init__(self, running: Running) -> None:
        """Wrap the server that answers."""
        self._running = running

    def configure(self, configuration: Configuration) -> None:
        """Decide by this configuration from now on."""
        self._running.call(setattr, self._running.server.state, "configuration", configuration)

    def lints(self) -> list[dict[str, Any]]:
        """Return the log's lines about workloads that were applied."""
        return [line for line in self._running.log() if line["event"] == "lint"]

    def cpu_seconds(self) -> float:
        """Return how long a processor has worked for the server so far."""
        ident = self._running.thread.ident
        assert ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(ident))

    def bugs(self) -> list[dict[str, Any]]:
        """Return the log's lines about bugs of ours: whoever created the pod saw nothing but a warning."""
        return [
            line
            for line in self._running.log()
            if line["event"] == "unexpected exception" or line.get("reason") == "internal_error"
        ]


@contextmanager
def local_webhook(kubectl: Client, folder: Path, **values: Any) -> Iterator[LocalWebhook]:
    """Serve on loopback, and have the API server of ``kubectl`` ask; the API server runs on this machine.

    A call or a condition that fails refuses the object, so that a test sees it. ``values`` are the chart's.
    """
    ca = CA.create(datetime.now(UTC))
    certificate, key = write_pair(folder, ca)
    settings = Settings(
        listen=ANY_PORT, health_listen=ANY_PORT, tls_cert=certificate, tls_key=key, log_format=LogFormat.JSON
    )
    with ExitStack() as stack:
        running = start(settings, ca, folder / "log", stack)
        configurations = [each for each in objects(values, name="judged") if each["kind"].endswith("Configuration")]
        for entry in (entry for each in configurations for entry in each["webhooks"]):
            url = f"{running.url}{entry['clientConfig']['service']['path']}"
            entry["clientConfig"] = {"url": url, "caBundle": base64.b64encode(ca.certificate_pem).decode()}
            entry |= {"failurePolicy": "Fail", "timeoutSeconds": TIMEOUT_SECONDS}
        made = {"apiVersion": "v1", "kind": "List", "items": configurations}
        kubectl("create", "-f", "-", stdin=made)
        try:
            yield LocalWebhook(running)
        finally:
            kubectl("delete", "-f", "-", stdin=made)
