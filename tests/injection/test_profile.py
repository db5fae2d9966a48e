"""What a profile and the configuration are where nobody says otherwise."""

import pytest

from webhook.injection.profile import IGNORED_CONTAINERS


@pytest.mark.parametrize("name", ["envoy", "cloud-sql-proxy", "envoy-sidecar", "nginx", "proxy"])
def test_names_that_people_give_their_own_containers_take_part(name: str) -> None:
    """Only what an injector alone would call so is left out."""
    assert name not in IGNORED_CONTAINERS
