"""What a profile makes of a pod is tried when the configuration is read, its patch included."""

import json
from typing import Any

import pytest

from webhook.configuration.loading import build, parse
from webhook.errors import ConfigurationError
from webhook.profiles import builtins

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def problems(profile: dict[str, Any], **settings: Any) -> list[str]:
    """Return what is wrong with a profile on top of ``tail``, without its path."""
    try:
        build({"profiles": {"own": {"base": "tail", **profile}}, **settings}, builtins())
    except ConfigurationError as error:
        return [str(problem).removeprefix("profiles.own") for problem in error.problems]
    return []


def volume(*paths: str, read_only: bool = True) -> dict[str, Any]:
    """Return a profile with a volume that is mounted at these paths."""
    mounts = [{"name": "v", "mountPath": path, "readOnly": read_only} for path in paths]
    return {"volumes": [{"name": "v", "emptyDir": {}}], "sidecar": {"volumeMounts": mounts}}


def operations(*patch: dict[str, Any]) -> dict[str, Any]:
    """Return a profile with a patch."""
    return {"patch": list(patch)}


def add(path: str, value: Any) -> dict[str, Any]:
    """Return an operation that adds."""
    return {"op": "add", "path": path, "value": value}


def secure(**fields: Any) -> dict[str, Any]:
    """Return a profile with a security context."""
    return {"sidecar": {"securityContext": fields}}


