"""The images that need a builder: Pillion's own three from the real Dockerfile, and stand-ins for nginx and ubuntu.

Podman builds them without a registry, on a base that debootstrap makes from Debian's packages.
"""

import fcntl
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE

from .programs import Say, cache, on_path, say_on_stderr

REPOSITORY = Path(__file__).parent.parent.parent
CHART = REPOSITORY / "charts" / "pillion"
SUITE = "trixie"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
BASE = f"localhost/pillion-tests-base:{SUITE}"
RUST = f"localhost/pillion-tests-rust:{SUITE}"
CERTIFICATES = Path("/etc/ssl/certs")
SECONDS = 1800.0
NEEDS = {"podman": "podman", "debootstrap": "debootstrap", "runc": "runc"}

#: What Docker's own images of these names have and the tests use: nginx as root on 80, and a bash.
NGINX_NAMES = ("docker.io/library/nginx:1.29", "docker.io/nginxinc/nginx-unprivileged:1.30-alpine")
UBUNTU = "docker.io/library/ubuntu:24.04"
_RUST = f"""
FROM {BASE}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cargo >/dev/null
"""
_NGINX = f"""
FROM {BASE}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-http-js \\
      >/dev/null \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/nginx/sites-enabled/*
RUN echo 'server {{ listen 80; root /usr/share/nginx/html; }}' > /etc/nginx/conf.d/default.conf
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
"""
_SETTINGS = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none" # for what is run; a build says otherwise
"""


class BuildError(RuntimeError):
    """An image could not be built; the text shows the tool's last lines."""


def missing() -> list[str]:
    """Return what this machine lacks for building images, in words for people."""
    lacks = [] if os.geteuid() == 0 else ["root (debootstrap)"]
    packages = sorted({package for name, package in NEEDS.items() if on_path(name) is None})
    return lacks + ([f"Debian packages: apt-get install {' '.join(packages)}"] if packages else [])


def pillion(folder: Path, say: Say = say_on_stderr) -> Path:
    """Return an archive of the image that the Dockerfile makes of the working tree."""
    return _Builder(say).build_pillion(folder / "pillion.tar", RELEASED_IMAGE.removesuffix("-tail"))


def tail(folder: Path, say: Say = say_on_stderr) -> Path:
    """Return an archive of the image of pillion-tail alone."""
    return _Builder(say).build_pillion(folder / "tail.tar", RELEASED_IMAGE, "--target=tail")


def shipping(folder: Path, say: Say = say_on_stderr) -> Path:
    """Return an archive of the image of the pillion-tail that sends lines to a store."""
    return _Builder(say).build_pillion(folder / "shipping.tar", RELEASED_SHIPPING_IMAGE, "--target=shipping")


def nginx(folder: Path, say: Say = say_on_stderr) -> Path:
    """Return an archive of an nginx under the names that the patterns and the profile `web` ask for."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(_NGINX)
        return _Builder(say).build(folder / "nginx.tar", NGINX_NAMES, context=Path(context))


def ubuntu(folder: Path, say: Say = say_on_stderr) -> Path:
    """Return an archive of something with a bash."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(f'FROM {BASE}\nCMD ["/bin/bash"]\n')
        return _Builder(say).build(folder / "ubuntu.tar", [UBUNTU], context=Path(context))


def write_docker(path: Path, say: Say = say_on_stderr) -> None:
    """Write a program that takes docker's words: podman, with the images that were built here."""
    builder = _Builder(say)
    settings = shlex.quote(builder.environment()["CONTAINERS_CONF"])
    path.write_text(f'#!/bin/sh\nCONTAINERS_CONF={settings} exec {shlex.join(builder.command())} "$@"\n')
    path.chmod(0o755)


class _Builder:
    """Podman with a store of its own in the cache: the machine's images and settings stay as they are."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._folder = cache() / "images"
        self._folder.mkdir(parents=True, exist_ok=True)

    def build_pillion(self, archive: Path, name: str, *flags: str) -> Path:
        """Build an image of Pillion's Dockerfile, with Debian's Rust, and write it to the archive."""
        with tempfile.TemporaryDirectory() as rust:
            (Path(rust) / "Dockerfile").write_text(_RUST)
            self._build([RUST], Path(rust))
        return self.build(archive, [name], REPOSITORY, f"--build-arg=RUST={RUST}", *flags)

    def build(self, archive: Path, names: Sequence[str], context: Path, *flags: str) -> Path:
        """Build a folder's Dockerfile and write the image, under these names, to the archive."""
        self._build(names, context, *flags)
        archive.unlink(missing_ok=True)
        self._podman("save", "--quiet", "--format=docker-archive", f"--output={archive}", *names)
        return archive

    def _build(self, names: Sequence[str], context: Path, *flags: str) -> None:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._make_base()
            arguments = {"BASE": BASE}
            mounts = []
            if CERTIFICATES.is_dir():
                # what this machine trusts: the network may have a CA of its own
                arguments["SSL_CERT_FILE"] = str(CERTIFICATES / "ca-certificates.crt")
                mounts = ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
            self._podman(
                *("build", "--quiet", "--isolation=chroot", "--network=host", *mounts),
                *(f"--build-arg={key}={value}" for key, value in arguments.items()),
                *(f"--tag={name}" for name in names),
                *flags,
                str(context),
            )

    def _make_base(self) -> None:
        if self._attempt("image", "exists", BASE).returncode == 0:
            return
        self._say("making the images' base of Debian's packages: a minute")
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            root = Path(scratch) / "root"
            _run(["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, str(root)])
            for package in (root / "var/cache/apt/archives").glob("*.deb"):
                package.unlink()
            archive = Path(scratch) / "base.tar"
            _run(["tar", "-C", str(root), "-cf", str(archive), "."])
            self._podman("import", "--quiet", str(archive), BASE)

    def _podman(self, *words: str) -> None:
        _run(self.command(*words), self.environment())

    def _attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, env=self.environment(), timeout=SECONDS
        )

    def command(self, *words: str) -> list[str]:
        """Return podman's command line with these words."""
        return ["podman", f"--root={self._folder / 'store'}", f"--runroot={self._folder / 'run'}", *words]

    def environment(self) -> dict[str, str]:
        """Return the environment that podman needs here."""
        settings = self._folder / "containers.conf"
        settings.write_text(_SETTINGS)
        return {**os.environ, "CONTAINERS_CONF": str(settings)}


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    answer = subprocess.run(
        ["nice", "-n", "10", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
        timeout=SECONDS,
    )
    if answer.returncode != 0:
        lines = "\n".join(f"    {line}" for line in re.split(r"\n", answer.stdout.strip())[-20:])
        raise BuildError(f"`{' '.join(command)}` ended with {answer.returncode}:\n{lines}")
