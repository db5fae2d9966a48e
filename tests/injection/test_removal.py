"""What takes an injection out of a pod again, and what stays."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpointer import JsonPointer

from tests.goldens import CASES, Case
from tests.injection.reviews import CONFIGURATION, all_containers, verdict_on
from tests.strategies import many, pods, ragged
from tests.tables import rows
from webhook.configuration import load
from webhook.injection import removal
from webhook.injection.admission import Admission
from webhook.injection.former_values import record_former_values
from webhook.injection.pod_annotations import (
    DEFAULT_CONTAINER,
    MAX_ANNOTATIONS_BYTES,
    SAFE_TO_EVICT,
    within_annotation_limit,
)
from webhook.injection.profile import Configuration
from webhook.injection.removal import remove
from webhook.injection.verdict import Verdict
from webhook.json_values import json_pointer

PREFIX = "pillion.dev/"
STATUS = f"{PREFIX}status"
INJECTED = [case for case in CASES if (case.folder / "patch.yaml").exists()]
POD_NAME = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def case(name: str) -> Case:
    """Return the golden case of that name."""
    return next(found for found in CASES if found.name == name)


def injected(pod: Any, verdict: Verdict) -> Any:
    """Return the pod as ``pillion inject`` writes it."""
    operations = record_former_values(
        pod, json.loads(verdict.patch or b"[]"), verdict.configuration.prefix, lambda _: ""
    )
    return jsonpatch.apply_patch(pod, operations)


def removed(pod: Any, configuration: Configuration = CONFIGURATION) -> Any:
    """Return the pod without what Pillion added."""
    return jsonpatch.apply_patch(pod, remove(pod, configuration).operations)


def kept(pod: Any, configuration: Configuration = CONFIGURATION) -> list[str]:
    """Return what is said of what stays."""
    return [found.reason for found in remove(pod, configuration).kept]


def shop(**annotations: str) -> dict[str, Any]:
    """Return a pod with two containers, one of them with a variable."""
    asks = {f"{PREFIX}inject": "true", **{f"{PREFIX}{key}": value for key, value in annotations.items()}}
    return {
        "metadata": {"name": "shop", "annotations": asks},
        "spec": {
            "containers": [
                {"name": "shop", "image": "shop", "env": [{"name": "LEVEL", "value": "info"}]},
                {"name": "worker", "image": "worker"},
            ]
        },
    }


def injected_shop() -> dict[str, Any]:
    """Return that pod, injected."""
    found: dict[str, Any] = injected(shop(), verdict_on(shop()))
    return found


def with_status(pod: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a pod with other values in its status."""
    annotations = pod["metadata"]["annotations"]
    annotations[STATUS] = json.dumps(json.loads(annotations[STATUS]) | changes)
    return pod


# --- the way back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", INJECTED, ids=lambda found: found.name)
def test_goldens_become_what_they_were(found: Case) -> None:
    """Each golden result, without what was added, is the pod of the case; what is called as ours are is named."""
    result = injected(found.pod, found.verdict())
    assert removed(result, found.configuration) == found.pod
    named = [*all_containers(found.pod), *(found.pod["spec"].get("volumes") or [])]
    alike = [one["name"] for one in named if one["name"].startswith("pillion-")]
    assert [text.split('"')[1] for text in kept(result, found.configuration)] == alike


@many
@given(pods().flatmap(ragged), st.booleans())
def test_a_pod_becomes_what_it_was(pod: Any, opted_in: bool) -> None:
    """remove(inject(pod)) == pod."""
    verdict = verdict_on(pod, opted_in=opted_in)
    assert removed(injected(pod, verdict)) == pod


@many
@given(pods().flatmap(ragged))
def test_a_pod_that_was_not_injected_stays(pod: Any) -> None:
    """There is nothing to take out, and nothing to say."""
    assert remove(pod, CONFIGURATION) == ([], [])


