"""What the sidecar mounts, where it sees it, and which files there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.injection.reviews import CONFIGURATION
from webhook.injection.log_sources import (
    MAX_LOG_SOURCES,
    MAX_PATTERN_BYTES,
    MOUNT_ITSELF,
    ContainerMount,
    FilePattern,
    LogSource,
    assign_sidecar_paths,
)
from webhook.injection.paths import Directories
from webhook.injection.pod import VolumeMount
from webhook.injection.reasons import NotInjectable, Reason

TAIL = CONFIGURATION.profiles["tail"]
ALL = FilePattern((), recursive=False, file_glob="*.log")


def source(path: str, *files: FilePattern, container: str = "app") -> LogSource:
    """Return a source that a container sees at the path."""
    return LogSource(
        VolumeMount("data", path), new=False, seen_by=[ContainerMount(container, path)], patterns=list(files or (ALL,))
    )


def named(name: str) -> LogSource:
    """Return a source at /srv with files of this name."""
    return source("/srv", FilePattern((), recursive=False, file_glob=name))


def paths(*sources: LogSource, root: str | None = None, reserved: tuple[str, ...] = ()) -> list[str]:
    """Return where the sidecar has the sources."""
    assign_sidecar_paths(sources, replace(TAIL, logs_mount_path=root, reserved_directories=Directories(*reserved)))
    return [one.sidecar_path for one in sources]


def test_a_place_is_where_the_application_has_it() -> None:
    """So that absolute symlinks hold."""
    (one,) = sources = [source("/srv/app")]
    assert paths(*sources) == ["/srv/app"]
    assert one.sidecar_patterns == ["/srv/app/*.log"]
    assert not one.relocated


@pytest.mark.parametrize(
    ("second", "path"),
    [
        pytest.param("/srv/app", "/pillion/logs/app", id="same path"),
        pytest.param("/srv/app/x", "/pillion/logs/app", id="inside"),
        pytest.param("/srv", "/pillion/logs/app", id="around"),
        pytest.param("/srv/app2", "/srv/app2", id="beside"),
    ],
)
def test_places_that_collide_are_moved(second: str, path: str) -> None:
    """The first one stays; a mount inside another can't start, for ours are read-only."""
    sources = [source("/srv/app"), source(second)]
    assert paths(*sources) == ["/srv/app", path]
    assert sources[1].relocated is (path != second)


@pytest.mark.parametrize(
    "path",
    [
        *("/bin", "/etc", "/usr", "/", "/usr/local", "/var/run/secrets", "/run", "/var"),
        *("/proc/x", "/dev/shm", "/pillion", "/pillion/x", "/run/secrets/x"),
        *("/srv/a*", "/srv/[a]", "/srv/$x", "/srv/a:b", "/srv/a\\b", "/srv/{a}", "/srv/a?"),
    ],
)
def test_a_place_that_suits_no_sidecar_is_moved(path: str) -> None:
    """Over what its image needs, below what the runtime owns, or at a path that would be a glob."""
    assert paths(source(path)) == ["/pillion/logs/app"]


@pytest.mark.parametrize("path", ["/etc/app", "/usr/share/x", "/var/log", "/opt", "/run/app", "/srv/a b"])
def test_a_place_beside_what_the_image_needs_stays(path: str) -> None:
    """Only what is needed itself is out of reach."""
    assert paths(source(path)) == [path]


def test_what_a_profile_reserves_is_out_of_reach() -> None:
    """Its own mounts are in there; the profile stays as it is."""
    profile = replace(TAIL, reserved_directories=Directories("/opt/tool"))
    for _ in range(2):
        sources = [source("/opt/tool/x"), source("/srv")]
        assign_sidecar_paths(sources, profile)
        assert [one.sidecar_path for one in sources] == ["/pillion/logs/app", "/srv"]


