"""Log directories in containers."""

from __future__ import annotations

import pytest

from tests.injection.views import candidate
from webhook.injection.annotations import parse_logs
from webhook.injection.candidates import Candidate
from webhook.injection.paths import components
from webhook.injection.reasons import NotInjectable, Reason
from webhook.injection.targets import MAX_TARGETS, enclosing_mount_path, files_are_mounts, find_targets


def mounting(*paths: str, name: str = "app", takes_general_entries: bool = True) -> Candidate:
    """Return a container that mounts a volume at each path."""
    mounts = [{"name": "data", "mountPath": path} for path in paths]
    return candidate(name, volumeMounts=mounts, takes_general_entries=takes_general_entries)


def found(logs: str, *containers: Candidate) -> list[tuple[str, str, list[str]]]:
    """Return each target: container, directory, and the names of the files that are meant."""
    return [
        (one.candidate.container.name, "/" + "/".join(one.directory), [item.file_glob for item in one.entries])
        for one in find_targets(containers, parse_logs(logs))
    ]


def test_a_directory_is_meant_in_each_container() -> None:
    """Entries of one directory are one target, in their order."""
    logs = "/a/*.log,/b/x.log,/a/y.log"
    assert found(logs, mounting(), mounting(name="web")) == [
        ("app", "/a", ["*.log", "y.log"]),
        ("web", "/a", ["*.log", "y.log"]),
        ("app", "/b", ["x.log"]),
        ("web", "/b", ["x.log"]),
    ]


def test_a_prefix_means_one_container() -> None:
    """Others see no such entry, but all that are without a prefix."""
    assert found("app:/a/*.log,/a/y.log", mounting(), mounting(name="web")) == [
        ("app", "/a", ["*.log", "y.log"]),
        ("web", "/a", ["y.log"]),
    ]


def test_a_container_may_take_part_by_its_prefix_alone() -> None:
    """Then entries without one mean the others."""
    by_prefix = mounting(name="init", takes_general_entries=False)
    assert found("init:/a/*.log,/b/x.log", mounting(), by_prefix) == [
        ("init", "/a", ["*.log"]),
        ("app", "/b", ["x.log"]),
    ]


def test_var_run_and_run_are_one_directory() -> None:
    """As every image has a link there."""
    assert found("/var/run/a/*.log,/run/a/x.log", mounting()) == [("app", "/run/a", ["*.log", "x.log"])]


def test_a_volume_at_var_has_a_run_of_its_own() -> None:
    """There the two are different directories; others stay one."""
    assert found("/var/run/a/*.log,/run/a/x.log,/srv/y.log", mounting("/var")) == [
        ("app", "/var/run/a", ["*.log"]),
        ("app", "/run/a", ["x.log"]),
        ("app", "/srv", ["y.log"]),
    ]
    assert found("app:/run/a/x.log", mounting("/var", name="web")) == []


def test_mounts_are_found_around_and_inside() -> None:
    """The nearest one around, and all inside, however deep."""
    container = mounting("/", "/srv", "/srv/app/x", "/srv/app/y/z", "/srv/app2")
    (target,) = find_targets([container], parse_logs("/srv/app/*.log"))
    assert target.enclosing_mount_path == ("srv",)
    assert list(target.below) == [("srv", "app", "x"), ("srv", "app", "y", "z")]


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/a/b/c", ("a", "b")),
        ("/a/b", ("a", "b")),
        ("/a/bc", ("a",)),
        ("/b", None),
    ],
)
def test_the_nearest_mount_is_the_deepest_that_a_path_lies_in(path: str, nearest: tuple[str, ...] | None) -> None:
    """In whatever order they are mounted."""
    for paths in (("/a", "/a/b"), ("/a/b", "/a")):
        assert enclosing_mount_path(components(path), mounting(*paths).own_mounts) == nearest


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ("/srv/x.log", True),
        ("/srv/x.log,/srv/y.log", False),
        ("/srv/*.log", False),
        ("/srv/x.lo?", False),
    ],
)
def test_every_file_that_is_meant_may_be_a_mount(logs: str, *, expected: bool) -> None:
    """A pattern means more than that."""
    (target,) = find_targets([mounting("/srv/x.log", "/srv/*.log")], parse_logs(logs))
    assert files_are_mounts(target) is expected


def test_more_directories_than_can_be_planned_for_are_a_reason() -> None:
    """Containers times directories, before anything is looked at."""
    many = [candidate(f"c{number}") for number in range(MAX_TARGETS)]
    assert len(find_targets(many, parse_logs("/a/*.log"))) == MAX_TARGETS
    with pytest.raises(NotInjectable) as declined:
        find_targets(many, parse_logs("/a/*.log,/b/*.log"))
    assert declined.value.finding.reason is Reason.TOO_MANY_LOG_SOURCES
    assert "2 directories in 2048 containers" in declined.value.finding.message
