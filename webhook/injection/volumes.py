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
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from webhook.injection.annotations import Declined, LogFiles
from webhook.injection.edit import Located
from webhook.injection.kinds import HOST_PATH, WRITABLE_KINDS, in_words, is_read_only, kind_of
from webhook.injection.paths import (
    IMAGE_DIRECTORIES,
    OWNED_DIRECTORIES,
    SIDECAR_OWNED_DIRECTORIES,
    SYSTEM_DIRECTORIES,
    Components,
    as_written,
    components,
    literal,
    probably_holds_application,
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

#: Longer paths are no help in a warning of 120 characters.
LONGEST_EXAMPLE = 28
#: Characters that would make a glob of a mount's path, or that a mount can't have.
_AWKWARD = frozenset("*?[]{}\\$:")
_SHELL_OPTION = re.compile(r"-[a-z]*c")


#: A container's mounts by path; None stands for a block device.
Mounts = dict[Components, VolumeMount | None]


class Participant(Located, gc=False, kw_only=True):
    """A container whose mounts are looked at, and the variables that it gets.

    ``chosen`` containers take part; of the others only the places that they mount at a log directory are read.
    ``every`` says that entries which name no container mean this one too.
    """

    chosen: bool
    every: bool
    added: Sequence[EnvVar] = ()
    #: What it mounts itself, and the volumes that it gets, both by path.
    own: Mounts
    new: dict[Components, VolumeMount] = msgspec.field(default_factory=dict)
    #: How its paths are read: a volume at /var has its own /var/run.
    resolve: Callable[[str], Components] = components

    @classmethod
    def of(
        cls, container: Container, pointer: str, *, chosen: bool, every: bool, added: Sequence[EnvVar] = ()
    ) -> "Participant":
        """Return the container with its mounts by path."""
        paths = [mount.mountPath for mount in container.volumeMounts or ()]
        resolve = literal if any(components(path) == _VAR for path in paths) else components
        own: Mounts = {}
        for mount in container.volumeMounts or ():
            own[resolve(mount.mountPath)] = mount
        for device in container.volumeDevices or ():
            own[resolve(device.devicePath)] = None
        return cls(container, pointer, chosen=chosen, every=every, added=added, own=own, resolve=resolve)


_VAR: Components = ("var",)
_RUN: Components = ("run",)


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
            if not probably_holds_application(directory)
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
    *,
    host_paths: bool = True,
) -> Plan:
    """Return the plan for the log files in ``entries``; ``volumes`` are the pod's by name.

    ``host_paths`` says whether the node's own folders are read, which only the pod itself may ask for. Raises
    :class:`Declined` where it would break a container or can't be done.
    """
    planning = _Planning(volumes, host_paths=host_paths)
    targets = _targets(participants, entries)
    for target in targets:
        planning.add_missing(target)
    # only now: an entry with ** also means files in the volumes of directories inside its own
    for target in targets:
        planning.find(target)
    return planning.plan(profile)


# --- one directory of one container ----------------------------------------------------------------------------


class _Target(Struct, gc=False):
    """A log directory of a container, and the entries that mean files in it."""

    participant: Participant
    directory: Components
    entries: Sequence[LogFiles]
    #: The path of the nearest mount that the directory lies in, and the mounts inside it.
    cover: Components | None
    below: Mounts


def _targets(participants: Sequence[Participant], entries: Sequence[LogFiles]) -> list[_Target]:
    """Return each log directory in each container that it is meant in."""
    directories: dict[Components, list[LogFiles]] = {}
    prefixed: set[Components] = set()
    for entry in entries:
        directories.setdefault(entry.parts, []).append(entry)
        if entry.container:
            prefixed.add(entry.parts)
    if len(directories) * len(participants) > MAX_TARGETS:
        raise _too_many(f"{len(directories)} directories in {len(participants)} containers")
    targets = []
    for directory, inside in directories.items():
        for one in participants:
            meant = inside if one.every and directory not in prefixed else _meant(one, inside)
            for path, files in _by_path(one, directory, meant):
                targets.append(_Target(one, path, files, *_around(path, one.own)))
    return targets


def _by_path(
    participant: Participant, directory: Components, entries: Sequence[LogFiles]
) -> Iterable[tuple[Components, Sequence[LogFiles]]]:
    """Return the directory and its entries; two directories where /var/run and /run are not the same."""
    if participant.resolve is components or directory[:1] != _RUN:
        return ((directory, entries),) if entries else ()
    paths: dict[Components, list[LogFiles]] = {}
    for entry in entries:
        paths.setdefault(participant.resolve(entry.directory), []).append(entry)
    return paths.items()


