"""A kubeconfig, as people have one: which API server, who asks, which namespace."""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from certs.api import ApiServer

__all__ = ["Access", "KubeconfigError", "load"]

#: What a credential plugin is told, and answers with.
_EXEC_KIND = "ExecCredential"
_EXEC_SECONDS = 120.0  # somebody may have to log in


class KubeconfigError(Exception):
    """There is none, or it can't be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig says."""

    server: ApiServer
    namespace: str
    root: str = ""
    """What stands before every path: some clusters are behind a proxy that has many."""


def load(given: Path | None, context: str | None, environment: Mapping[str, str]) -> Access:
    """Return what kubectl would use; :class:`KubeconfigError` where there is nothing, or nothing that we can use."""
    config = _Config.read(_files(given, environment))
    chosen = context or config.current
    if not chosen:
        raise KubeconfigError(f"{config.source}: no context is current; choose one with --context")
    place = config.entry("context", chosen)
    cluster = config.entry("cluster", str(place.get("cluster", "")))
    user = config.entry("user", str(place["user"])) if place.get("user") else {}
    url = urlsplit(str(cluster.get("server", "")))
    for unusable, key in ((cluster, "proxy-url"), (cluster, "tls-server-name"), (user, "auth-provider"), (user, "as")):
        if unusable.get(key):
            raise KubeconfigError(f"{config.source}: {key} is not understood here; use kubectl to reach this cluster")
    if url.scheme != "https" or not url.hostname:
        raise KubeconfigError(f"{config.source}: the server of context {chosen} is no https address: {url.geturl()!r}")
    credentials = _Credentials(config.source, user, environment)
    server = ApiServer(
        url.hostname,
        url.port or 443,
        trust=lambda: _context(config.source, cluster, credentials()),
        token=lambda: credentials().token,
    )
    return Access(server, str(place.get("namespace") or "default"), url.path.rstrip("/"))


def _files(given: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the files to read, the first first."""
    if given is not None:
        return [given]
    listed = [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    # kubectl's rule: of several, those that are not there are passed over
    found = [each for each in listed if each.exists()] if len(listed) > 1 else listed
    if found:
        return found
    home = Path(environment.get("HOME") or Path.home()) / ".kube" / "config"
    if home.exists() and not listed:
        return [home]
    looked = ", ".join(map(str, listed)) or f"$KUBECONFIG is not set, {home} is not there"
    raise KubeconfigError(f"no kubeconfig: {looked}; give one with --kubeconfig")


@dataclass(frozen=True, slots=True)
class _Config:
    """The files' content, one file's behind the other's."""

    source: str
    current: str
    documents: list[Mapping[str, Any]] = field(repr=False)

    @classmethod
    def read(cls, files: Iterable[Path]) -> "_Config":
        documents: list[Mapping[str, Any]] = []
        for file in files:
            try:
                document = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
            except OSError as error:
                raise KubeconfigError(f"{file}: {error.strerror}") from None
            except (YAMLError, UnicodeError):
                raise KubeconfigError(f"{file}: this is no YAML") from None
            if not isinstance(document, dict):
                raise KubeconfigError(f"{file}: this is no kubeconfig")
            documents.append(_absolute(document, file.parent))
        current = next((str(each["current-context"]) for each in documents if each.get("current-context")), "")
        return cls(", ".join(map(str, files)), current, documents)

    def entry(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the first entry of this name."""
        for document in self.documents:
            for entry in document.get(f"{kind}s") or ():
                if isinstance(entry, dict) and entry.get("name") == name:
                    return entry.get(kind) or {}
        raise KubeconfigError(f"{self.source}: there is no {kind} {name!r}")


def _absolute(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a kubeconfig whose files are found from anywhere: a relative path begins where the kubeconfig is."""
    for kind, keys in (
        ("cluster", ("certificate-authority",)),
        ("user", ("client-certificate", "client-key", "tokenFile")),
    ):
        for entry in document.get(f"{kind}s") or ():
            inner = entry.get(kind) if isinstance(entry, dict) else None
            for key in keys:
                if isinstance(inner, dict) and inner.get(key):
                    inner[key] = str(folder / str(inner[key]))
    return document


@dataclass(frozen=True, slots=True)
class _Credential:
    """Who asks; PEM."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class _Credentials:
    """A user's credential; a plugin is asked once."""

    source: str
    user: Mapping[str, Any]
    environment: Mapping[str, str] = field(repr=False)
    _plugins: _Credential | None = None

    def __call__(self) -> _Credential:
        user = self.user
        if isinstance(user.get("exec"), dict):
            if self._plugins is None:
                self._plugins = _ask_plugin(self.source, user["exec"], self.environment)
            return self._plugins
        token = str(user.get("token") or "")
        if user.get("tokenFile"):
            token = Path(user["tokenFile"]).read_text().strip()
        return _Credential(token, _content(user, "client-certificate"), _content(user, "client-key"))


def _content(entry: Mapping[str, Any], key: str) -> bytes:
    """Return a file's content, which may be in the kubeconfig itself."""
    inside = entry.get(f"{key}-data")
    if inside:
        return base64.b64decode(str(inside))
    return Path(entry[key]).read_bytes() if entry.get(key) else b""


def _ask_plugin(source: str, asked: Mapping[str, Any], environment: Mapping[str, str]) -> _Credential:
    """Return what a credential plugin answers (client.authentication.k8s.io)."""
    command = [str(asked.get("command", "")), *map(str, asked.get("args") or ())]
    version = str(asked.get("apiVersion") or "client.authentication.k8s.io/v1")
    spec = {"apiVersion": version, "kind": _EXEC_KIND, "spec": {"interactive": False}}
    variables = {str(each["name"]): str(each["value"]) for each in asked.get("env") or ()}
    try:
        answer = subprocess.run(  # noqa: S603 — the kubeconfig's owner chose it, as for kubectl
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**environment, **variables, "KUBERNETES_EXEC_INFO": json.dumps(spec)},
            timeout=_EXEC_SECONDS,
            check=True,
        )
        status = json.loads(answer.stdout)["status"]
        return _Credential(
            str(status.get("token") or ""),
            str(status.get("clientCertificateData") or "").encode(),
            str(status.get("clientKeyData") or "").encode(),
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or f"{error or type(error).__name__}"
        raise KubeconfigError(f"{source}: the credential plugin {command[0]}: {reason}") from None


def _context(source: str, cluster: Mapping[str, Any], credential: _Credential) -> ssl.SSLContext:
    """Return a context that trusts the cluster's CA and shows the user's certificate."""
    try:
        ca = _content(cluster, "certificate-authority")
        context = ssl.create_default_context(cadata=ca.decode("ascii") or None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credential.certificate:
            _show(context, credential)
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"{source}: its certificates can't be used: {error}") from None
    return context


def _show(context: ssl.SSLContext, credential: _Credential) -> None:
    """Load a client certificate: OpenSSL takes files only."""
    with ExitStack() as stack:
        paths = []
        for content in (credential.certificate, credential.key):
            file = stack.enter_context(tempfile.NamedTemporaryFile())
            file.write(content)
            file.flush()
            paths.append(file.name)
        context.load_cert_chain(*paths)
