"""The sidecar's resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION
from tests.injection.views import spec
from webhook.injection.annotations import RequestedOptions
from webhook.injection.pod import PodSpec
from webhook.injection.profile import Bounds
from webhook.injection.reasons import Finding, NotInjectable, Reason
from webhook.injection.resources import clamp, sidecar_resources

#: Requests 10m and 32Mi, limits 64Mi; more in a Guaranteed pod, and storage where every container limits it.
TAIL = replace(
    CONFIGURATION.profiles["tail"],
    requests={"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "10Mi"},
    limits={"memory": "64Mi", "ephemeral-storage": "1Gi"},
    guaranteed_cpu_limit="50m",
    bounds={"memory-limit": Bounds("16Mi", "1Gi")},
)
GUARANTEED = {"limits": {"cpu": "1", "memory": "1Gi"}}


def pod(*quantities: Any, **fields: Any) -> PodSpec:
    """Return a pod whose containers have these resources."""
    return spec(
        containers=[{"name": f"c{number}", "resources": one} for number, one in enumerate(quantities)], **fields
    )


class Given:
    """What the sidecar of a pod gets, and what is said of it."""

    def __init__(self, value: PodSpec, profile: Any = TAIL, volumes: Any = (None, 0), **asked: str) -> None:
        self.findings: list[Finding] = []
        options = RequestedOptions(
            resource_annotations={key.replace("_", "-"): quantity for key, quantity in asked.items()}
        )
        volume_size_limit, count = volumes
        self.resources = sidecar_resources(
            value, profile, options, self.findings, volume_size_limit=volume_size_limit, new_volume_count=count
        )

    @property
    def requests(self) -> Mapping[str, str]:
        """Return the requests."""
        return (self.resources or {})["requests"]

    @property
    def limits(self) -> Mapping[str, str]:
        """Return the limits."""
        return (self.resources or {})["limits"]

    @property
    def said(self) -> list[tuple[Reason, str, str]]:
        """Return the findings: reason, annotation and value."""
        return [(finding.reason, finding.annotation, finding.value) for finding in self.findings]


def test_a_pod_that_asks_for_nothing_gets_the_profiles() -> None:
    """Without what the kubelet would add up for the whole pod."""
    given = Given(pod(None))
    assert given.resources == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    assert given.resources is TAIL.usual_resources


@pytest.mark.parametrize("of_pod", [{"limits": {"cpu": "1"}}, {"requests": {"cpu": "1"}}], ids=str)
def test_a_pod_with_resources_for_all_containers_keeps_them(of_pod: Any) -> None:
    """Annotations have no effect then, and each is told so."""
    given = Given(pod(None, resources=of_pod), cpu_limit="1", memory_request="1Mi")
    assert given.resources is None
    assert given.said == [(Reason.NO_EFFECT, "cpu-limit", "1"), (Reason.NO_EFFECT, "memory-request", "1Mi")]
    assert given.findings[0].message == "has no effect: the pod has pod-level resources"


@pytest.mark.parametrize("of_pod", [{}, {"limits": {}}, {"limits": None, "requests": {}}], ids=str)
def test_a_pod_with_empty_resources_has_none(of_pod: Any) -> None:
    """They say nothing."""
    assert Given(pod(None, resources=of_pod)).resources == TAIL.usual_resources


def test_annotations_win_over_the_profile() -> None:
    """Each is put where it belongs."""
    given = Given(pod(None), cpu_request="20m", cpu_limit="30m", memory_request="48Mi", memory_limit="128Mi")
    assert given.resources == {
        "requests": {"cpu": "20m", "memory": "48Mi"},
        "limits": {"cpu": "30m", "memory": "128Mi"},
    }
    assert given.said == []
    assert TAIL.limits["memory"] == "64Mi"


@pytest.mark.parametrize(
    ("asked", "limits"),
    [("8Mi", "16Mi"), ("16Mi", "16Mi"), ("17Mi", "17Mi"), ("1Gi", "1Gi"), ("1025Mi", "1Gi")],
)
def test_an_annotation_beyond_a_bound_is_the_bound(asked: str, limits: str) -> None:
    """With a warning that names it."""
    given = Given(pod(None), memory_limit=asked)
    assert given.limits["memory"] == limits
    assert given.said == ([] if asked == limits else [(Reason.BOUNDED, "memory-limit", asked)])


@pytest.mark.parametrize(
    ("bound", "value", "expected", "message"),
    [
        pytest.param(None, "5", "5", "", id="no bound"),
        pytest.param(Bounds(), "5", "5", "", id="no ends"),
        pytest.param(Bounds("6"), "5", "6", "is below the profile's bound; 6 is used", id="below"),
        pytest.param(Bounds(None, "4"), "5", "4", "is above the profile's bound; 4 is used", id="above"),
        pytest.param(Bounds("5", "5"), "5000m", "5000m", "", id="at both"),
    ],
)
def test_a_value_is_bounded(bound: Bounds | None, value: str, expected: str, message: str) -> None:
    """By quantities, not by texts; the value stays as it was written where it fits."""
    findings: list[Finding] = []
    assert clamp("cpu-limit", value, bound, findings) == expected
    assert [finding.message for finding in findings] == ([message] if message else [])


@pytest.mark.parametrize(
    ("asked", "request_", "limit"),
    [
        pytest.param({"memory_limit": "20Mi"}, "20Mi", "20Mi", id="a limit alone"),
        pytest.param({"memory_limit": "32Mi"}, "32Mi", "32Mi", id="a limit at the request"),
        pytest.param({"memory_request": "64Mi"}, "64Mi", "64Mi", id="a request at the limit"),
    ],
)
def test_a_limit_pulls_the_profiles_request_down(asked: dict[str, str], request_: str, limit: str) -> None:
    """Nobody who asks for less has to ask twice."""
    given = Given(pod(None), **asked)
    assert (given.requests["memory"], given.limits["memory"]) == (request_, limit)


@pytest.mark.parametrize(
    ("asked", "where", "value", "message"),
    [
        pytest.param(
            {"memory_request": "65Mi"},
            "memory-request",
            "65Mi",
            "is above the limit 64Mi; write less, or a higher memory-limit",
            id="the profile's limit",
        ),
        pytest.param(
            {"cpu_request": "2", "cpu_limit": "1"},
            "cpu-request",
            "2",
            "is above the limit 1; write less, or a higher cpu-limit",
            id="the annotation's",
        ),
    ],
)
def test_a_request_above_its_limit_is_refused(asked: dict[str, str], where: str, value: str, message: str) -> None:
    """Which of the two is meant can't be known."""
    with pytest.raises(NotInjectable) as raised:
        Given(pod(None), **asked)
    assert raised.value.finding == Finding(Reason.REQUEST_ABOVE_LIMIT, message, annotation=where, value=value)


