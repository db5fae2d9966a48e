"""What is wrong with a configuration: each mistake by its path, all of them at once."""

from typing import Any

import pytest

from webhook.configuration.loading import build
from webhook.errors import ConfigurationError
from webhook.injection.profile import Bound

BUILTINS: dict[str, Any] = {
    "tail": {
        "sidecar": {
            "image": "busybox",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "volumeMounts": [{"name": "state", "mountPath": "/state"}],
        },
        "volumes": [{"name": "state", "emptyDir": {}}],
    },
    "store": {"sidecar": {"image": "shipper"}, "required": {"ADDRESS": "the store's address"}},
}


def problems(document: Any, **settings: Any) -> list[str]:
    """Return what is wrong with a document."""
    with pytest.raises(ConfigurationError) as raised:
        build(document, BUILTINS, **settings)
    return [str(problem) for problem in raised.value.problems]


def profile(**fields: Any) -> dict[str, Any]:
    """Return a configuration with one profile."""
    return {"profiles": {"own": {"base": "tail", **fields}}}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "configuration: must be a mapping, is a list"),
        ({"strict": "yes"}, "strict: must be true or false, is text"),
        ({"nosuch": 1}, "nosuch: is unknown; known here: defaultProfile"),
        ({"defaultProfile": "tial"}, "defaultProfile: 'tial' is no profile; did you mean tail?"),
        ({"profiles": {"Own": {"base": "tail"}}}, "profiles.Own: the name must be of lower-case letters"),
        ({"profiles": {"own": "tail"}}, "profiles.own: must be a mapping, is text"),
        ({"profiles": {"own": {"base": "nosuch"}}}, "profiles.own.base: 'nosuch' is no built-in profile"),
        ({"profiles": {"own": {}}}, "profiles.own.sidecar.image: is missing"),
        ({"profiles": {"store": {}}}, "profiles.store: set sidecar.env ADDRESS: the store's address"),
        (profile(order="middle"), "profiles.own.order: must be first or last, is 'middle'"),
        (profile(native=1), "profiles.own.native: must be true or false, is a number"),
        (profile(guaranteedCpu="0"), "profiles.own.guaranteedCpu: must be a quantity above 0"),
        (profile(logs=["x.log"]), 'profiles.own.logs[0]: "x.log": must begin with /'),
        (profile(logs=["app:/x/y.log"]), "profiles.own.logs[0]: a profile can't name a container"),
        (profile(logsMountPath="logs"), "profiles.own.logsMountPath: must be an absolute path of a directory"),
        (
            profile(logsMountPath="/run/secrets"),
            "profiles.own.logsMountPath: /run/secrets collides with /var/run/secrets/kubernetes.io/serviceaccount",
        ),
        (profile(reservedPaths=["/"]), "profiles.own.reservedPaths[0]: must be an absolute path of a directory"),
        (profile(reservedPaths=["/pillion"]), "profiles.own.reservedPaths[0]: /pillion collides with /pillion/logs"),
        (profile(volume={"sizeLimit": "0"}), "profiles.own.volume.sizeLimit: must be a quantity above 0"),
        (profile(volume={"medium": "Memory"}), "profiles.own.volume.sizeLimit: is needed with medium Memory"),
        (profile(volume={"medium": "Disk"}), "profiles.own.volume.medium: must be empty or Memory, is 'Disk'"),
        (profile(volume={"size": "1Gi"}), "profiles.own.volume.size: is unknown; did you mean sizeLimit?"),
        (profile(volumes=[{"emptyDir": {}}]), "profiles.own.volumes[0].name: must be a name of lower-case letters"),
        (
            profile(volumes=[{"name": "logs-1"}]),
            "profiles.own.volumes[0].name: logs-1 is a name that Pillion uses itself",
        ),
        (
            profile(volumes=[{"name": "h", "hostPath": {"path": "/"}}]),
            "profiles.own.volumes[0].hostPath: is not allowed",
        ),
        (profile(bounds={"cpu": {}}), "profiles.own.bounds.cpu: is unknown; known here: cpu-request"),
        (profile(bounds={"cpu-limit": {"min": "x"}}), "profiles.own.bounds.cpu-limit.min: must be a quantity above 0"),
        (profile(bounds={"cpu-limit": {"min": 2, "max": 1}}), "profiles.own.bounds.cpu-limit: min 2 is above max 1"),
        (profile(patch=[{"op": "nosuch", "path": "/x"}]), "profiles.own.patch[0].op: must be add or remove"),
        (profile(patch=[{"op": "add", "path": "x", "value": 1}]), "profiles.own.patch[0].path: must be a JSON pointer"),
        (profile(patch=[{"op": "remove", "path": "/name"}]), "profiles.own.patch[0].path: /name can't be changed"),
        (profile(sidecar={"image": 5}), "profiles.own.sidecar.image: must be text, is a number"),
        (profile(sidecar={"name": "x"}), "profiles.own.sidecar.name: is unknown; known here: image"),
        (profile(sidecar={"args": ["<log-fils>"]}), "profiles.own.sidecar.args[0]: <log-fils> is no placeholder"),
        (
            profile(sidecar={"env": [{"value": "x"}]}),
            "profiles.own.sidecar.env[0]: has no name; add it",
        ),
        (
            profile(sidecar={"env": [{"name": "X", "value": "1", "valueFrom": {}}]}),
            "profiles.own.sidecar.env[0]: has both value and valueFrom",
        ),
        (
            profile(sidecar={"env": [{"name": "A=B"}]}),
            "profiles.own.sidecar.env[0].name: must be the name of a variable",
        ),
        (
            profile(sidecar={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
            "profiles.own.sidecar.resources.requests.cpu: 2 is above the limit 1",
        ),
        (
            profile(sidecar={"resources": {"limits": {"memory": "much"}}}),
            "profiles.own.sidecar.resources.limits.memory: must be a quantity above 0",
        ),
        (
            profile(sidecar={"volumeMounts": [{"name": "nosuch", "mountPath": "/x"}]}),
            "profiles.own.sidecar.volumeMounts[0].name: 'nosuch' is none of the profile's volumes",
        ),
        (
            profile(sidecar={"volumeMounts": [{"name": "state", "mountPath": "x:y"}]}),
            "profiles.own.sidecar.volumeMounts[0].mountPath: must be an absolute path without a colon",
        ),
        (
            profile(sidecar={"volumeMounts": [{"name": "state", "mountPath": "/state/"}]}),
            "profiles.own.sidecar.volumeMounts[0].mountPath: /state/ is mounted twice",
        ),
    ],
    ids=str,
)
def test_a_mistake_is_named_by_its_path(document: Any, expected: str) -> None:
    """What is wrong, where, and what to write instead."""
    assert any(problem.startswith(expected) for problem in problems(document)), problems(document)


