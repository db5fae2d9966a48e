"""The volume plan: for each log directory, the volume that is reused or added, and where the sidecar mounts it.

Paths decide, not names. For one directory of one container, one of the first two rows applies, and one of the last two
for each volume below it:

====================================  ===============================================================
the container mounts                  the plan
====================================  ===============================================================
a volume at the directory or above    that volume is *reused*, as the container mounts it
nothing there                         a *new* emptyDir, if it hides nothing that the container needs
a volume below it, logs may be there  that volume is read as well; if every log file is such a mount,
                                      none is added for row 2
a volume below it, no logs there      is ignored
====================================  ===============================================================
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from msgspec import Struct

from webhook.injection.annotations import LogEntry
from webhook.injection.candidates import Candidate
from webhook.injection.edit import ContainerRef
from webhook.injection.hiding import (
    ensure_no_termination_message,
    ensure_not_system_directory,
    ensure_program_visible,
    warning_if_application_hidden,
)
from webhook.injection.log_sources import MOUNT_ITSELF, ContainerMount, FilePattern, LogSource, assign_sidecar_paths
from webhook.injection.paths import Components, components, normalised_path, probably_holds_application, within
from webhook.injection.pod import Container, EnvVar, VolumeMount
from webhook.injection.profile import LOG_VOLUME_STEM, NAME_PREFIX, Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason, quote_untrusted
from webhook.injection.targets import Target, files_are_mounts, find_targets
from webhook.injection.variables import needed_variables
from webhook.injection.volume_types import (
    HOST_PATH,
    WRITABLE_TYPES,
    describe_type,
    is_mount_read_only,
    outlives_pod,
    type_of,
)

__all__ = ["NewVolume", "Plan", "plan_volumes"]


class NewVolume(NamedTuple):
    """A volume that is added, and the log directory that it is for."""

    name: str
    directory_path: str


class Plan(Struct, gc=False):
    """What is mounted: the log sources, the new volumes, and the containers' mounts of them."""

    sources: list[LogSource]
    new_volumes: list[NewVolume]
    mounts: list[tuple[ContainerRef, VolumeMount]]
    #: The names of the pod's own volumes that are read.
    reused: list[str]
    #: Reused volumes of which a subPath is mounted. The kubelet creates a missing subPath for the first container that
    #: mounts it.
    reused_subpath_volumes: set[str]
    #: The names of the selected containers that can write to a log source or, if none can, of those that can read one.
    log_containers: set[str]
    findings: list[Finding]

    @property
    def notes(self) -> list[Finding]:
        """Return the findings of severity ``note``, for ``explain``."""
        hidden = [
            Finding(Reason.HIDES_IMAGE_FILES, annotation="logs", value=volume.directory_path)
            for volume in self.new_volumes
            if not probably_holds_application(volume.directory_path)
        ]
        moved = [
            Finding(
                Reason.RELOCATED,
                f"the sidecar mounts it at {source.sidecar_path}",
                annotation="logs",
                value=source.application_path,
            )
            for source in self.sources
            if source.relocated
        ]
        return hidden + moved


def plan_volumes(
    candidates: Sequence[Candidate],
    entries: Sequence[LogEntry],
    volumes: Mapping[str, dict[str, Any]],
    profile: Profile,
    *,
    read_host_paths: bool,
) -> Plan:
    """Return the plan for the log files in ``entries``; ``volumes`` are the pod's by name.

    ``read_host_paths`` says whether hostPath volumes may be read. Raises :class:`NotInjectable` if a new volume would
    break a container, or if the logs can't be read.
    """
    planner = _Planner(volumes, read_host_paths=read_host_paths)
    targets = find_targets(candidates, entries)
    for target in targets:
        planner.add_new_volume(target)
    # after all new volumes are known: an entry with ** also matches files in those inside its directory
    for target in targets:
        planner.add_sources(target)
    return planner.result(profile)


