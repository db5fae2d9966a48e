"""JSON values as YAML and JSON text that kubectl reads back as the same values."""

import json
from dataclasses import dataclass

from webhook.documents import scalars
from webhook.documents.scalars import Json

__all__ = ["Layout", "as_json", "as_yaml", "block", "flow"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How far things are indented: ``step`` for each mapping, ``dash`` for a sequence below its key."""

    step: int = 2
    dash: int = 0


def as_yaml(value: Json) -> str:
    """Return a document's YAML, as kubectl lays it out."""
    if isinstance(value, dict | list) and value:
        return "\n".join(block(value, 0, Layout())) + "\n"
    return flow(value) + "\n"


def as_json(value: Json) -> str:
    """Return a document's JSON, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def flow(value: Json) -> str:
    """Return YAML on one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{scalars.text_of(key, flow=True)}: {flow(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(flow(item) for item in value)}]"
    return scalars.text_of(value, flow=True)


def block(value: Json, column: int, layout: Layout) -> list[str]:
    """Return the lines of a mapping or a sequence that is not empty, the first one indented too."""
    pad = " " * column
    lines: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            lines += _led(f"{pad}{scalars.text_of(key)}:", item, column, layout)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list) and item:
                first, *rest = block(item, column + 2, layout)
                lines += [f"{pad}- {first.lstrip(' ')}", *rest]
            else:
                lines += _led(f"{pad}-", item, column, layout)
    return lines


def _led(lead: str, value: Json, column: int, layout: Layout) -> list[str]:
    """Return the lines of what follows a key's colon or a dash."""
    if isinstance(value, dict) and value:
        return [lead, *block(value, column + layout.step, layout)]
    if isinstance(value, list) and value:
        return [lead, *block(value, column + layout.dash, layout)]
    if isinstance(value, str) and scalars.is_literal(value):
        pad = " " * (column + layout.step)
        chomping = "" if value.endswith("\n") else "-"
        return [
            f"{lead} |{chomping}",
            *(f"{pad}{line}" if line else "" for line in value.removesuffix("\n").split("\n")),
        ]
    if isinstance(value, dict | list):
        return [f"{lead} {'{}' if isinstance(value, dict) else '[]'}"]
    return [f"{lead} {scalars.text_of(value)}"]
