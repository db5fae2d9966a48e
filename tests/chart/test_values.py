"""values.yaml, its schema and the README's table say the same."""

import json
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from webhook.profiles import NAMES, RELEASED_IMAGE, RELEASED_SHIPPING_IMAGE
from webhook.service.settings import SETTINGS

from .server_settings import SERVER_SETTINGS, variable
from .values_table import CHART, readme, rows, table

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
#: Helm's own, which no values.yaml has.
GIVEN = {"global"}


def test_the_readmes_table_is_current() -> None:
    """It is made of the comments; python -m tests.chart.values_table --update makes it again."""
    current = (CHART / "README.md").read_text()
    assert readme(current, VALUES) == current


def test_every_value_has_a_comment() -> None:
    """A row without a meaning is a value that nobody can use."""
    assert [row.key for row in rows(VALUES) if not row.meaning] == []


def test_offline_sidecars_have_the_image_that_the_chart_gives_them() -> None:
    """The chart's repository and version are the ones of the program."""
    yaml = YAML(typ="safe", pure=True)
    repository, chart = yaml.load(VALUES)["image"]["repository"], yaml.load((CHART / "Chart.yaml").read_text())
    assert f"{repository}:{chart['appVersion']}-tail" == RELEASED_IMAGE
    assert f"{repository}:{chart['appVersion']}-shipping" == RELEASED_SHIPPING_IMAGE


def test_the_values_name_the_built_in_profiles() -> None:
    """In the comment of `profiles`, which is the README's row."""
    assert f"({', '.join(NAMES)})" in VALUES


def test_a_comment_becomes_a_row() -> None:
    """Keys below an uncommented one are rows of their own; a commented mapping is one row."""
    text = "a:\n  # First,\n  # and on.\n  b: 1\n# A | B.\nc:\n  d: x\n"
    assert table(text).splitlines()[2:] == ["| `a.b` | `1` | First, and on. |", '| `c` | `{"d": "x"}` | A \\| B. |']


def test_the_schema_knows_exactly_the_values() -> None:
    """Each key is in it, at every level that it closes, and it has none that values.yaml lacks."""

    def compare(value: Any, schema: dict[str, Any], path: str) -> None:
        if schema.get("additionalProperties") is not False or path in OPEN:
            return
        assert set(schema["properties"]) - GIVEN == set(value), path
        for key, inner in value.items():
            compare(inner, schema["properties"][key], f"{path}.{key}")

    compare(YAML(typ="safe", pure=True).load(VALUES), SCHEMA, "")


#: Closed, and empty by default.
OPEN = {
    *(".webhook.namespaceSelector", ".webhook.objectSelector"),
    *(".certificates.certManager.issuerRef", ".server.settings"),
}


def test_every_mapping_with_fixed_keys_is_closed() -> None:
    """A misspelt key is refused wherever it is."""

    def check(schema: dict[str, Any], path: str) -> None:
        if "properties" in schema:
            assert schema.get("additionalProperties") is False, path
            for key, inner in schema["properties"].items():
                check(inner, f"{path}.{key}")

    check(SCHEMA, "")


def test_what_has_a_default_can_not_be_taken_away() -> None:
    """`null` removes a key; templates would fail without words, or leave it to Kubernetes' default."""

    def check(value: Any, schema: dict[str, Any], path: str) -> bool:
        if not isinstance(value, dict):
            return value not in ("", None) and not isinstance(value, list)
        needed = {key for key, inner in value.items() if check(inner, _below(schema, key), f"{path}.{key}")}
        if schema.get("additionalProperties") is not False:
            return False
        assert set(schema.get("required", [])) == needed, path
        return bool(needed)

    check(YAML(typ="safe", pure=True).load(VALUES), SCHEMA, "")


#: Settings that the chart can't set, and why.
NOT_SET = {
    "PILLION_STRICT": "the value strict is in the configuration, which `pillion config check` reads",
    "PILLION_STATE_DIRECTORY": "it is the local CA's, and a release has another one",
}


def test_every_setting_of_the_server_can_be_set() -> None:
    """By a value of its own, or in server.settings; none in two ways."""
    template = (CHART / "templates/deployment.yaml").read_text()
    own = set(re.findall(r"PILLION_[A-Z_]+\b", template))
    others = {variable(name) for name in SERVER_SETTINGS}
    assert own | others | NOT_SET.keys() == {row.variable for row in SETTINGS}
    assert not own & others
    assert not NOT_SET.keys() & (own | others)


@pytest.mark.parametrize(("name", "schema"), SERVER_SETTINGS.items(), ids=SERVER_SETTINGS)
def test_a_default_may_stand_in_server_settings(name: str, schema: dict[str, Any]) -> None:
    """The schema knows what the server takes."""
    (default,) = (row.default for row in SETTINGS if row.variable == variable(name))
    if schema["type"] == "integer":
        assert schema["minimum"] <= int(default) <= schema["maximum"]
    else:
        assert re.fullmatch(schema["pattern"], default)


def _below(schema: dict[str, Any], key: str) -> dict[str, Any]:
    inner: dict[str, Any] = schema.get("properties", {}).get(key, {})
    return inner
