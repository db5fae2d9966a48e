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
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class Participant(Struct, gc=False):
    """A container whose mounts are looked at, and the variables that it gets.

    ``chosen`` containers take part; of the others only the places that they mount at a log directory are read.
    ``every`` says that entries which name no container mean this one too.
    """

    located: Located
    container: Container
    chosen: bool
    every: bool
    added: Sequence[EnvVar] = ()


class Source(Struct, gc=False):
    """A place in a container where log files lie: a mount, and which files below it."""

    participant: Participant
    mount: VolumeMount
    path: Components
    new: bool
    writable: bool
    #: Each relative to the mount: folder, recursive, name. A name of "" is the mount itself, a file.
    files: tuple[tuple[Components, bool, str], ...]
    variables: tuple[EnvVar, ...] = ()


class Place(Struct, gc=False):
    """What the sidecar mounts, at ``path``, and the files that it reads below it."""

    mount: VolumeMount
    path: str
    new: bool
    #: The containers whose logs lie here, and where each of them sees it.
    seen_by: list[tuple[str, str]]
    files: list[tuple[Components, bool, str]]
    variables: tuple[EnvVar, ...] = ()

    @property
    def patterns(self) -> list[str]:
        """Return the files as the sidecar sees them: a path, a glob, or ``DIR/**/NAME`` each."""
        return [
            "/".join((self.path, *folder, *(("**",) if recursive else ()), *((name,) if name else ())))
            for folder, recursive, name in self.files
        ]

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
    #: Volumes that are read at a subPath of the user's: whoever mounts them first makes that folder.
    subpaths: frozenset[str]
    #: Names of the containers that write the logs.
    writers: list[str]
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

    @property
    def reused(self) -> list[str]:
        """Return the names of the pod's own volumes that are read."""
        return list(dict.fromkeys(place.mount.name for place in self.places if not place.new))


def plan(
    participants: Sequence[Participant],
    entries: Sequence[LogFiles],
    volumes: Sequence[dict[str, Any]],
    profile: Profile,
) -> Plan:
    """Return the plan for the log files in ``entries``.

    Raises :class:`Declined` where it would break a container or can't be done.
    """
    planning = _Planning({volume["name"]: volume for volume in volumes})
    directories: dict[Components, list[LogFiles]] = {}
    for entry in entries:
        directories.setdefault(entry.parts, []).append(entry)
    if len(directories) * len(participants) > MAX_TARGETS:
        raise _too_many(f"{len(directories)} directories in {len(participants)} containers")
    targets = [
        planning.target(participant, directory, meant)
        for directory, inside in directories.items()
        for participant in participants
        if (meant := _meant(participant, inside))
    ]
    for target in targets:
        planning.add_missing(target)
    sources = [source for target in targets for source in planning.sources(target)]
    return Plan(
        places=_places(sources, profile),
        new_volumes=list(planning.new_volumes.values()),
        mounts=planning.added,
        subpaths=frozenset(
            [
                source.mount.name
                for source in sources
                if not source.new and (source.mount.subPath or source.mount.subPathExpr)
            ]
        ),
        writers=_writers(sources),
        findings=_unwritten(sources),
    )


# --- one directory of one container ----------------------------------------------------------------------------

_File = tuple[Components, bool, str]
_ITSELF: _File = ((), False, "")


_KINDS_IN_WORDS = {
    "secret": "a Secret",
    "secrets": "a volume of secrets",
    "configMap": "a ConfigMap",
    "downwardAPI": "the downward API",
    "missing": "a volume that the pod has not",
}


def _in_words(kind: str) -> str:
    return _KINDS_IN_WORDS.get(kind, f"a volume of kind {shown(kind, 24)[1:-1]}")


#: A container's mounts by path; None stands for a block device.
_Mounts = dict[Components, VolumeMount | None]


class _Target(Struct, gc=False):
    """A log directory of a container, and the entries that mean files in it."""

    participant: Participant
    directory: Components
    entries: Sequence[LogFiles]
    #: What the container mounts itself, and the path of the mount that the directory lies in.
    own: _Mounts
    cover: Components | None


def _too_many(what: str) -> Declined:
    remedy = f"the logs lie in {what}, which is too many; name fewer directories or containers"
    return Declined(Finding(Reason.TOO_MANY_PLACES, "logs", "", remedy))


def _meant(participant: Participant, entries: Sequence[LogFiles]) -> list[LogFiles]:
    name = participant.container.name
    return [entry for entry in entries if entry.container == name or (not entry.container and participant.every)]


