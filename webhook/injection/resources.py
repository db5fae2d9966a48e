"""The sidecar's resources: the profile's and the annotations' within its bounds, keeping the pod's QoS class."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import PodSpec
from webhook.injection.profile import Bounds, Profile
from webhook.injection.quantity import parse_quantity
from webhook.injection.reasons import Finding, NotInjectable, Reason

__all__ = ["clamp", "sidecar_resources"]

_RESOURCE_ANNOTATIONS = (
    ("cpu-request", "requests", "cpu"),
    ("cpu-limit", "limits", "cpu"),
    ("memory-request", "requests", "memory"),
    ("memory-limit", "limits", "memory"),
)


def clamp(key: str, value: str, bounds: Bounds | None, findings: list[Finding]) -> str:
    """Return the annotation's value.

    If it is beyond a bound, return the bound instead and append a warning to ``findings``.
    """
    quantity = parse_quantity(value)
    if bounds is None or quantity is None:
        return value
    if bounds.minimum is not None and quantity < _quantity(bounds.minimum):
        bound, word = bounds.minimum, "below"
    elif bounds.maximum is not None and quantity > _quantity(bounds.maximum):
        bound, word = bounds.maximum, "above"
    else:
        return value
    findings.append(
        Finding(Reason.BOUNDED, f"is {word} the profile's bound; {bound} is used", annotation=key, value=value)
    )
    return bound


def sidecar_resources(
    spec: PodSpec,
    profile: Profile,
    options: RequestedOptions,
    findings: list[Finding],
    *,
    volume_size_limit: str | None,
    new_volume_count: int,
) -> Mapping[str, Mapping[str, str]] | None:
    """Return the sidecar's resources, or None in a pod with pod-level resources.

    ``volume_size_limit`` is the size limit of each new log volume. Appends warnings to ``findings``.
    Raises :class:`NotInjectable` for a request above its limit.

    The pod keeps its QoS class: in a Guaranteed pod the sidecar's requests equal its limits, too
    (k8s.io/kubernetes pkg/apis/core/v1/helper/qos).
    """
    annotated = options.resource_annotations
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        # the API server rejects a pod whose containers request more than the pod-level resources (KEP-2837)
        message = "has no effect: the pod has pod-level resources"
        findings += [
            Finding(Reason.NO_EFFECT, message, annotation=key, value=annotated[key])
            for key, _, _ in _RESOURCE_ANNOTATIONS
            if key in annotated
        ]
        return None
    guaranteed = _is_guaranteed(spec)
    if not annotated and not guaranteed and not _every_container_limits_storage(spec):
        return profile.usual_resources
    resources = {"requests": dict(profile.requests), "limits": dict(profile.limits)}
    _adjust_storage(spec, _quantity(volume_size_limit) * new_volume_count, resources)
    for key, kind, name in _RESOURCE_ANNOTATIONS:
        if key in annotated:
            resources[kind][name] = clamp(key, annotated[key], profile.bounds.get(key), findings)
    if guaranteed and profile.guaranteed_cpu_limit and annotated.keys().isdisjoint(("cpu-request", "cpu-limit")):
        resources["limits"].setdefault("cpu", profile.guaranteed_cpu_limit)
    for name in ("cpu", "memory"):
        _lower_request_to_limit(name, annotated, resources)
    if guaranteed:
        _set_requests_to_limits(annotated, resources, findings)
    return resources


def _set_requests_to_limits(
    annotated: Mapping[str, str], resources: dict[str, dict[str, str]], findings: list[Finding]
) -> None:
    """Set the requests to the limits, as in a Guaranteed pod."""
    for name in ("cpu", "memory"):
        limit = resources["limits"].setdefault(name, resources["requests"][name])
        key = f"{name}-request"
        if key in annotated and _quantity(resources["requests"][name]) != _quantity(limit):
            message = f"has no effect: in a Guaranteed pod the request is the limit, {limit}"
            findings.append(Finding(Reason.NO_EFFECT, message, annotation=key, value=annotated[key]))
        resources["requests"][name] = limit


def _lower_request_to_limit(name: str, annotated: Mapping[str, str], resources: dict[str, dict[str, str]]) -> None:
    """Lower the profile's request to the limit; raise :class:`NotInjectable` if an annotation requests more."""
    limit, request = resources["limits"].get(name), resources["requests"][name]
    if limit is None or _quantity(request) <= _quantity(limit):
        return
    key = f"{name}-request"
    if key not in annotated:
        resources["requests"][name] = limit
        return
    message = f"is above the limit {limit}; write less, or a higher {name}-limit"
    raise NotInjectable(Finding(Reason.REQUEST_ABOVE_LIMIT, message, annotation=key, value=annotated[key]))


def _quantity(text: object) -> Fraction:
    return parse_quantity(text) or Fraction(0)


def _adjust_storage(spec: PodSpec, volumes_size: Fraction, resources: dict[str, dict[str, str]]) -> None:
    """Remove the ephemeral-storage resources unless every container has such a limit.

    The kubelet evicts a pod that uses more than the sum of the limits. New log volumes count as well, so the
    sidecar's limit is raised to their size.
    """
    key = "ephemeral-storage"
    if not _every_container_limits_storage(spec):
        resources["limits"].pop(key, None)
        resources["requests"].pop(key, None)
        return
    if volumes_size > _quantity(resources["limits"][key]):
        resources["limits"][key] = str(ceil(volumes_size))


def _every_container_limits_storage(spec: PodSpec) -> bool:
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
                if limit is None or _quantity(requests.get(name, limit)) != _quantity(limit) or _quantity(limit) <= 0:
                    return False
    return bool(spec.containers)
