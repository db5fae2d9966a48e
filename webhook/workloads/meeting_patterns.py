"""Which patterns of log files, in one directory tree, may match the same file."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from webhook.injection.log_sources import FilePattern
from webhook.injection.paths import within

__all__ = ["meeting_patterns"]

#: What makes a name a glob, as :func:`fnmatch.fnmatchcase` takes it.
_WILDCARD = re.compile(r"[*?\[]")


def meeting_patterns(patterns: Iterable[FilePattern]) -> dict[FilePattern, list[FilePattern]]:
    """Return, for each pattern, those that may match the same file, itself included.

    All files of a pattern begin with the same text. So two patterns can meet only if the text of one begins with that
    of the other, and in alphabetical order those are the ones right in front of it: few, however many there are.
    """
    found = {pattern: [pattern] for pattern in patterns}
    beginnings: list[tuple[str, FilePattern]] = []
    for beginning, pattern in sorted((_beginning(pattern), pattern) for pattern in found):
        while beginnings and not beginning.startswith(beginnings[-1][0]):
            beginnings.pop()
        for _, other in beginnings:
            if _may_match_same_file(pattern, other):
                found[pattern].append(other)
                found[other].append(pattern)
        beginnings.append((beginning, pattern))
    return found


def _beginning(pattern: FilePattern) -> str:
    """Return the text with which all files of a pattern begin."""
    directory = "".join(f"{name}/" for name in pattern.directory)
    return directory if pattern.recursive else directory + _WILDCARD.split(pattern.file_glob, maxsplit=1)[0]


def _may_match_same_file(one: FilePattern, other: FilePattern) -> bool:
    return (one.directory == other.directory or _is_within(one, other) or _is_within(other, one)) and (
        fnmatchcase(one.file_glob, other.file_glob) or fnmatchcase(other.file_glob, one.file_glob)
    )


def _is_within(inner: FilePattern, outer: FilePattern) -> bool:
    return outer.recursive and within(inner.directory, outer.directory)
