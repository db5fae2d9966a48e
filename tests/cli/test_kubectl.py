"""Unit tests of webhook.cli.kubectl, and of the fake kubectl that the command line's tests have on PATH."""

import signal
import sys
from pathlib import Path

import pytest

from tests.cli.fake_kubectl import CONFIGURATIONS, FakeKubectl
from tests.cli.kubectl_calls import CALLS, Call, configuration, secret
from webhook.cli.kubectl import Kubectl
from webhook.errors import CertificateError

NAMESPACE = "pillion-system"


@pytest.fixture
def fake(fake_kubectl: FakeKubectl) -> FakeKubectl:
    """Return the fake with what the calls need in its cluster."""
    objects = {f"{NAMESPACE}/one": secret(NAMESPACE), CONFIGURATIONS: [configuration(NAMESPACE)]}
    fake_kubectl.cluster["objects"] = objects
    fake_kubectl.save()
    return fake_kubectl


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make a Python program the kubectl that is found."""
    folder.mkdir()
    (folder / "kubectl").write_text(f"#!{sys.executable}\n{text}\n")
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.usefixtures("fake")
def test_the_fake_answers_as_kubectl_does(call: Call) -> None:
    """The same calls are made to a real one in tests/cluster/test_kubectl.py."""
    call(Kubectl(), NAMESPACE)


def test_options_and_names_are_kept_apart(fake: FakeKubectl) -> None:
    """A value that looks like an option stays a value: options have their value after =, names stand after --."""
    with pytest.raises(CertificateError):
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


def test_kubectls_own_words_are_shown(fake: FakeKubectl, capfd: pytest.CaptureFixture[str]) -> None:
    """On standard error at once, as a login needs it; the error says what was asked for."""
    fake.cluster["refusal"] = 'User "somebody" cannot list this'
    fake.save()
    with pytest.raises(CertificateError, match=rf"^`kubectl get .*-- {CONFIGURATIONS}` failed with exit code 1$"):
        Kubectl().get(CONFIGURATIONS)
    assert capfd.readouterr().err == 'Error from server (Forbidden): User "somebody" cannot list this\n'


def test_a_missing_kubectl_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With where to get it, and what works without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CertificateError, match=r"no kubectl on PATH.*kubernetes\.io.*give PEM files"):
        Kubectl().get("secret", "one")


def test_a_kubectl_that_can_not_be_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the system's reason."""
    program(tmp_path / "bin", monkeypatch, "")
    (tmp_path / "bin" / "kubectl").write_text("#!/absent/interpreter\n")
    (tmp_path / "bin" / "kubectl").chmod(0o644)
    with pytest.raises(CertificateError, match=r"`kubectl get .*` can't be run: Permission denied"):
        Kubectl().get("secret", "one")


def test_a_call_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kubectl that hangs is ended."""
    pid = tmp_path / "pid"
    text = f"import os, signal\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\nsignal.pause()"
    program(tmp_path / "bin", monkeypatch, text)
    with pytest.raises(CertificateError, match=r"was ended: it took longer than 2 s"):
        Kubectl(time_limit=2).get("secret", "one")
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_a_kubectl_that_is_killed_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What it printed before is not believed."""
    text = "import os, signal, sys\nprint('{}', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    program(tmp_path / "bin", monkeypatch, text)
    with pytest.raises(CertificateError, match=f"was ended by signal {signal.SIGKILL.value}"):
        Kubectl().get("secret", "one")


@pytest.mark.parametrize("printed", ["<html>", '{"a":', "\\xff"])
def test_output_that_is_no_json_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: str) -> None:
    """A wrapper may print anything."""
    program(tmp_path / "bin", monkeypatch, f"import sys; sys.stdout.buffer.write(b'{printed}')")
    with pytest.raises(CertificateError, match="`kubectl get secret one` printed no JSON"):
        Kubectl().get("secret", "one")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
@pytest.mark.usefixtures("fake")
def test_a_name_that_no_program_can_be_given_is_an_error(name: str) -> None:
    """A document may hold any text."""
    with pytest.raises(CertificateError, match="can't be run"):
        Kubectl().get("secret", name)


@pytest.mark.usefixtures("fake")
def test_an_error_commands_no_terminal() -> None:
    """Names come from documents in the cluster."""
    with pytest.raises(CertificateError) as raised:
        Kubectl().get("secret", "a\x1b[2J\nb")
    assert str(raised.value).isprintable()
