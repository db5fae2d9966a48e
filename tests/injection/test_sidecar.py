"""The container that is added: a profile filled in for one pod."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION, all_containers, patched, verdict_on
from tests.injection.views import candidate, entry, spec
from webhook.configuration.loading import build as configured
from webhook.injection import sidecar
from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import EnvVar
from webhook.injection.profile import TOKEN_PATH, Configuration, Profile
from webhook.injection.reasons import Finding, Reason
from webhook.injection.volumes import plan_volumes
from webhook.profiles import builtins

TAIL = CONFIGURATION.profiles["tail"]
DATA = {"data": {"name": "data", "emptyDir": {}}}


def built(
    profile: Profile = TAIL, logs: str = "/srv/*.log", mounts: Any = (), **fields: Any
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the sidecar for a pod of one container with these mounts, and what is found; ``fields`` are its spec's."""
    app = candidate(volumeMounts=list(mounts))
    made = plan_volumes([app], [entry(logs)], DATA, profile, read_host_paths=True)
    pod = spec(containers=[{"name": "app"}], **fields)
    findings: list[Finding] = []
    options = RequestedOptions()
    return sidecar.build(pod, profile, options, [app], made, findings=findings, volume_size_limit=None), findings


def log_mounts(container: dict[str, Any]) -> list[dict[str, Any]]:
    """Return where the container has logs."""
    return [mount for mount in container["volumeMounts"] if mount["name"] in ("data", "pillion-logs-1")]


def test_command_and_arguments_are_filled_in() -> None:
    """Each placeholder becomes one item a file, folder or volume, without repeats; Kubernetes fills in nothing more."""
    args = ("--", "<log-files>", "<log-volumes>", "<log-mounts>", "end")
    profile = replace(TAIL, command=("run", "<log-directories>"), args=args)
    container, _ = built(profile, "/srv/$$x/*.log", [{"name": "data", "mountPath": "/srv"}])
    assert container["command"] == ["run", "/srv/$$$x"]
    assert container["args"] == ["--", "/srv/$$$x/*.log", "data", "/srv", "end"]


def test_a_profile_without_command_and_arguments_leaves_them_to_the_image() -> None:
    """An empty list would take the image's own away."""
    container, _ = built(replace(TAIL, command=(), args=()))
    assert {"command", "args"} & container.keys() == set()


def test_a_file_that_is_mounted_by_itself_is_its_own_folder() -> None:
    """There is no folder of its own to show."""
    profile = replace(TAIL, args=("<log-directories>", "<log-files>"))
    container, _ = built(
        profile, "/srv/x.log", [{"name": "data", "mountPath": "/srv/x.log", "subPath": "x"}], initContainers=[]
    )
    assert container["args"] == ["/srv/x.log", "/srv/x.log"]


