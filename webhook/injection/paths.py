"""Paths inside a container, compared by components and not as strings."""

import re

from webhook.injection.memoised import memoised

__all__ = [
    "IMAGE_SYSTEM_DIRECTORIES",
    "PATH_MAX",
    "PROGRAM_DIRECTORIES",
    "RUNTIME_DIRECTORIES",
    "SIDECAR_IMAGE_DIRECTORIES",
    "SIDECAR_RELOCATED_DIRECTORIES",
    "Components",
    "Directories",
    "components",
    "is_database_directory",
    "is_named_after_logs",
    "literal_components",
    "memoised_by_path",
    "mount_points",
    "normalised_path",
    "overlap",
    "probably_holds_application",
    "within",
]

#: limits.h: the kernel takes no longer path.
PATH_MAX = 4096

#: The components of a normalised absolute path, where ``()`` is the root; in a ``FilePattern`` of one in the mount.
Components = tuple[str, ...]

#: Tenants choose the paths. The components of a path of 200 characters can take several KiB.
memoised_by_path = memoised(max_length=200, max_entries=2048)


@memoised_by_path
def components(path: str) -> Components:
    """Return the components of the normalised path: without ``//``, ``/./``, ``/..``, and ``/run`` for ``/var/run``."""
    parts = _normalised(path)
    # /var/run is a link to /run in every distribution's image (Filesystem Hierarchy Standard 3.0, 5.13)
    if parts[:2] == ["var", "run"]:
        del parts[0]
    return tuple(parts)


@memoised_by_path
def literal_components(path: str) -> Components:
    """Return the components of the normalised path with ``/var/run`` as written: ``/var`` may be a volume."""
    return tuple(_normalised(path))


@memoised_by_path
def mount_points(path: str) -> tuple[Components, ...]:
    """Return every path at which a mount at ``path`` may end up.

    In some images ``/var/run`` is a link to ``/run``, in others it is a directory, so a path below it has two mount
    points. Two mounts are apart only if none of their mount points meet.
    """
    written, resolved = literal_components(path), components(path)
    return (resolved,) if written == resolved else (resolved, written)


@memoised_by_path
def normalised_path(path: str) -> str:
    """Return the path as text, normalised as by :func:`literal_components`."""
    return "/" + "/".join(_normalised(path))


def _normalised(path: str) -> list[str]:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return parts


def within(path: Components, directory: Components) -> bool:
    """Return whether ``path`` is ``directory`` or lies somewhere below it."""
    return path[: len(directory)] == directory


def overlap(one: Components, other: Components) -> bool:
    """Return whether the paths are the same, or one lies inside the other."""
    return one[: len(other)] == other or other[: len(one)] == one


class Directories:
    """A set of directories; whether a path is inside or above any takes the same time for any number of them.

    A directory is in the set with all its :func:`mount_points`.
    """

    __slots__ = ("_above", "_depths", "_own")

    def __init__(self, *paths: str) -> None:
        """Take the directories' paths."""
        self._own: set[Components] = set()
        self._above: set[Components] = set()
        self._depths: set[int] = set()
        for path in paths:
            self.add(path)

    def copy(self) -> "Directories":
        """Return a set of the same directories, to which others can be added."""
        other = Directories()
        other._own |= self._own
        other._above |= self._above
        other._depths |= self._depths
        return other

    def add(self, path: str) -> None:
        """Add a directory."""
        for parts in mount_points(path):
            self._own.add(parts)
            self._depths.add(len(parts))
            # if a directory is known, all directories above it are, too
            while parts not in self._above:
                self._above.add(parts)
                parts = parts[:-1]  # noqa: PLW2901 — up to the root

    def any_at_or_below(self, path: str) -> bool:
        """Return whether any of the directories is ``path`` or below it."""
        return not self._above.isdisjoint(mount_points(path))

    def any_at_or_above(self, path: str) -> bool:
        """Return whether any of the directories is ``path`` or above it."""
        for parts in mount_points(path):
            for depth in self._depths:
                if parts[:depth] in self._own:
                    return True
        return False

    def any_overlapping(self, path: str) -> bool:
        """Return whether any of the directories is ``path``, below it or above it."""
        return self.any_at_or_below(path) or self.any_at_or_above(path)


