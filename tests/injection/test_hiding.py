"""What a new volume would hide of a container's image."""

from __future__ import annotations

from typing import Any

import pytest

from tests.injection.views import candidate, entry
from webhook.injection.hiding import (
    ensure_no_termination_message,
    ensure_not_system_directory,
    ensure_program_visible,
    warning_if_application_hidden,
)
from webhook.injection.paths import PATH_MAX
from webhook.injection.reasons import NotInjectable, Reason
from webhook.injection.targets import find_targets


@pytest.mark.parametrize(
    "directory",
    [
        *("/etc", "/var", "/usr", "/opt", "/run", "/var/run", "/usr/local/bin", "/etc/ssl/certs"),
        *("/proc/x", "/sys/x", "/dev/x", "/run/secrets", "/var/run/secrets/x", "/"),
    ],
)
def test_nothing_is_mounted_over_what_every_container_needs(directory: str) -> None:
    """Nor below what the kernel, the runtime or the kubelet owns."""
    with pytest.raises(NotInjectable) as declined:
        ensure_not_system_directory(entry(f"{directory.rstrip('/')}/x.log"))
    finding = declined.value.finding
    assert (finding.reason, finding.annotation) == (Reason.SYSTEM_DIRECTORY, "logs")
    assert finding.value == f"{directory.rstrip('/')}/x.log"
    assert finding.message.endswith("write for example /var/log/app/*.log")


@pytest.mark.parametrize(
    "directory", ["/etc/app", "/var/log", "/opt/app", "/run/app", "/usr/local/x", "/tmp", "/home/x"]
)
def test_a_folder_of_ones_own_is_fine(directory: str) -> None:
    """Also inside a system directory."""
    ensure_not_system_directory(entry(f"{directory}/x.log"))


def decline(logs: str, **fields: Any) -> str:
    """Return why no volume can be at the logs' directory in a container with these fields, or nothing."""
    (target,) = find_targets([candidate(**fields)], [entry(logs)])
    try:
        ensure_program_visible(target)
    except NotInjectable as declined:
        finding = declined.finding
        assert (finding.reason, finding.annotation, finding.value) == (Reason.HIDES_PROGRAM, "logs", logs)
        return finding.message
    return ""


RUN = {"exec": {"command": ["/srv/app/check", "/srv/app/x"]}}
HIDDEN: dict[str, tuple[dict[str, Any], str]] = {
    "the command": ({"command": ["/srv/app/run"]}, '"/srv/app/run", the command'),
    "the command, relative": (
        {"command": ["bin/run"], "workingDir": "/srv/app"},
        '"/srv/app", the workingDir',
    ),
    "the command, relative to a folder above": (
        {"command": ["app/run"], "workingDir": "/srv"},
        '"/srv/app/run", the command',
    ),
    "the working directory": ({"workingDir": "/srv/app/x"}, '"/srv/app/x", the workingDir'),
    "the working directory itself": ({"workingDir": "/srv/app/"}, '"/srv/app/", the workingDir'),
    "the working directory, written with dots": ({"workingDir": "/srv/x/../app"}, '"/srv/x/../app", the workingDir'),
    "a liveness probe": ({"livenessProbe": RUN}, '"/srv/app/check", the probe'),
    "a readiness probe": ({"readinessProbe": RUN}, '"/srv/app/check", the probe'),
    "a startup probe": ({"startupProbe": RUN}, '"/srv/app/check", the probe'),
    "a script in a probe": (
        {"livenessProbe": {"exec": {"command": ["/bin/sh", "/srv/app/check.sh"]}}},
        '"/srv/app/check.sh", the probe',
    ),
    "a script in a shell": (
        {"readinessProbe": {"exec": {"command": ["bash", "-c", "/srv/app/check"]}}},
        '"/srv/app/check", the probe',
    ),
    "a script in a hook": (
        {"lifecycle": {"preStop": {"exec": {"command": ["python3", "/srv/app/stop.py"]}}}},
        '"/srv/app/stop.py", the hook',
    ),
    "a hook after the start": ({"lifecycle": {"postStart": RUN}}, '"/srv/app/check", the hook'),
    "a hook before the end": ({"lifecycle": {"preStop": RUN}}, '"/srv/app/check", the hook'),
    "an argument": ({"args": ["--config", "/srv/app/x.conf"]}, '"/srv/app/x.conf", the argument'),
    "an argument in the command": ({"command": ["run", "/srv/app/x"]}, '"/srv/app/x", the argument'),
    "a relative argument": ({"args": ["app/main.py"], "workingDir": "/srv"}, '"/srv/app/main.py", the argument'),
    "an argument of a shell": ({"command": ["sh", "-c", "/srv/app/run"]}, '"/srv/app/run", the argument'),
    "text that is no shell's": ({"command": ["run", "/srv/app/a b"]}, '"/srv/app/a b", the argument'),
}


@pytest.mark.parametrize("row", HIDDEN)
def test_a_volume_hides_nothing_that_a_container_is_told_to_use(row: str) -> None:
    """The message names it, its path and its container."""
    fields, said = HIDDEN[row]
    assert decline("/srv/app/*.log", **fields) == f'would hide {said} of "app"; log elsewhere'