class _Planning:
    """Adds the volumes that are missing, then finds the sources among what is mounted."""

    def __init__(self, volumes: dict[str, dict[str, Any]]) -> None:
        self.volumes = volumes
        self.new_volumes: dict[Components, tuple[str, str]] = {}
        self.added: list[tuple[Located, VolumeMount]] = []
        self._own: dict[str, _Mounts] = {}
        self._new: dict[str, dict[Components, VolumeMount]] = {}

    def target(self, participant: Participant, directory: Components, entries: Sequence[LogFiles]) -> _Target:
        """Return the target with what the container mounts."""
        container = participant.container
        own = self._own.get(container.name)
        if own is None:
            own = self._own[container.name] = _mounts(container)
        return _Target(participant, directory, entries, own, _cover(directory, own))

    def add_missing(self, target: _Target) -> None:
        """Add a volume where the container has none at the directory or above, and the files are not mounts."""
        participant, directory, entries = target.participant, target.directory, target.entries
        if not participant.chosen or target.cover is not None:
            return
        mounted = [entry for entry in entries if not entry.is_glob and (*directory, entry.name) in target.own]
        if len(mounted) == len(entries):
            return
        container = participant.container
        _refuse_hiding(container, directory, entries, target.own)
        written = entries[0].directory
        if directory not in self.new_volumes:
            self.new_volumes[directory] = f"{NAME_PREFIX}{LOG_VOLUME}-{len(self.new_volumes) + 1}", written
        name, _ = self.new_volumes[directory]
        # a folder of its own for each container: two that write the same file name must not meet
        mount = VolumeMount(name, written, subPath=container.name)
        self._new.setdefault(container.name, {})[directory] = mount
        self.added.append((participant.located, mount))

    def sources(self, target: _Target) -> Iterator[Source]:
        """Yield where the files of the target lie."""
        participant, directory, own, cover = target.participant, target.directory, target.own, target.cover
        if not participant.chosen:
            if cover is not None:
                yield from self._bystander(participant, cover, own, directory, target.entries)
            return
        below = _below(directory, own)
        rest = []
        for entry in target.entries:
            path = (*directory, entry.name)
            if not entry.is_glob and path in below:
                yield self._reused(participant, path, below.pop(path), (_ITSELF,), entry)
            else:
                rest.append(entry)
        if not rest:
            return
        if cover is not None:
            files = tuple((directory[len(cover) :], entry.recursive, entry.name) for entry in rest)
            yield self._reused(participant, cover, own[cover], files, rest[0])
        yield from self._new_sources(participant, directory, rest)
        for path, mount in below.items():
            files = self._files_below(path, directory, mount, rest)
            if files:
                yield self._reused(participant, path, mount, files, rest[0])

    def _new_sources(
        self, participant: Participant, directory: Components, entries: Sequence[LogFiles]
    ) -> Iterator[Source]:
        """Yield the new volume at the directory, and those of log directories inside it."""
        new = self._new.get(participant.container.name, {})
        for path, mount in new.items():
            if not within(path, directory):
                continue
            files: list[_File] = [
                ((), entry.recursive, entry.name) for entry in entries if entry.recursive or path == directory
            ]
            if files:
                yield Source(participant, mount, path, new=True, writable=True, files=tuple(files))

    def _bystander(
        self,
        participant: Participant,
        cover: Components,
        mounts: _Mounts,
        directory: Components,
        meant: Sequence[LogFiles],
    ) -> Iterator[Source]:
        files = tuple((directory[len(cover) :], entry.recursive, entry.name) for entry in meant)
        try:
            yield self._reused(participant, cover, mounts[cover], files, meant[0])
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

    def _reused(
        self,
        participant: Participant,
        path: Components,
        mount: VolumeMount | None,
        files: tuple[_File, ...],
        entry: LogFiles,
    ) -> Source:
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
        return Source(participant, mount, path, new=False, writable=not read_only, files=files, variables=variables)

    def _files_below(
        self, path: Components, directory: Components, mount: VolumeMount | None, entries: Sequence[LogFiles]
    ) -> tuple[_File, ...]:
        """Return which files can lie in a mount below the directory; none where it can't hold logs at all."""
        if mount is None or self._kind(mount) not in WRITABLE_KINDS:
            return ()
        # only these can be a file; the root of any other volume is a directory
        can_be_file = bool(mount.subPath or mount.subPathExpr) or self._kind(mount) == "hostPath"
        files: list[_File] = []
        for entry in entries:
            reached = entry.recursive or len(path) == len(directory) + 1
            if can_be_file and reached and fnmatchcase(path[-1], entry.name):
                files.append(_ITSELF)
            if entry.recursive:
                files.append(((), True, entry.name))
        return tuple(dict.fromkeys(files))


def _cover(directory: Components, mounts: Mapping[Components, object]) -> Components | None:
    """Return the path of the mount that the directory lies in, the nearest one."""
    while directory not in mounts:
        if not directory:
            return None
        directory = directory[:-1]
    return directory


def _below(directory: Components, mounts: _Mounts) -> _Mounts:
    """Return the mounts inside the directory."""
    depth = len(directory)
    return {path: mount for path, mount in mounts.items() if len(path) > depth and path[:depth] == directory}


def _mounts(container: Container) -> _Mounts:
    """Return the container's mounts by path."""
    mounts: _Mounts = {components(mount.mountPath): mount for mount in container.volumeMounts or ()}
    for device in container.volumeDevices or ():
        mounts[components(device.devicePath)] = None
    return mounts


