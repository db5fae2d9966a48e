"""``pillion serve`` as a process: how it starts, how it fails to, and how it leaves."""

import json
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.process import BODY, HEADERS, Process, ask
from tests.service.serving import eventually, make_review


def refuses(port: int) -> bool:
    """Return whether nobody listens at the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_printed_curl_line_works_as_it_is_printed(launch: Callable[..., Process]) -> None:
    """Copied from the terminal into another, it shows a patch."""
    process = launch()
    (line,) = eventually(lambda: [line for line in process.errors.splitlines() if line.startswith("  curl ")])
    words = shlex.split(line)
    assert words[0] == "curl"
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    answer = subprocess.run([*words, "--silent", "--show-error"], capture_output=True, check=True, timeout=60)
    assert json.loads(answer.stdout)["response"]["patchType"] == "JSONPatch"
    assert str(process.folder / "state/pillion/ca.pem") in process.errors


def test_sigterm_drains(launch: Callable[..., Process]) -> None:
    """Not ready at once; requests are answered with ``Connection: close``; then exit code 0."""
    process = launch("--drain-timeout=30s", "--drain-idle=1s")
    held = process.connect()
    assert ask(held).getheader("connection") is None
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: process.ready() == 503)
    assert ask(held).getheader("connection") == "close"
    fresh = process.connect()
    assert ask(fresh).getheader("connection") == "close"
    for connection in (held, fresh):
        connection.close()
    assert process.popen.wait(20) == 0
    assert [line["event"] for line in process.output][-1] == "stopped"
    assert "Traceback" not in process.errors


def test_no_request_is_lost_while_it_drains(launch: Callable[..., Process]) -> None:
    """Clients that ask on and on, over kept connections and new ones: all is answered, nothing refused or reset."""
    process = launch("--drain-timeout=60s", "--drain-idle=500ms")
    trouble: list[BaseException] = []
    answered = [0] * 4
    enough = threading.Event()

    def keep_asking(number: int) -> None:
        connection = process.connect()
        try:
            while not enough.is_set():
                # an answer with "Connection: close" closes; the next request opens a connection again
                ask(connection)
                answered[number] += 1
        except BaseException as error:  # noqa: BLE001 — whatever it is, the test fails
            trouble.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: min(answered) > 20 or trouble)
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: process.ready() == 503)
    before = min(answered)
    eventually(lambda: min(answered) > before + 100 or trouble)
    enough.set()
    for thread in threads:
        thread.join(30)
    assert trouble == []
    assert process.popen.wait(20) == 0


def test_a_request_that_is_on_its_way_at_the_end_is_answered(launch: Callable[..., Process]) -> None:
    """What has begun when the time is up is finished."""
    process = launch("--drain-timeout=100ms")
    with (
        socket.create_connection(("127.0.0.1", process.port), timeout=20) as sock,
        process.trust().wrap_socket(sock, server_hostname="localhost") as connection,
    ):
        head = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(BODY) + BODY[:100])
        process.popen.send_signal(signal.SIGTERM)
        eventually(lambda: any(line["event"] == "draining" for line in process.output))
        eventually(lambda: refuses(process.port))  # the drain is over
        connection.sendall(BODY[100:])
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in received
    assert process.popen.wait(20) == 0


def test_an_idle_connection_is_closed_not_cut(launch: Callable[..., Process]) -> None:
    """A kept connection sees an orderly end of TLS at the end of the drain."""
    process = launch("--drain-timeout=200ms")
    with (
        socket.create_connection(("127.0.0.1", process.port), timeout=20) as sock,
        process.trust().wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as held,
    ):
        held.sendall(b"GET /mutate HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held.recv(65536).startswith(b"HTTP/1.1 405 ")
        eventually(lambda: held.pending() == 0)
        process.popen.send_signal(signal.SIGTERM)
        while held.recv(65536):
            pass
    assert process.popen.wait(20) == 0


@pytest.mark.parametrize("levels", [900, 2000])
def test_a_deep_review_is_read(launch: Callable[..., Process], levels: int) -> None:
    """The process allows the nesting that an API server allows, and is not at its limit then."""
    document = make_review()
    value: Any = 1
    for _ in range(levels):
        value = [value]
    document["request"]["object"]["metadata"]["managedFields"] = [{"fieldsV1": value}]
    process = launch()
    connection = process.connect()
    connection.request("POST", "/mutate", json.dumps(document), HEADERS)
    assert json.loads(connection.getresponse().read())["response"]["patchType"] == "JSONPatch"
    connection.close()


def test_it_leaves_when_the_time_is_up_though_clients_ask_on(launch: Callable[..., Process]) -> None:
    """The drain's end is an end: nobody can keep a server by asking."""
    process = launch("--drain-timeout=1s")
    process.popen.send_signal(signal.SIGTERM)

    def asks_until_it_is_gone() -> bool:
        connection = process.connect()
        try:
            ask(connection)
        except OSError:
            return True
        finally:
            connection.close()
        return False

    eventually(asks_until_it_is_gone)
    assert process.popen.wait(20) == 0


def test_without_connections_it_leaves_early(launch: Callable[..., Process]) -> None:
    """Nobody is there: no need to wait for the whole time."""
    process = launch("--drain-timeout=600s", "--drain-idle=100ms")
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0


