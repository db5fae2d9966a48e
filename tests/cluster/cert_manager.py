"""cert-manager's controllers and its cainjector, run beside a cluster for as long as a test needs them."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import processes, programs
from .client import Client

READY_SECONDS = 60.0


@contextmanager
def cert_manager(kubeconfig: Path, kubectl: Client, say: programs.Say) -> Iterator[None]:
    """Make the cluster know cert-manager's kinds and run what serves them; end it afterwards, the kinds stay.

    It is not the installation that users have: there is no admission webhook, and both run in one process.
    """
    program = programs.find("cert-manager", say)
    kubectl("apply", "--server-side", "-f", str(_sources() / "deploy" / "crds"))
    kubectl(
        "wait", "--for=condition=Established", "crd/certificates.cert-manager.io", f"--timeout={READY_SECONDS:.0f}s"
    )
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | Path] = [program, f"--cluster={kubeconfig}"]
        daemon = processes.start("cert-manager", command, Path(folder) / "cert-manager.log")
        who = processes.identity(daemon.process.pid)
        try:
            yield
        finally:
            assert daemon.process.poll() is None, daemon.last_lines()
            assert who is not None
            daemon.process.terminate()
            daemon.process.wait(processes.GRACE_SECONDS)


def _sources() -> Path:
    """Return the folder of the module that the program is built from."""
    command = [programs.on_path("go") or "go", "mod", "download", "-json", programs.CERT_MANAGER.module]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=programs.CERT_MANAGER.folder)
    return Path(json.loads(answer.stdout)["Dir"])
