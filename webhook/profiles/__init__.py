"""The built-in profiles, as data files of the package."""

import re
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from webhook.injection.variables import escape_references

__all__ = ["NAMES", "builtins"]

NAMES = ("tail", "web", "filebeat", "otel")


@cache
def builtins() -> dict[str, Any]:
    """Return each built-in profile's document, as an operator would have written it."""
    return {name: _document(name) for name in NAMES}


def _document(name: str) -> Any:
    text = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    document = YAML(typ="safe", pure=True).load(text)
    sidecar = document["sidecar"]
    sidecar["command"] = [_program(item) for item in sidecar.get("command", [])]
    return document


def _program(item: str) -> str:
    """Return the content of the data file that an item names as ``<file:tail.sh>``.

    Kubernetes fills ``$(NAME)`` into commands; a shell's own ``$(…)`` must survive that.
    """
    if not item.startswith("<file:"):
        return item
    name = item.removeprefix("<file:").removesuffix(">")
    return escape_references(_without_comments(files(__package__).joinpath(name).read_text(encoding="utf-8")))


def _without_comments(program: str) -> str:
    """Return a shell program as a pod carries it, without comments and with half the indentation.

    It is in every pod's spec. The first line stays: it says what the program is, and where its comments are.
    """
    first, *rest = program.splitlines(keepends=True)
    code = "".join(line for line in rest if line.lstrip()[:1] not in ("", "#"))
    return first + re.sub(r"(?m)^( +)\1", r"\1", code)
