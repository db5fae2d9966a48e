"""Which containers take part in an injection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.injection.reviews import CONFIGURATION
from tests.injection.views import container, spec
from tests.tables import rows
from webhook.injection import candidates as module
from webhook.injection.annotations import RequestedOptions, parse_logs
from webhook.injection.candidates import MAX_COMPARED_NAMES, Candidate, find_candidates
from webhook.injection.reasons import Finding, NotInjectable, Reason

POD = spec(
    containers=[{"name": "app"}, {"name": "istio-proxy"}, {"name": "web"}],
    initContainers=[{"name": "init"}, {"name": "vault-agent-init"}],
)


def found(logs: str = "/srv/*.log", containers: str = "", pod: object = POD) -> list[Candidate]:
    """Return the containers that are looked at, for these annotations."""
    options = RequestedOptions(containers=tuple(containers.split(",")) if containers else None)
    return find_candidates(pod, options, parse_logs(logs), CONFIGURATION)  # type: ignore[arg-type]


def selected(logs: str = "/srv/*.log", containers: str = "") -> list[str]:
    """Return the names of those that take part."""
    return [one.container.name for one in found(logs, containers) if one.selected]


def decline(logs: str = "/srv/*.log", containers: str = "", pod: object = POD) -> Finding:
    """Return why the annotations can't be followed."""
    with pytest.raises(NotInjectable) as raised:
        found(logs, containers, pod)
    return raised.value.finding


#: By the row of the table: logs, containers, and who takes part.
CASES: dict[str, list[tuple[str, str, list[str]]]] = {
    "containers: a,b": [
        ("/srv/*.log", "app", ["app"]),
        ("/srv/*.log", "web,init", ["web", "init"]),
        ("/srv/*.log", "istio-proxy", ["istio-proxy"]),
        ("app:/srv/*.log", "app,web", ["app", "web"]),
    ],
    "a container in each entry": [
        ("app:/srv/*.log", "", ["app"]),
        ("init:/srv/*.log,web:/x/*.log", "", ["web", "init"]),
    ],
    "anything else": [
        ("/srv/*.log", "", ["app", "web"]),
        ("init:/srv/*.log,/x/*.log", "", ["app", "web", "init"]),
        ("istio-proxy:/srv/*.log,/x/*.log", "", ["app", "istio-proxy", "web"]),
    ],
}


def test_each_row_of_the_table_is_a_case() -> None:
    """And each case is a row."""
    assert list(CASES) == rows(module)


@pytest.mark.parametrize("row", CASES)
def test_who_takes_part(row: str) -> None:
    """Ordinary containers first, each kind in the pod's order."""
    for logs, containers, expected in CASES[row]:
        assert selected(logs, containers) == expected, (logs, containers)


def test_entries_without_a_prefix_mean_those_that_are_not_named_by_one() -> None:
    """A container that takes part by its prefix alone sees that entry only."""
    meant = {one.container.name: one.takes_general_entries for one in found("init:/srv/*.log,/x/*.log") if one.selected}
    assert meant == {"app": True, "web": True, "init": False}
    assert all(one.takes_general_entries for one in found("app:/srv/*.log", "app") if one.selected)


def test_what_others_mount_is_looked_at() -> None:
    """Those that take no part, but for the pod's own that were not selected."""
    others = [(one.container.name, one.takes_general_entries) for one in found("app:/srv/*.log") if not one.selected]
    assert others == [("istio-proxy", True), ("init", True), ("vault-agent-init", True)]
    assert all(one.added_variables == () for one in found() if not one.selected)


def test_each_has_its_place_in_the_pod() -> None:
    """As a JSON pointer, which edits use."""
    assert {one.container.name: one.pointer for one in found()} == {
        "app": "/spec/containers/0",
        "istio-proxy": "/spec/containers/1",
        "web": "/spec/containers/2",
        "init": "/spec/initContainers/0",
        "vault-agent-init": "/spec/initContainers/1",
    }