def _are_mounts(target: _Target) -> bool:
    """Say whether every file that is meant is a mount itself."""
    return all(not entry.is_glob and (*target.directory, entry.name) in target.below for entry in target.entries)


def _too_many(what: str) -> Declined:
    remedy = f"the logs lie in {what}, which is too many; name fewer directories or containers"
    return Declined(Finding(Reason.TOO_MANY_PLACES, "logs", "", remedy))


def _meant(participant: Participant, entries: Sequence[LogFiles]) -> list[LogFiles]:
    meant = []
    for entry in entries:
        if entry.container == participant.container.name or (participant.every and not entry.container):
            meant.append(entry)
    return meant


def _around(directory: Components, mounts: Mounts) -> tuple[Components | None, Mounts]:
    """Return the path of the nearest mount that the directory lies in, and the mounts inside it."""
    cover: Components | None = None
    below: Mounts = {}
    depth = len(directory)
    for path, mount in mounts.items():
        if len(path) > depth:
            if path[:depth] == directory:
                below[path] = mount
        elif directory[: len(path)] == path and (cover is None or len(path) > len(cover)):
            cover = path
    return cover, below


class _Planning:
    """Adds the volumes that are missing, then finds the places among what is mounted."""

    def __init__(self, volumes: Mapping[str, dict[str, Any]], *, host_paths: bool) -> None:
        self.volumes = volumes
        self.host_paths = host_paths
        self.new_volumes: dict[Components, tuple[str, str]] = {}
        self.added: list[tuple[Located, VolumeMount]] = []
        self.places: dict[tuple[Any, ...], Place] = {}
        self.subpaths: set[str] = set()
        #: Names of the containers that take part: those that can write somewhere, and those that can't.
        self.writing: set[str] = set()
        self.watching: set[str] = set()
        #: Names of the pod's volumes that somebody can write to, and who of those that take part can't.
        self.writable: set[str] = set()
        self.unwritten: dict[str, tuple[Container, VolumeMount]] = {}

    def add_missing(self, target: _Target) -> None:
        """Add a volume where the container has none at the directory or above, and the files are not mounts."""
        participant, directory, entries = target.participant, target.directory, target.entries
        if not participant.chosen or target.cover is not None or (target.below and _are_mounts(target)):
            return
        written = entries[0].directory
        volume = self.new_volumes.get(directory)
        if volume is None:
            _refuse_system(entries[0])
            name = f"{NAME_PREFIX}{LOG_VOLUME}-{len(self.new_volumes) + 1}"
            volume = self.new_volumes[directory] = name, written
        _refuse_hiding(target)
        # a folder of its own for each container: two that write the same file name must not meet
        mount = VolumeMount(volume[0], written, subPath=participant.container.name)
        participant.new[directory] = mount
        self.added.append((participant, mount))

    def find(self, target: _Target) -> None:
        """Find where the files of the target lie."""
        participant, entries, cover = target.participant, target.entries, target.cover
        if not participant.chosen:
            if cover is not None:
                self._watch(target, cover)
            return
        if target.below:
            entries = self._find_files(target)
            if not entries:
                return
        if cover is not None:
            self._reuse(participant, cover, _files(entries, target.directory[len(cover) :]), entries[0])
        if participant.new:
            self._find_new(participant, target.directory, entries)
        for path, mount in target.below.items():
            files = self._files_below(path, target.directory, mount, entries)
            if files:
                self._reuse(participant, path, files, entries[0])

    def _find_files(self, target: _Target) -> list[LogFiles]:
        """Find the files that are mounts themselves, which are taken out of ``below``; return the other entries."""
        rest, below = [], target.below
        for entry in target.entries:
            path = (*target.directory, entry.name)
            if not entry.is_glob and path in below:
                del below[path]
                self._reuse(target.participant, path, [_ITSELF], entry)
            else:
                rest.append(entry)
        return rest

    def _find_new(self, participant: Participant, directory: Components, entries: Sequence[LogFiles]) -> None:
        """Find the new volume at the directory, and those of log directories inside it."""
        name = participant.container.name
        for path, mount in participant.new.items():
            if within(path, directory):
                meant = entries if path == directory else [entry for entry in entries if entry.recursive]
                if meant:
                    self.writing.add(name)
                    self._add_place(name, mount, _files(meant), new=True)

    def _watch(self, target: _Target, cover: Components) -> None:
        """Find what a container mounts that takes no part."""
        entries = target.entries
        try:
            self._reuse(target.participant, cover, _files(entries, target.directory[len(cover) :]), entries[0])
        except Declined:
            # it was not asked to take part, so what it mounts is no reason to do nothing
            return

    def _reuse(self, participant: Participant, path: Components, files: list[_File], entry: LogFiles) -> None:
        """Add the place that the container mounts itself at the path."""
        container, mount = participant.container, participant.own[path]
        if mount is None:
            remedy = f"container {shown(container.name)} has a block device there; write another directory"
            raise Declined(Finding(Reason.BLOCK_DEVICE, "logs", entry.text, remedy))
        kind = kind_of(self.volumes, mount)
        if kind not in WRITABLE_KINDS:
            remedy = f"{in_words(kind)} is mounted there; logs can't be in it"
            raise Declined(Finding(Reason.UNWRITABLE_VOLUME, "logs", entry.text, remedy))
        if kind == HOST_PATH and not self.host_paths:
            return
        read_only = is_read_only(self.volumes, mount)
        variables: tuple[EnvVar, ...] = ()
        if mount.subPathExpr:
            variables = needed_variables(container, participant.added, mount.subPathExpr)
        if mount.subPath or mount.subPathExpr:
            self.subpaths.add(mount.name)
        self._add_place(container.name, mount, files, new=False, variables=variables)
        if not read_only:
            self.writable.add(mount.name)
        if participant.chosen:
            (self.watching if read_only else self.writing).add(container.name)
            if read_only:
                self.unwritten.setdefault(mount.name, (container, mount))

    def _add_place(
        self, container: str, mount: VolumeMount, files: list[_File], *, new: bool, variables: tuple[EnvVar, ...] = ()
    ) -> None:
        """Add what a container sees at a mount: a place of its own, or one that is known already."""
        identity: tuple[Any, ...] = (mount.name, components(mount.subPath or ""), mount.subPathExpr or "")
        if variables:
            identity += tuple((one.name, one.value, repr(one.valueFrom)) for one in variables)
        seen = (container, as_written(mount.mountPath))
        place = self.places.get(identity)
        if place is None:
            self.places[identity] = Place(mount, new, [seen], files, variables)
        else:
            place.seen_by.append(seen)
            place.files += [file for file in files if file not in place.files]

    def _files_below(
        self, path: Components, directory: Components, mount: VolumeMount | None, entries: Sequence[LogFiles]
    ) -> list[_File]:
        """Return which files can lie in a mount below the directory; none where it can't hold logs at all."""
        kind = kind_of(self.volumes, mount) if mount is not None else ""
        if mount is None or kind not in WRITABLE_KINDS:
            return []
        # only these can be a file; the root of any other volume is a directory
        can_be_file = bool(mount.subPath or mount.subPathExpr) or kind == HOST_PATH
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
            findings=self._findings(),
        )

    def _findings(self) -> list[Finding]:
        """Return a finding for each volume that probably hides what the container needs, or that nobody can write."""
        findings = [
            _hides_application(written)
            for _, written in self.new_volumes.values()
            if probably_holds_application(written)
        ]
        for name, (container, mount) in self.unwritten.items():
            if name not in self.writable:
                place = shown(mount.mountPath, 30)
                remedy = f"{shown(container.name, 24)} can't write at {place}: it is read-only there"
                findings.append(Finding(Reason.READ_ONLY_MOUNT, "logs", "", remedy))
        return findings


