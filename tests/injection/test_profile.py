"""Profiles and the configuration, ready to be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.injection.reviews import CONFIGURATION
from webhook.injection.pod import EnvVar
from webhook.injection.profile import DEFAULT_IGNORED_CONTAINERS, Configuration
from webhook.injection.variables import SIDECAR_VARIABLES

TAIL = CONFIGURATION.profiles["tail"]


@pytest.mark.parametrize("name", ["envoy", "cloud-sql-proxy", "envoy-sidecar", "nginx", "proxy"])
def test_names_that_people_give_their_own_containers_take_part(name: str) -> None:
    """Only what an injector alone would call so is left out."""
    assert name not in DEFAULT_IGNORED_CONTAINERS


def test_a_configuration_that_says_nothing_refuses_nothing() -> None:
    """It injects, by annotations of ours, and leaves other injectors' containers alone."""
    configuration = Configuration({"tail": TAIL}, "tail")
    assert (configuration.strict, configuration.shadow, configuration.prefix) == (False, False, "pillion.dev/")
    assert configuration.ignored_containers == set(DEFAULT_IGNORED_CONTAINERS)


def test_a_sidecar_is_called_after_its_profile() -> None:
    """Both are known as ours by the beginning of their names."""
    profile = replace(TAIL, name="own", container={"image": "i"}, command=("run",))
    assert profile.container_name == "pillion-own"
    assert profile.container_template == {
        "name": "pillion-own",
        "image": "i",
        "restartPolicy": "Always",
        "command": ["run"],
    }


def test_an_ordinary_container_has_no_restart_policy() -> None:
    """The API server refuses one there; no command leaves the image its own."""
    profile = replace(TAIL, native=False, container={"image": "i"}, command=())
    assert profile.container_template == {"name": "pillion-tail", "image": "i"}


@pytest.mark.parametrize(
    ("command", "fills"),
    [(("run", "<log-files>"), True), (("run", "<log-directories>"), True), (("run", "x<log-files>"), False)],
)
def test_a_command_with_places_is_filled_in_for_each_pod(command: tuple[str, ...], *, fills: bool) -> None:
    """Any other is the same in every pod."""
    profile = replace(TAIL, command=command)
    assert profile.has_command_placeholders is fills
    assert ("command" in profile.container_template) is not fills


@pytest.mark.parametrize(("value", "fills"), [("<log-files>", True), ("plain", False), (None, False)])
def test_a_variable_with_places_is_filled_in_for_each_pod(value: str | None, *, fills: bool) -> None:
    """Those that every sidecar has come first."""
    profile = replace(TAIL, env=(EnvVar("A"), EnvVar("B", value)))
    assert profile.has_variable_placeholders is fills
    assert profile.variables == (*SIDECAR_VARIABLES, EnvVar("A"), EnvVar("B", value))


def test_resources_of_a_pod_that_says_nothing_have_no_storage() -> None:
    """The kubelet would add it up for the whole pod."""
    quantities = {"cpu": "1", "ephemeral-storage": "1Gi"}
    profile = replace(TAIL, requests=quantities, limits={**quantities, "memory": "2"})
    assert profile.usual_resources == {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "2"}}