def test_no_mistake_hides_another() -> None:
    """All of them are reported at once."""
    document = {"strict": 1, "profiles": {"a": {"order": "x"}, "b": {"base": "tail", "native": "x"}}}
    paths = [problem.partition(":")[0] for problem in problems(document)]
    assert paths == ["strict", "profiles.a.order", "profiles.a.sidecar.image", "profiles.b.native"]


def test_a_prefix_is_a_dns_name_and_a_slash() -> None:
    """It becomes the beginning of annotation keys."""
    assert problems(None, prefix="pillion.dev")[0].startswith("prefix: must be a DNS name and a slash")


def test_a_profile_is_applied_to_its_base() -> None:
    """Mappings are merged, lists of named things by their names, null removes."""
    own = build(
        profile(
            sidecar={"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}], "imagePullPolicy": "Always"},
            volumes=[{"name": "more", "emptyDir": {}}],
        ),
        BUILTINS,
    ).profiles["own"]
    assert [(variable.name, variable.value) for variable in own.env] == [("A", "1"), ("B", "3"), ("C", "4")]
    assert [volume["name"] for volume in own.volumes] == ["pillion-state", "pillion-more"]
    assert [mount["mountPath"] for mount in own.mounts] == ["/state"]
    assert own.container["imagePullPolicy"] == "Always"


@pytest.mark.parametrize("native", [True, False])
def test_a_profile_can_say_whether_it_is_native(native: bool) -> None:
    """It is the same for each pod, in any list item and variable."""
    words = ["a", "<native>"]
    sidecar = {"command": words, "args": words, "env": [{"name": "NATIVE", "value": "<native>"}]}
    own = build(profile(native=native, sidecar=sidecar), BUILTINS).profiles["own"]
    said = str(native).lower()
    assert own.command == own.args == ("a", said)
    assert [variable.value for variable in own.env if variable.name == "NATIVE"] == [said]


def test_null_removes_what_the_base_has() -> None:
    """RFC 7386."""
    own = build(profile(sidecar={"env": None}), BUILTINS).profiles["own"]
    assert own.env == ()


def test_cpu_and_memory_are_always_requested_and_memory_is_always_limited() -> None:
    """A sidecar without requests breaks an HPA; one without a memory limit can starve a node."""
    own = build(profile(sidecar={"resources": {"requests": {"memory": "1Gi"}}}), BUILTINS).profiles["own"]
    assert own.resources == {"requests": {"memory": "1Gi", "cpu": "10m"}, "limits": {"memory": "1Gi"}}


def test_host_paths_need_a_setting() -> None:
    """With it they are as good as any other volume."""
    document = {"allowHostPath": True, **profile(volumes=[{"name": "h", "hostPath": {"path": "/var/log"}}])}
    assert build(document, BUILTINS).profiles["own"].volumes[1]["hostPath"] == {"path": "/var/log"}


def test_bounds_are_kept_as_text() -> None:
    """A number is a quantity too."""
    own = build(profile(bounds={"cpu-limit": {"min": 1, "max": "2"}}), BUILTINS).profiles["own"]
    assert own.bounds["cpu-limit"] == Bound("1", "2")


def test_a_built_in_that_lacks_something_is_a_note() -> None:
    """Nobody has to set up what nobody uses."""
    configuration = build(None, BUILTINS)
    assert configuration.notes == ("profile store: set sidecar.env ADDRESS: the store's address",)


def test_the_revision_changes_with_the_content_only() -> None:
    """The order of keys is no content."""
    one = build({"strict": True, "profiles": {"own": {"base": "tail", "native": False}}}, BUILTINS)
    same = build({"profiles": {"own": {"native": False, "base": "tail"}}, "strict": True}, BUILTINS)
    other = build(profile(native=True), BUILTINS)
    assert one.revision == same.revision != other.revision
    assert one.profiles["own"].revision != other.profiles["own"].revision
