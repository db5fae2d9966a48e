"""A profile tried out on sample pods: what it makes of them must be accepted and start, its patch included."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jsonpatch

from webhook.configuration.document_schemas import SIDECAR
from webhook.configuration.prerequisites import prerequisites
from webhook.injection.admission import admit
from webhook.injection.container_schema import MAX_CONTAINER_BYTES, problems_in
from webhook.injection.paths import components, within
from webhook.injection.profile import Configuration, Profile
from webhook.injection.review import parse_review
from webhook.injection.sidecar import PATCH_ERRORS
from webhook.injection.volume_types import names_with_content
from webhook.json_values import Path
from webhook.schema import Report

__all__ = ["try_out"]

_AMOUNTS = {"cpu": "1", "memory": "1Gi"}
_WRITABLE = {"name": "data", "mountPath": "/srv/app/logs", "subPath": "logs"}
_SAMPLES: tuple[dict[str, Any], ...] = (
    # a pod that says nothing
    {"containers": [{"name": "app", "image": "app"}]},
    # one that says everything: whose it is, its resources, several places
    {
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "appArmorProfile": {"type": "Localhost"}},
        "containers": [
            {
                "name": name,
                "image": "app",
                "resources": {"requests": _AMOUNTS, "limits": {**_AMOUNTS, "ephemeral-storage": "1Gi"}},
                "securityContext": {"seLinuxOptions": {"level": "s0:c1,c2"}},
                "volumeMounts": [{**_WRITABLE, "mountPath": f"/srv/{name}/logs"}],
            }
            for name in ("app", "worker")
        ],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
    # one without a token, with resources for all containers
    {
        "automountServiceAccountToken": False,
        "resources": {"limits": _AMOUNTS},
        "containers": [{"name": "app", "image": "app"}],
    },
)
_LOGS = (None, "/srv/app/logs/*.log,/srv/worker/logs/*.log,/var/log/a/*.log,/var/log/b/**/*.log", None)


class _Sidecar(NamedTuple):
    """A finished sidecar before the profile's patch, the names of its pod's volumes, and which may come with files."""

    container: dict[str, Any]
    volumes: frozenset[str]
    with_content: frozenset[str]

    def problems_in(self, container: Any) -> list[tuple[Path, str]]:
        """Return the problems in the sidecar as it is, or as the patch has made it."""
        return problems_in(container, self.volumes, self.with_content)


def try_out(profile: Profile, report: Report) -> Profile:
    """Return the profile, with the ports that its patch opens and what it needs; report why it could never start."""
    sidecars = _sidecars(profile, report)
    if not sidecars:
        return profile
    container: Mapping[str, Any] = sidecars[0].container
    for sidecar in sidecars:
        for path, message in sidecar.problems_in(sidecar.container):
            if _is_of_logs(sidecar.container, path, profile):
                report(("logsMountPath",), f"in a pod: {message}")
            else:
                # the lists of the finished sidecar have more items than the profile's
                report(("sidecar", *path[:1]), f"in a pod: {_said(path, message)}")
    needs = profile.prerequisites
    if profile.patch:
        container = _try_patch(profile, sidecars, report)
        # as the API server reads it: a null is nothing. What is wrong with it was reported
        fields = SIDECAR.read(container, (), lambda _path, _message: None)
        needs = tuple(dict.fromkeys((*needs, *(sentence for _, sentence in prerequisites(fields, ())))))
    ports = {port.get("containerPort") for port in container.get("ports") or ()}
    opened = {port for port in ports if isinstance(port, int)}
    return replace(profile, ports=profile.ports | opened, prerequisites=needs)


def _sidecars(profile: Profile, report: Report) -> list[_Sidecar]:
    """Return the sidecar in each sample pod; report why there is none in the first, which any profile fits."""
    plain = replace(profile, patch=(), setup_steps=())
    configuration = Configuration({plain.name: plain}, plain.name)
    sidecars = []
    for number, (spec, logs) in enumerate(zip(_SAMPLES, _LOGS, strict=True)):
        pod = {"metadata": {"name": "sample", "annotations": _annotations(configuration.prefix, logs)}, "spec": spec}
        verdict = admit(parse_review(_review(pod)), configuration)
        if verdict.error is not None:
            report((), f"can't be used: {type(verdict.error).__name__}: {verdict.error}")
            return []
        if verdict.injected:
            made = jsonpatch.apply_patch(pod, json.loads(verdict.patch))["spec"]
            containers = [*made.get("initContainers", ()), *made["containers"]]
            container = next(one for one in containers if one["name"] == plain.container_name)
            volumes = frozenset(volume["name"] for volume in made.get("volumes", ()))
            sidecars.append(_Sidecar(container, volumes, names_with_content(plain.volumes)))
        elif number == 0:
            finding = verdict.findings[0]
            report(
                (finding.annotation,) if finding.annotation == "logs" else (),
                f"no pod could be injected: {finding.text()}",
            )
            return []
    return sidecars


def _is_of_logs(container: Mapping[str, Any], path: Path, profile: Profile) -> bool:
    """Return whether a defect is that of a mount where the profile has the logs."""
    root = profile.logs_mount_path
    if root is None or path[:1] != ("volumeMounts",) or len(path) == 1 or not isinstance(path[1], int):
        return False
    return within(components(container["volumeMounts"][path[1]]["mountPath"]), components(root))


def _annotations(prefix: str, logs: str | None) -> dict[str, str]:
    annotations = {f"{prefix}inject": "true"}
    return annotations if logs is None else {**annotations, f"{prefix}logs": logs}


def _review(pod: Mapping[str, Any]) -> bytes:
    request = {
        "uid": "sample",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": "sample",
        "object": pod,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


# --- the patch -------------------------------------------------------------------------------------------------


class _Outcome(NamedTuple):
    """What the patch makes of a sidecar, step by step; ``failure`` is why it ended early."""

    sidecar: _Sidecar
    steps: list[Any]
    failure: str


def _try_patch(profile: Profile, sidecars: Sequence[_Sidecar], report: Report) -> Mapping[str, Any]:
    """Return the patched sidecar, nothing where it could not start.

    A patch may fit some pods only, so it has to fit one sample; what it makes of that one has to start. For all other
    pods the same is asked when they come.
    """
    varying = {
        key
        for sidecar in sidecars
        for key in sidecar.container.keys() | sidecars[0].container.keys()
        if sidecar.container.get(key) != sidecars[0].container.get(key)
    }
    outcomes = [_apply(profile.patch, sidecar, varying) for sidecar in sidecars]
    applied = next((outcome for outcome in outcomes if not outcome.failure), None)
    if applied is None:
        furthest = max(outcomes, key=lambda outcome: len(outcome.steps))
        report(("patch", len(furthest.steps) - 1), furthest.failure)
        return furthest.sidecar.container
    patched: dict[str, Any] = applied.steps[-1]
    wrong = applied.sidecar.problems_in(patched)
    for path, message in wrong:
        report(
            ("patch", *_culprit(applied, path, message)), f"makes a sidecar that can't start: {_said(path, message)}"
        )
    return {} if wrong else patched


def _apply(operations: Sequence[Mapping[str, Any]], sidecar: _Sidecar, varying: set[str]) -> _Outcome:
    """Apply the operations one by one. A test that depends on the pod, and on nothing else, is taken as passed."""
    steps: list[Any] = [sidecar.container]
    for operation in operations:
        try:
            made = jsonpatch.JsonPatch([operation]).apply(steps[-1])
        except PATCH_ERRORS as error:
            if not _depends_on_pod(operation, steps[-1], varying):
                return _Outcome(sidecar, steps, f"does not fit the sidecar: {_in_words(operation, error)}")
            made = steps[-1]
        steps.append(made)
        if operation["op"] == "copy" and len(json.dumps(made)) > MAX_CONTAINER_BYTES:
            return _Outcome(sidecar, steps[:-1], f"makes the sidecar larger than {MAX_CONTAINER_BYTES} bytes")
    return _Outcome(sidecar, steps, "")


def _in_words(operation: Mapping[str, Any], error: Exception) -> str:
    """Return why an operation does not fit; jsonpatch's own words are for who debugs it."""
    if isinstance(error, jsonpatch.JsonPatchTestFailed):
        return f"{operation['path'][:80]} has another value than the one to test for"
    return f"there is nothing like {str(operation.get('from', operation['path']))[:80]}"


def _depends_on_pod(operation: Mapping[str, Any], container: Any, varying: set[str]) -> bool:
    """Return whether a test compares something that is there with a value that it has in other pods."""
    if operation["op"] != "test" or operation["path"].split("/")[1] not in varying:
        return False
    try:
        jsonpatch.JsonPointer(operation["path"]).resolve(container)
    except PATCH_ERRORS:
        return False
    return True


def _culprit(outcome: _Outcome, path: Path, message: str) -> tuple[int, ...]:
    """Return the number of the operation since which something is wrong, as far as that can be told."""
    number = len(outcome.steps) - 1
    while number > 0 and (path, message) in outcome.sidecar.problems_in(outcome.steps[number - 1]):
        number -= 1
    return (number - 1,) if number > 0 else ()


def _said(path: Path, message: str) -> str:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"{where} {message}" if where else f"it {message}"
