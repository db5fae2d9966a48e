"""``pillion certs`` without files: the releases in the kubeconfig's cluster."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.ca import CA
from tests.cli.conftest import Call
from tests.cli.kubernetes import Kubernetes, serving

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
ENTRIES = ("annotated.pillion.dev", "opted-in.pillion.dev")


@pytest.fixture
def kubernetes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubernetes]:
    """Serve a cluster without a release; $KUBECONFIG leads to it."""
    with serving(folder) as kubernetes:
        kubernetes.objects[CONFIGURATIONS] = {"items": [{"metadata": {"name": "somebody-elses"}, "webhooks": []}]}
        monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
        yield kubernetes


@pytest.fixture
def ca() -> CA:
    """Return the release's authority."""
    return CA.create(datetime.now(UTC))


def install(kubernetes: Kubernetes, ca: CA, namespace: str = "pillion-system") -> dict[str, Any]:
    """Put a release into the cluster that manages its certificate itself; return its Secret."""
    leaf = ca.issue((f"pillion.{namespace}.svc",), datetime.now(UTC))
    content = {
        "ca.crt": ca.certificate_pem,
        "ca.key": ca.key_pem,
        "tls.crt": leaf.certificate_pem,
        "tls.key": leaf.key_pem,
    }
    secret = {
        "metadata": {"name": "pillion-certificate"},
        "data": {key: base64.b64encode(pem).decode() for key, pem in content.items()},
    }
    kubernetes.objects[path_of(namespace)] = secret
    service = {"service": {"name": "pillion", "namespace": namespace}}
    bundle = base64.b64encode(ca.certificate_pem).decode()
    configuration = {
        "metadata": {
            "name": f"pillion.{namespace}",
            "annotations": {"pillion.dev/certificate": "pillion-certificate"},
        },
        "webhooks": [{"name": name, "clientConfig": {**service, "caBundle": bundle}} for name in ENTRIES],
    }
    kubernetes.objects[CONFIGURATIONS]["items"].append(configuration)
    return secret


def path_of(namespace: str) -> str:
    """Return the path of a release's Secret."""
    return f"/api/v1/namespaces/{namespace}/secrets/pillion-certificate"


def entries(kubernetes: Kubernetes) -> list[dict[str, Any]]:
    """Return the release's webhook entries."""
    return [each["clientConfig"] for each in kubernetes.objects[CONFIGURATIONS]["items"][1]["webhooks"]]


def test_show_says_what_a_release_has(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """Its Secret key by key, and what its entries trust; no secret of it."""
    secret = install(kubernetes, ca)
    code, out, err = pillion("certs", "show")
    assert (code, err) == (0, "")
    assert "Secret pillion-system/pillion-certificate, tls.crt\n  certificate pillion.pillion-system.svc\n" in out
    assert "belongs to CN=Pillion CA" in out
    assert "trusted by pillion.pillion-system, annotated.pillion.dev, opted-in.pillion.dev\n  authority " in out
    key = base64.b64decode(secret["data"]["ca.key"]).decode().splitlines()[1]
    assert key not in out


def test_show_says_what_is_missing(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """A Secret that is not there, an entry that trusts nothing."""
    install(kubernetes, ca)
    del kubernetes.objects[path_of("pillion-system")]
    del entries(kubernetes)[1]["caBundle"]
    code, out, _ = pillion("certs", "show")
    assert code == 1
    assert "Secret pillion-system/pillion-certificate\n  is not there" in out
    assert "trusted by pillion.pillion-system, opted-in.pillion.dev\n  nothing is trusted: there is no caBundle" in out


def test_verify_judges_as_the_api_server_does(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """Each entry: by the name that it calls, and what it trusts."""
    install(kubernetes, ca)
    code, out, _ = pillion("certs", "verify")
    assert code == 0
    for entry in ENTRIES:
        assert f"pillion.pillion-system, {entry}: good for pillion.pillion-system.svc until " in out


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda entry, _: entry.pop("caBundle"), "chain: the entry has no caBundle"),
        (lambda entry, _: entry["service"].update(name="other"), "name: the certificate is not for other."),
        (lambda _, secret: secret["data"].pop("tls.key"), "unreadable: the key file holds no private key"),
        (lambda _, secret: secret.pop("data"), "has no tls.crt"),
    ],
    ids=["bundle", "name", "key", "empty"],
)
def test_verify_says_what_is_wrong(pillion: Call, kubernetes: Kubernetes, ca: CA, spoil: Any, says: str) -> None:
    """Of which entry; exit code 1."""
    secret = install(kubernetes, ca)
    spoil(entries(kubernetes)[1], secret)
    code, out, _ = pillion("certs", "verify")
    assert code == 1
    assert "opted-in.pillion.dev: " in out
    assert says in out


