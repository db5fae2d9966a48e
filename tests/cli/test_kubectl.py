"""Unit tests of webhook.cli.kubectl, and of the fake kubectl that the command line's tests have on PATH."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.fake_kubectl import CONFIGURATIONS, FakeKubectl
from tests.cli.kubectl_calls import CALLS, Call, configuration, secret
from webhook.cli.kubectl import FORBIDDEN, Kubectl, path
from webhook.errors import ClusterError

NAMESPACE = "pillion-system"


@pytest.fixture
def fake(fake_kubectl: FakeKubectl) -> FakeKubectl:
    """Return the fake with what the calls need in its cluster."""
    objects = {f"{NAMESPACE}/one": secret(NAMESPACE), CONFIGURATIONS: [configuration(NAMESPACE)]}
    fake_kubectl.cluster["objects"] = objects
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    fake_kubectl.cluster["raw"] = {secrets: [secret(NAMESPACE)], f"{secrets}/one": secret(NAMESPACE)}
    fake_kubectl.save()
    return fake_kubectl


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make a Python program the kubectl that is found."""
    folder.mkdir()
    (folder / "kubectl").write_text(f"#!{sys.executable}\n{text}\n")
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_why_it_failed_is_found_behind_other_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log of kubectl's own libraries, which may arrive together with it, goes where it belongs."""
    log, why = "E1127 memcache.go:265] Unhandled Error\n", "The connection to the server x was refused\n"
    program(tmp_path / "programs", monkeypatch, f"import os; os.write(2, {(log * 2 + why).encode()!r}); os._exit(1)")
    with pytest.raises(ClusterError, match=r"exit code 1: The connection to the server x was refused$"):
        Kubectl().raw("/")
    assert capfd.readouterr().err == log * 2


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.usefixtures("fake")
def test_the_fake_answers_as_kubectl_does(call: Call) -> None:
    """The same calls are made to a real one in tests/cluster/test_kubectl.py."""
    call(Kubectl(), NAMESPACE)


def test_options_and_names_are_kept_apart(fake: FakeKubectl) -> None:
    """A value that looks like an option stays a value: options have their value after =, names stand after --."""
    with pytest.raises(ClusterError):
        Kubectl(None, "--as=root").get("secret", "--all-namespaces", namespace="--server=https://example.org")
    assert fake.calls == [
        [
            "get",
            "--context=--as=root",
            "--output=json",
            "--namespace=--server=https://example.org",
            "--",
            "secret",
            "--all-namespaces",
        ]
    ]


def test_options_that_are_not_given_are_left_to_kubectl(fake: FakeKubectl) -> None:
    """$KUBECONFIG and the current context are its own business."""
    Kubectl().get(CONFIGURATIONS)
    assert fake.calls == [["get", "--output=json", "--", CONFIGURATIONS]]


def test_why_it_fails_is_in_the_error(fake: FakeKubectl, capfd: pytest.CaptureFixture[str]) -> None:
    """With what was asked for, in one line; nothing is said twice."""
    fake.cluster["refusal"] = 'User "somebody" cannot list this'
    fake.save()
    with pytest.raises(ClusterError) as raised:
        Kubectl().get(CONFIGURATIONS)
    said = 'Error from server (Forbidden): User "somebody" cannot list this'
    assert str(raised.value) == f"`kubectl get --output=json -- {CONFIGURATIONS}` failed with exit code 1: {said}"
    assert (raised.value.reason, raised.value.sentence) == (FORBIDDEN, 'User "somebody" cannot list this')
    assert capfd.readouterr().err == ""


