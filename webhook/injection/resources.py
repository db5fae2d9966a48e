"""The sidecar's resources: the profile's, what the annotations ask for within its bounds, and the pod's class kept."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import PodSpec
from webhook.injection.profile import Bound, Profile
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import Finding, NotInjectable, Reason

__all__ = ["clamp", "sidecar_resources"]

_RESOURCE_ANNOTATIONS = (
    ("cpu-request", "requests", "cpu"),
    ("cpu-limit", "limits", "cpu"),
    ("memory-request", "requests", "memory"),
    ("memory-limit", "limits", "memory"),
)


def clamp(key: str, value: str, bound: Bound | None, findings: list[Finding]) -> str:
    """Return the annotation's value, or the bound that it is beyond, with a finding."""
    if bound is None:
        return value
    amount = parse_quantity(value)
    for limit, word in ((bound.minimum, "below"), (bound.maximum, "above")):
        end = parse_quantity(limit)
        if amount is None or end is None or limit is None:
            continue
        if (amount < end) if word == "below" else (amount > end):
            message = f"is {word} the profile's bound; {limit} is used"
            findings.append(Finding(Reason.BOUNDED, message, annotation=key, value=value))
            return limit
    return value


def sidecar_resources(
    spec: PodSpec,
    profile: Profile,
    options: RequestedOptions,
    new_volumes: tuple[str | None, int],
    findings: list[Finding],
) -> Mapping[str, Mapping[str, str]] | None:
    """Return the sidecar's resources, or None in a pod that has its own for all containers.

    ``new_volumes`` is the size limit of the log volumes that are added, and how many they are.
    Raises :class:`NotInjectable` for a request above its limit.

    The pod keeps its quality of service: where every container's limits equal its requests, ours do too
    (k8s.io/kubernetes pkg/apis/core/v1/helper/qos).
    """
    requested = options.resource_annotations
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        # a pod with pod-level resources is refused where its containers ask for more in sum (KEP-2837)
        message = "has no effect: the pod has pod-level resources"
        findings += [
            Finding(Reason.NO_EFFECT, message, annotation=key, value=requested[key])
            for key, _, _ in _RESOURCE_ANNOTATIONS
            if key in requested
        ]
        return None
    guaranteed = _is_guaranteed(spec)
    if not requested and not guaranteed and not _limits_storage(spec):
        return profile.resources
    resources = {"requests": dict(profile.requests), "limits": dict(profile.limits)}
    _limit_storage(spec, new_volumes, resources)
    for key, kind, name in _RESOURCE_ANNOTATIONS:
        if key in requested:
            resources[kind][name] = clamp(key, requested[key], profile.bounds.get(key), findings)
    if guaranteed and profile.guaranteed_cpu_limit and requested.keys().isdisjoint(("cpu-request", "cpu-limit")):
        resources["limits"].setdefault("cpu", profile.guaranteed_cpu_limit)
    for name in ("cpu", "memory"):
        _lower_request_to_limit(name, requested, resources)
    if guaranteed:
        _set_requests_to_limits(requested, resources, findings)
    return resources


def _set_requests_to_limits(
    requested: Mapping[str, str], resources: dict[str, dict[str, str]], findings: list[Finding]
) -> None:
    """Make the requests equal the limits."""
    for name in ("cpu", "memory"):
        limit = resources["limits"].setdefault(name, resources["requests"][name])
        key = f"{name}-request"
        if key in requested and _amount(resources["requests"][name]) != _amount(limit):
            message = f"has no effect: in a Guaranteed pod the request is the limit, {limit}"
            findings.append(Finding(Reason.NO_EFFECT, message, annotation=key, value=requested[key]))
        resources["requests"][name] = limit


def _lower_request_to_limit(name: str, requested: Mapping[str, str], resources: dict[str, dict[str, str]]) -> None:
    """Pull the profile's request down to a limit; raise :class:`NotInjectable` for a request above it."""
    limit, request = resources["limits"].get(name), resources["requests"][name]
    if limit is None or _amount(request) <= _amount(limit):
        return
    key = f"{name}-request"
    if key not in requested:
        resources["requests"][name] = limit
        return
    message = f"is above the limit {limit}; write less, or a higher {name}-limit"
    raise NotInjectable(Finding(Reason.REQUEST_ABOVE_LIMIT, message, annotation=key, value=requested[key]))


def _amount(text: object) -> Fraction:
    return parse_quantity(text) or Fraction(0)


def _limit_storage(spec: PodSpec, new_volumes: tuple[str | None, int], resources: dict[str, dict[str, str]]) -> None:
    """Keep the ephemeral-storage resources only where every container has a limit.

    The kubelet adds up those that exist, and evicts a pod that uses more: our log volumes count as well.
    """
    key = "ephemeral-storage"
    if not _limits_storage(spec):
        resources["limits"].pop(key, None)
        resources["requests"].pop(key, None)
        return
    limit, number = new_volumes
    size = _amount(limit) * number
    if size > _amount(resources["limits"][key]):
        resources["limits"][key] = str(ceil(size))


def _limits_storage(spec: PodSpec) -> bool:
    """Return whether every container has a limit on ephemeral storage."""
    for container in spec.containers or ():
        limits = container.resources.limits if container.resources is not None else None
        if not limits or "ephemeral-storage" not in limits:
            return False
    return bool(spec.containers)


def _is_guaranteed(spec: PodSpec) -> bool:
    for containers in (spec.containers or (), spec.initContainers or ()):
        for container in containers:
            resources = container.resources
            if resources is None or not resources.limits:
                return False
            requests = resources.requests or {}
            for name in ("cpu", "memory"):
                limit = resources.limits.get(name)
                if limit is None or _amount(requests.get(name, limit)) != _amount(limit) or _amount(limit) <= 0:
                    return False
    return bool(spec.containers)
