"""What commands read of a cluster with the user's own rights, and the options that choose it."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Raw

from webhook.cli import kubectl
from webhook.cli.kubectl import FORBIDDEN, Kubectl, document, path
from webhook.cli.terminal import visible
from webhook.errors import ClusterError
from webhook.json_values import as_mapping, at

__all__ = [
    "NOT_FINISHED",
    "Namespaces",
    "Scope",
    "add_connection_options",
    "add_scope_options",
    "connection",
    "named",
    "scope",
]

#: A field selector: a pod that has finished gets no sidecar any more, and needs none.
NOT_FINISHED = "status.phase!=Succeeded,status.phase!=Failed"
_NAMED = re.compile("[^/,]+/[^/,]+")
#: How long one request may take. Whoever logs in meanwhile may need longer.
REQUEST_TIMEOUT = "60s"


def add_connection_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose a cluster, and how long it may take to answer."""
    kubectl.add_options(group)
    group.add_argument(
        "--request-timeout",
        metavar="TIME",
        default=REQUEST_TIMEOUT,
        help=f"passed on to kubectl: how long one request may take; default: {REQUEST_TIMEOUT}",
    )


def add_scope_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that choose pods, as kubectl has them."""
    which = group.add_mutually_exclusive_group()
    which.add_argument("-n", "--namespace", metavar="NAME", help="the namespace; default: that of kubectl's context")
    which.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")
    group.add_argument("-l", "--selector", metavar="LABELS", help="only pods with these labels, as app=web,tier!=test")


def named(words: Sequence[str]) -> list[str]:
    """Return ``KIND/NAME`` for each object that is named, as kubectl takes names: ``pod/a pod/b``, or ``pod a b``."""
    kind = words[0] if words and "/" not in words[0] else ""
    names = [f"{kind}/{name}" for name in words[1:]] if kind else list(words)
    if (kind and not names) or not all(_NAMED.fullmatch(name) for name in names):
        raise ClusterError(f"{visible(' '.join(words))}: write KIND/NAME, as kubectl names things: deployment/web")
    return names


def connection(arguments: argparse.Namespace) -> Kubectl:
    """Return kubectl with the cluster that the options choose."""
    return Kubectl(arguments.kubeconfig, arguments.context, request_timeout=arguments.request_timeout)


class Scope(NamedTuple):
    """Which objects are meant: those of a namespace, None for all; and their labels, None for any."""

    namespace: str | None
    selector: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Return what stands before the resource in the API's path."""
        return () if self.namespace is None else ("namespaces", self.namespace)

    def pods(self, kubectl: Kubectl, **query: str | None) -> Iterator[list[Raw]]:
        """Yield the pods that have not finished page by page, each as the bytes of its JSON."""
        chosen: dict[str, str | None] = {"labelSelector": self.selector, "fieldSelector": NOT_FINISHED, **query}
        return kubectl.pages("api", "v1", *self.steps, "pods", **chosen)


def scope(kubectl: Kubectl, arguments: argparse.Namespace) -> Scope:
    """Return which objects the options choose."""
    if getattr(arguments, "all_namespaces", False):
        return Scope(None, getattr(arguments, "selector", None))
    return Scope(arguments.namespace or _namespace_of_context(kubectl), getattr(arguments, "selector", None))


def _namespace_of_context(kubectl: Kubectl) -> str:
    try:
        found = kubectl.run("config view", minify="true", output="jsonpath={..namespace}")
    except ClusterError as error:
        if error.sentence.startswith("error: current-context must exist"):
            return "default"
        raise
    return found.decode(errors="replace").strip() or "default"


class Namespaces:
    """Which namespaces opted in, each asked for once.

    ``missing`` is the API server's sentence where this may not be read, or empty.
    """

    def __init__(self, kubectl: Kubectl, scope: Scope, prefix: str) -> None:
        self.missing = ""
        self._label = f"{prefix}inject"
        self._opted_in: set[str] = set()
        try:
            self._read(kubectl, scope)
        except ClusterError as error:
            if error.reason != FORBIDDEN:
                raise
            self.missing = error.sentence

    def opted_in(self, name: str) -> bool | None:
        """Return whether a namespace opted in, None where that is unknown."""
        return None if self.missing else name in self._opted_in

    def _read(self, kubectl: Kubectl, scope: Scope) -> None:
        if scope.namespace is not None:
            found = kubectl.read(path("api", "v1", "namespaces", scope.namespace))
            if as_mapping(at(found, ("metadata", "labels"))).get(self._label) == "true":
                self._opted_in.add(scope.namespace)
            return
        for page in kubectl.pages("api", "v1", "namespaces", labelSelector=f"{self._label}=true"):
            for item in page:
                self._opted_in.add(str(at(document(item), ("metadata", "name"))))
