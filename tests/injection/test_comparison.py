"""A pod that has a sidecar, compared with what it would be, were it created now."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.injection.reviews import patched, verdict_on
from tests.tables import rows
from webhook.configuration import parse
from webhook.injection import comparison
from webhook.injection.comparison import ABSENT, Comparison, State, compare
from webhook.injection.profile import Configuration
from webhook.injection.reasons import Reason

OLD, NEW = "registry.example.com/pillion:0.1.0-tail", "registry.example.com/pillion:0.2.0-tail"
STATUS = "pillion.dev/status"
LIMIT_RANGER = {"kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu limit for init container pillion-tail"}


def configuration(image: str = OLD, profile: str = "", **settings: str) -> Configuration:
    """Return a configuration with this image, and ``profile`` as YAML on top of the profile tail."""
    lines = [f"{key}: {value}" for key, value in {"image": image, **settings}.items()]
    return parse("\n".join([*lines, f"profiles: {{tail: {{{profile}}}}}"]).encode(), "test")


def asking(**annotations: str) -> dict[str, Any]:
    """Return a pod that asks for the sidecar."""
    asks = {"pillion.dev/inject": "true", **{f"pillion.dev/{key}": value for key, value in annotations.items()}}
    return {
        "metadata": {"name": "shop", "annotations": asks},
        "spec": {"containers": [{"name": "shop", "image": "shop:1", "env": [{"name": "LEVEL", "value": "info"}]}]},
    }


def stored(before: Configuration, pod: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the pod with the sidecar that this configuration gives it, with some of the API server's defaults."""
    pod = pod or asking()
    made: dict[str, Any] = patched(pod, verdict_on(pod, before))
    sidecar(made).update(
        terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File", imagePullPolicy="IfNotPresent"
    )
    made["spec"]["ephemeralContainers"] = [
        {"name": "debug", "image": "busybox", "volumeMounts": [{"name": "pillion-logs-1", "mountPath": "/logs"}]}
    ]
    return made