def completed(pod: Any) -> Any:
    """Return a pod with what the API server and other injectors add; no list is empty there."""
    pod = copy.deepcopy(pod)
    for container in all_containers(pod):
        if not container.get("env"):
            container.pop("env", None)
        for variable in container.get("env", ()):
            if "fieldRef" in variable.get("valueFrom", {}):
                variable["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
        if container["name"].startswith("pillion-"):
            container |= {"terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "Always"}
            container["env"].insert(0, {"name": "OTHER", "value": "x"})
            container["volumeMounts"].append({"name": "kube-api-access", "mountPath": "/token", "readOnly": True})
    return pod


@many
@given(pods())
def test_what_the_api_server_completes_is_taken_out_too(pod: Any) -> None:
    """Its defaults in the sidecar and in our variables, and other injectors' mounts in the sidecar, keep nothing."""
    patch = json.loads(verdict_on(pod).patch or b"[]")
    assert completed(removed(completed(jsonpatch.apply_patch(pod, patch)))) == completed(pod)


@pytest.mark.parametrize("empty", [None, [], {}], ids=str)
@pytest.mark.parametrize("path", ["/metadata/annotations", "/spec/volumes", "/spec/initContainers"])
def test_what_was_empty_is_empty_again(path: str, empty: Any) -> None:
    """Null and an empty list are no missing key."""
    if (empty == {}) != path.startswith("/metadata") and empty is not None:
        return
    pod = shop()
    _, parent, key = path.split("/")
    if parent == "metadata":
        # what an opted-in namespace needs to see where nobody asks
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "logs", "mountPath": "/var/log/app"}]
        pod["spec"]["volumes"] = [{"name": "logs", "emptyDir": {}}]
    pod[parent][key] = empty
    verdict = verdict_on(pod, opted_in=True)
    assert verdict.injected
    assert removed(injected(pod, verdict)) == pod


def test_a_status_of_the_authors_own_is_back() -> None:
    """An injection writes its own in its place."""
    pod = shop(status="mine")
    assert removed(injected(pod, verdict_on(pod))) == pod


def test_nothing_is_noted_where_annotations_are_full() -> None:
    """A pod that the API server takes is never made one that it refuses."""
    pod = shop()
    pod["spec"]["volumes"] = []
    room = MAX_ANNOTATIONS_BYTES - sum(len(k) + len(v) for k, v in pod["metadata"]["annotations"].items())
    seen = set()
    for spare in range(300, 500, 8):
        pod["metadata"]["annotations"]["x"] = "y" * (room - spare)
        result = injected(pod, verdict_on(pod))
        assert within_annotation_limit(result["metadata"]["annotations"])
        seen.add("formerValues" in json.loads(result["metadata"]["annotations"].get(STATUS, "{}")))
    assert seen == {False, True}


def test_the_autoscalers_list_is_the_users_again() -> None:
    """With its blanks and repeats, which an injection takes out of it."""
    for listed in ("", "cache", "cache, pillion-logs-1,", "pillion-logs-1", " a ,a"):
        pod = shop()
        pod["metadata"]["annotations"][SAFE_TO_EVICT] = listed
        assert removed(injected(pod, verdict_on(pod))) == pod


@pytest.mark.parametrize("key", [SAFE_TO_EVICT, STATUS])
@pytest.mark.parametrize("word", ["", "~"])
def test_a_null_annotation_is_null_again(key: str, word: str) -> None:
    """As it was written; a list that was added to since keeps what was added."""
    pod = shop()
    pod["metadata"]["annotations"][key] = None
    decoded = copy.deepcopy(pod)
    decoded["metadata"]["annotations"][key] = ""
    patch = json.loads(verdict_on(decoded).patch)
    result = jsonpatch.apply_patch(pod, record_former_values(pod, patch, PREFIX, lambda _: word))
    assert removed(result) == pod
    (operation,) = (one for one in remove(result, CONFIGURATION).operations if one.get("value", "") is None)
    assert operation.get("nullSpelling", "") == word


def test_the_autoscalers_list_was_changed_since() -> None:
    """Our volumes go, the others stay."""
    pod = injected_shop()
    pod["metadata"]["annotations"][SAFE_TO_EVICT] += ",cache"
    assert removed(pod)["metadata"]["annotations"][SAFE_TO_EVICT] == "cache"


def test_a_renamed_container_is_known_by_its_folder() -> None:
    """Its mount keeps the name that it had: mount and variables go."""
    pod = injected_shop()
    pod["spec"]["containers"][0]["name"] = "store"
    wanted = shop()
    wanted["spec"]["containers"][0]["name"] = "store"
    assert removed(pod) == wanted


def test_without_its_sidecar_the_rest_goes_too() -> None:
    """Who deletes the container by hand still gets rid of volumes, mounts and variables."""
    pod = injected_shop()
    del pod["spec"]["initContainers"]
    assert removed(pod) == shop()


