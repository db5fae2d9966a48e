"""Kubeconfigs as people have them: which file, which context, who asks, and what is said of one that can't be used."""

import base64
import contextlib
import json
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certs.ca import CA
from certs.kubeconfig import Access, KubeconfigError, load


def kubeconfig(name: str = "one", *, server: str = "https://one.example.org:6443", **user: Any) -> dict[str, Any]:
    """Return a kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"{name}-space"}}],
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": user}],
    }


def loaded(folder: Path, config: dict[str, Any], context: str | None = None) -> Access:
    """Return what a kubeconfig in a file says."""
    path = folder / "config"
    path.write_text(json.dumps(config))
    return load(path, context, {})


def test_it_says_where_and_who(tmp_path: Path) -> None:
    """The current context's server, its namespace, and a token."""
    access = loaded(tmp_path, kubeconfig(token="secret"))
    assert (access.server.host, access.server.port) == ("one.example.org", 6443)
    assert (access.namespace, access.root) == ("one-space", "")
    assert access.server.token() == "secret"
    assert "secret" not in repr(access)


def test_a_server_may_be_behind_a_path(tmp_path: Path) -> None:
    """A proxy for many clusters has one."""
    access = loaded(tmp_path, kubeconfig(server="https://rancher.example.org/k8s/clusters/c-1/"))
    assert (access.server.port, access.root) == (443, "/k8s/clusters/c-1")


def test_the_files_are_looked_for_as_kubectl_does(tmp_path: Path) -> None:
    """The option, then $KUBECONFIG, then the home folder."""
    for name in ("given", "variable", "home"):
        folder = tmp_path / name / ".kube"
        folder.mkdir(parents=True)
        (folder / "config").write_text(json.dumps(kubeconfig(name)))
    home = {"HOME": str(tmp_path / "home")}
    variable = {**home, "KUBECONFIG": str(tmp_path / "variable/.kube/config")}
    assert load(tmp_path / "given/.kube/config", None, variable).namespace == "given-space"
    assert load(None, None, variable).namespace == "variable-space"
    assert load(None, None, home).namespace == "home-space"


