"""Which lines are worth writing again."""

from certs.log_limiter import MAX_CHANGES_PER_INTERVAL, REPEAT_INTERVAL, LogLimiter


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_what_stays_is_written_at_a_slow_interval() -> None:
    """Whoever looks at the newest lines finds it."""
    clock = Clock()
    repetition = LogLimiter(clock)
    written = [clock.now for clock.now in range(0, 3600, 10) if repetition.should_log("a", "x")]
    assert written == [0, 600, 1200, 1800, 2400, 3000]


def test_a_change_is_written_at_once() -> None:
    """Also back to what it was."""
    repetition = LogLimiter(Clock())
    assert [repetition.should_log("a", text) for text in "xxyyx"] == [True, False, True, False, True]


def test_topics_do_not_displace_each_other() -> None:
    """Two reasons in turn are two lines, not two at each look."""
    repetition = LogLimiter(Clock())
    assert sum(repetition.should_log(topic, topic) for topic in "abababab") == 2


def test_what_changes_again_and_again_is_a_repetition_too() -> None:
    """At most six in any ten minutes."""
    clock = Clock()
    repetition = LogLimiter(clock)
    written = [clock.now for clock.now in range(3600) if repetition.should_log("a", str(clock.now))]
    assert (
        max(sum(start <= each < start + REPEAT_INTERVAL for each in written) for start in range(3600))
        == MAX_CHANGES_PER_INTERVAL
    )


def test_what_is_over_is_a_change_when_it_comes_back() -> None:
    """Though within the same bound."""
    repetition = LogLimiter(Clock())
    written = 0
    for _ in range(20):
        written += repetition.should_log("a", "x")
        repetition.reset("a")
    assert written == MAX_CHANGES_PER_INTERVAL
