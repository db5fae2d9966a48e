"""The Go programs of ``make bench``: the rivals and the load generator, built into the cache of tests/cluster."""

import hashlib
import subprocess
from pathlib import Path

from tests.cluster import programs
from tests.cluster.programs import Source, build

__all__ = ["ALL", "GENERATOR", "LEAN", "PUBLISHED", "build", "go_version", "missing"]

HERE = Path(__file__).parent


class Own(Source):
    """A program whose source is here."""

    @property
    def version(self) -> str:
        """A digest of its files: what changed is built anew."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in {".go", ".mod", ".sum"}:
                digest.update(path.read_bytes())
        return f"v0.0.{digest.hexdigest()[:12]}"


def _own(name: str) -> Own:
    return Own(module="", folder=HERE / name, packages={name: "."}, stamps=())


LEAN, GENERATOR, PUBLISHED = _own("lean"), _own("generator"), _own("published")
ALL = (LEAN, GENERATOR, PUBLISHED)


def missing() -> str:
    """Return in a sentence what this machine lacks to have these programs, or nothing."""
    if all((source.cache / source.folder.name).exists() for source in ALL):
        return ""
    go = programs.missing_go()
    return f"the rivals and the load generator are Go programs: install {go[0]} ({go[1]})" if go else ""


def go_version() -> str:
    """Return the version of Go that the programs are built with."""
    command = ["go", "env", "GOVERSION"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=LEAN.folder).stdout.strip()
