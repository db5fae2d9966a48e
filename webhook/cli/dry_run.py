"""What the webhook itself says of a pod: the pod is sent again as a dry run, and nothing is created."""

import json
from typing import NamedTuple

from msgspec import Raw

from webhook.cli.kubectl import Kubectl, document
from webhook.cli.pods import decode
from webhook.cli.standing import without_sidecar
from webhook.errors import ClusterError
from webhook.injection.profile import Configuration
from webhook.injection.status import Status
from webhook.injection.verdict import WARNING_LEAD
from webhook.json_values import as_mapping

__all__ = ["DryRun", "dry_run"]

#: What a pod's author writes; the rest is the API server's.
_OF_THE_AUTHOR = ("labels", "annotations", "namespace")


class DryRun(NamedTuple):
    """What came of a dry run: whether the pod got a sidecar, its status annotation, and what was said."""

    injected: bool
    status: Status | None
    said: str


def dry_run(kubectl: Kubectl, pod: bytes, configuration: Configuration) -> DryRun:
    """Send a pod that is there once more, without its sidecar; :class:`ClusterError` where the cluster refuses it."""
    bare = without_sidecar(document(Raw(pod)), configuration)
    metadata = as_mapping(bare["metadata"])
    kept = {key: metadata[key] for key in _OF_THE_AUTHOR if key in metadata}
    # a node, and ephemeral containers, are given to a pod that is there
    spec = {key: bare["spec"][key] for key in bare["spec"] if key not in ("nodeName", "ephemeralContainers")}
    again = {"apiVersion": "v1", "kind": "Pod", "metadata": kept | {"generateName": "probe-"}, "spec": spec}
    options = {"dry_run": "server", "filename": "-", "output": "json"}
    answer = kubectl.call("create", (), options, stdin=json.dumps(again).encode(), hold_warnings=True)
    try:
        created = decode(answer.output)
    except ClusterError:
        raise ClusterError("the API server's answer to a dry run is no pod") from None
    declined = [text.removeprefix(WARNING_LEAD) for text in answer.warnings if text.startswith(WARNING_LEAD)]
    injected = created.sidecar(configuration) is not None
    return DryRun(injected, created.injection(configuration), "; ".join(declined))
