"""``pillion certs``: what certificates there are, until when, and what is wrong with them."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certs.inspection import CertificateInfo, InspectionProblem, Item, KeyInfo, certificate_of, inspect_pem
from certs.verify import Fault, FaultKind, UnusablePairError, VerifiedLeaf, verify
from webhook.cli.kubectl import Kubectl, add_options
from webhook.cli.releases import CERTIFICATE_ANNOTATION, Entry, Release, find_releases, request_rotation
from webhook.cli.terminal import BOLD, GREEN, RED, Paint, complain, describe, painter, visible
from webhook.errors import CertificateError

__all__ = ["add_arguments", "run"]

#: Exit codes: something is wrong with a certificate; usage, or what can't be read.
WRONG, USAGE = 1, 2

_EXAMPLES = """\
  pillion certs show                          the releases in kubectl's cluster
  pillion certs show tls.crt tls.key ca.crt
  pillion certs verify                        each release's pair, against what its webhook entries trust
  pillion certs verify --cert tls.crt --key tls.key --ca ca.crt --name pillion.pillion-system.svc
  pillion certs rotate leaf                   ask for a new certificate now
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    describe(
        parser,
        "Say what certificates there are, until when they are valid, and what is wrong with them: in files, or in the\n"
        "cluster that kubectl uses. Exit code 1: something is wrong with a certificate; 2: usage, or it can't be read.",
        _EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    _add_show(actions.add_parser("show", help="say what is there and until when"))
    _add_verify(actions.add_parser("verify", help="say exactly what is wrong with a pair"))
    _add_rotate(actions.add_parser("rotate", help="ask for a new certificate now"))


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what PEM files hold; without files, what the releases in kubectl's cluster hold."
    parser.add_argument("files", nargs="*", metavar="FILE", help="a PEM file, - for standard input")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text (default) or json")
    _add_cluster(parser)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say whether a server's certificate and key are good, and if not, everything that is wrong. Without --cert: "
        "of each release in kubectl's cluster, against what its webhook entries trust and call it by."
    )
    parser.add_argument("--cert", metavar="FILE", help="the certificate and its chain, PEM")
    parser.add_argument("--key", metavar="FILE", help="the certificate's private key, PEM")
    parser.add_argument("--ca", metavar="FILE", help="what clients trust, PEM; without: who signed it is not asked")
    parser.add_argument(
        "--name",
        metavar="NAME",
        action="append",
        default=[],
        help="a name that clients call the server by, as pillion.pillion-system.svc; may be repeated",
    )
    parser.add_argument(
        "--at", metavar="TIME", type=_time, help="judge it at this time, as 2027-01-31 or 2027-01-31T12:00Z"
    )
    _add_cluster(parser)


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Ask for a rotation of a release whose certificates.mode is self-managed; it begins within seconds. A new CA "
        "signs a new leaf. No call fails meanwhile."
    )
    parser.add_argument("what", choices=("leaf", "ca"), help="the servers' certificate, or its CA as well")
    _add_cluster(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("in a cluster, which is reached through kubectl")
    add_options(group)
    group.add_argument("-n", "--namespace", metavar="NAME", help="the release's namespace; default: all namespaces")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    action: Callable[[argparse.Namespace], int] = {
        "show": _show,
        "verify": _verify_file if getattr(arguments, "cert", None) else _verify_cluster,
        "rotate": _rotate,
    }[arguments.action]
    return action(arguments)


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2027-01-31 or 2027-01-31T12:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


# --- show --------------------------------------------------------------------------------------------------------


def _show(arguments: argparse.Namespace) -> int:
    if arguments.files:
        found = {name: inspect_pem(_read(name)) for name in arguments.files}
    else:
        found = {name: items for release in _releases(arguments) for name, items in _held(release)}
    if arguments.output == "json":
        print(json.dumps([_as_json(name, item, found) for name, items in found.items() for item in items], indent=2))
    else:
        print("\n".join(_lines(found, datetime.now(UTC), painter(sys.stdout))))
    readable = all(not isinstance(item, InspectionProblem) for items in found.values() for item in items)
    return 0 if readable else WRONG


def _held(release: Release) -> Iterator[tuple[str, list[Item]]]:
    """Yield what a release's Secret holds, and what its entries trust: entries that trust the same are one."""
    for key, pem in sorted((release.content or {}).items()):
        yield f"{release.name}, {key}", inspect_pem(pem)
    if release.content is None:
        yield release.name, [InspectionProblem("is not there")]
    for bundle in dict.fromkeys(entry.bundle for entry in release.entries):
        names = ", ".join(entry.name for entry in release.entries if entry.bundle == bundle)
        trusted: list[Item] = (
            inspect_pem(bundle) if bundle else [InspectionProblem("nothing is trusted: there is no caBundle")]
        )
        yield f"trusted by {release.configuration}, {names}", trusted


def _lines(found: Mapping[str, list[Item]], now: datetime, paint: Paint) -> Iterator[str]:
    """Yield the text for people: a paragraph for each source."""
    for name, items in found.items():
        yield paint(visible(name), BOLD)
        for item in items:
            yield from (f"  {line}" for line in _described(item, found, now, paint))


def _described(item: Item, found: Mapping[str, list[Item]], now: datetime, paint: Paint) -> Iterator[str]:
    match item:
        case CertificateInfo():
            yield f"{'CA certificate' if item.is_ca else 'certificate'} {visible(item.name)}"
            yield f"  signed by  {visible(item.issuer)}"
            yield f"  valid      {_term(item, now, paint)}"
            yield f"  SHA-256    {item.fingerprint}"
        case KeyInfo():
            yield f"private key, {item.algorithm}: {_owner(item, found, paint)}"
        case InspectionProblem():
            yield paint(item.problem, RED)


def _term(certificate: CertificateInfo, now: datetime, paint: Paint) -> str:
    start, end = certificate.not_before, certificate.not_after
    term = f"from {start:%FT%TZ} to {end:%FT%TZ}"
    if now < start:
        return f"{term}: {paint(f'not yet; in {_long(start - now)}', RED)}"
    if now > end:
        return f"{term}: {paint(f'ended {_long(now - end)} ago', RED)}"
    return f"{term}: for {_long(end - now)} from now"


def _owner(key: KeyInfo, found: Mapping[str, list[Item]], paint: Paint) -> str:
    for name, items in found.items():
        owner = certificate_of(key, (item for item in items if isinstance(item, CertificateInfo)))
        if owner is not None:
            return f"belongs to {visible(owner.name)} in {visible(name)}"
    return paint("belongs to no certificate here", RED)


def _as_json(name: str, item: Item, found: Mapping[str, list[Item]]) -> dict[str, Any]:
    match item:
        case CertificateInfo():
            facts: dict[str, Any] = {
                "kind": "ca" if item.is_ca else "certificate",
                "name": item.name,
                "names": item.names,
                "issuer": item.issuer,
                "notBefore": f"{item.not_before:%FT%TZ}",
                "notAfter": f"{item.not_after:%FT%TZ}",
                "sha256": item.fingerprint,
            }
        case KeyInfo():
            certificates = [each for items in found.values() for each in items if isinstance(each, CertificateInfo)]
            owner = certificate_of(item, certificates)
            facts = {"kind": "key", "algorithm": item.algorithm, "belongsTo": owner.fingerprint if owner else None}
        case InspectionProblem():
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


def _verify_file(arguments: argparse.Namespace) -> int:
    names = tuple(arguments.name)
    if arguments.key is None:
        raise CertificateError("verify --cert needs --key, too")
    chain, key = _read(arguments.cert), _read(arguments.key)
    roots = _read(arguments.ca) if arguments.ca is not None else None
    now = arguments.at or datetime.now(UTC)
    paint = painter(sys.stdout)
    try:
        leaf = verify(chain, key, now=now, names=names, roots_pem=roots)
    except UnusablePairError as error:
        print("\n".join(_said(arguments.cert, error.faults, paint)))
        return WRONG
    print(_valid(arguments.cert, leaf, names or leaf.names, arguments.at, paint))
    for asked, option, question in ((names, "--name", "what it is called"), (roots, "--ca", "who signed it")):
        if not asked:
            print(f"  not asked: {question}; give {option}")
    return 0


def _verify_cluster(arguments: argparse.Namespace) -> int:
    if arguments.key or arguments.ca or arguments.name:
        raise CertificateError("verify with --key, --ca or --name is about files: give --cert, too")
    paint = painter(sys.stdout)
    good = True
    for release in _releases(arguments):
        for entry in release.entries:
            judged = _judged(release, entry, arguments.at or datetime.now(UTC))
            name = f"{release.configuration}, {entry.name}"
            if isinstance(judged, VerifiedLeaf):
                print(_valid(name, judged, (entry.server,), arguments.at, paint))
            else:
                good = False
                print("\n".join(_said(name, judged, paint)))
    return 0 if good else WRONG


def _judged(release: Release, entry: Entry, now: datetime) -> VerifiedLeaf | list[Fault]:
    """Return the leaf that an entry's calls meet, or what is wrong with it."""
    content = release.content or {}
    if not content.get("tls.crt"):
        what = "is not there" if release.content is None else "has no tls.crt"
        return [Fault(FaultKind.UNREADABLE, f"{release.name} {what}")]
    if not entry.bundle:
        return [Fault(FaultKind.CHAIN, "the entry has no caBundle: it trusts what the API server's machine does")]
    try:
        pem = content["tls.crt"], content.get("tls.key", b"")
        return verify(*pem, now=now, names=(entry.server,), roots_pem=entry.bundle)
    except UnusablePairError as error:
        return error.faults


def _valid(what: str, leaf: VerifiedLeaf, names: tuple[str, ...], at: datetime | None, paint: Paint) -> str:
    """Return the sentence for a pair that nothing is wrong with."""
    left = f"{_long(leaf.not_after - (at or datetime.now(UTC)))} from {'then' if at else 'now'}"
    called = f" for {visible(', '.join(names))}" if names else ""
    return f"{visible(what)}: {paint('valid', GREEN)}{called} until {leaf.not_after:%FT%TZ}, {left}"


def _said(what: str, faults: list[Fault], paint: Paint) -> Iterator[str]:
    """Yield a line for each fault."""
    labels = {FaultKind.KEY: "key mismatch"}
    for fault in faults:
        yield f"{visible(what)}: {paint(labels.get(fault.kind, fault.kind.value), RED)}: {visible(fault.text)}"


# --- rotate ------------------------------------------------------------------------------------------------------


def _rotate(arguments: argparse.Namespace) -> int:
    releases = _releases(arguments)
    if len(releases) > 1:
        where = ", ".join(release.namespace for release in releases)
        raise CertificateError(f"there are {len(releases)} releases; choose one with -n: {where}")
    (release,) = releases
    if release.issuer:
        renewal = f"cmctl renew {visible(release.issuer)} -n {release.namespace}"
        raise CertificateError(f"{release.name} belongs to cert-manager; ask it: {renewal}")
    if not release.self_managed:
        raise CertificateError(f"{release.name} has no ca.key: whoever made this certificate has to make the next one")
    request_rotation(_kubectl(arguments), release, arguments.what)
    what = {"leaf": "leaf", "ca": "CA"}[arguments.what]
    complain(f"asked for a new {what}: {release.name}; pillion certs show says when it is there")
    return 0


# --- what is read ------------------------------------------------------------------------------------------------


def _kubectl(arguments: argparse.Namespace) -> Kubectl:
    return Kubectl(arguments.kubeconfig, arguments.context)


def _releases(arguments: argparse.Namespace) -> list[Release]:
    """Return what there is in the cluster; :class:`CertificateError` for nothing."""
    releases = find_releases(_kubectl(arguments), arguments.namespace)
    if not releases:
        where = f"namespace {arguments.namespace}" if arguments.namespace else "this cluster"
        raise CertificateError(
            f"there is no release in {where}: no webhook configuration has the annotation {CERTIFICATE_ANNOTATION}"
        )
    return releases


def _read(name: str) -> bytes:
    """Return a file's bytes; :class:`CertificateError` where there are none."""
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CertificateError(f"{name}: {error.strerror}") from None
