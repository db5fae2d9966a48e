"""The program ``kubectl``, through which commands reach a cluster: it knows kubeconfigs, logins and proxies."""

import json
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from webhook.cli.terminal import visible
from webhook.errors import CertificateError

__all__ = ["TIME_LIMIT", "Kubectl"]

#: For one call, in seconds: somebody may have to log in meanwhile.
TIME_LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with the options that choose a cluster; None leaves the choice to kubectl."""

    kubeconfig: str | None = None
    context: str | None = None
    time_limit: float = TIME_LIMIT

    def get(self, *names: str, **options: str) -> Any:
        """Return the object, or the list, that ``kubectl get`` prints; None where it prints nothing."""
        output = self.run("get", *names, output="json", **options)
        try:
            return json.loads(output) if output else None
        except ValueError:
            raise CertificateError(f"`{_text(['kubectl', 'get', *names])}` printed no JSON") from None

    def run(self, verb: str, *names: str, **options: str) -> bytes:
        """Return what ``kubectl VERB`` prints; :class:`CertificateError` where it fails.

        An option is ``--name=value`` and each name stands after ``--``: none of them can become another option,
        whatever text it is. What kubectl says on standard error goes where ours goes, at once: it may ask for a login.
        """
        chosen = {"kubeconfig": self.kubeconfig, "context": self.context, **options}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items() if value is not None]
        command = ["kubectl", verb, *words, "--", *names]
        try:
            answer = subprocess.run(command, stdout=subprocess.PIPE, timeout=self.time_limit, check=False)  # noqa: S603
        except FileNotFoundError:
            raise CertificateError(
                "there is no kubectl on PATH, and a cluster is reached through it; "
                "install it (https://kubernetes.io/docs/tasks/tools/), or give PEM files"
            ) from None
        except subprocess.TimeoutExpired:
            raise CertificateError(f"`{_text(command)}` was ended: it took longer than {self.time_limit:g} s") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CertificateError(f"`{_text(command)}` can't be run: {reason}") from None
        if answer.returncode < 0:
            raise CertificateError(f"`{_text(command)}` was ended by signal {-answer.returncode}")
        if answer.returncode > 0:
            raise CertificateError(f"`{_text(command)}` failed with exit code {answer.returncode}")
        return answer.stdout


def _text(command: list[str]) -> str:
    """Return a command as one would type it."""
    return visible(shlex.join(command))
