"""The commands of the pages in a shell, at a cluster: what tests of pages have in common."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.pages import run

from .client import Client
from .processes import wait_until
from .release import EFFECT_SECONDS

__all__ = ["Shell", "eventually", "link_programs", "shell_with", "shown"]

#: Runs the command of a place with these words for the page's own, and returns what a terminal shows.
Shell = Callable[..., str]


def link_programs(folder: Path, *clients: Client) -> tuple[Path, dict[str, str]]:
    """Return a new folder that has these programs alone, and the variables with which they reach their cluster."""
    programs = folder / "programs"
    programs.mkdir()
    environment: dict[str, str] = {}
    for client in clients:
        (programs / client.program.name).symlink_to(client.program)
        environment |= {**client.environment, "KUBECONFIG": str(client.kubeconfig)}
    return programs, environment


def shell_with(*clients: Client, folder: Path) -> Shell:
    """Return what runs a page's command in the folder, with these programs and pillion."""
    programs, environment = link_programs(folder, *clients)
    (programs / "pillion").symlink_to(Path(sys.executable).with_name("pillion"))

    def shell(place: str, **words: str) -> str:
        return run(place, programs, folder, environment, **words)

    return shell


def eventually(condition: Callable[[], Any], seconds: float = EFFECT_SECONDS) -> None:
    """Fail if it does not come true."""
    assert wait_until(lambda: bool(condition()), seconds, poll=0.5)


def shown(command: Callable[[], str], text: str, seconds: float) -> str:
    """Return what a command prints as soon as it has this text, a pattern; fail with what it printed last."""
    printed = ""

    def has_text() -> bool:
        nonlocal printed
        printed = command()
        return re.search(text, printed) is not None

    assert wait_until(has_text, seconds, poll=0.5), f"{text!r} is not in what was printed last:\n{printed}"
    return printed
