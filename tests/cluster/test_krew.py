"""The plugin that krew installs: its manifest by krew's own check, and the plugin by krew and kubectl themselves."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pages import ROOT
from webhook import __version__

from . import programs

pytestmark = pytest.mark.cluster


class Release(NamedTuple):
    """What `make plugin` has made, served as a release is."""

    manifest: Path
    programs: Path
    """kubectl and krew."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, say: programs.Say) -> Iterator[Release]:
    """Serve the archive and the manifest where a release would have them."""
    if lacks := programs.missing(whole=False, also=["krew"]):
        pytest.skip(f"this machine can't run krew; it lacks: {'; '.join(lacks)}")
    found = programs.find_all(["kubectl", "krew", "validate-krew-manifest"], say)
    folder = tmp_path_factory.mktemp("krew")
    path = folder / "bin"
    path.mkdir()
    for name, program in found.items():
        (path / ("kubectl-krew" if name == "krew" else name)).symlink_to(program)
    files = folder / "releases/download" / f"v{__version__}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    homepage = f"http://127.0.0.1:{server.server_port}"
    make = ["make", "--silent", "plugin", f"HOMEPAGE={homepage}", f"DIST={files}"]
    subprocess.run(make, cwd=ROOT, check=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Release(files / "pillion.yaml", path)
    server.shutdown()
    server.server_close()


def run(
    release: Release, *command: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with krew and kubectl on PATH."""
    path = f"{release.programs}{os.pathsep}{os.environ['PATH']}"
    told = {**os.environ, "PATH": path, **(environment or {})}
    return subprocess.run(list(map(str, command)), env=told, capture_output=True, text=True, check=False)


def test_krew_accepts_the_manifest(release: Release) -> None:
    """Its structure, its platforms, and an installation for each of them."""
    done = run(release, "validate-krew-manifest", f"-manifest={release.manifest}")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()


def test_krew_rejects_a_wrong_one(release: Release) -> None:
    """The check can fail."""
    wrong = release.manifest.parent / "wrong" / release.manifest.name
    wrong.parent.mkdir()
    wrong.write_text(release.manifest.read_text().replace("bin: kubectl-pillion", "bin: pillion"))
    assert run(release, "validate-krew-manifest", f"-manifest={wrong}").returncode != 0


def test_the_plugin_runs_the_package_of_its_version(release: Release, tmp_path: Path) -> None:
    """Krew installs it, kubectl finds it, and uv runs the wheel."""
    krew = {"KREW_ROOT": str(tmp_path / "krew"), "HOME": str(tmp_path)}
    done = run(release, "kubectl", "krew", "install", f"--manifest={release.manifest}", environment=krew)
    assert done.returncode == 0, done.stderr
    uv = Path(sys.executable).parent / "uv"
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    wheels = tmp_path / "wheels"
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", wheels, ROOT], check=True)
    # the wheel is where an index would have it
    settings = {"UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never", **krew}
    settings["PATH"] = os.pathsep.join(
        [f"{tmp_path}/krew/bin", str(release.programs), str(uv.parent), "/usr/bin", "/bin"]
    )
    done = run(release, "kubectl", "pillion", "inject", "-f", ROOT / "examples/app.yaml", environment=settings)
    assert "- name: pillion-tail" in done.stdout, done.stderr
    assert done.stderr == ""


def test_without_uv_and_pipx_it_says_what_to_install(tmp_path: Path) -> None:
    """In one sentence."""
    done = subprocess.run(
        [ROOT / ".krew/kubectl-pillion"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kubectl pillion: there is no uv and no pipx, ")
