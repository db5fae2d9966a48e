"""The container that is added: a profile filled in for one pod."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import jsonpatch
import msgspec

from webhook.injection.annotations import Declined, Wishes
from webhook.injection.identity import security_context
from webhook.injection.pod import PodSpec
from webhook.injection.profile import EMPTY_VOLUME, NAME_PREFIX, TOKEN_PATH, Profile
from webhook.injection.reasons import Finding, Reason, shown
from webhook.injection.resources import resources
from webhook.injection.variables import SIDECAR_VARIABLES, Environment, escape
from webhook.injection.volumes import Participant, Place, Plan

__all__ = ["build", "masks_token"]


def build(
    spec: PodSpec,
    profile: Profile,
    wishes: Wishes,
    participants: Sequence[Participant],
    plan: Plan,
    *,
    size_limit: str | None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the sidecar for the pod, and what is noteworthy about it. Raises :class:`Declined`.

    ``size_limit`` is that of each new volume.
    """
    findings: list[Finding] = []
    environment = Environment((*SIDECAR_VARIABLES, *profile.env))
    mounts = [_log_mount(place, environment) for place in plan.places]
    container: dict[str, Any] = {"name": profile.container_name, **profile.container}
    if profile.native:
        container["restartPolicy"] = "Always"
    if profile.command:
        container["command"] = profile.command if profile.encoded_command is not None else _fill(profile.command, plan)
    if profile.args:
        container["args"] = _fill(profile.args, plan)
    container["env"] = [
        msgspec.structs.replace(variable, value=_fill_value(variable.value, plan))
        if variable.value is not None and variable.value in _PLACES
        else variable
        for variable in environment.variables
    ]
    amounts = resources(spec, profile, wishes, (size_limit, len(plan.new_volumes)), findings)
    if amounts is not None:
        container["resources"] = amounts
    writers = [p.container for p in participants if p.chosen and p.container.name in plan.writers]
    container["securityContext"] = security_context(spec, profile, wishes, writers, findings)
    mounts += profile.mounts
    if masks_token(spec, profile):
        mounts.append({"name": f"{NAME_PREFIX}{EMPTY_VOLUME}", "mountPath": TOKEN_PATH, "readOnly": True})
    container["volumeMounts"] = mounts
    if profile.patch:
        container = _patched(container, profile)
    return container, findings


def masks_token(spec: PodSpec, profile: Profile) -> bool:
    """Say whether an empty volume has to keep the service account's token out of the sidecar."""
    return not profile.service_account_token and spec.automountServiceAccountToken is not False


def _patched(container: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the container after the operator's RFC 6902 patch."""
    plain = msgspec.to_builtins(container)
    try:
        patched: dict[str, Any] = jsonpatch.JsonPatch(list(profile.patch)).apply(plain)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        remedy = f"the patch of profile {shown(profile.name)} does not fit its sidecar; ask your operator"
        raise Declined(Finding(Reason.PROFILE_PATCH, "", "", remedy)) from error
    return patched


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


def _files(plan: Plan) -> Iterator[str]:
    for place in plan.places:
        yield from place.patterns


def _folders(plan: Plan) -> Iterator[str]:
    for place in plan.places:
        for folder, _, name in place.files:
            # a file that is mounted by itself has no folder of its own to show
            yield "/".join((place.path, *folder)) if name else place.path


def _volumes(plan: Plan) -> Iterator[str]:
    for place in plan.places:
        yield place.mount.name


_PLACES = {"<log-files>": _files, "<log-folders>": _folders, "<log-volumes>": _volumes}


def _fill(items: Sequence[str], plan: Plan) -> list[str]:
    """Return the items with each placeholder replaced by one item a file, folder or volume."""
    filled: list[str] = []
    for item in items:
        if item in _PLACES:
            filled.extend(escape(text) for text in dict.fromkeys(_PLACES[item](plan)))
        else:
            filled.append(item)
    return filled


def _fill_value(placeholder: str, plan: Plan) -> str:
    """Return a JSON list: shippers read it in their configuration as a list."""
    texts = list(dict.fromkeys(_PLACES[placeholder](plan)))
    return escape(json.dumps(texts, ensure_ascii=False))
