"""Durations as Go writes them."""

import pytest

from certs import duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("10s", 10.0),
        ("9.999876543s", 9.999876543),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("1m0.5s", 60.5),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("7ns", 7e-9),
        ("1.s", 1.0),
    ],
)
def test_durations_are_read(text: str, expected: float) -> None:
    """Every unit of Go's ``Duration.String`` is understood, also several in a row."""
    assert duration.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "-1s", "+1s", "1d", "1 s", " 1s", "1s ", "1s1", "s1", "1.2.3s", "٣s", "9" * 5000 + "s", "1e3s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match="write a number and a unit"):
        duration.seconds(text)
