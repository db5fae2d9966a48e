"""Whether a pod has logs, judged by its mounts: for pods whose annotations do not say it.

A namespace that opts in asks for all its pods, and most pods write no log file. Such a pod is injected if

================================================  ==========================================================
the pod, or its profile                           because
================================================  ==========================================================
says inject, logs, profile or containers          its author wants logs to be read
mounts a writable volume around its logs          the application may write there: the mount is at, above or
                                                  below the profile's log directory, and not of a hostPath
has a profile that reads no logs                  there is nothing to look for
has a profile with ``injectAll``                  it says that all pods write there
================================================  ==========================================================
"""

from collections.abc import Iterable, Mapping
from typing import Any

from webhook.injection.annotations import RequestedOptions
from webhook.injection.paths import components, is_named_after_logs, normalised_path, overlap
from webhook.injection.pod import Container, VolumeMount
from webhook.injection.profile import Profile
from webhook.injection.volume_types import HOST_PATH, WRITABLE_TYPES, is_mount_read_only, type_of

__all__ = ["has_log_location", "probable_log_directory"]

Volumes = Mapping[str, dict[str, Any]]


def has_log_location(
    options: RequestedOptions, profile: Profile, containers: Iterable[Container], volumes: Volumes
) -> bool:
    """Return whether the pod's author wants logs read, or the pod has logs that the profile could read.

    ``containers`` are those that would be selected, ``volumes`` are the pod's by name.
    """
    if options.author_wants_logs or profile.inject_all or not profile.logs:
        return True
    directories = {entry.directory_parts for entry in profile.logs}
    return any(
        overlap(components(mount.mountPath), directory)
        for mount in _writable_mounts(containers, volumes)
        for directory in directories
    )


def probable_log_directory(containers: Iterable[Container], volumes: Volumes) -> str:
    """Return the path of the first writable mount whose path has a component named after logs, or ""."""
    for mount in _writable_mounts(containers, volumes):
        if any(map(is_named_after_logs, components(mount.mountPath))):
            return normalised_path(mount.mountPath)
    return ""


def _writable_mounts(containers: Iterable[Container], volumes: Volumes) -> Iterable[VolumeMount]:
    for container in containers:
        for mount in container.volumeMounts or ():
            volume_type = type_of(volumes, mount)
            if volume_type in WRITABLE_TYPES and volume_type != HOST_PATH and not is_mount_read_only(volumes, mount):
                yield mount
