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

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from webhook.injection.annotations import LogFiles, NotInjectable
from webhook.injection.edit import Located
from webhook.injection.hiding import application_hidden, reject_hidden_program, reject_system_directory
from webhook.injection.kinds import HOST_PATH, PERSISTENT_KINDS, WRITABLE_KINDS, in_words, is_read_only, kind_of
from webhook.injection.participants import Participant
from webhook.injection.paths import Components, as_written, components, within
from webhook.injection.places import ITSELF, File, Place, assign_sidecar_paths
from webhook.injection.pod import Container, EnvVar, VolumeMount
from webhook.injection.profile import LOG_VOLUME, NAME_PREFIX, Profile
from webhook.injection.reasons import Finding, Reason, quote_untrusted
from webhook.injection.targets import Target, are_mounts, targets
from webhook.injection.variables import needed_variables

__all__ = ["Plan", "plan"]


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
            if application_hidden(directory) is None
        ]
        moved = [
            Finding(Reason.RELOCATED, "logs", place.seen_by[0][1], f"the sidecar mounts it at {place.path}")
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
    :class:`NotInjectable` where it would break a container or can't be done.
    """
    planning = _Planning(volumes, host_paths=host_paths)
    found = targets(participants, entries)
    for target in found:
        planning.add_missing(target)
    # only now: an entry with ** also means files in the volumes of directories inside its own
    for target in found:
        planning.find(target)
    return planning.plan(profile)


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

    def add_missing(self, target: Target) -> None:
        """Add a volume where the container has none at the directory or above, and the files are not mounts."""
        participant, directory, entries = target.participant, target.directory, target.entries
        if not participant.chosen or target.nearest_mount is not None or (target.below and are_mounts(target)):
            return
        written = entries[0].directory
        volume = self.new_volumes.get(directory)
        if volume is None:
            reject_system_directory(entries[0])
            name = f"{NAME_PREFIX}{LOG_VOLUME}-{len(self.new_volumes) + 1}"
            volume = self.new_volumes[directory] = name, written
        reject_hidden_program(target)
        # a folder of its own for each container: two that write the same file name must not meet
        mount = VolumeMount(volume[0], written, subPath=participant.container.name)
        participant.new[directory] = mount
        self.added.append((participant, mount))

    def find(self, target: Target) -> None:
        """Find where the files of the target lie."""
        participant, entries, outer = target.participant, target.entries, target.nearest_mount
        if not participant.chosen:
            if outer is not None:
                self._watch(target, outer)
            return
        if target.below:
            entries = self._find_files(target)
            if not entries:
                return
        if outer is not None:
            self._reuse(participant, outer, _files(entries, target.directory[len(outer) :]), entries[0])
        if participant.new:
            self._find_new(participant, target.directory, entries)
        for path, mount in target.below.items():
            files = self._files_below(path, target.directory, mount, entries)
            if files:
                self._reuse(participant, path, files, entries[0])

    def _find_files(self, target: Target) -> list[LogFiles]:
        """Find the files that are mounts themselves, which are taken out of ``below``; return the other entries."""
        rest, below = [], target.below
        for entry in target.entries:
            path = (*target.directory, entry.name)
            if not entry.is_glob and path in below:
                del below[path]
                self._reuse(target.participant, path, [ITSELF], entry)
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

    def _watch(self, target: Target, outer: Components) -> None:
        """Find what a container mounts that takes no part."""
        entries = target.entries
        try:
            self._reuse(target.participant, outer, _files(entries, target.directory[len(outer) :]), entries[0])
        except NotInjectable:
            # it was not asked to take part, so what it mounts is no reason to do nothing
            return

    def _reuse(self, participant: Participant, path: Components, files: list[File], entry: LogFiles) -> None:
        """Add the place that the container mounts itself at the path."""
        container, mount = participant.container, participant.own[path]
        if mount is None:
            message = f"container {quote_untrusted(container.name)} has a block device there; write another directory"
            raise NotInjectable(Finding(Reason.BLOCK_DEVICE, "logs", entry.text, message))
        kind = kind_of(self.volumes, mount)
        if kind not in WRITABLE_KINDS:
            message = f"{in_words(kind)} is mounted there; logs can't be in it"
            raise NotInjectable(Finding(Reason.UNWRITABLE_VOLUME, "logs", entry.text, message))
        if kind == HOST_PATH and not self.host_paths:
            return
        read_only = is_read_only(self.volumes, mount)
        variables: tuple[EnvVar, ...] = ()
        if mount.subPathExpr:
            variables = needed_variables(container, participant.added, mount.subPathExpr)
        if mount.subPath or mount.subPathExpr:
            self.subpaths.add(mount.name)
        persistent = kind in PERSISTENT_KINDS
        self._add_place(container.name, mount, files, new=False, variables=variables, persistent=persistent)
        if not read_only:
            self.writable.add(mount.name)
        if participant.chosen:
            (self.watching if read_only else self.writing).add(container.name)
            if read_only:
                self.unwritten.setdefault(mount.name, (container, mount))

    def _add_place(
        self,
        container: str,
        mount: VolumeMount,
        files: list[File],
        *,
        new: bool,
        variables: tuple[EnvVar, ...] = (),
        persistent: bool = False,
    ) -> None:
        """Add what a container sees at a mount: a place of its own, or one that is known already."""
        identity: tuple[Any, ...] = (mount.name, components(mount.subPath or ""), mount.subPathExpr or "")
        if variables:
            identity += tuple((one.name, one.value, repr(one.valueFrom)) for one in variables)
        seen = (container, as_written(mount.mountPath))
        place = self.places.get(identity)
        if place is None:
            self.places[identity] = Place(mount, new, [seen], files, variables, persistent)
        else:
            place.seen_by.append(seen)
            place.files += [file for file in files if file not in place.files]

    def _files_below(
        self, path: Components, directory: Components, mount: VolumeMount | None, entries: Sequence[LogFiles]
    ) -> list[File]:
        """Return which files can lie in a mount below the directory; none where it can't hold logs at all."""
        kind = kind_of(self.volumes, mount) if mount is not None else ""
        if mount is None or kind not in WRITABLE_KINDS:
            return []
        # only these can be a file; the root of any other volume is a directory
        can_be_file = bool(mount.subPath or mount.subPathExpr) or kind == HOST_PATH
        files: list[File] = []
        for entry in entries:
            reached = entry.recursive or len(path) == len(directory) + 1
            if can_be_file and reached and fnmatchcase(path[-1], entry.name):
                files.append(ITSELF)
            if entry.recursive:
                files.append(((), True, entry.name))
        return list(dict.fromkeys(files))

    def plan(self, profile: Profile) -> Plan:
        """Return the plan: from now on each place has its path in the sidecar."""
        places = list(self.places.values())
        assign_sidecar_paths(places, profile)
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
        hidden = (application_hidden(directory) for _, directory in self.new_volumes.values())
        findings = [finding for finding in hidden if finding is not None]
        for name, (container, mount) in self.unwritten.items():
            if name not in self.writable:
                place = quote_untrusted(mount.mountPath, 30)
                message = (
                    f"{quote_untrusted(container.name, 24)} mounts {place} read-only, so it can't write logs there"
                )
                findings.append(Finding(Reason.READ_ONLY_MOUNT, "logs", "", message))
        return findings


def _files(entries: Sequence[LogFiles], folder: Components = ()) -> list[File]:
    """Return the files that are meant, in a folder of a mount."""
    return [(folder, entry.recursive, entry.name) for entry in entries]
