"""The chart's alerts and dashboard, and the queries in them."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

__all__ = ["ALERTS", "DASHBOARD", "EXPRESSIONS", "QUERIES", "ROOT", "RULES", "load"]

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "charts/pillion/files/alerts.yaml"
DASHBOARD = json.loads((ROOT / "charts/pillion/files/dashboard.json").read_text())


def load(file: Path) -> Any:
    """Return a YAML file's content."""
    return YAML(typ="safe", pure=True).load(file.read_text())


RULES: list[dict[str, Any]] = load(ALERTS)["groups"][0]["rules"]
QUERIES = {
    f"{panel['title']}: {each['refId']}": each["expr"] for panel in DASHBOARD["panels"] for each in panel["targets"]
}
QUERIES |= {f"annotation: {each['name']}": each["expr"] for each in DASHBOARD["annotations"]["list"]}
EXPRESSIONS = {**{rule["alert"]: rule["expr"] for rule in RULES}, **QUERIES}
