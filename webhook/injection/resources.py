"""The sidecar's resources: the profile's, what the annotations ask for within its bounds, and the pod's class kept."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil

from webhook.injection import quantity
from webhook.injection.annotations import NotInjectable, RequestedOptions
from webhook.injection.pod import PodSpec
from webhook.injection.profile import Bound, Profile
from webhook.injection.reasons import Finding, Reason

__all__ = ["bounded", "resources"]

_AMOUNTS = (
    ("cpu-request", "requests", "cpu"),
    ("cpu-limit", "limits", "cpu"),
    ("memory-request", "requests", "memory"),
    ("memory-limit", "limits", "memory"),
)


def bounded(key: str, value: str, bound: Bound | None, findings: list[Finding]) -> str:
    """Return the annotation's value, or the bound that it is beyond, with a finding."""
    if bound is None:
        return value
    amount = quantity.parse(value)
    for limit, word in ((bound.least, "below"), (bound.most, "above")):
        end = quantity.parse(limit)
        if amount is None or end is None or limit is None:
            continue
        if (amount < end) if word == "below" else (amount > end):
            message = f"is {word} the profile's bound; {limit} is used"
            findings.append(Finding(Reason.BOUNDED, key, value, message))
            return limit
    return value


def resources(
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
    asked = options.amounts
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        # a pod with pod-level resources is refused where its containers ask for more in sum (KEP-2837)
        message = "has no effect: the pod has pod-level resources"
        findings += [Finding(Reason.NO_EFFECT, key, asked[key], message) for key, _, _ in _AMOUNTS if key in asked]
        return None
    guaranteed = _guaranteed(spec)
    if not asked and not guaranteed and not _limits_storage(spec):
        return profile.resources
    amounts = {"requests": dict(profile.requests), "limits": dict(profile.limits)}
    _limit_storage(spec, new_volumes, amounts)
    for key, kind, name in _AMOUNTS:
        if key in asked:
            amounts[kind][name] = bounded(key, asked[key], profile.bounds.get(key), findings)
    if guaranteed and profile.guaranteed_cpu and asked.keys().isdisjoint(("cpu-request", "cpu-limit")):
        amounts["limits"].setdefault("cpu", profile.guaranteed_cpu)
    for name in ("cpu", "memory"):
        _fit(name, asked, amounts)
    if guaranteed:
        _guarantee(asked, amounts, findings)
    return amounts


def _guarantee(asked: Mapping[str, str], amounts: dict[str, dict[str, str]], findings: list[Finding]) -> None:
    """Make the requests equal the limits."""
    for name in ("cpu", "memory"):
        limit = amounts["limits"].setdefault(name, amounts["requests"][name])
        key = f"{name}-request"
        if key in asked and _amount(amounts["requests"][name]) != _amount(limit):
            message = f"has no effect: in a Guaranteed pod the request is the limit, {limit}"
            findings.append(Finding(Reason.NO_EFFECT, key, asked[key], message))
        amounts["requests"][name] = limit


def _fit(name: str, asked: Mapping[str, str], amounts: dict[str, dict[str, str]]) -> None:
    """Pull the profile's request down to a limit; raise :class:`NotInjectable` for a request above it."""
    limit, request = amounts["limits"].get(name), amounts["requests"][name]
    if limit is None or _amount(request) <= _amount(limit):
        return
    key = f"{name}-request"
    if key not in asked:
        amounts["requests"][name] = limit
        return
    message = f"is above the limit {limit}; write less, or a higher {name}-limit"
    raise NotInjectable(Finding(Reason.REQUEST_ABOVE_LIMIT, key, asked[key], message))


def _amount(text: object) -> Fraction:
    return quantity.parse(text) or Fraction(0)


def _limit_storage(spec: PodSpec, new_volumes: tuple[str | None, int], amounts: dict[str, dict[str, str]]) -> None:
    """Keep the ephemeral-storage amounts only where every container has a limit.

    The kubelet adds up those that exist, and evicts a pod that uses more: our log volumes count as well.
    """
    key = "ephemeral-storage"
    if not _limits_storage(spec):
        amounts["limits"].pop(key, None)
        amounts["requests"].pop(key, None)
        return
    limit, number = new_volumes
    size = _amount(limit) * number
    if size > _amount(amounts["limits"][key]):
        amounts["limits"][key] = str(ceil(size))


def _limits_storage(spec: PodSpec) -> bool:
    """Return whether every container has a limit on ephemeral storage."""
    for container in spec.containers or ():
        limits = container.resources.limits if container.resources is not None else None
        if not limits or "ephemeral-storage" not in limits:
            return False
    return bool(spec.containers)


def _guaranteed(spec: PodSpec) -> bool:
    for containers in (spec.containers or (), spec.initContainers or ()):
        for container in containers:
            amounts = container.resources
            if amounts is None or not amounts.limits:
                return False
            requests = amounts.requests or {}
            for name in ("cpu", "memory"):
                limit = amounts.limits.get(name)
                if limit is None or _amount(requests.get(name, limit)) != _amount(limit) or _amount(limit) <= 0:
                    return False
    return bool(spec.containers)
