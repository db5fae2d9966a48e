"""The API server takes what the chart renders: its own validation, CEL and Pod Security, not only a schema's."""

from typing import Any

import pytest

from tests.chart.rendering import VALUE_SETS, objects

from .client import Client
from .conftest import NewNamespace

pytestmark = pytest.mark.cluster

#: Other people's kinds, which this API server does not know.
_FOREIGN = {"monitoring.coreos.com", "cert-manager.io"}


@pytest.mark.usefixtures("apiserver", "helm_program")
@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_every_object_is_accepted(kubectl: Client, new_namespace: NewNamespace, values: dict[str, Any]) -> None:
    """By server-side dry run in a namespace whose warnings would be about our pods: restricted, if that is possible."""
    level = "privileged" if values.get("hostNetwork") else "restricted"
    namespace = new_namespace(level, {"pod-security.kubernetes.io/warn": level})
    known = [each for each in objects(values) if each["apiVersion"].partition("/")[0] not in _FOREIGN]
    for each in known:
        if "namespace" in each["metadata"]:
            each["metadata"]["namespace"] = namespace
    # a pod is refused where its account is not there
    accounts = [each for each in known if each["kind"] == "ServiceAccount"]
    others = [each for each in known if each["kind"] != "ServiceAccount"]
    for listed, options in ((accounts, ()), (others, ("--dry-run=server",))):
        answer = kubectl.attempt(
            "create", *options, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": listed}
        )
        assert answer.returncode == 0, answer.stderr
        assert "arning" not in answer.stderr
        assert answer.stdout.count("created") == len(listed)
