"""Where a pod's logs probably are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION
from tests.injection.views import container
from tests.tables import flat, rows
from webhook.injection import log_detection
from webhook.injection.annotations import RequestedOptions, parse_logs
from webhook.injection.log_detection import has_log_location, probable_log_directory
from webhook.injection.pod import Container

TAIL = CONFIGURATION.profiles["tail"]
EMPTY: dict[str, Any] = {"emptyDir": {}}


def mounting(path: str, source: dict[str, Any] | None = None, **mount: Any) -> tuple[list[Container], dict[str, Any]]:
    """Return a container that mounts a volume, and the pod's volumes."""
    mounts = [{"name": "v", "mountPath": path, **mount}]
    return [container(volumeMounts=mounts)], {"v": {"name": "v", **(EMPTY if source is None else source)}}


Case = tuple[RequestedOptions, dict[str, Any], tuple[list[Container], dict[str, Any]], bool]
NOTHING: tuple[list[Container], dict[str, Any]] = ([], {})


def saying(expected: bool, **options: Any) -> Case:
    """Return the case of a pod that says this."""
    return RequestedOptions(**options), {}, NOTHING, expected


def having(expected: bool, *mounted: Any, **mount: Any) -> Case:
    """Return the case of a pod that mounts this."""
    return RequestedOptions(), {}, mounting(*mounted, **mount), expected


CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}
#: By the row of the table: what the pod says, what the profile says, what is mounted, and whether it has logs.
CASES: dict[str, dict[str, Case]] = {
    "says inject, logs, profile or containers": {
        "nothing": saying(False),
        "inject": saying(True, inject=True),
        "logs": saying(True, logs=parse_logs("/x/*.log")),
        "profile": saying(True, profile="web"),
        "containers": saying(True, containers=("app",)),
        "other keys": saying(False, add_variables=False, run_as_user=5, volume_size_limit="1Gi"),
    },
    "mounts a writable volume around its logs": {
        "at": having(True, "/var/log/app"),
        "above": having(True, "/var/log"),
        "below": having(True, "/var/log/app/today"),
        "beside": having(False, "/var/log/app2"),
        "a claim": having(True, "/var/log/app", CLAIM),
        "the node's": having(False, "/var/log", {"hostPath": {"path": "/var/log"}}),
        "a Secret": having(False, "/var/log/app", {"secret": {"secretName": "s"}}),
        "read-only": having(False, "/var/log/app", readOnly=True),
        "a read-only volume": having(False, "/var/log/app", {"nfs": {"readOnly": True}}),
    },
    "has a profile that reads no logs": {"": (RequestedOptions(), {"logs": ()}, NOTHING, True)},
    "has a profile with injectAll": {"": (RequestedOptions(), {"inject_all": True}, NOTHING, True)},
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(log_detection)


@pytest.mark.parametrize(("options", "profile", "mounted", "expected"), flat(CASES))
def test_where_logs_are_looked_for(
    options: RequestedOptions,
    profile: dict[str, Any],
    mounted: tuple[list[Container], dict[str, Any]],
    *,
    expected: bool,
) -> None:
    """The pod says it by its annotations or by its mounts, or the profile for all pods."""
    assert has_log_location(options, replace(TAIL, **profile), *mounted) is expected


def test_any_folder_of_the_profile_counts() -> None:
    """And any container that would take part."""
    profile = replace(TAIL, logs=parse_logs("/x/*.log,/var/log/app/*.log"))
    containers, volumes = mounting("/var/log/app")
    others, _ = mounting("/y")
    assert has_log_location(RequestedOptions(), profile, [*others, *containers], volumes)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/log/web/", "/var/log/web"),
        ("/data/app-logs", "/data/app-logs"),
        ("/LOG", "/LOG"),
        ("/catalog", ""),
        ("/blog/posts", ""),
        ("/data", ""),
    ],
)
def test_a_folder_is_called_after_logs(path: str, expected: str) -> None:
    """By one word of one of its parts."""
    assert probable_log_directory(*mounting(path)) == expected