NEVER_STARTS = {
    "the patch removes the image": (
        operations({"op": "remove", "path": "/image"}),
        ".patch[0]: makes a sidecar that can't start: it has no image; add it",
    ),
    "the patch empties the image": (
        operations(add("/image", "")),
        ".patch[0]: makes a sidecar that can't start: image must be an image",
    ),
    "an image that can't be parsed": ({"sidecar": {"image": "Busybox:1.36"}}, ".sidecar.image: must be an image"),
    "root under runAsNonRoot": (secure(runAsUser=0, runAsNonRoot=True), ".sidecar.securityContext.runAsUser: 0 never"),
    "root under runAsNonRoot by the patch": (
        operations(add("/securityContext/runAsUser", 0), add("/securityContext/runAsNonRoot", value=True)),
        ".patch[0]: makes a sidecar that can't start: securityContext.runAsUser 0 never starts",
    ),
    "root by the patch alone": (
        operations(add("/securityContext/runAsUser", 0)),
        ".patch[0]: makes a sidecar that can't start: securityContext.runAsUser 0 never starts",
    ),
    "privileged without escalation": (
        secure(privileged=True),
        ".sidecar.securityContext: in a pod: ",
    ),
    "a mount inside a read-only one": (
        volume("/a", "/a/b"),
        ".sidecar.volumeMounts[1].mountPath: /a/b can't be mounted inside /a, which is read-only",
    ),
    "a read-only mount around an earlier one": (
        volume("/a/b", "/a"),
        ".sidecar.volumeMounts[0].mountPath: /a/b can't be mounted inside /a, which is read-only",
    ),
    "around the token as written": (
        volume("/var"),
        f".sidecar.volumeMounts[0].mountPath: {TOKEN} can't be mounted inside /var, which is read-only",
    ),
    "around the token as resolved": (
        volume("/run"),
        f".sidecar.volumeMounts[0].mountPath: {TOKEN} can't be mounted inside /run, which is read-only",
    ),
    "around the token that the pod has": (
        {**volume("/var/run"), "serviceAccountToken": True},
        f".sidecar.volumeMounts[0].mountPath: {TOKEN} can't be mounted inside /var/run, which is read-only",
    ),
    "at the token's place": (volume(TOKEN), ".sidecar.volumeMounts[0].mountPath: /var/run/secrets"),
    "around what the runtime mounts": (
        volume("/etc"),
        ".sidecar.volumeMounts[0].mountPath: /etc/hosts can't be mounted inside /etc, which is read-only",
    ),
    "around the base's state": (
        volume("/pillion"),
        ".sidecar.volumeMounts: /pillion/state can't be mounted inside /pillion, which is read-only",
    ),
    "around the logs": (volume("/pillion/logs"), ".sidecar.volumeMounts[0].mountPath: /pillion/logs collides with"),
    "around a fixed place of the logs": (
        {**volume("/data"), "logsMountPath": "/data/logs"},
        ".logsMountPath: /data/logs collides with /data of sidecar.volumeMounts; choose another directory",
    ),
    "a fixed place of the logs around the base's state": (
        {"logsMountPath": "/pillion"},
        ".logsMountPath: /pillion collides with /pillion/state of sidecar.volumeMounts; choose another directory",
    ),
    "a fixed place of the logs over the program": (
        {"logsMountPath": "/srv/tool", "sidecar": {"command": ["/srv/tool/run"]}},
        ".logsMountPath: in a pod: /srv/tool hides /srv/tool/run, which the container runs; choose another directory",
    ),
    "an empty volume over a probe's program": (
        {
            "volumes": volume()["volumes"],
            "sidecar": {**volume("/srv/tool")["sidecar"], "livenessProbe": {"exec": {"command": ["/srv/tool/ok"]}}},
        },
        ".sidecar.volumeMounts[0].mountPath: /srv/tool hides /srv/tool/ok, which the container runs; choose another",
    ),
    "around the token by the patch": (
        operations(add("/volumeMounts/-", {"name": "pillion-state", "mountPath": "/var", "readOnly": True})),
        f".patch[0]: makes a sidecar that can't start: volumeMounts[2].mountPath {TOKEN} can't be mounted inside /var",
    ),
    "around the termination message": (
        {"sidecar": {"terminationMessagePath": "/a/log", **volume("/a")["sidecar"]}, "volumes": volume()["volumes"]},
        ".sidecar.terminationMessagePath: /a/log can't be mounted inside /a",
    ),
    "a volume that is none": (
        operations(add("/volumeMounts/0/name", "nosuch")),
        ".patch[0]: makes a sidecar that can't start: volumeMounts[0].name 'nosuch' is not a volume of the pod",
    ),
    "two mounts at one path by the patch": (
        operations({"op": "copy", "from": "/volumeMounts/0", "path": "/volumeMounts/-"}),
        ".patch[0]: makes a sidecar that can't start: volumeMounts[3].mountPath /var/log/app is mounted twice",
    ),
    "a name that is changed by a copy": (
        operations({"op": "copy", "from": "/image", "path": "/name"}),
        ".patch[0].path: /name can't be changed",
    ),
    "a request above the limit by the patch": (
        operations(add("/resources/requests/memory", "1Gi")),
        ".patch[0]: makes a sidecar that can't start: resources.requests.memory 1Gi is above the limit 64Mi",
    ),
    "too little memory": (
        {"sidecar": {"resources": {"requests": {"memory": "64m"}, "limits": {"memory": "64m"}}}},
        ".sidecar.resources.limits.memory: 64m is too little to start; write 4Mi or more",
    ),
    "no value": (operations({"op": "add", "path": "/stdin"}), ".patch[0]: add has no value; add it"),
    "a test without value": (operations({"op": "test", "path": "/stdin"}), ".patch[0]: test has no value; add it"),
    "a copy without from": (operations({"op": "copy", "path": "/stdin"}), ".patch[0]: copy has no from; add it"),
    "a from outside": (
        operations({"op": "move", "from": "/nosuch", "path": "/stdin"}),
        ".patch[0]: does not fit the sidecar: there is nothing like /nosuch",
    ),
    "a path outside": (operations(add("/lifecycle/preStop", {})), ".patch[0]: does not fit the sidecar: "),
    "a path through text": (operations(add("/image/x/y", 1)), ".patch[0]: does not fit the sidecar: "),
    "a test that no pod passes": (
        operations({"op": "test", "path": "/image", "value": "x"}),
        ".patch[0]: does not fit the sidecar: /image has another value than the one to test for",
    ),
    "a test of what no pod has": (
        operations({"op": "test", "path": "/securityContext/nosuch", "value": 1}),
        ".patch[0]: does not fit the sidecar: ",
    ),
    "copies that double": (
        operations(
            add("/env/-", {"name": "A", "value": "x" * 70_000}),
            *({"op": "copy", "from": "/env", "path": "/env/-"} for _ in range(200)),
        ),
        ".patch[2]: makes the sidecar larger than 262144 bytes",
    ),
    "logs that no pod can have": ({"logs": ["/etc/app.log"]}, ".logs: no pod could be injected: "),
    "an unknown variable in a subPathExpr": (
        {"sidecar": {"volumeMounts": [{"name": "state", "mountPath": "/pillion/state", "subPathExpr": "$(NONE)"}]}},
        ".sidecar.volumeMounts: in a pod: volumeMounts[1].subPathExpr $(NONE) is not a variable of the container",
    ),
    "a probe of a port that is none": (
        {"sidecar": {"livenessProbe": {"tcpSocket": {"port": "http"}}}},
        ".sidecar.livenessProbe.tcpSocket.port: http is not the name of a port of the container",
    ),
    "an argument that no program takes": (
        {"sidecar": {"args": ["x" * 131_072]}},
        ".sidecar.args[0]: has 131072 bytes; a program takes 131071",
    ),
}


