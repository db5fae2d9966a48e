"""The built-in profiles, as data files of the package."""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from webhook import __version__
from webhook.injection.variables import escape_references

__all__ = ["NAMES", "RELEASED_IMAGE", "RELEASED_SHIPPING_IMAGE", "builtins"]

NAMES = ("tail", "web", "elasticsearch", "otlp", "filebeat", "otel")

#: The image with nothing but ``pillion-tail`` in it, as this version of Pillion is released with.
RELEASED_IMAGE = f"registry.pillion.dev/pillion:{__version__}-tail"
#: The one whose ``pillion-tail`` also sends lines to a store.
RELEASED_SHIPPING_IMAGE = f"registry.pillion.dev/pillion:{__version__}-shipping"


@cache
def builtins() -> dict[str, Any]:
    """Return each built-in profile's document, as an operator would have written it."""
    return {name: _document(name) for name in NAMES}


def _document(name: str) -> Any:
    text = files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    sidecar = document["sidecar"]
    sidecar["command"] = [_program(item) for item in sidecar.get("command", [])]
    return document


def _program(item: str) -> str:
    """Return the content of the data file that an item names as ``<file:web.sh>``.

    Kubernetes fills ``$(NAME)`` into commands; a shell's own ``$(…)`` must survive that.
    """
    if not item.startswith("<file:"):
        return item
    name = item.removeprefix("<file:").removesuffix(">")
    return escape_references(_without_comments(files(__package__).joinpath(name).read_text(encoding="utf-8")))


def _without_comments(program: str) -> str:
    """Return a program as a pod carries it: without comments, but for the first line, which says what it does."""
    first, *rest = program.splitlines(keepends=True)
    return first + "".join(line for line in rest if not line.lstrip().startswith(("#", "//")) and line.strip())