def test_verify_finds_a_trust_that_is_anothers(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """As after a backup was written back: the leaf is good, and nobody trusts it."""
    install(kubernetes, ca)
    other = CA.create(datetime.now(UTC) - timedelta(days=1))
    entries(kubernetes)[0]["caBundle"] = base64.b64encode(other.certificate_pem).decode()
    code, out, _ = pillion("certs", "verify")
    assert code == 1
    assert "annotated.pillion.dev: chain: " in out
    assert "opted-in.pillion.dev: good " in out


@pytest.mark.parametrize("what", ["leaf", "authority"])
def test_rotate_asks(pillion: Call, kubernetes: Kubernetes, ca: CA, what: str) -> None:
    """With the annotation that the keeper of the certificate answers."""
    secret = install(kubernetes, ca)
    code, out, err = pillion("certs", "rotate", what)
    assert (code, out) == (0, "")
    assert f"asked for a new {what}: Secret pillion-system/pillion-certificate" in err
    assert secret["metadata"]["annotations"] == {"pillion.dev/rotate": what}


def test_rotate_leaves_others_secrets_alone(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """cert-manager's, and one that somebody provided: nobody would answer."""
    secret = install(kubernetes, ca)
    secret["metadata"]["annotations"] = {"cert-manager.io/certificate-name": "pillion"}
    code, _, err = pillion("certs", "rotate", "leaf")
    assert code == 2
    assert "is cert-manager's: cmctl renew pillion -n pillion-system" in err
    secret["metadata"]["annotations"] = {}
    del secret["data"]["ca.key"]
    code, _, err = pillion("certs", "rotate", "leaf")
    assert code == 2
    assert "holds no authority's key" in err
    assert secret["metadata"]["annotations"] == {}


def test_of_several_releases_one_is_chosen(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """By namespace; all are shown."""
    first, second = install(kubernetes, ca), install(kubernetes, ca, "other")
    assert "Secret other/pillion-certificate" in pillion("certs", "show").out
    assert "Secret other/" not in pillion("certs", "show", "-n", "pillion-system").out
    code, _, err = pillion("certs", "rotate", "leaf")
    assert (code, "choose one with -n: pillion-system, other" in err) == (2, True)
    assert pillion("certs", "rotate", "leaf", "-n", "other").code == 0
    assert "annotations" in second["metadata"]
    assert "annotations" not in first["metadata"]


@pytest.mark.usefixtures("kubernetes")
def test_a_cluster_without_a_release_is_said(pillion: Call) -> None:
    """And by what one is known."""
    code, _, err = pillion("certs", "verify")
    assert code == 2
    assert err == (
        "pillion: there is no release in this cluster: "
        "no webhook configuration has the annotation pillion.dev/certificate\n"
    )
    assert "in namespace other" in pillion("certs", "show", "-n", "other").err


def test_what_the_api_server_forbids_is_said(pillion: Call, kubernetes: Kubernetes, ca: CA) -> None:
    """With its words."""
    install(kubernetes, ca)
    kubernetes.forbidden.add(path_of("pillion-system"))
    code, _, err = pillion("certs", "show")
    assert code == 2
    assert "secrets/pillion-certificate: 403: User" in err
    kubernetes.token = "another's"
    assert "401" in pillion("certs", "show").err


def test_a_missing_kubeconfig_is_said(pillion: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where was looked."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(folder))
    code, _, err = pillion("certs", "show")
    assert code == 2
    assert err.startswith("pillion: no kubeconfig: $KUBECONFIG is not set")
    assert "No such file" in pillion("certs", "show", "--kubeconfig", "absent").err


def test_a_server_that_is_not_there_is_said(pillion: Call, kubernetes: Kubernetes, folder: Path) -> None:
    """One sentence, no trace."""
    config = json.loads(kubernetes.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://localhost:1"
    (folder / "wrong").write_text(json.dumps(config))
    code, _, err = pillion("certs", "show", "--kubeconfig", "wrong")
    assert code == 2
    assert "no answer from the API server" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "says"), [(("--key", "tls.key"), "give --cert, too"), (("--cert", "tls.crt"), "needs --key, too")]
)
def test_halves_of_a_pair_are_usage(pillion: Call, options: tuple[str, ...], says: str) -> None:
    """A file's options without the file."""
    code, _, err = pillion("certs", "verify", *options)
    assert (code, says in err) == (2, True)
