"""The volume plan: for each log directory, what is mounted there already, what is added, and where the sidecar sees it.

Paths decide, not names. For one directory of one container there are four cases:

====================================  ===============================================================
the container mounts                  the plan
====================================  ===============================================================
a volume at the directory or above    that volume is *reused*, as the container mounts it
nothing there                         a *new* emptyDir, if it hides nothing that the container needs
a volume below it, logs may be there  that volume is read as well (alone, if it is the log file itself)
a volume below it, no logs there      stays as it is
====================================  ===============================================================
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from webhook.injection.annotations import Declined, LogFiles
from webhook.injection.edit import Located
from webhook.injection.paths import (
    IMAGE_DIRECTORIES,
    OWNED_DIRECTORIES,
    SIDECAR_OWNED_DIRECTORIES,
    SYSTEM_DIRECTORIES,
    Components,
    Directories,
    as_written,
    components,
    remembered,
    within,
)
from webhook.injection.pod import Container, EnvVar, VolumeMount
from webhook.injection.profile import LOG_VOLUME, NAME_PREFIX, RELOCATED, Profile
from webhook.injection.reasons import Finding, Reason, shown
from webhook.injection.variables import needed_variables

__all__ = ["Participant", "Place", "Plan", "plan"]

#: More mounts than this in one container is a mistake; each costs the kubelet time at the pod's start.
MAX_PLACES = 128
#: Containers times directories: beyond, planning alone would take the time of a thousand other pods.
MAX_TARGETS = 2048
#: limits.h: the kernel takes no longer path, and to compare one costs its square.
PATH_MAX = 4096
#: All patterns together. They are arguments of the sidecar, or one variable of at most 128 KiB, and stored in etcd.
MAX_PATTERN_BYTES = 64 * 1024

#: An app can write its logs to these. A kind that is not here is not mounted: it may hold secrets.
WRITABLE_KINDS = frozenset(
    {
        *("emptyDir", "persistentVolumeClaim", "ephemeral", "hostPath", "nfs", "csi", "iscsi", "fc", "cephfs", "rbd"),
        *("glusterfs", "cinder", "azureDisk", "azureFile", "awsElasticBlockStore", "gcePersistentDisk"),
        *("vsphereVolume", "portworxVolume", "quobyte", "scaleIO", "storageos", "photonPersistentDisk", "flocker"),
        *("flexVolume", "gitRepo"),
    }
)
#: CSI drivers that mount keys and secrets.
SECRET_DRIVERS = frozenset(
    {
        *(
            "secrets-store.csi.k8s.io",
            "secrets-store.csi.x-k8s.io",
            "csi.cert-manager.io",
            "spiffe.csi.cert-manager.io",
        ),
        *("csi.spiffe.io", "csi.sharedresource.openshift.io"),
    }
)

#: Characters that would make a glob of a mount's path, or that a mount can't have.
_AWKWARD = frozenset("*?[]{}\\$:")
_SHELL_OPTION = re.compile(r"-[a-z]*c")


class Participant(Located, gc=False, kw_only=True):
    """A container whose mounts are looked at, and the variables that it gets.

    ``chosen`` containers take part; of the others only the places that they mount at a log directory are read.
    ``every`` says that entries which name no container mean this one too.
    """

    chosen: bool
    every: bool
    added: Sequence[EnvVar] = ()


#: Files relative to a mount: folder, recursive, name. A name of "" is the mount itself, a file.
_File = tuple[Components, bool, str]
_ITSELF: _File = ((), False, "")


class Place(Struct, gc=False):
    """What the sidecar mounts, and the files that it reads below it."""

    mount: VolumeMount
    new: bool
    #: The containers whose logs lie here, and where each of them sees it.
    seen_by: list[tuple[str, str]]
    files: list[_File]
    variables: tuple[EnvVar, ...] = ()
    #: Where the sidecar mounts it, and the files as it sees them: a path, a glob, or ``DIR/**/NAME`` each.
    path: str = ""
    patterns: list[str] = []

    @property
    def relocated(self) -> bool:
        """Say whether the sidecar sees it elsewhere than the app does."""
        return self.path != self.seen_by[0][1]


class Plan(Struct, gc=False):
    """Everything that is mounted: new volumes, the containers' new mounts, the sidecar's places."""

    places: list[Place]
    #: New volumes' names, and the log directory of each.
    new_volumes: list[tuple[str, str]]
    mounts: list[tuple[Located, VolumeMount]]
    #: The names of the pod's own volumes that are read.
    reused: list[str]
    #: Those of them that are read at a subPath of the user's: whoever mounts them first makes that folder.
    subpaths: set[str]
    #: Names of the containers that write the logs.
    writers: set[str]
    findings: list[Finding]

    @property
    def notes(self) -> list[Finding]:
        """Return what ``explain`` says of the plan, though nobody needs a warning for it."""
        hidden = [
            Finding(Reason.HIDES_IMAGE_FILES, "logs", directory, "the new volume hides what the image has there")
            for _, directory in self.new_volumes
        ]
        moved = [
            Finding(Reason.RELOCATED, "logs", place.seen_by[0][1], f"the sidecar has it at {place.path}")
            for place in self.places
            if place.relocated
        ]
        return hidden + moved


def plan(
    participants: Sequence[Participant],
    entries: Sequence[LogFiles],
    volumes: Mapping[str, dict[str, Any]],
    profile: Profile,
) -> Plan:
    """Return the plan for the log files in ``entries``; ``volumes`` are the pod's by name.

    Raises :class:`Declined` where it would break a container or can't be done.
    """
    targets = _targets(participants, entries)
    planning = _Planning(volumes)
    for target in targets:
        planning.add_missing(target)
    for target in targets:
        planning.find(target)
    return planning.plan(profile)


# --- one directory of one container ----------------------------------------------------------------------------


#: A container's mounts by path; None stands for a block device.
_Mounts = dict[Components, VolumeMount | None]


class _Mounted(Struct, gc=False):
    """A participant, what it mounts itself, and the volumes that it gets, both by path."""

    participant: Participant
    own: _Mounts
    new: dict[Components, VolumeMount] = {}
    #: What it runs or reads, as far as the pod says; found where a volume is to be added.
    programs: list[tuple[str, str]] | None = None


class _Target(Struct, gc=False):
    """A log directory of a container, and the entries that mean files in it."""

    mounted: _Mounted
    directory: Components
    entries: Sequence[LogFiles]
    #: The path of the mount that the directory lies in.
    cover: Components | None


def _targets(participants: Sequence[Participant], entries: Sequence[LogFiles]) -> list[_Target]:
    """Return each log directory in each container that it is meant in."""
    directories: dict[Components, list[LogFiles]] = {}
    for entry in entries:
        directories.setdefault(entry.parts, []).append(entry)
    if len(directories) * len(participants) > MAX_TARGETS:
        raise _too_many(f"{len(directories)} directories in {len(participants)} containers")
    mounted = [_Mounted(participant, _mounts(participant.container)) for participant in participants]
    targets = []
    for directory, inside in directories.items():
        for one in mounted:
            meant = _meant(one.participant, inside)
            if meant:
                targets.append(_Target(one, directory, meant, _cover(directory, one.own)))
    return targets


def _too_many(what: str) -> Declined:
    remedy = f"the logs lie in {what}, which is too many; name fewer directories or containers"
    return Declined(Finding(Reason.TOO_MANY_PLACES, "logs", "", remedy))


def _meant(participant: Participant, entries: Sequence[LogFiles]) -> list[LogFiles]:
    meant = []
    for entry in entries:
        if entry.container == participant.container.name or (participant.every and not entry.container):
            meant.append(entry)
    return meant


def _cover(directory: Components, mounts: Mapping[Components, object]) -> Components | None:
    """Return the path of the mount that the directory lies in, the nearest one."""
    while directory not in mounts:
        if not directory:
            return None
        directory = directory[:-1]
    return directory


def _mounts(container: Container) -> _Mounts:
    """Return the container's mounts by path."""
    mounts: _Mounts = {}
    for mount in container.volumeMounts or ():
        mounts[components(mount.mountPath)] = mount
    for device in container.volumeDevices or ():
        mounts[components(device.devicePath)] = None
    return mounts


