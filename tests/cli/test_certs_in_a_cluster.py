"""``pillion certs`` without files: the releases in the cluster that kubectl uses."""

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certs.ca import CA
from tests.cli.conftest import Call, Result
from tests.cli.fake_kubectl import CONFIGURATIONS, FakeKubectl

ENTRIES = ("annotated.pillion.dev", "opted-in.pillion.dev")
Certs = Callable[..., Result]


@pytest.fixture
def objects(fake_kubectl: FakeKubectl) -> dict[str, Any]:
    """Return the objects of a cluster without a release."""
    objects: dict[str, Any] = fake_kubectl.cluster["objects"]
    objects[CONFIGURATIONS] = [{"metadata": {"name": "somebody-elses"}, "webhooks": []}]
    return objects


@pytest.fixture
def certs(pillion: Call, fake_kubectl: FakeKubectl) -> Certs:
    """Return what calls the command in the cluster as it is by then."""

    def call(*words: str) -> Result:
        fake_kubectl.save()
        return pillion("certs", *words)

    return call


@pytest.fixture
def ca() -> CA:
    """Return the release's CA."""
    return CA.create(datetime.now(UTC))


def install(objects: dict[str, Any], ca: CA, namespace: str = "pillion-system") -> dict[str, Any]:
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
    objects[f"{namespace}/pillion-certificate"] = secret
    bundle = base64.b64encode(ca.certificate_pem).decode()
    configuration = {
        "metadata": {
            "name": f"pillion.{namespace}",
            "annotations": {"pillion.dev/certificate": "pillion-certificate"},
        },
        "webhooks": [
            {
                "name": name,
                "clientConfig": {"service": {"name": "pillion", "namespace": namespace}, "caBundle": bundle},
            }
            for name in ENTRIES
        ],
    }
    objects[CONFIGURATIONS].append(configuration)
    return secret