class TestGuaranteed:
    """Pods whose containers all have limits that equal their requests."""

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(pod(GUARANTEED), id="limits alone"),
            pytest.param(pod({**GUARANTEED, "requests": {"cpu": "1000m", "memory": "1024Mi"}}), id="other spelling"),
            pytest.param(pod(GUARANTEED, initContainers=[{"name": "i", "resources": GUARANTEED}]), id="init too"),
        ],
    )
    def test_it_stays_guaranteed(self, value: PodSpec) -> None:
        """The limits are the requests, with the profile's cpu for such pods."""
        given = Given(value)
        assert given.resources == {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "50m", "memory": "64Mi"},
        }
        assert given.said == []

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(pod(), id="no containers"),
            pytest.param(pod(GUARANTEED, None), id="one without"),
            pytest.param(pod(GUARANTEED, initContainers=[{"name": "i"}]), id="init without"),
            pytest.param(pod({"limits": {"cpu": "1"}}), id="no memory"),
            pytest.param(pod({"limits": {"memory": "1Gi"}}), id="no cpu"),
            pytest.param(pod({**GUARANTEED, "requests": {"cpu": "999m"}}), id="a smaller request"),
            pytest.param(pod({"limits": {"cpu": "0", "memory": "0"}}), id="zero"),
            pytest.param(pod({"requests": {"cpu": "1", "memory": "1Gi"}}), id="no limits"),
        ],
    )
    def test_others_are_not(self, value: PodSpec) -> None:
        """The sidecar has no cpu limit there: draining needs speed."""
        assert Given(value).resources == TAIL.usual_resources

    def test_without_a_cpu_of_the_profile_the_request_is_the_limit(self) -> None:
        """There must be one."""
        given = Given(pod(GUARANTEED), replace(TAIL, guaranteed_cpu_limit=None))
        assert given.limits["cpu"] == given.requests["cpu"] == "10m"

    @pytest.mark.parametrize(
        ("asked", "cpu"),
        [({"cpu_request": "20m"}, "20m"), ({"cpu_limit": "30m"}, "30m"), ({"memory_limit": "80Mi"}, "50m")],
        ids=str,
    )
    def test_an_annotation_wins_over_the_profiles_cpu_for_such_pods(self, asked: dict[str, str], cpu: str) -> None:
        """If it is about cpu."""
        given = Given(pod(GUARANTEED), **asked)
        assert given.limits["cpu"] == given.requests["cpu"] == cpu
        assert given.said == []

    def test_a_profiles_own_cpu_limit_wins(self) -> None:
        """The other one is for profiles without."""
        given = Given(pod(GUARANTEED), replace(TAIL, limits={"cpu": "2", "memory": "64Mi", "ephemeral-storage": "1"}))
        assert given.limits["cpu"] == "2"

    def test_a_request_below_the_limit_has_no_effect(self) -> None:
        """It is said, with what is used; one of the same quantity is fine."""
        given = Given(pod(GUARANTEED), memory_request="16Mi")
        assert given.requests["memory"] == "64Mi"
        assert given.said == [(Reason.NO_EFFECT, "memory-request", "16Mi")]
        assert given.findings[0].message == "has no effect: in a Guaranteed pod the request is the limit, 64Mi"
        assert Given(pod(GUARANTEED), memory_request="65536Ki").said == []


