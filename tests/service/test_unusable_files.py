"""A certificate, a key or a CA that can't be used: the start ends with one sentence, a reload keeps the old."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from certs import files
from certs.logs import Log, LogFormat
from tests.certs.keys import BAD, CERTIFICATES, GOOD, KEYS, LEAF, TEST_CA, pem_of
from tests.service.process import Process
from tests.service.serving import ANY_PORT, Running, eventually
from webhook.errors import StartError
from webhook.service.metrics import Metrics
from webhook.service.server import Server, build
from webhook.service.settings import Settings


def start(**settings: Any) -> Server:
    """Build a server."""
    log = Log(os.open(os.devnull, os.O_WRONLY), LogFormat.JSON)
    settings = {"listen": ANY_PORT, "health_listen": ANY_PORT, **settings}
    return build(Settings(**settings), Metrics(CollectorRegistry()), log)


def sentence(**settings: Any) -> str:
    """Return what is said of a start that fails."""
    with pytest.raises(StartError) as raised:
        start(**settings)
    text = str(raised.value)
    assert "\n" not in text
    assert "a bug of" not in text
    assert "Errno" not in text
    return text


def pair(folder: Path, chain: bytes = LEAF.certificate_pem, key: bytes = LEAF.key_pem) -> dict[str, Path]:
    """Write a pair and return the settings for it."""
    (folder / "tls.crt").write_bytes(chain)
    (folder / "tls.key").write_bytes(key)
    return {"tls_cert": folder / "tls.crt", "tls_key": folder / "tls.key"}


def be_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def be_pipe(path: Path) -> None:
    """Put a pipe in a file's place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)


def be_loop(path: Path) -> None:
    """Put a symlink to itself in a file's place."""
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("kind", BAD)
def test_the_start_says_what_is_wrong_with_a_pair(tmp_path: Path, kind: str) -> None:
    """And in which file."""
    chain, key, says = BAD[kind]
    text = sentence(**pair(tmp_path, chain, key))
    assert says in text
    assert str(tmp_path / ("tls.key" if kind.startswith("key:") else "tls.crt")) in text


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "clients.pem"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (Path.unlink, "can't be read: No such file or directory"),
        (be_folder, "can't be read: Is a directory"),
        (be_pipe, "can't be read: Not a regular file"),
        (be_loop, "can't be read: Too many levels of symbolic links"),
    ],
    ids=["missing", "folder", "pipe", "loop"],
)
def test_the_start_says_what_is_no_file(tmp_path: Path, name: str, spoil: Callable[[Path], object], says: str) -> None:
    """Nothing is waited for."""
    settings = {**pair(tmp_path), "client_ca": tmp_path / "clients.pem"}
    settings["client_ca"].write_bytes(TEST_CA.certificate_pem)
    spoil(tmp_path / name)
    assert f"{tmp_path / name} {says}" in sentence(**settings)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca-with-key.pem"])
