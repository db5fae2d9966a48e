"""DNS labels."""

from __future__ import annotations

import pytest

from webhook.injection.dns_labels import MAX_LABEL_LENGTH, is_dns_label


@pytest.mark.parametrize("text", ["a", "0", "a-b", "a--b", "x" * MAX_LABEL_LENGTH])
def test_a_label_is_taken(text: str) -> None:
    """Small letters, digits and dashes, 63 at most."""
    assert is_dns_label(text)


@pytest.mark.parametrize(
    "text", ["", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "a\n", "é", "x" * (MAX_LABEL_LENGTH + 1)]
)
def test_anything_else_is_no_label(text: str) -> None:
    """No dash at either end, and no line end behind it."""
    assert not is_dns_label(text)
