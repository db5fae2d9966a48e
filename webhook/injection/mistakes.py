"""What somebody probably meant by a ``logs`` value that can't be used, so that the message says what to write.

Values come from YAML, from other tools' formats and from memory: separators that are none here, quotes and brackets
of a list, dashes, URLs, variables. Advice is given only where what is advised could be a path.
"""

import re

from webhook.injection.reasons import clean_untrusted

__all__ = ["EXAMPLE", "in_another_notation", "what_is_wrong"]

EXAMPLE = "/var/log/app/*.log"

_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
#: Where the next path begins: behind quotes, brackets, and a container's name or a URL's scheme.
_PATH_FOLLOWS = rf"(?=[{_QUOTES}\[]*(?:[a-z0-9][-a-z0-9]*:)?/)"
#: Whatever people separate paths with.
_SEPARATOR = re.compile(rf"(?:\s*[;|&\uff0c\u3001\uff1b]\s*|\s+and\s+|\s+[-*\u2022\u2013]\s+|\s++|\\n){_PATH_FOLLOWS}")
#: As in PATH: a colon behind a path that is followed by another one.
_COLON = re.compile(r"(?<!:)((?:^|:)/[^:]*):(?=/)")
_LIST_DASH = re.compile(rf"[-*\u2022\u2013]\s*{_PATH_FOLLOWS}")
_FILE_URL = re.compile(r"file:/(?=/)/*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KEY = re.compile(rf"[\w.-]+(?:\s*=\s*|:\s+(?=\[)){_PATH_FOLLOWS}")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
#: A name may hold a ``$``.
_VARIABLE = re.compile(r"\$[({]|^\$")
#: A path that lacks only its beginning.
_RELATIVE = re.compile(r"(?:\./)*(?P<path>[\w.*?\[\]@%+~-][\w.*?\[\]@%+~ -]*(?:/[\w.*?\[\]@%+~ -]+)*/?)")
_LONGEST_ADVICE = 60
#: Longer values are not looked into: nobody writes them by hand, and a tenant could write many.
_LONGEST_LOOKED_AT = 1024
#: So deep is a path in quotes and brackets at most.
_NESTED = 4


def separated(text: str) -> list[str]:
    """Return the paths in a text, whatever they are separated, quoted and numbered with."""
    parts = [_cleaned(part) for part in re.split(r"[,\n]", text)]
    pieces = [piece for part in parts for piece in _SEPARATOR.split(part)]
    pieces = [piece for part in pieces for piece in _COLON.sub("\\1\n", part).split("\n")]
    return [cleaned for piece in pieces if (cleaned := _cleaned(piece))]


def _cleaned(text: str) -> str:
    """Return an entry without what a list's or a URL's syntax puts around it."""
    for _ in range(_NESTED):
        text = text.strip().strip(_QUOTES).removeprefix("[")
        if text.count("]") > text.count("["):
            text = text.removesuffix("]")
        for notation, path in ((_LIST_DASH, ""), (_KEY, ""), (_FILE_URL, "/")):
            match = notation.match(text)
            text = f"{path}{text[match.end() :]}" if match else text
    return text


def in_another_notation(text: str) -> str:
    """Return what is wrong with a whole value that is a list in quotes or brackets, empty for any other."""
    return _written_otherwise(text) if text[:1] in ("[", *_QUOTES) else ""


def what_is_wrong(entry: str) -> str:
    """Return what is wrong with one entry of ``logs`` and what to write instead, empty for one that may be a path."""
    relative = not entry.startswith("/") and ":" not in entry
    return _written_otherwise(entry) or _no_file_of_a_pod(entry) or (_not_absolute(entry) if relative else "")


def _written_otherwise(entry: str) -> str:
    """Return the advice for an entry, or a whole value, in another notation."""
    pieces = separated(entry) if len(entry) <= _LONGEST_LOOKED_AT else []
    if not pieces or not all("/" in piece for piece in pieces):
        return ""
    if len(pieces) == 1 and (pieces == [entry] or entry.startswith("/")):
        return ""  # a file's name may end with a quote
    if len(pieces) > 1:
        said = "holds several paths"
    elif _FILE_URL.match(entry):
        said = "is a URL"
    elif _LIST_DASH.match(entry):
        said = "begins with a list's dash"
    elif _KEY.match(entry):
        said = "has a key before the path"
    else:
        said = "has quotes or brackets"
    return f"{said}; write {clean_untrusted(','.join(pieces), _LONGEST_ADVICE)}"


def _no_file_of_a_pod(entry: str) -> str:
    if _URL.match(entry):
        return f"is a URL; only files of the pod's containers are read, for example {EXAMPLE}"
    if _WINDOWS_PATH.match(entry):
        return f"is a path of Windows; write one of Linux, for example {EXAMPLE}"
    if "{{" in entry:
        return "is a template that was not rendered; write the path itself"
    if _VARIABLE.search(entry):
        return "has a variable; they are not filled in here, write the path itself"
    if entry.startswith("~"):
        return "has a ~; write the home folder's whole path"
    return ""


def _not_absolute(entry: str) -> str:
    match = _RELATIVE.fullmatch(entry)
    path = match["path"] if match is not None else ""
    if ".." in path.split("/"):
        return f"must be the whole path, without ..; write for example {EXAMPLE}"
    if not re.search(r"[/.*?]", path) or not re.search(r"\w", path):
        return f"is no path; write for example {EXAMPLE}"
    if "/" not in path or not re.match(r"\w", path):
        path = f"var/log/app/{path}"
    return f"must begin with /; write {clean_untrusted(f'/{path}', _LONGEST_ADVICE)}"