def test_a_profile_that_is_gone() -> None:
    """The sidecar of a profile that no configuration has any more is taken out with its volumes."""
    found = case("profile-extra-volume")
    assert removed(injected(found.pod, found.verdict()), CONFIGURATION) == found.pod


# --- what is taken out -------------------------------------------------------------------------------------------


def with_everything() -> tuple[dict[str, Any], Configuration]:
    """Return a pod that got an ordinary container and all that goes with it, and its configuration."""
    profiles = {"tail": replace(CONFIGURATION.profiles["tail"], image_pull_secrets=("pull",), native=False)}
    configuration = replace(CONFIGURATION, profiles=profiles)
    pod: dict[str, Any] = injected(shop(), verdict_on(shop(), configuration))
    return pod, configuration


def without_evidence_of_a_container(pod: dict[str, Any]) -> None:
    """Leave the sidecar its volumes alone."""
    pod["spec"]["containers"][-1]["env"] = []
    with_status(pod, sidecar="other")


def without_evidence_of_a_volume(pod: dict[str, Any]) -> None:
    """Say that it was the pod's own."""
    with_status(pod, reusedVolumes=["pillion-logs-1"])


def without_evidence_of_variables(pod: dict[str, Any]) -> None:
    """Say that other containers took part."""
    with_status(pod, containers=["worker"])


def without_evidence_of_a_secret(pod: dict[str, Any]) -> None:
    """Say that none was added."""
    with_status(pod, pullSecrets=[])


def without_evidence_of_a_default(pod: dict[str, Any]) -> None:
    """Say that another container was made the default."""
    with_status(pod, defaultContainer="other")


def without_evidence_of_a_list(pod: dict[str, Any]) -> None:
    """Put other volumes' names into the autoscaler's list."""
    pod["metadata"]["annotations"][SAFE_TO_EVICT] = "cache"


#: By the row of the table: what takes the evidence away, and where something stays then.
EVIDENCE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "container pillion-…": (without_evidence_of_a_container, "/spec/containers/2"),
    "volume pillion-…": (without_evidence_of_a_volume, "/spec/volumes/0"),
    "variables": (without_evidence_of_variables, "/spec/containers/0/env/1"),
    "image pull secrets": (without_evidence_of_a_secret, "/spec/imagePullSecrets/0"),
    "default-container": (without_evidence_of_a_default, json_pointer(("metadata", "annotations", DEFAULT_CONTAINER))),
    "safe-to-evict list": (without_evidence_of_a_list, json_pointer(("metadata", "annotations", SAFE_TO_EVICT))),
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(EVIDENCE) == rows(removal)


@pytest.mark.parametrize("row", EVIDENCE)
def test_what_is_ours_is_taken_out_and_nothing_without_evidence(row: str) -> None:
    """With all of it the pod is as it was."""
    take_away, where = EVIDENCE[row]
    pod, configuration = with_everything()
    missing = object()
    assert removed(pod, configuration) == shop()
    assert JsonPointer(where).resolve(shop(), missing) is missing
    take_away(pod)
    assert JsonPointer(where).resolve(removed(pod, configuration), missing) is not missing


# --- what stays --------------------------------------------------------------------------------------------------


def test_without_a_status_what_could_be_the_users_stays() -> None:
    """Variables bear no name of ours: they stay and are named; container, volumes and mounts go."""
    pod = injected_shop()
    del pod["metadata"]["annotations"][STATUS]
    result = removed(pod)
    assert [variable["name"] for variable in result["spec"]["containers"][0]["env"]] == [
        "POD_NAME",
        "POD_NAMESPACE",
        "LEVEL",
    ]
    for container in result["spec"]["containers"]:
        del container["env"][:2]
        assert not container.pop("volumeMounts", None)
    del result["spec"]["containers"][1]["env"]
    assert result == shop()
    assert kept(pod) == [
        'container "shop" keeps POD_NAME and POD_NAMESPACE: it could be yours',
        'container "worker" keeps POD_NAME and POD_NAMESPACE: it could be yours',
    ]


