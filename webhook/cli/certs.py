"""``pillion certs``: what certificates there are, until when, and what is wrong with them."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certs.contents import Certificate, Item, Key, Unreadable, belongs, contents
from certs.verify import Fault, FaultKind, UnusablePairError, verify
from webhook.cli.terminal import BOLD, GREEN, RED, Paint, painter, visible
from webhook.errors import PillionError

__all__ = ["add_arguments", "run"]

#: Exit codes: something is wrong with a certificate; usage, or input that can't be read.
WRONG, USAGE = 1, 2

_EXAMPLES = """\
examples:
  pillion certs show tls.crt tls.key ca.crt
  pillion certs verify --cert tls.crt --key tls.key --ca ca.crt --name pillion.pillion-system.svc
"""


class CertificateFileError(PillionError):
    """A file can't be read; the text says which and why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    parser.description = (
        "Say what certificates there are, until when they are good, and what is wrong with them.\n"
        "Exit code 1: something is wrong with a certificate; 2: usage, or input that can't be read."
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    show = actions.add_parser("show", help="say what is there and until when", description="Say what PEM files hold.")
    show.add_argument("files", nargs="+", metavar="FILE", help="a PEM file, - for standard input")
    show.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    check = actions.add_parser(
        "verify",
        help="say exactly what is wrong with a pair",
        description="Say whether a server's certificate and key are good, and if not, everything that is wrong.",
    )
    check.add_argument("--cert", metavar="FILE", required=True, help="the certificate and its chain, PEM")
    check.add_argument("--key", metavar="FILE", required=True, help="the certificate's private key, PEM")
    check.add_argument("--ca", metavar="FILE", help="what clients trust, PEM; without: who signed it is not asked")
    check.add_argument(
        *("--name", "-N"),
        metavar="NAME",
        action="append",
        default=[],
        help="a name that clients call the server by, as pillion.pillion-system.svc; may be repeated",
    )
    check.add_argument(
        "--at", metavar="TIME", type=_time, help="judge it at this time, as 2027-01-31 or 2027-01-31T12:00Z"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    action: Callable[[argparse.Namespace], int] = {"show": _show, "verify": _verify}[arguments.action]
    return action(arguments)


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2027-01-31 or 2027-01-31T12:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


# --- show --------------------------------------------------------------------------------------------------------


def _show(arguments: argparse.Namespace) -> int:
    found = {name: contents(_read(name)) for name in arguments.files}
    if arguments.output == "json":
        print(json.dumps([_as_json(name, item, found) for name, items in found.items() for item in items], indent=2))
    else:
        print("\n".join(_lines(found, datetime.now(UTC), painter(sys.stdout))))
    readable = all(not isinstance(item, Unreadable) for items in found.values() for item in items)
    return 0 if readable else WRONG


def _lines(found: Mapping[str, list[Item]], now: datetime, paint: Paint) -> Iterator[str]:
    """Yield the text for people: a paragraph for each source."""
    for name, items in found.items():
        yield paint(visible(name), BOLD)
        for item in items:
            yield from (f"  {line}" for line in _described(item, found, now, paint))


def _described(item: Item, found: Mapping[str, list[Item]], now: datetime, paint: Paint) -> Iterator[str]:
    match item:
        case Certificate():
            yield f"{'authority' if item.authority else 'certificate'} {visible(item.name)}"
            yield f"  signed by  {visible(item.issuer)}"
            yield f"  good       {_term(item, now, paint)}"
            yield f"  SHA-256    {item.fingerprint}"
        case Key():
            yield f"private key, {item.algorithm}: {_owner(item, found, paint)}"
        case Unreadable():
            yield paint(item.problem, RED)


def _term(certificate: Certificate, now: datetime, paint: Paint) -> str:
    start, end = certificate.not_before, certificate.not_after
    term = f"from {start:%FT%TZ} to {end:%FT%TZ}"
    if now < start:
        return f"{term}: {paint(f'not yet; in {_long(start - now)}', RED)}"
    if now > end:
        return f"{term}: {paint(f'ended {_long(now - end)} ago', RED)}"
    return f"{term}: for {_long(end - now)} from now"


def _owner(key: Key, found: Mapping[str, list[Item]], paint: Paint) -> str:
    for name, items in found.items():
        owner = belongs(key, (item for item in items if isinstance(item, Certificate)))
        if owner is not None:
            return f"belongs to {visible(owner.name)} in {visible(name)}"
    return paint("belongs to no certificate here", RED)


def _as_json(name: str, item: Item, found: Mapping[str, list[Item]]) -> dict[str, Any]:
    match item:
        case Certificate():
            facts: dict[str, Any] = {
                "kind": "authority" if item.authority else "certificate",
                "name": item.name,
                "names": item.names,
                "issuer": item.issuer,
                "notBefore": f"{item.not_before:%FT%TZ}",
                "notAfter": f"{item.not_after:%FT%TZ}",
                "sha256": item.fingerprint,
            }
        case Key():
            certificates = [each for items in found.values() for each in items if isinstance(each, Certificate)]
            owner = belongs(item, certificates)
            facts = {"kind": "key", "algorithm": item.algorithm, "belongsTo": owner.fingerprint if owner else None}
        case Unreadable():
            facts = {"kind": "unreadable", "problem": item.problem}
    return {"source": name, **facts}


def _long(span: timedelta) -> str:
    """Return a span of time in its largest unit that is not one: people plan in days."""
    minutes = int(span.total_seconds()) // 60
    for size, unit in ((24 * 60, "days"), (60, "hours")):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"


# --- verify ------------------------------------------------------------------------------------------------------


def _verify(arguments: argparse.Namespace) -> int:
    paint = painter(sys.stdout)
    names = tuple(arguments.name)
    chain, key = _read(arguments.cert), _read(arguments.key)
    roots = _read(arguments.ca) if arguments.ca is not None else None
    now = arguments.at or datetime.now(UTC)
    try:
        pair = verify(chain, key, now=now, names=names, roots_pem=roots)
    except UnusablePairError as error:
        for fault in error.faults:
            print(f"{visible(arguments.cert)}: {_said(fault, paint)}")
        return WRONG
    called = f" for {visible(', '.join(names or pair.names))}" if names or pair.names else ""
    print(
        f"{visible(arguments.cert)}: {paint('good', GREEN)}{called} until {pair.not_after:%FT%TZ}, "
        f"{_long(pair.not_after - now)} from {'then' if arguments.at else 'now'}"
    )
    for asked, option, question in ((names, "--name", "what it is called"), (roots, "--ca", "who signed it")):
        if not asked:
            print(f"  not asked: {question}; give {option}")
    return 0


def _said(fault: Fault, paint: Paint) -> str:
    labels = {FaultKind.KEY: "key mismatch"}
    return f"{paint(labels.get(fault.kind, fault.kind.value), RED)}: {visible(fault.text)}"


def _read(name: str) -> bytes:
    """Return a file's bytes; :class:`CertificateFileError` where there are none."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CertificateFileError(f"{name}: {error.strerror}") from None