_KINDS_IN_WORDS = {
    "secret": "a Secret",
    "secrets": "a volume of secrets",
    "configMap": "a ConfigMap",
    "downwardAPI": "the downward API",
    "missing": "a volume that the pod has not",
}


def _in_words(kind: str) -> str:
    return _KINDS_IN_WORDS.get(kind, f"a volume of kind {shown(kind, 24)[1:-1]}")


class _Planning:
    """Adds the volumes that are missing, then finds the places among what is mounted."""

    def __init__(self, volumes: Mapping[str, dict[str, Any]]) -> None:
        self.volumes = volumes
        self.new_volumes: dict[Components, tuple[str, str]] = {}
        self.added: list[tuple[Located, VolumeMount]] = []
        self.places: dict[tuple[Any, ...], Place] = {}
        self.subpaths: set[str] = set()
        #: Names of the containers that take part: those that can write somewhere, and those that can't.
        self.writing: set[str] = set()
        self.watching: set[str] = set()
        #: Names of the volumes that somebody can write to, and who of those that take part can't.
        self.writable: set[str] = set()
        self.unwritten: dict[str, tuple[Container, VolumeMount]] = {}

    def add_missing(self, target: _Target) -> None:
        """Add a volume where the container has none at the directory or above, and the files are not mounts."""
        mounted, directory, entries = target.mounted, target.directory, target.entries
        participant = mounted.participant
        if not participant.chosen or target.cover is not None:
            return
        for entry in entries:
            if entry.is_glob or (*directory, entry.name) not in mounted.own:
                break
        else:
            return
        _refuse_hiding(mounted, directory, entries)
        written = entries[0].directory
        volume = self.new_volumes.get(directory)
        if volume is None:
            volume = self.new_volumes[directory] = f"{NAME_PREFIX}{LOG_VOLUME}-{len(self.new_volumes) + 1}", written
        # a folder of its own for each container: two that write the same file name must not meet
        mount = VolumeMount(volume[0], written, subPath=participant.container.name)
        mounted.new[directory] = mount
        self.added.append((participant, mount))

    def find(self, target: _Target) -> None:
        """Find where the files of the target lie."""
        mounted, directory, entries, cover = target.mounted, target.directory, target.entries, target.cover
        if not mounted.participant.chosen:
            if cover is not None:
                self._watch(target, cover)
            return
        below = _below(directory, mounted.own)
        if below:
            entries = self._find_files(target, below)
            if not entries:
                return
        if cover is not None:
            self._reuse(mounted, cover, _files(entries, directory[len(cover) :]), entries[0])
        if mounted.new:
            self._find_new(mounted, directory, entries)
        for path, mount in below.items():
            files = self._files_below(path, directory, mount, entries)
            if files:
                self._reuse(mounted, path, files, entries[0])

    def _find_files(self, target: _Target, below: _Mounts) -> list[LogFiles]:
        """Find the files that are mounts themselves, which are taken out of ``below``; return the other entries."""
        rest = []
        for entry in target.entries:
            path = (*target.directory, entry.name)
            if not entry.is_glob and path in below:
                del below[path]
                self._reuse(target.mounted, path, [_ITSELF], entry)
            else:
                rest.append(entry)
        return rest

    def _find_new(self, mounted: _Mounted, directory: Components, entries: Sequence[LogFiles]) -> None:
        """Find the new volume at the directory, and those of log directories inside it."""
        for path, mount in mounted.new.items():
            if within(path, directory):
                meant = entries if path == directory else [entry for entry in entries if entry.recursive]
                if meant:
                    self._add_place(mounted, mount, _files(meant), new=True)

    def _watch(self, target: _Target, cover: Components) -> None:
        """Find what a container mounts that takes no part."""
        entries = target.entries
        try:
            self._reuse(target.mounted, cover, _files(entries, target.directory[len(cover) :]), entries[0])
        except Declined:
            # it was not asked to take part, so what it mounts is no reason to do nothing
            return

    def _kind(self, mount: VolumeMount) -> str:
        """Return the kind of the mounted volume; a volume that says none is an emptyDir (core/v1 defaults)."""
        volume = self.volumes.get(mount.name)
        if volume is None:
            return "missing"
        kind = next((key for key, value in volume.items() if key != "name" and value is not None), "emptyDir")
        if kind == "csi" and _holds_no_logs(volume[kind]):
            return "secrets"
        return kind

    def _reuse(self, mounted: _Mounted, path: Components, files: list[_File], entry: LogFiles) -> None:
        """Add the place that the container mounts itself at the path."""
        participant, mount = mounted.participant, mounted.own[path]
        container = participant.container
        if mount is None:
            remedy = f"container {shown(container.name)} has a block device there; write another directory"
            raise Declined(Finding(Reason.BLOCK_DEVICE, "logs", entry.text, remedy))
        kind = self._kind(mount)
        if kind not in WRITABLE_KINDS:
            remedy = f"{_in_words(kind)} is mounted there; logs can't be in it"
            raise Declined(Finding(Reason.UNWRITABLE_VOLUME, "logs", entry.text, remedy))
        source = self.volumes[mount.name].get(kind)
        read_only = bool(mount.readOnly) or (isinstance(source, dict) and source.get("readOnly") is True)
        variables: tuple[EnvVar, ...] = ()
        if mount.subPathExpr:
            variables = needed_variables(container, participant.added, mount.subPathExpr)
        if mount.subPath or mount.subPathExpr:
            self.subpaths.add(mount.name)
        self._add_place(mounted, mount, files, new=False, writable=not read_only, variables=variables)

    def _add_place(
        self,
        mounted: _Mounted,
        mount: VolumeMount,
        files: list[_File],
        *,
        new: bool,
        writable: bool = True,
        variables: tuple[EnvVar, ...] = (),
    ) -> None:
        """Add what a container sees at a mount: a place of its own, or one that is known already."""
        container = mounted.participant.container
        identity = (mount.name, components(mount.subPath or ""), mount.subPathExpr or "", *map(_definition, variables))
        seen = (container.name, as_written(mount.mountPath))
        place = self.places.get(identity)
        if place is None:
            self.places[identity] = Place(mount, new, [seen], files, variables)
        else:
            place.seen_by.append(seen)
            place.files += [file for file in files if file not in place.files]
        if writable:
            self.writable.add(mount.name)
        if mounted.participant.chosen:
            (self.writing if writable else self.watching).add(container.name)
            if not writable:
                self.unwritten.setdefault(mount.name, (container, mount))

    def _files_below(
        self, path: Components, directory: Components, mount: VolumeMount | None, entries: Sequence[LogFiles]
    ) -> list[_File]:
        """Return which files can lie in a mount below the directory; none where it can't hold logs at all."""
        if mount is None or self._kind(mount) not in WRITABLE_KINDS:
            return []
        # only these can be a file; the root of any other volume is a directory
        can_be_file = bool(mount.subPath or mount.subPathExpr) or self._kind(mount) == "hostPath"
        files: list[_File] = []
        for entry in entries:
            reached = entry.recursive or len(path) == len(directory) + 1
            if can_be_file and reached and fnmatchcase(path[-1], entry.name):
                files.append(_ITSELF)
            if entry.recursive:
                files.append(((), True, entry.name))
        return list(dict.fromkeys(files))

    def plan(self, profile: Profile) -> Plan:
        """Return the plan: from now on each place has its path in the sidecar."""
        places = list(self.places.values())
        _settle(places, profile)
        reused: dict[str, None] = {}
        for place in places:
            if not place.new:
                reused[place.mount.name] = None
        return Plan(
            places=places,
            new_volumes=list(self.new_volumes.values()),
            mounts=self.added,
            reused=list(reused),
            subpaths=self.subpaths,
            # where nobody can write the logs, who at least sees them
            writers=self.writing or self.watching,
            findings=self._findings() if self.unwritten else [],
        )

    def _findings(self) -> list[Finding]:
        """Return a finding for each volume that no container can write to where its logs should be."""
        findings = []
        for name, (container, mount) in self.unwritten.items():
            if name not in self.writable:
                place = shown(mount.mountPath, 30)
                remedy = f"{shown(container.name, 24)} can't write at {place}: it is read-only there"
                findings.append(Finding(Reason.READ_ONLY_MOUNT, "logs", "", remedy))
        return findings


