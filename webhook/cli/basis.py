"""By which configuration the pods of a cluster are judged: a file, or the release's ConfigMap; and what says so."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from webhook import __version__
from webhook.cli.kubectl import FORBIDDEN, NOT_FOUND, Kubectl, document, path
from webhook.cli.releases import CERTIFICATE_ANNOTATION
from webhook.cli.terminal import visible
from webhook.configuration import load, parse
from webhook.errors import ClusterError, ConfigurationError
from webhook.injection.profile import DEFAULT_PREFIX, Configuration
from webhook.json_values import as_list, as_mapping, at

__all__ = ["Basis", "add_options", "add_release_option"]

#: Where a release is, if nothing says it.
USUAL_RELEASE = "pillion-system/pillion"
#: The key of the file in the release's ConfigMap.
FILE = "configuration.yaml"


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose the configuration."""
    group.add_argument("--config", metavar="FILE", help="judge by this configuration; default: the release's ConfigMap")
    group.add_argument("--prefix", help=f"the annotations' prefix; default: the release's, or else {DEFAULT_PREFIX}")
    add_release_option(group)


def add_release_option(group: argparse._ArgumentGroup) -> None:
    """Add the option that chooses a release in the cluster."""
    group.add_argument(
        "--release",
        metavar="NAMESPACE/NAME",
        help=f"the release's ConfigMap; default: found by the webhook configuration, or else {USUAL_RELEASE}",
    )


class Installation(NamedTuple):
    """What a webhook configuration says of its release."""

    namespace: str
    name: str
    prefix: str
    #: Namespaces that the API server never asks about.
    excluded: frozenset[str]
    #: When it was created, as the API server writes times.
    since: str
    #: Whether it also selects pods or namespaces by other labels, for the values webhook.*Selector.
    selects: bool

    @property
    def title(self) -> str:
        """Return ``NAMESPACE/NAME``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Basis:
    """By which configuration pods are judged, with what else the release says.

    Where ``source`` is empty none could be read; ``configuration`` is the built-in one then, which recognises sidecars
    and decides nothing. ``version`` is the release's, where that is not this command's. ``notes`` say what could not be
    read, and what makes a judgement doubtful.
    """

    configuration: Configuration
    source: str
    excluded: frozenset[str] = frozenset()
    installed: str = ""
    notes: Sequence[str] = field(default=())
    version: str = ""

    @property
    def decides(self) -> bool:
        """Return whether it says what would be decided."""
        return bool(self.source)

    @classmethod
    def read(cls, kubectl: Kubectl, arguments: argparse.Namespace) -> Self:
        """Return what the options choose, or what the cluster has.

        :class:`ConfigurationError` where the file of ``--config`` can't be used; :class:`ClusterError` where the
        release that is named can't be read, where there are several, or where there is no cluster.
        """
        notes: list[str] = []
        found = _installation(kubectl, arguments, notes)
        prefix = arguments.prefix or (found.prefix if found is not None else None)
        excluded = found.excluded if found is not None else frozenset()
        since = found.since if found is not None else ""
        if arguments.config is not None:
            configuration = load(arguments.config, prefix=prefix, shadow=False)
            return cls(configuration, arguments.config, excluded, since, notes)
        where = arguments.release or (found.title if found is not None else USUAL_RELEASE)
        read = _config_map(kubectl, where, prefix, notes, named=bool(arguments.release))
        if read is not None:
            return cls(read.configuration, f"ConfigMap {where}", excluded, since, notes, read.other_version)
        return cls(load(None, prefix=prefix, shadow=False), "", excluded, since, notes)


def _installation(kubectl: Kubectl, arguments: argparse.Namespace, notes: list[str]) -> Installation | None:
    try:
        steps = ("apis", "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")
        found = [one for page in kubectl.pages(*steps) for item in page for one in _of(document(item))]
    except ClusterError as error:
        if error.reason != FORBIDDEN:
            raise
        notes.append(f"which namespaces are excluded is unknown: {error.sentence}")
        return None
    chosen = [one for one in found if arguments.release in (None, one.title) and arguments.prefix in (None, one.prefix)]
    if len(chosen) > 1:
        titles = visible(", ".join(one.title for one in chosen))
        raise ClusterError(f"there are {len(chosen)} releases; choose one with --release: {titles}")
    if chosen and chosen[0].selects:
        notes.append(
            "the webhook configuration selects pods or namespaces by labels, which are not looked at here: "
            "a pod that it leaves out is shown as one that would be injected"
        )
    return chosen[0] if chosen else None


def _of(configuration: Mapping[str, Any]) -> Iterator[Installation]:
    """Yield what a webhook configuration says, nothing where it is not Pillion's."""
    metadata = as_mapping(configuration.get("metadata"))
    if CERTIFICATE_ANNOTATION not in as_mapping(metadata.get("annotations")):
        return
    for entry in map(as_mapping, as_list(configuration.get("webhooks"))):
        service = as_mapping(at(entry, ("clientConfig", "service")))
        selectors = [as_mapping(one) for one in as_list(at(entry, ("namespaceSelector", "matchExpressions")))]
        labels = [str(one.get("key")) for one in selectors if one.get("values") == ["true"]]
        prefix = next((label.removesuffix("inject") for label in labels if label.endswith("/inject")), None)
        if service and prefix is not None:
            excluded = frozenset(
                str(name)
                for one in selectors
                if one.get("key") == "kubernetes.io/metadata.name" and one.get("operator") == "NotIn"
                for name in as_list(one.get("values"))
            )
            since = str(metadata.get("creationTimestamp") or "")
            ours = {"kubernetes.io/metadata.name", f"{prefix}inject"}
            selects = bool(
                any(one.get("key") not in ours for one in selectors)
                or at(entry, ("namespaceSelector", "matchLabels"))
                or as_mapping(entry.get("objectSelector"))
            )
            yield Installation(
                str(service.get("namespace")), str(service.get("name")), prefix, excluded, since, selects
            )
            return


class _Read(NamedTuple):
    """What a release's ConfigMap has; ``other_version`` is empty where the release has this command's version."""

    configuration: Configuration
    other_version: str = ""


def _config_map(kubectl: Kubectl, where: str, prefix: str | None, notes: list[str], *, named: bool) -> _Read | None:
    """Return the configuration in a release's ConfigMap; None, with a note, where there is none that can be used."""
    namespace, slash, name = where.partition("/")
    if not (namespace and slash and name):
        raise ClusterError(f"--release {visible(where)}: write NAMESPACE/NAME, as {USUAL_RELEASE}")
    try:
        found = kubectl.read(path("api", "v1", "namespaces", namespace, "configmaps", name))
    except ClusterError as error:
        if named or error.reason not in (FORBIDDEN, NOT_FOUND):
            raise
        notes.append(f"the release's configuration can't be read: {error.sentence}")
        return None
    text = at(found, ("data", FILE))
    try:
        configuration = parse(str(text or "").encode(), f"ConfigMap {where}", prefix=prefix, shadow=False)
    except ConfigurationError as error:
        if named:
            raise
        notes.append(f"the release's configuration can't be used: {visible(str(error).splitlines()[0])}")
        return None
    version = at(found, ("metadata", "labels", "app.kubernetes.io/version"))
    if isinstance(version, str) and version != __version__:
        notes.append(f"the release has version {visible(version)}, this command {__version__}: revisions may differ")
        return _Read(configuration, version)
    return _Read(configuration)