def test_what_else_it_says_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A login asks for something, without an end of line, and waits for what the user does."""
    text = "import sys, time\nfor said in ('Open https://login: ', 'error: no, \\x1b[2J\\n'):\n"
    text += "    sys.stderr.write(said); sys.stderr.flush(); time.sleep(0.2)\nsys.exit(1)"
    program(tmp_path / "bin", monkeypatch, text)
    with pytest.raises(ClusterError, match="failed with exit code 1: error: no, \N{REPLACEMENT CHARACTER}") as raised:
        Kubectl().raw("/version")
    assert raised.value.reason == ""
    assert capfd.readouterr().err == "Open https://login: "


def test_a_page_is_read_at_a_time(fake: FakeKubectl) -> None:
    """Each call asks for one more; a list is never whole in memory."""
    pods = [{"metadata": {"uid": str(number)}} for number in range(5)]
    fake.cluster |= {"raw": {"/api/v1/pods": pods}, "page": 2}
    fake.save()
    pages = Kubectl(request_timeout="5s").pages("api", "v1", "pods", labelSelector="app=a b", fieldSelector=None)
    assert [len(next(pages)), len(fake.calls)] == [2, 1]
    assert list(map(len, pages)) == [2, 1]
    assert fake.calls[-1] == [
        "get",
        "--request-timeout=5s",
        "--raw=/api/v1/pods?labelSelector=app%3Da+b&limit=500&continue=4",
    ]


def test_a_list_that_expires_is_begun_anew(fake: FakeKubectl) -> None:
    """410 Gone in its middle: nothing is lost, nothing comes twice."""
    pods = [{"metadata": {"uid": str(number)}} for number in range(5)]
    fake.cluster |= {"raw": {"/api/v1/pods": pods}, "page": 2, "expiries": 2}
    fake.save()
    found = [
        json.loads(bytes(item))["metadata"]["uid"] for page in Kubectl().pages("api", "v1", "pods") for item in page
    ]
    assert found == ["0", "1", "2", "3", "4"]
    assert len(fake.calls) == 7


def test_a_list_that_always_expires_is_an_error(fake: FakeKubectl) -> None:
    """After so many attempts that it is no accident."""
    pods = [{"metadata": {"uid": str(number)}} for number in range(5)]
    fake.cluster |= {"raw": {"/api/v1/pods": pods}, "page": 2, "expiries": 100}
    fake.save()
    with pytest.raises(ClusterError, match="too old"):
        list(Kubectl().pages("api", "v1", "pods"))


@pytest.mark.parametrize("name", ["", ".", "..", "../secrets", "a%2Fb", "\x1b[2J/"])
def test_a_step_that_is_no_name_is_an_error(name: str) -> None:
    """The program would resolve it, and read something else."""
    with pytest.raises(ClusterError, match="is no name of an object"):
        path("api", "v1", "namespaces", name, "pods")


@pytest.mark.parametrize("answer", ["", "[]", '{"items": 1}', "<html>", '{"metadata": {}, "items": [1]}'])
def test_a_list_that_is_none_is_an_error(fake: FakeKubectl, answer: str) -> None:
    """A proxy may answer anything."""
    fake.cluster["raw"] = {"/api/v1/pods": answer}
    fake.save()
    with pytest.raises(ClusterError, match="is no list of objects"):
        list(Kubectl().pages("api", "v1", "pods"))


def test_a_missing_kubectl_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With where to get it, and what works without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"no kubectl on PATH.*kubernetes\.io.*name files"):
        Kubectl().get("secret", "one")


def test_a_kubectl_that_can_not_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the system's reason."""
    program(tmp_path / "bin", monkeypatch, "")
    (tmp_path / "bin" / "kubectl").write_text("#!/absent/interpreter\n")
    (tmp_path / "bin" / "kubectl").chmod(0o644)
    with pytest.raises(ClusterError, match=r"`kubectl get .*` can't be run: Permission denied"):
        Kubectl().get("secret", "one")


def test_a_call_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kubectl that hangs is ended."""
    pid = tmp_path / "pid"
    text = f"import os, signal\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\nsignal.pause()"
    program(tmp_path / "bin", monkeypatch, text)
    with pytest.raises(ClusterError, match=r"was ended: it took longer than 2 s"):
        Kubectl(time_limit=2).get("secret", "one")
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_a_kubectl_that_is_killed_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it printed before is not believed."""
    text = "import os, signal, sys\nprint('{}', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    program(tmp_path / "bin", monkeypatch, text)
    with pytest.raises(ClusterError, match=f"was ended by signal {signal.SIGKILL.value}"):
        Kubectl().get("secret", "one")


@pytest.mark.parametrize("printed", ["<html>", '{"a":', "\\xff"])
def test_output_that_is_no_json_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: str) -> None:
    """A wrapper may print anything."""
    program(tmp_path / "bin", monkeypatch, f"import sys; sys.stdout.buffer.write(b'{printed}')")
    with pytest.raises(ClusterError, match="`kubectl get secret one` printed no JSON"):
        Kubectl().get("secret", "one")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
@pytest.mark.usefixtures("fake")
def test_a_name_that_no_program_can_be_given_is_an_error(name: str) -> None:
    """A document may hold any text."""
    with pytest.raises(ClusterError, match="can't be run"):
        Kubectl().get("secret", name)


@pytest.mark.usefixtures("fake")
def test_an_error_commands_no_terminal() -> None:
    """Names come from documents in the cluster."""
    with pytest.raises(ClusterError) as raised:
        Kubectl().get("secret", "a\x1b[2J\nb")
    assert str(raised.value).isprintable()
