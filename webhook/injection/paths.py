"""Paths inside a container, compared by their components and never as strings."""

from functools import lru_cache

__all__ = ["SYSTEM_DIRECTORIES", "Components", "components", "overlap", "within"]

#: A normalised absolute path: ``()`` is the root.
Components = tuple[str, ...]

# Longer paths are not remembered: a tenant could fill the memory with them.
_REMEMBERED_LENGTH = 200


def _split(path: str) -> Components:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    # /var/run is a link to /run in every distribution's image (Filesystem Hierarchy Standard 3.0, 5.13)
    if parts[:2] == ["var", "run"]:
        del parts[0]
    return tuple(parts)


_remembered = lru_cache(maxsize=2048)(_split)


def components(path: str) -> Components:
    """Return the path's components: ``//``, ``/./`` and ``/..`` resolved, ``/var/run`` as ``/run``."""
    return _remembered(path) if len(path) <= _REMEMBERED_LENGTH else _split(path)


def within(path: Components, directory: Components) -> bool:
    """Say whether ``path`` is ``directory`` or lies somewhere below it."""
    return path[: len(directory)] == directory


def overlap(one: Components, other: Components) -> bool:
    """Say whether the paths are the same, or one lies inside the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


#: An image can't run without these: nothing new is mounted over them or over a parent of them.
SYSTEM_DIRECTORIES = tuple(
    components(path)
    for path in (
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/sys"),
        *("/usr", "/var", "/var/lib"),
    )
)
