"""Where a pod's logs probably are, as far as its mounts tell: for pods that did not say it themselves.

A namespace that opts in asks for all its pods, and most pods write no log file at all. Such a pod is injected where

================================================  ==========================================================
the pod, or the profile                           because
================================================  ==========================================================
says ``logs``, ``profile`` or ``containers``      it chose something
mounts a volume at, above or below the directory     of the profile's logs: they may be in it; a read-only one
                                                  or the node's own (a hostPath) doesn't count
has a profile that reads no logs                  there is nothing to look for
has a profile with ``injectAll``                  the operator says that all pods write there
================================================  ==========================================================
"""

from collections.abc import Iterable, Mapping
from typing import Any

from webhook.injection.annotations import RequestedOptions
from webhook.injection.kinds import HOST_PATH, WRITABLE_KINDS, is_mount_read_only, kind_of
from webhook.injection.paths import components, is_named_after_logs, normalised_path, overlap
from webhook.injection.pod import Container, VolumeMount
from webhook.injection.profile import Profile

__all__ = ["has_log_location", "probable_log_directory"]

Volumes = Mapping[str, dict[str, Any]]


def has_log_location(
    options: RequestedOptions, profile: Profile, containers: Iterable[Container], volumes: Volumes
) -> bool:
    """Return whether a pod whose namespace asks has anything for the profile to read.

    ``containers`` are those that would take part, ``volumes`` are the pod's by name.
    """
    if options.chooses_logs or profile.inject_all or not profile.logs:
        return True
    directories = {entry.directory_parts for entry in profile.logs}
    return any(
        overlap(components(mount.mountPath), directory)
        for mount in _writable_mounts(containers, volumes)
        for directory in directories
    )


def probable_log_directory(containers: Iterable[Container], volumes: Volumes) -> str:
    """Return the path of a mounted volume that is called after logs, empty where there is none."""
    for mount in _writable_mounts(containers, volumes):
        if any(map(is_named_after_logs, components(mount.mountPath))):
            return normalised_path(mount.mountPath)
    return ""


def _writable_mounts(containers: Iterable[Container], volumes: Volumes) -> Iterable[VolumeMount]:
    for container in containers:
        for mount in container.volumeMounts or ():
            kind = kind_of(volumes, mount)
            if kind in WRITABLE_KINDS and kind != HOST_PATH and not is_mount_read_only(volumes, mount):
                yield mount
