"""The settings that the value server.settings takes, by the chart's schema."""

import json
import re
from typing import Any

from .values_table import CHART

__all__ = ["SERVER_SETTINGS", "variable"]

_SERVER = json.loads((CHART / "values.schema.json").read_text())["properties"]["server"]
#: The schema of each, by its name in the values.
SERVER_SETTINGS: dict[str, dict[str, Any]] = _SERVER["properties"]["settings"]["properties"]


def variable(name: str) -> str:
    """Return the environment variable of a setting, as the chart makes it of the name."""
    return "PILLION_" + re.sub("([A-Z])", r"_\1", name).upper()
