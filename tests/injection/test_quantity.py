"""Quantities, as the API server reads them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from webhook.injection.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", 1), ("0.5", Fraction(1, 2)), (".5", Fraction(1, 2)), ("1.", 1), ("+1", 1), ("-1", -1)),
        *(("100m", Fraction(1, 10)), ("1u", Fraction(1, 10**6)), ("1n", Fraction(1, 10**9)), ("1k", 1000)),
        *(("1Ki", 1024), ("1.5Gi", 3 * 2**29), ("1Ei", 2**60), ("1E", 10**18), ("1e3", 1000), ("1E3", 1000)),
        *(("1e-3", Fraction(1, 1000)), (1, 1), (0.5, Fraction(1, 2)), ("0", 0), ("9" * 18, 10**18 - 1)),
    ],
)
def test_a_quantity_has_its_exact_value(text: object, value: Fraction | int) -> None:
    """Suffixes, exponents, signs and bare points, and numbers that no API server has defaulted."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 Gi",
        "1gi",
        "1K",
        "Gi",
        ".",
        "1e",
        "1mm",
        "++1",
        "1,5",
        "\u0661",
        None,
        "9223372036854775808",
        "1e99",
    ],
)
def test_anything_else_is_none(text: object) -> None:
    """What the API server would refuse, or could not hold, is no quantity."""
    assert parse_quantity(text) is None


def test_a_long_text_is_none() -> None:
    """Nothing is computed with thousands of digits."""
    assert parse_quantity("1" * 100_000) is None
