"""Who the sidecar runs as, and users that no kubelet would start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION, patched, verdict_on
from tests.injection.views import container, spec
from tests.tables import flat, rows
from webhook.injection import security_context as module
from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import Container, PodSpec
from webhook.injection.reasons import Finding, NotInjectable, Reason
from webhook.injection.security_context import FALLBACK_GROUP, FALLBACK_USER, ensure_startable_user, security_context

TAIL = CONFIGURATION.profiles["tail"]


def containers(*users: int | None) -> list[Container]:
    """Return containers that run as these users."""
    contexts = [{"runAsUser": user} if user is not None else {} for user in users]
    return [container(f"c{number}", securityContext=context) for number, context in enumerate(contexts)]


#: By the row of the table: what the profile pins, whose the logs are, the annotation; the user, and what is said.
USERS: dict[str, dict[str, tuple[dict[str, Any], tuple[int | None, ...], int | None, int | None, list[Reason]]]] = {
    "the profile": {
        "": ({"runAsUser": 4000}, (1000,), None, 4000, []),
        "annotated": ({"runAsUser": 4000}, (1000,), 5000, 4000, [Reason.NO_EFFECT]),
        "annotated alike": ({"runAsUser": 4000}, (None,), 4000, 4000, []),
        "left out": ({"runAsUser": None}, (1000,), None, None, []),
        "left out, annotated": ({"runAsUser": None}, (None,), 5000, None, [Reason.NO_EFFECT]),
    },
    "the pod: one user, known": {
        "": ({}, (1000,), None, 1000, []),
        "root": ({}, (0,), None, 0, []),
        "root, annotated alike": ({}, (0, 0), 0, 0, []),
        "annotated": ({}, (1000, 1000), 5000, 1000, [Reason.NO_EFFECT]),
        "annotated alike": ({}, (1000, 1000), 1000, 1000, []),
    },
    "the pod: unknown": {
        "": ({}, (None,), None, FALLBACK_USER, [Reason.UNKNOWN_USER]),
        "nobody writes": ({}, (), None, FALLBACK_USER, []),
        "annotated": ({}, (None,), 5000, 5000, []),
    },
    "the pod: several": {
        "": ({}, (2000, 1000), None, 2000, [Reason.MIXED_USERS]),
        "one unknown": ({}, (None, 1000), None, 1000, [Reason.MIXED_USERS]),
        "annotated": ({}, (1000, 2000), 5000, 5000, []),
    },
}


@pytest.mark.parametrize(("pinned", "writers", "asked", "user", "reasons"), flat(USERS))
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


def pod_with(hostUsers: bool | None = None, **context: Any) -> PodSpec:  # noqa: N803 — Kubernetes' own name
    """Return a pod with this security context."""
    return spec(hostUsers=hostUsers, securityContext=context)


#: By the row of the table: the container's security context, the pod's, and why it would not start.
STARTS: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any], Reason | None]]] = {
    "true 0": {
        "": ({"runAsNonRoot": True, "runAsUser": 0}, {}, Reason.ROOT_UNDER_NON_ROOT),
        "the pod's true": ({"runAsUser": 0}, {"runAsNonRoot": True}, Reason.ROOT_UNDER_NON_ROOT),
        "the pod's 0": ({"runAsNonRoot": True}, {"runAsUser": 0}, Reason.ROOT_UNDER_NON_ROOT),
        "both the pod's": ({}, {"runAsNonRoot": True, "runAsUser": 0}, Reason.ROOT_UNDER_NON_ROOT),
    },
    "true another, none": {
        "another": ({"runAsNonRoot": True, "runAsUser": 1}, {}, None),
        "none": ({"runAsNonRoot": True}, {}, None),
    },
    "false, none any": {
        "false 0": ({"runAsNonRoot": False, "runAsUser": 0}, {"runAsNonRoot": True}, None),
        "none 0": ({"runAsUser": 0}, {}, None),
        "nulls": ({"runAsUser": None, "runAsNonRoot": None}, {"runAsUser": 5}, None),
    },
    "any, hostUsers false over 65535": {
        "": ({"runAsUser": 65536}, {"hostUsers": False}, Reason.USER_NOT_MAPPED),
        "the pod's": ({}, {"hostUsers": False, "runAsUser": 65536}, Reason.USER_NOT_MAPPED),
        "no more": ({"runAsUser": 65535}, {"hostUsers": False}, None),
        "none": ({}, {"hostUsers": False}, None),
        "hostUsers true": ({"runAsUser": 65536}, {"hostUsers": True}, None),
        "hostUsers not said": ({"runAsUser": 65536}, {}, None),
    },
}


@pytest.mark.parametrize(("context", "of_pod", "reason"), flat(STARTS))
def test_the_kubelets_table(context: dict[str, Any], of_pod: dict[str, Any], reason: Reason | None) -> None:
    """Root under runAsNonRoot is refused wherever the two meet; a user namespace has 65536 users and no others."""
    pod = pod_with(**of_pod)
    if reason is None:
        ensure_startable_user(context, pod, TAIL, RequestedOptions())
        return
    with pytest.raises(NotInjectable) as raised:
        ensure_startable_user(context, pod, TAIL, RequestedOptions())
    assert raised.value.finding.reason is reason


@pytest.mark.parametrize(
    ("context", "of_pod", "asked", "expected"),
    [
        pytest.param(
            {"runAsNonRoot": True},
            {"runAsUser": 0},
            None,
            ("", "", 'profile "tail" requires runAsNonRoot, but the sidecar would be user 0; use another profile'),
            id="the profile demands it",
        ),
        pytest.param(
            {"runAsUser": 0},
            {"runAsNonRoot": True},
            0,
            ("run-as-user", "0", "the pod requires runAsNonRoot, but the sidecar would be user 0; use another profile"),
            id="the pod demands it",
        ),
        pytest.param(
            {"runAsUser": 70000},
            {"hostUsers": False},
            70000,
            ("run-as-user", "70000", "a pod with hostUsers: false has no user 70000; write one below 65536"),
            id="no such user",
        ),
        pytest.param(
            {"runAsUser": 70000},
            {"hostUsers": False},
            5,
            ("", "", "a pod with hostUsers: false has no user 70000; write one below 65536"),
            id="another was asked for",
        ),
    ],
)
def test_who_has_to_change_what_is_said(
    context: dict[str, Any], of_pod: dict[str, Any], asked: int | None, expected: tuple[str, str, str]
) -> None:
    """The annotation is named where it is the cause."""
    pod = pod_with(**of_pod)
    with pytest.raises(NotInjectable) as raised:
        ensure_startable_user(context, pod, TAIL, RequestedOptions(run_as_user=asked))
    finding = raised.value.finding
    assert (finding.annotation, finding.value, finding.message) == expected


def test_each_row_of_the_tables_is_a_case() -> None:
    """And each case is a row; the first is a test of its own."""
    assert ["an annotation 0, not allowed", *USERS] == rows(module._user)
    assert list(STARTS) == rows(ensure_startable_user, columns=2)


@pytest.mark.parametrize(("allowed", "asked"), [(True, 0), (False, 1)])
def test_a_profile_may_let_an_annotation_choose_root(*, allowed: bool, asked: int) -> None:
    """Only then."""
    profile = replace(TAIL, allow_root=allowed)
    context = security_context(PodSpec(), profile, RequestedOptions(run_as_user=asked), containers(None), [])
    assert context["runAsUser"] == asked
    assert context["runAsNonRoot"] is (asked != 0)


@pytest.mark.parametrize("users", [(None,), (1000,), (0, None), ()])
def test_a_profile_that_does_not_is_a_reason(users: tuple[int | None, ...]) -> None:
    """The first row: unless the pod itself says that all who write are root; a root of the image's is not seen."""
    with pytest.raises(NotInjectable) as raised:
        security_context(PodSpec(), TAIL, RequestedOptions(run_as_user=0), containers(*users), [])
    finding = raised.value.finding
    assert (finding.reason, finding.annotation, finding.value) == (Reason.ROOT_NOT_ALLOWED, "run-as-user", "0")


