"""The container that is added: a profile filled in for one pod."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch
import msgspec
from msgspec.structs import replace

from webhook.injection.annotations import NotInjectable, RequestedOptions
from webhook.injection.container_rules import defects
from webhook.injection.identity import reject_unstartable_user, security_context
from webhook.injection.participants import Participant
from webhook.injection.places import Place
from webhook.injection.pod import Container, EnvVar, PodSpec
from webhook.injection.profile import EMPTY_VOLUME, NAME_PREFIX, TOKEN_PATH, Profile
from webhook.injection.reasons import Finding, Reason, quote_untrusted
from webhook.injection.resources import resources
from webhook.injection.start import requested_start
from webhook.injection.variables import Environment, escape
from webhook.injection.volumes import Plan

__all__ = ["PATCH_ERRORS", "build", "masks_token"]

#: What jsonpatch raises where an operation does not fit: its own errors, and Python's where a value is of another type.
PATCH_ERRORS = (
    *(jsonpatch.JsonPatchException, jsonpatch.JsonPointerException),
    *(TypeError, ValueError, LookupError, AttributeError),
)


def build(
    spec: PodSpec,
    profile: Profile,
    options: RequestedOptions,
    participants: Sequence[Participant],
    plan: Plan,
    *,
    size_limit: str | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the sidecar for the pod, and what is noteworthy about it. Raises :class:`NotInjectable`.

    ``size_limit`` is that of each new volume.
    """
    findings: list[Finding] = []
    start = requested_start(profile, options, findings)
    environment = Environment(_filled(profile.variables, plan, start) if profile.fills_variables else profile.variables)
    mounts = [_log_mount(place, environment) for place in plan.places]
    container = dict(profile.beginning)
    if profile.fills_command:
        container["command"] = _fill(profile.command, plan, start)
    if profile.args:
        container["args"] = _fill(profile.args, plan, start)
    container["env"] = environment.variables
    amounts = resources(spec, profile, options, (size_limit, len(plan.new_volumes)), findings)
    if amounts is not None:
        container["resources"] = amounts
    container["securityContext"] = security_context(spec, profile, options, _writers(participants, plan), findings)
    mounts += profile.mounts
    if masks_token(spec, profile):
        mounts.append(TOKEN_MASK)
    container["volumeMounts"] = mounts
    if profile.patch:
        unpatched, container = container, _patched(container, profile)
        reject_unstartable_user(_security_context(container), spec, profile, options)
        _reject_defects(container, unpatched, profile, plan)
    else:
        reject_unstartable_user(container["securityContext"], spec, profile, options)
    return container, findings


#: Mounts an empty volume where the service account's token would be.
TOKEN_MASK = {"name": f"{NAME_PREFIX}{EMPTY_VOLUME}", "mountPath": TOKEN_PATH, "readOnly": True}


def masks_token(spec: PodSpec, profile: Profile) -> bool:
    """Return whether an empty volume has to keep the service account's token out of the sidecar."""
    return not profile.service_account_token and spec.automountServiceAccountToken is not False


def _patched(container: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the container after the operator's RFC 6902 patch."""
    try:
        patched: dict[str, Any] = jsonpatch.JsonPatch(list(profile.patch)).apply(msgspec.to_builtins(container))
    except PATCH_ERRORS as error:
        message = f"the patch of profile {quote_untrusted(profile.name)} does not fit its sidecar; ask your operator"
        raise NotInjectable(Finding(Reason.PROFILE_PATCH, "", "", message)) from error
    return patched


def _security_context(patched: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the security context of a container that a patch may have made anything of."""
    context = patched.get("securityContext")
    return context if isinstance(context, dict) else {}


def _reject_defects(patched: dict[str, Any], unpatched: dict[str, Any], profile: Profile, plan: Plan) -> None:
    """Raise :class:`NotInjectable` for a patched container that could not start, or that is no longer ours."""
    volumes = {volume["name"] for volume in profile.volumes} | {place.mount.name for place in plan.places}
    volumes |= {mount["name"] for mount in unpatched["volumeMounts"]}
    renamed = any(patched.get(key) != unpatched.get(key) for key in ("name", "restartPolicy"))
    if renamed or defects(patched, volumes):
        message = (
            f"the patch of profile {quote_untrusted(profile.name)} makes a sidecar that can't start; ask your operator"
        )
        raise NotInjectable(Finding(Reason.PROFILE_PATCH, "", "", message))


# --- logs ------------------------------------------------------------------------------------------------------


def _log_mount(place: Place, environment: Environment) -> dict[str, Any]:
    mount: dict[str, Any] = {"name": place.mount.name, "mountPath": place.path, "readOnly": True}
    if place.mount.subPathExpr:
        mount["subPathExpr"] = environment.adopt(place.variables, place.mount.subPathExpr)
    elif place.mount.subPath:
        mount["subPath"] = place.mount.subPath
    if place.mount.mountPropagation in ("Bidirectional", "HostToContainer"):
        # what is mounted on the node later is seen; what the sidecar mounts is nobody's business
        mount["mountPropagation"] = "HostToContainer"
    return mount


def _writers(participants: Sequence[Participant], plan: Plan) -> list[Container]:
    """Return the containers whose logs are read."""
    writers = []
    for participant in participants:
        if participant.chosen and participant.container.name in plan.writers:
            writers.append(participant.container)
    return writers


def _files(plan: Plan, _start: str) -> list[str]:
    return [pattern for place in plan.places for pattern in place.patterns]


def _folders(plan: Plan, _start: str) -> list[str]:
    # a file that is mounted by itself has no folder of its own to show
    return [
        "/".join((place.path, *folder)) if name else place.path
        for place in plan.places
        for folder, _, name in place.files
    ]


def _volumes(plan: Plan, _start: str) -> list[str]:
    return [place.mount.name for place in plan.places]


def _persistent_folders(plan: Plan, _start: str) -> list[str]:
    return [place.path for place in plan.places if place.persistent]


def _start(_plan: Plan, start: str) -> list[str]:
    return [start] if start else []


_PLACES = {
    "<log-files>": _files,
    "<log-folders>": _folders,
    "<log-volumes>": _volumes,
    "<persistent-folders>": _persistent_folders,
    "<start>": _start,
}
#: As a variable's value these are text: no mount's path has a colon. Shippers read the others as JSON.
_TEXTS = frozenset({"<persistent-folders>", "<start>"})


def _fill(items: Sequence[str], plan: Plan, start: str) -> list[str]:
    """Return the items with each placeholder replaced by one item a file, folder or volume."""
    filled: list[str] = []
    for item in items:
        if item in _PLACES:
            filled += map(escape, dict.fromkeys(_PLACES[item](plan, start)))
        else:
            filled.append(item)
    return filled


def _filled(variables: Sequence[EnvVar], plan: Plan, start: str) -> list[EnvVar]:
    """Return the variables with each placeholder filled in; a text that would be empty has no variable."""
    filled = []
    for variable in variables:
        placeholder = variable.value
        if placeholder not in _PLACES:
            filled.append(variable)
            continue
        texts = _PLACES[placeholder](plan, start)
        if placeholder not in _TEXTS:
            filled.append(replace(variable, value=_as_list(texts)))
        elif texts:
            filled.append(replace(variable, value=escape(":".join(texts))))
    return filled


def _as_list(texts: Sequence[str]) -> str:
    return escape(json.dumps(list(dict.fromkeys(texts)), ensure_ascii=False))
