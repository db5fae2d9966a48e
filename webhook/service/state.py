"""What requests are answered from now: the configuration, the certificate's end, and whether the server drains."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from webhook.injection.profile import Configuration

__all__ = ["ServerState"]


@dataclass(slots=True)
class ServerState:
    """The state that requests read; reloads and signals change it while the server runs."""

    configuration: Configuration
    certificate_end: datetime | None = None
    draining: bool = False
    certificate_error: Callable[[datetime], str] = lambda _: ""
    """Returns why the certificate must not be served at that time; an empty string where it may be."""

    def readiness_error(self, now: datetime) -> str:
        """Return why no requests should be sent to this server; an empty string where it is ready."""
        if self.draining:
            return "draining: this server is shutting down"
        if self.certificate_end is not None and now > self.certificate_end:
            return f"the certificate expired at {self.certificate_end:%FT%TZ}"
        return self.certificate_error(now)
