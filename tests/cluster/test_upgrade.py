"""`pillion upgrade`: sidecars of running pods, replaced in place."""

import pytest

from tests.goldens import CASES
from tests.injection.reviews import all_containers, patched
from webhook.injection.comparison import State, compare

from .conftest import Cluster
from .judge import UNREVIEWED, judge

pytestmark = pytest.mark.cluster


FORMER = "registry.example.com/pillion:former"


def test_what_the_api_server_adds_is_no_difference(apiserver: Cluster) -> None:
    """Each golden as the API server would store it is what it would be now; with another image only that differs."""
    apiserver.prepare_namespace(UNREVIEWED)
    compared = 0
    with judge(apiserver.kubectl) as asked:
        for case in CASES:
            if not case.loads or not case.verdict().injected:
                continue
            configuration, made = case.configuration, patched(case.pod, case.verdict())
            judgement = asked.ask(UNREVIEWED, made)
            if not judgement.accepted:
                continue
            compared += 1
            found = compare(judgement.pod, configuration, namespace_opted_in=case.opted_in)
            assert (case.name, found.state, found.differences) == (case.name, State.CURRENT, ())
            for container in all_containers(judgement.pod):
                if container["name"] == found.sidecar:
                    container["image"] = FORMER
            found = compare(judgement.pod, configuration, namespace_opted_in=case.opted_in)
            assert (case.name, found.state, found.differences) == (case.name, State.IMAGE, ())
            assert found.stored_image == FORMER
    assert compared > 200