def _files(entries: Sequence[LogFiles], folder: Components = ()) -> list[_File]:
    """Return the files that are meant, in a folder of a mount."""
    return [(folder, entry.recursive, entry.name) for entry in entries]


def _definition(variable: EnvVar) -> tuple[str, str | None, str]:
    return variable.name, variable.value, repr(variable.valueFrom)


def _below(directory: Components, mounts: _Mounts) -> _Mounts:
    """Return the mounts inside the directory."""
    depth = len(directory)
    below: _Mounts = {}
    for path, mount in mounts.items():
        if path[:depth] == directory and len(path) > depth:
            below[path] = mount
    return below


# --- what a new volume would hide ------------------------------------------------------------------------------


def _refuse_hiding(mounted: _Mounted, directory: Components, entries: Sequence[LogFiles]) -> None:
    """Raise :class:`Declined` where an empty volume at the directory must break the container."""
    entry = entries[0]
    if SYSTEM_DIRECTORIES.within(directory) or OWNED_DIRECTORIES.hold(directory):
        remedy = "nothing can be mounted there; write for example /var/log/app/*.log"
        raise Declined(Finding(Reason.SYSTEM_DIRECTORY, "logs", entry.text, remedy))
    container = mounted.participant.container
    if mounted.programs is None:
        mounted.programs = _programs(container)
    name = directory[-1]
    for what, path in mounted.programs:
        if name not in path or len(path) > PATH_MAX:
            continue  # it can't lie in the directory, however it is written; or no kernel would open it
        parts = components(path)
        # what lies in a mount of the container's own stays where it is
        if not within(parts, directory) or _cover(parts, mounted.own) is not None:
            continue
        if what == "argument" and (parts == directory or any(entry.matches(parts) for entry in entries)):
            continue
        remedy = (
            f"hides {shown(path, 30)}, the {what} of {shown(container.name, 20)}; log elsewhere, or name containers"
        )
        raise Declined(Finding(Reason.HIDES_PROGRAM, "logs", entry.text, remedy))


