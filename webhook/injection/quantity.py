"""Kubernetes quantities, compared exactly.

Source: k8s.io/apimachinery/pkg/api/resource, the grammar in the comment of ``Quantity``.
"""

import re
from fractions import Fraction

from webhook.injection.memoised import memoised

__all__ = ["parse_quantity"]

_GRAMMAR = re.compile(
    # at most 18 digits on either side of the point and two of an exponent, so that parsing is cheap; _MAX_VALUE rejects
    # what the API server's int64 can't hold
    r"(?P<sign>[+-]?)(?P<number>[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
    r"(?:(?P<suffix>Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE](?P<exponent>[+-]?[0-9]{1,2}))?",
    re.ASCII,
)
_FACTORS: dict[str | None, Fraction] = {
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Fraction(1, 1000**power) for power, suffix in enumerate(("m", "u", "n"), 1)},
    None: Fraction(1),
}
_MAX_VALUE = 2**63 - 1
_MAX_LENGTH = 48


def parse_quantity(text: object) -> Fraction | None:
    """Return the quantity's exact value, or None if it is not a quantity, or beyond what the API server can hold.

    In a manifest a quantity may be a number: ``cpu: 1``, ``cpu: 0.5``.
    """
    text = str(text)
    return _parse_text(text) if len(text) <= _MAX_LENGTH else None


@memoised(max_length=_MAX_LENGTH, max_entries=1024)
def _parse_text(text: str) -> Fraction | None:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        return None
    value = Fraction(match["number"].rstrip("."))
    if match["exponent"]:
        value *= Fraction(10) ** int(match["exponent"])
    else:
        value *= _FACTORS[match["suffix"]]
    if match["sign"] == "-":
        value = -value
    return value if abs(value) <= _MAX_VALUE else None