def test_several_files_are_one(tmp_path: Path) -> None:
    """The first that has something wins; one that is not there is passed over."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps(kubeconfig(name)))
    several = {"KUBECONFIG": f"{tmp_path}/absent:{tmp_path}/a:{tmp_path}/b"}
    assert load(None, None, several).namespace == "a-space"
    assert load(None, "b", several).namespace == "b-space"


def test_relative_paths_begin_where_the_kubeconfig_is(tmp_path: Path) -> None:
    """Wherever it is called from."""
    (tmp_path / "token").write_text("of a file\n")
    assert loaded(tmp_path, kubeconfig(tokenFile="token")).server.token() == "of a file"


def test_a_credential_plugin_is_asked_once(tmp_path: Path) -> None:
    """As clusters in clouds have it; it may take seconds, and open a browser."""
    program = (
        "import json, os, sys; open('asked', 'a').write('x'); "
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO']); "
        "print(json.dumps({'kind': info['kind'], 'status': {'token': os.environ['WHO'] + sys.argv[1]}}))"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program.replace("'asked'", repr(str(tmp_path / "asked"))), "-arg"],
        "env": [{"name": "WHO", "value": "somebody"}],
    }
    access = loaded(tmp_path, kubeconfig(exec=plugin))
    assert access.server.token() == "somebody-arg"
    assert access.server.token() == "somebody-arg"
    assert (tmp_path / "asked").read_text() == "x"


@pytest.mark.parametrize("inside", [True, False], ids=["in the kubeconfig", "in files"])
def test_a_client_certificate_is_shown(tmp_path: Path, inside: bool) -> None:
    """To a server whose CA the kubeconfig names; a handshake shows both."""
    now = datetime.now(UTC)
    servers, clients = CA.create(now), CA.create(now)
    leaf, client = servers.issue(("localhost",), now), clients.issue(("admin",), now)
    (tmp_path / "server.pem").write_bytes(leaf.certificate_pem + leaf.key_pem)
    parts = {
        "certificate-authority": servers.certificate_pem,
        "client-certificate": client.certificate_pem,
        "client-key": client.key_pem,
    }
    entries = {}
    for key, pem in parts.items():
        (tmp_path / key).write_bytes(pem)
        entries[f"{key}-data" if inside else key] = base64.b64encode(pem).decode() if inside else key
    config = kubeconfig(server="https://localhost:1")
    config["clusters"][0]["cluster"] |= {key: entries[key] for key in entries if "authority" in key}
    config["users"][0]["user"] = {key: entries[key] for key in entries if "client" in key}

    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "server.pem")
    server_context.verify_mode = ssl.CERT_OPTIONAL
    server_context.load_verify_locations(cadata=clients.certificate_pem.decode())
    server_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = loaded(tmp_path, config).server.trust().wrap_bio(to_client, to_server, server_hostname="localhost")
    server_side = server_context.wrap_bio(to_server, to_client, server_side=True)
    # the leaf of our own CA is a server's: what is of interest is that it comes at all
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate purpose"):
        shake(client_side, server_side)


def shake(*sides: ssl.SSLObject) -> None:
    """Shake hands in memory."""
    for side in sides * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config.pop("current-context"), "no context is current; choose one with --context"),
        (lambda config: config["contexts"].clear(), "there is no context 'one'"),
        (lambda config: config["clusters"].clear(), "there is no cluster 'one'"),
        (lambda config: config["users"].clear(), "there is no user 'one'"),
        (lambda config: config["clusters"][0]["cluster"].update({"proxy-url": "x"}), "proxy-url is not understood"),
        (lambda config: config["users"][0]["user"].update({"auth-provider": {"name": "x"}}), "auth-provider is not"),
        (lambda config: config["clusters"][0]["cluster"].update(server="http://x"), "is no https address: 'http://x'"),
    ],
    ids=["current", "context", "cluster", "user", "proxy", "provider", "http"],
)
def test_what_can_not_be_used_is_said(tmp_path: Path, change: Any, says: str) -> None:
    """With the file, and what is missing."""
    config = kubeconfig()
    change(config)
    with pytest.raises(KubeconfigError, match=says) as raised:
        loaded(tmp_path, config)
    assert str(tmp_path / "config") in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"), [("{", "this is no YAML"), ("[]", "this is no kubeconfig"), ("hello", "this is no kubeconfig")]
)
def test_a_file_that_is_none_is_said(tmp_path: Path, content: str, says: str) -> None:
    """With its name."""
    (tmp_path / "config").write_text(content)
    with pytest.raises(KubeconfigError, match=f"config: {says}"):
        load(tmp_path / "config", None, {})


def test_no_kubeconfig_at_all_is_said(tmp_path: Path) -> None:
    """Where was looked, and how to give one."""
    with pytest.raises(KubeconfigError, match=r"no kubeconfig: \$KUBECONFIG is not set, .* give one with --kubeconfig"):
        load(None, None, {"HOME": str(tmp_path)})
    with pytest.raises(KubeconfigError, match="No such file"):
        load(tmp_path / "absent", None, {})
    with pytest.raises(KubeconfigError, match="No such file"):
        load(None, None, {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "absent")})


def test_a_plugin_that_fails_is_said(tmp_path: Path) -> None:
    """With its command, when it is asked."""
    access = loaded(tmp_path, kubeconfig(exec={"command": "no-such-plugin"}))
    with pytest.raises(KubeconfigError, match="the credential plugin no-such-plugin: No such file"):
        access.server.token()


def test_certificates_that_can_not_be_read_are_said(tmp_path: Path) -> None:
    """When they are used."""
    config = kubeconfig()
    config["clusters"][0]["cluster"]["certificate-authority"] = "absent"
    with pytest.raises(KubeconfigError, match=r"its certificates can't be used: .*absent"):
        loaded(tmp_path, config).server.trust()
