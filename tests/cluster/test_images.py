"""The archives that stand in for a registry."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from . import images
from .programs import on_path

pytestmark = pytest.mark.cluster

SMALL = images.Image(
    "example.org/small:1",
    ["/bin/tool"],
    programs={"bin/tool": b"#!/bin/sh\n"},
    files={"etc/tool/conf": b"x"},
    links={"bin/also": "/bin/tool"},
    folders={"tmp": 0o1777},
    user="65532:65532",
)


def test_an_archive_is_what_its_manifest_says(tmp_path: Path) -> None:
    """Name, configuration and the layer's digest are consistent."""
    with tarfile.open(images.write_archive(SMALL, tmp_path / "small.tar")) as archive:
        members = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        content = {name: member.read() for name, member in members.items() if member is not None}
    [manifest] = json.loads(content["manifest.json"])
    config = json.loads(content[manifest["Config"]])
    assert manifest["RepoTags"] == ["example.org/small:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content['layer.tar']).hexdigest()}"]
    assert config["config"]["Cmd"] == ["/bin/tool"]
    assert config["config"]["User"] == "65532:65532"


def test_a_layer_has_each_file_once_after_its_folder(tmp_path: Path) -> None:
    """With the modes that were asked for, and folders before what is in them."""
    with tarfile.open(images.write_archive(SMALL, tmp_path / "small.tar")) as archive:
        layer = archive.extractfile("layer.tar")
        assert layer is not None
        with tarfile.open(fileobj=layer) as root:
            entries = [(member.name, oct(member.mode), member.linkname) for member in root.getmembers()]
    assert entries == [
        ("bin", "0o755", ""),
        ("etc", "0o755", ""),
        ("etc/tool", "0o755", ""),
        ("tmp", "0o1777", ""),
        ("bin/tool", "0o755", ""),
        ("etc/tool/conf", "0o644", ""),
        ("bin/also", "0o644", "/bin/tool"),
    ]


def test_an_image_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    """So its digest is, too."""
    once = images.write_archive(SMALL, tmp_path / "once.tar").read_bytes()
    assert images.write_archive(SMALL, tmp_path / "twice.tar").read_bytes() == once


@pytest.mark.skipif(on_path("busybox") is None, reason="no busybox (Debian package busybox-static)")
def test_a_pause_image_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, busybox's shell does it."""
    monkeypatch.setenv("CC", "no-such-compiler")
    assert list(images.pause().programs) == ["bin/busybox"]
