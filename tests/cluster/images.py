"""Container images made here, without a registry and without a builder."""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.tail.program import program
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE, builtins

from .programs import COLLECTOR, FILEBEAT, Say, build, on_path, say_on_stderr

PAUSE = "pillion-tests.local/pause:1"
BUSYBOX = "docker.io/library/busybox:1.36"  # what manifests ask for; Debian 12's own is 1.35
IMPORT_SECONDS = 300.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's words to those of images

# The pod's first process: it holds the namespaces, reaps what others leave, and goes when it is told to.
_PAUSE_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) { } }
int main(void) {
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""
_PAUSE_SCRIPT = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"


class ImageError(RuntimeError):
    """An image could not be made or imported; the text says why."""


@dataclass(frozen=True)
class Image:
    """An image of one layer. Paths are relative to its root, without a leading slash."""

    name: str
    """With registry and tag."""
    command: Sequence[str]
    programs: Mapping[str, bytes] = field(default_factory=dict)
    """Path to the content of an executable file."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path to the content of a readable file."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Path to the target of a symbolic link."""
    folders: Mapping[str, int] = field(default_factory=dict)
    """Path to the mode of a folder; parents of the others need not be named."""
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    user: str = ""
    entrypoint: Sequence[str] = ()


def pause() -> Image:
    """Return the sandbox image: a static C program, or without a compiler a loop in busybox's shell."""
    program = _compiled(_PAUSE_SOURCE)
    if program is not None:
        return Image(PAUSE, ["/pause"], programs={"pause": program})
    shell = Path(_busybox_path()).read_bytes()
    return Image(PAUSE, ["/bin/sh", "-c", _PAUSE_SCRIPT], {"bin/busybox": shell}, links=_links(["sh", "sleep"]))


def busybox() -> Image:
    """Return Debian's static busybox with a link for each applet."""
    path = _busybox_path()
    listed = subprocess.run([path, "--list"], capture_output=True, text=True, check=True)
    return Image(
        BUSYBOX,
        ["sh"],
        programs={"bin/busybox": Path(path).read_bytes()},
        files={
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        },
        links={**_links(listed.stdout.split()), "usr/bin/env": "/bin/busybox"},
        folders={"tmp": 0o1777, "root": 0o700, "var/log": 0o755},
    )


def tail() -> Image:
    """Return the image of the profile `tail`: nothing but its program, as the Dockerfile's target `tail` makes it."""
    return _of_tail(RELEASED_IMAGE, program())


def shipping() -> Image:
    """Return the image of the profiles that ship: like the Dockerfile's target `shipping`, but for the CAs."""
    return _of_tail(RELEASED_SHIPPING_IMAGE, program(shipping=True))


def _of_tail(name: str, built: Path) -> Image:
    path = "usr/bin/pillion-tail"
    return Image(name, [f"/{path}"], programs={path: built.read_bytes()}, user="65532:65532")


def filebeat(say: Say = say_on_stderr) -> Image:
    """Return the image of the profile `filebeat`: as its maker's, the program in /usr/share/filebeat, and a shell."""
    home = "usr/share/filebeat"
    base = busybox()
    return replace(
        base,
        name=builtins()["filebeat"]["sidecar"]["image"],
        entrypoint=["filebeat"],
        command=[],
        programs={**base.programs, f"{home}/filebeat": build(FILEBEAT, say).read_bytes()},
        environment={"PATH": f"/{home}:/usr/sbin:/usr/bin:/sbin:/bin"},
        user="1000:1000",
    )


def collector(say: Say = say_on_stderr) -> Image:
    """Return the image of the profile `otel`: as its maker's, one program and nothing else."""
    path = "otelcol-contrib"
    return Image(
        builtins()["otel"]["sidecar"]["image"],
        [],
        entrypoint=[f"/{path}"],
        programs={path: build(COLLECTOR, say).read_bytes()},
        user="10001",
    )


def write_archive(image: Image, path: Path) -> Path:
    """Write the image as a docker archive, the same bytes each time; return the path."""
    layer = _layer(image)
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "Cmd": list(image.command),
                "Entrypoint": list(image.entrypoint),
                "Env": [f"{name}={value}" for name, value in image.environment.items()],
                "User": image.user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "pillion-tests"}],
        }
    ).encode()
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": named, "RepoTags": [image.name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in ((named, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(archive, name, content, 0o644)
    return path


def import_archive(socket: Path, snapshotter: str, archive: Path) -> None:
    """Give a docker or OCI archive to the containerd at `socket`, for the kubelet to use."""
    ctr = on_path("ctr") or "ctr"
    command = [
        ctr,
        "-a",
        str(socket),
        "-n",
        "k8s.io",
        "images",
        "import",
        "--snapshotter",
        snapshotter,
        str(archive),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=IMPORT_SECONDS)
    if answer.returncode != 0:
        raise ImageError(f"{archive.name} can't be imported: {answer.stderr.strip()}")


def _layer(image: Image) -> bytes:
    folders = {str(parent): 0o755 for path in _paths(image) for parent in Path(path).parents if parent != Path()}
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as layer:
            for path, mode in sorted({**folders, **image.folders}.items()):
                entry = tarfile.TarInfo(path)
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                layer.addfile(entry)
            for contents, mode in ((image.programs, 0o755), (image.files, 0o644)):
                for path, content in sorted(contents.items()):
                    _add(layer, path, content, mode)
            for path, target in sorted(image.links.items()):
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                layer.addfile(entry)
        return buffer.getvalue()


def _paths(image: Image) -> list[str]:
    return [*image.programs, *image.files, *image.links, *image.folders]


def _add(archive: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _links(applets: Sequence[str]) -> dict[str, str]:
    return {f"bin/{applet}": "/bin/busybox" for applet in applets if applet != "busybox"}


def _busybox_path() -> str:
    path = on_path("busybox")
    if path is None:
        raise ImageError("no busybox on PATH (Debian package busybox-static)")
    return path


def _compiled(source: str) -> bytes | None:
    """Return the static program, or None where there is no compiler or no static libc."""
    compiler = on_path(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "pause.c").write_text(source)
        command = [compiler, "-static", "-Os", "-s", "-o", "pause", "pause.c"]
        answer = subprocess.run(command, cwd=scratch, capture_output=True, check=False)
        return (Path(scratch) / "pause").read_bytes() if answer.returncode == 0 else None
