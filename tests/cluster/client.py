"""A cluster's command-line clients, kubectl and helm, as functions."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .processes import wait_until

SECONDS = 180.0
ACCOUNT_SECONDS = 60.0


class CommandError(RuntimeError):
    """The command failed; the text has its words and what it said on stderr."""

    def __init__(self, answer: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"`{' '.join(answer.args)}` ended with {answer.returncode}:\n{answer.stderr.strip()}")
        self.stderr = answer.stderr


@dataclass(frozen=True)
class Client:
    """A program that speaks to one cluster.

    `kubectl("get", "pods", "-o", "json")` returns the parsed answer; without `-o json`, the text.
    """

    program: Path
    kubeconfig: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: object = None, seconds: float = SECONDS) -> Any:
        """Run it and return what it printed; raise CommandError if it failed."""
        answer = self.attempt(*words, stdin=stdin, seconds=seconds)
        if answer.returncode != 0:
            raise CommandError(answer)
        return json.loads(answer.stdout) if _asks_for_json(words) else answer.stdout

    def attempt(self, *words: str, stdin: object = None, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Run it and return status, stdout and stderr (where warnings are), also if it failed.

        `stdin` is text, or a document that becomes JSON (for `-f -`).
        """
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        return subprocess.run(
            [str(self.program), *words],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, **self.environment, "KUBECONFIG": str(self.kubeconfig)},
        )


def wait_for_service_account(kubectl: Client, namespace: str) -> None:
    """Return when a controller has made the namespace's service account; earlier it refuses every pod."""
    query = ("get", "serviceaccount", "default", "-n", namespace, "-o", "name")
    if not wait_until(lambda: kubectl.attempt(*query).returncode == 0, ACCOUNT_SECONDS, poll=0.1):
        raise CommandError(kubectl.attempt(*query))


def _asks_for_json(words: tuple[str, ...]) -> bool:
    line = " ".join(words).partition(" -- ")[0]  # what follows is a command for a container
    return re.search(r"(^| )(-o|--output)[ =]?json( |$)", line) is not None
