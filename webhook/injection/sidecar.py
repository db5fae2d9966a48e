"""The sidecar container for one pod, made from a profile."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jsonpatch
import msgspec
from msgspec.structs import replace

from webhook.injection.annotations import RequestedOptions
from webhook.injection.candidates import Candidate
from webhook.injection.container_schema import problems_in
from webhook.injection.log_sources import LogSource
from webhook.injection.pod import Container, EnvVar, PodSpec
from webhook.injection.profile import (
    LOG_CONTAINER,
    LOG_DIRECTORIES,
    LOG_FILES,
    LOG_MOUNTS,
    LOG_VOLUMES,
    PERSISTENT_DIRECTORIES,
    START,
    TOKEN_MASK_VOLUME_NAME,
    TOKEN_PATH,
    Profile,
)
from webhook.injection.reading_start import effective_start
from webhook.injection.reasons import Finding, NotInjectable, Reason, quote_untrusted
from webhook.injection.resources import sidecar_resources
from webhook.injection.security_context import ensure_startable_user, security_context
from webhook.injection.variables import Environment, escape_references
from webhook.injection.volume_types import names_with_content
from webhook.injection.volumes import Plan

__all__ = ["PATCH_ERRORS", "build", "hides_token"]

_TOKEN_MASK_MOUNT = {"name": TOKEN_MASK_VOLUME_NAME, "mountPath": TOKEN_PATH, "readOnly": True}
#: Raised by jsonpatch for an operation that can't be applied: its own errors, and Python's for a value of another type.
PATCH_ERRORS = (
    jsonpatch.JsonPatchException,
    jsonpatch.JsonPointerException,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
)


def build(
    spec: PodSpec,
    profile: Profile,
    options: RequestedOptions,
    candidates: Sequence[Candidate],
    plan: Plan,
    *,
    findings: list[Finding],
    volume_size_limit: str | None,
) -> dict[str, Any]:
    """Return the sidecar for the pod; append what is noteworthy about it to ``findings``.

    ``volume_size_limit`` is the size limit of each new volume. Raises :class:`NotInjectable`.
    """
    start = effective_start(profile, options, findings)
    environment = Environment(
        _fill_variables(profile.variables, plan, start) if profile.has_variable_placeholders else profile.variables
    )
    propagated = _propagated_volumes(spec) if plan.reused else frozenset()
    mounts = [_log_mount(source, environment, propagated) for source in plan.sources]
    container = dict(profile.container_template)
    if profile.has_command_placeholders:
        container["command"] = _fill_arguments(profile.command, plan, start)
    if profile.args:
        container["args"] = _fill_arguments(profile.args, plan, start)
    container["env"] = environment.variables
    resources = sidecar_resources(
        spec, profile, options, findings, volume_size_limit=volume_size_limit, new_volume_count=len(plan.new_volumes)
    )
    if resources is not None:
        container["resources"] = resources
    container["securityContext"] = security_context(spec, profile, options, _log_containers(candidates, plan), findings)
    mounts += profile.mounts
    if hides_token(spec, profile):
        mounts.append(_TOKEN_MASK_MOUNT)
    container["volumeMounts"] = mounts
    if profile.patch:
        unpatched, container = container, _patched(container, profile)
        ensure_startable_user(_patched_security_context(container), spec, profile, options)
        _ensure_patch_is_sound(container, unpatched, profile, plan)
    else:
        ensure_startable_user(container["securityContext"], spec, profile, options)
    return container


def hides_token(spec: PodSpec, profile: Profile) -> bool:
    """Return whether an empty volume is mounted over the service account's token in the sidecar."""
    return not profile.service_account_token and spec.automountServiceAccountToken is not False


