"""The annotations that an injected pod gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.injection.reviews import CONFIGURATION, patched, verdict_on
from tests.injection.views import candidate
from webhook.injection.candidates import Candidate
from webhook.injection.edit import PodEditor
from webhook.injection.pod import EnvVar, ObjectMeta, PodSpec
from webhook.injection.pod_annotations import (
    DEFAULT_CONTAINER,
    MAX_ANNOTATIONS_BYTES,
    SAFE_TO_EVICT,
    add_annotations,
    add_to_evict_list,
    remove_from_evict_list,
    within_annotation_limit,
)
from webhook.injection.reasons import Finding, Reason
from webhook.injection.status import Status, parse_status
from webhook.injection.variables import POD_VARIABLES

STATUS = "pillion.dev/status"
TAIL = CONFIGURATION.profiles["tail"]


class Annotated:
    """A pod with these annotations, and what an injection adds to them."""

    def __init__(
        self,
        present: dict[str, str] | None = None,
        *candidates: Candidate,
        volumes: tuple[str, ...] = ("pillion-logs-1",),
        native: bool = True,
    ) -> None:
        editor = PodEditor(ObjectMeta(annotations=present), PodSpec())
        editor.pull_secrets = ["pull"]
        self.findings: list[Finding] = []
        add_annotations(
            editor,
            replace(TAIL, native=native),
            candidates,
            findings=self.findings,
            volumes=volumes,
            reused=["data"],
            prefix="pillion.dev/",
        )
        assert editor.metadata is not None
        self.after = editor.metadata.annotations or {}
        self.added = {key: value for key, value in self.after.items() if (present or {}).get(key) != value}

    @property
    def status(self) -> Status:
        """Return what the status says."""
        status = parse_status(self.after, "pillion.dev/")
        assert status is not None
        return status


def test_the_status_says_what_was_added() -> None:
    """And what of the pod's own is read; containers that take no part are not in it."""
    all_of_them = candidate("app")
    all_of_them.added_variables = POD_VARIABLES
    status = Annotated(None, all_of_them, candidate("init", selected=False)).status
    assert status == Status(
        "tail", TAIL.revision, "pillion-tail", ["app"], ["pillion-logs-1"], ["data"], pull_secrets=["pull"]
    )


def test_the_status_names_the_variables_of_a_container_that_did_not_get_all() -> None:
    """Where it got all of them nothing is said."""
    one, none = candidate("one"), candidate("none")
    one.added_variables = [EnvVar("POD_NAMESPACE")]
    assert Annotated(None, one, none).status.variables == {"one": ["POD_NAMESPACE"], "none": []}


def test_the_autoscaler_learns_of_new_volumes() -> None:
    """It would keep the node because of them; without any it is told nothing."""
    assert Annotated().after[SAFE_TO_EVICT] == "pillion-logs-1"
    assert SAFE_TO_EVICT not in Annotated(volumes=()).after


@pytest.mark.parametrize(
    ("listed", "after", "kept"),
    [
        pytest.param("cache", "cache,pillion-logs-1", False, id="another"),
        pytest.param(" cache, ,cache", "cache,pillion-logs-1", True, id="blanks and repeats"),
        pytest.param("", "pillion-logs-1", True, id="empty"),
        pytest.param("pillion-logs-1", "pillion-logs-1", True, id="ours already"),
    ],
)
def test_a_list_for_the_autoscaler_is_added_to(listed: str, after: str, *, kept: bool) -> None:
    """How it was is noted where it can't be told from the result."""
    annotated = Annotated({SAFE_TO_EVICT: listed})
    assert annotated.after[SAFE_TO_EVICT] == after
    pointer = "/metadata/annotations/cluster-autoscaler.kubernetes.io~1safe-to-evict-local-volumes"
    assert annotated.status.former_values == ({pointer: listed} if kept else {})


@pytest.mark.parametrize(
    ("native", "present", "default"),
    [(True, None, ""), (False, None, "app"), (False, "web", "")],
)
def test_kubectl_goes_to_the_application(*, native: bool, present: str | None, default: str) -> None:
    """Where the sidecar is an ordinary container, unless somebody said otherwise."""
    before = {DEFAULT_CONTAINER: present} if present else {}
    annotated = Annotated(before, candidate("app"), candidate("web"), native=native)
    assert annotated.after.get(DEFAULT_CONTAINER, "") == (present or default)
    assert annotated.status.default_container == default


