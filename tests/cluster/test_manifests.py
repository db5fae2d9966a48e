"""The API server takes what the chart renders: its own validation, CEL and Pod Security, not only a schema's."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from .client import Client
from .conftest import NewNamespace
from .test_chart import VALUE_SETS, built, rendered

pytestmark = pytest.mark.cluster

__all__ = ["built"]

#: Other people's kinds, which this API server does not know.
_FOREIGN = {"monitoring.coreos.com", "cert-manager.io"}


@pytest.mark.usefixtures("apiserver")
@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS)
def test_every_object_is_accepted(kubectl: Client, new_namespace: NewNamespace, values: dict[str, Any]) -> None:
    """By server-side dry run in a restricted namespace, whose warnings would be about our pods."""
    namespace = new_namespace("restricted", {"pod-security.kubernetes.io/warn": "restricted"})
    objects = [document for document in YAML(typ="safe").load_all(rendered(values)) if document]
    known = [each for each in objects if each["apiVersion"].partition("/")[0] not in _FOREIGN]
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
