"""A log that keeps its events for a test to look at."""

from typing import Any

from certs.logs import Field, Log, LogFormat

__all__ = ["RecordingLog"]


class RecordingLog(Log):
    """Keeps what is logged as ``(level, event, fields)``, and writes nothing."""

    def __init__(self) -> None:
        super().__init__(0, LogFormat.JSON)
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Field) -> None:
        """Keep the event."""
        self.events.append(("info", event, fields))

    def warning(self, event: str, **fields: Field) -> None:
        """Keep the event."""
        self.events.append(("warning", event, fields))

    def error(self, event: str, **fields: Field) -> None:
        """Keep the event."""
        self.events.append(("error", event, fields))