# --- what a new volume would hide ------------------------------------------------------------------------------


def _refuse_hiding(
    container: Container,
    directory: Components,
    entries: Sequence[LogFiles],
    mounts: _Mounts,
) -> None:
    """Raise :class:`Declined` where an empty volume at the directory must break the container."""
    entry = entries[0]
    if SYSTEM_DIRECTORIES.within(directory) or OWNED_DIRECTORIES.hold(directory):
        remedy = "nothing can be mounted there; write for example /var/log/app/*.log"
        raise Declined(Finding(Reason.SYSTEM_DIRECTORY, "logs", entry.text, remedy))
    name = directory[-1]
    for what, path in _programs(container):
        if name not in path or len(path) > PATH_MAX:
            continue  # it can't lie in the directory, however it is written; or no kernel would open it
        parts = components(path)
        # what lies in a mount of the container's own stays where it is
        if not within(parts, directory) or _cover(parts, mounts) is not None:
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
    probes = (container.livenessProbe, container.readinessProbe, container.startupProbe)
    hooks = (lifecycle.postStart, lifecycle.preStop) if lifecycle is not None else ()
    for what, handlers in (("probe", probes), ("hook", hooks)):
        for handler in handlers:
            if handler is not None and handler.run is not None and handler.run.command:
                found.append((what, _program(handler.run.command[0], folder)))  # noqa: PERF401 — in one line nobody reads it
    if command:
        found.append(("command", _program(command[0], folder)))
    previous = ""
    for text in [*(command or ())[1:], *(container.args or ())]:
        if text.startswith("/") and not _is_program_text(text, previous):
            found.append(("argument", text))
        previous = text
    return found


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


def _identity(source: Source) -> tuple[Any, ...]:
    """Return what makes two mounts the same place."""
    mount = source.mount
    values = [(variable.name, variable.value, repr(variable.valueFrom)) for variable in source.variables]
    return (mount.name, components(mount.subPath or ""), mount.subPathExpr or "", *values)


def _places(sources: Sequence[Source], profile: Profile) -> list[Place]:
    """Return each place once, with the path at which the sidecar mounts it."""
    places: dict[tuple[Any, ...], Place] = {}
    for source in sources:
        seen = (source.participant.container.name, as_written(source.mount.mountPath))
        place = places.get(key := _identity(source))
        if place is None:
            files = list(source.files)
            places[key] = Place(source.mount, "", source.new, [seen], files, source.variables)
        else:
            place.seen_by.append(seen)
            place.files += [file for file in source.files if file not in place.files]
    if len(places) > MAX_PLACES:
        raise _too_many(f"{len(places)} places")
    taken = Directories()
    for path in profile.reserved:
        taken.add(path)
    for place in places.values():
        place.path = _sidecar_path(place, profile, taken, alone=len(places) == 1)
        taken.add(components(place.path))
    size = sum(len(pattern) for place in places.values() for pattern in place.patterns)
    # a character is at most four bytes; almost no pod has so many that they must be counted
    if size * 4 > MAX_PATTERN_BYTES and size_of(places.values()) > MAX_PATTERN_BYTES:
        raise _too_many(f"patterns of more than {MAX_PATTERN_BYTES} bytes")
    return list(places.values())


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
    folder = container if _FOLDER.fullmatch(container) else "container"
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
def _suits_sidecar(path: str) -> bool:
    """Say whether something can be mounted there in any sidecar."""
    parts = components(path)
    return (
        _AWKWARD.isdisjoint(path) and not IMAGE_DIRECTORIES.within(parts) and not SIDECAR_OWNED_DIRECTORIES.hold(parts)
    )


def _writers(sources: Sequence[Source]) -> list[str]:
    """Return who can write the logs; where nobody can, who at least sees them."""
    chosen = [source for source in sources if source.participant.chosen]
    writing = [source for source in chosen if source.writable] or chosen
    return list(dict.fromkeys([source.participant.container.name for source in writing]))


def _unwritten(sources: Sequence[Source]) -> list[Finding]:
    """Return a finding for each volume that no container can write to where its logs should be."""
    writable = {source.mount.name for source in sources if source.writable}
    findings: dict[str, Finding] = {}
    for source in sources:
        name = source.mount.name
        if source.participant.chosen and name not in writable and name not in findings:
            container = source.participant.container.name
            remedy = f"{shown(container, 24)} can't write at {shown(source.mount.mountPath, 30)}: it is read-only there"
            findings[name] = Finding(Reason.READ_ONLY_MOUNT, "logs", "", remedy)
    return list(findings.values())


def _holds_no_logs(csi: Any) -> bool:
    """Say whether an inline CSI volume is for secrets, or can't be written; so is one that is no object at all."""
    if not isinstance(csi, dict):
        return True
    driver = csi.get("driver")
    # no log can be where nobody can write, but a secret can
    return not isinstance(driver, str) or driver in SECRET_DRIVERS or csi.get("readOnly") is True
