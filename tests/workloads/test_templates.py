"""Tests of webhook.workloads.templates: where pod templates are, and that the documentation says the same."""

import re
from pathlib import Path
from typing import Any

import pytest

from webhook.workloads.templates import ANY_KIND, CUSTOM, KUBERNETES, NOT_EDITED, Kind, not_edited, templates

PAGE = Path(__file__).parent.parent.parent / "docs" / "annotations.md"
POD = {"spec": {"containers": [{"name": "app", "image": "shop"}]}}


def holding(where: str, template: Any) -> dict[str, Any]:
    """Return an object with a template where the pattern says."""
    value = template
    for token in reversed(where.replace("[*]", ".[*]").split(".")):
        value = [{}, value] if token == "[*]" else {"Worker" if token == "*" else token: value}
    found: dict[str, Any] = value
    return found


@pytest.mark.parametrize(
    ("kind", "where"), [(kind, where) for kind, places in CUSTOM.items() for where in places], ids=str
)
def test_knows_custom_kinds(kind: Kind, where: str) -> None:
    """Each place of each kind in the table is found, in lists and mappings too."""
    value = holding(where, POD)
    (path,) = templates(kind.group, kind.name, value)
    found: Any = value
    for key in path:
        found = found[key]
    assert found is POD


@pytest.mark.parametrize("where", ANY_KIND)
@pytest.mark.parametrize("group", ["argoproj.io", "apps.openshift.io", "example.com"])
def test_finds_the_template_of_any_kind(group: str, where: str) -> None:
    """A kind that nobody has heard of is read where most kinds have their template."""
    assert templates(group, "Rollout", holding(where, POD)) == [tuple(where.split("."))]


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"nodeClassRef": {"name": "x"}}},
        {"spec": {"containers": []}},
        {"spec": {"containers": ["app"]}},
        {"spec": {"containers": [{"ports": []}]}},
        {"spec": {"containers": {"app": {}}}},
        {"spec": None},
        {},
        "template.yaml",
        None,
    ],
    ids=str,
)
def test_other_templates_are_none_of_ours(template: Any) -> None:
    """What has no containers is the template of something else."""
    assert templates("karpenter.sh", "NodePool", {"spec": {"template": template}}) == []


def test_a_kind_of_kubernetes_has_one_whatever_is_in_it() -> None:
    """So that explain can say why it is not injected."""
    assert templates("apps", "Deployment", {}) == [("spec", "template")]
    assert templates("", "Pod", {}) == [()]


def test_a_kind_without_a_group_is_none() -> None:
    """Without an apiVersion nobody knows what it is."""
    assert templates(None, "Pod", POD) == []


def test_knative_is_not_edited() -> None:
    """Its template takes no init containers, wherever its pods go."""
    assert templates("serving.knative.dev", "Service", holding("spec.template", POD)) == []
    assert not_edited("serving.knative.dev", "Service") == ("spec", "template")
    assert not_edited("serving.knative.dev", "Revision") == ()
    assert not_edited("", "Service") is None


def test_the_documentation_has_the_table() -> None:
    """Every kind and place is on the page, and no other."""
    section = PAGE.read_text().partition("\n## Which objects\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^|]*)` \| (.*) \|$", section, re.MULTILINE)
    documented = {kind: [place.strip("`") for place in places.split("`, `")] for kind, places in rows}
    expected = {
        (f"{kind.name}.{kind.group}" if kind.group else kind.name): list(places)
        for kind, places in {**KUBERNETES, **CUSTOM}.items()
    }
    expected["Pod"] = ["the pod itself"]
    assert documented == expected
    assert all(f"`{where}`" in section for where in ANY_KIND)
    assert all(kind.name in section for kind in NOT_EDITED)
