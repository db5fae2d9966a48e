"""Decides which log lines to write: changes at once, repetitions every ten minutes."""

from collections import deque
from collections.abc import Callable
from time import monotonic

__all__ = ["LogLimiter"]

#: Seconds after which an unchanged text is written again, so that it is among the newest lines of the log.
REPEAT_INTERVAL = 600.0
#: Changes of one topic that are written per interval: a text that alternates is a repetition, too.
MAX_CHANGES_PER_INTERVAL = 6


class LogLimiter:
    """Remembers what was written, topic by topic."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._current: dict[str, str] = {}
        self._written: dict[str, deque[float]] = {}

    def should_log(self, topic: str, text: str) -> bool:
        """Return whether to write the text now; if so, count it as written.

        =============================  ================================================
        text                           written
        =============================  ================================================
        other than the topic's last    unless six were written within ten minutes
        the topic's last, once more    ten minutes after it was written
        =============================  ================================================
        """
        now = self._clock()
        written = self._written.setdefault(topic, deque(maxlen=MAX_CHANGES_PER_INTERVAL))
        if self._current.get(topic) == text:
            since = written[-1]
        else:
            since = written[0] if len(written) == MAX_CHANGES_PER_INTERVAL else float("-inf")
        if now - since < REPEAT_INTERVAL:
            return False
        self._current[topic] = text
        written.append(now)
        return True

    def reset(self, topic: str) -> None:
        """Forget the topic's last text: if it comes again, it counts as a change."""
        self._current.pop(topic, None)
