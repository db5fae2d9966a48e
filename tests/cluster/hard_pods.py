"""Pods that a sidecar may easily keep from starting, each with the reason why it is hard."""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from webhook.configuration import load
from webhook.errors import ConfigurationError
from webhook.injection.profile import Configuration

__all__ = ["HARD", "PROFILES", "Hard", "configuration", "identities"]

#: Profiles that somebody may write; a pod names one by annotation.
PROFILES: dict[str, Any] = {
    "non-root": {"base": "tail", "sidecar": {"securityContext": {"runAsNonRoot": True}}},
    "any-user": {"base": "tail", "sidecar": {"securityContext": {"runAsNonRoot": False}}},
    "as-root": {"base": "tail", "allowRoot": True, "sidecar": {"securityContext": {"runAsUser": 0}}},
    "as-1000": {"base": "tail", "sidecar": {"securityContext": {"runAsUser": 1000}}},
    "patched-non-root": {
        "base": "tail",
        "patch": [{"op": "add", "path": "/securityContext/runAsNonRoot", "value": True}],
    },
    "patched-root": {"base": "tail", "patch": [{"op": "replace", "path": "/securityContext/runAsUser", "value": 0}]},
    "root-allowed": {"base": "tail", "allowRoot": True},
    "own-volume": {
        "base": "tail",
        "volumes": [{"name": "tool", "emptyDir": {}}],
        "sidecar": {"volumeMounts": [{"name": "tool", "mountPath": "/srv/tool"}]},
    },
    "fixed-place": {"base": "tail", "logsMountPath": "/srv"},
    "own-directory": {"base": "tail", "sidecar": {"workingDir": "/srv/tool/run"}},
}


#: Those that nobody can use, so that a server may refuse them when it reads them.
HOPELESS = ("patched-root",)


@dataclass(frozen=True)
class Hard:
    """A pod and why it is hard."""

    why: str
    pod: Any


def configuration(folder: Path) -> Configuration:
    """Return a configuration with the profiles; those that may be are left out where they are refused.

    ``folder`` takes its file.
    """
    path = folder / "profiles.yaml"

    def loaded(profiles: Any) -> Configuration:
        path.write_text(json.dumps({"profiles": profiles}))
        return load(path)

    taken = dict(PROFILES)
    for name in HOPELESS:
        try:
            loaded({name: PROFILES[name]})
        except ConfigurationError:
            del taken[name]
    return loaded(taken)


def _mounting(why: str, logs: str, *paths: str, profile: str = "tail", **volume: Any) -> Hard:
    """Return a pod whose application mounts a volume of its own at each path."""
    source = volume or {"emptyDir": {}}
    mounts = [{"name": f"v{number}", "mountPath": path} for number, path in enumerate(paths)]
    volumes = [{"name": mount["name"], **source} for mount in mounts]
    return Hard(why, _asking(logs, profile, {"volumeMounts": mounts}, {"volumes": volumes}))


def _asking(logs: str, profile: str, container: Any, spec: Any, **annotations: str) -> Any:
    options = {"inject": "true", "logs": logs, "profile": profile, **annotations}
    return {
        "metadata": {"annotations": {f"pillion.dev/{key}": value for key, value in options.items()}},
        "spec": {"containers": [{"name": "app", "image": "app", **container}], **spec},
    }


def _mounts_inside() -> list[Hard]:
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    return [
        _mounting("the token's place lies in it", "/var/applog/app.log", "/var"),
        _mounting("the token's place lies in it", "/var/run/app/app.log", "/var/run"),
        _mounting("the token's place lies in it, one folder deeper", "/var/run/secrets/app.log", "/var/run/secrets"),
        _mounting("it lies around the token's place", "/var/run/secrets/x/a.log", "/var/run/secrets/kubernetes.io"),
        _mounting("it is the token's place", f"{token}/app.log", token),
        _mounting("/var/run is /run in most images", "/run/app/app.log", "/run"),
        _mounting("the same, in an image that has the link", "/run/app/app.log", "/run", profile="web"),
        _mounting("the same, written the other way", "/var/run/app/app.log", "/var/run", profile="web"),
        _mounting("the same, as the profile reads it", "/run/secrets/app.log", "/run/secrets", profile="web"),
        _mounting("read by one name, mounted by the other", "/var/run/app/app.log", "/run"),
        _mounting("read by one name, mounted by the other", "/run/app/app.log", "/var/run"),
        _mounting("two mounts, one inside the other", "/var/a/a.log,/var/run/b.log", "/var", "/var/run"),
        _mounting("two names for one place", "/run/a.log,/var/run/b/b.log", "/run", "/var/run/b"),
        _mounting("the sidecar's own folder lies in it", "/pillion/app.log", "/pillion"),
        _mounting("it is the sidecar's own folder", "/pillion/state/app.log", "/pillion/state"),
        _mounting("it lies in the sidecar's own folder", "/pillion/state/x/app.log", "/pillion/state/x"),
        _mounting("where colliding places go", "/pillion/logs/app.log", "/pillion/logs"),
        _mounting("the node mounts hosts, hostname and resolv.conf in it", "/etc/app/app.log", "/etc"),
        _mounting("it is a file that the node mounts", "/etc/hosts", "/etc/hosts"),
        _mounting("the sidecar's program lies in it", "/bin/app.log", "/bin"),
        _mounting("a library's folder", "/usr/lib/app/app.log", "/usr"),
        _mounting("shared memory is a mount already", "/dev/shm/app.log", "/dev/shm"),
        _mounting("a temporary folder", "/tmp/app.log", "/tmp"),
        _mounting("a path that is not normal", "/var/applog/app.log", "/var/"),
        _mounting("a path that is not normal", "/var/applog/app.log", "//var"),
        _mounting("a path that is not normal", "/var/applog/app.log", "/srv/../var"),
        _mounting("a path without a slash in front", "/var/applog/app.log", "var"),
        _mounting(
            "a claim that was mounted to be read", "/var/a.log", "/var", persistentVolumeClaim={"claimName": "x"}
        ),
        _mounting("one volume in another, both read", "/data/a.log,/data/logs/b.log", "/data", "/data/logs"),
        _mounting("the middle one is not read", "/data/a.log,/data/b/c/c.log", "/data", "/data/b", "/data/b/c"),
        _mounting("the profile's own volume lies in it", "/srv/app.log", "/srv", profile="own-volume"),
        _mounting("it lies in the profile's own volume", "/srv/tool/x/a.log", "/srv/tool/x", profile="own-volume"),
        _mounting("it is at the profile's own volume", "/srv/tool/a.log", "/srv/tool", profile="own-volume"),
        _mounting(
            "the profile's working directory lies in it", "/srv/tool/a.log", "/srv/tool", profile="own-directory"
        ),
        _mounting("several places in one fixed place", "/srv/a/a.log,/srv/b/b.log", "/srv/a", profile="fixed-place"),
        _mounting("the fixed place itself", "/srv/a.log,/srv/b/b.log", "/srv", "/srv/b", profile="fixed-place"),
    ]


