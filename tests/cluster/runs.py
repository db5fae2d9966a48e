"""What a run leaves on the machine, kept on record so that any later run can clear it away."""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cgroups, mounts, network, processes, programs
from .processes import Daemon, Identity

_NAME = re.compile(r"[a-z0-9]{1,10}")  # short: it is part of an interface's name (15 characters at most)
_LOGS_KEPT = 5  # of ended runs, newest first: a failure in CI is read afterwards
_KUBELET_LINKS = Path("/var/log/containers")  # the kubelet's own constant, whatever its root folder
_CNI_RESULTS = Path("/var/lib/cni/results")  # libcni's own constant
#: containerd's shims are children of init; a test's `kubectl proxy` and cert-manager stay if the test is killed.
_HANGERS_ON = ("containerd-shim", "kubectl", "cert-manager")
_SHIM_ADDRESSES = "containerd/run/io.containerd.runtime.v2.task/*/*/address"  # of each container that there is


class RunError(RuntimeError):
    """There is a run of that name already, or none."""


@dataclass(frozen=True)
class Run:
    """One cluster; everything it leaves on the machine is found from its name."""

    name: str
    children: list[Daemon] = dataclasses.field(default_factory=list, compare=False, repr=False)
    """What this process itself started, to be reaped."""

    @property
    def long_name(self) -> str:
        """The name where others have names too: network namespaces, cgroups, CNI networks, nodes."""
        return f"pillion-{self.name}"

    @property
    def link(self) -> str:
        """The host's end of its veth pair."""
        return f"pil-{self.name}"

    @property
    def folder(self) -> Path:
        """Its state; gone when the run is."""
        return state_root() / "runs" / self.name

    @property
    def logs(self) -> Path:
        """Each program's log; outlives the run."""
        return state_root() / "logs" / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, once the cluster is up."""
        return self.folder / "admin.kubeconfig"

    def start(self, name: str, command: Sequence[str | Path]) -> Daemon:
        """Start a program and note its process, so that it can be ended without whoever started it."""
        daemon = processes.start(name, command, self.logs / f"{name}.log")
        self.children.append(daemon)
        who = processes.identity(daemon.process.pid)
        if who is not None:
            noted = [*self._recorded(), {"name": name, **dataclasses.asdict(who)}]
            _write(self.folder / "processes.json", noted)
        return daemon

    def recorded_programs(self) -> dict[str, Identity]:
        """Return the recorded programs, in the order of their start."""
        return {entry["name"]: Identity(entry["pid"], entry["started"]) for entry in self._recorded()}

    def own(self) -> None:
        """Say that the run belongs to this process, and is to be cleared away after it."""
        me = processes.identity(os.getpid())
        if me is not None:
            _write(self.folder / "owner.json", dataclasses.asdict(me))

    def let_stand(self) -> None:
        """Say that the run outlives this process, until somebody takes it down."""
        (self.folder / "owner.json").unlink()

    def abandoned(self) -> bool:
        """Return whether nobody can want it any more: its owner has ended, or without one its programs have."""
        owner = _read(self.folder / "owner.json")
        if owner is not None:
            return not processes.alive(Identity(**owner))
        return not any(processes.alive(program) for program in self.recorded_programs().values())

    def take_down(self) -> None:
        """End and remove all that belongs to the run; what is already gone is fine."""
        programs = self.recorded_programs()
        # In reverse, so that nothing starts again what has just ended, or writes into etcd's grave.
        processes.end([programs[name] for name in reversed(programs)])
        for child in self.children:
            child.process.wait(processes.GRACE_SECONDS)
        cgroups.kill(self.long_name)
        processes.end(self._hangers_on())
        outside = self._outside()
        mounts.unmount_below(self.folder)
        cgroups.remove(self.long_name)
        network.remove(self.long_name, self.link)
        for path in outside:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hangers_on(self) -> Sequence[Identity]:
        """Return the programs that are in nobody's record and outlive whoever started them."""
        return [
            who
            for who, line in processes.command_lines()
            if Path(line.partition(" ")[0]).name.startswith(_HANGERS_ON) and f"{self.folder}/" in line
        ]

    def _outside(self) -> list[Path]:
        """Return the run's files that kubelet, containerd and libcni put at fixed places outside its folder."""
        if os.geteuid() != 0:
            return []  # an API server alone has none
        links = _KUBELET_LINKS.glob("*.log")
        shims = list(self.folder.glob(_SHIM_ADDRESSES))
        return [
            *(link for link in links if _leads_into(link, self.folder)),
            *(Path(shim.read_text().strip().removeprefix("unix://")) for shim in shims),
            *_CNI_RESULTS.glob(f"{self.long_name}-*"),
            # these have no name of ours, and a pod that was just ending has no shim any more
            *(result for result in _CNI_RESULTS.glob("cni-loopback-*") if f"{self.folder}/" in _text(result)),
        ]

    def _recorded(self) -> list[dict[str, Any]]:
        return _read(self.folder / "processes.json") or []


def state_root() -> Path:
    """Return the folder of all runs' state: it outlives a killed test run, and programs can be run from it.

    /run and /tmp won't do for a node: the one is mounted noexec, the other often lies in memory. It is short,
    because a Unix socket's path has at most 107 characters.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/pillion-tests")
    return programs.cache() / "state"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time make or clear away runs."""
    state_root().mkdir(parents=True, exist_ok=True, mode=0o755)
    with (state_root() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def claim(name: str | None = None) -> Run:
    """Clear away what abandoned runs left, then return a new run that belongs to this process."""
    run = Run(secrets.token_hex(3) if name is None else name)
    if not _NAME.fullmatch(run.name):
        raise RunError(f"{run.name!r} is no name for a run: at most ten of a-z and 0-9")
    sweep()
    with locked():
        if run.folder.exists():
            raise RunError(f"there is a run named {run.name} already ({run.folder})")
        run.folder.mkdir(parents=True, mode=0o755)
        run.own()
    shutil.rmtree(run.logs, ignore_errors=True)
    run.logs.mkdir(parents=True)
    return run


def existing() -> list[Run]:
    """Return the runs that have left anything, whoever made them."""
    return [Run(folder.name) for folder in sorted((state_root() / "runs").glob("*"))]


def sweep() -> list[Run]:
    """Take down every abandoned run and return them; forget the oldest logs."""
    with locked():
        abandoned = [run for run in existing() if run.abandoned()]
        for run in abandoned:
            run.take_down()
        standing = {run.name for run in existing()}
        logs = [folder for folder in (state_root() / "logs").glob("*") if folder.name not in standing]
        for folder in sorted(logs, key=lambda folder: folder.stat().st_mtime)[:-_LOGS_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
    return abandoned


def _leads_into(link: Path, folder: Path) -> bool:
    """Return whether a link leads into the folder; one of another run's may be gone meanwhile."""
    try:
        return link.readlink().is_relative_to(folder)
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # another run's
        return ""


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def _write(path: Path, content: object) -> None:
    # By a rename: who is killed half-way leaves the old file, not half a new one.
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(content))
    scratch.replace(path)
