"""Advice on invalid ``logs`` and ``containers`` values: guesses what the author meant, to say what to write.

Common mistakes come from YAML and from other tools: other separators, a list's quotes, brackets and dashes, URLs,
variables. Advice is given only if the advised value could be a path.
"""

import re

from webhook.injection.dns_labels import is_dns_label
from webhook.injection.reasons import clean_untrusted

__all__ = [
    "ADVICE_TO_OMIT_CONTAINER",
    "EXAMPLE",
    "WORDS_FOR_ALL",
    "advice_on_container_name",
    "advice_on_entry",
    "advice_on_value",
]

EXAMPLE = "/var/log/app/*.log"

_QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
#: A path follows, possibly after quotes, brackets, and a container's name or a URL's scheme.
_PATH_FOLLOWS = rf"(?=[{_QUOTES}(\[]*(?:[a-z0-9][-a-z0-9]*:[{_QUOTES}]*)?/)"
#: Separators that people write between paths. The lookbehind keeps a run of blanks from being scanned again at each
#: blank, which would take quadratic time.
_SEPARATOR = re.compile(
    rf"(?<![\s:])(?:\s*+(?:[;|&\uff0c\u3001\uff1b\u2022\u00b7]+|%2[Cc]|%0[Aa]|[-=]>)\s*|\s+(?:and|or)\s+"
    rf"|\s+[-*+\u2022\u2013]\s+|\s+[0-9]+[.)]\s+|(?<=\.log|\.txt|\.out|\.err)\++|\s++|\\n){_PATH_FOLLOWS}"
)
#: As in PATH: a colon between two paths.
_COLON = re.compile(r"(?<!:)((?:^|:)/[^:]*):(?=/)")
_LIST_DASH = re.compile(rf"(?:[-\u2022\u2013]+\s*|\*\s+){_PATH_FOLLOWS}")
_COMMENT = re.compile(r"(?<!\s)\s++(?:#|//\s).*")
#: Separators or command ends after the path.
_TRAILING = re.compile(r"(?<![\s;|&\uff0c\u3001\uff1b])\s*+(?P<end>[;|&\uff0c\u3001\uff1b]+)\s*\Z")
_OPTION = re.compile(r"\s--?[A-Za-z][\w-]*(?:\s|=|\Z)")
_REGEX = re.compile(r"\([^()|]*\|[^()]*\)|\$\Z|\A\^|/\.\*\.|\.[*+]\\|\\[dws]|\(\?[<:!=P]")
_FILE_URL = re.compile(r"file://(?:localhost(?=/))?/*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KEY = re.compile(rf"[\w.-]+(?:\s*=\s*|:\s+(?=\[)){_PATH_FOLLOWS}")
#: A single lower-case letter may be a container's name.
_WINDOWS_PATH = re.compile(r"[A-Z]:[\\/]|[a-z]:\\|\\\\")
_SHELL_TEXT = re.compile(r"\s\d?[<>]|[<>]&|>/|<br", re.IGNORECASE)
_QUOTED_BEHIND_COLON = re.compile(rf"(?P<container>[a-z0-9][-a-z0-9]*:)[{_QUOTES}]+(?=/)")
_BEGINS_AS_PATH = re.compile(r"(?:[a-z0-9][-a-z0-9]*:\s*)?/")
#: ``$(DIR)``, ``${DIR}``, ``$DIR-``, ``%DIR%``, ``%(dir)s``; not every ``$``: a file's name may contain one.
_VARIABLE = re.compile(r"\$[({]|^\$|\$[A-Z][A-Z0-9_]+(?=[/._-]|\Z)|%[A-Za-z_]{3,}%|%\([A-Za-z]\w*\)[ds]")
#: What loggers and shells replace by the date: ``%d{yyyy-MM-dd}``, ``%Y-%m-%d``, ``yyyyMMdd``, ``$(date +%F)``,
#: ``%DATE%``, and 2006-01-02, which is a pattern to Go.
_DATE = re.compile(
    r"%d\{[^{}/]*\}(?:[-_.]%i)?|%\{\+[^{}/]*\}|\$\{date:[^{}/]*\}|\$\(date[^()/]*\)|`date[^`/]*`|%DATE%"
    r"|%[YymdHMSj](?:[-_.T:/]?%[YymdHMSj])+|%F(?![0-9A-Fa-f])"
    r"|[\[<{]?(?:yyyy|YYYY)[-_./]?(?:MM|mm)(?:[-_./]?(?:dd|DD))?(?:[-_.T/]?HH)?[]>}]?"
    r"|[\[<{]?(?:dd|DD)[-_.]?(?:MM|mm)[-_.]?(?:yyyy|YYYY)[]>}]?"
    r"|2006[-_.]?01[-_.]?02(?:[-_.T]?15[-_.]?04(?:[-_.]?05)?)?"
)
_DATE_PART = re.compile(r"%[YymdHMSj]|yyyy|YYYY|MM|dd|DD")
#: A placeholder of a template (``{{``) or of an explanation (``<hostname>``).
_TEMPLATE = re.compile(r"\{\{|<(?!br\b)[A-Za-z][\w -]*>")
_HOME = re.compile(r"\A~")
#: Patterns of bash that a glob does not have.
_EXTENDED_GLOB = re.compile(r"[!?+*@]\(|\[\[:")
#: JSON or YAML with more than paths in it.
_MAPPING = re.compile(r"(?<!\$)\{\s*[\"']?\w+[\"']?\s*:|\A-\s+\w+:\s")
#: A relative path.
_RELATIVE = re.compile(r"(?:\./)*(?P<path>[\w.*?\[][\w.*?\[\]@%+~ -]*(?:/[\w.*?\[\]@%+~ -]+)*/?)")
_MAX_ADVICE = 60
_WILDCARD = frozenset("*?")
_BETWEEN_NAMES = re.compile(r"[^\w.-]+")
#: Longer values are not examined: nobody writes them by hand, and they would cost time.
_MAX_EXAMINED = 1024
#: A path is in at most this many layers of quotes and brackets.
_MAX_NESTING = 4

#: What people write for all containers.
WORDS_FOR_ALL = frozenset({"*", "**", ".*", "all", "any", "each", "every", "everything"})
ADVICE_TO_OMIT_CONTAINER = "leave the container out: then all of the pod's own containers are meant"


def advice_on_container_name(name: str, text: str) -> str:
    """Return the advice on ``name``, which is not a valid container name, in the ``containers`` value ``text``."""
    if name.strip(_QUOTES).lower() in WORDS_FOR_ALL:
        return "leave it out: all of the pod's own containers take part"
    if not _WILDCARD.isdisjoint(name):
        return "has a wildcard; write names with commas between them"
    names = [piece for part in _BETWEEN_NAMES.split(text.lower()) if (piece := part.strip("-"))]
    if not names or not all(map(is_dns_label, names)):
        return "is not a container name; write names with commas between them"
    return f"is not a container name; write {clean_untrusted(','.join(names), _MAX_ADVICE)}"


def _split_paths(text: str) -> list[str]:
    """Return the paths in a text, without separators, quotes and list marks of any kind."""
    parts = [_without_list_syntax(part) for part in re.split(r"[,\n]", text)]
    pieces = [piece for part in parts for piece in _SEPARATOR.split(part)]
    pieces = [piece for part in pieces for piece in _COLON.sub("\\1\n", part).split("\n")]
    return [cleaned for piece in pieces if (cleaned := _without_list_syntax(piece)) and cleaned != "/"]


def _without_list_syntax(text: str) -> str:
    """Return an entry without the syntax of a list or URL around it."""
    for _ in range(_MAX_NESTING):
        text = _COMMENT.sub("", text.strip()).strip(f"{_QUOTES}()").removeprefix("[")
        if text.count("]") > text.count("["):
            text = text.removesuffix("]")
        quoted = _QUOTED_BEHIND_COLON.match(text)
        text = f"{quoted['container']}{text[quoted.end() :]}" if quoted else text
        for notation, path in ((_LIST_DASH, ""), (_KEY, ""), (_FILE_URL, "/")):
            match = notation.match(text)
            text = f"{path}{text[match.end() :]}" if match else text
    return text


def advice_on_value(text: str) -> str:
    """Return the advice on a whole value that is a list in quotes or brackets, "" for any other."""
    return _advice_on_notation(text) if text[:1] in ("[", "(", *_QUOTES) else ""


def advice_on_entry(entry: str) -> str:
    """Return what is wrong with one entry of ``logs`` and what to write instead, "" if it may be a path."""
    relative = not entry.startswith("/") and ":" not in entry
    return (
        _advice_on_notation(entry)
        or _advice_on_non_path(entry)
        or (_advice_on_relative_path(entry) if relative else "")
    )


def _advice_on_notation(entry: str) -> str:
    """Return the advice on an entry, or a whole value, that is in another notation, "" for any other."""
    pieces = _split_paths(entry) if len(entry) <= _MAX_EXAMINED else []
    paths = [piece for piece in pieces if _BEGINS_AS_PATH.match(piece)]
    if not paths or pieces == [entry]:
        return ""
    if len(pieces) > 1 and any(" " in path for path in paths):
        return f"holds more than paths; write for example {EXAMPLE}"
    # what is to be written must not be refused in its turn
    deeper = next(filter(None, map(_advice_on_non_path, paths)), "")
    if deeper:
        return deeper if len(paths) == 1 else f"holds several paths, of which one {deeper}"
    return _advice_with_paths(entry, pieces, paths)


def _advice_with_paths(entry: str, pieces: list[str], paths: list[str]) -> str:
    """Return the advice that names an entry's notation and the paths to write, "" for none."""
    advice = clean_untrusted(",".join(paths), _MAX_ADVICE)
    if _COMMENT.search(entry):
        return f"has a comment; write {advice}"
    if len(pieces) == 1 and entry.startswith("/"):
        return ""  # a file's name may end with a quote
    if len(paths) < len(pieces):
        return f"holds more than paths; write {advice}"
    if len(pieces) > 1:
        return f"holds several paths; write {advice}"
    if _FILE_URL.match(entry):
        return f"is a URL; write {advice}"
    if _LIST_DASH.match(entry):
        return f"begins with a list dash; write {advice}"
    key = _KEY.match(entry)
    if key is not None:
        name = re.split(r"[\s=:]", entry, maxsplit=1)[0]
        for_container = f"for container {name} write {name}:{advice}, otherwise" if is_dns_label(name) else "write"
        return f"has a key before the path; {for_container} {advice}"
    return f"has quotes or brackets; write {advice}"


#: Entries that are not paths, and the advice on each.
_NON_PATHS = (
    (_MAPPING, f"is a mapping; write only paths, for example {EXAMPLE}"),
    (_OPTION, f"has a command-line option; write only the path, for example {EXAMPLE}"),
    (_REGEX, f"is a regular expression; write a glob such as {EXAMPLE}"),
    (_EXTENDED_GLOB, f"has a pattern that only bash knows; write a glob such as {EXAMPLE}"),
    (_TEMPLATE, "is a template that was not rendered; write the path itself"),
    (_SHELL_TEXT, f"has shell text; write only the path, for example {EXAMPLE}"),
    (_VARIABLE, "has a variable, which is not expanded here; write the path itself"),
    (_HOME, "has a ~; write the home directory's whole path"),
)


def _advice_on_non_path(entry: str) -> str:
    if _URL.match(entry):
        return f"is a URL; only files of the pod's containers are read, for example {EXAMPLE}"
    if _WINDOWS_PATH.match(entry):
        return f"is a Windows path; write a Linux path, for example {EXAMPLE}"
    if trailing := _TRAILING.search(entry):
        path = entry[: trailing.start()]
        written = f"ends with {trailing['end']}; write {clean_untrusted(path, _MAX_ADVICE)}"
        return advice_on_entry(path) or written
    if date := _DATE.search(entry):
        glob = _without_date(entry, date)
        written = f"has a date pattern, which is not expanded; write {clean_untrusted(glob, _MAX_ADVICE)}"
        return advice_on_entry(glob) or written
    return next((advice for pattern, advice in _NON_PATHS if pattern.search(entry)), "")


def _without_date(entry: str, date: re.Match[str]) -> str:
    """Return an entry with wildcards for the date that it has in its name or its directories."""
    directory, _, name = entry.rpartition("/")
    if date.start() < len(directory):
        directory = f"{entry[: entry.rfind('/', 0, date.start())]}/**"
        name = _DATE_PART.sub("*", name)
    return f"{directory}/{_DATE.sub('*', name)}"


def _advice_on_relative_path(entry: str) -> str:
    match = _RELATIVE.fullmatch(entry)
    path = match["path"] if match is not None else ""
    if ".." in path.split("/"):
        return f"must be the whole path, without ..; write for example {EXAMPLE}"
    if not re.search(r"[/.*?]", path) or not re.search(r"\w", path):
        return f"is not a path; write for example {EXAMPLE}"
    if "/" not in path or not re.match(r"\w", path):
        path = f"var/log/app/{path}"
    return f"must begin with /; write {clean_untrusted(f'/{path}', _MAX_ADVICE)}"