def test_another_mount_keeps_a_volume_with_all_its_mounts() -> None:
    """Nobody is left with a mount without its volume, nor by halves."""
    pod = injected_shop()
    pod["spec"]["containers"][1]["volumeMounts"].append({"name": "pillion-logs-1", "mountPath": "/read"})
    result = removed(pod)
    assert [volume["name"] for volume in result["spec"]["volumes"]] == ["pillion-logs-1"]
    assert [len(container["volumeMounts"]) for container in result["spec"]["containers"]] == [1, 2]
    assert "initContainers" not in result["spec"]
    assert kept(pod) == ['volume "pillion-logs-1" stays: container "worker" mounts it differently']


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"readOnly": True}, "differently", id="read-only"),
        pytest.param({"subPath": "other"}, "differently", id="other-folder"),
        pytest.param({"subPath": {}}, "differently", id="no-text"),
        pytest.param({"recursiveReadOnly": "Enabled"}, "differently", id="unknown-field"),
    ],
)
def test_a_mount_of_another_form_is_the_users(change: dict[str, Any], said: str) -> None:
    """Whatever we would not have written."""
    pod = injected_shop()
    pod["spec"]["containers"][0]["volumeMounts"][0] |= change
    assert {volume["name"] for volume in removed(pod)["spec"]["volumes"]} == {"pillion-logs-1"}
    assert said in kept(pod)[0]


@pytest.mark.parametrize(
    "volume",
    [
        {"name": "pillion-logs-1", "persistentVolumeClaim": {"claimName": "logs"}},
        {"name": "pillion-logs-1", "emptyDir": {}, "hostPath": {"path": "/x"}},
        {"name": "pillion-logs-1", "emptyDir": {"unknown": 1}},
        {"name": "pillion-logs-1", "emptyDir": None},
        {"name": "pillion-logs-9", "emptyDir": {}},
        {"name": "pillion-else", "emptyDir": {}},
    ],
    ids=json.dumps,
)
def test_a_volume_of_another_form_is_the_users(volume: dict[str, Any]) -> None:
    """Whatever its name is, and whatever the status says of its neighbours."""
    pod = injected_shop()
    pod["spec"]["volumes"] = [one for one in pod["spec"]["volumes"] if one["name"] != volume["name"]]
    pod["spec"]["volumes"].append(volume)
    assert volume in removed(pod)["spec"]["volumes"]
    assert f'volume "{volume["name"]}" stays: nothing says that it was added' in kept(pod)


@pytest.mark.parametrize(
    "source",
    [
        {"persistentVolumeClaim": {"claimName": "data"}},
        {"hostPath": {"path": "/srv"}},
        {"emptyDir": {}, "nfs": {"server": "x", "path": "/"}},
        {"csi": {"driver": "x"}},
        {"emptyDir": {}},
        {},
    ],
    ids=json.dumps,
)
def test_a_forged_status_takes_out_no_container_and_no_volume(source: dict[str, Any]) -> None:
    """A name of ours makes a volume ours only where we make such a volume."""
    pod = shop()
    mount = {"name": "pillion-data", "mountPath": "/data"}
    pod["spec"]["containers"].append({"name": "pillion-x", "image": "mine", "volumeMounts": [mount]})
    pod["spec"]["volumes"] = [{"name": "pillion-data", **source}]
    pod["metadata"]["annotations"][STATUS] = injected_shop()["metadata"]["annotations"][STATUS]
    with_status(pod, sidecar="pillion-x", volumes=["pillion-data"])
    assert remove(pod, CONFIGURATION).operations == []
    assert kept(pod)[0] == 'container "pillion-x" stays: it does not look like Pillion\'s sidecar'


PROFILE_VOLUMES = """\
profiles:
  files:
    base: tail
    description: with volumes of its own
    volumes:
    - {name: settings, configMap: {name: settings, items: [{key: a, path: a}]}}
    - {name: pod, projected: {sources: [{downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}]}}
    - {name: claim, persistentVolumeClaim: {claimName: shared}}
    sidecar:
      volumeMounts:
      - {name: settings, mountPath: /settings}
      - {name: pod, mountPath: /pod}
      - {name: claim, mountPath: /claim}
defaultProfile: files
"""