def _files(entries: Sequence[LogFiles], folder: Components = ()) -> list[_File]:
    """Return the files that are meant, in a folder of a mount."""
    return [(folder, entry.recursive, entry.name) for entry in entries]


# --- what a new volume would hide ------------------------------------------------------------------------------


@remembered
def _is_system(directory: str) -> bool:
    """Say whether no container can do without what it has in the directory."""
    return SYSTEM_DIRECTORIES.within(directory) or OWNED_DIRECTORIES.hold(directory)


def _refuse_system(entry: LogFiles) -> None:
    """Raise :class:`Declined` for a directory in which an empty volume must break every container."""
    if _is_system(entry.directory):
        remedy = "nothing can be mounted there; write for example /var/log/app/*.log"
        raise Declined(Finding(Reason.SYSTEM_DIRECTORY, "logs", entry.text, remedy))


def _refuse_hiding(target: _Target) -> None:
    """Raise :class:`Declined` where an empty volume at the directory would hide what the container needs."""
    participant, directory, entries = target.participant, target.directory, target.entries
    name = directory[-1]
    for what, path in _programs(participant.container, name):
        if name not in path or len(path) > PATH_MAX:
            continue  # it can't lie in the directory, however it is written; or no kernel would open it
        parts = participant.resolve(path)
        # what lies in a mount of the container's own stays where it is
        if not within(parts, directory) or _around(parts, participant.own)[0] is not None:
            continue
        if what == "argument" and (parts == directory or any(entry.matches(components(path)) for entry in entries)):
            continue
        container = shown(participant.container.name, 20)
        remedy = f"hides {shown(path, 30)}, the {what} of {container}; log elsewhere, or name containers"
        raise Declined(Finding(Reason.HIDES_PROGRAM, "logs", entries[0].text, remedy))


