"""Paths, compared by components."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.injection.paths import (
    Directories,
    components,
    mount_points,
    normalised_path,
    overlap,
    probably_holds_application,
    within,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ()),
        ("", ()),
        ("/a", ("a",)),
        ("//a/./b/", ("a", "b")),
        ("/a/../b", ("b",)),
        ("/a/b/../c", ("a", "c")),
        ("/../..", ()),
        ("/var/run/x", ("run", "x")),
        ("/var/run", ("run",)),
        ("/var/running", ("var", "running")),
        ("/x/var/run", ("x", "var", "run")),
        ("/" + "a/" * 300, ("a",) * 300),
    ],
)
def test_components(path: str, expected: tuple[str, ...]) -> None:
    """Empty and dot parts go, dot-dot takes one back, and /var/run is /run; long paths too."""
    assert components(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a//b/./c/", "/a/b/c"),
        ("/var/run/x", "/var/run/x"),
        ("/a/../var/run/x", "/var/run/x"),
        ("a", "/a"),
        ("/", "/"),
    ],
)
def test_a_path_is_shown_as_it_was_written(path: str, expected: str) -> None:
    """Only what means nothing is left out, and /var/run stays."""
    assert normalised_path(path) == expected


def test_names_that_begin_alike_are_strangers() -> None:
    """/var/log/app is no parent of /var/log/app2."""
    one, other = components("/var/log/app"), components("/var/log/app2")
    assert not within(other, one)
    assert not overlap(one, other)


def test_overlap_goes_both_ways() -> None:
    """A path overlaps itself, its parents and its children."""
    parent, child = components("/a"), components("/a/b")
    assert overlap(parent, child)
    assert overlap(child, parent)
    assert overlap(child, child)
    assert within(child, parent)
    assert not within(parent, child)


def test_a_set_of_directories_knows_above_and_below() -> None:
    """``within``: one of them is the path or below it; ``hold``: the path is one of them or below one."""
    directories = Directories("/a/b", "/c")
    assert [directories.any_at_or_below(path) for path in ("/", "/a", "/a/b", "/a/b/c", "/d")] == [
        *(True, True, True),
        *(False, False),
    ]
    assert [directories.any_at_or_above(path) for path in ("/", "/a", "/a/b", "/a/b/c", "/c/d", "/d")] == [
        *(False, False, True),
        *(True, True, False),
    ]


_PATHS = st.lists(st.sampled_from("ab"), max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(st.lists(_PATHS, max_size=5), _PATHS)
def test_directories_collide_as_their_paths_overlap(directories: list[str], path: str) -> None:
    """A set that grew answers as if each directory were compared; what it was copied from does not grow."""
    first = Directories(*directories[:1])
    grown = first.copy()
    for directory in directories[1:]:
        grown.add(directory)
    assert grown.any_overlapping(path) == any(overlap(components(path), components(one)) for one in directories)
    assert first.any_overlapping(path) == any(overlap(components(path), components(one)) for one in directories[:1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/run/x", [("run", "x"), ("var", "run", "x")]),
        ("/run/x", [("run", "x")]),
        ("/var", [("var",)]),
        ("/", [()]),
    ],
)
def test_a_mount_may_end_up_at_two_places(path: str, expected: list[tuple[str, ...]]) -> None:
    """Where the image has a link from /var/run to /run, and where it has none."""
    assert list(mount_points(path)) == expected


@pytest.mark.parametrize(
    ("one", "other", "collides"),
    [
        ("/var", "/var/run/secrets", True),
        ("/run", "/var/run/secrets", True),
        ("/var/run", "/run/secrets", True),
        ("/var/run/a", "/run/a", True),
        ("/var", "/run/secrets", False),
        ("/var/log", "/var/run/secrets", False),
    ],
)
def test_directories_collide_as_written_and_as_resolved(one: str, other: str, *, collides: bool) -> None:
    """Either may be where the mount ends up."""
    assert Directories(other).any_overlapping(one) is collides


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        *(
            (path, True)
            for path in ("/app", "/srv", "/workspace", "/var/log", "/usr/src/app", "/var/www/html", "/opt/x")
        ),
        *((path, True) for path in ("/home/node", "/var/lib/mysql", "/var/lib/postgresql/data/log", "/go/src/app")),
        *((path, False) for path in ("/var/log/nginx", "/app/logs", "/logs", "/tmp", "/opt/app/log", "/srv/audit")),
        *((path, True) for path in ("/srv/shop/app", "/usr/lib/x/webapps", "/home/x/y/htdocs")),
        *((path, True) for path in ("/app/dist", "/opt/x/y/conf", "/var/opt/mssql", "/usr/src/app/node_modules")),
        *((path, True) for path in ("/app/static", "/rails/public", "/etc/nginx/conf.d", "/opt/x/y/plugins")),
        *((path, False) for path in ("/app/audit", "/data/dist", "/var/log/app/build", "/app/logs/src")),
        *((path, False) for path in ("/srv/logs/app", "/srv/shop/apps2", "/data/shop/app", "/scratch", "/")),
        *((path, False) for path in ("/home/node/app/logs", "/usr/local/tomcat/logs", "/data/app/x", "/log-files")),
    ],
)
def test_an_image_probably_has_its_application_there(path: str, *, holds: bool) -> None:
    """First-level folders and known homes of applications, but nothing that is called after logs."""
    assert probably_holds_application(path) is holds