def test_a_second_sigterm_leaves_at_once(launch: Callable[..., Process]) -> None:
    """Also with connections open, and with exit code 0."""
    process = launch("--drain-timeout=600s")
    held = process.connect()
    ask(held)
    process.popen.send_signal(signal.SIGTERM)
    eventually(lambda: any(line["event"] == "draining" for line in process.output))
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0
    held.close()
    assert "Traceback" not in process.errors


def test_an_interrupt_does_not_wait_for_idle_connections(launch: Callable[..., Process]) -> None:
    """Somebody at a keyboard wants it to end."""
    process = launch("--drain-timeout=600s", "--drain-idle=600s")
    held = process.connect()
    ask(held)
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(20) == 0
    held.close()


def test_a_port_in_use_is_said_in_one_sentence(launch: Callable[..., Process]) -> None:
    """Exit code 3, which address, why; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = launch(f"--listen={address}", wait=False)
        assert process.popen.wait(60) == 3
    why = "Address already in use; choose another with --listen or --health-listen"
    assert process.errors == f"pillion serve: can't listen on {address}: {why}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--tls-cert=missing.crt", "--tls-key=missing.key"], 3, "missing.crt"),
        (["--state-directory=/dev/null/x"], 3, "/dev/null"),
        (["--listen=nonsense"], 2, "--listen 'nonsense': not an address; write HOST:PORT"),
        (["--tls-cert=a"], 2, "--tls-cert needs --tls-key"),
        (["--config-backup=a"], 2, "--config-backup needs --config"),
        (["--listen=no.such.host.invalid:1"], 3, "can't listen on no.such.host.invalid:1"),
    ],
)
def test_what_is_in_the_way_of_starting_is_said_in_one_sentence(
    launch: Callable[..., Process], arguments: list[str], code: int, says: str
) -> None:
    """Exit code 2 for what was asked for, 3 for what the machine refuses."""
    process = launch(*arguments, wait=False)
    assert process.popen.wait(60) == code
    assert says in process.errors
    assert len(process.errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen=nonsense"], "--listen 'nonsense': not an address"),
        (["--client-ca=missing.pem"], "missing.pem"),
        (["--tls-cert=missing.crt", "--tls-key=missing.key"], "missing.crt"),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_it_is_left_where_kubernetes_shows_it(
    launch: Callable[..., Process], tmp_path: Path, arguments: list[str], says: str, *, by_variable: bool
) -> None:
    """Whatever kept it from starting; of a server that is killed, Kubernetes must not show the end of its log."""
    file = tmp_path / "termination-log"
    file.touch()  # as the kubelet does
    told = {"PILLION_TERMINATION_LOG": str(file)} if by_variable else {}
    options = [] if by_variable else [f"--termination-log={file}"]
    process = launch(*arguments, *options, wait=False, **told)
    assert process.popen.wait(60) in {2, 3}
    assert says in file.read_text()
    assert file.read_text() == process.errors


def test_a_termination_log_that_can_not_be_written_hides_nothing(launch: Callable[..., Process]) -> None:
    """The reason is on standard error all the same."""
    process = launch("--listen=nonsense", "--termination-log=/dev/null/x", wait=False)
    assert process.popen.wait(60) == 2
    assert len(process.errors.splitlines()) == 1


def test_all_problems_of_a_configuration_are_said(launch: Callable[..., Process], tmp_path: Path) -> None:
    """The log has file and line for each; the server runs, and is ready once the file is corrected."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: maybe\nnonsense: 1\n")
    process = launch("--config=pillion.yaml", "--reload-interval=50ms")
    first, second = [line["message"] for line in process.output if line["event"] == "configuration rejected"]
    assert "pillion.yaml:1:1: strict" in first
    assert "pillion.yaml:2:1: nonsense" in second
    assert process.ready() == 503
    file.write_text("strict: true\n")
    eventually(lambda: process.ready() == 200)


def test_a_restart_goes_on_with_the_last_valid_configuration(launch: Callable[..., Process], tmp_path: Path) -> None:
    """As a container that restarts in its pod while the ConfigMap is wrong."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    options = ("--config=pillion.yaml", "--config-backup=backup.yaml")
    first = launch(*options)
    (serving,) = [line for line in first.output if line["event"] == "serving"]
    first.popen.kill()
    first.popen.wait(20)
    file.write_text("strict: maybe\n")
    second = launch(*options)
    assert second.ready() == 200
    (kept,) = [line for line in second.output if line["event"] == "configuration from backup"]
    assert kept["profiles"] == serving["profiles"] != ""
    assert "\npillion_configuration_from_backup 1.0\n" in second.metrics()


def test_settings_come_from_the_environment(launch: Callable[..., Process]) -> None:
    """As a Deployment sets them; a slip is pointed out."""
    process = launch(PILLION_SHADOW="true", PILLION_STRICKT="true")
    connection = process.connect()
    connection.request("POST", "/mutate", BODY, HEADERS)
    assert "patch" not in json.loads(connection.getresponse().read())["response"]
    connection.close()
    assert "PILLION_STRICKT is not a setting" in process.errors


def test_a_second_start_has_the_same_ca(launch: Callable[..., Process]) -> None:
    """Clients that were told to trust it need not be told again."""
    ca = []
    for _ in range(2):
        process = launch("--drain-idle=0s")
        ca.append((process.folder / "state/pillion/ca.pem").read_bytes())
        ask(connection := process.connect())
        connection.close()
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(20) == 0
    assert ca[0] == ca[1]
