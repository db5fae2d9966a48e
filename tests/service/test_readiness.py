"""What the log says about readiness."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tests.certs.recording import RecordingLog
from tests.injection.reviews import CONFIGURATION
from tests.service.serving import Running, eventually
from webhook.service.readiness import ReadinessLogger
from webhook.service.state import LiveState

TOMORROW = datetime.now(UTC) + timedelta(days=1)


def test_why_a_server_is_not_ready_is_logged_once() -> None:
    """Whenever it changes, and again when it is ready: nobody looks at the page that says it."""
    state, log = LiveState(CONFIGURATION), RecordingLog()
    logger = ReadinessLogger(state, log)

    def poll() -> None:
        for _ in range(3):
            asyncio.run(logger.run())

    poll()
    state.certificate_not_after = datetime(2020, 1, 1, tzinfo=UTC)
    poll()
    state.certificate_not_after = TOMORROW
    poll()
    assert log.events == [
        (
            "warning",
            "not ready",
            {"message": "no certificate yet: the certificate keeper has written none that can be served"},
        ),
        ("warning", "not ready", {"message": "the certificate expired at 2020-01-01T00:00:00Z"}),
        ("info", "ready", {}),
    ]


def test_a_server_that_drains_says_nothing_more() -> None:
    """Another event has said so."""
    log = RecordingLog()
    asyncio.run(ReadinessLogger(LiveState(CONFIGURATION, certificate_not_after=TOMORROW, draining=True), log).run())
    assert log.events == []


def test_a_server_logs_it(serve: Callable[..., Running]) -> None:
    """From its start on, after whatever else was polled."""
    server = serve()
    eventually(lambda: any(line["event"] == "ready" for line in server.log()))
    server.server.state.certificate_not_after = None
    (line,) = eventually(lambda: [line for line in server.log() if line["event"] == "not ready"])
    assert line["message"].startswith("no certificate yet")
