"""What is wrong with a configuration: each mistake by its path, all of them at once."""

from typing import Any

import pytest

from webhook.configuration.loading import build
from webhook.errors import ConfigurationError
from webhook.injection.profile import Bounds
from webhook.profiles import RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE, builtins

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
        ({"image": "Pillion:1"}, "image: must be an image such as"),
        ({"shippingImage": "Pillion:1"}, "shippingImage: must be an image such as"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy: must be Always or IfNotPresent or Never"),
        (profile(sidecar={"image": "<imge>"}), "profiles.own.sidecar.image: must be an image such as"),
        ({"defaultProfile": "tial"}, "defaultProfile: 'tial' does not exist; did you mean tail?"),
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
        *(
            (
                profile(logsMountPath=path),
                f"profiles.own.logsMountPath: nothing can be mounted at {path}; choose another directory",
            )
            for path in ("/proc/x", "/sys", "/dev/shm", "/etc", "/etc/hosts", "/usr/bin", "/run/secrets/x")
        ),
        *(
            (document, f"profiles.own.{where}: {wrong}")
            for path, wrong in (
                ("/logs/*.log", "is a directory and no pattern: it has a *; write /logs"),
                ("/srv/logs/**", "is a directory and no pattern: it has a *; write /srv/logs"),
                ("/lo?gs", "is a directory and no pattern: it has a ?; write the whole path"),
                ("/logs/{a,b}", "is a directory and no pattern: it has a {; write /logs"),
                ("/logs/$(POD_NAME)", "is a path in which nothing is filled in: it has a $; write /logs"),
                ("/a:b", "can't be mounted: it has a :; write the whole path"),
                ("/logs ", "has a blank at its end, or a control character; write it without, is '/logs '"),
                ("/logs/..", "must be an absolute path of a directory, is '/logs/..'"),
                ("/a/../b", "must not have .."),
                ("//", "must be an absolute path of a directory, is '//'"),
                (f"/{'a' * 256}", "has a part longer than 255 bytes"),
            )
            for where, document in (
                ("logsMountPath", profile(logsMountPath=path)),
                ("reservedPaths[0]", profile(reservedPaths=[path])),
            )
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
        (
            profile(patch=[{"op": "remove", "path": "/stdin"}] * 257),
            "profiles.own.patch: has 257 operations; 256 are allowed",
        ),
        (profile(volumes=[{"name": "a"}, {"name": "a"}]), "profiles.own.volumes[1].name: a is there twice"),
        (profile(volumes=[{"name": "a" * 56}]), "profiles.own.volumes[0].name: must be a name of lower-case letters"),
        (profile(volumes=[{"name": "no-token"}]), "profiles.own.volumes[0].name: no-token is a name that Pillion uses"),
        (profile(logsMountPath="/proc/x"), "profiles.own.logsMountPath: nothing can be mounted at /proc/x"),
        (
            profile(logsMountPath="/srv", sidecar={"workingDir": "/srv/tool/run"}),
            "profiles.own.logsMountPath: /srv lies around workingDir, which can't be made in it; choose another",
        ),
        (
            profile(sidecar={"terminationMessagePath": "/pillion/logs/x"}),
            "profiles.own.sidecar.terminationMessagePath: /pillion/logs/x collides with /pillion/logs",
        ),
        (profile(bounds={"memory-limit": {"max": "1Mi"}}), "profiles.own.bounds.memory-limit.max: must be 4Mi or more"),
        (
            profile(logs=[f"/srv/{number}/x.log" for number in range(17)]),
            "profiles.own.logs: has 17 directories; 16 are allowed",
        ),
        (
            profile(sidecar={"env": [{"name": "X", "value": "<nosuch>"}]}),
            "profiles.own.sidecar.env[0]: <nosuch> is no placeholder; known: <log-files>",
        ),
        (
            profile(sidecar={"args": ["a", "x <native>"]}),
            "profiles.own.sidecar.args[1]: <native> is filled in only where it stands alone",
        ),
        (
            profile(
                sidecar={
                    "env": [
                        {
                            "name": "X",
                            "valueFrom": {"resourceFieldRef": {"containerName": "a", "resource": "limits.cpu"}},
                        }
                    ]
                }
            ),
            "profiles.own.sidecar.env[0].valueFrom.resourceFieldRef: must be left out: it is the sidecar",
        ),
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


@pytest.mark.parametrize("path", ["/logs/", "//logs", "/./logs"])
def test_a_fixed_place_is_normalised(path: str) -> None:
    """A trailing slash is no part of what the sidecar reads."""
    assert build(profile(logsMountPath=path), BUILTINS).profiles["own"].logs_mount_path == "/logs"


def test_an_nfs_export_may_be_the_root() -> None:
    """The server's root is a path that can be mounted, a relative one is none."""
    volume = {"name": "share", "nfs": {"server": "files", "path": "/"}}
    assert build(profile(volumes=[volume]), BUILTINS).profiles["own"].volumes
    volume["nfs"] = {"server": "files", "path": "x"}
    assert problems(profile(volumes=[volume])) == ["profiles.own.volumes[0].nfs.path: must be an absolute path"]


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


def test_a_profiles_image_can_be_the_configurations() -> None:
    """It has the configuration's pull policy, unless the profile says another."""
    document = {"image": "mirror.example.com/pillion:1", "imagePullPolicy": "Never"}
    own = build({**document, **profile(sidecar={"image": "<image>"})}, BUILTINS).profiles["own"]
    assert (own.container["image"], own.container["imagePullPolicy"]) == ("mirror.example.com/pillion:1", "Never")
    sidecar = {"image": "<image>", "imagePullPolicy": "Always"}
    own = build({**document, **profile(sidecar=sidecar)}, BUILTINS).profiles["own"]
    assert (own.container["image"], own.container["imagePullPolicy"]) == ("mirror.example.com/pillion:1", "Always")
    own = build({**document, **profile()}, BUILTINS).profiles["own"]
    assert (own.container["image"], own.container.get("imagePullPolicy")) == ("busybox", None)


def test_the_configurations_image_is_by_default_the_released_one() -> None:
    """Offline nobody says another; when it is pulled is then left to Kubernetes."""
    own = build(profile(sidecar={"image": "<image>"}), BUILTINS).profiles["own"]
    assert (own.container["image"], own.container.get("imagePullPolicy")) == (RELEASED_IMAGE, None)


def test_the_image_that_ships_is_another_one() -> None:
    """With the same pull policy, and the one that is released by default."""
    written = profile(sidecar={"image": "<shipping-image>"})
    document = {"image": "a:1", "shippingImage": "b:1", "imagePullPolicy": "Never", **written}
    own = build(document, BUILTINS).profiles["own"]
    assert (own.container["image"], own.container["imagePullPolicy"]) == ("b:1", "Never")
    assert build(written, BUILTINS).profiles["own"].container["image"] == RELEASED_SHIPPING_IMAGE


def test_the_profiles_that_ship_differ_in_the_protocol_alone() -> None:
    """What is true of the one is true of the other."""
    one, other = builtins()["elasticsearch"], builtins()["otlp"]
    different = [key for key in one if one[key] != other[key]]
    assert different == ["description", "sidecar", "required"]
    assert {key for key in one["sidecar"] if one["sidecar"][key] != other["sidecar"][key]} == {"env"}
    assert [
        pair[0]["name"]
        for pair in zip(one["sidecar"]["env"], other["sidecar"]["env"], strict=True)
        if pair[0] != pair[1]
    ] == ["PILLION_TO"]


def test_another_image_is_no_other_profile() -> None:
    """A pod's status shows the profile's revision, its sidecar the image: people see which of the two is old."""
    written = profile(sidecar={"image": "<image>"})
    one, other = (build({"image": f"pillion:{tag}", **written}, BUILTINS) for tag in (1, 2))
    assert one.profiles["own"].revision == other.profiles["own"].revision


def test_null_removes_what_the_base_has() -> None:
    """RFC 7386."""
    own = build(profile(sidecar={"env": None}), BUILTINS).profiles["own"]
    assert own.env == ()


def test_cpu_and_memory_are_always_requested_and_memory_is_always_limited() -> None:
    """A sidecar without requests breaks an HPA; one without a memory limit can starve a node."""
    own = build(profile(sidecar={"resources": {"requests": {"memory": "1Gi"}}}), BUILTINS).profiles["own"]
    assert own.usual_resources == {"requests": {"memory": "1Gi", "cpu": "10m"}, "limits": {"memory": "1Gi"}}


def test_host_paths_need_a_setting() -> None:
    """With it they are as good as any other volume."""
    document = {"allowHostPath": True, **profile(volumes=[{"name": "h", "hostPath": {"path": "/var/log"}}])}
    assert build(document, BUILTINS).profiles["own"].volumes[1]["hostPath"] == {"path": "/var/log"}


def test_bounds_are_kept_as_text() -> None:
    """A number is a quantity too."""
    own = build(profile(bounds={"cpu-limit": {"min": 1, "max": "2"}}), BUILTINS).profiles["own"]
    assert own.bounds["cpu-limit"] == Bounds("1", "2")


@pytest.mark.parametrize(
    ("written", "requests", "limits"),
    [
        pytest.param({}, ("10m", "32Mi", "10Mi"), (None, "64Mi", "1Gi"), id="nothing"),
        pytest.param(
            {"requests": {"memory": "128Mi", "ephemeral-storage": "2Gi", "cpu": 1}},
            ("1", "128Mi", "2Gi"),
            (None, "128Mi", "2Gi"),
            id="larger requests",
        ),
        pytest.param(
            {"limits": {"cpu": "5m", "memory": "16Mi", "ephemeral-storage": "5Mi"}},
            ("5m", "16Mi", "5Mi"),
            ("5m", "16Mi", "5Mi"),
            id="smaller limits",
        ),
        pytest.param(
            {"limits": {"cpu": "10m", "memory": "65536Ki"}},
            ("10m", "32Mi", "10Mi"),
            ("10m", "65536Ki", "1Gi"),
            id="limits beyond the requests",
        ),
    ],
)
def test_a_sidecar_has_requests_and_a_memory_limit(
    written: dict[str, Any], requests: tuple[str, ...], limits: tuple[str | None, ...]
) -> None:
    """What is not written fits what is."""
    own = build(profile(sidecar={"resources": written}), BUILTINS).profiles["own"]
    keys = ("cpu", "memory", "ephemeral-storage")
    assert tuple(own.requests.get(key) for key in keys) == requests
    assert tuple(own.limits.get(key) for key in keys) == limits


@pytest.mark.parametrize(
    ("bounds", "least"),
    [({}, "4Mi"), ({"max": "1Gi"}, "4Mi"), ({"min": "1Mi"}, "4Mi"), ({"min": "8Mi"}, "8Mi"), ({"max": "4Mi"}, "4Mi")],
    ids=str,
)
def test_no_annotation_may_ask_for_less_memory_than_a_program_starts_with(bounds: dict[str, str], least: str) -> None:
    """Whatever the profile's bounds are; a larger one is kept."""
    own = build(profile(bounds={"memory-limit": bounds}), BUILTINS).profiles["own"]
    assert own.bounds["memory-limit"] == Bounds(least, bounds.get("max"))


@pytest.mark.parametrize(
    ("variable", "lacks"),
    [
        ({"name": "ADDRESS", "value": "x"}, False),
        ({"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, False),
        ({"name": "ADDRESS", "value": ""}, True),
        ({"name": "OTHER", "value": "x"}, True),
    ],
    ids=str,
)
def test_what_a_profile_requires_is_there(variable: dict[str, Any], *, lacks: bool) -> None:
    """A variable with a value, or one from elsewhere."""
    document = {"profiles": {"store": {"sidecar": {"env": [variable]}}}}
    if lacks:
        assert problems(document) == ["profiles.store: set sidecar.env ADDRESS: the store's address"]
        return
    assert build(document, BUILTINS).profiles["store"].setup_steps == ()


@pytest.mark.parametrize("volumes", [[], [{"name": "more", "secret": {"secretName": "x"}}]], ids=["own", "more"])
def test_a_profile_knows_where_no_logs_may_be_mounted(volumes: list[Any]) -> None:
    """Its reserved paths, its own mounts, and where its last words go."""
    mounts = [{"name": one["name"], "mountPath": "/more", "readOnly": True} for one in volumes]
    sidecar = {"terminationMessagePath": "/last/words", "volumeMounts": mounts}
    own = build(profile(reservedPaths=["/opt/tool"], sidecar=sidecar, volumes=volumes), BUILTINS).profiles["own"]
    found = [
        path
        for path in ("/opt/tool/x", "/state", "/last", "/more", "/srv")
        if own.reserved_directories.any_overlapping(path)
    ]
    assert found == ["/opt/tool/x", "/state", "/last", *(["/more"] if volumes else [])]


@pytest.mark.parametrize(
    ("sidecar", "kept_off"),
    [
        pytest.param({"command": ["/srv/tool/run", "/x/y/z"]}, ["/srv", "/srv/tool"], id="program"),
        pytest.param({"command": ["run"]}, [], id="a program in PATH"),
        pytest.param(
            {"startupProbe": {"exec": {"command": ["/srv/tool/check"]}}}, ["/srv", "/srv/tool"], id="a probe's program"
        ),
        pytest.param(
            {"lifecycle": {"postStart": {"exec": {"command": ["/srv/tool/x"]}}, "preStop": {"sleep": {"seconds": 1}}}},
            ["/srv", "/srv/tool"],
            id="a hook's program",
        ),
        pytest.param({"workingDir": "/srv/x/../tool/run/"}, ["/srv", "/srv/tool"], id="working directory"),
        pytest.param({"workingDir": "/"}, [], id="the root"),
        pytest.param({"workingDir": "/srv"}, [], id="a directory in the root"),
    ],
)
def test_no_logs_are_mounted_around_what_a_profile_runs(sidecar: dict[str, Any], kept_off: list[str]) -> None:
    """They would hide the program, and the runtime can't make a directory in what is read-only."""
    own = build(profile(sidecar=sidecar), BUILTINS).profiles["own"]
    paths = ("/srv", "/srv/tool", "/srv/tool/run", "/srv/tool/run/logs", "/srv/tool2", "/x/y")
    assert [path for path in paths if own.directories_in_use.any_at_or_below(path)] == kept_off


def test_a_built_in_that_lacks_something_is_a_note() -> None:
    """Nobody has to set up what nobody uses."""
    configuration = build(None, BUILTINS)
    assert configuration.log_messages == ("profile store: set sidecar.env ADDRESS: the store's address",)


def test_the_revision_changes_with_the_content_only() -> None:
    """The order of keys is no content."""
    one = build({"profiles": {"own": {"base": "tail", "native": False}}}, BUILTINS)
    same = build({"profiles": {"own": {"native": False, "base": "tail"}}, "strict": True}, BUILTINS)
    other = build(profile(native=True), BUILTINS)
    assert one.revisions == same.revisions
    assert one.profiles["own"].revision != other.profiles["own"].revision


def test_a_secret_that_an_operator_names_reaches_the_sidecar() -> None:
    """Its name and key: without them the API server refuses the pod."""
    reference = {"secretKeyRef": {"name": "store", "key": "token", "optional": True}}
    profile = {"base": "tail", "sidecar": {"env": [{"name": "TOKEN", "valueFrom": reference}]}}
    variable = build({"profiles": {"own": profile}}, builtins()).profiles["own"].env[-1]
    assert variable.valueFrom is not None
    assert variable.valueFrom.secretKeyRef == reference["secretKeyRef"]


def test_null_takes_a_default_of_the_security_context_away() -> None:
    """It reaches the profile as None, whether the base has the key or not."""
    profile = {
        "base": "tail",
        "sidecar": {"securityContext": {"runAsUser": None, "runAsGroup": None, "privileged": False}},
    }
    made = build({"profiles": {"own": profile}}, builtins()).profiles["own"]
    assert made.security_context == {"runAsUser": None, "runAsGroup": None, "privileged": False}