def _hides_application(directory: str) -> Finding:
    """Return the warning for a new volume where an image probably has what it runs."""
    own = "/var/log/app" if components(directory) == ("var", "log") else f"{directory}/logs"
    example = f", as {own}" if len(own) <= LONGEST_EXAMPLE and own.isprintable() else ""
    remedy = f"hides what the image has in {shown(directory, 30)[1:-1]}; log into a folder of its own{example}"
    return Finding(Reason.HIDES_APPLICATION, "logs", "", remedy)


def _programs(container: Container, name: str) -> list[tuple[str, str]]:
    """Return what the container is told to run or to read, as far as the pod says: what it is, and its path.

    Of its arguments only those with the name in them are looked at.
    """
    command, folder, lifecycle = container.command, container.workingDir, container.lifecycle
    found = [("workingDir", folder)] if folder else []
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None and probe.run is not None and probe.run.command:
            found.append(("probe", _program(probe.run.command[0], folder)))
    for hook in (lifecycle.postStart, lifecycle.preStop) if lifecycle is not None else ():
        if hook is not None and hook.run is not None and hook.run.command:
            found.append(("hook", _program(hook.run.command[0], folder)))
    arguments: Sequence[str] = container.args or ()
    if command:
        found.append(("command", _program(command[0], folder)))
        arguments = (*command[1:], *arguments)
    for previous, text in pairwise(("", *arguments)):
        if name in text and text[0] == "/" and not _is_program_text(text, previous):
            found.append(("argument", text))
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


def _settle(places: Sequence[Place], profile: Profile) -> None:
    """Find each place a path in the sidecar, and with it its patterns."""
    if len(places) > MAX_PLACES:
        raise _too_many(f"{len(places)} places")
    taken = profile.reserved.copy()
    folders: set[str] = set()
    root = profile.logs_mount_path
    size = 0
    for place in places:
        path = place.seen_by[0][1]
        if root is None and _suits_sidecar(path) and not taken.collide(path):
            # a mount inside another can't start, for ours are read-only; paths that contain each other collide too
            taken.add(path)
        elif root is not None and len(places) == 1 and _ITSELF not in place.files:
            path = root
        else:
            path = _moved(place, root or RELOCATED, folders)
        place.path = path
        place.patterns = [_pattern(path, file) for file in place.files]
        size += sum(map(len, place.patterns))
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


def _moved(place: Place, root: str, folders: set[str]) -> str:
    """Return a path for the place below the root, where nothing else is, in a folder of its own."""
    container, path = place.seen_by[0]
    # the API server looks at names after us: "" or "." would be the root itself, in which nothing finds a place then
    name = folder = container if _is_folder(container) else "container"
    number = 1
    while folder in folders:
        number += 1
        folder = f"{name}-{number}"
    folders.add(folder)
    if _ITSELF not in place.files:
        return f"{root}/{folder}"
    # a single file keeps its name, if that is no pattern itself, and a folder to itself
    name = components(path)[-1]
    return f"{root}/{folder}/{name if _AWKWARD.isdisjoint(name) else 'file'}"


#: A container's name as Kubernetes allows it (RFC 1123 label).
_FOLDER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@remembered
def _is_folder(name: str) -> bool:
    """Say whether a container's name can be that of a folder."""
    return _FOLDER.fullmatch(name) is not None


@remembered
def _suits_sidecar(path: str) -> bool:
    """Say whether something can be mounted there in any sidecar."""
    return _AWKWARD.isdisjoint(path) and not IMAGE_DIRECTORIES.within(path) and not SIDECAR_OWNED_DIRECTORIES.hold(path)
