"""The manifests of docs/migrating.md: what is before and after is one application."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT, files
from webhook.cli import main

FILES = files((ROOT / "docs/migrating.md").read_text())
#: Each with the end of its former manifest's name, and the containers that go.
PAIRS = [
    ("ticker", "by-hand", {"printer"}),
    ("stamper", "by-hand", {"reader"}),
    ("journal", "by-hand", {"log-printer"}),
    ("bulletin", "by-hand", {"nginx"}),
    ("newsroom", "by-hand", {"consumer"}),
    ("shop", "tailer-webhook", set()),
    ("gateway", "tailing-sidecar", set()),
]


def containers(name: str) -> dict[str, Any]:
    """Return the containers of a manifest's pod, by name."""
    document = next(yaml.safe_load_all(FILES[name]))
    spec = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
    return {container["name"]: container for container in spec["containers"]}


def test_each_file_has_its_pair() -> None:
    """No manifest of the page is left out here."""
    assert FILES.keys() == {name for app, former, _ in PAIRS for name in (f"{app}.yaml", f"{app}-{former}.yaml")}


@pytest.mark.parametrize(("app", "former", "gone"), PAIRS, ids=[app for app, _, _ in PAIRS])
def test_only_the_sidecar_goes(app: str, former: str, gone: set[str]) -> None:
    """The application is the same; where its page is may differ."""
    before, after = containers(f"{app}-{former}.yaml"), containers(f"{app}.yaml")
    assert before.keys() - after.keys() == gone
    for name, container in after.items():
        for key in {"image", "command", "args"} - ({"command"} if app == "bulletin" else set()):
            assert container.get(key) == before[name].get(key)


@pytest.mark.parametrize(("app", "former"), [pair[:2] for pair in PAIRS], ids=[app for app, _, _ in PAIRS])
def test_the_new_manifest_is_injected(
    app: str, former: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the former one is none of Pillion's business."""
    for name, injected in ((f"{app}-{former}.yaml", False), (f"{app}.yaml", True)):
        (tmp_path / name).write_text(FILES[name])
        assert main(["inject", "-f", str(tmp_path / name), "--strict"]) == 0
        assert ("name: pillion-" in capsys.readouterr().out) == injected