def sidecar(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod's sidecar."""
    found: dict[str, Any] = next(
        one
        for kind in ("initContainers", "containers")
        for one in pod["spec"].get(kind, ())
        if "pillion" in one["name"]
    )
    return found


def compared(before: Configuration, now: Configuration, **annotations: str) -> Comparison:
    """Return how a pod of one configuration differs from a pod of another."""
    return compare(stored(before, asking(**annotations)), now, namespace_opted_in=False)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return a stored pod after a change."""
    pod = stored(configuration())
    change(pod)
    return pod


def refused() -> dict[str, Any]:
    """Return a pod whose author has refused the sidecar since it was created."""
    return changed(lambda pod: pod["metadata"]["annotations"].update({"pillion.dev/inject": "false"}))


def of_another_installation() -> dict[str, Any]:
    """Return a pod that has the sidecar of another prefix, and asks for both."""
    pod = stored(configuration())
    annotations = pod["metadata"]["annotations"]
    annotations["example.org/status"] = annotations.pop(STATUS)
    return pod


def with_anothers_status(pod: dict[str, Any]) -> None:
    """Replace our status by that of an installation whose sidecar the pod does not have."""
    annotations = pod["metadata"]["annotations"]
    annotations["example.org/status"] = annotations.pop(STATUS).replace('"pillion-tail"', '"pillion-web"')


#: By the table of the module: a pod, and the configuration of now.
STATES: Mapping[str, Mapping[str, tuple[dict[str, Any], Configuration]]] = {
    "foreign": {
        "no sidecar": (asking(), configuration()),
        "another installation's": (of_another_installation(), configuration()),
    },
    "declined": {"": (refused(), configuration(NEW))},
    "current": {"": (stored(configuration()), configuration())},
    "status_only": {
        "": (stored(configuration()), configuration(profile="description: other words")),
        "missing": (changed(lambda pod: pod["metadata"]["annotations"].pop(STATUS)), configuration()),
        "missing, another installation's names another sidecar": (changed(with_anothers_status), configuration()),
    },
    "image_only": {
        "": (stored(configuration()), configuration(NEW)),
        "and revision": (stored(configuration()), configuration(NEW, "description: other words")),
        "ordinary container": (
            stored(configuration(profile="native: false")),
            configuration(NEW, "native: false"),
        ),
    },
    "other": {
        "same image": (stored(configuration()), configuration(profile="sidecar: {args: [x]}")),
        "other image": (stored(configuration()), configuration(NEW, "sidecar: {args: [x]}")),
    },
}


def test_every_state_has_a_case() -> None:
    """The table in the docstring lists what there is."""
    assert rows(comparison) == list(STATES) == [state.value for state in State]


@pytest.mark.parametrize(
    ("state", "pod", "now"), [(row, *case) for row, cases in STATES.items() for case in cases.values()]
)
def test_states(state: str, pod: dict[str, Any], now: Configuration) -> None:
    """The module's table; the pod stays as it is."""
    before = copy.deepcopy(pod)
    assert compare(pod, now, namespace_opted_in=False).state == state
    assert pod == before


def test_what_an_upgrade_writes() -> None:
    """Both images, and the status that a new injection writes."""
    now = configuration(NEW, "description: other words")
    found = compared(configuration(), now)
    assert (found.list_name, found.sidecar) == ("initContainers", "pillion-tail")
    assert (found.live_image, found.desired_image) == (OLD, NEW)
    assert found.live_status == stored(configuration())["metadata"]["annotations"][STATUS]
    assert found.desired_status == stored(now)["metadata"]["annotations"][STATUS]
    assert found.live_status != found.desired_status


def test_why_it_would_not_be_injected_now() -> None:
    """The finding of the review."""
    found = compare(refused(), configuration(), namespace_opted_in=False)
    assert found.finding is not None
    assert found.finding.reason is Reason.OPTED_OUT


def test_a_namespace_that_opted_in_asks() -> None:
    """Its pods need no annotation, but a place for logs."""
    pod = asking(logs="/srv/*.log")
    del pod["metadata"]["annotations"]["pillion.dev/inject"]
    has = patched(pod, verdict_on(pod, configuration(), opted_in=True))
    assert compare(has, configuration(), namespace_opted_in=True).state is State.CURRENT
    assert compare(has, configuration(), namespace_opted_in=False).state is State.DECLINED


def test_a_status_of_a_manifest_says_the_same() -> None:
    """`pillion inject` also notes what it replaced; the webhook would not."""
    note = '{"formerValues":{"/spec/volumes":[]},'
    pod = changed(
        lambda pod: pod["metadata"]["annotations"].update(
            {STATUS: note + pod["metadata"]["annotations"][STATUS].removeprefix("{")}
        )
    )
    assert compare(pod, configuration(), namespace_opted_in=False).state is State.CURRENT


NAMED = ("spec", "initContainers", "pillion-tail")


@pytest.mark.parametrize(
    ("profile", "path", "values"),
    [
        (
            "sidecar: {resources: {limits: {memory: 128Mi}}}",
            (*NAMED, "resources", "limits", "memory"),
            ("64Mi", "128Mi"),
        ),
        ("sidecar: {workingDir: /tmp}", (*NAMED, "workingDir"), (ABSENT, "/tmp")),
        ("sidecar: {volumeMounts: null}, volumes: null", ("spec", "volumes", "pillion-state"), (..., ABSENT)),
        ("sidecar: {imagePullPolicy: Never}", (*NAMED, "imagePullPolicy"), ("IfNotPresent", "Never")),
        ("volume: {sizeLimit: 1Gi}", ("spec", "volumes", "pillion-logs-1", "emptyDir", "sizeLimit"), (ABSENT, "1Gi")),
        ("imagePullSecrets: [{name: key}]", ("spec", "imagePullSecrets"), (ABSENT, [{"name": "key"}])),
        ("native: false", NAMED[:2], (..., ABSENT)),
    ],
)
def test_differences(profile: str, path: tuple[str, ...], values: tuple[object, object]) -> None:
    """Each by its path, with what is stored and what would be made."""
    found = {
        one.path: (one.live, one.desired) for one in compared(configuration(), configuration(NEW, profile)).differences
    }
    assert path in found
    assert [one for one, wanted in zip(found[path], values, strict=True) if wanted not in (..., one)] == []


def test_another_profile_is_a_difference() -> None:
    """The sidecar would have another name."""
    found = compared(configuration(), configuration(NEW, defaultProfile="web"))
    assert found.state is State.OTHER
    assert found.sidecar == ""


def test_another_order_of_init_containers_is_a_difference() -> None:
    """A profile that starts last starts after the others."""
    pod = asking()
    pod["spec"]["initContainers"] = [{"name": "setup", "image": "setup:1"}]
    has = stored(configuration(), pod)
    found = compare(has, configuration(profile="order: last"), namespace_opted_in=False)
    names = ["pillion-tail", "setup"]
    assert [(one.path, one.live, one.desired) for one in found.differences] == [(NAMED[:2], names, names[::-1])]


TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize(
    ("profile", "change", "is_difference"),
    [
        pytest.param("", lambda it: it.update(terminationMessagePolicy="FallbackToLogsOnError"), True, id="a field"),
        pytest.param("", lambda it: it.update(stdin=True), True, id="another field"),
        pytest.param("", lambda it: it.update(workingDir=""), True, id="an empty text is no default"),
        pytest.param("", lambda it: it["env"].append({"name": "ADDED", "value": "1"}), True, id="a variable"),
        pytest.param("", lambda it: it["env"].reverse(), True, id="the order of variables"),
        pytest.param("", lambda it: it["volumeMounts"].reverse(), False, id="the order of mounts"),
        pytest.param("", lambda it: it["resources"]["limits"].update(memory="65536Ki"), False, id="a quantity's form"),
        pytest.param("", lambda it: it["resources"]["limits"].update(memory="64M"), True, id="another quantity"),
        pytest.param("", lambda it: it["resources"]["limits"].update(cpu="1"), True, id="a limit"),
        pytest.param(
            "sidecar: {resources: {limits: {example.com/gpu: 1}}}",
            lambda it: it["resources"]["requests"].update({"example.com/gpu": "1"}),
            False,
            id="a request that is the limit",
        ),
        pytest.param(
            "sidecar: {env: [{name: EMPTY, value: ''}]}",
            lambda it: it["env"][-1].pop("value"),
            False,
            id="an empty value",
        ),
        pytest.param("", lambda it: it.update(volumeDevices=[], lifecycle={}), False, id="empty collections"),
        pytest.param("", lambda it: it.update(imagePullPolicy="Always"), False, id="pulled always"),
        pytest.param("", lambda it: it.update(imagePullPolicy="Never"), True, id="pulled never"),
        pytest.param(
            "serviceAccountToken: true",
            lambda it: it["volumeMounts"].append({"name": "kube-api-access-x", "mountPath": TOKEN, "readOnly": True}),
            False,
            id="the service account's token",
        ),
        pytest.param(
            "serviceAccountToken: true",
            lambda it: it["volumeMounts"].append({"name": "data", "mountPath": TOKEN}),
            True,
            id="another mount",
        ),
        pytest.param(
            "sidecar: {livenessProbe: {httpGet: {port: 1}}, ports: [{containerPort: 1}]}",
            lambda it: (
                it["livenessProbe"].update(periodSeconds=10, failureThreshold=3),
                it["livenessProbe"]["httpGet"].update(scheme="HTTP"),
                it["ports"][0].update(protocol="TCP"),
            ),
            False,
            id="defaults",
        ),
        pytest.param(
            "sidecar: {livenessProbe: {httpGet: {port: 1}}}",
            lambda it: it["livenessProbe"].update(periodSeconds=11),
            True,
            id="no default",
        ),
    ],
)
def test_what_was_added_to_the_sidecar(profile: str, change: Callable[[Any], object], *, is_difference: bool) -> None:
    """The API server's additions are none, others are."""
    pod = stored(configuration(profile=profile))
    change(sidecar(pod))
    found = compare(pod, configuration(NEW, profile), namespace_opted_in=False)
    assert found.state is (State.OTHER if is_difference else State.IMAGE_ONLY)


@pytest.mark.parametrize(("annotations", "state"), [({}, State.OTHER), (LIMIT_RANGER, State.IMAGE_ONLY)])
def test_what_a_limit_range_added(annotations: dict[str, str], state: State) -> None:
    """The plugin says in an annotation where it was."""
    pod = stored(configuration())
    sidecar(pod)["resources"]["limits"]["cpu"] = "1"
    pod["metadata"]["annotations"].update(annotations)
    assert compare(pod, configuration(NEW), namespace_opted_in=False).state is state


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("pillion", "Always"),
        ("localhost:5000/pillion", "Always"),
        ("localhost:5000/pillion:latest", "Always"),
        ("pillion:latest@sha256:" + 64 * "0", "Always"),
        ("pillion:0.2.0", "IfNotPresent"),
        ("localhost:5000/pillion@sha256:" + 64 * "0", "IfNotPresent"),
    ],
)
def test_a_pull_policy_that_would_be_another(image: str, policy: str) -> None:
    """By default it follows from the image, and can't be changed in place: a node would not pull a new `latest`."""
    found = compared(configuration(), configuration(image))
    others = [] if policy == "IfNotPresent" else [((*NAMED, "imagePullPolicy"), "IfNotPresent", policy)]
    assert [tuple(one) for one in found.differences] == others