def entries(objects: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how the release's webhook entries call their server."""
    return [each["clientConfig"] for each in objects[CONFIGURATIONS][1]["webhooks"]]


def test_show_says_what_a_release_has(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """Its Secret key by key, and what its entries trust; no secret of it."""
    secret = install(objects, ca)
    code, out, err = certs("show")
    assert (code, err) == (0, "")
    assert "Secret pillion-system/pillion-certificate, tls.crt\n  certificate pillion.pillion-system.svc\n" in out
    assert "belongs to CN=Pillion CA" in out
    assert "trusted by pillion.pillion-system, annotated.pillion.dev, opted-in.pillion.dev\n  CA certificate " in out
    key = base64.b64decode(secret["data"]["ca.key"]).decode().splitlines()[1]
    assert key not in out


def test_show_says_what_is_missing(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """A Secret that is not there, an entry that trusts nothing."""
    install(objects, ca)
    del objects["pillion-system/pillion-certificate"]
    del entries(objects)[1]["caBundle"]
    code, out, _ = certs("show")
    assert code == 1
    assert "Secret pillion-system/pillion-certificate\n  is not there" in out
    assert "trusted by pillion.pillion-system, opted-in.pillion.dev\n  nothing is trusted: there is no caBundle" in out


def test_verify_judges_as_the_api_server_does(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """Each entry: by the name that it calls, and what it trusts."""
    install(objects, ca)
    code, out, _ = certs("verify")
    assert code == 0
    for entry in ENTRIES:
        assert f"pillion.pillion-system, {entry}: valid for pillion.pillion-system.svc until " in out


def test_both_configurations_of_a_release_are_one(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """The one for pods and the one for workloads have one name, and trust one pair."""
    install(objects, ca)
    lints = copy.deepcopy(objects[CONFIGURATIONS][1])
    lints["webhooks"] = [{**lints["webhooks"][0], "name": "lint.pillion.dev"}]
    objects[CONFIGURATIONS].append(lints)
    assert "trusted by pillion.pillion-system, annotated.pillion.dev, opted-in.pillion.dev, lint." in certs("show").out
    del lints["webhooks"][0]["clientConfig"]["caBundle"]
    code, out, _ = certs("verify")
    assert (code, out.count(": valid for ")) == (1, 2)
    assert "pillion.pillion-system, lint.pillion.dev: chain: the entry has no caBundle" in out
    assert certs("rotate", "leaf").code == 0


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
def test_verify_says_what_is_wrong(certs: Certs, objects: dict[str, Any], ca: CA, spoil: Any, says: str) -> None:
    """Of which entry; exit code 1."""
    secret = install(objects, ca)
    spoil(entries(objects)[1], secret)
    code, out, _ = certs("verify")
    assert code == 1
    assert "opted-in.pillion.dev: " in out
    assert says in out


def test_verify_finds_a_bundle_with_another_ca(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """As after a backup was written back: the leaf is valid, and nobody trusts it."""
    install(objects, ca)
    other = CA.create(datetime.now(UTC) - timedelta(days=1))
    entries(objects)[0]["caBundle"] = base64.b64encode(other.certificate_pem).decode()
    code, out, _ = certs("verify")
    assert code == 1
    assert "annotated.pillion.dev: chain: " in out
    assert "opted-in.pillion.dev: valid " in out


def test_an_entry_with_a_url_is_passed_over(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """It calls no Service, so no Secret in the cluster is its server's."""
    install(objects, ca)
    objects[CONFIGURATIONS][1]["webhooks"].insert(0, {"name": "url", "clientConfig": {"url": "https://example.org"}})
    code, out, _ = certs("verify")
    assert (code, len(out.splitlines())) == (0, 2)


@pytest.mark.parametrize("what", ["leaf", "ca"])
def test_rotate_asks(certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA, what: str) -> None:
    """With the annotation that the keeper of the certificate answers."""
    install(objects, ca)
    code, out, err = certs("rotate", what)
    assert (code, out) == (0, "")
    assert f"asked for a new {what.replace('ca', 'CA')}: Secret pillion-system/pillion-certificate" in err
    secret = fake_kubectl.load()["pillion-system/pillion-certificate"]
    assert secret["metadata"]["annotations"] == {"pillion.dev/rotate": what}


def test_rotate_leaves_others_secrets_alone(
    certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA
) -> None:
    """cert-manager's, and one that somebody provided: nobody would answer."""
    secret = install(objects, ca)
    secret["metadata"]["annotations"] = {"cert-manager.io/certificate-name": "pillion"}
    code, _, err = certs("rotate", "leaf")
    assert code == 2
    assert "belongs to cert-manager; ask it: cmctl renew pillion -n pillion-system" in err
    secret["metadata"]["annotations"] = {}
    del secret["data"]["ca.key"]
    code, _, err = certs("rotate", "leaf")
    assert code == 2
    assert "has no ca.key" in err
    assert {call[0] for call in fake_kubectl.calls} == {"get"}


def test_of_several_releases_one_is_chosen(
    certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA
) -> None:
    """By namespace; all are shown."""
    install(objects, ca)
    install(objects, ca, "other")
    assert "Secret other/pillion-certificate" in certs("show").out
    assert "Secret other/" not in certs("show", "-n", "pillion-system").out
    code, _, err = certs("rotate", "leaf")
    assert (code, "choose one with -n: pillion-system, other" in err) == (2, True)
    assert certs("rotate", "leaf", "-n", "other").code == 0
    after = fake_kubectl.load()
    assert "annotations" in after["other/pillion-certificate"]["metadata"]
    assert "annotations" not in after["pillion-system/pillion-certificate"]["metadata"]


@pytest.mark.usefixtures("objects")
def test_a_cluster_without_a_release_is_said(certs: Certs) -> None:
    """And by what one is known."""
    code, _, err = certs("verify")
    assert code == 2
    assert err == (
        "pillion: there is no release in this cluster: "
        "no webhook configuration has the annotation pillion.dev/certificate\n"
    )
    assert "in namespace other" in certs("show", "-n", "other").err


def test_options_go_to_kubectl(certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA) -> None:
    """Those that choose a cluster, with every call; the Secret is read in its own namespace."""
    install(objects, ca)
    fake_kubectl.cluster["contexts"].append("production")
    kubeconfig = str(fake_kubectl.folder)
    assert certs("rotate", "ca", "--context", "production", "--kubeconfig", kubeconfig).code == 0
    listing, reading, writing = fake_kubectl.calls
    for call in (listing, reading, writing):
        assert {f"--kubeconfig={kubeconfig}", "--context=production"} <= set(call)
    assert {"--namespace=pillion-system"} <= set(reading) & set(writing)


def test_what_kubectl_refuses_ends_the_command(
    certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA
) -> None:
    """With one line that says what was asked for, and why not."""
    install(objects, ca)
    fake_kubectl.cluster["refusal"] = 'User "somebody" cannot list this'
    code, out, err = certs("show")
    assert (code, out) == (2, "")
    assert err.startswith("pillion: `kubectl get ")
    assert err.endswith('` failed with exit code 1: Error from server (Forbidden): User "somebody" cannot list this\n')


def test_a_documents_names_stay_names(certs: Certs, objects: dict[str, Any], fake_kubectl: FakeKubectl, ca: CA) -> None:
    """A Secret's name comes from an annotation: as an option, kubectl would read every namespace's Secrets."""
    install(objects, ca)
    objects[CONFIGURATIONS][1]["metadata"]["annotations"]["pillion.dev/certificate"] = "--all-namespaces"
    assert certs("show").code == 1
    assert fake_kubectl.calls[-1][-3:] == ["--", "secret", "--all-namespaces"]


@pytest.mark.parametrize(
    ("options", "says"), [(("--key", "tls.key"), "give --cert, too"), (("--cert", "tls.crt"), "needs --key, too")]
)
def test_halves_of_a_pair_are_usage(pillion: Call, options: tuple[str, ...], says: str) -> None:
    """A file's options without the file."""
    code, _, err = pillion("certs", "verify", *options)
    assert (code, says in err) == (2, True)


def test_show_has_a_form_for_programs(certs: Certs, objects: dict[str, Any], ca: CA) -> None:
    """Each item with where it was found."""
    install(objects, ca)
    items = json.loads(certs("show", "-o", "json").out)
    assert {item["kind"] for item in items} == {"ca", "certificate", "key"}
    assert items[-1]["source"].startswith("trusted by pillion.pillion-system, ")
