"""What requests are answered from now: the configuration, the certificate's end, and whether the server drains."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from webhook.injection.profile import Configuration

__all__ = ["LiveState"]


@dataclass(slots=True)
class LiveState:
    """The state that requests read; reloads and signals change it while the server runs."""

    configuration: Configuration
    certificate_not_after: datetime | None = None
    draining: bool = False
    certificate_check: Callable[[datetime], str] = lambda _: ""
    """Returns why the certificate must not be served at that time; an empty string where it may be."""

    def readiness_error(self, now: datetime) -> str:
        """Return why no requests should be sent to this server; an empty string where it is ready."""
        if self.draining:
            return "draining: this server is shutting down"
        if self.certificate_not_after is not None and now > self.certificate_not_after:
            return f"the certificate expired at {self.certificate_not_after:%FT%TZ}"
        return self.certificate_check(now)
