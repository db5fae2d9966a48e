"""Paths inside a container, compared by their components and never as strings."""

import re

from webhook.injection.memoised import memoised

__all__ = [
    "IMAGE_DIRECTORIES",
    "OWNED_DIRECTORIES",
    "PATH_MAX",
    "PROGRAM_DIRECTORIES",
    "SIDECAR_OWNED_DIRECTORIES",
    "SYSTEM_DIRECTORIES",
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

#: A normalised absolute path: ``()`` is the root.
Components = tuple[str, ...]

#: As what is remembered is in proportion to the path, all memories together take 3 MiB at most.
memoised_by_path = memoised(max_length=200, max_entries=2048)


@memoised_by_path
def components(path: str) -> Components:
    """Return the path's components: ``//``, ``/./`` and ``/..`` resolved, ``/var/run`` as ``/run``."""
    parts = _normalised(path)
    # /var/run is a link to /run in every distribution's image (Filesystem Hierarchy Standard 3.0, 5.13)
    if parts[:2] == ["var", "run"]:
        del parts[0]
    return tuple(parts)


@memoised_by_path
def literal_components(path: str) -> Components:
    """Return the path's components with ``/var/run`` as it was written: where a volume at ``/var`` has its own."""
    return tuple(_normalised(path))


@memoised_by_path
def mount_points(path: str) -> tuple[Components, ...]:
    """Return every place where a mount at ``path`` may end up.

    Whether ``/var/run`` is a link to ``/run`` or a directory of its own is the image's business, so below it there are
    two: mounts are only safe from each other where neither is.
    """
    written, resolved = literal_components(path), components(path)
    return (resolved,) if written == resolved else (resolved, written)


@memoised_by_path
def normalised_path(path: str) -> str:
    """Return the path without ``//``, ``/./``, ``/..`` and a slash at the end, but with ``/var/run`` as written."""
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
    """A set of directories, asked what lies in or above them: however many they are, that takes the same time.

    A directory is known by all its :func:`mount_points`.
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
            # what lies above a directory that is there is there as well
            while parts not in self._above:
                self._above.add(parts)
                parts = parts[:-1]  # noqa: PLW2901 — up to the root

    def any_at_or_below(self, path: str) -> bool:
        """Return whether one of the directories is ``path`` or lies below it."""
        return not self._above.isdisjoint(mount_points(path))

    def any_at_or_above(self, path: str) -> bool:
        """Return whether ``path`` is one of the directories or lies below one."""
        for parts in mount_points(path):
            for depth in self._depths:
                if parts[:depth] in self._own:
                    return True
        return False

    def any_overlapping(self, path: str) -> bool:
        """Return whether one of the directories is ``path``, lies below it or above it."""
        return self.any_at_or_below(path) or self.any_at_or_above(path)


_PROGRAMS = (
    *("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys"),
    *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local/bin", "/usr/local/lib", "/usr/sbin"),
)
#: No program starts without these of its image: not even an operator's profile mounts anything over them.
PROGRAM_DIRECTORIES = Directories(*_PROGRAMS)
#: An image can't run without these: nothing new is mounted over them or over a parent of them.
SYSTEM_DIRECTORIES = Directories(
    *_PROGRAMS,
    *("/boot", "/etc/ssl", "/etc/ssl/certs", "/opt", "/root", "/run", "/usr", "/usr/local/sbin", "/var", "/var/lib"),
)
#: Directories whose directories are an application's home each: ``/opt/app``, ``/home/node``, ``/var/www``.
_PARENTS_OF_APPLICATIONS = frozenset(
    map(
        components,
        (
            *("/opt", "/home", "/var", "/var/lib", "/var/cache", "/var/www", "/etc", "/usr"),
            *("/usr/src", "/usr/share", "/usr/local", "/usr/lib", "/usr/share/nginx"),
            *("/go", "/go/src", "/bitnami", "/opt/bitnami", "/opt/jboss", "/opt/ibm"),
        ),
    )
)
#: Single ones, further down.
_APPLICATION_DIRECTORIES = frozenset(
    components(path) for path in ("/var/www/html", "/usr/share/nginx/html", "/var/lib/postgresql/data", "/var/log")
)
#: What the directory of an application's own files is called, wherever it is.
_APPLICATION_NAMES = frozenset({"app", "apps", "htdocs", "html", "wwwroot", "webapps", "standalone"})
#: A directory of these holds a database, which does not begin anew where something else is.
_DATABASE_DIRECTORIES = frozenset(
    map(
        components,
        (
            *("/var/lib/mysql", "/var/lib/postgresql/data", "/data/db", "/var/lib/mongodb", "/var/lib/redis"),
            *("/var/lib/cassandra", "/var/lib/rabbitmq/mnesia", "/var/lib/etcd"),
        ),
    )
)
#: Where images have programs; in other places, as /data/app, a volume of one's own is as likely.
_PROGRAM_ROOTS = frozenset({"home", "opt", "usr", "var", "srv"})
#: Directories for what is thrown away, and what directories of logs are called, alone or as a word of a name.
_SCRATCH_NAMES = frozenset({"tmp", "temp", "scratch"})
_LOG_NAME = re.compile(r"(?:^|[-_.])logs?(?:$|[-_.])|logs$", re.IGNORECASE)


def is_named_after_logs(name: str) -> bool:
    """Return whether a directory's name says that logs are in it: ``log``, ``logs``, ``app-logs``."""
    return _LOG_NAME.search(name) is not None


def is_database_directory(directory: str) -> bool:
    """Return whether a database keeps its files there, which does not begin where a log file is already."""
    parts = components(directory)
    return any(parts[: len(data)] == data for data in _DATABASE_DIRECTORIES)


def _is_application(parts: Components) -> bool:
    if parts[-1] not in _APPLICATION_NAMES or parts[0] not in _PROGRAM_ROOTS:
        return False
    return not any(map(is_named_after_logs, parts))


@memoised_by_path
def probably_holds_application(directory: str) -> bool:
    """Return whether an image probably has what it runs, or its data, where the directory is.

    A first-level directory, /var/log itself (images have directories for their servers in it), the known homes of
    applications; not what is called after logs, and no directory of one's own.
    """
    parts = components(directory)
    if parts in _APPLICATION_DIRECTORIES or is_database_directory(directory):
        return True
    if not parts or is_named_after_logs(parts[-1]) or parts[-1] in _SCRATCH_NAMES:
        return False
    return len(parts) == 1 or parts[:-1] in _PARENTS_OF_APPLICATIONS or _is_application(parts)


#: Nothing is mounted below these: the kernel, the runtime or the kubelet owns them.
OWNED_DIRECTORIES = Directories("/proc", "/sys", "/dev", "/run/secrets")
#: A sidecar can't run without these of its image: no log place is mounted over them or over a parent of them.
#: In /var/run/secrets the API server and other webhooks mount tokens, now or after us, and inside one of our
#: read-only mounts nothing can be mounted;
IMAGE_DIRECTORIES = Directories(*_PROGRAMS, "/boot", "/root", "/usr/local", "/var/run/secrets")
#: nor anywhere below these.
SIDECAR_OWNED_DIRECTORIES = Directories("/proc", "/sys", "/dev", "/run/secrets", "/pillion")