@pytest.mark.parametrize("case", NEVER_STARTS)
def test_a_profile_that_could_never_start_is_refused(case: str) -> None:
    """By the place that the operator wrote."""
    profile, expected = NEVER_STARTS[case]
    found = problems(profile)
    assert any(problem.startswith(expected) for problem in found), found


WORKS = {
    "a writable mount around another": volume("/a", "/a/b", read_only=False),
    "a patch of what only some pods have": operations(
        {"op": "test", "path": "/securityContext/runAsUser", "value": 4321},
        {"op": "replace", "path": "/volumeMounts/3/readOnly", "value": True},
    ),
    "a patch of resources, which some pods give to all": operations(add("/resources/limits/cpu", "1")),
    "a patch of labels that some pods have": operations({"op": "remove", "path": "/securityContext/seLinuxOptions"}),
    "a patch that takes the image away and gives one": operations(
        {"op": "remove", "path": "/image"}, add("/image", "busybox:1.37")
    ),
    "a program from a volume": {
        "volumes": [{"name": "scripts", "configMap": {"name": "scripts", "defaultMode": 0o755}}],
        "sidecar": {
            "command": ["/scripts/run.sh"],
            "lifecycle": {"preStop": {"exec": {"command": ["/scripts/last.sh"]}}},
            "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
        },
        "patch": [add("/env/-", {"name": "A", "value": "1"})],
    },
    "a null value": operations(add("/stdin", None)),
    "privileged with escalation": secure(
        privileged=True, allowPrivilegeEscalation=True, runAsUser=0, runAsNonRoot=False
    ),
    "a token of one's own": {**volume(TOKEN), "serviceAccountToken": True},
}


@pytest.mark.parametrize("case", WORKS)
def test_a_profile_that_can_start_is_taken(case: str) -> None:
    """Also where its patch does not fit every pod."""
    assert problems(WORKS[case]) == []


def test_ports_that_a_patch_opens_count() -> None:
    """Pods that have them already are not injected."""
    document = {"profiles": {"own": {"base": "tail", **operations(add("/ports", [{"containerPort": 9000}]))}}}
    assert build(document, builtins()).profiles["own"].ports == {9000}


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        pytest.param(
            {
                "volumes": [{"name": "e", kind: source}, {"name": "f", "emptyDir": {}}],
                "sidecar": {"volumeMounts": [{"name": "e", "mountPath": "/a"}, {"name": "f", "mountPath": "/a/b"}]},
            },
            "/a/b can't be mounted inside /a, which is read-only",
            id=f"inside a {kind}",
        )
        for kind, source in [
            ("configMap", {"name": "x"}),
            ("secret", {"secretName": "x"}),
            ("downwardAPI", {"items": []}),
            ("nfs", {"server": "s", "path": "/", "readOnly": True}),
        ]
    ]
    + [
        pytest.param(
            {
                "volumes": [{"name": "e", "emptyDir": {}}],
                "sidecar": {"volumeMounts": [{"name": "e", "mountPath": path}]},
            },
            "hides",
            id=f"over {path}",
        )
        for path in ("/bin", "//bin", "/usr/../bin", "/usr/bin/pillion-tail", "/lib", "/usr", "/etc")
    ],
)
def test_mounts_that_nothing_starts_with(profile: dict[str, Any], said: str) -> None:
    """Inside a volume that the kubelet mounts read-only whatever is said, and over what the container runs."""
    with pytest.raises(ConfigurationError, match=said):
        parse(json.dumps({"profiles": {"tail": profile}}).encode(), "pillion.yaml")


def test_placeholders_stand_alone() -> None:
    """Inside a text nothing is filled in, and the sidecar would be handed the placeholder itself."""
    profile = {"sidecar": {"args": ["--files=<log-files>"]}}
    with pytest.raises(ConfigurationError, match="only where it stands alone"):
        parse(json.dumps({"profiles": {"tail": profile}}).encode(), "pillion.yaml")


def test_a_bug_that_a_profile_meets_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no pod meets it."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("webhook.injection.admission.add_annotations", fail)
    assert problems({}) == [": can't be used: KeyError: 'x'"]