def _others_mounts() -> list[Hard]:
    message = "terminationMessagePath"
    volume = {"name": "v", "emptyDir": {}}
    serving = {
        "name": "fuse",
        "image": "fuse",
        "restartPolicy": "Always",
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "v", "mountPath": "/fuse", "mountPropagation": "Bidirectional"}],
    }
    mounting = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    return [
        Hard("a file of the kubelet's is where the logs are", _asking("/srv/a/*.log", "tail", {message: "/srv/a"}, {})),
        Hard("a file of the kubelet's is above the logs", _asking("/srv/a/b/*.log", "tail", {message: "/srv/a"}, {})),
        Hard("a file of the kubelet's is among the logs", _asking("/srv/a/*", "tail", {message: "/srv/a/end"}, {})),
        Hard(
            "another container makes mounts in the volume",
            _asking("/data/*.log", "tail", mounting, {"initContainers": [serving], "volumes": [volume]}),
        ),
    ]


def _identity(why: str, of_pod: Any, of_container: Any, profile: str = "tail", **annotations: str) -> Hard:
    container = {"securityContext": of_container} if of_container else {}
    spec = {"securityContext": of_pod} if of_pod else {}
    return Hard(why, _asking("/var/log/app/*.log", profile, container, spec, **annotations))


def _identities_by_hand() -> list[Hard]:
    root, user, strict, lax = {"runAsUser": 0}, {"runAsUser": 1000}, {"runAsNonRoot": True}, {"runAsNonRoot": False}
    as_root = {"run-as-user": "0"}
    return [
        _identity("root, and a profile that forbids it", {}, root, "non-root"),
        _identity("root by the pod, and a profile that forbids it", root, {}, "non-root"),
        _identity("root, and a patch that forbids it", {}, root, "patched-non-root"),
        _identity("root by the pod, and a patch that forbids it", root, {}, "patched-non-root"),
        _identity("a patch says root, our default forbids it", {}, {}, "patched-root"),
        _identity("a patch says root, the pod forbids it", strict, user, "patched-root"),
        _identity("a patch says root, the container forbids it to itself", {}, {**strict, **user}, "patched-root"),
        _identity("a profile says root, the pod forbids it", {**strict, **user}, {}, "as-root"),
        _identity("a profile says root", {}, {}, "as-root"),
        _identity("a profile says root, the writer is known", {}, user, "as-root"),
        _identity("a container that is root all the same", strict, {**root, **lax}),
        _identity("a container that is root all the same, and a profile", strict, {**root, **lax}, "non-root"),
        _identity("a user of the pod's where the container is root", user, root, "non-root"),
        _identity("root of the pod's where the container is somebody", root, user, "non-root"),
        _identity("root by annotation, the pod forbids it", {**strict, **user}, {}, "root-allowed", **as_root),
        _identity("root by annotation, an unknown writer", {}, {}, "root-allowed", **as_root),
        _identity("root by annotation, a profile forbids it", {}, {}, "non-root", **as_root),
        _identity("another user by annotation", {}, root, "non-root", **{"run-as-user": "1000"}),
        _identity("the profile does not care", {}, root, "any-user"),
        _identity("the profile pins somebody else", {}, root, "as-1000"),
        _identity("an image that is not root's", strict, {}, "non-root"),
        _identity("a group and no user", {"runAsGroup": 3000}, {}),
        _identity("a group of the files", {"fsGroup": 2000, "supplementalGroups": [3000]}, root),
    ]


def identities() -> list[Hard]:
    """Return every way in which pod, container, annotation and profile can say who runs."""
    users, demands = (None, 0, 1000), (None, True, False)
    options: tuple[dict[str, str], ...] = ({}, {"run-as-user": "0"}, {"run-as-user": "2000"})
    found = []
    for (pod_user, pod_strict, user, strict), wish, profile in product(
        product(users, demands, users, demands), options, ("tail", *PROFILES)
    ):
        of_pod = _said(runAsUser=pod_user, runAsNonRoot=pod_strict)
        of_container = _said(runAsUser=user, runAsNonRoot=strict)
        found.append(_identity(f"{of_pod} {of_container} {wish} {profile}", of_pod, of_container, profile, **wish))
    return found


def _said(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


#: By hand: mounts of the sidecar's own in and around the application's, and who it runs as.
HARD = [*_mounts_inside(), *_others_mounts(), *_identities_by_hand()]
