"""Asks the API server whether a pod is valid, by server-side dry run, a thousand times a minute."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from .client import Client

__all__ = ["Judge", "Judgement"]


class Judgement(NamedTuple):
    """The API server's word: the pod as it would be stored, or why it is refused."""

    accepted: bool
    message: str
    pod: Any
    warnings: tuple[str, ...]


class Judge:
    """An API server behind ``kubectl proxy``, which knows every way to log in."""

    def __init__(self, client: httpx2.Client) -> None:
        """Ask through this client."""
        self._client = client

    def ask(self, namespace: str, pod: Any) -> Judgement:
        """Return what the API server would make of the pod in the namespace; nothing is stored."""
        pod = {"apiVersion": "v1", "kind": "Pod", **pod}
        metadata = {key: value for key, value in (pod.get("metadata") or {}).items() if key != "namespace"}
        answer = self._client.post(
            f"/api/v1/namespaces/{namespace}/pods",
            params={"dryRun": "All", "fieldManager": "judge"},
            json={**pod, "metadata": metadata},
        )
        document = answer.json()
        accepted = answer.status_code == httpx2.codes.CREATED
        warnings = tuple(answer.headers.get_list("warning"))
        return Judgement(accepted, "" if accepted else document.get("message", answer.text), document, warnings)


@contextmanager
def judge(kubectl: Client, kubeconfig: Path) -> Iterator[Judge]:
    """Yield a judge for the cluster of a kubeconfig."""
    command = [str(kubectl.program), "--kubeconfig", str(kubeconfig), "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            line = proxy.stdout.readline()
            port = re.search(r":(\d+)\s*$", line)
            assert port, line
            with httpx2.Client(base_url=f"http://127.0.0.1:{port[1]}", timeout=30) as client:
                yield Judge(client)
        finally:
            proxy.terminate()