def test_a_profiles_volumes_go_as_the_api_server_completes_them(tmp_path: Path) -> None:
    """With its defaults they are the profile's still; with anything else they are the user's."""
    (tmp_path / "pillion.yaml").write_text(PROFILE_VOLUMES)
    configuration = load(str(tmp_path / "pillion.yaml"))
    verdict = Admission(verdict_on(shop()).request, configuration).run()
    pod = injected(shop(), verdict)
    assert removed(pod, configuration) == shop()
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    volumes["pillion-settings"]["configMap"]["defaultMode"] = 420
    projected = volumes["pillion-pod"]["projected"]
    projected["defaultMode"] = 420
    projected["sources"][0]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] = "v1"
    assert removed(pod, configuration) == shop()
    volumes["pillion-claim"]["persistentVolumeClaim"]["claimName"] = "mine"
    volumes["pillion-settings"]["configMap"]["defaultMode"] = 256
    stays = removed(pod, configuration)["spec"]["volumes"]
    assert [volume["name"] for volume in stays] == ["pillion-settings", "pillion-claim"]
    assert kept(pod, configuration) == [
        f'volume "pillion-{name}" stays: nothing says that it was added' for name in ("settings", "claim")
    ]


def test_a_container_that_is_not_ours_stays() -> None:
    """A name alone makes no sidecar, nor does a forged status with it."""
    pod = shop()
    pod["spec"]["containers"].append({"name": "pillion-tail", "image": "mine"})
    said = ['container "pillion-tail" stays: it does not look like Pillion\'s sidecar']
    assert remove(pod, CONFIGURATION).operations == []
    assert kept(pod) == said
    pod["metadata"]["annotations"][STATUS] = injected_shop()["metadata"]["annotations"][STATUS]
    assert remove(pod, CONFIGURATION).operations == []
    assert kept(pod) == [*said, "pillion.dev/status stays: the pod has nothing else that Pillion adds"]


def test_the_last_container_stays() -> None:
    """A pod without containers is none."""
    found = case("native-false-always")
    pod = injected(found.pod, found.verdict())
    del pod["spec"]["containers"][0]
    assert [container["name"] for container in removed(pod)["spec"]["containers"]] == ["pillion-plain"]
    assert 'container "pillion-plain" stays: it is the pod\'s only ordinary container' in kept(pod)


def test_a_pull_secret_that_no_profile_has_stays() -> None:
    """A forged status could name any."""
    pod = injected_shop()
    pod["spec"]["imagePullSecrets"] = [{"name": "mine"}]
    with_status(pod, pullSecrets=["mine"])
    assert removed(pod)["spec"]["imagePullSecrets"] == [{"name": "mine"}]
    assert kept(pod) == ['image pull secret "mine" stays: no profile has it']


def test_the_users_default_container_stays() -> None:
    """Only what the status says we set goes, as long as it is what we set."""
    found = case("native-false-always")
    pod = injected(found.pod, found.verdict())
    assert DEFAULT_CONTAINER not in removed(pod, found.configuration)["metadata"]["annotations"]
    pod["metadata"]["annotations"][DEFAULT_CONTAINER] = "other"
    assert removed(pod, found.configuration)["metadata"]["annotations"][DEFAULT_CONTAINER] == "other"


def _lie(pod: dict[str, Any]) -> None:
    name = pod["spec"]["containers"][0]["name"]
    pod["metadata"]["annotations"][STATUS] = json.dumps(
        {
            "profile": "tail",
            "revision": "x",
            "sidecar": name,
            "containers": [name],
            "volumes": ["data", "pillion-mine", "pillion-logs-7"],
            "reusedVolumes": [],
            "env": {name: ["LEVEL", "POD_NAME"]},
            "pullSecrets": ["mine"],
            "defaultContainer": name,
            "formerValues": {"/spec/containers": [], "/spec/containers/0/env": []},
        }
    )


@many
@given(pods().flatmap(ragged), st.sampled_from([_lie, lambda _: None]))
def test_a_forged_status_takes_nothing_out(pod: Any, forge: Callable[[Any], None]) -> None:
    """Of a pod that was never injected, whatever a status says was added."""
    spec = pod["spec"]
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": "data", "emptyDir": {}}]
    spec["volumes"].append({"name": "pillion-mine", "emptyDir": {}})
    spec["volumes"].append({"name": "pillion-logs-7", "persistentVolumeClaim": {"claimName": "x"}})
    spec["containers"][0]["env"] = [POD_NAME, *(spec["containers"][0].get("env") or [])]
    spec["imagePullSecrets"] = [{"name": "mine"}]
    pod["metadata"]["annotations"][DEFAULT_CONTAINER] = spec["containers"][0]["name"]
    forge(pod)
    assert remove(pod, CONFIGURATION).operations == []


