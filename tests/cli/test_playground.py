"""Tests of webhook.cli.playground: the command as a process, from its start to Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Call
from tests.playground.process import ask, playground
from webhook.cli.preview import worker_command

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop, annotations: {pillion.dev/inject: "true"}}
spec: {containers: [{name: shop, image: shop:1}]}
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_ended(end: signal.Signals) -> None:
    """It prints the page's address, answers there, and leaves nothing behind: that is no failure."""
    with playground("--no-open") as server:
        assert "Pillion playground" in httpx2.get(server.address).text
        assert ask(server, POD).json()["shown"]["injected"]
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert len(children) == 1
        server.process.send_signal(end)
        assert server.process.wait(30) == 0
        out, err = server.process.communicate()
        assert (out, err) == ("", "")
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)


def test_only_this_machine_reaches_it() -> None:
    """It listens on the loopback address alone, and knows no other name of itself."""
    with playground() as server:
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = f"{server.port:04X}"
        assert f"0100007F:{port}" in listening
        assert f"00000000:{port}" not in listening
        assert httpx2.get(server.address, headers={"host": f"evil.example:{server.port}"}).status_code == 421


def test_it_judges_by_a_configuration(tmp_path: Path) -> None:
    """Whose profiles are shown, too; a folder that is called like our package does not matter."""
    (tmp_path / "webhook").mkdir()
    (tmp_path / "webhook/__init__.py").write_text("raise SystemExit")
    (tmp_path / "mine.yaml").write_text(
        "profiles:\n  mine: {base: tail, description: prints mine}\ndefaultProfile: mine\n"
    )
    with playground("--config", "mine.yaml", folder=tmp_path) as server:
        setup = httpx2.get(f"{server.address}setup.json").json()
        assert setup["configuration"] == "mine.yaml"
        assert [each["description"] for each in setup["profiles"] if each["default"]] == ["prints mine"]
        assert ask(server, POD).json()["shown"]["profile"] == "mine"


def test_a_configuration_that_is_gone_is_said_where_it_is_needed(tmp_path: Path) -> None:
    """It was there when the server began; the worker reads it when it begins."""
    config = tmp_path / "mine.yaml"
    config.write_text("defaultProfile: web\n")
    with playground("--config", str(config)) as server:
        config.write_text("defaultProfile: nonsense\n")
        (problem,) = ask(server, POD).json()["problems"]
        assert "the configuration can't be used any more" in problem["text"]


def test_a_port_that_is_taken_is_said(pillion: Call) -> None:
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = pillion("playground", "--port", str(port))
    assert (answer.code, answer.out) == (3, "")
    assert answer.err == (
        f"pillion playground: can't listen on 127.0.0.1:{port}: Address already in use; --port 0 takes a free port\n"
    )


@pytest.mark.parametrize("port", ["x", "-1", "65536", "1e3", ""])
def test_a_port_that_is_none_is_said(pillion: Call, port: str) -> None:
    """As wrong usage."""
    answer = pillion("playground", f"--port={port}")
    assert answer.code == 2
    assert "write a number from 0 to 65535" in answer.err


def test_a_configuration_that_cannot_be_used_is_said(pillion: Call, folder: Path) -> None:
    """Before anything is served."""
    (folder / "bad.yaml").write_text("profiles: {tail: {sidecar: {image: 1}}}\n")
    answer = pillion("playground", "--config", "bad.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("pillion: bad.yaml:1:")
    assert pillion("playground", "--config", "none.yaml").err == (
        "pillion: none.yaml: configuration: can't be read: No such file or directory\n"
    )


@pytest.mark.parametrize("opens", [True, False])
def test_the_page_is_opened_if_that_is_asked(tmp_path: Path, opens: bool) -> None:
    """In the browser that the environment names; where there is none, that is said."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n{"exit 0" if opens else "exit 1"}\n')
    browser.chmod(0o755)
    with playground("--open", environment={"BROWSER": f"{browser} %s", "PATH": "/nonexistent"}) as server:
        assert httpx2.get(server.address).status_code == 200
        assert (tmp_path / "opened").read_text() == f"{server.address}\n"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
        assert ("no browser to open" in server.process.communicate()[1]) == (not opens)


def test_the_worker_is_a_program() -> None:
    """It answers on standard output until its input ends."""
    question = json.dumps({"text": POD}).encode()
    framed = len(question).to_bytes(4, "big") + question
    done = subprocess.run(worker_command(None), input=framed * 2, capture_output=True, check=True, timeout=60)
    length = int.from_bytes(done.stdout[:4], "big")
    assert done.stdout[: 4 + length] == done.stdout[4 + length :]
    assert json.loads(done.stdout[4 : 4 + length])["shown"]["injected"]
