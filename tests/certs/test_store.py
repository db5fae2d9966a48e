"""The pair in a Secret and the entries that trust it, against an API server of dictionaries."""

import base64
import copy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certs.authority import Authority
from certs.store import ApiError, Place, ensure, main, trust, write
from certs.verify import verify

NOW = datetime(2026, 5, 17, 12, 30, tzinfo=UTC)
NAME = "pillion.pillion-system.svc"
PLACE = Place("pillion-system", "pillion-certificate", "pillion.pillion-system", (NAME,))
SECRET = "/api/v1/namespaces/pillion-system/secrets/pillion-certificate"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pillion.pillion-system"


class Objects:
    """An API server that keeps two objects; ``rivals`` write the Secret before we do."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] = {"metadata": {"name": PLACE.secret, "resourceVersion": "1"}}
        entry = {"clientConfig": {"service": {"name": "pillion"}}, "sideEffects": "None"}
        self.webhooks: list[dict[str, Any]] = [
            {"name": "annotated", **copy.deepcopy(entry)},
            {"name": "opted-in", **entry},
        ]
        self.rivals: list[dict[str, str]] = []
        self.writes = 0

    def get(self, path: str) -> Any:
        """Return a copy of one of the two."""
        if path == SECRET:
            return copy.deepcopy(self.secret)
        assert path == WEBHOOKS
        return {"webhooks": copy.deepcopy(self.webhooks)}

    def replace(self, path: str, document: Mapping[str, Any]) -> bool:
        """Write the Secret, unless it has changed since."""
        assert path == SECRET
        if self.rivals:
            self._write({"data": self.rivals.pop()})
        if document["metadata"]["resourceVersion"] != self.secret["metadata"]["resourceVersion"]:
            return False
        self._write(document)
        return True

    def apply(self, path: str, document: Mapping[str, Any]) -> None:
        """Merge each entry by its name, as server-side apply does."""
        assert path == WEBHOOKS
        self.writes += 1
        for new in document["webhooks"]:
            for entry in self.webhooks:
                if entry["name"] == new["name"]:
                    entry["clientConfig"] |= new["clientConfig"]

    def _write(self, document: Mapping[str, Any]) -> None:
        self.writes += 1
        version = str(int(self.secret["metadata"]["resourceVersion"]) + 1)
        self.secret = {**self.secret, **document, "metadata": {**self.secret["metadata"], "resourceVersion": version}}

    def trusted(self) -> list[list[x509.Certificate]]:
        """Return what each entry trusts."""
        bundles = [base64.b64decode(entry["clientConfig"]["caBundle"]) for entry in self.webhooks]
        return [x509.load_pem_x509_certificates(bundle) for bundle in bundles]


def test_an_empty_secret_is_filled_with_a_good_pair() -> None:
    """The first start makes an authority and a leaf for the Service's name, with a year to go."""
    objects = Objects()
    shared = ensure(objects, PLACE, NOW)
    pair = verify(shared.leaf_pem, shared.key_pem, now=NOW, names=(NAME,), roots_pem=shared.authority.certificate_pem)
    assert pair.not_after - NOW >= timedelta(days=365)
    assert set(objects.secret["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}


def test_a_second_start_finds_the_first_ones_pair() -> None:
    """Nothing is written for a pair that is young."""
    objects = Objects()
    first = ensure(objects, PLACE, NOW)
    second = ensure(objects, PLACE, NOW + timedelta(days=29))
    assert (second.leaf_pem, objects.writes) == (first.leaf_pem, 1)


def test_replicas_that_start_together_agree() -> None:
    """The one whose write comes second reads and uses what the first one wrote."""
    objects, other = Objects(), Objects()
    first = ensure(other, PLACE, NOW)
    objects.rivals = [first.data()]
    assert ensure(objects, PLACE, NOW).leaf_pem == first.leaf_pem


def test_a_month_later_the_same_authority_signs_a_new_leaf() -> None:
    """A new leaf needs no new trust."""
    objects = Objects()
    first = ensure(objects, PLACE, NOW)
    later = ensure(objects, PLACE, NOW + timedelta(days=31))
    assert later.leaf_pem != first.leaf_pem
    assert later.authority.certificate == first.authority.certificate


def test_a_year_later_the_authority_is_another() -> None:
    """No leaf is signed by an authority that would end before it."""
    objects = Objects()
    first = ensure(objects, PLACE, NOW)
    later = ensure(objects, PLACE, NOW + timedelta(days=366))
    assert later.authority.certificate != first.authority.certificate


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("broken", ["", "bm90IFBFTQ==", "%"])
def test_what_is_broken_is_made_anew(key: str, broken: str) -> None:
    """A part that nobody can read costs a new pair, not a server that does not start."""
    objects = Objects()
    ensure(objects, PLACE, NOW)
    objects.secret["data"][key] = broken
    shared = ensure(objects, PLACE, NOW)
    verify(shared.leaf_pem, shared.key_pem, now=NOW, names=(NAME,), roots_pem=shared.authority.certificate_pem)


def test_a_leaf_for_another_name_is_made_anew() -> None:
    """A Secret that was taken over from another release does not serve this one."""
    objects = Objects()
    ensure(objects, PLACE._replace(names=("other.other.svc",)), NOW)
    shared = ensure(objects, PLACE, NOW)
    verify(shared.leaf_pem, shared.key_pem, now=NOW, names=(NAME,))


def test_a_secret_that_never_rests_is_an_error() -> None:
    """The number of attempts has an end."""
    objects = Objects()
    objects.rivals = [{"tls.crt": ""}] * 9
    with pytest.raises(ApiError, match="changes faster than it can be written"):
        ensure(objects, PLACE, NOW)


def test_every_entry_trusts_the_authority_and_nothing_else_of_it_changes() -> None:
    """Only ``caBundle`` is written, by the entry's name."""
    objects = Objects()
    authority = Authority.create(NOW)
    assert trust(objects, PLACE, authority, NOW)
    assert objects.trusted() == [[authority.certificate]] * 2
    assert objects.webhooks[1]["clientConfig"]["service"] == {"name": "pillion"}


def test_what_is_trusted_is_not_written_again() -> None:
    """A start that changes nothing sends no write."""
    objects = Objects()
    authority = Authority.create(NOW)
    trust(objects, PLACE, authority, NOW)
    assert not trust(objects, PLACE, authority, NOW)
    assert objects.writes == 1


def test_the_authority_before_stays_trusted_until_it_ends() -> None:
    """Replicas that show a leaf of the old one are still called; later only the newest is left."""
    objects = Objects()
    old, new = Authority.create(NOW), Authority.create(NOW, lifetime=timedelta(days=730))
    trust(objects, PLACE, old, NOW)
    trust(objects, PLACE, new, NOW)
    assert objects.trusted() == [[new.certificate, old.certificate]] * 2
    trust(objects, PLACE, new, NOW + timedelta(days=366))
    assert objects.trusted() == [[new.certificate]] * 2


@pytest.mark.parametrize("bundle", ["Cg==", "%", None])
def test_a_bundle_that_is_none_is_replaced(bundle: str | None) -> None:
    """Cert-less text in an entry, as some charts render it, is no reason to give up."""
    objects = Objects()
    objects.webhooks[0]["clientConfig"]["caBundle"] = bundle
    authority = Authority.create(NOW)
    trust(objects, PLACE, authority, NOW)
    assert objects.trusted()[0] == [authority.certificate]


def test_the_pair_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    """The key of an earlier start is replaced, and nobody else can read it."""
    shared = ensure(Objects(), PLACE, NOW)
    write(shared, tmp_path)
    write(shared, tmp_path)
    assert (tmp_path / "tls.crt").read_bytes() == shared.leaf_pem
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600


def test_outside_a_cluster_one_sentence_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for somebody who tries it on a laptop."""
    words = ["--namespace=a", "--secret=b", "--webhooks=c", "--names=d", f"--folder={tmp_path}"]
    assert main(words, environment={}) == 1
    assert capsys.readouterr().err == (
        "pillion certificates: KUBERNETES_SERVICE_HOST is not set: this runs in a cluster\n"
    )