def _programs(container: Container) -> list[tuple[str, str]]:
    """Return what the container is told to run or to read, as far as the pod says: what it is, and its path."""
    command, folder, lifecycle = container.command, container.workingDir, container.lifecycle
    found = [("workingDir", folder)] if folder else []
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None and probe.run is not None and probe.run.command:
            found.append(("probe", _program(probe.run.command[0], folder)))
    for hook in (lifecycle.postStart, lifecycle.preStop) if lifecycle is not None else ():
        if hook is not None and hook.run is not None and hook.run.command:
            found.append(("hook", _program(hook.run.command[0], folder)))
    previous = ""
    if command:
        found.append(("command", _program(command[0], folder)))
        previous = _add_arguments(command[1:], previous, found)
    _add_arguments(container.args or (), previous, found)
    return found


def _add_arguments(texts: Sequence[str], previous: str, found: list[tuple[str, str]]) -> str:
    """Add those that are paths to what was found; return the last text, ``previous`` is the one before them."""
    for text in texts:
        if text[:1] == "/" and not _is_program_text(text, previous):
            found.append(("argument", text))
        previous = text
    return previous


def _program(path: str, folder: str | None) -> str:
    """Return a program's path, or nothing for a name that is looked up in PATH or in a folder that we don't know."""
    if path.startswith("/"):
        return path
    return f"{folder}/{path}" if "/" in path and folder else ""


