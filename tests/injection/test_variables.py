"""Variables and ``$(NAME)``, against the kubelet's own expansion."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhook.injection.variables import escape_references


def expand(text: str, values: dict[str, str]) -> str:
    """Return what the kubelet makes of a text (k8s.io/kubernetes third_party/forked/golang/expansion)."""
    result, cursor = "", 0
    while cursor < len(text):
        character = text[cursor]
        following = text[cursor + 1 : cursor + 2]
        if character != "$" or not following:
            result += character
            cursor += 1
        elif following == "$":
            result += "$"
            cursor += 2
        elif following == "(" and ")" in text[cursor:]:
            end = text.index(")", cursor)
            name = text[cursor + 2 : end]
            result += values.get(name, f"$({name})")
            cursor = end + 1
        else:
            result += "$" + following
            cursor += 2
    return result


@given(st.text("$()AB x", max_size=12))
def test_an_escaped_text_arrives_as_it_was(text: str) -> None:
    """The kubelet fills nothing into it, and the container gets it unchanged."""
    assert expand(escape_references(text), {"A": "filled", "B": "filled", "AB": "filled"}) == text


def test_expansion_as_documented() -> None:
    """The model expands, leaves the undefined, and unescapes, as the Kubernetes documentation says."""
    assert expand("$(A) $(B) $$(A) $A $", {"A": "1"}) == "1 $(B) $(A) $A $"