def test_what_a_profile_runs_is_not_hidden() -> None:
    """What lies beside the program, or in the working directory, stays."""
    sources = [source(path) for path in ("/srv/tool", "/srv/tool/run", "/srv/tool2")]
    assign_sidecar_paths(sources[:1], profile := replace(TAIL, directories_in_use=Directories("/srv/tool")))
    assign_sidecar_paths(sources[1:], profile)
    assert [one.sidecar_path for one in sources] == ["/pillion/logs/app", "/srv/tool/run", "/srv/tool2"]


def test_moved_places_have_folders_of_their_own() -> None:
    """Called after their container, numbered where there is one already."""
    assert paths(source("/etc"), source("/bin"), source("/lib", container="web"), source("/sys")) == [
        *("/pillion/logs/app", "/pillion/logs/app-2", "/pillion/logs/web", "/pillion/logs/app-3"),
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A"])
def test_a_container_whose_name_is_no_folder_is_called_container(name: str) -> None:
    """The API server looks at names after us."""
    assert paths(source("/etc", container=name)) == ["/pillion/logs/container"]


def test_a_fixed_place_has_the_only_one() -> None:
    """Several have a folder each below it, wherever the application has them."""
    assert paths(source("/srv"), root="/logs") == ["/logs"]
    assert paths(source("/srv"), source("/data", container="web"), root="/logs") == ["/logs/app", "/logs/web"]


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        pytest.param("/srv/x.log", None, "/srv/x.log", id="where it is"),
        pytest.param("/srv/x.log", "/logs", "/logs/app/x.log", id="fixed source"),
        pytest.param("/etc/x.log", "/logs", "/logs/app/x.log", id="moved"),
        pytest.param("/srv/x*.log", None, "/pillion/logs/app/file", id="a name that is a pattern"),
    ],
)
def test_a_single_file_keeps_its_name(path: str, root: str | None, expected: str) -> None:
    """In a folder to itself where it is moved; never the folder's own source."""
    sources = [source(path, MOUNT_ITSELF)]
    assert paths(*sources, root=root) == [expected]
    assert sources[0].sidecar_patterns == [expected]


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        (ALL, "/srv/*.log"),
        (((), True, "*.log"), "/srv/**/*.log"),
        ((("a", "b"), False, "x.log"), "/srv/a/b/x.log"),
        ((("a",), True, "*"), "/srv/a/**/*"),
        (MOUNT_ITSELF, "/srv"),
    ],
)
def test_a_file_has_a_pattern(file: FilePattern, pattern: str) -> None:
    """Below the source, as the sidecar sees it."""
    one = source("/srv", file)
    assign_sidecar_paths([one], TAIL)
    assert one.sidecar_patterns == [pattern]


def decline(*sources: LogSource) -> str:
    """Return why so many sources are too many."""
    with pytest.raises(NotInjectable) as raised:
        assign_sidecar_paths(sources, TAIL)
    assert raised.value.finding.reason is Reason.TOO_MANY_LOG_SOURCES
    return raised.value.finding.message


def test_too_many_places_are_a_reason() -> None:
    """Each costs the kubelet time at the pod's start."""
    most = [source(f"/srv/{number}") for number in range(MAX_LOG_SOURCES)]
    assert len(set(paths(*most))) == MAX_LOG_SOURCES
    assert "129 volumes or subPaths" in decline(*most, source("/x"))


def test_too_long_patterns_are_a_reason() -> None:
    """Together they are arguments of one program; bytes count, not characters."""
    name = "é" * ((MAX_PATTERN_BYTES - len("/srv/")) // 2)
    assign_sidecar_paths([source("/srv", FilePattern((), recursive=False, file_glob=name))], TAIL)
    assert "patterns take more than 65536 bytes" in decline(
        source("/srv", FilePattern((), recursive=False, file_glob=name + "é"))
    )
    assign_sidecar_paths(
        [source("/srv", FilePattern((), recursive=False, file_glob="x" * (MAX_PATTERN_BYTES - len("/srv/"))))], TAIL
    )
