"""Files that change while the server runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.service.serving import Running, eventually, make_review
from webhook.service.reload import ConfigurationFile, Watch

BAD = {"metadata": {"annotations": {"pillion.dev/inject": "maybe"}}, "spec": {"containers": [{"name": "app"}]}}
BODY = json.dumps(make_review(BAD)).encode()


def denies(server: Running) -> bool:
    """Return whether a pod with a bad annotation is denied: whether ``strict`` is in force."""
    return server.post(BODY).json()["response"]["allowed"] is False


def test_a_watch_sees_what_changed_and_only_that(tmp_path: Path) -> None:
    """Content counts: not the time, not the inode."""
    file = tmp_path / "file"
    file.write_text("a")
    watch = Watch(file)
    assert not watch.changed()
    file.write_text("a")
    assert not watch.changed()
    file.write_text("b")
    assert watch.changed()
    assert not watch.changed()
    file.unlink()
    assert watch.changed()
    assert not watch.changed()


def test_a_swapped_symlink_is_seen(tmp_path: Path) -> None:
    """As the kubelet replaces a mounted ConfigMap."""
    for name in ("..1", "..2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "file").symlink_to("..data/file")
    watch = Watch(tmp_path / "file")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert watch.changed()


def test_a_good_configuration_is_taken_over(serve: Callable[..., Running], tmp_path: Path) -> None:
    """Without a restart; metric and log have the new revision."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    server = serve(config=file)
    before = server.server.in_force.configuration.revision
    assert not denies(server)
    file.write_text("strict: true\n")
    eventually(lambda: denies(server))
    after = server.server.in_force.configuration.revision
    assert server.sample("pillion_configuration_info", revision=after) == 1
    assert (
        after == before
        or server.metrics.registry.get_sample_value("pillion_configuration_info", {"revision": before}) is None
    )
    assert server.sample("pillion_configuration_reloads_total", result="success") == 1
    assert any(line["event"] == "configuration read" for line in server.log())


def test_a_bad_configuration_keeps_the_old_one(serve: Callable[..., Running], tmp_path: Path) -> None:
    """All of it; every problem is logged with its line; mending the file is enough."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    server = serve(config=file)
    file.write_text("strict: maybe\nnonsense: 1\n")
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="failure") == 1)
    assert server.sample("pillion_configuration_last_reload_successful") == 0
    assert denies(server)
    assert server.get("/readyz").status_code == 200
    kept = [line["message"] for line in server.log() if line["event"] == "configuration kept"]
    assert any(":1:1: " in message and "strict" in message for message in kept)
    assert any(":2:1: " in message and "nonsense" in message for message in kept)
    file.write_text("strict: false\n")
    eventually(lambda: not denies(server))
    assert server.sample("pillion_configuration_last_reload_successful") == 1


def test_a_bug_does_not_end_the_watch(serve: Callable[..., Running], tmp_path: Path) -> None:
    """It is counted and logged, and the next change is taken over."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    server = serve(config=file)
    (look,) = [look for look in server.server.looks if isinstance(look, ConfigurationFile)]
    load = look._load

    def broken() -> NoReturn:
        look._load = load
        raise ZeroDivisionError

    look._load = broken
    file.write_text("strict: false # again\n")
    eventually(lambda: server.sample("pillion_bugs_total", where="reload") == 1)
    assert [line["exception"] for line in server.log() if line["event"] == "bug"] == ["ZeroDivisionError"]
    file.write_text("strict: true\n")
    eventually(lambda: denies(server))


def test_a_configuration_that_is_gone_keeps_the_old_one(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A volume may be away for a moment."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: true\n")
    server = serve(config=file)
    file.unlink()
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="failure") == 1)
    assert denies(server)


def test_settings_win_over_every_configuration(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A setting stays what it is when the file changes."""
    file = tmp_path / "pillion.yaml"
    file.write_text("strict: false\n")
    server = serve(config=file, strict=True)
    file.write_text("strict: false\ndefaultProfile: web\n")
    eventually(lambda: server.sample("pillion_configuration_reloads_total", result="success") == 1)
    assert denies(server)