def _is_program_text(text: str, previous: str) -> bool:
    """Say whether an argument is a shell's program, in which a path means nothing certain."""
    return bool(_SHELL_OPTION.fullmatch(previous)) and any(
        character.isspace() or character in ";|&<>" for character in text
    )


# --- what the sidecar mounts -----------------------------------------------------------------------------------


def _settle(places: Sequence[Place], profile: Profile) -> None:
    """Find each place a path in the sidecar, and with it its patterns."""
    if len(places) > MAX_PLACES:
        raise _too_many(f"{len(places)} places")
    taken = profile.reserved.copy()
    size = 0
    for place in places:
        path = place.path = _sidecar_path(place, profile, taken, alone=len(places) == 1)
        taken.add(components(path))
        place.patterns = [_pattern(path, file) for file in place.files]
        for pattern in place.patterns:
            size += len(pattern)
    # a character is at most four bytes; almost no pod has so many that they must be counted
    if size * 4 > MAX_PATTERN_BYTES and size_of(places) > MAX_PATTERN_BYTES:
        raise _too_many(f"patterns of more than {MAX_PATTERN_BYTES} bytes")


def _pattern(path: str, file: _File) -> str:
    """Return a file as the sidecar sees it that has its mount at the path."""
    folder, recursive, name = file
    if folder:
        path = "/".join((path, *folder))
    if recursive:
        path += "/**"
    return f"{path}/{name}" if name else path


