"""Mounts of one container that can't all be made."""

from __future__ import annotations

from typing import Any

import pytest

from webhook.injection.mount_checks import MountPlace, check_hiding_mounts, check_mounts, mount_places
from webhook.json_values import Path


class Reports(list[tuple[str, str]]):
    """What was reported: where, and what."""

    def __call__(self, path: Path, message: str) -> None:
        """Take a report."""
        self.append((".".join(map(str, path)), message))


def at(path: str, number: int = 0, *, read_only: bool = False) -> MountPlace:
    """Return a mount at the path, written as the mount of that number."""
    return MountPlace((number,), path, read_only)


def reported(*mounts: MountPlace, others: tuple[MountPlace, ...] = ()) -> list[tuple[str, str]]:
    """Return what is wrong with the mounts."""
    reports = Reports()
    check_mounts(mounts, others, reports)
    return reports


@pytest.mark.parametrize(
    ("first", "second", "twice"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "//a/./x/..", True),
        ("/var/run/a", "/run/a", True),
        ("/a", "/ab", False),
        ("/a", "/a/b", False),
        ("/var/run/a", "/run/b", False),
    ],
)
def test_two_mounts_at_one_path_are_reported(first: str, second: str, *, twice: bool) -> None:
    """However it is written, and whether /var/run is a link or not; the second one is named, once."""
    assert reported(at(first), at(second, 1)) == ([("1", f"{second} is mounted twice")] if twice else [])


@pytest.mark.parametrize(
    ("inner", "outer", "inside"),
    [
        ("/a/b", "/a", True),
        ("/a/b/c", "/a", True),
        ("/a/b", "/", True),
        ("/run/a", "/var/run", True),
        ("/var/run/a", "/run", True),
        ("/var/run/a", "/var", True),
        ("/run/a", "/var", False),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
    ],
)
def test_a_mount_inside_a_read_only_one_is_reported(inner: str, outer: str, *, inside: bool) -> None:
    """In whichever order they are; inside a writable one the runtime makes its folder."""
    said = ("0", f"{inner} can't be mounted inside {outer}, which is read-only")
    for mounts in ((at(inner), at(outer, 1, read_only=True)), (at(outer, 1, read_only=True), at(inner))):
        assert (said in reported(*mounts)) is inside
    assert said not in reported(at(inner), at(outer, 1))


@pytest.mark.parametrize("path", ["/etc", "/dev", "/", "/etc/hosts"])
def test_the_runtimes_own_mounts_need_a_place(path: str) -> None:
    """The mount around them is named, as they are written nowhere; one in the place of one of them is fine."""
    found = reported(at(path, read_only=True))
    assert all(where == "0" for where, _ in found)
    assert bool(found) is (path != "/etc/hosts")


def test_what_is_mounted_besides_is_nobodys_mistake() -> None:
    """Only where it meets a mount of one's own is there something to say."""
    token, log = MountPlace(None, "/a/token", read_only=True), MountPlace(None, "/a/token/log")
    assert reported(others=(token, token, log)) == []
    assert reported(at("/a", 5, read_only=True), others=(token,)) == [
        ("5", "/a/token can't be mounted inside /a, which is read-only"),
    ]
    assert reported(at("/a/token", 5), others=(token,)) == [("5", "/a/token is mounted twice")]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"name": "v", "mountPath": "/a"}, [MountPlace(("m", 0, "mountPath"), "/a")]),
        ({"name": "v", "mountPath": "/a", "readOnly": True}, [MountPlace(("m", 0, "mountPath"), "/a", read_only=True)]),
        ({"name": "settings", "mountPath": "/a"}, [MountPlace(("m", 0, "mountPath"), "/a", read_only=True)]),
        ({"mountPath": "/a"}, [MountPlace(("m", 0, "mountPath"), "/a")]),
        ({"name": "v"}, []),
    ],
    ids=str,
)
def test_a_mount_is_known_by_its_path(item: dict[str, Any], expected: list[MountPlace]) -> None:
    """Read-only by itself, or by its volume."""
    assert mount_places([item], ("m",), {"settings"}) == expected


@pytest.mark.parametrize(
    ("path", "command", "said"),
    [
        ("/bin", [], "/bin hides what the image needs to start; choose another directory"),
        ("/usr", ["x"], "/usr hides what the image needs to start; choose another directory"),
        ("/opt/tool", ["/opt/tool/run"], "/opt/tool hides /opt/tool/run, which the container runs"),
        ("/opt/tool", ["/opt/tool"], "/opt/tool hides /opt/tool, which the container runs"),
        ("/opt/tool", ["opt/tool/run"], ""),
        ("/opt/tool", ["/opt/tools", "/opt/tool/x"], ""),
        ("/root", [], ""),
        ("/usr/local", [], "/usr/local hides what the image needs to start"),
        ("/usr/share", [], ""),
    ],
)
def test_a_mount_that_hides_a_program_is_reported(path: str, command: list[str], said: str) -> None:
    """What no container can do without, and what this one runs."""
    reports = Reports()
    fields = {"command": command, "volumeMounts": [{"name": "v"}, {"name": "v", "mountPath": path}]}
    check_hiding_mounts(fields, ("sidecar",), reports, with_content=())
    assert [where for where, _ in reports] == (["sidecar.volumeMounts.1.mountPath"] if said else [])
    assert not said or reports[0][1].startswith(said)


PROBE = {"livenessProbe": {"exec": {"command": ["/opt/tool/ok"]}}}
HOOK = {"lifecycle": {"preStop": {"exec": {"command": ["/opt/tool/ok", "/x"]}}}}


@pytest.mark.parametrize("names", [PROBE, HOOK, {"command": ["/x", "/opt/tool/ok"], **PROBE}], ids=str)
@pytest.mark.parametrize("with_content", [(), ("v",)], ids=["empty", "with content"])
def test_a_program_may_be_a_probes_or_come_from_the_volume(
    names: dict[str, Any], with_content: tuple[str, ...]
) -> None:
    """A volume that comes with files may be where the program is."""
    reports = Reports()
    fields = {**names, "volumeMounts": [{"name": "v", "mountPath": "/opt/tool"}]}
    check_hiding_mounts(fields, (), reports, with_content=with_content)
    said = "/opt/tool hides /opt/tool/ok, which the container runs; choose another directory"
    assert reports == ([] if with_content else [("volumeMounts.0.mountPath", said)])


def test_what_the_image_needs_comes_from_no_volume() -> None:
    """Whatever is in it, it hides the rest."""
    reports = Reports()
    check_hiding_mounts({"volumeMounts": [{"name": "v", "mountPath": "/usr"}]}, (), reports, with_content=("v",))
    assert [where for where, _ in reports] == ["volumeMounts.0.mountPath"]