class _Planner:
    """Collects first the new volumes, then the log sources."""

    def __init__(self, volumes: Mapping[str, dict[str, Any]], *, read_host_paths: bool) -> None:
        self.volumes = volumes
        self.read_host_paths = read_host_paths
        self.new_volumes: dict[Components, NewVolume] = {}
        self.new_mounts: list[tuple[ContainerRef, VolumeMount]] = []
        self.sources: dict[tuple[Any, ...], LogSource] = {}
        self.reused_subpath_volumes: set[str] = set()
        #: Names of the selected containers that can write to a log source, and of those that can only read one.
        self.writers: set[str] = set()
        self.readers: set[str] = set()
        #: Names of the pod's volumes that some container can write to.
        self.writable_volumes: set[str] = set()
        #: The first read-only mount of a volume by a selected container.
        self.read_only_mounts: dict[str, tuple[Container, VolumeMount]] = {}

    def add_new_volume(self, target: Target) -> None:
        """Add a volume if the container has none at the directory or above, and its log files are not mounts."""
        candidate, directory, entries = target.candidate, target.directory, target.entries
        if (
            not candidate.selected
            or target.enclosing_mount_path is not None
            or (target.below and files_are_mounts(target))
        ):
            return
        directory_path = entries[0].directory_path
        volume = self.new_volumes.get(directory)
        if volume is None:
            ensure_not_system_directory(entries[0])
            name = f"{NAME_PREFIX}{LOG_VOLUME_STEM}-{len(self.new_volumes) + 1}"
            volume = self.new_volumes[directory] = NewVolume(name, directory_path)
        ensure_program_visible(target)
        # a subPath for each container: two that write the same file name must not share the file
        mount = VolumeMount(volume.name, directory_path, subPath=candidate.container.name)
        candidate.new_mounts[directory] = mount
        self.new_mounts.append((candidate, mount))

    def add_sources(self, target: Target) -> None:
        """Add the log sources that hold the target's files."""
        candidate, entries, outer = target.candidate, target.entries, target.enclosing_mount_path
        if not candidate.selected:
            if outer is not None:
                self._add_if_usable(target, outer)
            return
        ensure_no_termination_message(target)
        if target.below:
            entries = self._add_sources_of_mounted_files(target)
            if not entries:
                return
        if outer is not None:
            self._reuse(candidate, outer, _patterns(entries, target.directory[len(outer) :]), entries[0])
        if candidate.new_mounts:
            self._add_sources_in_new_volumes(candidate, target.directory, entries)
        for path, mount in target.below.items():
            patterns = self._patterns_below(path, target.directory, mount, entries)
            if patterns:
                self._reuse(candidate, path, patterns, entries[0])

    def _add_sources_of_mounted_files(self, target: Target) -> list[LogEntry]:
        """Add log sources for files that are mounts, and remove these from ``below``; return the other entries."""
        rest, below = [], target.below
        for entry in target.entries:
            path = (*target.directory, entry.file_glob)
            if not entry.is_glob and path in below:
                del below[path]
                self._reuse(target.candidate, path, [MOUNT_ITSELF], entry)
            else:
                rest.append(entry)
        return rest

    def _add_sources_in_new_volumes(
        self, candidate: Candidate, directory: Components, entries: Sequence[LogEntry]
    ) -> None:
        """Add log sources for the new volume at the directory, and for those of log directories inside it."""
        name = candidate.container.name
        for path, mount in candidate.new_mounts.items():
            if within(path, directory):
                matching = entries if path == directory else [entry for entry in entries if entry.recursive]
                if matching:
                    self.writers.add(name)
                    self._add_source(name, mount, _patterns(matching), new=True)

    def _add_if_usable(self, target: Target, outer: Components) -> None:
        """Like :meth:`_reuse`, but a container that was not selected never ends the injection."""
        entries = target.entries
        try:
            self._reuse(target.candidate, outer, _patterns(entries, target.directory[len(outer) :]), entries[0])
        except NotInjectable:
            return

    def _reuse(self, candidate: Candidate, path: Components, patterns: list[FilePattern], entry: LogEntry) -> None:
        """Add the volume that the container mounts at the path; raise :class:`NotInjectable` if it can't hold logs.

        Does nothing for a hostPath that must not be read.
        """
        container, mount = candidate.container, candidate.own_mounts[path]
        if mount is None:
            message = f"container {quote_untrusted(container.name)} has a block device there; write another directory"
            raise NotInjectable(Finding(Reason.BLOCK_DEVICE, message, annotation="logs", value=entry.text))
        volume_type = type_of(self.volumes, mount)
        if volume_type not in WRITABLE_TYPES:
            message = f"{describe_type(volume_type)} is mounted there, which can't hold logs"
            raise NotInjectable(Finding(Reason.UNWRITABLE_VOLUME, message, annotation="logs", value=entry.text))
        if volume_type == HOST_PATH and not self.read_host_paths:
            return
        read_only = is_mount_read_only(self.volumes, mount)
        variables: tuple[EnvVar, ...] = ()
        if mount.subPathExpr:
            variables = needed_variables(container, candidate.added_variables, mount.subPathExpr)
        if mount.subPath or mount.subPathExpr:
            self.reused_subpath_volumes.add(mount.name)
        persistent = outlives_pod(self.volumes, mount)
        self._add_source(container.name, mount, patterns, new=False, variables=variables, persistent=persistent)
        if not read_only:
            self.writable_volumes.add(mount.name)
        if candidate.selected:
            (self.readers if read_only else self.writers).add(container.name)
            if read_only:
                self.read_only_mounts.setdefault(mount.name, (container, mount))

    def _add_source(
        self,
        container: str,
        mount: VolumeMount,
        patterns: list[FilePattern],
        *,
        new: bool,
        variables: tuple[EnvVar, ...] = (),
        persistent: bool = False,
    ) -> None:
        """Add a log source, or add the container and the patterns to the one that has the same directory."""
        key: tuple[Any, ...] = (mount.name, components(mount.subPath or ""), mount.subPathExpr or "")
        if variables:
            key += tuple((variable.name, variable.value, repr(variable.valueFrom)) for variable in variables)
        seen = ContainerMount(container, normalised_path(mount.mountPath))
        source = self.sources.get(key)
        if source is None:
            self.sources[key] = LogSource(mount, new, [seen], patterns, variables, persistent)
        else:
            source.seen_by.append(seen)
            source.patterns += [pattern for pattern in patterns if pattern not in source.patterns]

    def _patterns_below(
        self, path: Components, directory: Components, mount: VolumeMount | None, entries: Sequence[LogEntry]
    ) -> list[FilePattern]:
        """Return the patterns of the files that can be in a mount below the directory; none if it can't hold logs."""
        volume_type = type_of(self.volumes, mount) if mount is not None else ""
        if mount is None or volume_type not in WRITABLE_TYPES:
            return []
        # only these mounts can be a file: the root of any other volume is a directory
        can_be_file = bool(mount.subPath or mount.subPathExpr) or volume_type == HOST_PATH
        patterns: list[FilePattern] = []
        for entry in entries:
            reached = entry.recursive or len(path) == len(directory) + 1
            if can_be_file and reached and fnmatchcase(path[-1], entry.file_glob):
                patterns.append(MOUNT_ITSELF)
            if entry.recursive:
                patterns.append(FilePattern((), recursive=True, file_glob=entry.file_glob))
        return list(dict.fromkeys(patterns))

    def result(self, profile: Profile) -> Plan:
        """Assign each source its path in the sidecar, and return the plan."""
        sources = list(self.sources.values())
        assign_sidecar_paths(sources, profile)
        reused: dict[str, None] = {}
        for source in sources:
            if not source.new:
                reused[source.mount.name] = None
        return Plan(
            sources=sources,
            new_volumes=list(self.new_volumes.values()),
            mounts=self.new_mounts,
            reused=list(reused),
            reused_subpath_volumes=self.reused_subpath_volumes,
            log_containers=self.writers or self.readers,
            findings=self._findings(),
        )

    def _findings(self) -> list[Finding]:
        """Return a warning for each volume that probably hides an application, or that no container can write to."""
        hidden = (warning_if_application_hidden(volume.directory_path) for volume in self.new_volumes.values())
        findings = [finding for finding in hidden if finding is not None]
        for name, (container, mount) in self.read_only_mounts.items():
            if name not in self.writable_volumes:
                path = quote_untrusted(mount.mountPath, 30)
                message = f"{quote_untrusted(container.name, 24)} mounts {path} read-only, so it can't write logs there"
                findings.append(Finding(Reason.READ_ONLY_MOUNT, message, annotation="logs"))
        return findings


def _patterns(entries: Sequence[LogEntry], directory: Components = ()) -> list[FilePattern]:
    """Return the patterns of the entries' files; ``directory`` is the log directory, relative to the mount."""
    return [FilePattern(directory, entry.recursive, entry.file_glob) for entry in entries]
