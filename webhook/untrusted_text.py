"""Text that somebody else wrote, a tenant above all, as it may be shown."""

__all__ = ["visible"]


def visible(text: str) -> str:
    """Return a text as one line that commands no terminal: no escapes, no line ends."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
