"""A cluster that is there already (kind, say), given by a kubeconfig."""

import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import images, programs
from .client import Client, wait_for_service_account


@dataclass(frozen=True)
class ExistingCluster:
    """What the tests do to a cluster that they neither make nor end."""

    kubeconfig: Path
    kubectl: Client
    load: str = ""
    """A command that gives the cluster an image archive, whose path is put at its end."""

    def prepare_namespace(self, namespace: str) -> None:
        """Return when the namespace takes pods."""
        wait_for_service_account(self.kubectl, namespace)

    def import_archive(self, archive: Path) -> None:
        """Make the images of a docker archive known to it, or skip the test where nobody said how."""
        if not self.load:
            pytest.skip("this cluster has no way to load an image: give --load-image COMMAND")
        subprocess.run([*shlex.split(self.load), str(archive)], check=True)

    def import_image(self, image: images.Image) -> None:
        """Make the image known to the cluster, or skip the test where nobody said how."""
        with tempfile.TemporaryDirectory() as folder:
            self.import_archive(images.write_archive(image, Path(folder) / "image.tar"))


def existing_cluster(kubeconfig: Path, load: str, say: programs.Say) -> ExistingCluster:
    """Return the cluster, with the machine's kubectl or else one that is built."""
    found = programs.on_path("kubectl")
    kubectl = programs.find("kubectl", say) if found is None else Path(found)
    return ExistingCluster(kubeconfig, Client(kubectl, kubeconfig), load)