LIMITED = {"limits": {"ephemeral-storage": "1Gi"}}


class TestStorage:
    """Ephemeral storage, which the kubelet adds up for the pod."""

    @pytest.mark.parametrize(
        ("quantities", "kept"),
        [
            ([LIMITED], True),
            ([LIMITED, LIMITED], True),
            ([LIMITED, None], False),
            ([{"requests": {"ephemeral-storage": "1Gi"}}], False),
            ([{"limits": {"cpu": "1"}}], False),
            ([], False),
        ],
        ids=str,
    )
    def test_a_limit_is_kept_where_every_container_has_one(self, quantities: list[Any], *, kept: bool) -> None:
        """Elsewhere it would be the whole pod's, and the application's own files count too."""
        given = Given(pod(*quantities), memory_limit="64Mi")
        assert ("ephemeral-storage" in given.limits) is kept
        assert ("ephemeral-storage" in given.requests) is kept
        if kept:
            assert Given(pod(*quantities)).limits["ephemeral-storage"] == "1Gi"

    def test_init_containers_do_not_count(self) -> None:
        """The kubelet leaves them out."""
        value = pod(LIMITED, initContainers=[{"name": "i"}])
        assert "ephemeral-storage" in Given(value).limits

    @pytest.mark.parametrize(
        ("volumes", "limit"),
        [
            ((None, 2), "1Gi"),
            (("512Mi", 2), "1Gi"),
            (("512Mi", 3), "1610612736"),
            (("1", 1), "1Gi"),
            (("1.5Gi", 1), "1610612736"),
        ],
    )
    def test_new_volumes_have_room_in_it(self, volumes: tuple[str | None, int], limit: str) -> None:
        """They are part of the sum."""
        assert Given(pod(LIMITED), volumes=volumes).limits["ephemeral-storage"] == limit