def test_a_variable_is_filled_with_a_list() -> None:
    """As JSON, with each file once."""
    profile = replace(TAIL, env=(EnvVar("FILES", "<log-files>"), EnvVar("PLAIN", "log-files")))
    container, _ = built(profile, "/srv/$$é/*.log", [{"name": "data", "mountPath": "/srv"}])
    values = {variable.name: variable.value for variable in container["env"]}
    assert values["FILES"] == '["/srv/$$$é/*.log"]'
    assert values["PLAIN"] == "log-files"


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param({"subPath": "a"}, {"subPath": "a"}, id="subPath"),
        pytest.param({"subPathExpr": "$(POD_NAME)"}, {"subPathExpr": "$(POD_NAME)"}, id="subPathExpr"),
        pytest.param({"mountPropagation": "None"}, {}, id="no propagation"),
        pytest.param(
            {"mountPropagation": "Bidirectional"}, {"mountPropagation": "HostToContainer"}, id="both directions"
        ),
        pytest.param(
            {"mountPropagation": "HostToContainer"}, {"mountPropagation": "HostToContainer"}, id="from the node"
        ),
        pytest.param({"readOnly": False}, {}, id="writable"),
    ],
)
def test_a_place_is_mounted_as_the_container_mounts_it(mount: dict[str, Any], expected: dict[str, Any]) -> None:
    """Read-only, with its folder of the volume; what the sidecar mounts reaches no node."""
    app = candidate(
        volumeMounts=[{"name": "data", "mountPath": "/srv", **mount}],
        env=[{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )
    made = plan_volumes([app], [entry("/srv/*.log")], DATA, TAIL, read_host_paths=True)
    container = sidecar.build(
        spec(containers=[{"name": "app"}]), TAIL, RequestedOptions(), [app], made, findings=[], volume_size_limit=None
    )
    assert log_mounts(container) == [{"name": "data", "mountPath": "/srv", "readOnly": True, **expected}]


def test_mounts_that_another_container_makes_are_seen() -> None:
    """The application may start after they are made and need no propagation; the sidecar starts before."""
    fuse = {
        "name": "fuse",
        "volumeMounts": [{"name": "data", "mountPath": "/fuse", "mountPropagation": "Bidirectional"}],
    }
    mounts = [{"name": "data", "mountPath": "/srv"}]
    container, _ = built(mounts=mounts, initContainers=[fuse])
    assert [mount.get("mountPropagation") for mount in log_mounts(container)] == ["HostToContainer"]
    container, _ = built(mounts=mounts, initContainers=[{**fuse, "volumeMounts": []}])
    assert [mount.get("mountPropagation") for mount in log_mounts(container)] == [None]


@pytest.mark.parametrize(
    ("wanted", "of_pod", "masked"),
    [(False, None, True), (False, True, True), (False, False, False), (True, None, False), (True, True, False)],
)
def test_an_empty_volume_is_where_the_token_would_be(*, wanted: bool, of_pod: bool | None, masked: bool) -> None:
    """Unless the profile wants the token, or the pod gives it to nobody."""
    profile = replace(TAIL, service_account_token=wanted)
    container, _ = built(profile, automountServiceAccountToken=of_pod)
    token = {"name": "pillion-no-token", "mountPath": TOKEN_PATH, "readOnly": True}
    assert (token in container["volumeMounts"]) is masked
    assert sidecar.hides_token(spec(automountServiceAccountToken=of_pod), profile) is masked


def test_a_pod_with_resources_for_all_containers_keeps_them() -> None:
    """The sidecar has none of its own then."""
    assert "resources" not in built(resources={"limits": {"cpu": "1"}})[0]
    assert built()[0]["resources"] == TAIL.usual_resources


def test_the_user_is_one_of_those_that_write() -> None:
    """Neither a container that takes no part nor one that writes no log counts."""
    users = {"writer": 1, "idle": 2, "stranger": 3}
    mounts = {name: [{"name": "data", "mountPath": "/srv"}] if name != "idle" else [] for name in users}
    items = [
        candidate(name, selected=name != "stranger", securityContext={"runAsUser": user}, volumeMounts=mounts[name])
        for name, user in reversed(users.items())
    ]
    made = plan_volumes(items, [entry("writer:/srv/*.log")], DATA, TAIL, read_host_paths=True)
    pod = spec(containers=[{"name": name} for name in users])
    findings: list[Finding] = []
    container = sidecar.build(pod, TAIL, RequestedOptions(), items, made, findings=findings, volume_size_limit=None)
    assert container["securityContext"]["runAsUser"] == 1
    assert findings == []


def shop(configuration: Configuration, **annotations: str) -> Any:
    """Return a pod and the verdict on it."""
    keys = {"inject": "true", **annotations}
    pod = {
        "metadata": {"name": "shop", "annotations": {f"pillion.dev/{key}": value for key, value in keys.items()}},
        "spec": {"containers": [{"name": "shop", "image": "shop"}]},
    }
    return pod, verdict_on(pod, configuration)


def with_patch(*patch: dict[str, Any]) -> Configuration:
    """Return a configuration whose default profile has a patch."""
    own = {"base": "tail", "patch": list(patch)}
    return configured({"defaultProfile": "own", "profiles": {"own": own}}, builtins())


def test_a_patch_that_would_make_a_sidecar_that_cant_start_is_not_applied() -> None:
    """What it makes depends on the pod: here a second mount at the path of the logs."""
    mount = {"name": "pillion-state", "mountPath": "/srv/shop"}
    configuration = with_patch({"op": "add", "path": "/volumeMounts/-", "value": mount})
    assert shop(configuration)[1].injected
    _, verdict = shop(configuration, logs="/srv/shop/*.log")
    assert verdict.reason is Reason.PROFILE_PATCH
    assert verdict.warnings == [
        'not injected: the patch of profile "own" makes a sidecar that can\'t start; ask your operator'
    ]


def test_a_patch_is_on_the_finished_sidecar() -> None:
    """Also on what was filled in for the pod."""
    pod, verdict = shop(with_patch({"op": "replace", "path": "/args/0", "value": "/x"}))
    assert all_containers(patched(pod, verdict))[-1]["args"] == ["/x"]


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        pytest.param({"op": "remove", "path": "/lifecycle"}, "does not fit its sidecar", id="of what is not there"),
        pytest.param({"op": "add", "path": "/args/x", "value": "a"}, "does not fit its sidecar", id="of a wrong type"),
        pytest.param(
            {"op": "replace", "path": "/name", "value": "a"},
            "changes the sidecar's name",
            id="of the name",
        ),
        pytest.param(
            {"op": "remove", "path": "/restartPolicy"},
            "changes the sidecar's name",
            id="of the restart policy",
        ),
        pytest.param({"op": "add", "path": "/securityContext", "value": []}, "can't start", id="to a list"),
        pytest.param(
            {"op": "add", "path": "/volumeMounts/0/name", "value": "mine"}, "can't start", id="to another volume"
        ),
    ],
)
def test_a_patch_that_fits_no_sidecar_is_not_applied(operation: dict[str, Any], said: str) -> None:
    """The pod is left alone, with a reason, whatever the patch makes."""
    profile = replace(TAIL, patch=(operation,))
    _, verdict = shop(replace(CONFIGURATION, profiles={"tail": profile}))
    assert verdict.error is None
    assert verdict.reason is Reason.PROFILE_PATCH
    assert said in verdict.warnings[0]


def test_a_patch_can_make_the_sidecar_root_only_where_the_pod_lets_it() -> None:
    """The kubelet compares the finished container with the pod."""
    operations = (
        {"op": "replace", "path": "/securityContext/runAsUser", "value": 0},
        {"op": "remove", "path": "/securityContext/runAsNonRoot"},
    )
    configuration = replace(CONFIGURATION, profiles={"tail": replace(TAIL, patch=operations)})
    pod, verdict = shop(configuration)
    assert verdict.injected
    pod["spec"]["securityContext"] = {"runAsNonRoot": True}
    assert verdict_on(pod, configuration).reason is Reason.ROOT_UNDER_NON_ROOT


def test_a_patch_may_use_every_volume_of_the_sidecar() -> None:
    """The profile's, the logs', and the one that masks the token."""
    mounts = [
        {"name": name, "mountPath": f"/again/{name}", "readOnly": True}
        for name in ("pillion-logs-1", "pillion-no-token", *(volume["name"] for volume in TAIL.volumes))
    ]
    operations = tuple({"op": "add", "path": "/volumeMounts/-", "value": mount} for mount in mounts)
    _, verdict = shop(replace(CONFIGURATION, profiles={"tail": replace(TAIL, patch=operations)}))
    assert verdict.injected
