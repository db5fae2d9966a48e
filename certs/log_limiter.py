"""Which log lines to write, by what was written before: changes, and repetitions seldom."""

from collections import deque
from collections.abc import Callable
from time import monotonic

__all__ = ["LogLimiter"]

#: What stays as it is is written again after this many seconds: whoever looks at the newest lines finds it.
REPEAT_INTERVAL = 600.0
#: Changes of one topic that are written within an interval: what changes again and again is a repetition, too.
MAX_CHANGES_PER_INTERVAL = 6


class LogLimiter:
    """Remembers by topic what was written: topics do not displace each other."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._current: dict[str, str] = {}
        self._written: dict[str, deque[float]] = {}

    def should_log(self, topic: str, text: str) -> bool:
        """Return whether to write the text now; if so, it counts as written.

        ==========================================  =====
        text                                        logged
        ==========================================  =====
        the topic's first, or another than before   unless six were written within ten minutes
        the same as before                          ten minutes after it was written
        ==========================================  =====
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
        """Forget what the topic's text is: if it is true again, that is a change."""
        self._current.pop(topic, None)
