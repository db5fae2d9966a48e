"""The manifests that ``-f`` names: files, directories and standard input, and the options that go with them."""

import argparse
import errno
import glob
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webhook import documents
from webhook.configuration import load
from webhook.documents import Document
from webhook.errors import ManifestError
from webhook.injection.profile import Configuration

__all__ = ["File", "add_input_options", "add_options", "configuration", "read"]

STDIN = "-"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
#: What prints what a URL leads to.
_PROGRAMS = {
    **dict.fromkeys(("http", "https", "ftp"), "curl -sSfL {}"),
    "s3": "aws s3 cp {} -",
    "gs": "gcloud storage cat {}",
}
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class File:
    """A file's name as the user knows it, and its documents."""

    source: str
    documents: list[Document]

    @property
    def is_json(self) -> bool:
        """Return whether it is a JSON file, not a YAML stream."""
        return bool(self.documents) and all(document.is_json for document in self.documents)


def add_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add what ``inject``, ``explain`` and ``lint`` have in common; ``-f`` may be left out where it is not required."""
    add_input_options(parser, required=required)
    parser.add_argument(
        "--namespace-opt-in",
        action="store_true",
        help="treat every namespace as labelled PREFIXinject=true (labels of Namespaces in the input always count)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail unless every pod is injected as requested: an annotation that is invalid, misplaced or misspelt is "
        "an error, and so is any other reason not to inject",
    )


def add_input_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add what every command has that reads manifests."""
    parser.add_argument(
        *("-f", "--filename"),
        action="extend",
        nargs="+",
        required=required,
        metavar="FILE",
        help="files, directories (their *.yaml, *.yml and *.json), patterns, or - for standard input; may be repeated, "
        "and commas separate names as well",
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="include subdirectories")
    parser.add_argument(
        *("-n", "--namespace"),
        default="default",
        metavar="NAME",
        help="the namespace of objects without one; default: default",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="the webhook's configuration file; default: the built-in profiles"
    )
    parser.add_argument("--prefix", help="the annotations' prefix; default: pillion.dev/")


def configuration(arguments: argparse.Namespace) -> Configuration:
    """Return the configuration that the options ask for; never in shadow mode, which is for servers."""
    strict = True if getattr(arguments, "strict", False) else None
    return load(arguments.config, prefix=arguments.prefix, strict=strict, shadow=False)


def read(arguments: argparse.Namespace) -> tuple[list[File], list[str]]:
    """Return everything that ``-f`` names, in that order, and what is wrong with each file that can't be read."""
    files: list[File] = []
    problems: list[str] = []
    names = [name for text in arguments.filename for name in _names(text)]
    for name in names:
        if _URL.match(name):
            problems.append(
                f"{name}: no URLs, only files, directories and - can be read; {_instead(name, names, arguments)}"
            )
            continue
        try:
            paths = list(_paths(name, recursive=arguments.recursive))
        except ManifestError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{name}: can't be read: {error.strerror}")
            continue
        for path in paths:
            try:
                files.append(_read(path))
            except ManifestError as error:
                problems.append(str(error))
    return files, problems


def _instead(url: str, names: Sequence[str], arguments: argparse.Namespace) -> str:
    """Return what to write instead of a URL."""
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        return f"write: -f {shlex.quote(re.sub('^file:/+(localhost/)?', '/', url, flags=re.IGNORECASE))}"
    program = _PROGRAMS.get(scheme)
    # one pipe carries one document after the other, and curl puts no --- between two
    if program is None or STDIN in names or sum(map(bool, map(_URL.match, names))) > 1:
        return "download it, and write the file's name"
    others = " ".join(f"-f {shlex.quote(STDIN if name == url else name)}" for name in names)
    return f"write: {program.format(shlex.quote(url))} | pillion {arguments.command} {others}"


def _names(text: str) -> list[str]:
    """Return what one ``-f`` names: several with commas, as kubectl has it, unless a file is called like that."""
    if not text.strip(","):
        raise ManifestError(f"-f {shlex.quote(text)}: names nothing; write a file, a directory or -")
    # unlike Path's, os.path's are false for what is no name at all, and where one may not look
    return [text] if os.path.exists(text) else [name for name in text.split(",") if name]  # noqa: PTH110


def _paths(name: str, *, recursive: bool) -> Iterator[str]:
    """Yield the files that a name stands for, those of a directory or of a pattern in the order of their paths."""
    if name == STDIN or not os.path.isdir(name):  # noqa: PTH112
        # Path.glob takes no absolute pattern
        yield from ([] if os.path.exists(name) else sorted(glob.glob(name))) or [name]  # noqa: PTH110, PTH207
        return
    directory = Path(name)
    found = sorted(
        path
        for path in (directory.rglob("*") if recursive else directory.iterdir())
        if path.suffix in _SUFFIXES and path.is_file()
    )
    if not found:
        deeper = "" if recursive else "; -R looks in the directories below, too"
        raise ManifestError(f"{name}: no *.yaml, *.yml or *.json in this directory{deeper}")
    yield from map(str, found)


def _read(name: str) -> File:
    source = "stdin" if name == STDIN else name
    try:
        content = _stdin() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise ManifestError(f"{source}: can't be read: {error.strerror}") from None
    return File(source, documents.read(content, source))


def _stdin() -> bytes:
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer.read()