@pytest.mark.parametrize(("wanted", "names"), [(True, ["POD_NAME", "POD_NAMESPACE"]), (False, [])])
def test_variables_are_added_where_the_pod_wants_them(*, wanted: bool, names: list[str]) -> None:
    """``env: "false"`` says that it does not."""
    options = RequestedOptions(add_variables=wanted)
    (app, *_) = find_candidates(POD, options, parse_logs("/srv/*.log"), CONFIGURATION)
    assert [variable.name for variable in app.added_variables] == names


def test_other_injectors_are_those_of_the_configuration() -> None:
    """An operator may name others."""
    configuration = replace(CONFIGURATION, ignored_containers=frozenset({"web"}))
    names = [one.container.name for one in find_candidates(POD, RequestedOptions(), (), configuration) if one.selected]
    assert names == ["app", "istio-proxy"]


def test_mounts_are_known_by_their_paths() -> None:
    """Block devices too; a volume at /var has a /var/run of its own."""
    mounts = [{"name": "a", "mountPath": "/var/run/x/"}]
    devices = [{"name": "b", "devicePath": "//dev/x"}]
    one = Candidate.from_container(
        container(volumeMounts=mounts, volumeDevices=devices), "/p", selected=True, takes_general_entries=True
    )
    assert {path: mount.name if mount else None for path, mount in one.own_mounts.items()} == {
        ("run", "x"): "a",
        ("dev", "x"): None,
    }
    mounts.append({"name": "c", "mountPath": "/var/"})
    one = Candidate.from_container(container(volumeMounts=mounts), "/p", selected=True, takes_general_entries=True)
    assert set(one.own_mounts) == {("var", "run", "x"), ("var",)}


@pytest.mark.parametrize(
    ("logs", "containers", "where", "value", "message"),
    [
        pytest.param(
            "/srv/*.log", "apq", "containers", "apq", 'no container "apq"; did you mean "app"?', id="containers"
        ),
        pytest.param(
            "wen:/x/*.log", "", "logs", "wen:/x/*.log", 'no container "wen"; did you mean "web"?', id="prefix"
        ),
        pytest.param(
            "/srv/*.log", "zzz", "containers", "zzz", 'no container "zzz"; did you mean "app"?', id="nothing alike"
        ),
        pytest.param(
            "web:/x/*.log",
            "app",
            "logs",
            "web:/x/*.log",
            'container "web" is not in pillion.dev/containers; add it there',
            id="prefix that takes no part",
        ),
    ],
)
def test_a_name_that_no_container_has_is_a_reason(
    logs: str, containers: str, where: str, value: str, message: str
) -> None:
    """It says which, and what was probably meant."""
    finding = decline(logs, containers)
    assert (finding.reason, finding.annotation, finding.value) == (Reason.UNKNOWN_CONTAINER, where, value)
    assert finding.message.endswith(message)


def test_a_name_in_a_pod_without_containers_is_a_reason_too() -> None:
    """There is nothing to propose."""
    assert decline(containers="app", pod=spec()).message == 'the pod has no container "app"'


def test_an_unknown_name_among_thousands_is_not_guessed_at() -> None:
    """The first ones are compared, as that takes time."""
    names = [f"c{number}" for number in range(MAX_COMPARED_NAMES)]
    pod = spec(containers=[{"name": name} for name in [*names, "x-y-z"]])
    assert decline(containers="x-y-zz", pod=pod).message.endswith('did you mean "c0"?')
    pod = spec(containers=[{"name": name} for name in [*names[1:], "x-y-z"]])
    assert decline(containers="x-y-zz", pod=pod).message.endswith('did you mean "x-y-z"?')


def test_a_pod_of_other_injectors_alone_is_a_reason() -> None:
    """It names one that could be selected, if there is one."""
    finding = decline(pod=spec(containers=[{"name": "istio-proxy"}], initContainers=[{"name": "init"}]))
    assert (finding.reason, finding.annotation) == (Reason.NO_CONTAINERS, "containers")
    assert finding.message == 'the pod has only sidecars of other injectors; write "istio-proxy"'
    assert decline(pod=spec()).text() == "containers: no container of the pod takes part"