def size_of(places: Iterable[Place]) -> int:
    """Return the bytes of all patterns."""
    return sum(len(pattern.encode()) for place in places for pattern in place.patterns)


def _sidecar_path(place: Place, profile: Profile, taken: Directories, *, alone: bool) -> str:
    """Return where the sidecar mounts the place: at the app's own path, if nothing of ours collides with it.

    A mount inside another can't start, for ours are read-only; so paths that contain each other collide too.
    """
    container, path = place.seen_by[0]
    root = profile.logs_mount_path or RELOCATED
    if profile.logs_mount_path is not None:
        if alone and _ITSELF not in place.files:
            return profile.logs_mount_path
    elif _suits_sidecar(path) and not taken.collide(components(path)):
        return path
    # the API server looks at names after us: "" or "." would be the root itself, in which nothing finds a place then
    folder = container if _is_folder(container) else "container"
    candidate, number = f"{root}/{folder}", 1
    while taken.collide(components(candidate)):
        number += 1
        candidate = f"{root}/{folder}-{number}"
    if _ITSELF not in place.files:
        return candidate
    # a single file keeps its name, if that is no pattern itself, and a folder to itself
    name = components(path)[-1]
    return f"{candidate}/{name if _AWKWARD.isdisjoint(name) else 'file'}"


#: A container's name as Kubernetes allows it (RFC 1123 label).
_FOLDER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@remembered
def _is_folder(name: str) -> bool:
    """Say whether a container's name can be that of a folder."""
    return _FOLDER.fullmatch(name) is not None


@remembered
def _suits_sidecar(path: str) -> bool:
    """Say whether something can be mounted there in any sidecar."""
    parts = components(path)
    return (
        _AWKWARD.isdisjoint(path) and not IMAGE_DIRECTORIES.within(parts) and not SIDECAR_OWNED_DIRECTORIES.hold(parts)
    )


def _holds_no_logs(csi: Any) -> bool:
    """Say whether an inline CSI volume is for secrets, or can't be written; so is one that is no object at all."""
    if not isinstance(csi, dict):
        return True
    driver = csi.get("driver")
    # no log can be where nobody can write, but a secret can
    return not isinstance(driver, str) or driver in SECRET_DRIVERS or csi.get("readOnly") is True
