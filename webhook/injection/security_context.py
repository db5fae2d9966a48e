"""The sidecar's security context: the user that writes the logs, and no privilege that reading them does not need."""

from collections.abc import Mapping, Sequence
from typing import Any

from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import Container, PodSpec, SecurityContext
from webhook.injection.profile import Profile
from webhook.injection.reasons import Finding, NotInjectable, Reason, quote_untrusted

__all__ = ["FALLBACK_GROUP", "FALLBACK_USER", "ensure_startable_user", "security_context"]

#: The sidecar's user and group if the pod does not say who writes the files: a non-root user, and the group that images
#: give files which any user may read (a convention of OpenShift).
FALLBACK_USER = 65532
FALLBACK_GROUP = 0
#: A pod with a user namespace has only this many users (KEP-127).
USERS_IN_NAMESPACE = 65536

#: Stands in for a missing securityContext.
_EMPTY_SECURITY_CONTEXT = SecurityContext()
_DROP_ALL_CAPABILITIES = {"drop": ["ALL"]}
_RUNTIME_DEFAULT = {"type": "RuntimeDefault"}


def security_context(
    spec: PodSpec,
    profile: Profile,
    options: RequestedOptions,
    log_containers: Sequence[Container],
    findings: list[Finding],
) -> dict[str, Any]:
    """Return a security context that restricted Pod Security accepts unless the user is root or the profile says else.

    ``log_containers`` are those of ``Plan.log_containers``, ordinary containers before init containers. The profile's
    own keys win; one that it sets to null is left out. Raises :class:`NotInjectable` for a user id that the profile
    does not allow.
    """
    pod_context = spec.securityContext or _EMPTY_SECURITY_CONTEXT
    users: list[int | None] = []
    # user, group and SELinux options are copied from one container, as they belong together
    source_context, first_known_user = _EMPTY_SECURITY_CONTEXT, None
    for container in log_containers:
        container_context = container.securityContext or _EMPTY_SECURITY_CONTEXT
        user = container_context.runAsUser if container_context.runAsUser is not None else pod_context.runAsUser
        if not users or (first_known_user is None and user is not None):
            source_context, first_known_user = container_context, user
        users.append(user)
    user = _user(profile, options, users, first_known_user, findings)
    group = source_context.runAsGroup if source_context.runAsGroup is not None else pod_context.runAsGroup
    # a user that only the pod sets, without a group, keeps the group of the image, as in the application's container
    if group is None and (user is None or options.run_as_user == user):
        group = FALLBACK_GROUP
    if user is None:
        user = FALLBACK_USER
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": _DROP_ALL_CAPABILITIES,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
        "seccompProfile": _RUNTIME_DEFAULT,
    }
    if group is not None:
        context["runAsGroup"] = group
    if source_context.seLinuxOptions:
        # the pod's own are inherited
        context["seLinuxOptions"] = source_context.seLinuxOptions
    if pod_context.appArmorProfile is not None and pod_context.appArmorProfile.get("type") == "Localhost":
        # the application's AppArmor profile could deny the sidecar its own program
        context["appArmorProfile"] = _RUNTIME_DEFAULT
    if profile.security_context:
        context |= profile.security_context
        context = {key: value for key, value in context.items() if value is not None}
    return context