def _patched(container: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the container after the operator's RFC 6902 patch."""
    try:
        patched: dict[str, Any] = jsonpatch.JsonPatch(list(profile.patch)).apply(msgspec.to_builtins(container))
    except PATCH_ERRORS as error:
        message = f"the patch of profile {quote_untrusted(profile.name)} does not fit its sidecar; ask your operator"
        raise NotInjectable(Finding(Reason.PROFILE_PATCH, message)) from error
    return patched


def _patched_security_context(patched: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the security context of a patched container, which may be of any type, as a mapping."""
    context = patched.get("securityContext")
    return context if isinstance(context, dict) else {}


def _ensure_patch_is_sound(patched: dict[str, Any], unpatched: dict[str, Any], profile: Profile, plan: Plan) -> None:
    """Raise :class:`NotInjectable` for a patched container that could not start, or that is no longer ours."""
    volumes = {volume["name"] for volume in profile.volumes} | {source.mount.name for source in plan.sources}
    volumes |= {mount["name"] for mount in unpatched["volumeMounts"]}
    if any(patched.get(key) != unpatched.get(key) for key in ("name", "restartPolicy")):
        problem = "changes the sidecar's name or restartPolicy"
    elif problems_in(patched, volumes, names_with_content(profile.volumes)):
        problem = "makes a sidecar that can't start"
    else:
        return
    message = f"the patch of profile {quote_untrusted(profile.name)} {problem}; ask your operator"
    raise NotInjectable(Finding(Reason.PROFILE_PATCH, message))


# --- logs ------------------------------------------------------------------------------------------------------


def _propagated_volumes(spec: PodSpec) -> frozenset[str]:
    """Return the names of volumes in which a container of the pod makes mounts that other containers see."""
    return frozenset(
        mount.name
        for containers in (spec.containers, spec.initContainers)
        for container in containers or ()
        for mount in container.volumeMounts or ()
        if mount.mountPropagation == "Bidirectional"
    )


def _log_mount(source: LogSource, environment: Environment, propagated: Collection[str]) -> dict[str, Any]:
    """Return the sidecar's mount of a source; ``propagated`` are volumes in which another container makes mounts."""
    mount: dict[str, Any] = {"name": source.mount.name, "mountPath": source.sidecar_path, "readOnly": True}
    if source.mount.subPathExpr:
        mount["subPathExpr"] = environment.add_needed_variables(source.variables, source.mount.subPathExpr)
    elif source.mount.subPath:
        mount["subPath"] = source.mount.subPath
    if source.mount.mountPropagation in ("Bidirectional", "HostToContainer") or source.mount.name in propagated:
        # mounts that are made later are seen in the sidecar; mounts in the sidecar never reach the node
        mount["mountPropagation"] = "HostToContainer"
    return mount


def _log_containers(candidates: Sequence[Candidate], plan: Plan) -> list[Container]:
    """Return the containers of ``Plan.log_containers``, ordinary ones before init containers."""
    log_containers = []
    for candidate in candidates:
        if candidate.selected and candidate.container.name in plan.log_containers:
            log_containers.append(candidate.container)
    return log_containers


def _fill_files(plan: Plan, _start: str) -> list[str]:
    return [pattern for source in plan.sources for pattern in source.sidecar_patterns]


def _fill_directories(plan: Plan, _start: str) -> list[str]:
    # a file that is mounted by itself has no directory of its own to show
    return [
        "/".join((source.sidecar_path, *directory)) if name else source.sidecar_path
        for source in plan.sources
        for directory, _, name in source.patterns
    ]


def _fill_volumes(plan: Plan, _start: str) -> list[str]:
    return [source.mount.name for source in plan.sources]


def _fill_mounts(plan: Plan, _start: str) -> list[str]:
    return [source.sidecar_path for source in plan.sources]


def _fill_container(plan: Plan, _start: str) -> list[str]:
    return sorted(plan.log_containers) if len(plan.log_containers) == 1 else []


def _fill_persistent_directories(plan: Plan, _start: str) -> list[str]:
    return [source.sidecar_path for source in plan.sources if source.persistent]


def _fill_start(_plan: Plan, start: str) -> list[str]:
    return [start] if start else []


_FILLERS = {
    LOG_FILES: _fill_files,
    LOG_DIRECTORIES: _fill_directories,
    LOG_VOLUMES: _fill_volumes,
    LOG_MOUNTS: _fill_mounts,
    LOG_CONTAINER: _fill_container,
    PERSISTENT_DIRECTORIES: _fill_persistent_directories,
    START: _fill_start,
}
#: In a variable, the items of these are joined by colons, which no mount's path contains. Those of the others become a
#: JSON list, as log shippers read it.
_JOINED_BY_COLONS = frozenset({LOG_CONTAINER, PERSISTENT_DIRECTORIES, START})


def _fill_arguments(items: Sequence[str], plan: Plan, start: str) -> list[str]:
    """Return the items with each placeholder replaced by one item per file, directory or volume."""
    filled: list[str] = []
    for item in items:
        if item in _FILLERS:
            filled += map(escape_references, dict.fromkeys(_FILLERS[item](plan, start)))
        else:
            filled.append(item)
    return filled


def _fill_variables(variables: Sequence[EnvVar], plan: Plan, start: str) -> list[EnvVar]:
    """Return the variables with placeholders filled in; one that is joined by colons and would be empty is left out."""
    filled = []
    for variable in variables:
        placeholder = variable.value
        if placeholder not in _FILLERS:
            filled.append(variable)
            continue
        texts = _FILLERS[placeholder](plan, start)
        if placeholder not in _JOINED_BY_COLONS:
            filled.append(replace(variable, value=_json_list(texts)))
        elif texts:
            filled.append(replace(variable, value=escape_references(":".join(texts))))
    return filled


def _json_list(texts: Sequence[str]) -> str:
    return escape_references(json.dumps(list(dict.fromkeys(texts)), ensure_ascii=False))