_PROGRAM_PATHS = (
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
)
#: No program starts without these of its image: not even an operator's profile mounts anything over them.
PROGRAM_DIRECTORIES = Directories(*_PROGRAM_PATHS)
#: Every image needs these: no new volume is mounted at or above them.
IMAGE_SYSTEM_DIRECTORIES = Directories(
    *_PROGRAM_PATHS,
    "/boot",
    "/etc/ssl",
    "/etc/ssl/certs",
    "/opt",
    "/root",
    "/run",
    "/usr",
    "/usr/local/sbin",
    "/var",
    "/var/lib",
)
#: Each subdirectory of these is an application's home: ``/opt/app``, ``/home/node``, ``/var/www``.
_PARENTS_OF_APPLICATIONS = frozenset(
    map(
        components,
        (
            "/opt",
            "/home",
            "/var",
            "/var/lib",
            "/var/cache",
            "/var/opt",
            "/var/www",
            "/etc",
            "/usr",
            "/usr/src",
            "/usr/share",
            "/usr/local",
            "/usr/lib",
            "/usr/share/nginx",
            "/go",
            "/go/src",
            "/bitnami",
            "/opt/bitnami",
            "/opt/jboss",
            "/opt/ibm",
        ),
    )
)
#: /var/log itself: images have directories for their servers in it, although its name says logs.
_VAR_LOG = components("/var/log")
#: Names of directories that hold an application's files, at any depth.
_APPLICATION_NAMES = frozenset(
    {
        "app",
        "apps",
        "htdocs",
        "html",
        "wwwroot",
        "webapps",
        "standalone",
        "assets",
        "bin",
        "build",
        "classes",
        "conf",
        "conf.d",
        "config",
        "dist",
        "lib",
        "libs",
        "node_modules",
        "plugins",
        "public",
        "scripts",
        "src",
        "static",
        "target",
        "templates",
        "vendor",
        "views",
    }
)
#: Database directories: a server refuses to initialise one that is not empty, so no log directory is suggested inside
#: one.
_DATABASE_DIRECTORIES = frozenset(
    map(
        components,
        (
            "/var/lib/mysql",
            "/var/lib/postgresql/data",
            "/data/db",
            "/var/lib/mongodb",
            "/var/lib/redis",
            "/var/lib/cassandra",
            "/var/lib/rabbitmq/mnesia",
            "/var/lib/etcd",
        ),
    )
)
#: Where images have programs. Elsewhere, such as at /data/app, a volume of the pod is as likely.
_PROGRAM_ROOTS = frozenset(
    {"app", "code", "deployments", "etc", "home", "opt", "rails", "srv", "usr", "var", "workspace"}
)
#: Names of directories for temporary files.
_SCRATCH_NAMES = frozenset({"tmp", "temp", "scratch"})
#: A name, or a word of a name, that says that logs are in a directory.
_LOG_NAME = re.compile(r"(?:^|[-_.])logs?(?:$|[-_.])|logs$", re.IGNORECASE)


def is_named_after_logs(name: str) -> bool:
    """Return whether a directory's name says that logs are in it: ``log``, ``logs``, ``app-logs``."""
    return _LOG_NAME.search(name) is not None


def is_database_directory(directory: str) -> bool:
    """Return whether a database keeps its files at or above the directory."""
    parts = components(directory)
    return any(parts[: len(data)] == data for data in _DATABASE_DIRECTORIES)


def _is_application(parts: Components) -> bool:
    if parts[-1] not in _APPLICATION_NAMES or parts[0] not in _PROGRAM_ROOTS:
        return False
    return not any(map(is_named_after_logs, parts))


@memoised_by_path
def probably_holds_application(directory: str) -> bool:
    """Return whether an image probably has its application or its data at the directory.

    That is so for a first-level directory, for /var/log itself (in which images have directories for their servers),
    and for the known directories of applications, but not for a directory that is named after logs.
    """
    parts = components(directory)
    if parts == _VAR_LOG or is_database_directory(directory):
        return True
    if not parts or is_named_after_logs(parts[-1]) or parts[-1] in _SCRATCH_NAMES:
        return False
    return len(parts) == 1 or parts[:-1] in _PARENTS_OF_APPLICATIONS or _is_application(parts)


#: No new log volume is mounted at or below these: the kernel, the runtime or the kubelet owns them. Those in /etc are
#: files that are mounted.
RUNTIME_DIRECTORIES = Directories(
    *("/proc", "/sys", "/dev", "/run/secrets", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
)
#: The sidecar's image needs these: no log source is mounted at or above them. /var/run/secrets is among them because
#: the API server and other webhooks mount tokens there, which is impossible inside one of our read-only mounts.
SIDECAR_IMAGE_DIRECTORIES = Directories(*_PROGRAM_PATHS, "/boot", "/root", "/usr/local", "/var/run/secrets")
#: A log source whose path in the application is at or below these is relocated in the sidecar.
SIDECAR_RELOCATED_DIRECTORIES = Directories("/proc", "/sys", "/dev", "/run/secrets", "/pillion")