def _user(
    profile: Profile,
    options: RequestedOptions,
    users: Sequence[int | None],
    first_known_user: int | None,
    findings: list[Finding],
) -> int | None:
    """Return the sidecar's user, None if it is unknown.

    ``users`` are those of the log containers, None where unknown, and ``first_known_user`` is the first known one.

    =============================  ========================================================================
    the user is set by             the sidecar's user
    =============================  ========================================================================
    an annotation 0, not allowed   none: the pod is declined. It is allowed by the profile's ``allowRoot``, and
                                   where all users are known as 0
    the profile                    the profile's; an annotation has no effect
    the pod: one user, known       that one; an annotation has no effect
    the pod: unknown               the annotation's, else unknown
    the pod: several               the annotation's, else the first known one, with a warning
    =============================  ========================================================================
    """
    asked = options.run_as_user
    # where the pod's own user is root, the sidecar is root in any case
    if asked == 0 and not profile.allow_root and set(users) != {0}:
        # the message does not suggest another id: it could not read files that only root can read
        name = quote_untrusted(profile.name)
        message = f"profile {name} does not allow it; if the application runs as root, set runAsUser: 0 in the pod"
        raise NotInjectable(Finding(Reason.ROOT_NOT_ALLOWED, message, annotation="run-as-user", value="0"))
    if "runAsUser" in profile.security_context:
        profile_user: int | None = profile.security_context["runAsUser"]
        if asked not in (None, profile_user):
            says = f"sets user {profile_user}" if profile_user is not None else "leaves the user to the cluster"
            message = f"has no effect: profile {quote_untrusted(profile.name)} {says}"
            findings.append(Finding(Reason.NO_EFFECT, message, annotation="run-as-user", value=str(asked)))
        return profile_user
    if asked is not None and len(set(users)) == 1 and first_known_user not in (None, asked):
        message = f"has no effect: the pod sets user {first_known_user}"
        findings.append(Finding(Reason.NO_EFFECT, message, annotation="run-as-user", value=str(asked)))
        return first_known_user
    if asked is not None:
        return asked
    if users and first_known_user is None:
        message = f"the pod sets no user; the sidecar runs as user {FALLBACK_USER}"
        findings.append(Finding(Reason.UNKNOWN_USER, message))
    elif len(set(users)) > 1:
        others = " and ".join("unknown" if uid is None else str(uid) for uid in dict.fromkeys(users))
        message = f"logs are written by users {others[:32]}, read by {first_known_user}; set it if files are not read"
        findings.append(Finding(Reason.MIXED_USERS, message, annotation="run-as-user"))
    return first_known_user


def ensure_startable_user(
    context: Mapping[str, Any], spec: PodSpec, profile: Profile, options: RequestedOptions
) -> None:
    """Raise :class:`NotInjectable` for a finished sidecar whose user would keep the kubelet from starting it.

    ``context`` is the container's security context after the profile's patch; it inherits from the pod's. The API
    server accepts such a container: only the kubelet compares user and ``runAsNonRoot``.

    ====================  ==============  =================================================
    runAsNonRoot          runAsUser       the kubelet
    ====================  ==============  =================================================
    true                  0               "container's runAsUser breaks non-root policy"
    true                  another, none   starts it (none: if the image's user is not root)
    false, none           any             starts it
    any, hostUsers false  over 65535      no such user in the pod's user namespace
    ====================  ==============  =================================================

    Of the last row there is one for ``runAsGroup``, too.
    """
    pod_context = spec.securityContext or _EMPTY_SECURITY_CONTEXT
    user = context.get("runAsUser")
    if user is None:
        user = pod_context.runAsUser
    non_root = context.get("runAsNonRoot")
    if non_root is None:
        non_root = pod_context.runAsNonRoot
    annotated = "run-as-user" if options.run_as_user == user else ""
    value = str(user) if annotated else ""
    if user == 0 and non_root is True:
        who = f"profile {quote_untrusted(profile.name)}" if context.get("runAsNonRoot") else "the pod"
        message = f"{who} requires runAsNonRoot, but the sidecar would be user 0; use another profile"
        raise NotInjectable(Finding(Reason.ROOT_UNDER_NON_ROOT, message, annotation=annotated, value=value))
    if spec.hostUsers is not False:
        return
    if isinstance(user, int) and user >= USERS_IN_NAMESPACE:
        message = f"a pod with hostUsers: false has no user {user}; write one below {USERS_IN_NAMESPACE}"
        raise NotInjectable(Finding(Reason.USER_NOT_MAPPED, message, annotation=annotated, value=value))
    group = context.get("runAsGroup")
    if isinstance(group, int) and group >= USERS_IN_NAMESPACE:
        message = f"a pod with hostUsers: false has no group {group}, which the sidecar would have"
        raise NotInjectable(Finding(Reason.USER_NOT_MAPPED, message))