NOT_HIDDEN: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a program elsewhere": {"command": ["/srv/app2/run"]},
    "a program in PATH": {"command": ["app"], "workingDir": "/srv"},
    "a relative program without a folder": {"command": ["app/run"]},
    "a relative probe elsewhere": {
        "workingDir": "/srv",
        "livenessProbe": {"exec": {"command": ["app2/x"]}},
    },
    "a folder above": {"workingDir": "/srv"},
    "a probe that asks over the network": {"livenessProbe": {"httpGet": {"path": "/srv/app/x", "port": 1}}},
    "a file that a probe reads": {"livenessProbe": {"exec": {"command": ["cat", "/srv/app/healthy"]}}},
    "a text of a shell in a probe": {"livenessProbe": {"exec": {"command": ["sh", "-c", "test -e /srv/app/healthy"]}}},
    "a probe without a command": {"livenessProbe": {"exec": {}}, "lifecycle": {"preStop": {"exec": {"command": []}}}},
    "a hook that asks over the network": {"lifecycle": {"preStop": {"httpGet": {"port": 1}}}},
    "the log directory itself": {"args": ["/srv/app"]},
    "a log file": {"args": ["/srv/app/x.log"]},
    "a relative argument without a folder": {"args": ["srv/app/x.py"]},
    "a relative argument that is no file": {"args": ["app/topic"], "workingDir": "/srv"},
    "a relative log file": {"args": ["app/x.log"], "workingDir": "/srv"},
    "a flag with a path": {"args": ["--config=/srv/app/x"]},
    "an empty argument": {"args": [""]},
    "a shell's text": {"command": ["sh", "-c", "/srv/app/run > /srv/app/x"]},
    "a shell's text with flags": {"command": ["bash", "-euc", "/srv/app/run;exit"]},
    "a path that no kernel opens": {"workingDir": "/srv/app/" + "x" * PATH_MAX},
    "what lies in a mount of its own": {
        "command": ["/srv/app/bin/run"],
        "volumeMounts": [{"name": "bin", "mountPath": "/srv/app/bin"}],
    },
}


@pytest.mark.parametrize("row", NOT_HIDDEN)
def test_a_volume_may_be_where_nothing_is_hidden(row: str) -> None:
    """Whatever is certain to lie elsewhere, or is no path for certain."""
    assert decline("/srv/app/*.log", **NOT_HIDDEN[row]) == ""


def test_a_path_as_long_as_the_kernel_takes_is_looked_at() -> None:
    """One more character, and nobody could open it."""
    path = "/srv/app/" + "/".join(["x" * 200] * 30)
    assert decline("/srv/app/*.log", workingDir=path[:PATH_MAX]) != ""
    assert decline("/srv/app/*.log", workingDir=path[: PATH_MAX + 1]) == ""


@pytest.mark.parametrize("field", ["args", "workingDir"])
def test_a_path_longer_than_the_kernel_takes_is_not_compared(field: str) -> None:
    """A path of a hundred thousand folders hides nothing that could be opened."""
    path = "/d" + "/a" * 100_000
    assert decline("/d/*.log", **{field: [path] if field == "args" else path}) == ""


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        pytest.param("/app", "/app; use a directory for logs, such as /app/logs", id="home"),
        pytest.param(
            "/var/log",
            "/var/log; use a directory for logs, such as /var/log/app",
            id="folder of logs",
        ),
        pytest.param(
            "/var/lib/mysql",
            "/var/lib/mysql; use a directory for logs, such as /var/log/app",
            id="data",
        ),
        pytest.param(
            "/opt/" + "x" * 18,
            f"/opt/{'x' * 18}; use a directory for logs, such as /opt/{'x' * 18}/logs",
            id="longest",
        ),
        pytest.param("/opt/" + "x" * 19, f"/opt/{'x' * 19}; use a directory for logs", id="too long"),
        pytest.param("/opt/\u202e", "/opt/\ufffd; use a directory for logs", id="unprintable"),
    ],
)
def test_what_an_image_probably_has_is_worth_a_warning(directory: str, said: str) -> None:
    """It says where to log instead, if that fits a warning."""
    finding = warning_if_application_hidden(directory)
    assert finding is not None
    assert (finding.reason, finding.annotation) == (Reason.HIDES_APPLICATION, "logs")
    assert finding.message == f"hides what the image has in {said}"


def test_a_folder_that_an_image_has_nothing_in_is_worth_none() -> None:
    """Its name says what it is for."""
    assert warning_if_application_hidden("/app/logs") is None


@pytest.mark.parametrize(
    ("path", "logs", "declined"),
    [
        pytest.param("/srv/app", "/srv/app/*.log", True, id="the directory is a file"),
        pytest.param("/srv", "/srv/app/*.log", True, id="a directory above is a file"),
        pytest.param("/srv/app/x.log", "/srv/app/x.log", True, id="the log file"),
        pytest.param("/srv/app/x.log", "/srv/app/*.log", False, id="one of several log files"),
        pytest.param("/srv/app/end", "/srv/app/x.log", False, id="beside the log file"),
        pytest.param("/srv/app2", "/srv/app/*.log", False, id="elsewhere"),
        pytest.param("/dev/termination-log", "/srv/app/*.log", False, id="the default"),
        pytest.param(None, "/srv/app/*.log", False, id="none"),
    ],
)
def test_the_kubelets_own_file_is_no_place_for_logs(path: str | None, logs: str, *, declined: bool) -> None:
    """It mounts a file at terminationMessagePath: a volume can't be there, and what is written there is in none."""
    (target,) = find_targets([candidate(terminationMessagePath=path)], [entry(logs)])
    if not declined:
        ensure_no_termination_message(target)
        return
    with pytest.raises(NotInjectable) as raised:
        ensure_no_termination_message(target)
    assert (raised.value.finding.reason, raised.value.finding.value) == (Reason.UNWRITABLE_VOLUME, logs)
    assert raised.value.finding.message == (
        'the kubelet mounts a file there, the terminationMessagePath of "app"; log elsewhere'
    )
