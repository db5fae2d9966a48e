"""Logs whether the server is ready, and why not."""

from datetime import UTC, datetime

from certs.logs import Log
from webhook.service.state import LiveState

__all__ = ["ReadinessLogger"]


class ReadinessLogger:
    """A periodic task that logs the reason why the server is not ready whenever it changes, and that it is ready.

    A draining server is left out: the event ``draining`` says so.
    """

    def __init__(self, state: LiveState, log: Log) -> None:
        self._state = state
        self._log = log
        self._logged: str | None = None

    async def run(self) -> None:
        """Log a change."""
        error = self._state.readiness_error(datetime.now(UTC))
        if error == self._logged or self._state.draining:
            return
        self._logged = error
        if error:
            self._log.warning("not ready", message=error)
        else:
            self._log.info("ready")