def test_what_fits_is_set_the_most_useful_first() -> None:
    """What is left out is a finding; what is replaced gives its room back."""
    ours = {key: len(key) + len(value) for key, value in Annotated().added.items()}
    assert list(ours) == [SAFE_TO_EVICT, STATUS]
    for spare, kept in (
        (ours[SAFE_TO_EVICT] - 1, []),
        (ours[SAFE_TO_EVICT], [SAFE_TO_EVICT]),
        (sum(ours.values()), [*ours]),
    ):
        annotated = Annotated({"x": "y" * (MAX_ANNOTATIONS_BYTES - 1 - spare)})
        assert [key for key in annotated.after if key != "x"] == kept
        assert [finding.reason for finding in annotated.findings] == [Reason.ANNOTATIONS_FULL] * (len(kept) < 2)
    own = {"x": "y" * (MAX_ANNOTATIONS_BYTES - 1 - len(SAFE_TO_EVICT) - len("pillion-logs-1")), SAFE_TO_EVICT: ""}
    assert Annotated(own).after[SAFE_TO_EVICT] == "pillion-logs-1"


def test_the_limit_is_in_bytes() -> None:
    """Of keys and values together."""
    assert within_annotation_limit({"é": "x" * (MAX_ANNOTATIONS_BYTES - 2)})
    assert not within_annotation_limit({"é": "x" * (MAX_ANNOTATIONS_BYTES - 1)})


@pytest.mark.parametrize(
    ("listed", "volumes", "expected"),
    [(None, ["a", "b"], "a,b"), ("x, y", ["a"], "x,y,a"), ("a,x", ["a"], "a,x"), (" ,,", ["a"], "a")],
)
def test_names_are_added_once_at_the_end(listed: str | None, volumes: list[str], expected: str) -> None:
    """Without blanks and empty names."""
    assert add_to_evict_list(listed, volumes) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("a,b", None), ("x,a,b", "x"), ("x,b", "x,b"), ("a,b,x", "a,b,x"), ("xa,b", "xa,b")]
)
def test_names_are_removed_from_the_end(value: str, expected: str | None) -> None:
    """All of them or none; None where nothing else was there."""
    assert remove_from_evict_list(value, ["a", "b"]) == expected


# --- the whole way -----------------------------------------------------------------------------------------------


def asking(filler: str = "") -> dict[str, Any]:
    """Return a pod that asks, with an annotation of any size."""
    annotations = {"pillion.dev/inject": "true", "filler": filler}
    return {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app", "image": "i"}]}}


def size(pod: Any) -> int:
    """Return the size of all annotations, as the API server counts it."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in pod["metadata"]["annotations"].items())


@pytest.mark.parametrize("character", ["x", "\u00e4", "\U0001f600"])
def test_annotations_fill_what_is_left_and_no_more(character: str) -> None:
    """At each size near the limit ours are set as far as there is room, counted in bytes; the pod is injected."""
    ours = size(patched(asking(), verdict_on(asking()))) - size(asking())
    width = len(character.encode())
    seen = set()
    for spare in (ours + width, ours, ours - width, ours // 2, width, 0):
        pod = asking(character * ((MAX_ANNOTATIONS_BYTES - size(asking()) - spare) // width))
        verdict = verdict_on(pod)
        after = patched(pod, verdict)
        assert verdict.injected
        assert size(after) <= MAX_ANNOTATIONS_BYTES
        present = {SAFE_TO_EVICT, STATUS} & after["metadata"]["annotations"].keys()
        assert (len(present) < 2) == (Reason.ANNOTATIONS_FULL in {finding.reason for finding in verdict.findings})
        seen.add(len(present))
    assert seen == {0, 1, 2}


def test_annotations_that_are_too_many_already_stay_the_users_problem() -> None:
    """Ours are left out; what the API server then says is its own word."""
    pod = asking("é" * (MAX_ANNOTATIONS_BYTES // 2))
    verdict = verdict_on(pod)
    assert verdict.injected
    assert patched(pod, verdict)["metadata"]["annotations"] == pod["metadata"]["annotations"]
