"""A keeper that may not do everything: what it logs, and how often."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from certs.api import ApiResponse, StatusError
from certs.keeper import Keeper
from certs.log_limiter import MAX_CHANGES_PER_INTERVAL, REPEAT_INTERVAL
from certs.rotation import RotationSettings
from certs.shared_directory import SharedDirectory
from certs.store import ObjectNames
from tests.certs.recording import RecordingLog

OBJECTS = ObjectNames(
    "pillion-system", "pair", "lease", ("mutatingwebhookconfigurations/pillion.pillion-system.pillion.dev",)
)
#: What a role may lack: a verb and a part of the path.
RIGHTS = {
    "read the Lease": ("GET", "/leases/"),
    "write the Lease": ("PATCH", "/leases/"),
    "read the Secret": ("GET", "/secrets/"),
    "write the Secret": ("PATCH", "/secrets/"),
    "read the configuration": ("GET", "/mutatingwebhookconfigurations/"),
    "write the configuration": ("PATCH", "/mutatingwebhookconfigurations/"),
}
LACKING = [lacking for number in range(1, len(RIGHTS) + 1) for lacking in combinations(RIGHTS, number)]


class Cluster:
    """An API server in memory, as far as a keeper uses one; some requests are forbidden."""

    def __init__(self) -> None:
        self.forbidden: set[tuple[str, str]] = set()
        self.requests: list[str] = []
        self.version = 1
        entry = {"name": "annotated.pillion.pillion-system.pillion.dev", "clientConfig": {}}
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pillion.pillion-system.pillion.dev"
        self.objects: dict[str, Any] = {path: {"metadata": {"resourceVersion": "1"}, "webhooks": [entry]}}

    @contextmanager
    def connect(self) -> Iterator[Cluster]:
        """Be the connection, too."""
        yield self

    def get(self, path: str) -> ApiResponse:
        """Return an object."""
        return self._answer("GET", path)

    def apply(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Make an object, or give entries their bundles."""
        self._check("PATCH", path)
        found = self.objects.setdefault(path, {"metadata": {}})
        found.update({key: copy.deepcopy(value) for key, value in document.items() if key != "metadata"})
        return self._written("PATCH", path)

    def merge(self, path: str, document: Mapping[str, Any]) -> ApiResponse:
        """Write fields."""
        self._check("PATCH", path)
        found = self.objects[path]
        for key in ("data", "spec"):
            if key in document:
                fields = {**found.get(key, {}), **document[key]}
                found[key] = {name: value for name, value in fields.items() if value is not None}
        return self._written("PATCH", path)

    def _written(self, verb: str, path: str) -> ApiResponse:
        self.version += 1
        self.objects[path]["metadata"]["resourceVersion"] = str(self.version)
        return self._answer(verb, path)

    def _answer(self, verb: str, path: str) -> ApiResponse:
        self._check(verb, path)
        if path not in self.objects:
            raise StatusError(404, f"{verb} {path}: 404: not found", datetime.now(UTC))
        return ApiResponse(copy.deepcopy(self.objects[path]), datetime.now(UTC))

    def _check(self, verb: str, path: str) -> None:
        self.requests.append(f"{verb} {path}")
        if any(verb == forbidden and part in path for forbidden, part in self.forbidden):
            raise StatusError(403, f"{verb} {path}: 403: forbidden", datetime.now(UTC))


class World:
    """A keeper, its cluster, and the time that passes between looks."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster()
        self.now = 0.0
        self.log = RecordingLog()
        self.folder = SharedDirectory(folder)
        self.keeper = Keeper(
            self.cluster,  # type: ignore[arg-type] # as far as a keeper uses one
            OBJECTS,
            RotationSettings(("pillion.pillion-system.svc",)),
            self.folder,
            identity="me",
            log=self.log,
            log_clock=lambda: self.now,
        )

    def run(self, seconds: float) -> list[str]:
        """Reconcile for so long; return what was logged meanwhile."""
        count, end = len(self.log.events), self.now + seconds
        while self.now < end:
            self.now += self.keeper.reconcile().total_seconds()
        return [f"{event}: {fields.get('message', '')}" for _, event, fields in self.log.events[count:]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which everything is allowed."""
    return World(tmp_path)


@pytest.mark.parametrize("lacking", LACKING, ids=", ".join)
def test_missing_rights_are_said_and_not_over_and_over(world: World, lacking: tuple[str, ...]) -> None:
    """Whatever is missing together: each reason at first, then a few lines an hour."""
    world.cluster.forbidden = {RIGHTS[right] for right in lacking}
    first = world.run(REPEAT_INTERVAL)
    assert any("403" in line for line in first)
    assert len(first) <= 2 * MAX_CHANGES_PER_INTERVAL
    rest = world.run(6 * REPEAT_INTERVAL)
    assert len(rest) <= 2 * 7


def test_a_forbidden_lease_is_one_line(world: World) -> None:
    """Beside those for what is waited for; steps between them displace neither."""
    world.cluster.forbidden = {RIGHTS["read the Lease"]}
    lines = world.run(REPEAT_INTERVAL - 60)
    assert len([line for line in lines if line.startswith("rotating without Lease: ")]) == 1
    assert world.folder.read_status().may_rotate
    waiting = [line for line in lines if line.startswith("waiting")]
    assert len(waiting) == len(set(waiting)) <= 2


def test_a_right_that_comes_and_goes_is_said_again(world: World) -> None:
    """What is over and comes back is news."""
    told = []
    for _ in range(2):
        world.cluster.forbidden = {RIGHTS["read the Lease"]}
        told.append(any("without Lease" in line for line in world.run(60)))
        world.cluster.forbidden = set()
        told.append(any("without Lease" in line for line in world.run(60)))
    assert told == [True, False, True, False]


def test_a_failure_that_is_over_is_followed_by_what_is_waited_for(world: World) -> None:
    """The newest line is true."""
    world.run(60)
    world.cluster.forbidden = {RIGHTS["read the Secret"]}
    assert "403" in world.run(60)[-1]
    world.cluster.forbidden = set()
    assert "nothing is due" in world.run(60)[-1]


def test_with_all_rights_it_comes_to_rest(world: World) -> None:
    """The cluster in memory is one in which a rotation works."""
    assert "nothing is due before" in world.run(REPEAT_INTERVAL / 2)[-1]
    assert world.run(REPEAT_INTERVAL / 4) == []
    assert {"ca.crt", "ca.key", "tls.crt", "tls.key"} <= next(
        document["data"].keys() for path, document in world.cluster.objects.items() if "/secrets/" in path
    )
