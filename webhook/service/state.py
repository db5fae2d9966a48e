"""The state in force: configuration and readiness."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from webhook.injection.profile import Configuration

__all__ = ["LiveState"]


@dataclass(slots=True)
class LiveState:
    """What requests read, and reloads and signals change while the server runs."""

    #: What is injected; None until there is a valid configuration.
    configuration: Configuration | None = None
    #: Why there is none.
    configuration_error: str = "no configuration yet"
    #: When the serving certificate's chain expires; None if there is no certificate yet.
    certificate_not_after: datetime | None = None
    #: Returns why the certificate must not be served at a time; an empty string if it may be.
    check_certificate: Callable[[datetime], str] = lambda _: ""
    draining: bool = False

    def is_ready(self) -> bool:
        """Return whether the server is ready now."""
        return not self.readiness_error(datetime.now(UTC))

    def readiness_error(self, now: datetime) -> str:
        """Return why the server is not ready; an empty string if it is."""
        if self.draining:
            return "draining: this server is shutting down"
        if self.configuration is None:
            return self.configuration_error
        if self.certificate_not_after is None:
            return "no certificate yet: the certificate keeper has written none that can be served"
        if now > self.certificate_not_after:
            return f"the certificate expired at {self.certificate_not_after:%FT%TZ}"
        return self.check_certificate(now)