def test_the_start_says_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Root may read everything, so the refusal is made up."""
    settings: dict[str, Any] = pair(tmp_path) if name.startswith("tls") else {"state_directory": tmp_path}
    (tmp_path / name).touch()
    read = files.read

    def refuse(path: Path) -> files.Content:
        return files.ReadFailure("Permission denied") if path.name == name else read(path)

    monkeypatch.setattr(files, "read", refuse)
    assert f"{tmp_path / name} can't be read: Permission denied" in sentence(**settings)


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_the_start_says_what_is_no_client_ca(tmp_path: Path, kind: str) -> None:
    """As of any other certificate."""
    pem, says = CERTIFICATES[kind]
    (tmp_path / "clients.pem").write_bytes(pem)
    text = sentence(**pair(tmp_path), client_ca=tmp_path / "clients.pem")
    assert f"{tmp_path}/clients.pem holds no certificate" in text
    assert says in text


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_pair_is_served(serve: Callable[..., Running], tmp_path: Path, kind: str) -> None:
    """OpenSSL takes whatever we take: a handshake in memory is part of the start."""
    chain, key = tmp_path / "good.crt", tmp_path / "good.key"
    chain.write_bytes(GOOD[kind][0])
    key.write_bytes(GOOD[kind][1])
    assert serve(tls_cert=chain, tls_key=key).get("/readyz").status_code == 200


@pytest.mark.parametrize("password", [b"", b"x"], ids=["another kind", "encrypted"])
def test_a_ca_that_somebody_else_chose_is_not_replaced(tmp_path: Path, password: bytes) -> None:
    """Clients may trust it already; the start says what to do."""
    if password:
        pem = TEST_CA.certificate_pem + pem_of(TEST_CA.key, password=password)
        says = "the CA holds an encrypted private key; write it without a password"
    else:
        pem = b"".join(GOOD["RSA"])
        says = "the CA's key is not an elliptic-curve key; use a CA with one"
    file = tmp_path / "ca-with-key.pem"
    file.write_bytes(pem)
    text = sentence(state_directory=tmp_path)
    assert f"{file}: {says}" in text
    assert "or delete the file, and a new CA is created" in text
    assert file.read_bytes() == pem


@pytest.mark.parametrize("name", ["ca-with-key.pem", "ca.pem", "server.pem"])
def test_a_folder_in_place_of_a_file_of_its_own_is_said(tmp_path: Path, name: str) -> None:
    """It is nothing that we made."""
    (tmp_path / name).mkdir()
    text = sentence(state_directory=tmp_path)
    assert str(tmp_path / name) in text
    assert text.endswith(": Is a directory")


def test_a_leaf_of_its_own_that_is_encrypted_is_made_again(serve: Callable[..., Running], tmp_path: Path) -> None:
    """The CA signs another one: nobody has to do anything."""
    leaf = tmp_path / "state/server.pem"
    leaf.parent.mkdir()
    leaf.write_bytes(LEAF.certificate_pem + pem_of(LEAF.key, password=b"x"))
    server = serve(tls_cert=None, tls_key=None, state_directory=leaf.parent)
    assert server.get("/readyz").status_code == 200
    assert b"ENCRYPTED" not in leaf.read_bytes()


@pytest.mark.parametrize("kind", [*KEYS, "folder"])
def test_a_reload_says_what_is_wrong_with_a_key(serve: Callable[..., Running], tmp_path: Path, kind: str) -> None:
    """The old pair is shown on."""
    server = serve()
    key = tmp_path / "tls.key"
    key.unlink()
    if kind == "folder":
        key.mkdir()
        says = f"{key} can't be read: Is a directory"
    else:
        key.write_bytes(KEYS[kind][0])
        says = "the key does not belong" if kind in {"another's", "two keys"} else f"{key} holds "
    kept = eventually(lambda: [line for line in server.log() if line["event"] == "certificate reload failed"])
    eventually(
        lambda: any(says in line["message"] for line in server.log() if line["event"] == "certificate reload failed")
    )
    assert all("exception" not in line for line in kept)
    assert server.sample("pillion_certificate_last_reload_successful") == 0
    assert server.get("/readyz").status_code == 200


@pytest.mark.parametrize("options", [["--state-directory=."], ["--tls-cert=tls.crt", "--tls-key=tls.key"]])
def test_an_encrypted_key_is_one_sentence_and_an_exit_code(
    launch: Callable[..., Process], tmp_path: Path, options: list[str]
) -> None:
    """As whoever starts the program sees it."""
    pair(tmp_path, key=pem_of(LEAF.key, password=b"x"))
    (tmp_path / "ca-with-key.pem").write_bytes(TEST_CA.certificate_pem + pem_of(TEST_CA.key, password=b"x"))
    process = launch(*options, wait=False)
    assert process.popen.wait(60) == 3
    (line,) = process.errors.splitlines()
    assert line.startswith("pillion serve: can't ")
    assert "write it without a password" in line
