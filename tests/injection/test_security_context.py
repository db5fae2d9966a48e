"""Who the sidecar runs as, and users that no kubelet would start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from webhook.configuration import load
from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import Container, PodSpec
from webhook.injection.reasons import Finding, NotInjectable, Reason
from webhook.injection.security_context import FALLBACK_USER, reject_unstartable_user, security_context

TAIL = load(None).profiles["tail"]


def containers(*users: int | None) -> list[Container]:
    """Return containers that run as these users."""
    contexts = [{"runAsUser": user} if user is not None else {} for user in users]
    return [
        msgspec.convert({"name": f"c{number}", "securityContext": context}, Container)
        for number, context in enumerate(contexts)
    ]


@pytest.mark.parametrize(
    ("pinned", "writers", "asked", "user", "reasons"),
    [
        pytest.param({"runAsUser": 4000}, (1000,), None, 4000, [], id="the profile"),
        pytest.param({"runAsUser": 4000}, (1000,), 5000, 4000, [Reason.NO_EFFECT], id="the profile, annotated"),
        pytest.param({"runAsUser": 4000}, (None,), 4000, 4000, [], id="the profile, annotated alike"),
        pytest.param({"runAsUser": None}, (1000,), None, None, [], id="the profile leaves it out"),
        pytest.param({"runAsUser": None}, (None,), 5000, None, [Reason.NO_EFFECT], id="left out, annotated"),
        pytest.param({}, (1000,), None, 1000, [], id="one user, known"),
        pytest.param({}, (0,), None, 0, [], id="one user, root"),
        pytest.param({}, (1000, 1000), 5000, 1000, [Reason.NO_EFFECT], id="one user, annotated"),
        pytest.param({}, (None,), None, FALLBACK_USER, [Reason.UNKNOWN_USER], id="unknown"),
        pytest.param({}, (None,), 5000, 5000, [], id="unknown, annotated"),
        pytest.param({}, (None, 1000), None, 1000, [Reason.MIXED_USERS], id="several"),
        pytest.param({}, (1000, 2000), 5000, 5000, [], id="several, annotated"),
    ],
)
def test_the_users_table(
    pinned: dict[str, Any], writers: tuple[int | None, ...], asked: int | None, user: int | None, reasons: list[Reason]
) -> None:
    """The profile says it, else the pod, else the annotation; what has no effect is said."""
    findings: list[Finding] = []
    profile = replace(TAIL, security_context=pinned)
    context = security_context(PodSpec(), profile, RequestedOptions(run_as_user=asked), containers(*writers), findings)
    assert context.get("runAsUser") == user
    assert [finding.reason for finding in findings] == reasons


@pytest.mark.parametrize("key", ["runAsGroup", "runAsNonRoot", "seccompProfile", "capabilities", "runAsUser"])
def test_null_takes_a_default_away(key: str) -> None:
    """A key that the profile sets to null is not in the sidecar at all."""
    profile = replace(TAIL, security_context={key: None})
    context = security_context(PodSpec(), profile, RequestedOptions(), containers(None), [])
    assert key not in context
    assert len(context) == 6


@pytest.mark.parametrize(
    ("context", "pod", "reason"),
    [
        pytest.param({"runAsNonRoot": True, "runAsUser": 0}, {}, Reason.ROOT_UNDER_NON_ROOT, id="true 0"),
        pytest.param({"runAsNonRoot": True, "runAsUser": 1}, {}, None, id="true another"),
        pytest.param({"runAsNonRoot": True}, {}, None, id="true none"),
        pytest.param({"runAsNonRoot": False, "runAsUser": 0}, {"runAsNonRoot": True}, None, id="false 0"),
        pytest.param({"runAsUser": 0}, {}, None, id="none 0"),
        pytest.param({"runAsUser": 0}, {"runAsNonRoot": True}, Reason.ROOT_UNDER_NON_ROOT, id="the pod's true"),
        pytest.param({"runAsNonRoot": True}, {"runAsUser": 0}, Reason.ROOT_UNDER_NON_ROOT, id="the pod's 0"),
        pytest.param({}, {"runAsNonRoot": True, "runAsUser": 0}, Reason.ROOT_UNDER_NON_ROOT, id="both the pod's"),
        pytest.param({"runAsUser": None, "runAsNonRoot": None}, {"runAsUser": 5}, None, id="nulls"),
    ],
)
def test_the_kubelets_table(context: dict[str, Any], pod: dict[str, Any], reason: Reason | None) -> None:
    """Root under runAsNonRoot is refused wherever the two meet: in the container, in the pod, one in each."""
    spec = msgspec.convert({"securityContext": pod}, PodSpec)
    if reason is None:
        reject_unstartable_user(context, spec, TAIL, RequestedOptions())
        return
    with pytest.raises(NotInjectable) as raised:
        reject_unstartable_user(context, spec, TAIL, RequestedOptions())
    assert raised.value.finding.reason is reason


@pytest.mark.parametrize(("user", "starts"), [(65535, True), (65536, False)])
def test_a_user_namespace_has_65536_users(user: int, *, starts: bool) -> None:
    """Beyond them no process can be started; a pod without one has them all."""
    reject_unstartable_user({"runAsUser": user}, PodSpec(hostUsers=True), TAIL, RequestedOptions())
    spec = PodSpec(hostUsers=False)
    if starts:
        reject_unstartable_user({"runAsUser": user}, spec, TAIL, RequestedOptions())
        return
    with pytest.raises(NotInjectable, match="65536"):
        reject_unstartable_user({"runAsUser": user}, spec, TAIL, RequestedOptions())