def test_the_advice_on_root_helps() -> None:
    """What it says to write is not cut from the warning, and makes the sidecar root."""
    annotations = {"pillion.dev/inject": "true", "pillion.dev/run-as-user": "0"}
    pod: dict[str, Any] = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}}
    (warning,) = verdict_on(pod).warnings
    assert warning.endswith("if the application runs as root, set runAsUser: 0 in the pod")
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    (sidecar,) = patched(pod, verdict_on(pod))["spec"]["initContainers"]
    assert sidecar["securityContext"]["runAsUser"] == 0


def context_for(pod: Any, *writers: Any, **options: Any) -> dict[str, Any]:
    """Return the sidecar's security context in a pod with this one, whose containers have these."""
    items = [container(f"c{number}", securityContext=one) for number, one in enumerate(writers)]
    return security_context(spec(securityContext=pod), TAIL, RequestedOptions(**options), items, [])


def test_what_reading_needs_no_right_for_is_dropped() -> None:
    """As the restricted Pod Security Standard wants it."""
    assert context_for(None, None) == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": FALLBACK_USER,
        "runAsGroup": FALLBACK_GROUP,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("pod", "writers", "asked", "user", "group"),
    [
        pytest.param({}, [{"runAsUser": 1, "runAsGroup": 2}], None, 1, 2, id="the container's"),
        pytest.param({"runAsUser": 3, "runAsGroup": 4}, [{}], None, 3, 4, id="the pod's"),
        pytest.param({"runAsUser": 3, "runAsGroup": 4}, [{"runAsUser": 1}], None, 1, 4, id="one of each"),
        pytest.param({}, [{"runAsUser": 1}], None, 1, None, id="no group: the image's"),
        pytest.param({}, [{"runAsGroup": 2}], None, FALLBACK_USER, 2, id="a group alone"),
        pytest.param({}, [{}], 5, 5, FALLBACK_GROUP, id="annotated"),
        pytest.param({}, [{"runAsUser": 1}], 5, 1, None, id="annotated, of no effect"),
        pytest.param(
            {}, [{"runAsGroup": 9}, {"runAsUser": 1, "runAsGroup": 2}], None, 1, 2, id="the first that is known"
        ),
        pytest.param(
            {}, [{"runAsUser": 1, "runAsGroup": 2}, {"runAsUser": 3, "runAsGroup": 4}], None, 1, 2, id="the first"
        ),
    ],
)
def test_user_and_group_belong_together(
    pod: Any, writers: list[Any], asked: int | None, user: int, group: int | None
) -> None:
    """They are one container's, or the pod's where it says none."""
    context = context_for(pod, *writers, run_as_user=asked)
    assert (context["runAsUser"], context.get("runAsGroup")) == (user, group)


def test_labels_are_those_of_who_writes() -> None:
    """The pod's own are inherited."""
    labels = {"level": "s0:c1"}
    assert context_for({}, {"seLinuxOptions": labels})["seLinuxOptions"] == labels
    assert "seLinuxOptions" not in context_for({"seLinuxOptions": labels}, {})


@pytest.mark.parametrize(("kind", "replaced"), [("Localhost", True), ("RuntimeDefault", False), (None, False)])
def test_an_apparmor_profile_that_was_cut_for_the_application_is_replaced(kind: str | None, *, replaced: bool) -> None:
    """It could deny the sidecar its own program."""
    context = context_for({"appArmorProfile": {"type": kind} if kind else None}, {})
    assert context.get("appArmorProfile") == ({"type": "RuntimeDefault"} if replaced else None)