@many
@given(pods().flatmap(ragged), st.data())
def test_a_changed_pod_stays_a_pod(pod: Any, data: st.DataObject) -> None:
    """Whatever was changed in it since: no mount is without its volume, and nothing of the user's own is gone."""
    verdict = verdict_on(pod)
    result = injected(pod, verdict)
    if not verdict.injected:
        return
    for container in all_containers(result):
        for mount in container.get("volumeMounts") or []:
            if mount["name"].startswith("pillion-") and data.draw(st.integers(0, 3)) == 0:
                mount[data.draw(st.sampled_from(["readOnly", "subPath", "mountPropagation"]))] = "changed"
    if data.draw(st.booleans()):
        result["metadata"]["annotations"].pop(STATUS, None)
    after = removed(result)
    names = {volume["name"] for volume in after["spec"].get("volumes") or []}
    for container in all_containers(after):
        assert {mount["name"] for mount in container.get("volumeMounts") or []} <= names
    own = {volume["name"] for volume in pod["spec"].get("volumes") or []}
    assert own <= names
    assert [c["name"] for c in all_containers(after)] == [c["name"] for c in all_containers(pod)]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "env", "x", "valueFrom", "fieldRef"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@many
@given(st.data())
def test_no_json_makes_it_raise(data: st.DataObject) -> None:
    """An injected pod in which any value became any other."""
    pod: Any = copy.deepcopy(data.draw(st.sampled_from([injected_shop(), {}, {"metadata": None, "spec": []}])))
    for _ in range(data.draw(st.integers(1, 4))):
        value = pod
        while isinstance(value, dict | list) and value:
            key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            if data.draw(st.integers(0, 3)) == 0 or not isinstance(value[key], dict | list):
                value[key] = data.draw(JUNK)
                break
            value = value[key]
    removed(pod)


@pytest.mark.parametrize("value", [None, 5, True, "metadata", [], [[]]], ids=repr)
def test_what_is_no_object_has_no_injection(value: Any) -> None:
    """A manifest may hold any JSON."""
    assert remove(value, CONFIGURATION) == ([], [])


def test_the_place_of_what_stays_is_that_in_the_pod_as_it_is() -> None:
    """The sidecar before a container counts: messages name the line."""
    pod = shop(logs="init:/var/log/x/*.log")
    pod["spec"]["initContainers"] = [{"name": "init", "image": "i"}]
    result = injected(pod, verdict_on(pod))
    del result["metadata"]["annotations"][STATUS]
    index = [container["name"] for container in result["spec"]["initContainers"]].index("init")
    assert [found.path for found in remove(result, CONFIGURATION).kept] == [("spec", "initContainers", index, "env", 0)]


@pytest.mark.parametrize("before", [{"emptyDir": {}}, None, {"name": "pillion-logs-1"}], ids=json.dumps)
def test_the_place_of_a_volume_counts_those_that_have_no_name_of_their_own(before: Any) -> None:
    """A volume without a name, or with another's, has a place in the list."""
    pod = injected_shop()
    pod["spec"]["containers"][1]["volumeMounts"].append({"name": "pillion-logs-1", "mountPath": "/read"})
    index = [volume["name"] for volume in pod["spec"]["volumes"]].index("pillion-logs-1") + 1
    pod["spec"]["volumes"].insert(0, before)
    assert [found.path for found in remove(pod, CONFIGURATION).kept] == [("spec", "volumes", index)]


def test_a_debugging_container_is_left_alone() -> None:
    """It came after the injection, whatever variables it has."""
    pod = injected_shop()
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "env": [POD_NAME]}]
    assert removed(pod)["spec"]["ephemeralContainers"] == pod["spec"]["ephemeralContainers"]


def test_a_default_container_that_nobody_says_was_added_stays() -> None:
    """It could be the user's; one that the status does not know was theirs before."""
    found = case("native-false-always")
    pod = injected(found.pod, found.verdict())
    del pod["metadata"]["annotations"][STATUS]
    assert DEFAULT_CONTAINER in removed(pod, found.configuration)["metadata"]["annotations"]
    assert f"{DEFAULT_CONTAINER} stays: it could be yours" in kept(pod, found.configuration)


def test_metadata_that_held_nothing_else_goes() -> None:
    """A template may have none."""
    pod = injected_shop()
    asks = [key for key in pod["metadata"]["annotations"] if key == f"{PREFIX}inject"]
    for key in asks:
        del pod["metadata"]["annotations"][key]
    del pod["metadata"]["name"]
    assert "metadata" not in removed(pod)
