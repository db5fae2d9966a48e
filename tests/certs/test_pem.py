"""What can't be used as a certificate or a key is said in a sentence, whatever it is."""

import pytest

from certs.verify import SourceNames, UnusablePairError, verify
from tests.certs.keys import CERTIFICATES, GOOD, KEYS, LEAF, NAME, NOW, PAIRS

BAD = {
    **{f"certificate: {kind}": (pem, LEAF.key_pem, says) for kind, (pem, says) in CERTIFICATES.items()},
    **{f"key: {kind}": (LEAF.certificate_pem, pem, says) for kind, (pem, says) in KEYS.items()},
    **PAIRS,
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_said(kind: str) -> None:
    """One line that names the file, never with what is in it, and what to do."""
    chain, key, says = BAD[kind]
    with pytest.raises(UnusablePairError) as raised:
        verify(chain, key, now=NOW, sources=SourceNames("/tls.crt", "/tls.key"))
    text = str(raised.value)
    assert says in text
    assert "\n" not in text
    assert not any(line in text for line in LEAF.key_pem.decode().splitlines()[1:-1])
    if "holds" in says:
        assert text.startswith("/tls.key " if kind.startswith("key") else "/tls.crt ")


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_good_is_taken(kind: str) -> None:
    """Each kind of key that an API server accepts, in each form."""
    assert NAME in verify(*GOOD[kind], now=NOW, names=(NAME,)).names


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_what_can_not_be_trusted_is_said(kind: str) -> None:
    """A bundle is read as a chain is."""
    pem, says = CERTIFICATES[kind]
    with pytest.raises(UnusablePairError) as raised:
        verify(LEAF.certificate_pem, LEAF.key_pem, now=NOW, roots_pem=pem, sources=SourceNames(roots="ca.crt"))
    assert str(raised.value).startswith("ca.crt ")
    assert says in str(raised.value)
