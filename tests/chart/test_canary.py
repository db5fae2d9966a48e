"""What `helm test` runs: the labels of its canaries, and what it says of servers and of a missing sidecar."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any

import pytest

from .canary import load


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the program as a module, with the environment that its pod gives it."""
    for name, value in {
        "NAMESPACE": "canaries",
        "SERVERS_NAMESPACE": "pillion-system",
        "SERVERS_SELECTOR": "app.kubernetes.io/name=pillion",
        "OBJECT_SELECTOR": "{}",
        "POD_SECURITY_CONTEXT": '{"runAsUser": 1234}',
        "PREFIX": "pillion.dev/",
        "SHADOW": "false",
        "IMAGE": "pillion",
        "IMAGE_PULL_POLICY": "Never",
        "PROFILES": '{"tail": true}',
        "TIMEOUT_SECONDS": "0",
    }.items():
        monkeypatch.setenv(name, value)
    module = load()
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return module


@pytest.fixture
def answer(canary: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return what has the API server answer, by method and end of the path, and gives what was asked."""
    asked: list[str] = []

    def with_answers(answers: dict[str, Any], *warnings: str) -> list[str]:
        def call(method: str, path: str, document: Any = None) -> Any:
            asked.append(f"{method} {path}")
            found = next(content for end, content in answers.items() if f"{method} {path}".startswith(end))
            return canary.Answer(document if found is None else found, list(warnings))

        monkeypatch.setattr(canary, "call", call)
        return asked

    return with_answers


def server(name: str, *, ready: bool, address: str = "", **metadata: str) -> dict[str, Any]:
    """Return a server's pod."""
    conditions = [{"type": "Ready", "status": str(ready), "message": "" if ready else "containers with unready status"}]
    status = {"conditions": conditions, **({"podIP": address} if address else {})}
    return {"metadata": {"name": name, **metadata}, "status": status}


@pytest.fixture
def unready_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a /readyz that says why a server is not ready, on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"the configuration is invalid: profiles.mine.order: must be first or last\n"
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        monkeypatch.setenv("HEALTH_PORT", str(http.server_port))
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield
        http.shutdown()
        thread.join()


class TestLabels:
    """What webhook.objectSelector asks of a pod."""

    @pytest.mark.parametrize(
        ("selector", "labels"),
        [
            ({}, {}),
            ({"matchLabels": {"logs": "yes"}}, {"logs": "yes"}),
            ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, {"a": "x"}),
            ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": "canary"}),
            ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {}),
            ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}),
            (
                {
                    "matchExpressions": [
                        {"key": "a", "operator": "In", "values": ["x", "y", "z"]},
                        {"key": "a", "operator": "NotIn", "values": ["x"]},
                        {"key": "a", "operator": "In", "values": ["z", "x"]},
                    ]
                },
                {"a": "z"},
            ),
            (
                {
                    "matchExpressions": [
                        {"key": "a", "operator": "Exists"},
                        {"key": "a", "operator": "NotIn", "values": ["canary", "canary-0"]},
                    ]
                },
                {"a": "canary-1"},
            ),
        ],
        ids=["none", "label", "in", "exists", "not-in", "absent", "all-of-them", "exists-but"],
    )
    def test_canaries_have_them(self, canary: ModuleType, selector: dict[str, Any], labels: dict[str, str]) -> None:
        """No more than it needs."""
        assert canary.selected_labels(selector) == labels

    @pytest.mark.parametrize(
        "expression",
        [
            {"key": "logs", "operator": "DoesNotExist"},
            {"key": "logs", "operator": "NotIn", "values": ["yes"]},
            {"key": "logs", "operator": "In", "values": ["no"]},
        ],
        ids=lambda expression: str(expression["operator"]),
    )
    def test_a_selector_that_selects_nothing_is_said(self, canary: ModuleType, expression: dict[str, Any]) -> None:
        """Then no pod of the cluster gets a sidecar either."""
        with pytest.raises(canary.Failed, match="selects no pod: nothing fits what it asks of the label logs"):
            canary.selected_labels({"matchLabels": {"logs": "yes"}, "matchExpressions": [expression]})

    def test_a_canary_carries_them(self, canary: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise the API server would not send it."""
        monkeypatch.setenv("OBJECT_SELECTOR", json.dumps({"matchLabels": {"logs": "yes"}}))
        assert canary.canary("tail")["metadata"]["labels"] == {"logs": "yes"}


class TestUsers:
    """As whom a canary runs."""

    def test_it_is_the_servers_user(self, canary: ModuleType) -> None:
        """In the restricted namespace of the test."""
        assert canary.canary("tail")["spec"]["securityContext"] == {
            "runAsUser": 1234,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_it_is_the_clusters_choice(self, canary: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the values name no user."""
        monkeypatch.setenv("POD_SECURITY_CONTEXT", "{}")
        assert "runAsUser" not in canary.canary("tail")["spec"]["securityContext"]


class TestServers:
    """What they say of themselves comes first."""

    @pytest.mark.usefixtures("unready_page")
    def test_a_server_that_is_not_ready_says_why(
        self, canary: ModuleType, answer: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where none is ready no canary is tried: the network is not to blame."""
        asked = answer({"GET pillion-system/pods": {"items": [server("a", ready=False, address="127.0.0.1")]}})
        assert canary.main() == 1
        assert capsys.readouterr().out.splitlines() == [
            "FAILED: server a is not ready: the configuration is invalid: profiles.mine.order: must be first or last",
            "FAILED: no server is ready",
        ]
        assert len(asked) == 1

    def test_a_server_that_does_not_run_has_its_pods_reason(
        self, canary: ModuleType, answer: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nobody can be asked."""
        answer({"GET pillion-system/pods": {"items": [server("a", ready=False)]}})
        assert canary.main() == 1
        assert "FAILED: server a is not ready: containers with unready status" in capsys.readouterr().out

    def test_one_that_leaves_is_not_asked(
        self, canary: ModuleType, answer: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It is not ready on purpose."""
        answer({"GET pillion-system/pods": {"items": [server("a", ready=False, deletionTimestamp="now")]}})
        assert canary.main() == 1
        assert capsys.readouterr().out == "FAILED: no server is ready\n"

    @pytest.mark.usefixtures("unready_page")
    def test_one_that_is_not_ready_fails_the_test(
        self, canary: ModuleType, answer: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Though another one serves: a rollout does not get on. Canaries are tried."""
        pods = [server("new", ready=False, address="127.0.0.1"), server("old", ready=True)]
        asked = answer({"GET pillion-system/pods": {"items": pods}, "POST": None})
        assert canary.main() == 1
        assert "server new is not ready" in capsys.readouterr().out
        assert "POST canaries/pods?dryRun=All" in asked


class TestASidecarThatIsNotThere:
    """The API server's answer says why, if Pillion was asked."""

    def test_the_warning_is_the_reason(self, canary: ModuleType, answer: Callable[..., list[str]]) -> None:
        """And nothing is said of the network."""
        answer({"POST": None}, 'pillion: not injected: pillion.dev/profile "tial": there is no such profile')
        with pytest.raises(canary.Failed) as raised:
            canary.create("tail")
        assert str(raised.value).endswith('"tial": there is no such profile')
        assert "firewall" not in str(raised.value)

    def test_without_a_warning_the_network_is_suspected(
        self, canary: ModuleType, answer: Callable[..., list[str]]
    ) -> None:
        """The servers are ready, and nobody asked them."""
        answer({"POST": None})
        with pytest.raises(canary.Failed, match="the API server gave no reason: it probably does not reach them"):
            canary.create("tail")

    def test_the_pod_goes_all_the_same(self, canary: ModuleType, answer: Callable[..., list[str]]) -> None:
        """A real one, that was created without its sidecar."""
        asked = answer({"POST": None, "DELETE": {}})
        with pytest.raises(canary.Failed):
            canary.try_profile("tail", prints=True, timeout=0)
        assert asked == ["POST canaries/pods", "DELETE canaries/pods/canary-tail"]
