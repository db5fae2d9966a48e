"""The chart's values: which of them are the configuration."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from webhook.configuration import parse
from webhook.configuration.document_schemas import CONFIGURATION
from webhook.configuration.values import CHART_ONLY, configuration_in, is_values
from webhook.errors import ConfigurationError

VALUES = (Path(__file__).parent.parent.parent / "charts/pillion/values.yaml").read_text()


def test_every_value_of_the_chart_is_known() -> None:
    """Those that are no keys of a configuration are in the list, and no other is."""
    chart = set(YAML(typ="safe", pure=True).load(VALUES)) | {"global"}
    assert chart - set(CONFIGURATION.fields) == CHART_ONLY


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"replicas": 2, "profiles": {}}, True),
        ({"image": {"tag": "1"}}, True),
        ({"image": "registry.example.com/pillion:1", "profiles": {}}, False),
        ({"profiles": {}}, False),
        (["replicas"], False),
        (None, False),
    ],
    ids=["a key", "an image", "a configuration", "either", "a list", "nothing"],
)
def test_values_are_told_by_what_only_they_have(document: Any, expected: bool) -> None:
    """Where nothing tells them apart, both are read alike."""
    assert is_values(document) is expected


def test_what_nobody_knows_stays() -> None:
    """It is refused as an unknown key, as Helm would."""
    values = {"replicas": 2, "image": {"tag": "1"}, "strict": True, "profils": {}}
    assert configuration_in(values) == {"strict": True, "profils": {}}


def test_the_charts_own_values_are_valid() -> None:
    """All of them."""
    assert parse(VALUES.encode(), "values.yaml", or_values=True).default_profile == "tail"


def test_values_have_the_prefix() -> None:
    """A configuration has not: a server is told by a setting."""
    values = b"prefix: nonsense\nshadow: false\n"
    with pytest.raises(ConfigurationError, match=r"values.yaml:1:1: prefix: must be a DNS name"):
        parse(values, "values.yaml", or_values=True)
    with pytest.raises(ConfigurationError, match=r"1:1: prefix: is unknown"):
        parse(values, "pillion.yaml")
